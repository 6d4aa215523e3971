"""Reading: one private epoll set per worker, watched by uvloop as a single descriptor.

Theory. uvloop owns the loop, accepts, connects, and holds what a socket did not take. Reading alone
is done here, since it happens for every request: uvloop's way costs a buffer request, a `read` and
three Python calls each time, ours a `recv`. The set is itself a descriptor that becomes readable
when a member does; uvloop calls `on_ready` then, which takes all ready members in one batch. All
members read into one buffer, whose bytes are used or copied before the next read.

Level-triggered: a member with bytes left is reported again. A member that is to be paused, has
ended, or is being closed leaves the set. Members are found by descriptor and never by pointer, and
a descriptor is forgotten before it is closed, so an event of a batch cannot reach a connection
that an earlier event of the same batch has ended.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset
from posix.unistd cimport close

from ext.limits cimport READ_BYTES

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int set, int operation, int fd, epoll_event *event)
    int epoll_wait(int set, epoll_event *events, int most, int timeout_ms)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    int MSG_DONTWAIT

cdef enum:
    BATCH = 256                    # events of one epoll_wait
    ROUNDS = 16                    # batches before the loop's other work has its turn


cdef class Watched(Timed):
    """A socket that is read here."""

    def __cinit__(self, *args):
        self.fd = -1

    cdef int on_readable(self, char *p, ssize_t n) except -1:
        """n > 0 bytes at p (borrowed until the return), 0 at FIN, -1 after an error (RST)."""
        return 0

    cdef int on_failed(self) except -1:
        """on_readable has raised: end the connection."""
        return 0


cdef class Readiness:
    """The set. `loop` gets what a member's on_readable raises."""

    def __cinit__(self, loop):
        self.loop = loop
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.room = 1024
        self.buffer = <char *>malloc(READ_BYTES)
        self.members = <void **>calloc(self.room, sizeof(void *))
        if self.fd < 0 or self.buffer == NULL or self.members == NULL:
            raise MemoryError("cannot make an epoll set")

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        free(self.buffer)
        free(self.members)

    cdef int watch(self, Watched one) except -1:
        """Add a socket. It must be forgotten before its descriptor is closed."""
        cdef epoll_event event
        if one.watched or one.fd < 0:
            return 0
        if one.fd >= self.room:
            self.grow(one.fd)
        memset(&event, 0, sizeof(event))
        event.events = EPOLLIN
        event.data.fd = one.fd
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, one.fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        self.members[one.fd] = <void *>one
        one.watched = True
        return 0

    cdef void forget(self, Watched one) noexcept:
        """Take a socket out; safe when it is not in."""
        cdef epoll_event event
        if one.watched:
            one.watched = False
            self.members[one.fd] = NULL
            epoll_ctl(self.fd, EPOLL_CTL_DEL, one.fd, &event)

    def grow(self, int fd):
        """Room for members up to a descriptor."""
        cdef int room = max(fd + 1, 2 * self.room)
        cdef void **members = <void **>realloc(self.members, room * sizeof(void *))
        if members == NULL:
            raise MemoryError
        memset(members + self.room, 0, (room - self.room) * sizeof(void *))
        self.members = members
        self.room = room

    def on_ready(self):
        """Read every ready member once; uvloop calls it when the set is readable."""
        cdef epoll_event[BATCH] events
        cdef int count, i, rounds = 0
        cdef void *member
        while rounds < ROUNDS:
            count = epoll_wait(self.fd, events, BATCH, 0)
            for i in range(count):
                member = self.members[events[i].data.fd]
                if member != NULL:
                    self.read(<Watched>member)
            # Under load more is ready by now, and asking here costs less than a turn of the loop.
            if count <= 0:
                break
            rounds += 1

    cdef int read(self, Watched one) except -1:
        cdef ssize_t n = recv(one.fd, self.buffer, READ_BYTES, MSG_DONTWAIT)
        if n < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            n = -1
        if n <= 0:
            self.forget(one)
        try:
            one.on_readable(self.buffer, n)
        except Exception as error:
            # As an event loop does: one connection ends, the worker goes on.
            self.loop.call_exception_handler({
                "message": "exception in a connection", "exception": error, "protocol": one})
            one.on_failed()
        return 0
