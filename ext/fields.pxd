# Field lines copied from one head to another, and the lines that every head has.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from ext.http1 cimport Head

cdef enum:
    ID_COUNT = 64                  # more than HeaderId has rows

cdef struct Text:                  # borrowed: the owner of the struct says from what
    const char *data
    uint32_t size

cdef inline char *put(char *o, const char *p, uint32_t n) noexcept nogil:
    memcpy(o, p, n)
    return o + n

cdef char *copy_fields(char *o, const Head *head, const uint8_t *drop,
                       uint64_t *seen) noexcept nogil
cdef char *copy_field(char *o, const Head *head, int id) noexcept nogil
cdef char *join_values(char *o, const Head *head, int id, const char *separator,
                       bint *any) noexcept nogil
cdef bint has_field(const Head *head, int id) noexcept nogil
cdef bint same_token(const char *p, const char *q, uint32_t size) noexcept nogil
cdef char *write_status_line(char *o, unsigned status, const char *reason,
                             uint32_t size) noexcept nogil
cdef char *write_length(char *o, int64_t length) noexcept nogil
