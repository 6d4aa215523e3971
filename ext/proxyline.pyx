"""The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): parsed and built.

Theory. A header stands in front of everything else on a connection. `parse_proxy` looks at what has
come so far and says how long the header is, that more is needed, or why it is refused; a wrong byte
is refused as soon as it is there, so garbage is not waited for. Strict: one spelling of everything,
every length bounded, a CRC32C checked where there is one. Whoever gets a refusal closes.

`Ends` with family 0 means that the connection's own ends count: LOCAL, UNKNOWN, addresses that are
not IP (unix sockets), protocols that are not TCP. TLVs are walked for their lengths and otherwise
passed over.

Called by: client (listeners with `accept_proxy`), tcp, relay (servers with `send_proxy`).
"""
import ipaddress
import socket

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    int getpeername(int fd, sockaddr *name, socklen_t *size)
    int getsockname(int fd, sockaddr *name, socklen_t *size)
    int AF_INET
    int AF_INET6

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *out)
    const char *inet_ntop(int family, const void *address, char *out, socklen_t size)
    uint16_t ntohs(uint16_t port)

cdef enum:
    TEXT_ROOM = 46                 # INET6_ADDRSTRLEN
    SIGNATURE_BYTES = 12
    FIXED_BYTES = 16               # version 2: signature, command, family, length
    LOCAL = 0x20
    PROXY = 0x21
    UNIX_BYTES = 216
    TLV_HEAD_BYTES = 3
    TLV_AUTHORITY = 0x02
    TLV_CRC32C = 0x03
    TLV_UNIQUE_ID = 0x05
    AUTHORITY_BYTES_MAX = 255      # HAProxy's PP2_AUTHORITY_MAX
    UNIQUE_ID_BYTES_MAX = 128      # §2.2.5

cdef const char *SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


# -- parsing -------------------------------------------------------------------------------------

cdef int parse_proxy(const char *p, uint32_t n, Ends *ends) noexcept nogil:
    """The header's length, 0 when more bytes are needed, or -BadProxy. Touches no Python."""
    cdef uint32_t known
    memset(ends, 0, sizeof(Ends))
    if n == 0:
        return 0
    if p[0] == b'P':
        known = n if n < 6 else 6
        if memcmp(p, b"PROXY ", known) != 0:
            return -<int>BadProxy.NOT_PROXY
        return parse_line(p, n, ends)
    known = n if n < SIGNATURE_BYTES else SIGNATURE_BYTES
    if memcmp(p, SIGNATURE, known) != 0:
        return -<int>BadProxy.NOT_PROXY
    return parse_binary(<const uint8_t *>p, n, ends)


cdef int parse_line(const char *p, uint32_t n, Ends *ends) noexcept nogil:
    """Version 1: `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and anything."""
    cdef uint32_t within = n if n < PROXY_LINE_BYTES_MAX else PROXY_LINE_BYTES_MAX
    cdef const char *end = <const char *>memchr(p, b'\r', within)
    cdef const char *at = p + 6
    cdef int family
    if end == NULL or end + 1 == p + within:
        if within == PROXY_LINE_BYTES_MAX:
            return -<int>BadProxy.LONG_LINE
        return 0
    if end[1] != b'\n':
        return -<int>BadProxy.BAD_LINE
    if end - at >= 7 and memcmp(at, b"UNKNOWN", 7) == 0 and (at[7] == b' ' or at + 7 == end):
        return <int>(end + 2 - p)
    if end - at < 5 or memcmp(at, b"TCP", 3) != 0 or at[4] != b' ':
        return -<int>BadProxy.BAD_LINE
    family = 4 if at[3] == b'4' else (6 if at[3] == b'6' else 0)
    at = take_address(at + 5, end, family, ends.source) if family else NULL
    at = take_address(at, end, family, ends.destination) if at != NULL else NULL
    at = take_port(at, end, b' ', &ends.source_port) if at != NULL else NULL
    at = take_port(at, end, b'\r', &ends.destination_port) if at != NULL else NULL
    if at != end + 1:
        memset(ends, 0, sizeof(Ends))
        return -<int>BadProxy.BAD_LINE
    ends.family = <uint8_t>family
    return <int>(end + 2 - p)


cdef const char *take_address(const char *p, const char *end, int family,
                              uint8_t *out) noexcept nogil:
    """Behind an address and its space; NULL if there is none. inet_pton takes no shorthands of IPv4
    and no leading zeros."""
    cdef const char *space = <const char *>memchr(p, b' ', end - p)
    cdef char text[TEXT_ROOM]
    if space == NULL or space - p >= TEXT_ROOM or memchr(p, 0, space - p) != NULL:
        return NULL
    memcpy(text, p, space - p)
    text[space - p] = 0
    if inet_pton(AF_INET if family == 4 else AF_INET6, text, out) != 1:
        return NULL
    return space + 1


cdef const char *take_port(const char *p, const char *end, char behind,
                           uint16_t *out) noexcept nogil:
    """Behind a port of 0 to 65535 and the byte that ends it; NULL if there is none."""
    cdef uint32_t port = 0
    cdef const char *first = p
    while p < end and b'0' <= p[0] <= b'9' and p - first < 5:
        port = port * 10 + (<uint8_t>p[0] - <uint8_t>b'0')
        p += 1
    if p == first or port > 65535 or p[0] != behind or (first[0] == b'0' and p - first > 1):
        return NULL
    out[0] = <uint16_t>port
    return p + 1


cdef int parse_binary(const uint8_t *p, uint32_t n, Ends *ends) noexcept nogil:
    """Version 2. Of LOCAL everything behind the fixed part is passed over (§2.2)."""
    cdef uint32_t size, addresses, family, transport
    cdef int bad
    if n > SIGNATURE_BYTES and p[12] != LOCAL and p[12] != PROXY:
        return -<int>BadProxy.BAD_COMMAND
    if n < FIXED_BYTES:
        return 0
    size = FIXED_BYTES + (<uint32_t>p[14] << 8) + p[15]
    if size > PROXY_BYTES_MAX:
        return -<int>BadProxy.TOO_LONG
    family = p[13] >> 4
    transport = p[13] & 15
    if p[12] == PROXY and (family > 3 or transport > 2 or (family == 0) != (transport == 0)):
        return -<int>BadProxy.BAD_FAMILY
    addresses = 12 if family == 1 else (36 if family == 2 else (UNIX_BYTES if family == 3 else 0))
    if p[12] == PROXY and size < FIXED_BYTES + addresses:
        return -<int>BadProxy.BAD_LENGTH
    if n < size:
        return 0
    if p[12] == LOCAL:
        return <int>size
    bad = check_tlvs(p, FIXED_BYTES + addresses, size)
    if bad:
        return -bad
    if transport == 1 and family == 1:
        memcpy(ends.source, p + 16, 4)
        memcpy(ends.destination, p + 20, 4)
        ends.source_port = <uint16_t>((p[24] << 8) + p[25])
        ends.destination_port = <uint16_t>((p[26] << 8) + p[27])
        ends.family = 4
    elif transport == 1 and family == 2:
        memcpy(ends.source, p + 16, 16)
        memcpy(ends.destination, p + 32, 16)
        ends.source_port = <uint16_t>((p[48] << 8) + p[49])
        ends.destination_port = <uint16_t>((p[50] << 8) + p[51])
        ends.family = 6
    return <int>size


cdef int check_tlvs(const uint8_t *p, uint32_t at, uint32_t size) noexcept nogil:
    """0, or a BadProxy: lengths that do not add up, or a checksum that is not the header's."""
    cdef uint32_t length, checksum_at = 0
    while at < size:
        if size - at < TLV_HEAD_BYTES:
            return <int>BadProxy.BAD_LENGTH
        length = (<uint32_t>p[at + 1] << 8) + p[at + 2]
        if length > size - at - TLV_HEAD_BYTES:
            return <int>BadProxy.BAD_LENGTH
        if p[at] == TLV_CRC32C:
            if length != 4 or checksum_at:
                return <int>BadProxy.BAD_CHECKSUM
            checksum_at = at + TLV_HEAD_BYTES
        elif ((p[at] == TLV_AUTHORITY and length > AUTHORITY_BYTES_MAX)
                or (p[at] == TLV_UNIQUE_ID and length > UNIQUE_ID_BYTES_MAX)):
            return <int>BadProxy.BAD_LENGTH
        at += TLV_HEAD_BYTES + length
    if checksum_at and crc32c_without(p, size, checksum_at) != (
            (<uint32_t>p[checksum_at] << 24) + (<uint32_t>p[checksum_at + 1] << 16)
            + (<uint32_t>p[checksum_at + 2] << 8) + p[checksum_at + 3]):
        return <int>BadProxy.BAD_CHECKSUM
    return 0


cdef uint32_t[256] CRC32C          # RFC 3720 §12.1: the reflected polynomial 0x1EDC6F41
cdef uint32_t _row
for _i in range(256):
    _row = _i
    for _ in range(8):
        _row = (_row >> 1) ^ (0x82F63B78 if _row & 1 else 0)
    CRC32C[_i] = _row


cdef uint32_t crc32c_without(const uint8_t *p, uint32_t n, uint32_t hole) noexcept nogil:
    """CRC32C of n bytes, those four at `hole` taken as zero (§2.2.3)."""
    cdef uint32_t crc = ~(<uint32_t>0), i
    cdef uint8_t byte
    for i in range(n):
        byte = 0 if hole <= i < hole + 4 else p[i]
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return ~crc


# -- building ------------------------------------------------------------------------------------

cdef uint32_t build_proxy(int version, const Ends *ends, char *out) noexcept nogil:
    """A header of at most PROXY_OUT_BYTES_MAX bytes; its size. Touches no Python.

    Family 0: nobody's connection, as of a health check: UNKNOWN, or LOCAL.
    """
    return build_line(ends, out) if version == PROXY_V1 else build_binary(ends, <uint8_t *>out)


cdef uint32_t build_line(const Ends *ends, char *out) noexcept nogil:
    cdef char source[TEXT_ROOM]
    cdef char destination[TEXT_ROOM]
    cdef int family = AF_INET if ends.family == 4 else AF_INET6
    if ends.family == 0:
        memcpy(out, b"PROXY UNKNOWN\r\n", 15)
        return 15
    inet_ntop(family, ends.source, source, TEXT_ROOM)
    inet_ntop(family, ends.destination, destination, TEXT_ROOM)
    # The longest has 104 bytes: room for the NUL that snprintf adds.
    return <uint32_t>snprintf(out, PROXY_OUT_BYTES_MAX, b"PROXY TCP%d %s %s %d %d\r\n",
                              <int>ends.family, source, destination, <int>ends.source_port,
                              <int>ends.destination_port)


cdef uint32_t build_binary(const Ends *ends, uint8_t *out) noexcept nogil:
    cdef uint32_t size = 0 if ends.family == 0 else (4 if ends.family == 4 else 16)
    cdef uint8_t *at = out + FIXED_BYTES
    memcpy(out, SIGNATURE, SIGNATURE_BYTES)
    out[12] = PROXY if ends.family else LOCAL
    out[13] = 0 if ends.family == 0 else (0x11 if ends.family == 4 else 0x21)
    out[14] = 0
    out[15] = <uint8_t>(2 * size + 4 if size else 0)
    if size == 0:
        return FIXED_BYTES
    memcpy(at, ends.source, size)
    memcpy(at + size, ends.destination, size)
    at += 2 * size
    at[0] = <uint8_t>(ends.source_port >> 8)
    at[1] = <uint8_t>(ends.source_port & 0xFF)
    at[2] = <uint8_t>(ends.destination_port >> 8)
    at[3] = <uint8_t>(ends.destination_port & 0xFF)
    return FIXED_BYTES + 2 * size + 4


# -- ends ----------------------------------------------------------------------------------------

cdef void ends_of(int fd, Ends *ends) noexcept nogil:
    """Of an accepted connection; family 0 when it has none, or is gone."""
    cdef sockaddr_storage peer, own
    cdef socklen_t peer_size = sizeof(peer), own_size = sizeof(own)
    memset(ends, 0, sizeof(Ends))
    if (getpeername(fd, <sockaddr *>&peer, &peer_size) < 0
            or getsockname(fd, <sockaddr *>&own, &own_size) < 0
            or peer.ss_family != own.ss_family):
        return
    if peer.ss_family == AF_INET:
        ends.family = 4
        memcpy(ends.source, &(<sockaddr_in *>&peer).sin_addr, 4)
        memcpy(ends.destination, &(<sockaddr_in *>&own).sin_addr, 4)
        ends.source_port = ntohs((<sockaddr_in *>&peer).sin_port)
        ends.destination_port = ntohs((<sockaddr_in *>&own).sin_port)
    elif peer.ss_family == AF_INET6:
        ends.family = 6
        memcpy(ends.source, &(<sockaddr_in6 *>&peer).sin6_addr, 16)
        memcpy(ends.destination, &(<sockaddr_in6 *>&own).sin6_addr, 16)
        ends.source_port = ntohs((<sockaddr_in6 *>&peer).sin6_port)
        ends.destination_port = ntohs((<sockaddr_in6 *>&own).sin6_port)


cdef uint8_t source_text(const Ends *ends, char *out) noexcept nogil:
    """The source address as text into out[TEXT_ROOM]; its length."""
    inet_ntop(AF_INET if ends.family == 4 else AF_INET6, ends.source, out, TEXT_ROOM)
    return <uint8_t>strlen(out)


cdef class ProxyPeers:
    """Whose connections begin with a header: everybody's, or those from `networks` (as text)."""

    def __init__(self, networks=None):
        self.networks = None
        if networks is not None:
            self.networks = []
            for text in networks:
                network = ipaddress.ip_network(text)
                self.networks.append((network.version, network.network_address.packed,
                                      network.prefixlen))

    cdef bint covers(self, const Ends *ends):
        """Must the connection with these ends begin with a header?"""
        cdef const char *network
        cdef int whole, bits
        if self.networks is None:
            return True
        for family, packed, length in self.networks:
            network = packed
            whole = length // 8
            bits = length % 8
            if (ends.family == family and memcmp(ends.source, network, whole) == 0
                    and (bits == 0
                         or (ends.source[whole] ^ <uint8_t>network[whole]) >> (8 - bits) == 0)):
                return True
        return False

    def covers_for_test(self, str address):
        cdef Ends ends
        cdef bytes packed = ipaddress.ip_address(address).packed
        memset(&ends, 0, sizeof(Ends))
        ends.family = 4 if len(packed) == 4 else 6
        memcpy(ends.source, <const char *>packed, len(packed))
        return self.covers(&ends)


# -- facade --------------------------------------------------------------------------------------

def build_header(int version, source=None, destination=None):
    """A header as bytes; both ends are (address, port), or None: of nobody, as of a check."""
    cdef Ends ends
    cdef char out[PROXY_OUT_BYTES_MAX]
    cdef bytes packed
    memset(&ends, 0, sizeof(Ends))
    if source is not None:
        packed = ipaddress.ip_address(source[0]).packed
        ends.family = 4 if len(packed) == 4 else 6
        memcpy(ends.source, <const char *>packed, len(packed))
        packed = ipaddress.ip_address(destination[0]).packed
        memcpy(ends.destination, <const char *>packed, len(packed))
        ends.source_port = source[1]
        ends.destination_port = destination[1]
    return out[:build_proxy(version, &ends, out)]


def parse_for_test(bytes data):
    """0 when more is needed; a BadProxy; or (length, source, destination), where these are None or
    (address, port)."""
    cdef Ends ends
    cdef int used = parse_proxy(data, <uint32_t>len(data), &ends)
    if used < 0:
        return BadProxy(-used)
    if used == 0:
        return 0
    if ends.family == 0:
        return used, None, None
    family = socket.AF_INET if ends.family == 4 else socket.AF_INET6
    size = 4 if ends.family == 4 else 16
    return (used, (socket.inet_ntop(family, (<char *>ends.source)[:size]), ends.source_port),
            (socket.inet_ntop(family, (<char *>ends.destination)[:size]), ends.destination_port))
