# Hashes of keys. HAProxy's have 32 bits and its names (`hash-type`).
from libc.stdint cimport uint32_t, uint64_t

cdef enum HashFunction:
    HASH_SDBM, HASH_DJB2, HASH_WT6, HASH_CRC32

cdef uint64_t hash_bytes(const char *p, uint32_t n) noexcept nogil
cdef uint32_t hash_with(int function, const char *p, uint32_t n) noexcept nogil
cdef uint32_t avalanche(uint32_t h) noexcept nogil
