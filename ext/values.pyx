"""Values of a head, one at a time: header values, cookies, parameters of the query.

Theory. What a name means may stand in a head several times; a `Look` remembers where the next one
is to be looked for, so whoever asks may stop at the first that pleases. Texts are borrowed from the
head. Pure byte functions.

Called by: samples, rules. Source: RFC 9110 §5.3, RFC 6265 §4; HAProxy 2.6 manual, section 7.3.6.
"""
from libc.string cimport memchr, memcmp

from ext.fields cimport same_token
from ext.headers cimport HeaderId
from ext.http1 cimport Field


cdef inline bint named(const Head *head, const Field *f, const Expr *e) noexcept:
    if f.id or e.id:
        return f.id == e.id
    return f.name_size == e.name.size and same_token(head.base + f.name, e.name.data, e.name.size)


cdef Text stripped(const char *p, uint32_t size) noexcept:
    while size and (p[0] == b' ' or p[0] == b'\t'):
        p += 1
        size -= 1
    while size and (p[size - 1] == b' ' or p[size - 1] == b'\t'):
        size -= 1
    return Text(p, size)


cdef bint next_line(Look *look, const Expr *e, Text *out) noexcept:
    """The next line of a field, from look.field on."""
    cdef const Field *f
    while look.field < look.head.count:
        f = &look.head.fields[look.field]
        if named(look.head, f, e):
            out.data = look.head.base + f.value
            out.size = f.value_size
            return True
        look.field += 1
        look.at = 0
    return False


cdef bint next_item(Look *look, const Expr *e, Text *out) noexcept:
    """The next of the comma-separated values; a comma in quotes separates nothing."""
    cdef Text line
    cdef uint32_t end
    cdef bint quoted = False
    if not next_line(look, e, &line):
        return False
    end = look.at
    while end < line.size and (quoted or line.data[end] != b','):
        if line.data[end] == b'"':
            quoted = not quoted
        elif line.data[end] == b'\\' and quoted:
            end += 1
        end += 1
    end = min(end, line.size)
    out[0] = stripped(line.data + look.at, end - look.at)
    look.at = end + 1
    if end >= line.size:
        look.field += 1
        look.at = 0
    return True


cdef bint next_cookie(Look *look, const Expr *e, Text *out) noexcept:
    """The next cookie of the name in Cookie lines (RFC 6265 §4.2.1)."""
    cdef Expr lines = Expr(0, HeaderId.COOKIE, Text(b"cookie", 6), 0, 0, 0)
    cdef Text line, pair
    cdef uint32_t end
    while next_line(look, &lines, &line):
        while look.at < line.size:
            end = look.at
            while end < line.size and line.data[end] != b';':
                end += 1
            pair = stripped(line.data + look.at, end - look.at)
            look.at = end + 1
            if named_pair(&pair, &e.name, out):
                return True
        look.field += 1
        look.at = 0
    return False


cdef bint next_set_cookie(Look *look, const Expr *e, Text *out) noexcept:
    """The next Set-Cookie line of the name (RFC 6265 §4.1)."""
    cdef Expr lines = Expr(0, HeaderId.SET_COOKIE, Text(b"set-cookie", 10), 0, 0, 0)
    cdef Text line, pair
    cdef uint32_t end
    while next_line(look, &lines, &line):
        look.field += 1
        end = 0
        while end < line.size and line.data[end] != b';':
            end += 1
        pair = stripped(line.data, end)
        if named_pair(&pair, &e.name, out):
            return True
    return False


cdef bint named_pair(const Text *pair, const Text *name, Text *out) noexcept:
    """The value of `name=value`; names of cookies have a case."""
    if (pair.size <= name.size or pair.data[name.size] != b'='
            or memcmp(pair.data, name.data, name.size)):
        return False
    out[0] = stripped(pair.data + name.size + 1, pair.size - name.size - 1)
    return True


# -- the request line ----------------------------------------------------------------------------

cdef Text path_of(const Head *head) noexcept:
    """The path without its query. What rules look at has one: it was written in origin-form."""
    cdef const char *p = head.base + head.path
    cdef const char *mark = <const char *>memchr(p, b'?', head.path_size)
    return Text(p, head.path_size if mark == NULL else <uint32_t>(mark - p))


cdef bint query_of(const Head *head, Text *out) noexcept:
    cdef Text path = path_of(head)
    if path.size >= head.path_size:
        return False
    out.data = path.data + path.size + 1
    out.size = head.path_size - path.size - 1
    return True


cdef bint next_parameter(Look *look, const Expr *e, Text *out) noexcept:
    """The next value of a parameter of the query, as it stands there."""
    cdef Text query
    cdef uint32_t begin, end
    if not query_of(look.head, &query):
        return False
    while look.at < query.size:
        begin = end = look.at
        while end < query.size and query.data[end] != b'&' and query.data[end] != b';':
            end += 1
        look.at = end + 1
        if (end - begin > e.name.size and query.data[begin + e.name.size] == b'='
                and memcmp(query.data + begin, e.name.data, e.name.size) == 0):
            out.data = query.data + begin + e.name.size + 1
            out.size = end - begin - e.name.size - 1
            return True
    return False
