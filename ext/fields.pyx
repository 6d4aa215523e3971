"""Field lines: copied from one head to another, joined, and written.

Theory. Fields of the hop (RFC 9110 §7.6.1) are never copied; which others are not is a table by
HeaderId that the caller has made once. Neighbouring fields that stand in canonical form
(`name: value CRLF`, one space) are copied as one run: writing them again gives the same bytes.

Called by: forward (heads on their way), deliver (heads of stored answers). Pure byte functions.
"""
from libc.string cimport strlen

from ext.digits cimport write_number
from ext.headers cimport HOP_BY_HOP
from ext.http1 cimport Field


cdef char *copy_fields(char *o, const Head *head, const uint8_t *drop,
                       uint64_t *seen) noexcept nogil:
    """All fields that stay, in order; `seen` gets a bit per HeaderId met."""
    cdef uint32_t i, run = 0, run_end = 0, end
    cdef const Field *f
    cdef const char *base = head.base
    for i in range(head.count):
        f = &head.fields[i]
        seen[0] |= <uint64_t>1 << f.id
        if f.flags & HOP_BY_HOP or drop[f.id]:
            continue
        end = f.value + f.value_size
        if (f.value == f.name + f.name_size + 2u and base[f.value - 1] == b' '
                and base[end] == b'\r'):
            if run_end != f.name:
                o = put(o, base + run, run_end - run)
                run = f.name
            run_end = end + 2
            continue
        o = put(o, base + run, run_end - run)
        run = run_end = 0
        o = put(o, base + f.name, f.name_size)
        o = put(o, b": ", 2)
        o = put(o, base + f.value, f.value_size)
        o = put(o, b"\r\n", 2)
    return put(o, base + run, run_end - run)


cdef char *join_values(char *o, const Head *head, int id, const char *separator,
                       bint *any) noexcept nogil:
    """The values of a list field, joined in order (RFC 9110 §5.3) behind what is there (`any`)."""
    cdef uint32_t i
    cdef uint32_t size = <uint32_t>strlen(separator)
    cdef const Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == id and f.value_size:
            if any[0]:
                o = put(o, separator, size)
            o = put(o, head.base + f.value, f.value_size)
            any[0] = True
    return o


cdef char *copy_field(char *o, const Head *head, int id) noexcept nogil:
    """All lines of one field, whatever its flags."""
    cdef uint32_t i
    cdef const Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == id:
            o = put(o, head.base + f.name, f.name_size)
            o = put(o, b": ", 2)
            o = put(o, head.base + f.value, f.value_size)
            o = put(o, b"\r\n", 2)
    return o


cdef bint has_field(const Head *head, int id) noexcept nogil:
    cdef uint32_t i
    for i in range(head.count):
        if head.fields[i].id == id:
            return True
    return False


cdef bint same_token(const char *p, const char *q, uint32_t size) noexcept nogil:
    """Case-blind equality of two field names; ASCII letters alone have a case."""
    cdef uint32_t i
    cdef unsigned a, b
    for i in range(size):
        a = <unsigned char>p[i]
        b = <unsigned char>q[i]
        if a != b and (a ^ b != 0x20 or (a | 0x20) < 97 or (a | 0x20) > 122):
            return False
    return True


cdef char *write_status_line(char *o, unsigned status, const char *reason,
                             uint32_t size) noexcept nogil:
    """`status` has three digits (RFC 9112 §4)."""
    o = put(o, b"HTTP/1.1 ", 9)
    o[0] = <char>(48 + status // 100)
    o[1] = <char>(48 + status // 10 % 10)
    o[2] = <char>(48 + status % 10)
    o[3] = b' '
    o = put(o + 4, reason, size)
    return put(o, b"\r\n", 2)


cdef char *write_length(char *o, int64_t length) noexcept nogil:
    o = put(o, b"Content-Length: ", 16)
    o += write_number(o, <uint64_t>length)
    return put(o, b"\r\n", 2)
