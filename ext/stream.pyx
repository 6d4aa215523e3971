"""Connections of the data path: read by ext.readiness, written at once, held by uvloop.

Theory. uvloop makes and ends the connections, and holds what could not be sent; its own reading is
paused for good, because `Readiness` reads all connections of a worker in batches, into one buffer:
an idle connection owns none. A write is tried on the socket first (no Python object); what the
kernel does not take is given to the transport, whose high-water mark is 0, so `blocked` is exactly
"the transport holds bytes". Whoever feeds a blocked connection stops reading its source: at most
one read (READ_BYTES) is held per direction, whatever the size of a body.

Ownership: `kept` is owned; the pointer that on_data gets is borrowed until it returns. A connection
leaves the readiness set before its descriptor can be closed.
"""
import socket
import struct

cimport cython
from libc.errno cimport errno, EAGAIN, EINTR
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "<linux/sockios.h>" nogil:
    unsigned long SIOCOUTQ

from ext.live cimport EDGE_LIVE_ADD, EDGE_LIVE_SUB


cdef int keep(Bytes *b, const char *p, uint32_t n) except -1:
    """Append a copy of n bytes."""
    cdef uint32_t room
    cdef char *base
    if b.data + b.size + n > b.base + b.room:
        if b.size + n <= b.room // 2:          # half of it was taken already: room in front
            memmove(b.base, b.data, b.size)
        else:
            room = b.size + n
            room = 512 if room < 512 else room + room // 2
            base = <char *>malloc(room)
            if base == NULL:
                raise MemoryError
            if b.size:
                memcpy(base, b.data, b.size)
            free(b.base)
            b.base = base
            b.room = room
        b.data = b.base
    memcpy(b.data + b.size, p, n)
    b.size += n
    return 0


cdef void drop_front(Bytes *b, uint32_t n) noexcept:
    """Forget the first n bytes; nothing is held when none are left. Moves nothing."""
    if n >= b.size:
        release(b)
    else:
        b.data += n
        b.size -= n


cdef void release(Bytes *b) noexcept:
    free(b.base)
    b.base = NULL
    b.data = NULL
    b.size = 0
    b.room = 0


@cython.no_gc_clear                # __dealloc__ reads wheel
cdef class Connection(Watched):
    """Base of client and node connections: the asyncio face, and the write path."""

    def __cinit__(self, *args):
        EDGE_LIVE_ADD("connection")

    def __dealloc__(self):
        # Lost without a word, as when a connect is cancelled just as it succeeds: the descriptor is
        # closed, and may be another connection's by now.
        if self.watched and self.readiness.members[self.fd] == <void *>self:
            self.readiness.members[self.fd] = NULL
        release(&self.kept)
        if self.wheel is not None:
            self.wheel.remove(&self.timer)
        EDGE_LIVE_SUB("connection")

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        self.fd = transport.get_extra_info("socket").fileno()
        transport.set_write_buffer_limits(high=0)
        self.readiness.watch(self)
        # A transport starts reading behind this call.
        self.readiness.loop.call_soon(self.leave_reading_to_us)
        self.on_made()

    def leave_reading_to_us(self):
        if not self.lost and not self.closing:
            self.transport.pause_reading()

    def data_received(self, bytes data):
        """Only when the loop has polled before reading was left to us: once, at the start."""
        copy = bytearray(data)
        self.on_data(copy, <uint32_t>len(data))

    def eof_received(self):
        self.deaf = True
        self.readiness.forget(self)
        self.on_eof()
        return True                            # half-closed connections are legal: we decide

    def connection_lost(self, exc):
        self.lost = True
        self.readiness.forget(self)
        self.fd = -1
        self.wheel.remove(&self.timer)
        self.on_lost(exc is not None or self.was_reset)
        self.transport = None
        release(&self.kept)

    def pause_writing(self):
        self.blocked = True
        self.unsent = <uint64_t>-1

    def resume_writing(self):
        self.blocked = False
        if not self.lost:
            self.on_writable()

    # -- reading ---------------------------------------------------------------------------------

    cdef int on_readable(self, char *p, ssize_t n) except -1:
        if n > 0:
            return self.on_data(p, <uint32_t>n)
        self.deaf = True
        if n == 0:
            return self.on_eof()
        self.was_reset = True
        return self.abort()

    cdef int on_failed(self) except -1:
        return self.abort()

    cdef int pause(self) except -1:
        """Stop reading: back-pressure."""
        self.paused = True
        self.readiness.forget(self)
        return 0

    cdef int resume(self) except -1:
        if self.paused:
            self.paused = False
            if not (self.deaf or self.lost or self.closing):
                self.readiness.watch(self)
        return 0

    # -- up-calls, for subclasses ------------------------------------------------------------

    cdef int on_made(self) except -1:
        return 0

    cdef int on_data(self, char *p, uint32_t n) except -1:
        return 0

    cdef int on_eof(self) except -1:
        return 0

    cdef int on_lost(self, bint reset) except -1:
        return 0

    cdef int on_writable(self) except -1:
        return 0

    # -- down-calls ----------------------------------------------------------------------------

    cdef int send(self, iovec *parts, int count) except -1:
        """Send all parts, in order. Never partial: the rest is given to the transport."""
        cdef msghdr message
        cdef ssize_t sent = 0
        cdef int i
        if self.lost or self.broken or self.closing or count == 0:
            return 0
        if not self.blocked:
            if count == 1:                     # cheaper in the kernel than a message of one part
                sent = send(self.fd, parts.iov_base, parts.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
            else:
                memset(&message, 0, sizeof(message))
                message.msg_iov = parts
                message.msg_iovlen = count
                sent = sendmsg(self.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.broken = True
                    return 0
                sent = 0
        i = 0
        while i < count and <size_t>sent >= parts[i].iov_len:
            sent -= <ssize_t>parts[i].iov_len
            i += 1
        if i == count:
            return 0
        rest = bytearray((<char *>parts[i].iov_base)[sent:parts[i].iov_len])
        i += 1
        while i < count:
            rest += (<char *>parts[i].iov_base)[:parts[i].iov_len]
            i += 1
        self.transport.write(rest)
        return 0

    cdef bint progress(self) except -1:
        """Has the peer taken anything since the last call, or since the connection was blocked?

        Counts what the transport and the kernel hold: a slow reader is not a dead one.
        """
        cdef int held = 0
        cdef uint64_t unsent
        if self.lost or self.transport is None:
            return False
        ioctl(self.fd, SIOCOUTQ, &held)
        unsent = <uint64_t>self.transport.get_write_buffer_size() + <uint64_t>held
        if unsent < self.unsent:
            self.unsent = unsent
            return True
        return False

    cdef int send_bytes(self, bytes data) except -1:
        cdef iovec part
        part.iov_base = <char *>data
        part.iov_len = len(data)
        return self.send(&part, 1)

    cdef int close(self) except -1:
        """Send what is held, then close."""
        if not self.closing and not self.lost:
            self.closing = True
            self.readiness.forget(self)
            self.transport.close()
        return 0

    cdef int abort(self) except -1:
        """Close now; what is held is dropped."""
        self.closing = True
        self.readiness.forget(self)
        if not self.lost and self.transport is not None:
            self.transport.abort()
        return 0

    cdef int half_close(self) except -1:
        """Send FIN after what is held; reading goes on."""
        if not self.lost and not self.closing and not self.broken:
            try:
                self.transport.write_eof()
            except OSError:
                self.broken = True             # the peer is gone; its loss will be reported
        return 0

    cdef int reset(self) except -1:
        """Close with RST, so that the peer cannot take what it has for complete."""
        if not self.lost and self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.abort()
        return 0
