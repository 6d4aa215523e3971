# What of a request an answer depends on (Vary), as a text that equal requests have in common.
from libc.stdint cimport int64_t, uint32_t
from ext.http1 cimport Head
from ext.limits cimport HEAD_BYTES_MAX

cdef enum:
    # The names are from a head, the values from another; each field gets two bytes more.
    VARIANT_ROOM_BYTES = 3 * HEAD_BYTES_MAX

cdef struct Selecting:             # borrowed
    const Head *head               # of the request
    const char *accept_encoding    # stands for the field of that name; NULL: as in the head
    uint32_t accept_encoding_size

cdef int64_t variant_by_answer(const Selecting *request, const Head *response, bint by_encoding,
                               char *out) noexcept nogil
cdef int64_t variant_by_text(const Selecting *request, const char *text, uint32_t size,
                             char *out) noexcept nogil
cdef bint same_variant_names(const char *a, uint32_t a_size, const char *b,
                             uint32_t b_size) noexcept nogil
