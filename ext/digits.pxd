# Numbers as HTTP writes them.
from libc.stdint cimport uint32_t, uint64_t

cdef uint32_t write_number(char *out, uint64_t n) noexcept nogil
cdef uint32_t write_hex(char *out, uint64_t n) noexcept nogil
