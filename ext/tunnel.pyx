"""A client's connection below any protocol: who the client is, and bytes relayed as they are.

Theory. HTTP (client.pyx, behind a 101) and TCP (tcp.pyx) relay in the same way: a read of one side
is sent to the other at once; what the other does not take is held by its transport, and this side
is not read before that has gone. So each direction holds at most one read (READ_BYTES). A FIN is
passed on behind the bytes before it, and the other direction goes on; a RST is passed on as a RST.
One deadline is for both directions: bytes in either one keep the tunnel.

Who the client is: the ends of its connection, or what a PROXY header said in front of it (listeners
with `accept_proxy`), which is passed on where the server's tier has `send_proxy`.

Ownership: `ends` is owned, NULL for most. `tunnel_end` gives a node that may hold bytes to itself.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from ext.arena cimport SC_BYTES_IN, TC_BYTES_OUT, TC_PROXY_ERRORS
from ext.hashkey cimport source_number
from ext.proxyline cimport build_proxy, ends_of, parse_proxy, source_text
from ext.stream cimport drop_front, keep, release
from ext.timers cimport now_ms


cdef class Tunnel(Member):
    """Base of Client (HTTP) and TcpSession."""

    def __dealloc__(self):
        free(self.ends)

    cdef int arm(self, uint32_t ms) noexcept:
        self.wheel.arm(&self.timer, now_ms() + ms)
        return 0

    cdef int drop(self) except -1:
        """A write has failed: the read side may be paused and would not tell."""
        return self.abort()

    # -- who it is -----------------------------------------------------------------------------

    cdef int meet(self, Tier tier) except -1:
        """The connection stands: its address, and the tier that counts it."""
        cdef bytes text
        peer = self.transport.get_extra_info("peername")
        text = peer[0].encode() if isinstance(peer, tuple) else b"127.0.0.1"   # inside of a process
        self.address_size = <uint8_t>min(len(text), 45)
        memcpy(self.address, <const char *>text, self.address_size)
        self.source = source_number(self.address, self.address_size)
        self.front = tier.cells
        return 0

    cdef bint owes_header(self, ProxyPeers peers):
        """Must a PROXY header come first? `peers` is None where no listener wants one."""
        cdef Ends ends
        if peers is None:
            return False
        ends_of(self.fd, &ends)
        return peers.covers(&ends)

    cdef int take_header(self, const char *p, uint32_t n) except -2:
        """1 when the whole header has come: `kept` holds what stands behind it. 0: more is needed.
        -1: it is none, and the connection was ended."""
        cdef Ends ends
        cdef int used
        keep(&self.kept, p, n)
        used = parse_proxy(self.kept.data, self.kept.size, &ends)
        if used == 0:
            return 0
        if used < 0:
            self.front[TC_PROXY_ERRORS] += 1
            self.abort()
            return -1
        drop_front(&self.kept, <uint32_t>used)
        if ends.family:
            self.ends = <Ends *>malloc(sizeof(Ends))
            if self.ends == NULL:
                raise MemoryError
            self.ends[0] = ends
            self.address_size = source_text(&ends, self.address)
            self.source = source_number(self.address, self.address_size)
        return 1

    cdef uint32_t write_header(self, NodeConnection node, char *out) noexcept:
        """The PROXY header for a new connection to a server, PROXY_OUT_BYTES_MAX bytes at most; 0
        where it gets none. A fetch in the background has no client: LOCAL."""
        cdef Ends own
        if not node.server.send_proxy:
            return 0
        if self.ends != NULL:
            return build_proxy(node.server.send_proxy, self.ends, out)
        if self.lost or self.fd < 0:
            memset(&own, 0, sizeof(Ends))
        else:
            ends_of(self.fd, &own)
        return build_proxy(node.server.send_proxy, &own, out)

    # -- the tunnel ----------------------------------------------------------------------------

    cdef int tunnel_in(self, char *p, uint32_t n) except -1:
        """From the client, with what it sent before the tunnel stood."""
        cdef iovec parts[2]
        cdef int count = 0
        if self.kept.size:
            parts[0].iov_base = self.kept.data
            parts[0].iov_len = self.kept.size
            count = 1
        if n:
            parts[count].iov_base = p
            parts[count].iov_len = n
            count += 1
        self.node.send(parts, count)
        if self.kept.size:
            n += self.kept.size
            release(&self.kept)
        if self.node.broken:
            return self.drop()
        self.server.cells[SC_BYTES_IN] += n
        self.arm(self.silence_ms)
        return self.pause() if self.node.blocked else 0

    cdef int tunnel_out(self, char *p, uint32_t n) except -1:
        """From the server."""
        cdef iovec part
        part.iov_base = p
        part.iov_len = n
        self.send(&part, 1)
        if self.broken:
            return self.drop()
        self.front[TC_BYTES_OUT] += n
        self.arm(self.silence_ms)
        return self.node.pause() if self.blocked else 0

    cdef int tunnel_end(self, bint reset) except -1:
        """One side of a tunnel ended: pass the FIN on; both sides: close."""
        cdef NodeConnection node = self.node
        if not reset and not node.lost and not (node.ended and self.ended):
            return self.half_close() if node.ended else node.half_close()
        if not reset and not node.lost:
            node.exchange = None               # it may still hold bytes to send
            node.close_within(self.server.tier.server_ms)
            self.node = None
        self.on_tunnel_over()
        if reset:
            return self.reset()
        return self.close()

    cdef int on_tunnel_over(self) except -1:
        """Count the end, let the server go, and set the time that the client has to read the
        rest."""
        return 0
