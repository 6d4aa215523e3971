# Keyed hashes of names that clients and origins choose.
from libc.stdint cimport uint32_t, uint64_t

cdef void siphash128(const uint64_t *key, const char *p, uint32_t size,
                     uint64_t *out) noexcept nogil
cdef uint64_t siphash64(const uint64_t *key, const char *p, uint32_t size) noexcept nogil
