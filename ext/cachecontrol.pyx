"""Cache directives: Cache-Control (RFC 9111 §5.2), Surrogate-Control, CDN-Cache-Control (RFC 9213).

Theory. A list of directives is read to the end whatever stands in it, and unknown ones are skipped
(RFC 9111 §5.2.3). Where a member is damaged the reading that stores and reuses less wins: a
restriction counts by its name alone, a permission only where it is well formed, and a lifetime that
is no number is 0. Of a directive that stands twice the first counts (RFC 9111 §4.2.1).

A targeted field is a dictionary of RFC 8941, parsed as strictly as that says: one wrong byte or a
value of the wrong type, and the field counts as absent (RFC 9213 §2.1). There the last of two
members with one name counts.

Called by: freshness, for each response that may be stored; in policy rfc9111 for each request. Pure
byte functions that touch no Python.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from ext.headers cimport same_name
from ext.http1 cimport Field

cdef enum Flaw:                    # how a directive of this name counts when it is damaged
    RESTRICTS = 1                  # it counts all the same
    PERMITS = 2                    # it does not
    NUMBER = 4                     # it has a number; the number is 0
    FIELDS = 8                     # in a dictionary its value may be a string of field names
    DICTIONARY_NUMBER_DIGITS = 15  # RFC 8941 §3.3.1

cdef struct Row:
    const char *name
    uint32_t size
    uint32_t bit                   # Directive
    uint32_t flaw                  # Flaw

cdef enum:
    ROWS = 16

cdef Row rows[ROWS]

NAMES = (
    (b"public", D_PUBLIC, PERMITS),
    (b"private", D_PRIVATE, RESTRICTS | FIELDS),
    (b"no-cache", D_NO_CACHE, RESTRICTS | FIELDS),
    (b"no-store", D_NO_STORE, RESTRICTS),
    (b"no-transform", D_NO_TRANSFORM, RESTRICTS),
    (b"must-revalidate", D_MUST_REVALIDATE, RESTRICTS),
    (b"proxy-revalidate", D_PROXY_REVALIDATE, RESTRICTS),
    (b"must-understand", D_MUST_UNDERSTAND, PERMITS),
    (b"immutable", D_IMMUTABLE, PERMITS),
    (b"only-if-cached", D_ONLY_IF_CACHED, PERMITS),
    (b"max-age", D_MAX_AGE, NUMBER),
    (b"s-maxage", D_S_MAXAGE, NUMBER),
    (b"min-fresh", D_MIN_FRESH, NUMBER),
    (b"max-stale", D_MAX_STALE, NUMBER),
    (b"stale-while-revalidate", D_STALE_WHILE_REVALIDATE, NUMBER),
    (b"stale-if-error", D_STALE_IF_ERROR, NUMBER),
)


cdef int fill_rows() except -1:
    cdef bytes name
    assert len(NAMES) == ROWS
    for i, (raw, bit, flaw) in enumerate(NAMES):
        name = raw
        rows[i].name = name                # NAMES keeps the bytes alive
        rows[i].size = len(name)
        rows[i].bit = bit
        rows[i].flaw = flaw
    return 0


fill_rows()


cdef void clear_directives(Directives *d) noexcept nogil:
    memset(d, 0, sizeof(Directives))


cdef const Row *row_of(const char *name, uint32_t size) noexcept nogil:
    """The row of a directive's name in any case (RFC 9111 §5.2), or NULL."""
    cdef int i
    for i in range(ROWS):
        if rows[i].size == size and same_name(name, rows[i].name, size):
            return &rows[i]
    return NULL


cdef uint32_t *number_of(Directives *d, uint32_t bit) noexcept nogil:
    if bit == D_MAX_AGE:
        return &d.max_age_s
    if bit == D_S_MAXAGE:
        return &d.s_maxage_s
    if bit == D_MIN_FRESH:
        return &d.min_fresh_s
    if bit == D_MAX_STALE:
        return &d.max_stale_s
    if bit == D_STALE_WHILE_REVALIDATE:
        return &d.stale_while_revalidate_s
    return &d.stale_if_error_s


cdef uint32_t delta_seconds(const char *p, uint32_t size, bint *good) noexcept nogil:
    """1*DIGIT, at most DELTA_MAX (RFC 9111 §1.2.2); 0 and not good when it is something else."""
    cdef uint32_t i
    cdef uint64_t n = 0
    good[0] = False
    for i in range(size):
        if p[i] < b'0' or p[i] > b'9':
            return 0
        n = min(n * 10 + <uint64_t>(p[i] - 48), <uint64_t>DELTA_MAX)
    good[0] = size > 0
    return <uint32_t>n


# -- lists of directives ---------------------------------------------------------------------------

cdef inline bint is_space(char c) noexcept nogil:
    return c == b' ' or c == b'\t'


cdef inline bint is_token(unsigned char c) noexcept nogil:
    """tchar (RFC 9110 §5.6.2)."""
    if c >= b'a' and c <= b'z' or c >= b'A' and c <= b'Z' or c >= b'0' and c <= b'9':
        return True
    return (c == b'-' or c == b'_' or c == b'.' or c == b'!' or c == b'#' or c == b'$'
            or c == b'%' or c == b'&' or c == b"'" or c == b'*' or c == b'+' or c == b'^'
            or c == b'`' or c == b'|' or c == b'~')


cdef uint32_t quoted_end(const char *p, uint32_t at, uint32_t end) noexcept nogil:
    """Behind the quoted-string that opens at `at`, or `end + 1` when it is never closed."""
    at += 1
    while at < end:
        if p[at] == b'\\':
            at += 1
        elif p[at] == b'"':
            return at + 1
        at += 1
    return end + 1


cdef struct Member:                # one directive of a list
    uint32_t name, name_size
    uint32_t value, value_size     # without quotes
    bint has_value                 # also an empty one
    bint quoted
    bint damaged                   # something else stands behind name and value


cdef uint32_t next_member(const char *p, uint32_t at, uint32_t end, Member *m,
                          Directives *d) noexcept nogil:
    """Read the member at `at`, which is no space and no comma: the offset behind it.

    After a quote that is never closed quotes mean nothing: what follows is read too, so that it
    hides no restriction, and no byte is looked at more than twice.
    """
    cdef uint32_t close
    m.name = at
    while at < end and is_token(p[at]):
        at += 1
    m.name_size = at - m.name
    m.has_value = at < end and p[at] == b'=' and m.name_size > 0
    m.quoted = False
    m.value = at + 1
    m.value_size = 0
    if m.has_value:
        at += 1
    if at < end and p[at] == b'"' and not d.seen & D_MALFORMED:
        close = quoted_end(p, at, end)
        if close <= end:
            m.quoted = True
            m.value = at + 1
            m.value_size = close - at - 2
            at = close
        else:
            d.seen |= D_MALFORMED
    elif m.has_value:
        while at < end and is_token(p[at]):
            at += 1
        m.value_size = at - m.value
    while at < end and is_space(p[at]):
        at += 1
    m.damaged = at < end and p[at] != b','
    while at < end and p[at] != b',':
        if p[at] == b'"' and not d.seen & D_MALFORMED:
            close = quoted_end(p, at, end)
            if close <= end:
                at = close
                continue
            d.seen |= D_MALFORMED
        at += 1
    return at


cdef void set_directive(const char *p, const Member *m, const Row *row,
                        Directives *d) noexcept nogil:
    """A member of a known name; the first of its name counts (RFC 9111 §4.2.1)."""
    cdef bint good = False
    if d.seen & row.bit or (m.damaged and row.flaw & PERMITS):
        return
    d.seen |= row.bit
    if not row.flaw & NUMBER:
        return
    if row.bit == D_MAX_STALE and not m.has_value and not m.damaged:
        d.seen |= D_MAX_STALE_ANY
        d.max_stale_s = DELTA_MAX
    elif m.has_value and not m.damaged:
        number_of(d, row.bit)[0] = delta_seconds(p + m.value, m.value_size, &good)


cdef void read_directives(const char *p, uint32_t size, Directives *d) noexcept nogil:
    """Add the directives of one Cache-Control field line (RFC 9111 §5.2)."""
    cdef uint32_t at = 0
    cdef Member m
    cdef const Row *row
    d.seen |= D_PRESENT
    while at < size:
        if is_space(p[at]) or p[at] == b',':
            at += 1
            continue
        at = next_member(p, at, size, &m, d)
        row = row_of(p + m.name, m.name_size) if m.name_size else NULL
        if row != NULL:
            set_directive(p, &m, row, d)


# -- Surrogate-Control -----------------------------------------------------------------------------

cdef bint has_text(const char *p, uint32_t size, const char *text, uint32_t n) noexcept nogil:
    cdef uint32_t i, j
    for i in range(n, size + 1):
        for j in range(n):
            if p[i - n + j] != text[j]:
                break
        else:
            return True
    return False


cdef void read_surrogate(const char *p, uint32_t size, Directives *d) noexcept nogil:
    """Add the directives of one Surrogate-Control line (W3C edge-arch 1.0 §2.3, as Fastly has it).

    Differs from Cache-Control in two ways: `max-age=60+30` has a stale time behind the lifetime,
    which is left out, and `directive;name` is for another surrogate of that name.
    """
    cdef uint32_t at = 0, i
    cdef Member m
    cdef const Row *row
    d.seen |= D_PRESENT
    while at < size:
        if is_space(p[at]) or p[at] == b',':
            at += 1
            continue
        i = next_member(p, at, size, &m, d)
        at = m.value + m.value_size + m.quoted if m.has_value else m.name + m.name_size
        if m.damaged and at < i and p[at] == b';':
            at = i
            continue
        at = i
        if m.name_size == 7 and same_name(p + m.name, b"content", 7):
            if m.quoted and has_text(p + m.value, m.value_size, b"ESI/1.0", 7):
                d.seen |= D_ESI
            continue
        row = row_of(p + m.name, m.name_size) if m.name_size else NULL
        if row == NULL:
            continue
        if row.bit == D_MAX_AGE and not m.quoted:
            for i in range(m.value_size):
                if p[m.value + i] == b'+':
                    m.value_size = i
                    break
        set_directive(p, &m, row, d)


# -- targeted fields: dictionaries of RFC 8941 -----------------------------------------------------

cdef enum ItemType:
    SF_INTEGER, SF_DECIMAL, SF_STRING, SF_TOKEN, SF_BYTES, SF_TRUE, SF_FALSE, SF_INNER_LIST

cdef struct Cursor:
    const char *p
    const char *end

cdef struct Item:
    int type                       # ItemType
    uint32_t number                # of an integer of 0 or more, at most DELTA_MAX
    bint negative


cdef inline bint is_digit(char c) noexcept nogil:
    return c >= b'0' and c <= b'9'


cdef inline bint is_alpha(char c) noexcept nogil:
    return c >= b'a' and c <= b'z' or c >= b'A' and c <= b'Z'


cdef inline bint is_lower(char c) noexcept nogil:
    return c >= b'a' and c <= b'z'


cdef bint skip_key(Cursor *c) noexcept nogil:
    """RFC 8941 §4.2.3.3."""
    if c.p == c.end or not (is_lower(c.p[0]) or c.p[0] == b'*'):
        return False
    while c.p < c.end and (is_lower(c.p[0]) or is_digit(c.p[0]) or c.p[0] == b'_'
                           or c.p[0] == b'-' or c.p[0] == b'.' or c.p[0] == b'*'):
        c.p += 1
    return True


cdef bint read_number(Cursor *c, Item *item) noexcept nogil:
    """Integer or decimal (RFC 8941 §4.2.4)."""
    cdef const char *begin
    cdef uint32_t whole, fraction
    cdef bint good
    item.negative = c.p[0] == b'-'
    if item.negative:
        c.p += 1
    begin = c.p
    while c.p < c.end and is_digit(c.p[0]) and c.p - begin <= DICTIONARY_NUMBER_DIGITS:
        c.p += 1
    whole = <uint32_t>(c.p - begin)
    item.type = SF_INTEGER
    if whole == 0 or whole > DICTIONARY_NUMBER_DIGITS:
        return False
    item.number = delta_seconds(begin, whole, &good)
    if c.p == c.end or c.p[0] != b'.':
        return True
    item.type = SF_DECIMAL
    c.p += 1
    begin = c.p
    while c.p < c.end and is_digit(c.p[0]) and c.p - begin <= 3:
        c.p += 1
    fraction = <uint32_t>(c.p - begin)
    return whole <= 12 and fraction >= 1 and fraction <= 3


cdef bint skip_string(Cursor *c) noexcept nogil:
    """RFC 8941 §4.2.5."""
    c.p += 1
    while c.p < c.end:
        if c.p[0] == b'"':
            c.p += 1
            return True
        if c.p[0] == b'\\':
            c.p += 1
            if c.p == c.end or (c.p[0] != b'"' and c.p[0] != b'\\'):
                return False
        elif <unsigned char>c.p[0] < 0x20 or <unsigned char>c.p[0] > 0x7E:
            return False
        c.p += 1
    return False


cdef bint skip_bytes(Cursor *c) noexcept nogil:
    """RFC 8941 §4.2.7; the base64 text is not decoded, as no directive has such a value."""
    c.p += 1
    while c.p < c.end:
        if c.p[0] == b':':
            c.p += 1
            return True
        if not (is_alpha(c.p[0]) or is_digit(c.p[0]) or c.p[0] == b'+' or c.p[0] == b'/'
                or c.p[0] == b'='):
            return False
        c.p += 1
    return False


cdef bint read_bare_item(Cursor *c, Item *item) noexcept nogil:
    """RFC 8941 §4.2.3.1."""
    cdef char first
    if c.p == c.end:
        return False
    first = c.p[0]
    if first == b'-' or is_digit(first):
        return read_number(c, item)
    if first == b'"':
        item.type = SF_STRING
        return skip_string(c)
    if first == b':':
        item.type = SF_BYTES
        return skip_bytes(c)
    if first == b'?':
        if c.end - c.p < 2 or (c.p[1] != b'0' and c.p[1] != b'1'):
            return False
        item.type = SF_TRUE if c.p[1] == b'1' else SF_FALSE
        c.p += 2
        return True
    if not is_alpha(first) and first != b'*':
        return False
    item.type = SF_TOKEN
    while c.p < c.end and (is_token(c.p[0]) or c.p[0] == b':' or c.p[0] == b'/'):
        c.p += 1
    return True


cdef bint skip_parameters(Cursor *c) noexcept nogil:
    """RFC 8941 §4.2.3.2. A directive's parameters are ignored (RFC 9213 §2.1)."""
    cdef Item ignored
    while c.p < c.end and c.p[0] == b';':
        c.p += 1
        while c.p < c.end and c.p[0] == b' ':
            c.p += 1
        if not skip_key(c):
            return False
        if c.p < c.end and c.p[0] == b'=':
            c.p += 1
            if not read_bare_item(c, &ignored):
                return False
    return True


cdef bint read_inner_list(Cursor *c, Item *item) noexcept nogil:
    """RFC 8941 §4.2.1.2."""
    cdef Item ignored
    item.type = SF_INNER_LIST
    c.p += 1
    while c.p < c.end:
        while c.p < c.end and c.p[0] == b' ':
            c.p += 1
        if c.p < c.end and c.p[0] == b')':
            c.p += 1
            return True
        if not read_bare_item(c, &ignored) or not skip_parameters(c):
            return False
        if c.p == c.end or (c.p[0] != b' ' and c.p[0] != b')'):
            return False
    return False


cdef void set_member(const Row *row, const Item *item, Directives *d,
                     uint32_t *wrong) noexcept nogil:
    """The last of one name counts (RFC 8941 §4.2.2); `wrong` has the bits of wrong types."""
    cdef bint good
    d.seen &= ~row.bit
    if row.flaw & NUMBER:
        good = item.type == SF_INTEGER and not item.negative
        if good:
            number_of(d, row.bit)[0] = item.number
    else:
        good = item.type == SF_TRUE or (item.type == SF_STRING and row.flaw & FIELDS)
    if good:
        d.seen |= row.bit
        wrong[0] &= ~row.bit
    else:
        wrong[0] |= row.bit


cdef bint read_dictionary(const char *p, uint32_t size, Directives *d,
                          uint32_t *wrong) noexcept nogil:
    """One field line as a dictionary (RFC 8941 §4.2.2) of one member or more."""
    cdef Cursor c
    cdef Item item
    cdef const char *key
    cdef const Row *row
    c.p = p
    c.end = p + size
    while True:
        key = c.p
        if not skip_key(&c):
            return False
        row = row_of(key, <uint32_t>(c.p - key))
        item.type = SF_TRUE
        if c.p < c.end and c.p[0] == b'=':
            c.p += 1
            if c.p < c.end and c.p[0] == b'(':
                if not read_inner_list(&c, &item):
                    return False
            elif not read_bare_item(&c, &item):
                return False
        if not skip_parameters(&c):
            return False
        if row != NULL:
            set_member(row, &item, d, wrong)
        while c.p < c.end and is_space(c.p[0]):
            c.p += 1
        if c.p == c.end:
            return True
        if c.p[0] != b',':
            return False
        c.p += 1
        while c.p < c.end and is_space(c.p[0]):
            c.p += 1


cdef bint read_targeted(const Head *head, int id, Directives *d) noexcept nogil:
    """The directives of a targeted field; False: it is absent, empty or invalid (RFC 9213 §2.1).

    Its lines together are one dictionary (RFC 8941 §4.2). deviates: an item that goes on in the
    next line is refused, where that RFC calls the result unpredictable.
    """
    cdef uint32_t i, lines = 0, empty = 0, wrong = 0
    cdef const Field *f
    cdef bint good = True
    clear_directives(d)
    for i in range(head.count):
        f = &head.fields[i]
        if f.id != id:
            continue
        lines += 1
        if f.value_size == 0:
            empty += 1
        elif good:
            good = read_dictionary(head.base + f.value, f.value_size, d, &wrong)
    if not good or wrong or lines == empty or (empty and lines > 1):
        clear_directives(d)
        return False
    d.seen |= D_PRESENT
    return True


# -- facade for tests ----------------------------------------------------------------------------

cdef dict as_dict(const Directives *d):
    cdef Directives copy = d[0]
    made = {}
    for i in range(ROWS):
        if d.seen & rows[i].bit:
            name = (<bytes>rows[i].name).decode()
            made[name] = (number_of(&copy, rows[i].bit)[0] if rows[i].flaw & NUMBER else True)
    for name, bit in (("any-stale", D_MAX_STALE_ANY), ("esi", D_ESI), ("malformed", D_MALFORMED)):
        if d.seen & bit:
            made[name] = True
    return made


def directives_for_test(*lines):
    """The directives of the lines of one Cache-Control field, by name."""
    cdef Directives d
    clear_directives(&d)
    for line in lines:
        read_directives(<bytes>line, <uint32_t>len(line), &d)
    return as_dict(&d)


def surrogate_for_test(*lines):
    """The directives of the lines of one Surrogate-Control field, by name."""
    cdef Directives d
    clear_directives(&d)
    for line in lines:
        read_surrogate(<bytes>line, <uint32_t>len(line), &d)
    return as_dict(&d)


def targeted_for_test(*lines):
    """The directives of the lines of one targeted field, or None when it is to be ignored."""
    cdef Directives d
    cdef Head head
    cdef bytes text = b"".join(lines)
    at = 0
    head.base = text
    head.count = 0
    for line in lines:
        head.fields[head.count].id = 1
        head.fields[head.count].value = at
        head.fields[head.count].value_size = len(line)
        head.count += 1
        at += len(line)
    return as_dict(&d) if read_targeted(&head, 1, &d) else None


def delta_seconds_for_test(bytes text):
    """The number, or None when it is none."""
    cdef bint good = False
    n = delta_seconds(text, <uint32_t>len(text), &good)
    return n if good else None
