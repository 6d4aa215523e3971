"""X-Amzn-Trace-Id as an Application Load Balancer writes it (AWS's guide, "Request tracing").

    none received            Root=1-<8 hex digits of the time>-<24 random ones>
    with a Root              Self=1-...-... in front; Root and the sender's own fields stay
    with a Self              that is replaced: it was of the load balancer before
    without a Root           Root in front of the sender's own fields
    longer than 7 KB         only a fresh Root

The received field is marked as one of the hop, so it is not copied; no HeaderId is spent on it,
since only this module looks for it. The digits come from xorshift128+, seeded by the kernel: an id
is for finding a request in logs, and secret from nobody.

Called by: forward. Pure byte functions that touch no Python.
"""
from ext.fields cimport put
from ext.headers cimport HOP_BY_HOP, HeaderId, same_name
from ext.http1 cimport Field

cdef const char *HEX = b"0123456789abcdef"
cdef const char *NAME = b"x-amzn-trace-id"

cdef enum:
    NAME_BYTES = 15


cdef int mark_trace(Head *head) noexcept nogil:
    """The index of the field, which will not be copied, or -1. A second one is dropped as well."""
    cdef uint32_t i
    cdef int found = -1
    cdef Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if (f.id == HeaderId.OTHER and f.name_size == NAME_BYTES
                and same_name(head.base + f.name, NAME, NAME_BYTES)):
            f.flags |= HOP_BY_HOP
            if found < 0:
                found = <int>i
    return found


cdef void drop_invalid_names(Head *head) noexcept nogil:
    """Fields whose names have other bytes than [-A-Za-z0-9] are not copied."""
    cdef uint32_t i, j
    cdef Field *f
    cdef unsigned char c
    for i in range(head.count):
        f = &head.fields[i]
        if f.id != HeaderId.OTHER:
            continue
        for j in range(f.name_size):
            c = <unsigned char>head.base[f.name + j]
            if not (c == b'-' or b'0' <= c <= b'9' or b'a' <= (c | 0x20) <= b'z'):
                f.flags |= HOP_BY_HOP
                break


cdef uint64_t draw(Tracer *t) noexcept nogil:
    cdef uint64_t x = t.a, y = t.b
    t.a = y
    x ^= x << 23
    t.b = x ^ y ^ (x >> 18) ^ (y >> 5)
    return t.b + y


cdef char *write_hex(char *o, uint64_t value, int digits) noexcept nogil:
    cdef int i
    for i in range(digits):
        o[i] = HEX[value >> 4 * (digits - 1 - i) & 15]
    return o + digits


cdef char *write_id(char *o, Tracer *tracer, uint32_t now_s) noexcept nogil:
    o = put(o, b"1-", 2)
    o = write_hex(o, now_s, 8)
    o[0] = b'-'
    o = write_hex(o + 1, draw(tracer), 16)
    return write_hex(o, draw(tracer), 8)


cdef inline bint is_key(const char *p, const char *end, const char *key) noexcept nogil:
    return end - p > 5 and p[4] == b'=' and same_name(p, key, 4)


cdef bint has_root(const char *p, const char *end) noexcept nogil:
    while p < end:
        if is_key(p, end, b"root"):
            return True
        while p < end and p[0] != b';':
            p += 1
        while p < end and (p[0] == b';' or p[0] == b' '):
            p += 1
    return False


cdef char *write_trace(char *o, const Head *head, int index, Tracer *tracer,
                       uint32_t now_s) noexcept nogil:
    """The whole field line, given what was received (`index` of mark_trace)."""
    cdef const Field *f = NULL
    cdef const char *p = NULL
    cdef const char *end = NULL
    cdef const char *mark
    if index >= 0 and head.size <= TRACE_BYTES_MAX:
        f = &head.fields[index]
        p = head.base + f.value
        end = p + f.value_size
    o = put(o, b"X-Amzn-Trace-Id: ", 17)
    o = put(o, b"Self=" if f != NULL and has_root(p, end) else b"Root=", 5)
    o = write_id(o, tracer, now_s)
    while p < end:
        while p < end and (p[0] == b';' or p[0] == b' '):
            p += 1
        mark = p
        while p < end and p[0] != b';':
            p += 1
        if mark == p or is_key(mark, end, b"self"):
            continue
        o[0] = b';'
        o = put(o + 1, mark, <uint32_t>(p - mark))
    return put(o, b"\r\n", 2)
