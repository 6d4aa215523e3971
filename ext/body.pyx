"""Message bodies, read and framed the same way for requests and answers (RFC 9112 §6, §7).

Theory. A body comes in as a length, chunks, or until the close. `body_take` answers what one read
holds of it: the payload in one piece, how many bytes of the read it used, and whether it is the
last. Going out the payload of one read is one chunk or plain bytes; chunk boundaries and
extensions of the sender are not passed on (RFC 9112 §7.1.1 allows both). Nothing is copied: parts
are gathered by iovec.
"""
from ext.digits cimport write_hex
from ext.chunked cimport CHUNK_DONE, CHUNK_TRAILERS, chunked_decode, chunked_start
from ext.http1 cimport BODY_CHUNKED, BODY_LENGTH, BODY_UNTIL_CLOSE, parse_trailers


cdef void body_start(BodyReader *body, int kind, int64_t length, uint32_t extension_bytes_max,
                     uint32_t trailer_bytes_max) noexcept nogil:
    body.kind = <uint8_t>kind
    body.left = length
    if kind == BODY_CHUNKED:
        chunked_start(&body.chunks, extension_bytes_max, trailer_bytes_max)


cdef int body_take(BodyReader *body, char *p, uint32_t n, Head *trailers,
                   Piece *piece) noexcept nogil:
    """What of the n bytes at p belongs to the body: 0 with `piece` set, or minus a Refused reason.

    `trailers` holds the trailer fields when the last piece of a chunked body was taken.
    """
    cdef int rc
    piece.payload = p
    piece.size = 0
    piece.used = 0
    piece.last = False
    if body.kind == BODY_LENGTH:
        piece.size = n if <int64_t>n < body.left else <uint32_t>body.left
        piece.used = piece.size
        body.left -= piece.size
        piece.last = body.left == 0
    elif body.kind == BODY_UNTIL_CLOSE:
        piece.size = n
        piece.used = n
    elif body.kind == BODY_CHUNKED:
        rc = chunked_decode(&body.chunks, p, n, &piece.payload, &piece.size)
        if rc < 0:
            return rc
        piece.used = rc
        if body.chunks.state == CHUNK_TRAILERS:
            rc = parse_trailers(p + piece.used, n - piece.used, body.chunks.trailer_bytes_max,
                                trailers)
            if rc < 0:
                return rc
            if rc:
                piece.used += rc
                piece.last = True
                body.chunks.state = CHUNK_DONE
    else:
        piece.last = True
    return 0


cdef bint chunks_incomplete(const char *p, uint32_t n, uint32_t extension_bytes_max,
                            uint32_t trailer_bytes_max) noexcept nogil:
    """Is `p` the valid beginning of a chunked body without its last chunk? Changes nothing."""
    cdef Chunked chunks
    cdef int rc
    chunked_start(&chunks, extension_bytes_max, trailer_bytes_max)
    rc = chunked_decode(&chunks, <char *>p, n, NULL, NULL)
    return rc >= 0 and chunks.state < CHUNK_TRAILERS


cdef bint breaks_rules(const BodyReader *body, const char *p, uint32_t n) noexcept nogil:
    """Are these bytes no part of the body, whatever follows? Changes nothing."""
    cdef Chunked chunks
    if body.kind != BODY_CHUNKED:
        return False
    chunks = body.chunks
    return chunked_decode(&chunks, <char *>p, n, NULL, NULL) < 0


cdef int frame_chunk(Piece *piece, char *size_line, iovec *parts, int count) noexcept nogil:
    """Append a payload as one chunk, if it is not empty. `size_line`: FRAME_BYTES, borrowed."""
    cdef uint32_t n
    if piece.size == 0:
        return count
    n = write_hex(size_line, piece.size)
    size_line[n] = b'\r'
    size_line[n + 1] = b'\n'
    count = add_part(parts, count, size_line, n + 2)
    count = add_part(parts, count, piece.payload, piece.size)
    return add_part(parts, count, b"\r\n", 2)
