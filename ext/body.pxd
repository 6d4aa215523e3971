# A body under way, in either direction: how it comes in, and how it is framed going out.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from posix.uio cimport iovec
from ext.chunked cimport Chunked
from ext.http1 cimport Head

cdef enum:
    PARTS_MAX = 5                  # head, size line, payload, CRLF, last chunk with trailers
    FRAME_BYTES = 20               # a size line: 16 digits and CRLF

cdef struct BodyReader:
    int64_t left                   # BODY_LENGTH: bytes still to come
    Chunked chunks                 # BODY_CHUNKED
    uint8_t kind                   # Body

cdef struct Piece:                 # what one read holds of a body
    char *payload                  # borrowed from the read
    uint32_t size
    uint32_t used                  # bytes of the read, framing included
    bint last                      # the body ends here

cdef void body_start(BodyReader *body, int kind, int64_t length, uint32_t extension_bytes_max,
                     uint32_t trailer_bytes_max) noexcept nogil
cdef int body_take(BodyReader *body, char *p, uint32_t n, Head *trailers,
                   Piece *piece) noexcept nogil
cdef bint chunks_incomplete(const char *p, uint32_t n, uint32_t extension_bytes_max,
                            uint32_t trailer_bytes_max) noexcept nogil
cdef bint breaks_rules(const BodyReader *body, const char *p, uint32_t n) noexcept nogil
cdef int frame_chunk(Piece *piece, char *size_line, iovec *parts, int count) noexcept nogil
cdef inline int add_part(iovec *parts, int count, const char *p, size_t n) noexcept nogil:
    """Append a part; the new count."""
    parts[count].iov_base = <void *>p
    parts[count].iov_len = n
    return count + 1
