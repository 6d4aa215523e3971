"""What the fields of an answer, and the directives of a request, say to a cache.

Read once, in one pass over the fields; freshness decides by it. Where a field that has one value
stands more than once its first line counts (RFC 9111 §4.2.1, §5.1). Warning is not read at all
(RFC 9111 §5.5), nor Pragma in an answer (§5.4).

Called by: freshness; store (vary_names). Pure byte functions that touch no Python.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from ext.cachecontrol cimport (clear_directives, delta_seconds, D_NO_CACHE, D_PRESENT,
                               read_directives, read_surrogate, read_targeted)
from ext.conditions cimport read_validators, V_LAST_MODIFIED
from ext.dates cimport parse_http_date
from ext.headers cimport HeaderId, Known, known_field, same_name
from ext.http1 cimport HeadLimits, M_GET, parse_response_head
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, VARY_NAMES_MAX


cdef const Field *field_of(const Head *head, int id) noexcept nogil:
    cdef uint32_t i
    for i in range(head.count):
        if head.fields[i].id == id:
            return &head.fields[i]
    return NULL


cdef uint32_t read_age(const char *p, uint32_t size) noexcept nogil:
    """The first member of an Age field; what is no number is ignored (RFC 9111 §5.1)."""
    cdef uint32_t at = 0, end, stop
    cdef bint good
    while at < size and (p[at] == b',' or p[at] == b' ' or p[at] == b'\t'):
        at += 1
    end = at
    while end < size and p[end] != b',':
        end += 1
    stop = end
    while stop > at and (p[stop - 1] == b' ' or p[stop - 1] == b'\t'):
        stop -= 1
    return delta_seconds(p + at, stop - at, &good)


cdef uint64_t ids_of(const Head *head) noexcept nogil:
    """A bit per HeaderId that the head has."""
    cdef uint32_t i
    cdef uint64_t ids = 0
    for i in range(head.count):
        ids |= <uint64_t>1 << head.fields[i].id
    return ids


cdef void read_fields(const Head *head, uint64_t skip, int64_t now_s, Facts *facts) noexcept nogil:
    """Add what a head's fields say, save those whose id is in `skip`."""
    cdef uint32_t i
    cdef const Field *f
    cdef const char *value
    cdef bint aged = False
    for i in range(head.count):
        f = &head.fields[i]
        value = head.base + f.value
        if skip >> f.id & 1:
            continue
        if f.id == HeaderId.CACHE_CONTROL:
            read_directives(value, f.value_size, &facts.cache_control)
        elif f.id == HeaderId.SURROGATE_CONTROL:
            read_surrogate(value, f.value_size, &facts.surrogate)
        elif f.id == HeaderId.EXPIRES:
            if not facts.flags & F_EXPIRES and parse_http_date(value, f.value_size, now_s,
                                                               &facts.expires_s):
                facts.flags |= F_EXPIRES_DATE
            facts.flags |= F_EXPIRES       # the first line counts: RFC 9111 §4.2.1
        elif f.id == HeaderId.AGE and not aged:
            aged = True                    # likewise: RFC 9111 §5.1
            facts.age_s = read_age(value, f.value_size)
        elif f.id == HeaderId.SET_COOKIE:
            facts.flags |= F_SET_COOKIE
    if not skip >> <int>HeaderId.CDN_CACHE_CONTROL & 1:
        if read_targeted(head, <int>HeaderId.CDN_CACHE_CONTROL, &facts.cdn):
            facts.flags |= F_CDN


cdef void read_facts(const Head *response, int64_t now_s, Facts *facts) noexcept nogil:
    memset(facts, 0, sizeof(Facts))
    read_validators(response, now_s, &facts.validators)
    read_fields(response, 0, now_s, facts)
    facts.vary = vary_names(response, NULL)


cdef void read_refreshed(const Head *stored, const Head *fresh, int64_t now_s,
                         Facts *facts) noexcept nogil:
    """The facts of a stored answer after the 304 `fresh`: each field is that of the 304 where it
    has one (RFC 9111 §3.2). Age and Set-Cookie are of the 304 alone."""
    cdef Validators old
    cdef uint64_t ids = ids_of(fresh)
    read_facts(fresh, now_s, facts)
    ids |= <uint64_t>1 << <int>HeaderId.AGE | <uint64_t>1 << <int>HeaderId.SET_COOKIE
    read_fields(stored, ids, now_s, facts)
    read_validators(stored, now_s, &old)
    if facts.validators.etag == NULL:
        facts.validators.etag = old.etag
        facts.validators.etag_size = old.etag_size
    if not ids >> <int>HeaderId.LAST_MODIFIED & 1 and old.flags & V_LAST_MODIFIED:
        facts.validators.last_modified_s = old.last_modified_s
        facts.validators.flags |= V_LAST_MODIFIED
    if not ids >> <int>HeaderId.VARY & 1:
        facts.vary = vary_names(stored, NULL)


cdef void read_request(const Head *request, Directives *d) noexcept nogil:
    """A request's directives; `Pragma: no-cache` only where there is no Cache-Control, as before
    RFC 9111 §5.4."""
    cdef uint32_t i
    cdef const Field *f
    cdef bint pragma = False
    clear_directives(d)
    for i in range(request.count):
        f = &request.fields[i]
        if f.id == HeaderId.CACHE_CONTROL:
            read_directives(request.base + f.value, f.value_size, d)
        elif f.id == HeaderId.PRAGMA:
            pragma |= f.value_size == 8 and same_name(request.base + f.value, b"no-cache", 8)
    if pragma and not d.seen & D_PRESENT:
        d.seen |= D_NO_CACHE


# -- Vary ------------------------------------------------------------------------------------------

cdef bint is_header_name(const char *p, uint32_t size) noexcept nogil:
    """A token without the characters that no field name in use has; `*` is none."""
    cdef uint32_t i
    cdef unsigned char c
    for i in range(size):
        c = p[i]
        if not (c >= b'a' and c <= b'z' or c >= b'A' and c <= b'Z' or c >= b'0' and c <= b'9'
                or c == b'-' or c == b'_' or c == b'.' or c == b'!' or c == b'#' or c == b'$'
                or c == b'%' or c == b'&' or c == b"'" or c == b'+' or c == b'^' or c == b'`'
                or c == b'|' or c == b'~'):
            return False
    return size > 0


cdef bint is_listed(const Head *head, const VaryName *names, int count, const char *p,
                    uint32_t size) noexcept nogil:
    cdef int i
    cdef uint32_t j
    cdef unsigned char a, b
    for i in range(count):
        if names[i].size != size:
            continue
        for j in range(size):
            a = head.base[names[i].name + j]
            b = p[j]
            if a != b and ((a ^ b) != 0x20 or (a | 0x20) < b'a' or (a | 0x20) > b'z'):
                break
        else:
            return True
    return False


cdef int vary_names(const Head *response, VaryName *names) noexcept nogil:
    """The different names that an answer varies on (RFC 9110 §12.5.5), in order: how many, or
    VARY_ANY, VARY_TOO_MANY. `names` has room for VARY_NAMES_MAX, or is NULL."""
    cdef VaryName own[VARY_NAMES_MAX]
    cdef VaryName *out = names
    cdef uint32_t i, at, end, mark, stop
    cdef const Field *f
    cdef const Known *known
    cdef const char *p = response.base
    cdef int count = 0
    if out == NULL:
        out = own
    for i in range(response.count):
        f = &response.fields[i]
        if f.id != HeaderId.VARY:
            continue
        at = f.value
        end = at + f.value_size
        while at < end:
            if p[at] == b',' or p[at] == b' ' or p[at] == b'\t':
                at += 1
                continue
            mark = at
            while at < end and p[at] != b',':
                at += 1
            stop = at
            while p[stop - 1] == b' ' or p[stop - 1] == b'\t':
                stop -= 1
            if not is_header_name(p + mark, stop - mark):
                return VARY_ANY
            if is_listed(response, out, count if count > 0 else 0, p + mark, stop - mark):
                continue
            if count < 0 or count == VARY_NAMES_MAX or stop - mark > 0xFFFF:
                count = VARY_TOO_MANY          # a `*` behind it still decides
                continue
            known = known_field(p + mark, stop - mark)
            out[count].name = mark
            out[count].size = <uint16_t>(stop - mark)
            out[count].id = <uint8_t>known.id if known != NULL else 0
            count += 1
    return count


def vary_for_test(bytes response):
    """The names that an answer varies on, or VARY_ANY, VARY_TOO_MANY."""
    cdef HeadLimits limits
    cdef Head answer
    cdef VaryName names[VARY_NAMES_MAX]
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    if parse_response_head(response, <uint32_t>len(response), &limits, M_GET, &answer) <= 0:
        raise ValueError("not one whole answer head")
    count = vary_names(&answer, names)
    if count < 0:
        return count
    return [answer.base[names[i].name:names[i].name + names[i].size] for i in range(count)]
