"""The chunked transfer coding, decoded in place (RFC 9112 §7.1).

Theory. A byte-wise state machine for the framing, whole spans for the data. Sizes are hexadecimal
digits and nothing else; extensions are read over, their bytes counted over the whole message;
every line ends with CRLF. The payload of one read is moved together, so that it can be sent on as
one chunk. Trailers are left to http1.parse_trailers. Called by: body. Touches no Python.
"""
from libc.string cimport memmove

from ext.limits cimport CHUNK_SIZE_DIGITS_MAX, Refused

cdef signed char[256] hex_digit
for _c in range(256):
    hex_digit[_c] = int(chr(_c), 16) if chr(_c) in "0123456789abcdefABCDEF" else -1


cdef void chunked_start(Chunked *c, uint32_t extension_bytes_max,
                        uint32_t trailer_bytes_max) noexcept nogil:
    c.left = 0
    c.extension_bytes = 0
    c.extension_bytes_max = extension_bytes_max
    c.trailer_bytes_max = trailer_bytes_max
    c.state = CHUNK_SIZE_FIRST
    c.digits = 0


cdef inline int chunk_size_byte(Chunked *c, unsigned char b) noexcept nogil:
    """One byte of `chunk-size [chunk-ext] CR`: 0 or a minus reason (RFC 9112 §7.1)."""
    if hex_digit[b] >= 0:
        c.digits += 1
        if c.digits > CHUNK_SIZE_DIGITS_MAX or c.left >> 59:
            return -<int>Refused.BAD_CHUNK_SIZE
        c.left = (c.left << 4) | <uint64_t>hex_digit[b]
        c.state = CHUNK_SIZE
    elif c.state == CHUNK_SIZE_FIRST:
        return -<int>Refused.BAD_CHUNK_SIZE
    elif b == b'\r':
        c.state = CHUNK_SIZE_LF
    elif b == b';':
        c.state = CHUNK_EXTENSION
        c.extension_bytes += 1
        if c.extension_bytes > c.extension_bytes_max:
            return -<int>Refused.CHUNK_EXTENSION_TOO_LONG
    else:
        return -<int>Refused.BAD_CHUNK_SIZE
    return 0


cdef inline int chunk_extension_byte(Chunked *c, unsigned char b) noexcept nogil:
    if b == b'\r':
        c.state = CHUNK_SIZE_LF
    elif b == 9 or (b >= 0x20 and b != 0x7F):
        c.extension_bytes += 1
        if c.extension_bytes > c.extension_bytes_max:
            return -<int>Refused.CHUNK_EXTENSION_TOO_LONG
    else:
        return -<int>Refused.BAD_CHUNK_SIZE
    return 0


cdef int chunked_decode(Chunked *c, char *p, uint32_t size, char **payload,
                        uint32_t *payload_size) noexcept nogil:
    """Decode in place what is in `p`: bytes consumed (maybe 0), or a minus reason.

    `payload` points into `p` (borrowed until the buffer changes): later chunks are moved up to
    the first; with payload NULL nothing is moved. Stops before the trailer section with state
    CHUNK_TRAILERS; the caller goes on with parse_trailers and then sets CHUNK_DONE.
    """
    cdef uint32_t at = 0, n, filled = 0
    cdef char *begin = NULL
    cdef unsigned char b
    cdef int rc
    if payload != NULL:
        payload[0] = p
        payload_size[0] = 0
    while at < size and c.state < CHUNK_TRAILERS:
        if c.state == CHUNK_DATA:
            n = size - at
            if <uint64_t>n > c.left:
                n = <uint32_t>c.left
            if payload == NULL:
                begin = NULL
            elif begin == NULL:
                begin = p + at
                payload[0] = begin
            elif begin + filled != p + at:
                memmove(begin + filled, p + at, n)
            filled += n
            at += n
            c.left -= n
            if c.left == 0:
                c.state = CHUNK_DATA_CR
            continue
        b = p[at]
        at += 1
        if c.state <= CHUNK_SIZE:
            rc = chunk_size_byte(c, b)
            if rc < 0:
                return rc
        elif c.state == CHUNK_EXTENSION:
            rc = chunk_extension_byte(c, b)
            if rc < 0:
                return rc
        elif c.state == CHUNK_SIZE_LF:
            if b != b'\n':
                return -<int>Refused.BAD_CHUNK_SIZE
            c.digits = 0
            c.state = CHUNK_DATA if c.left else CHUNK_TRAILERS
        elif c.state == CHUNK_DATA_CR:
            if b != b'\r':
                return -<int>Refused.BAD_CHUNK_END
            c.state = CHUNK_DATA_LF
        else:
            if b != b'\n':
                return -<int>Refused.BAD_CHUNK_END
            c.state = CHUNK_SIZE_FIRST
    if payload != NULL:
        payload_size[0] = filled
    return at
