"""SipHash-2-4 (Aumasson, Bernstein, INDOCRYPT 2012) with 64 and with 128 bits.

Theory. The cache's buckets and purge keys are chosen by names that anyone may send. A hash with a
secret 128-bit key leaves no way to aim many names at one bucket, or a key at another's entry. 2
rounds a word and 4 at the end are the authors' choice; 40 bytes take about 30 ns.

Called by: store, purgelog. Pure byte functions that touch no Python.
"""
from libc.string cimport memcpy

cdef struct Sip:
    uint64_t a, b, c, d


cdef inline uint64_t turn(uint64_t x, int bits) noexcept nogil:
    return x << bits | x >> (64 - bits)


cdef inline void rounds(Sip *s, int count) noexcept nogil:
    cdef int _i
    for _i in range(count):
        s.a += s.b
        s.b = turn(s.b, 13) ^ s.a
        s.a = turn(s.a, 32)
        s.c += s.d
        s.d = turn(s.d, 16) ^ s.c
        s.a += s.d
        s.d = turn(s.d, 21) ^ s.a
        s.c += s.b
        s.b = turn(s.b, 17) ^ s.c
        s.c = turn(s.c, 32)


cdef inline void take_in(Sip *s, uint64_t word) noexcept nogil:
    s.d ^= word
    rounds(s, 2)
    s.a ^= word


cdef void absorb(Sip *s, const uint64_t *key, const char *p, uint32_t size) noexcept nogil:
    """All bytes; the last word ends in the size's low byte. Words are little-endian, as we are."""
    cdef uint32_t at = 0
    cdef uint64_t word
    s.a = key[0] ^ 0x736F6D6570736575ULL
    s.b ^= key[1] ^ 0x646F72616E646F6DULL
    s.c = key[0] ^ 0x6C7967656E657261ULL
    s.d = key[1] ^ 0x7465646279746573ULL
    while at + 8 <= size:
        memcpy(&word, p + at, 8)
        take_in(s, word)
        at += 8
    word = 0
    memcpy(&word, p + at, size - at)
    take_in(s, word | <uint64_t>size << 56)


cdef uint64_t siphash64(const uint64_t *key, const char *p, uint32_t size) noexcept nogil:
    cdef Sip s
    s.b = 0
    absorb(&s, key, p, size)
    s.c ^= 0xFF
    rounds(&s, 4)
    return s.a ^ s.b ^ s.c ^ s.d


cdef void siphash128(const uint64_t *key, const char *p, uint32_t size,
                     uint64_t *out) noexcept nogil:
    cdef Sip s
    s.b = 0xEE                             # what tells the long hash from the short one
    absorb(&s, key, p, size)
    s.c ^= 0xEE
    rounds(&s, 4)
    out[0] = s.a ^ s.b ^ s.c ^ s.d
    s.b ^= 0xDD
    rounds(&s, 4)
    out[1] = s.a ^ s.b ^ s.c ^ s.d


def siphash_for_test(bytes key, bytes text, int bits):
    """The hash as the authors print it."""
    cdef uint64_t words[2]
    cdef uint64_t out[2]
    if len(key) != 16:
        raise ValueError(f"a key has 16 bytes, not {len(key)}")
    memcpy(words, <char *>key, 16)
    if bits == 64:
        out[0] = siphash64(words, text, <uint32_t>len(text))
        return (<char *>out)[:8]
    siphash128(words, text, <uint32_t>len(text), out)
    return (<char *>out)[:16]
