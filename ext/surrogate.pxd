# The surrogate keys of an answer, as hashes.
from libc.stdint cimport uint32_t, uint64_t
from ext.http1 cimport Head
from ext.limits cimport SURROGATE_KEYS_BYTES_MAX

cdef enum:
    SURROGATE_KEYS_MAX = SURROGATE_KEYS_BYTES_MAX // 2     # one byte and a space each

cdef uint64_t surrogate_hash(const uint64_t *hash_key, const char *key,
                             uint32_t size) noexcept nogil
cdef uint32_t surrogate_hashes(const uint64_t *hash_key, const Head *response,
                               uint64_t *hashes) noexcept nogil
