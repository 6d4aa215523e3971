# The PROXY protocol: who the client is, said in front of a connection's first bytes.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    PROXY_LINE_BYTES_MAX = 107     # version 1, CR LF included (§2.1)
    PROXY_BYTES_MAX = 16384        # version 2; HAProxy's limit (tune.bufsize)
    PROXY_OUT_BYTES_MAX = 107      # that we write: a line; version 2 without TLVs has 52 at most

cdef enum ProxyVersion:
    PROXY_OFF, PROXY_V1, PROXY_V2

cdef struct Ends:                  # of a connection; addresses in network order, ports in ours
    uint8_t family                 # 4 or 6; 0: not known, or no IP
    uint16_t source_port
    uint16_t destination_port
    uint8_t source[16]
    uint8_t destination[16]

cpdef enum BadProxy:               # why a header is refused
    NOT_PROXY = 1                  # neither signature
    LONG_LINE = 2
    BAD_LINE = 3
    BAD_COMMAND = 4                # version 2: neither LOCAL nor PROXY, or of another version
    BAD_FAMILY = 5
    TOO_LONG = 6
    BAD_LENGTH = 7                 # addresses or TLVs do not fit the announced length
    BAD_CHECKSUM = 8

cdef int parse_proxy(const char *p, uint32_t n, Ends *ends) noexcept nogil
cdef uint32_t build_proxy(int version, const Ends *ends, char *out) noexcept nogil
cdef void ends_of(int fd, Ends *ends) noexcept nogil
cdef uint8_t source_text(const Ends *ends, char *out) noexcept nogil

cdef class ProxyPeers:             # who must send a header
    cdef list networks             # (family, address, bits); None: everybody
    cdef bint covers(self, const Ends *ends)
