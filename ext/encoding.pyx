"""Accept-Encoding reduced to the one coding that matters, so that few variants are stored.

Theory. Clients spell the same wish in hundreds of ways. Fastly replaces the field by one coding or
removes it before anything else looks at the request. The order is that of a Commerce service, whose
VCL takes brotli when the client has named it, else gzip. A coding with a weight of zero is refused
by the client (RFC 9110 §12.4.2); Fastly's documented text search does not see that.

Called by: forward (requests), session (variants). Touches no Python.
"""
from libc.stdint cimport uint32_t

from ext.headers cimport HeaderId, same_name
from ext.http1 cimport Field, HeadLimits, parse_request_head
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX


cdef inline bint is_space(char c) noexcept nogil:
    return c == b' ' or c == b'\t'


cdef bint refused(const char *p, const char *end) noexcept nogil:
    """Is there a weight of zero (`;q=0`, `; Q=0.000`) in the parameters at `p`?"""
    while p < end:
        if is_space(p[0]) or p[0] == b';':
            p += 1
            continue
        if end - p >= 3 and p[0] | 0x20 == b'q' and p[1] == b'=':
            p += 2
            while p < end and (p[0] == b'0' or p[0] == b'.'):
                p += 1
            return p == end or is_space(p[0]) or p[0] == b';'
        while p < end and p[0] != b';':
            p += 1
    return False


cdef int coding_of(const char *p, const char *end) noexcept nogil:
    """The coding of one list member, or CODING_NONE when it is refused or of no use here."""
    cdef const char *name
    cdef uint32_t size
    cdef int coding = CODING_NONE
    while p < end and is_space(p[0]):
        p += 1
    name = p
    while p < end and p[0] != b';' and not is_space(p[0]):
        p += 1
    size = <uint32_t>(p - name)
    if size == 2 and same_name(name, b"br", 2):
        coding = CODING_BROTLI
    elif (size == 4 and same_name(name, b"gzip", 4)     # RFC 9110 §8.4.1.3: x-gzip is gzip
          or size == 6 and same_name(name, b"x-gzip", 6)):
        coding = CODING_GZIP
    return CODING_NONE if refused(p, end) else coding


cdef int normal_encoding(const Head *request) noexcept nogil:
    """The Coding that stands for the request's Accept-Encoding fields; CODING_NONE: no field."""
    cdef uint32_t i
    cdef int coding, best = CODING_NONE
    cdef const Field *f
    cdef const char *p
    cdef const char *member
    cdef const char *end
    for i in range(request.count):
        f = &request.fields[i]
        if f.id != HeaderId.ACCEPT_ENCODING:
            continue
        p = member = request.base + f.value
        end = p + f.value_size
        while True:
            if p == end or p[0] == b',':
                coding = coding_of(member, p)
                if coding > best:
                    best = coding
                if p == end:
                    break
                member = p + 1
            p += 1
    return best


# -- facade for tests ----------------------------------------------------------------------------

def encoding_for_test(bytes data):
    """The coding of the request in `data`: None, "gzip" or "br"."""
    cdef HeadLimits limits
    cdef Head head
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    return (None, "gzip", "br")[normal_encoding(&head)]
