"""Conditional and range requests, answered from what is stored (RFC 9110 §13, §14).

Order of evaluation (RFC 9110 §13.2.2): If-None-Match, else If-Modified-Since, then If-Range, then
Range. If-Match and If-Unmodified-Since are the origin's alone (RFC 9111 §4.3.2). A condition that
cannot be read is as if it was absent, a Range that cannot be read or that asks for more than the
whole likewise: both only ever lead to the whole answer.

Called by: session, with the stored object's Validators. Pure byte functions that touch no Python.
"""
from libc.string cimport memcmp, memset

from ext.dates cimport parse_http_date
from ext.headers cimport HeaderId, same_name
from ext.http1 cimport (Field, HeadLimits, M_GET, M_HEAD, parse_request_head, parse_response_head)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, RANGES_MAX

cdef enum:
    STRONG_DATE_S = 1              # Last-Modified this long before Date: RFC 9110 §8.8.2.2

cdef int64_t POSITION_MAX = 0x7FFFFFFFFFFFFFFF


cdef const Field *only_field(const Head *head, int id, uint32_t *count) noexcept nogil:
    """The first field of this id, and how many there are."""
    cdef uint32_t i
    cdef const Field *found = NULL
    count[0] = 0
    for i in range(head.count):
        if head.fields[i].id == id:
            count[0] += 1
            if found == NULL:
                found = &head.fields[i]
    return found


cdef void read_validators(const Head *response, int64_t received_s, Validators *v) noexcept nogil:
    """ETag, Last-Modified and Date of an answer that came at `received_s`."""
    cdef uint32_t i
    cdef const Field *f
    cdef const char *value
    memset(v, 0, sizeof(Validators))
    v.received_s = received_s
    for i in range(response.count):
        f = &response.fields[i]
        value = response.base + f.value
        if f.id == HeaderId.ETAG:
            if v.etag == NULL and f.value_size:
                v.etag = value
                v.etag_size = f.value_size
        elif f.id == HeaderId.LAST_MODIFIED:
            if not v.flags & V_LAST_MODIFIED and parse_http_date(value, f.value_size, received_s,
                                                                 &v.last_modified_s):
                v.flags |= V_LAST_MODIFIED
        elif f.id == HeaderId.DATE:
            if not v.flags & V_DATE and parse_http_date(value, f.value_size, received_s,
                                                        &v.date_s):
                v.flags |= V_DATE


# -- entity tags -----------------------------------------------------------------------------------

cdef inline bint is_weak(const char *tag, uint32_t size) noexcept nogil:
    """`W/` is case-sensitive (RFC 9110 §8.8.3)."""
    return size >= 4 and tag[0] == b'W' and tag[1] == b'/' and tag[2] == b'"'


cdef inline bint is_quoted(const char *tag, uint32_t size) noexcept nogil:
    return size >= 2 and tag[0] == b'"' and tag[size - 1] == b'"'


cdef bint weak_match(const char *a, uint32_t a_size, const char *b,
                     uint32_t b_size) noexcept nogil:
    """Weak comparison (RFC 9110 §8.8.3.2): opaque bytes, a `W/` in front of either left out.

    A tag without quotes, as some origins send it, equals only itself.
    """
    if is_weak(a, a_size):
        a += 2
        a_size -= 2
    if is_weak(b, b_size):
        b += 2
        b_size -= 2
    return a_size == b_size and a_size > 0 and memcmp(a, b, a_size) == 0


cdef bint strong_match(const char *a, uint32_t a_size, const char *b,
                       uint32_t b_size) noexcept nogil:
    """Strong comparison (RFC 9110 §8.8.3.2): both well formed, neither weak, equal bytes."""
    return (is_quoted(a, a_size) and is_quoted(b, b_size) and a_size == b_size
            and memcmp(a, b, a_size) == 0)


cdef uint32_t tag_end(const char *p, uint32_t at, uint32_t end) noexcept nogil:
    """Behind the list member at `at`. A tag may have commas in it, and a backslash quotes nothing
    (RFC 9110 §8.8.3); a member that is no entity tag goes on to the next comma."""
    cdef uint32_t begin = at
    if p[at] == b'W' and end - at > 2 and p[at + 1] == b'/':
        at += 2
    if p[at] == b'"':
        at += 1
        while at < end and p[at] != b'"':
            at += 1
        if at < end:
            at += 1
            if at == end or p[at] == b',' or p[at] == b' ' or p[at] == b'\t':
                return at
        if at == end:                      # never closed: nothing behind it can be told apart
            return end
        at = begin
    while at < end and p[at] != b',':
        at += 1
    while at > begin + 1 and (p[at - 1] == b' ' or p[at - 1] == b'\t'):
        at -= 1
    return at


cdef bint lists_tag(const char *p, uint32_t size, const Validators *v) noexcept nogil:
    """Does one If-None-Match line name the stored tag? `*` names any (RFC 9110 §13.1.2)."""
    cdef uint32_t at = 0, end
    if size == 1 and p[0] == b'*':
        return True
    while at < size:
        if p[at] == b' ' or p[at] == b'\t' or p[at] == b',':
            at += 1
            continue
        end = tag_end(p, at, size)
        if v.etag != NULL and weak_match(p + at, end - at, v.etag, v.etag_size):
            return True
        at = end
    return False


# -- conditions ------------------------------------------------------------------------------------

cdef int check_condition(const Head *request, const Validators *v, int status,
                         int64_t now_s) noexcept nogil:
    """A GET or HEAD against a stored answer of this status: a Condition."""
    cdef uint32_t i, dates = 0, tags = 0
    cdef const Field *f
    cdef const Field *date = NULL
    cdef int64_t since_s = 0
    if request.method != M_GET and request.method != M_HEAD:
        return NO_CONDITION
    if status < 200 or status > 299:       # RFC 9110 §13.2.1
        return NO_CONDITION
    for i in range(request.count):
        f = &request.fields[i]
        if f.id == HeaderId.IF_NONE_MATCH:
            tags += 1
            if lists_tag(request.base + f.value, f.value_size, v):
                return NOT_MODIFIED
        elif f.id == HeaderId.IF_MODIFIED_SINCE:
            dates += 1
            date = f
    if tags:                               # it alone counts: RFC 9110 §13.1.3
        return MODIFIED
    # RFC 9110 §13.1.3: not with more than one member, nor with what is no date.
    if dates != 1 or not parse_http_date(request.base + date.value, date.value_size, now_s,
                                         &since_s):
        return NO_CONDITION
    return NOT_MODIFIED if modified_s(v) <= since_s else MODIFIED


cdef int64_t modified_s(const Validators *v) noexcept nogil:
    """Last-Modified, else Date, else when it was received (RFC 9111 §4.3.2)."""
    if v.flags & V_LAST_MODIFIED:
        return v.last_modified_s
    return v.date_s if v.flags & V_DATE else v.received_s


cdef bint if_range_holds(const Head *request, const Validators *v, int64_t now_s) noexcept nogil:
    """RFC 9110 §13.1.5: an exact match with a strong validator. No If-Range holds too."""
    cdef uint32_t count
    cdef const Field *f = only_field(request, <int>HeaderId.IF_RANGE, &count)
    cdef const char *value
    cdef int64_t date_s = 0
    if f == NULL:
        return True
    value = request.base + f.value
    if count != 1:
        return False
    if f.value_size >= 2 and (value[0] == b'"' or value[1] == b'"' or value[1] == b'/'):
        return v.etag != NULL and strong_match(value, f.value_size, v.etag, v.etag_size)
    return (v.flags == V_LAST_MODIFIED | V_DATE
            and v.date_s - v.last_modified_s >= STRONG_DATE_S
            and parse_http_date(value, f.value_size, now_s, &date_s)
            and date_s == v.last_modified_s)


# -- ranges ----------------------------------------------------------------------------------------

cdef int check_range(const Head *request, const Validators *v, int status, int64_t length,
                     int64_t now_s, ByteRange *ranges) noexcept nogil:
    """What of a stored answer of `length` bytes a request asks for: how many of the RANGES_MAX
    `ranges` are set, or a RangeResult. Only a GET of a 200 has ranges (RFC 9110 §14.2)."""
    cdef uint32_t count
    cdef const Field *f
    if request.method != M_GET or status != 200:
        return RANGE_WHOLE
    f = only_field(request, <int>HeaderId.RANGE, &count)
    if count != 1 or not if_range_holds(request, v, now_s):
        return RANGE_WHOLE
    return parse_range(request.base + f.value, f.value_size, length, ranges)


cdef inline bint is_digit(char c) noexcept nogil:
    return c >= b'0' and c <= b'9'


cdef uint32_t read_position(const char *p, uint32_t at, uint32_t end, int64_t *n) noexcept nogil:
    """1*DIGIT, at most POSITION_MAX (RFC 9110 §14.1.2: numbers may be large); -1: no digit."""
    cdef int64_t value = 0
    cdef int digit
    n[0] = -1
    while at < end and is_digit(p[at]):
        digit = p[at] - 48
        value = (POSITION_MAX if value > (POSITION_MAX - digit) // 10 else value * 10 + digit)
        n[0] = value
        at += 1
    return at


cdef int resolve(int64_t first, int64_t last, int64_t length, ByteRange *range) noexcept nogil:
    """One range-spec, -1 for an absent number: 1 if satisfiable, 0 if not, -1 if invalid."""
    if first < 0 and last < 0 or (first >= 0 and last >= 0 and last < first):
        return -1
    if first < 0:                          # the last `last` bytes
        if last == 0:
            return 0
        range.first = length - last if last < length else 0
        range.last = length - 1
        return 1
    if first >= length:
        return 0
    range.first = first
    range.last = last if last >= 0 and last < length else length - 1
    return 1


cdef int parse_range(const char *p, uint32_t size, int64_t length,
                     ByteRange *ranges) noexcept nogil:
    """`bytes=` and its range-set (RFC 9110 §14.1.2), resolved against `length` bytes, in the
    order of the request: the number of ranges, or a RangeResult.

    Ignored (RFC 9110 §14.2 allows each): another unit, anything invalid, more than RANGES_MAX
    specifiers, ranges that together are longer than the whole, any range of an empty body.
    """
    cdef uint32_t at = 6, specs = 0
    cdef int count = 0, found
    cdef int64_t first, last, total = 0
    cdef ByteRange one
    if size < 6 or not same_name(p, b"bytes", 5) or p[5] != b'=' or length <= 0:
        return RANGE_WHOLE
    while True:
        while at < size and (p[at] == b' ' or p[at] == b'\t' or p[at] == b','):
            at += 1
        if at == size:
            break
        specs += 1
        at = read_position(p, at, size, &first)
        if specs > RANGES_MAX or at == size or p[at] != b'-':
            return RANGE_WHOLE
        at = read_position(p, at + 1, size, &last)
        while at < size and (p[at] == b' ' or p[at] == b'\t'):
            at += 1
        if at < size and p[at] != b',':
            return RANGE_WHOLE
        found = resolve(first, last, length, &one)
        if found < 0:
            return RANGE_WHOLE
        if found:
            if one.last - one.first >= length - total:
                return RANGE_WHOLE
            total += one.last - one.first + 1
            ranges[count] = one
            count += 1
    if specs == 0:
        return RANGE_WHOLE
    return count if count else RANGE_UNSATISFIABLE


# -- validation ------------------------------------------------------------------------------------

cdef bint may_refresh(const Validators *stored, const Validators *fresh) noexcept nogil:
    """May a 304 with these validators update what is stored (RFC 9111 §4.3.4)?

    deviates: a 304 without any validator updates an answer that has one, since our request named
    that one answer only, and many origins leave the ETag out of a 304.
    """
    if fresh.etag != NULL:
        if is_quoted(fresh.etag, fresh.etag_size):
            return stored.etag != NULL and strong_match(fresh.etag, fresh.etag_size, stored.etag,
                                                        stored.etag_size)
        return stored.etag != NULL and weak_match(fresh.etag, fresh.etag_size, stored.etag,
                                                  stored.etag_size)
    if fresh.flags & V_LAST_MODIFIED and stored.flags & V_LAST_MODIFIED:
        return fresh.last_modified_s == stored.last_modified_s
    return True


# -- facade for tests ----------------------------------------------------------------------------

cdef int heads(bytes request, bytes response, Head *asked, Head *answer) except -1:
    cdef HeadLimits limits
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    if parse_request_head(request, <uint32_t>len(request), &limits, asked) <= 0:
        raise ValueError("not one whole request head")
    if parse_response_head(response, <uint32_t>len(response), &limits, M_GET, answer) <= 0:
        raise ValueError("not one whole answer head")
    return 0


def condition_for_test(bytes request, bytes response, *, status=None,
                       int64_t received_s=1_780_000_000):
    """The Condition of a request against an answer that was stored at `received_s`."""
    cdef Head asked, answer
    cdef Validators v
    heads(request, response, &asked, &answer)
    read_validators(&answer, received_s, &v)
    return check_condition(&asked, &v, answer.status if status is None else status, received_s)


cdef object listed(int count, ByteRange *ranges):
    return count if count <= 0 else [(ranges[i].first, ranges[i].last) for i in range(count)]


def range_for_test(bytes value, int64_t length):
    """The resolved ranges of a Range field, or a RangeResult."""
    cdef ByteRange ranges[RANGES_MAX]
    return listed(parse_range(value, <uint32_t>len(value), length, ranges), ranges)


def ranges_for_test(bytes request, bytes response, int64_t length, *,
                    int64_t received_s=1_780_000_000):
    """The same of a whole request, with its If-Range."""
    cdef Head asked, answer
    cdef Validators v
    cdef ByteRange ranges[RANGES_MAX]
    heads(request, response, &asked, &answer)
    read_validators(&answer, received_s, &v)
    return listed(check_range(&asked, &v, answer.status, length, received_s, ranges), ranges)


def may_refresh_for_test(bytes stored, bytes fresh):
    """May the 304 `fresh` update the answer `stored`? Both are heads."""
    cdef Head asked, old, new
    cdef Validators old_v, new_v
    heads(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", stored, &asked, &old)
    heads(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", fresh, &asked, &new)
    read_validators(&old, 1_780_000_000, &old_v)
    read_validators(&new, 1_780_000_000, &new_v)
    return bool(may_refresh(&old_v, &new_v))


def weak_match_for_test(bytes one, bytes other):
    """Weak comparison of two entity tags."""
    return bool(weak_match(one, <uint32_t>len(one), other, <uint32_t>len(other)))


def strong_match_for_test(bytes one, bytes other):
    """Strong comparison of two entity tags."""
    return bool(strong_match(one, <uint32_t>len(one), other, <uint32_t>len(other)))
