# A client's connection below any protocol: who it is, and bytes relayed as they are.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec
from ext.proxyline cimport Ends, ProxyPeers
from ext.site cimport Member
from ext.upstream cimport NodeConnection, Tier

cdef class Tunnel(Member):
    cdef Ends *ends                # as a PROXY header said them; NULL: those of the connection
    cdef uint8_t address_size
    cdef char address[46]          # of the client, as text; INET6_ADDRSTRLEN
    cdef uint32_t source           # the address as HAProxy hashes it
    cdef bint ended                # FIN seen
    cdef uint64_t *front           # counters of the tier that the client came to
    cdef uint32_t silence_ms       # longest silence of both directions

    cdef int arm(self, uint32_t ms) noexcept
    cdef int drop(self) except -1

    # who it is
    cdef int meet(self, Tier tier) except -1
    cdef bint owes_header(self, ProxyPeers peers)
    cdef int take_header(self, const char *p, uint32_t n) except -2
    cdef uint32_t write_header(self, NodeConnection node, char *out) noexcept

    # the tunnel
    cdef int tunnel_in(self, char *p, uint32_t n) except -1
    cdef int tunnel_out(self, char *p, uint32_t n) except -1
    cdef int tunnel_end(self, bint reset) except -1
    cdef int on_tunnel_over(self) except -1
