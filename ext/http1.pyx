"""HTTP/1.0 and 1.1 message heads and trailers, parsed strictly (RFC 9112).

Theory. A head is scanned once, left to right, with one table load per byte; positions are kept as
offsets, nothing is copied. Whatever two parsers could read differently is refused, never repaired:
the caller answers 400 (502 for a node's answer) and closes. A head is judged only when it is
complete, except that a limit is reported as soon as it is passed, and a byte that can never
become valid as soon as it is seen.

Called by: session (requests), upstream (answers), tests through the classes at the end.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from ext.chunked cimport CHUNK_DONE, CHUNK_TRAILERS, Chunked, chunked_decode, chunked_start
from ext.headers cimport (known_field, same_name, Known, HOP_BY_HOP, PROTECTED, NOT_IN_TRAILER,
                          HeaderId)
from ext.limits cimport CONNECTION_OPTIONS_MAX, FIELDS_MAX, METHOD_BYTES_MAX, Refused
from ext.limits import REFUSED_STATUS, Refused as RefusedEnum

cdef enum ByteClass:
    TOKEN = 1                      # tchar, RFC 9110 §5.6.2
    VALUE = 2                      # field-content: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5)
    TARGET = 4                     # visible ASCII that no parser splits a target on
    HOSTCHAR = 8                   # uri-host, RFC 3986 §3.2.2 without user information
    HEX = 16

cdef unsigned char kind[256]


cdef int fill_classes() except -1:
    for c in range(256):
        text = chr(c)
        ascii_ = c < 128
        kind[c] = 0
        if ascii_ and (text.isalnum() or text in "!#$%&'*+-.^_`|~"):
            kind[c] |= TOKEN
        if c == 9 or (c >= 0x20 and c != 0x7F):
            kind[c] |= VALUE
        # `#` starts a fragment, which is never sent; the others are what naive readers quote on.
        if 0x21 <= c <= 0x7E and text not in '#"<>\\^`':
            kind[c] |= TARGET
        if ascii_ and (text.isalnum() or text in "-._~!$&'()*+,;=%"):
            kind[c] |= HOSTCHAR
        if ascii_ and text in "0123456789abcdefABCDEF":
            kind[c] |= HEX
    return 0


fill_classes()


cdef bint all_of(const char *p, uint32_t size, unsigned class_) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        if not kind[<unsigned char>p[i]] & class_:
            return False
    return True


cdef bint is_token(const char *p, uint32_t size) noexcept nogil:
    """A field name, a method (RFC 9110 §5.6.2)."""
    return size > 0 and all_of(p, size, TOKEN)


cdef bint is_value(const char *p, uint32_t size) noexcept nogil:
    """Bytes that a field's value may have (RFC 9110 §5.5)."""
    return all_of(p, size, VALUE)


cdef bint is_target(const char *p, uint32_t size) noexcept nogil:
    """Bytes that a request's target may have."""
    return size > 0 and all_of(p, size, TARGET)


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return c >= 48 and c <= 57


cdef int method_number(const char *p, uint32_t size) noexcept nogil:
    """Method of a token; methods are case-sensitive (RFC 9110 §9.1)."""
    if size == 3:
        if memcmp(p, b"GET", 3) == 0:
            return M_GET
        if memcmp(p, b"PUT", 3) == 0:
            return M_PUT
    elif size == 4:
        if memcmp(p, b"POST", 4) == 0:
            return M_POST
        if memcmp(p, b"HEAD", 4) == 0:
            return M_HEAD
    elif size == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return M_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return M_TRACE
    elif size == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return M_DELETE
    elif size == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return M_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return M_CONNECT
    return M_OTHER


# -- start lines ---------------------------------------------------------------------------------

cdef int parse_version(const char *p, uint32_t size) noexcept nogil:
    """Minor version of `HTTP/1.0` or `HTTP/1.1`, else -1. Eight bytes, case-sensitive."""
    if (size != 8 or p[0] != b'H' or p[1] != b'T' or p[2] != b'T' or p[3] != b'P' or p[4] != b'/'
            or p[5] != b'1' or p[6] != b'.'):
        return -1
    if p[7] == b'1':
        return 1
    return 0 if p[7] == b'0' else -1


cdef int check_host(const char *p, uint32_t size) noexcept nogil:
    """0 if `p` is uri-host [":" port] (RFC 9110 §7.2), not empty; else -BAD_HOST."""
    cdef uint32_t i = 0, digits = 0
    if size == 0:
        return -<int>Refused.BAD_HOST
    if p[0] == b'[':                       # IP-literal
        i = 1
        while i < size and (kind[<unsigned char>p[i]] & HEX or p[i] == b':' or p[i] == b'.'):
            i += 1
        if i == 1 or i >= size or p[i] != b']':
            return -<int>Refused.BAD_HOST
        i += 1
    else:
        while i < size and kind[<unsigned char>p[i]] & HOSTCHAR:
            if p[i] == b'%' and not (i + 2 < size and kind[<unsigned char>p[i + 1]] & HEX
                                     and kind[<unsigned char>p[i + 2]] & HEX):
                return -<int>Refused.BAD_HOST
            i += 1
        if i == 0:
            return -<int>Refused.BAD_HOST
    if i < size:
        if p[i] != b':':
            return -<int>Refused.BAD_HOST
        i += 1
        while i < size and is_digit(p[i]):
            i += 1
            digits += 1
        if i < size or digits > 5:
            return -<int>Refused.BAD_HOST
    return 0


cdef int absolute_form(const char *p, Head *head) noexcept nogil:
    """Split `http://host/path` (RFC 9112 §3.2.2): sets host and path; 0 or a minus reason."""
    cdef uint32_t at = head.target, end = head.target + head.target_size
    if head.target_size > 7 and same_name(p + at, b"http", 4) and p[at + 4] == b':':
        at += 5
    elif head.target_size > 8 and same_name(p + at, b"https", 5) and p[at + 5] == b':':
        at += 6
    else:
        return -<int>Refused.BAD_TARGET
    if p[at] != b'/' or p[at + 1] != b'/':
        return -<int>Refused.BAD_TARGET
    at += 2
    head.host = at
    while at < end and p[at] != b'/' and p[at] != b'?':
        at += 1
    head.host_size = at - head.host
    if check_host(p + head.host, head.host_size) < 0:
        return -<int>Refused.BAD_TARGET
    if at < end and p[at] == b'?':         # no path before the query: "/" must be put in front,
        return -<int>Refused.BAD_TARGET    # and readers differ in whether they do
    head.path = at
    head.path_size = end - at
    head.flags |= H_ABSOLUTE
    return 0


cdef int check_target(const char *p, Head *head) noexcept nogil:
    """The four request-target forms (RFC 9112 §3.2)."""
    cdef char first = p[head.target]
    cdef uint32_t at
    if head.method == M_CONNECT:
        at = head.target + head.target_size    # authority-form has a port (RFC 9112 §3.2.3)
        while is_digit(p[at - 1]):
            at -= 1
        if (check_host(p + head.target, head.target_size) < 0 or p[at - 1] != b':'
                or at == head.target + head.target_size):
            return -<int>Refused.BAD_TARGET
    elif first == b'/':
        head.path = head.target
        head.path_size = head.target_size
    elif first == b'*':
        if head.target_size != 1 or head.method != M_OPTIONS:
            return -<int>Refused.BAD_TARGET
        head.path = head.target
        head.path_size = 1
    else:
        return absolute_form(p, head)
    return 0


cdef int request_line(const char *p, uint32_t size, const HeadLimits *limits,
                      Head *head) noexcept nogil:
    """`method SP target SP version CRLF`: offset after it, NEED_MORE, or a minus reason."""
    cdef uint32_t at = head.start, mark, stop = head.start + limits.request_line_bytes + 1
    cdef uint32_t end = size if size < stop else stop
    cdef int minor
    mark = at
    while at < end and kind[<unsigned char>p[at]] & TOKEN:
        at += 1
    if at - mark > METHOD_BYTES_MAX:
        return -<int>Refused.BAD_METHOD
    if at >= end:
        return NEED_MORE if at < stop else -<int>Refused.REQUEST_LINE_TOO_LONG
    if p[at] != b' ' or at == mark:
        return -<int>Refused.BAD_METHOD
    head.method_size = at - mark
    head.method = method_number(p + mark, head.method_size)
    at += 1
    mark = at
    while at < end and kind[<unsigned char>p[at]] & TARGET:
        at += 1
    if at >= end:
        return NEED_MORE if at < stop else -<int>Refused.REQUEST_LINE_TOO_LONG
    if p[at] != b' ' or at == mark:
        return -<int>Refused.BAD_TARGET
    head.target = mark
    head.target_size = at - mark
    at += 1
    mark = at
    while at < end and at - mark < 9 and p[at] != b'\r' and p[at] != b'\n':
        at += 1
    if at - mark == 9:
        return -<int>Refused.BAD_VERSION
    if at >= end:
        return NEED_MORE if at < stop else -<int>Refused.REQUEST_LINE_TOO_LONG
    minor = parse_version(p + mark, at - mark)
    if minor < 0:
        return -<int>Refused.BAD_VERSION
    head.minor = minor
    if p[at] != b'\r':
        return -<int>Refused.BAD_LINE_END
    at += 1
    if at >= size:
        return NEED_MORE
    if p[at] != b'\n':
        return -<int>Refused.BAD_LINE_END
    return at + 1


cdef const char *STATUS_PREFIX = b"HTTP/1."


cdef int status_line(const char *p, uint32_t size, uint32_t bytes_max, Head *head) noexcept nogil:
    """`HTTP/1.x SP 3DIGIT [SP reason] CRLF` (RFC 9112 §4); a missing SP is tolerated as nodes
    without a reason send it."""
    cdef uint32_t at = 0
    cdef int minor
    while at < size and at < 12:               # what cannot become right is not waited for
        if at < 7 and p[at] != STATUS_PREFIX[at] or p[at] == b'\r' or p[at] == b'\n':
            return -<int>Refused.BAD_STATUS_LINE
        at += 1
    if size < 12:
        return NEED_MORE
    minor = parse_version(p, 8)
    if minor < 0:
        return -<int>Refused.BAD_VERSION
    head.minor = minor
    if (p[8] != b' ' or not is_digit(p[9]) or not is_digit(p[10]) or not is_digit(p[11])
            or p[9] == b'0'):
        return -<int>Refused.BAD_STATUS_LINE
    head.status = (p[9] - 48) * 100 + (p[10] - 48) * 10 + (p[11] - 48)
    at = 12
    if at >= size:
        return NEED_MORE
    if p[at] == b' ':
        at += 1
        head.reason = at
        while at < size and kind[<unsigned char>p[at]] & VALUE:
            at += 1
        head.reason_size = at - head.reason
    if at > bytes_max:
        return -<int>Refused.HEAD_TOO_LONG
    if at >= size:
        return NEED_MORE
    if p[at] != b'\r':
        return -<int>Refused.BAD_STATUS_LINE
    at += 1
    if at >= size:
        return NEED_MORE
    if p[at] != b'\n':
        return -<int>Refused.BAD_LINE_END
    return at + 1


# -- fields --------------------------------------------------------------------------------------

cdef int field_lines(const char *p, uint32_t at, uint32_t size, const HeadLimits *limits,
                     Head *head) noexcept nogil:
    """All field lines to the empty line: offset after it, NEED_MORE, or a minus reason."""
    cdef uint32_t name, value, stop, begin = at
    cdef Field *field
    cdef const Known *known
    cdef unsigned char c
    while True:
        if at - begin > limits.header_bytes:
            return -<int>Refused.HEAD_TOO_LONG
        if at >= size:
            return NEED_MORE
        c = p[at]
        if c == b'\r':
            if at + 1 >= size:
                return NEED_MORE
            if p[at + 1] != b'\n':
                return -<int>Refused.BAD_LINE_END
            return at + 2
        name = at
        while at < size and kind[<unsigned char>p[at]] & TOKEN:
            at += 1
        if at >= size:
            return NEED_MORE if at - begin <= limits.header_bytes else -<int>Refused.HEAD_TOO_LONG
        if p[at] != b':' or at == name:
            if at == name and (c == b' ' or c == b'\t'):
                return -<int>Refused.OBS_FOLD          # RFC 9112 §5.2
            return -<int>(Refused.BAD_LINE_END if p[at] == b'\n' or p[at] == b'\r'
                          else Refused.BAD_FIELD_NAME)
        if head.count >= limits.header_count:
            return -<int>Refused.TOO_MANY_FIELDS
        field = &head.fields[head.count]
        field.name = name
        if at - name > 0xFFFF:
            return -<int>Refused.HEAD_TOO_LONG
        field.name_size = at - name
        at += 1
        while at < size and (p[at] == b' ' or p[at] == b'\t'):
            at += 1
        value = at
        while at < size and kind[<unsigned char>p[at]] & VALUE:
            at += 1
        if at - begin > limits.header_bytes:
            return -<int>Refused.HEAD_TOO_LONG
        if at >= size:
            return NEED_MORE
        if p[at] != b'\r':
            return -<int>(Refused.BAD_LINE_END if p[at] == b'\n' else Refused.BAD_FIELD_VALUE)
        stop = at
        at += 1
        if at >= size:
            return NEED_MORE
        if p[at] != b'\n':
            return -<int>Refused.BAD_LINE_END
        at += 1
        while stop > value and (p[stop - 1] == b' ' or p[stop - 1] == b'\t'):
            stop -= 1
        field.value = value
        field.value_size = stop - value
        known = known_field(p + name, field.name_size)
        field.id = known.id if known != NULL else 0
        field.flags = known.flags if known != NULL else 0
        head.count += 1


cdef int length_of(const char *p, const Field *field, int64_t *length) noexcept nogil:
    """Content-Length = 1*DIGIT (RFC 9110 §8.6), at most 2^63 - 1."""
    cdef uint32_t i
    cdef uint64_t n = 0
    if field.value_size == 0 or field.value_size > 19:
        return -<int>Refused.BAD_CONTENT_LENGTH
    for i in range(field.value_size):
        if not is_digit(p[field.value + i]):
            return -<int>Refused.BAD_CONTENT_LENGTH
        n = n * 10 + <uint64_t>(p[field.value + i] - 48)
    if n >> 63:
        return -<int>Refused.BAD_CONTENT_LENGTH
    length[0] = <int64_t>n
    return 0


cdef void name_hop_by_hop(const char *p, const char *option, uint32_t size,
                          Head *head) noexcept nogil:
    """A Connection option names fields that stay on this hop (RFC 9110 §7.6.1)."""
    cdef uint32_t i
    cdef int64_t j
    cdef unsigned char a, b
    cdef Field *field
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_size != size or field.flags & (HOP_BY_HOP | PROTECTED):
            continue
        # From the end: crafted names share long beginnings (X-Long-Prefix-1, -2, ...), and a
        # common end as well costs at most FIELDS_MAX x CONNECTION_OPTIONS_MAX x the name.
        for j in range(size - 1, -1, -1):
            a = p[field.name + j]
            b = option[j]
            if a != b and ((a ^ b) != 0x20 or not ((a | 0x20) >= 97 and (a | 0x20) <= 122)):
                break
        else:
            field.flags |= HOP_BY_HOP


cdef int connection_options(const char *p, const Field *field, Head *head,
                            uint32_t *named) noexcept nogil:
    """Read one Connection field: a comma list of tokens (RFC 9110 §7.6.1)."""
    cdef uint32_t at = field.value, end = field.value + field.value_size, mark, size
    while at < end:
        if p[at] == b' ' or p[at] == b'\t' or p[at] == b',':
            at += 1
            continue
        mark = at
        while at < end and kind[<unsigned char>p[at]] & TOKEN:
            at += 1
        size = at - mark
        if size == 0:
            return -<int>Refused.BAD_CONNECTION
        if size == 5 and same_name(p + mark, b"close", 5):
            head.flags |= H_CLOSE
        elif size == 10 and same_name(p + mark, b"keep-alive", 10):
            head.flags |= H_KEEP_ALIVE
        elif size == 7 and same_name(p + mark, b"upgrade", 7):
            head.flags |= H_UPGRADE
        else:
            named[0] += 1
            if named[0] > CONNECTION_OPTIONS_MAX:
                return -<int>Refused.BAD_CONNECTION
            name_hop_by_hop(p, p + mark, size, head)
        while at < end and (p[at] == b' ' or p[at] == b'\t'):
            at += 1
        if at < end and p[at] != b',':
            return -<int>Refused.BAD_CONNECTION
    return 0


cdef int read_framing(const char *p, Head *head) noexcept nogil:
    """Content-Length, Transfer-Encoding, Connection, Upgrade, TE (RFC 9112 §6)."""
    cdef uint32_t i, named = 0
    cdef int rc
    cdef Field *field
    cdef bint encoded = False
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == 0:
            continue
        if field.id == HeaderId.CONTENT_LENGTH:
            if head.content_length >= 0:
                return -<int>Refused.REPEATED_CONTENT_LENGTH
            rc = length_of(p, field, &head.content_length)
            if rc < 0:
                return rc
        elif field.id == HeaderId.TRANSFER_ENCODING:
            # Only `chunked`, once, alone, and never in HTTP/1.0 (RFC 9112 §6.1).
            if (encoded or head.minor == 0 or field.value_size != 7
                    or not same_name(p + field.value, b"chunked", 7)):
                return -<int>Refused.BAD_TRANSFER_ENCODING
            encoded = True
            head.flags |= H_CHUNKED
        elif field.id == HeaderId.CONNECTION:
            rc = connection_options(p, field, head, &named)
            if rc < 0:
                return rc
        elif field.id == HeaderId.UPGRADE:
            head.upgrade = i + 1
        elif field.id == HeaderId.TE:
            if field.value_size == 8 and same_name(p + field.value, b"trailers", 8):
                head.flags |= H_TE_TRAILERS
    if encoded and head.content_length >= 0:
        return -<int>Refused.LENGTH_AND_TRANSFER_ENCODING
    if head.upgrade == 0 or head.minor == 0:   # RFC 9110 §7.8: ignored in HTTP/1.0
        head.flags &= ~<uint32_t>H_UPGRADE
    return 0


cdef int read_host(const char *p, Head *head) noexcept nogil:
    """Exactly one Host in HTTP/1.1, at most one in 1.0 (RFC 9112 §3.2); and Expect."""
    cdef uint32_t i
    cdef Field *field
    cdef bint seen = False
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == HeaderId.HOST:
            if seen:
                return -<int>Refused.REPEATED_HOST
            seen = True
            if check_host(p + field.value, field.value_size) < 0:
                return -<int>Refused.BAD_HOST
            if not head.flags & H_ABSOLUTE:
                head.host = field.value
                head.host_size = field.value_size
        elif field.id == HeaderId.EXPECT and head.minor == 1:
            if field.value_size == 12 and same_name(p + field.value, b"100-continue", 12):
                head.flags |= H_EXPECT_CONTINUE
    if not seen and head.minor == 1:
        return -<int>Refused.MISSING_HOST
    return 0


cdef inline void clear(Head *head, const char *p) noexcept nogil:
    head.base = p
    head.flags = 0
    head.content_length = -1
    head.start = 0
    head.path_size = 0
    head.host_size = 0
    head.reason_size = 0
    head.count = 0
    head.upgrade = 0
    head.body = BODY_NONE


cdef int parse_request_head(const char *p, uint32_t size, const HeadLimits *limits,
                            Head *head) noexcept nogil:
    """Parse one request head: bytes consumed, NEED_MORE, or minus a Refused reason.

    One empty line before it is skipped (RFC 9112 §2.2). `head` is valid only when > 0.
    """
    cdef int at, rc
    clear(head, p)
    if size and p[0] == b'\r':
        if size < 2:
            return NEED_MORE
        if p[1] != b'\n':
            return -<int>Refused.BAD_LINE_END
        head.start = 2
    at = request_line(p, size, limits, head)
    if at <= 0:
        return at
    rc = check_target(p, head)
    if rc < 0:
        return rc
    at = field_lines(p, at, size, limits, head)
    if at <= 0:
        return at
    rc = read_framing(p, head)
    if rc == 0:
        rc = read_host(p, head)
    if rc < 0:
        return rc
    head.size = at
    if head.flags & H_CHUNKED:
        head.body = BODY_CHUNKED
    elif head.content_length > 0:
        head.body = BODY_LENGTH
    return at


cdef int parse_response_head(const char *p, uint32_t size, const HeadLimits *limits,
                             int request_method, Head *head) noexcept nogil:
    """Parse one answer's head and decide its body (RFC 9112 §6.3). Return as for requests."""
    cdef int at, rc
    clear(head, p)
    at = status_line(p, size, limits.header_bytes, head)
    if at <= 0:
        return at
    at = field_lines(p, at, size, limits, head)
    if at <= 0:
        return at
    rc = read_framing(p, head)
    if rc < 0:
        return rc
    head.size = at
    if head.status < 200 or head.status == 204:
        # RFC 9110 §8.6, RFC 9112 §6.1: neither field may be sent with these. `0` is harmless.
        if head.flags & H_CHUNKED or head.content_length > 0:
            return -<int>Refused.BODY_FORBIDDEN
        head.body = BODY_NONE
    elif request_method == M_HEAD or head.status == 304:
        head.body = BODY_NONE
    elif head.flags & H_CHUNKED:
        head.body = BODY_CHUNKED
    elif head.content_length > 0:
        head.body = BODY_LENGTH
    elif head.content_length == 0:
        head.body = BODY_NONE
    else:
        head.body = BODY_UNTIL_CLOSE
    return at


# -- trailers --------------------------------------------------------------------------------------

cdef int parse_trailers(const char *p, uint32_t size, uint32_t bytes_max,
                        Head *head) noexcept nogil:
    """The trailer section with its final empty line (RFC 9112 §7.1.2), into `head.fields`.

    Bytes consumed, NEED_MORE, or minus a reason. Fields that may not be trailers are flagged
    HOP_BY_HOP, so that nothing forwards them (RFC 9110 §6.5.1).
    """
    cdef HeadLimits limits
    cdef int at
    cdef uint32_t i
    limits.header_bytes = bytes_max
    limits.header_count = FIELDS_MAX
    limits.request_line_bytes = 0
    clear(head, p)
    at = field_lines(p, 0, size, &limits, head)
    if at < 0:
        return -<int>Refused.BAD_TRAILER
    head.size = at
    for i in range(head.count):
        if head.fields[i].flags & NOT_IN_TRAILER:
            head.fields[i].flags |= HOP_BY_HOP
    return at


# -- facade for tests ----------------------------------------------------------------------------

class ParseError(ValueError):
    """A message was refused: `reason` (Refused) and the `status` to answer."""

    def __init__(self, reason, status):
        super().__init__(f"{reason.name} ({status})")
        self.reason = reason
        self.status = status


class RequestHead:
    """A parsed request head; the fields are the attributes set in parse_request."""


class ResponseHead:
    """A parsed answer head; the fields are the attributes set in parse_response."""


cdef object refused(int rc, bint request):
    reason = RefusedEnum(-rc)
    return ParseError(reason, REFUSED_STATUS[reason] if request else 502)


cdef list fields_of(Head *head):
    return [(head.base[f.name:f.name + f.name_size], head.base[f.value:f.value + f.value_size])
            for f in head.fields[:head.count]]


cdef void common(object made, Head *head):
    made.minor = head.minor
    made.headers = fields_of(head)
    made.content_length = head.content_length
    made.chunked = bool(head.flags & H_CHUNKED)
    made.size = head.size


def parse_request(bytes data, *, request_line_bytes=8192, header_bytes=16384, header_count=100):
    """A RequestHead, or None when more bytes are needed; ParseError."""
    cdef HeadLimits limits
    cdef Head head
    cdef const char *p = data
    limits.request_line_bytes = request_line_bytes
    limits.header_bytes = header_bytes
    limits.header_count = header_count
    rc = parse_request_head(p, len(data), &limits, &head)
    if rc < 0:
        raise refused(rc, True)
    if rc == 0:
        return None
    made = RequestHead()
    common(made, &head)
    made.method = p[head.start:head.start + head.method_size]
    made.target = p[head.target:head.target + head.target_size]
    made.path = (p[head.path:head.path + head.path_size] if head.path_size
                 else b"*" if head.method == M_OPTIONS else b"/")
    made.host = p[head.host:head.host + head.host_size] if head.host_size else b""
    made.keep_alive = bool(not head.flags & H_CLOSE
                           and (head.minor == 1 or head.flags & H_KEEP_ALIVE))
    made.upgrade = bool(head.flags & H_UPGRADE)
    made.expect_continue = bool(head.flags & H_EXPECT_CONTINUE)
    return made


def parse_response(bytes data, *, bytes request_method=b"GET", header_bytes=73728,
                   header_count=256):
    """A ResponseHead, or None when more bytes are needed; ParseError."""
    cdef HeadLimits limits
    cdef Head head
    cdef const char *p = data
    limits.request_line_bytes = 0
    limits.header_bytes = header_bytes
    limits.header_count = header_count
    method = method_number(request_method, len(request_method))
    rc = parse_response_head(p, len(data), &limits, method, &head)
    if rc < 0:
        raise refused(rc, False)
    if rc == 0:
        return None
    made = ResponseHead()
    common(made, &head)
    made.status = head.status
    made.reason = p[head.reason:head.reason + head.reason_size] if head.reason_size else b""
    made.keep_alive = bool(not head.flags & H_CLOSE
                           and (head.minor == 1 or head.flags & H_KEEP_ALIVE))
    made.body = head.body
    return made


cdef class ChunkedReader:
    """Decoder of one chunked body; `feed` returns (bytes consumed, payload)."""

    cdef Chunked c
    cdef readonly list trailers

    def __init__(self, *, extension_bytes=256, trailer_bytes=8192):
        chunked_start(&self.c, extension_bytes, trailer_bytes)
        self.trailers = []

    @property
    def done(self):
        return self.c.state == CHUNK_DONE

    def feed(self, bytes data):
        cdef bytearray copy = bytearray(data)
        cdef char *p = copy
        cdef char *payload = NULL
        cdef uint32_t payload_size = 0
        cdef Head head
        cdef int rc = chunked_decode(&self.c, p, len(data), &payload, &payload_size)
        if rc < 0:
            raise refused(rc, True)
        made = payload[:payload_size]
        if self.c.state == CHUNK_TRAILERS:
            more = parse_trailers(p + rc, len(data) - rc, self.c.trailer_bytes_max, &head)
            if more < 0:
                raise refused(more, True)
            if more:
                self.trailers = fields_of(&head)
                self.c.state = CHUNK_DONE
                rc += more
        return rc, made
