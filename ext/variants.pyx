"""The variant text: names that an answer varies on, each with what the request has there.

Theory. Two requests select the same answer of a URL when they agree in every field that its Vary
names (RFC 9111 §4.1). So each stored answer keeps a text, `name:value\\n` for each name in
alphabetical order and `name\\n` where the request has no such field; a request matches when its
text for the same names is the same bytes. Neither name nor value can have the separators in it.
Values are put into one form where that cannot change their meaning: lines of a list are joined,
spaces around commas go, and the fields whose values ignore case are in lower case. The order of a
list stays, since servers may take it for a preference.

Called by: store. Pure byte functions that touch no Python.
"""
from libc.string cimport memcmp

from ext.facts cimport VaryName, vary_names
from ext.headers cimport HOP_BY_HOP, HeaderId
from ext.http1 cimport (Field, HeadLimits, M_GET, parse_request_head, parse_response_head)
from ext.limits cimport FIELDS_MAX, VARY_NAMES_MAX

cdef enum:
    NAMES_MAX = VARY_NAMES_MAX + 1         # and Accept-Encoding

cdef struct Name:
    const char *p
    uint32_t size


cdef struct Writer:
    char *start
    char *out
    char *end
    bint full


cdef inline void put(Writer *w, char c) noexcept nogil:
    if w.out == w.end:
        w.full = True
    else:
        w.out[0] = c
        w.out += 1


cdef inline char lower(char c) noexcept nogil:
    return c | 0x20 if c >= b'A' and c <= b'Z' else c


cdef int compare(const Name *a, const Name *b) noexcept nogil:
    """As memcmp, without regard to case."""
    cdef uint32_t i
    cdef char x, y
    for i in range(min(a.size, b.size)):
        x = lower(a.p[i])
        y = lower(b.p[i])
        if x != y:
            return -1 if x < y else 1
    return 0 if a.size == b.size else -1 if a.size < b.size else 1


cdef inline bint is_name(const Name *name, const char *lower_case, uint32_t size) noexcept nogil:
    cdef Name other = Name(lower_case, size)
    return name.size == size and compare(name, &other) == 0


cdef bint ignores_case(const Name *name) noexcept nogil:
    """RFC 9110 §8.4.1, §8.3.2, RFC 4647 §2: codings, charsets, language ranges."""
    return (is_name(name, b"accept-encoding", 15) or is_name(name, b"accept-language", 15)
            or is_name(name, b"accept-charset", 14))


cdef void put_value(Writer *w, const char *p, uint32_t size, bint folded) noexcept nogil:
    """One line of a field, without the spaces around commas that are in no quoted string."""
    cdef uint32_t at = 0, mark
    cdef bint quoted = False
    while at < size:
        if not quoted and (p[at] == b' ' or p[at] == b'\t'):
            mark = at
            while at < size and (p[at] == b' ' or p[at] == b'\t'):
                at += 1
            if mark == 0 or p[mark - 1] == b',' or at == size or p[at] == b',':
                continue
            at = mark + 1
            put(w, p[mark])
            continue
        if p[at] == b'"':
            quoted = not quoted
        elif quoted and p[at] == b'\\' and at + 1 < size:
            put(w, p[at])
            at += 1
        put(w, lower(p[at]) if folded else p[at])
        at += 1


cdef void put_field(Writer *w, const Selecting *r, const Name *name) noexcept nogil:
    """`name:value\\n`, or `name\\n`."""
    cdef bint found = False
    cdef bint folded = ignores_case(name)
    cdef uint32_t i
    cdef const Field *f
    cdef Name other
    for i in range(name.size):
        put(w, lower(name.p[i]))
    if r.accept_encoding != NULL and is_name(name, b"accept-encoding", 15):
        put(w, b':')
        put_value(w, r.accept_encoding, r.accept_encoding_size, folded)
        put(w, b'\n')
        return
    for i in range(r.head.count):
        f = &r.head.fields[i]
        # What Connection names the origin does not get, so it cannot have selected the answer.
        if f.name_size != name.size or f.flags & HOP_BY_HOP:
            continue
        other = Name(r.head.base + f.name, f.name_size)
        if compare(&other, name) == 0:
            put(w, b',' if found else b':')
            put_value(w, r.head.base + f.value, f.value_size, folded)
            found = True
    put(w, b'\n')


cdef int64_t variant_by_answer(const Selecting *request, const Head *response, bint by_encoding,
                               char *out) noexcept nogil:
    """The text of a request for what an answer varies on: its size, 0 when it does not vary, -1
    when its Vary is no list that can be looked at. `out` has VARIANT_ROOM_BYTES."""
    cdef VaryName listed[VARY_NAMES_MAX]
    cdef Name names[NAMES_MAX]
    cdef Name name
    cdef int count = vary_names(response, listed)
    cdef int i, j
    cdef Writer w = Writer(out, out, out + VARIANT_ROOM_BYTES, False)
    if count < 0:
        return -1
    for i in range(count):
        names[i] = Name(response.base + listed[i].name, listed[i].size)
        if listed[i].id == HeaderId.ACCEPT_ENCODING:
            by_encoding = False
    if by_encoding:
        names[count] = Name(b"accept-encoding", 15)
        count += 1
    for i in range(1, count):
        name = names[i]
        j = i
        while j > 0 and compare(&name, &names[j - 1]) < 0:
            names[j] = names[j - 1]
            j -= 1
        names[j] = name
    for i in range(count):
        put_field(&w, request, &names[i])
    return -1 if w.full else w.out - w.start


cdef inline uint32_t name_end(const char *text, uint32_t at, uint32_t size) noexcept nogil:
    while at < size and text[at] != b':' and text[at] != b'\n':
        at += 1
    return at


cdef inline uint32_t line_end(const char *text, uint32_t at, uint32_t size) noexcept nogil:
    while at < size and text[at] != b'\n':
        at += 1
    return at


cdef int64_t variant_by_text(const Selecting *request, const char *text, uint32_t size,
                             char *out) noexcept nogil:
    """The text of a request for the names of another text: its size, or -1 when it is too long."""
    cdef Writer w = Writer(out, out, out + VARIANT_ROOM_BYTES, False)
    cdef uint32_t at = 0, end
    cdef Name name
    while at < size:
        end = name_end(text, at, size)
        name = Name(text + at, end - at)
        put_field(&w, request, &name)
        at = line_end(text, end, size) + 1
    return -1 if w.full else w.out - w.start


cdef bint same_variant_names(const char *a, uint32_t a_size, const char *b,
                             uint32_t b_size) noexcept nogil:
    cdef uint32_t i = 0, j = 0, i_end, j_end
    while i < a_size and j < b_size:
        i_end = name_end(a, i, a_size)
        j_end = name_end(b, j, b_size)
        if i_end - i != j_end - j or memcmp(a + i, b + j, i_end - i):
            return False
        i = line_end(a, i_end, a_size) + 1
        j = line_end(b, j_end, b_size) + 1
    return i >= a_size and j >= b_size


# -- facade for tests ------------------------------------------------------------------------------

cdef int parse_both(bytes request, bytes response, Head *asked, Head *answer) except -1:
    cdef HeadLimits limits
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    if parse_request_head(request, <uint32_t>len(request), &limits, asked) <= 0:
        raise ValueError("not one whole request head")
    if parse_response_head(response, <uint32_t>len(response), &limits, M_GET, answer) <= 0:
        raise ValueError("not one whole answer head")
    return 0


def variant_for_test(bytes request, bytes response, encoding=None, by_encoding=False):
    """The variant text of a request for an answer, or None."""
    cdef Head asked, answer
    cdef Selecting selecting
    cdef bytearray room = bytearray(VARIANT_ROOM_BYTES)
    parse_both(request, response, &asked, &answer)
    selecting.head = &asked
    selecting.accept_encoding = NULL
    if encoding is not None:
        selecting.accept_encoding = encoding
        selecting.accept_encoding_size = <uint32_t>len(encoding)
    size = variant_by_answer(&selecting, &answer, by_encoding, room)
    if size < 0:
        return None
    text = bytes(room[:size])
    again = variant_by_text(&selecting, text, <uint32_t>size, room)
    if bytes(room[:again]) != text:
        raise AssertionError("a request's text by names differs from its text by the answer")
    return text


def same_names_for_test(bytes a, bytes b):
    return bool(same_variant_names(a, <uint32_t>len(a), b, <uint32_t>len(b)))
