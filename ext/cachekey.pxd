# The primary key of a stored answer.
from libc.stdint cimport uint32_t
from ext.http1 cimport Head

cdef uint32_t key_room(const Head *request, uint32_t pop_size) noexcept nogil
cdef uint32_t write_key(const Head *request, const char *pop, uint32_t pop_size,
                        char *out) noexcept nogil
