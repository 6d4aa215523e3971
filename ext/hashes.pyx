"""Hash functions of keys: which server, which part of the cache.

HAProxy's four functions (manual, `hash-type`) are here bit by bit, because a key's server is the
remainder or the place of this number: another function would be another distribution. sdbm and
djb2 are those of the databases of these names, crc32 is IEEE 802.3's, wt6 was made for HAProxy, and
`avalanche` is Bob Jenkins' full avalanche of an integer, times a prime of three quarters of 2^32.
None of them resists an attacker who chooses keys: he can choose a server, as at HAProxy.
"""
from libc.stdint cimport uint8_t

FUNCTIONS = {"sdbm": HASH_SDBM, "djb2": HASH_DJB2, "wt6": HASH_WT6, "crc32": HASH_CRC32}

cdef uint32_t[256] crc32_table
for _i in range(256):
    _h = _i
    for _ in range(8):
        _h = _h >> 1 ^ (0xEDB88320 if _h & 1 else 0)
    crc32_table[_i] = _h


cdef uint64_t hash_bytes(const char *p, uint32_t n) noexcept nogil:
    """64-bit FNV-1a with a final mix, so that short keys spread over all bits."""
    cdef uint64_t h = 14695981039346656037ULL
    cdef uint32_t i
    for i in range(n):
        h = (h ^ <unsigned char>p[i]) * 1099511628211ULL
    h ^= h >> 33
    h *= 0xFF51AFD7ED558CCDULL
    h ^= h >> 33
    h *= 0xC4CEB9FE1A85EC53ULL
    return h ^ (h >> 33)


cdef uint32_t hash_with(int function, const char *p, uint32_t n) noexcept nogil:
    """The key's hash by one of HAProxy's functions."""
    cdef const uint8_t *key = <const uint8_t *>p
    cdef uint32_t h = 0, i
    if function == HASH_SDBM:
        for i in range(n):
            h = key[i] + (h << 6) + (h << 16) - h
        return h
    if function == HASH_DJB2:
        h = 5381
        for i in range(n):
            h = (h << 5) + h + key[i]
        return h
    if function == HASH_CRC32:
        h = <uint32_t>0xFFFFFFFF
        for i in range(n):
            h = h >> 8 ^ crc32_table[(h ^ key[i]) & 0xFF]
        return ~h
    return wt6(key, n)


cdef uint32_t wt6(const uint8_t *key, uint32_t n) noexcept nogil:
    """Two registers turned by amounts that depend on what came before."""
    cdef uint32_t a = <uint32_t>0xA53C965A, b = <uint32_t>0x5CA6953A, c, i
    cdef uint32_t turn_a = 6, turn_b = 18
    for i in range(n):
        a = ~(a ^ key[i])
        b = ~(b + key[i])
        c = turned(b, turn_a)
        b = turned(a, turn_b)
        a = c
        c = (a >> 16 ^ b) & 0xFFFF
        turn_a = c & 31
        turn_b = c >> 11
    return a ^ b


cdef inline uint32_t turned(uint32_t h, uint32_t bits) noexcept nogil:
    return h << bits | h >> (32 - bits & 31)


cdef uint32_t avalanche(uint32_t h) noexcept nogil:
    """Every bit of the result depends on every bit of `h`."""
    h = h + <uint32_t>0x7ED55D16 + (h << 12)
    h = h ^ <uint32_t>0xC761C23C ^ (h >> 19)
    h = h + <uint32_t>0x165667B1 + (h << 5)
    h = (h + <uint32_t>0xD3A2646C) ^ (h << 9)
    h = h + <uint32_t>0xFD7046C5 + (h << 3)
    h = h ^ <uint32_t>0xB55A4F09 ^ (h >> 16)
    return h * <uint32_t>3221225473


def ring_seed(bytes name):
    """Where a server's points on a ring come from, when they shall depend on its name alone."""
    return avalanche(hash_with(HASH_CRC32, name, <uint32_t>len(name)))


def hash_for_test(str function, bytes key):
    return hash_with(FUNCTIONS[function], key, <uint32_t>len(key))


def avalanche_for_test(uint32_t h):
    return avalanche(h)
