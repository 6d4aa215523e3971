"""The limits of Fastly's platform, and what it answers beyond them.

Theory. A shop that keeps to these limits on a laptop keeps to them in production, so a cdn answers
as Fastly does instead of 414 and 431. Limits and words are documented (VCL constraints and
limitations); of the statuses only the 503 is. The status 756 is what clients of Fastly report.
Long cookies are no error there: the request goes on without them and with a mark.

Called by: session (receive, answer), client (heads that the parser refuses). Touches no Python.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from ext.headers cimport HeaderId
from ext.http1 cimport (Field, H_COOKIE_OVERFLOW, HeadLimits, M_GET, parse_request_head,
                        parse_response_head)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, Refused

# Excess -> (status, reason).
EXCESS_ANSWERS = {
    Excess.LONG_URL: (756, "Too long request string"),
    Excess.LONG_REQUEST: (503, "Header overflow"),
    Excess.LONG_RESPONSE: (503, "backend read error"),
    Excess.MANY_RESPONSE_FIELDS: (503, "Header overflow"),
}


cdef uint32_t fields_size(const Head *head) noexcept nogil:
    """Bytes of the field lines, with the empty line behind them."""
    return head.size - head.fields[0].name if head.count else 0


cdef void take_out(Head *head, int id) noexcept nogil:
    """As if the fields had not been received."""
    cdef uint32_t i, n = 0
    cdef uint32_t upgrade = head.upgrade
    for i in range(head.count):
        if head.fields[i].id == id:
            continue
        if upgrade == i + 1:
            head.upgrade = <uint16_t>(n + 1)
        if n != i:
            head.fields[n] = head.fields[i]
        n += 1
    head.count = <uint16_t>n


cdef void drop_cookies(Head *head, uint32_t bytes_max) noexcept nogil:
    """Take out the request's cookies when they are longer together than that."""
    cdef uint32_t i
    cdef uint64_t size = 0
    cdef const Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == HeaderId.COOKIE:
            size += f.value_size
    if size > bytes_max:
        take_out(head, HeaderId.COOKIE)
        head.flags |= H_COOKIE_OVERFLOW


cdef class Platform:
    """`limits`: keys as in struct PlatformLimits, and own_refusals."""

    def __init__(self, dict limits):
        self.limits.url_bytes = limits["url_bytes"]
        self.limits.cookie_bytes = limits["cookie_bytes"]
        self.limits.response_header_bytes = limits["response_header_bytes"]
        self.limits.response_header_count = limits["response_header_count"]
        self.own_refusals = limits["own_refusals"]

    cdef int check_request(self, Head *head) noexcept:
        """Excess of a request. Too long cookies are taken out of it, so a head that is parsed
        again is checked again."""
        if self.limits.url_bytes and head.target_size > self.limits.url_bytes:
            return Excess.LONG_URL
        if self.limits.cookie_bytes:
            drop_cookies(head, self.limits.cookie_bytes)
        return Excess.NO_EXCESS

    cdef int check_response(self, const Head *head) noexcept:
        """Excess of an origin's answer."""
        cdef uint32_t bytes_max = self.limits.response_header_bytes
        cdef uint32_t count_max = self.limits.response_header_count
        if bytes_max and fields_size(head) > bytes_max:
            return Excess.LONG_RESPONSE
        if count_max and head.count > count_max:
            return Excess.MANY_RESPONSE_FIELDS
        return Excess.NO_EXCESS

    cdef int excess_of(self, int refused) noexcept:
        """What a head that the parser has refused (Refused) is at Fastly; NO_EXCESS: it answers
        what everyone does."""
        if self.own_refusals:
            return Excess.NO_EXCESS
        if refused == <int>Refused.REQUEST_LINE_TOO_LONG:
            return Excess.LONG_URL
        if refused == <int>Refused.HEAD_TOO_LONG or refused == <int>Refused.TOO_MANY_FIELDS:
            return Excess.LONG_REQUEST
        return Excess.NO_EXCESS

    # -- facade for tests --------------------------------------------------------------------

    def request_for_test(self, bytes data):
        """(Excess, the names of the fields that are left, whether cookies were dropped, the name
        at `upgrade`)."""
        cdef HeadLimits limits
        cdef Head head
        widest(&limits)
        if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
            raise ValueError("not one whole request head")
        excess = Excess(self.check_request(&head))
        names = names_of(&head)
        upgrade = names[head.upgrade - 1] if head.upgrade else None
        return excess, names, bool(head.flags & H_COOKIE_OVERFLOW), upgrade

    def response_for_test(self, bytes data):
        """Excess of the answer in `data`."""
        cdef HeadLimits limits
        cdef Head head
        widest(&limits)
        if parse_response_head(data, <uint32_t>len(data), &limits, M_GET, &head) <= 0:
            raise ValueError("not one whole answer head")
        return Excess(self.check_response(&head))

    def refused_for_test(self, int refused):
        return Excess(self.excess_of(refused))


cdef void widest(HeadLimits *limits) noexcept:
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX


cdef list names_of(const Head *head):
    cdef const Field *f
    names = []
    for i in range(head.count):
        f = &head.fields[i]
        names.append(head.base[f.name:f.name + f.name_size])
    return names
