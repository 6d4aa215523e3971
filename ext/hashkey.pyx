"""The key of a request that picks its server, hashed as HAProxy hashes it.

Theory. A key is taken once, in the step `hash`, while the head is at hand; later the request is
known only as it is sent on. The result has 33 bits: the top one says that there is a key. Without
one (no such field or parameter, an empty field) the request goes round robin.

What HAProxy takes (manual, `balance`): `source` is no text: the address's 32-bit words xored, and
the function is not asked, only the avalanche. `uri` is the target up to `?`. `hdr` is the first
value of the list. `url_param` is searched behind the first `?`, names compared exactly.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy

from ext.fields cimport same_token
from ext.hashes cimport avalanche, hash_with
from ext.hashes import FUNCTIONS
from ext.http1 cimport Field, parse_request_head, HeadLimits
from ext.farm cimport KEY_GIVEN_BIT

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address)
    int AF_INET
    int AF_INET6

cdef enum:
    ADDRESS_BYTES_MAX = 46         # INET6_ADDRSTRLEN

KINDS = {"source": KEY_SOURCE, "uri": KEY_URI, "hdr": KEY_HEADER, "url_param": KEY_URL_PARAM}


cdef uint32_t source_number(const char *text, uint32_t n) noexcept nogil:
    """An address as HAProxy hashes it; 0 for what is none."""
    cdef char copy[ADDRESS_BYTES_MAX]
    cdef uint8_t raw[16]
    cdef uint32_t h = 0, i, words = 0
    if n >= ADDRESS_BYTES_MAX:
        return 0
    memcpy(copy, text, n)
    copy[n] = 0
    if inet_pton(AF_INET, copy, raw) == 1:
        words = 1
    elif inet_pton(AF_INET6, copy, raw) == 1:
        words = 4
    for i in range(words):
        h ^= (<uint32_t>raw[4 * i] << 24 | <uint32_t>raw[4 * i + 1] << 16
              | <uint32_t>raw[4 * i + 2] << 8 | raw[4 * i + 3])
    return h


cdef class HashKey:
    """One tier's `balance` by a key. `kind`: source, uri, hdr or url_param."""

    def __init__(self, str kind, *, str function="sdbm", bint mixes=False, bytes name=b"",
                 bint whole=False, bint path_only=False, bint domain_only=False,
                 uint32_t length=0, uint32_t depth=0):
        self.kind = KINDS[kind]
        self.function = FUNCTIONS[function]
        self.mixes = mixes
        self.name = name
        self.name_start = self.name
        self.name_size = <uint32_t>len(name)
        self.whole = whole
        self.path_only = path_only
        self.domain_only = domain_only
        self.length = length
        self.depth = depth

    cdef uint64_t of_request(self, const Head *h, uint32_t source) noexcept:
        """The key of a request: `source` is its client's `source_number`."""
        if self.kind == KEY_SOURCE:
            return (<uint64_t>1 << KEY_GIVEN_BIT
                    | (avalanche(source) if self.mixes else source))
        if self.kind == KEY_URI:
            return self.of_uri(h)
        if self.kind == KEY_HEADER:
            return self.of_header(h)
        return self.of_url_param(h)

    cdef uint64_t finish(self, const char *p, uint32_t n) noexcept:
        cdef uint32_t hash = hash_with(self.function, p, n)
        return <uint64_t>1 << KEY_GIVEN_BIT | (avalanche(hash) if self.mixes else hash)

    cdef uint64_t of_uri(self, const Head *h) noexcept:
        cdef const char *p = h.base + (h.path if self.path_only else h.target)
        cdef uint32_t size = h.path_size if self.path_only else h.target_size
        cdef uint32_t n = 0, slashes = 0
        if self.length:
            size = min(size, self.length)
        while n < size:
            if p[n] == b'/':
                slashes += 1
                if slashes == self.depth + 1 and self.depth:
                    break
            elif p[n] == b'?' and not self.whole:
                break
            n += 1
        return self.finish(p, n) if size else self.finish(b"/", 1)

    cdef uint64_t of_header(self, const Head *h) noexcept:
        cdef const Field *f
        cdef const char *p
        cdef uint32_t i, n = 0
        cdef bint quoted = False
        for i in range(h.count):
            f = &h.fields[i]
            if f.name_size != self.name_size or not same_token(
                    h.base + f.name, self.name_start, self.name_size):
                continue
            p = h.base + f.value
            while n < f.value_size and (quoted or p[n] != b','):
                if quoted and p[n] == b'\\' and n + 1 < f.value_size:
                    n += 1
                elif p[n] == b'"':
                    quoted = not quoted
                n += 1
            while n and (p[n - 1] == b' ' or p[n - 1] == b'\t'):
                n -= 1
            if n == 0:
                return 0
            return self.of_domain(p, n) if self.domain_only else self.finish(p, n)
        return 0

    cdef uint64_t of_domain(self, const char *p, uint32_t n) noexcept:
        """www.shop.example: shop. A name without a dot: all of it."""
        cdef uint32_t end = n, start
        start = n
        while start and p[start - 1] != b'.':
            start -= 1
        if start > 1:                          # the last dot, and something before it
            end = start - 1
            start -= 2
            while start and p[start - 1] != b'.':
                start -= 1
        else:
            start = 0
        return self.finish(p + start, end - start)

    cdef uint64_t of_url_param(self, const Head *h) noexcept:
        cdef const char *p = h.base + h.target
        cdef const char *end = p + h.target_size
        cdef const char *next_
        p = <const char *>memchr(p, b'?', h.target_size)
        while p != NULL:
            p += 1
            next_ = <const char *>memchr(p, b'&', end - p)
            if (end - p > self.name_size and p[self.name_size] == b'='
                    and memcmp(p, self.name_start, self.name_size) == 0):
                p += self.name_size + 1
                return self.finish(p, <uint32_t>((next_ if next_ != NULL else end) - p))
            p = next_
        return 0

    def of_request_for_test(self, bytes head, bytes address):
        """HAProxy's hash, or None when the request has no key."""
        cdef Head h
        cdef HeadLimits limits = HeadLimits(65536, 65536, 128)
        cdef uint64_t key
        assert parse_request_head(head, <uint32_t>len(head), &limits, &h) > 0
        key = self.of_request(&h, source_number(address, <uint32_t>len(address)))
        return <uint32_t>key if key else None
