"""Heads of stored answers: as they are kept, and as clients get them.

Theory. A stored head is a whole HTTP/1.1 head: status line, the *visible* fields in the order
received, the *hidden* ones, the empty line. Visible is what every client gets, so a hit is one copy
of that part and a few lines behind it. Hidden is what a delivery must look at: Via and the marks of
a cdn behind us (X-Cache and its kin), which ours continue, then Surrogate-*, which only another cdn
and a debugging client see. Surrogate-* stand last, so the first hidden byte says whether there are
marks at all. What is of one connection or one moment is not kept: framing, Age, fields of the hop.

The marks and the debug fields have the forms of the VCL that Fastly generates for every service.

Called by: session (hits, passes), fill (storing). `out` has the room that `*_room` says.
"""
from libc.string cimport memset, strlen

from ext.digits cimport write_number
from ext.encoding cimport CODING_BROTLI, CODING_GZIP, CODING_NONE
from ext.fields cimport (ID_COUNT, copy_field, copy_fields, has_field, join_values, put,
                         same_token, write_status_line)
from ext.forward cimport write_connection, write_framing
from ext.freshness cimport Policy, Rules, fastly_rules, rfc9111_rules, updates_field
from ext.headers cimport HOP_BY_HOP, HeaderId
from ext.http1 cimport Field, HeadLimits, M_GET, parse_response_head, parse_trailers
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, HEAD_GROWTH_BYTES

cdef enum:
    NODE_BYTES_MAX = 64            # a node's name stands in an answer up to four times
    BOUNDARY_BYTES_MAX = 70        # RFC 2046 §5.1.1

cdef uint8_t NOT_VISIBLE[ID_COUNT]         # tables for copy_fields: 1 = not copied
cdef uint8_t NOT_CODED[ID_COUNT]
cdef uint8_t NOT_A_MARK[ID_COUNT]
cdef uint8_t NOT_SURROGATE[ID_COUNT]
cdef uint8_t NOT_IN_304[ID_COUNT]
cdef uint8_t NOT_IN_PART[ID_COUNT]
cdef uint8_t NOT_IN_PARTS[ID_COUNT]
cdef uint8_t NOT_IN_416[ID_COUNT]

# Of one connection, one moment, or written anew.
NEVER_KEPT = (
    HeaderId.CONNECTION, HeaderId.CONTENT_LENGTH, HeaderId.TRANSFER_ENCODING, HeaderId.UPGRADE,
    HeaderId.KEEP_ALIVE, HeaderId.PROXY_CONNECTION, HeaderId.TE, HeaderId.TRAILER, HeaderId.AGE,
    HeaderId.PROXY_AUTHENTICATE,
)
MARKS = (
    HeaderId.VIA, HeaderId.X_SERVED_BY, HeaderId.X_CACHE, HeaderId.X_CACHE_HITS, HeaderId.X_TIMER,
    HeaderId.FASTLY_DEBUG_PATH, HeaderId.FASTLY_DEBUG_TTL, HeaderId.FASTLY_DEBUG_DIGEST,
)
SURROGATE = (HeaderId.SURROGATE_CONTROL, HeaderId.SURROGATE_KEY, HeaderId.SURROGATE_CAPABILITY)
# RFC 9110 §15.4.5. CDN-Cache-Control goes with Cache-Control: it guides a cache behind us.
KEPT_IN_304 = (
    HeaderId.CACHE_CONTROL, HeaderId.CDN_CACHE_CONTROL, HeaderId.CONTENT_LOCATION, HeaderId.DATE,
    HeaderId.ETAG, HeaderId.EXPIRES, HeaderId.VARY,
)


cdef int mark(uint8_t *table, numbers, int value) except -1:
    for number in numbers:
        table[<int>number] = value
    return 0


cdef int keep_only(uint8_t *table, numbers) except -1:
    memset(table, 1, ID_COUNT)
    return mark(table, numbers, 0)


mark(NOT_VISIBLE, NEVER_KEPT + MARKS + SURROGATE, 1)
mark(NOT_CODED, NEVER_KEPT + MARKS + SURROGATE + (HeaderId.ETAG, HeaderId.VARY), 1)
keep_only(NOT_A_MARK, MARKS)
keep_only(NOT_SURROGATE, SURROGATE)
keep_only(NOT_IN_304, KEPT_IN_304)
keep_only(NOT_IN_416, (HeaderId.DATE,))
mark(NOT_IN_PART, MARKS + SURROGATE + (HeaderId.CONTENT_RANGE,), 1)
mark(NOT_IN_PARTS, MARKS + SURROGATE + (HeaderId.CONTENT_RANGE, HeaderId.CONTENT_TYPE), 1)


cdef class Marks:
    """What a cdn writes into every answer. `node`: its name, as in X-Served-By; `enabled` False:
    nothing, and what a cdn behind us wrote goes on as it is."""

    def __init__(self, str node, str pop, bint enabled=True):
        if not 0 < len(node) <= NODE_BYTES_MAX:
            raise ValueError(f"a node's name has 1 to {NODE_BYTES_MAX} characters, not {len(node)}")
        self.held = [node.encode("ascii"), pop.encode("ascii")]
        self.enabled = enabled
        self.served_by = Text(self.held[0], <uint32_t>len(node))
        self.pop = Text(self.held[1], <uint32_t>len(pop))


# -- storing -------------------------------------------------------------------------------------

cdef uint32_t stored_room(const Head *response) noexcept:
    return response.size + 4 * response.count + HEAD_GROWTH_BYTES


cdef uint32_t build_stored(const Head *response, const Text *date, int coding, bint varies,
                           uint32_t *visible, char *out) noexcept:
    """The head to store; the bytes written, 0 if it could not be read again. `date`: a whole field
    line for an answer without Date (RFC 9110 §6.6.1). `coding`: what the body is stored in, by our
    own doing; `varies`: Accept-Encoding has decided that."""
    cdef char *o = write_status_line(out, response.status, response.base + response.reason,
                                     response.reason_size)
    cdef uint64_t seen = 0
    cdef uint32_t own = 2 if varies else 0     # fields: Vary, Content-Encoding
    o = copy_fields(o, response, &NOT_CODED[0] if varies else &NOT_VISIBLE[0], &seen)
    if varies:
        o = write_coded(o, response, coding)
    if not seen >> <int>HeaderId.DATE & 1:
        o = put(o, date.data, date.size)
        own += 1
    if response.count + own > FIELDS_MAX:
        return 0
    visible[0] = <uint32_t>(o - out)
    o = copy_fields(o, response, NOT_A_MARK, &seen)
    o = copy_fields(o, response, NOT_SURROGATE, &seen)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out) if o - out <= HEAD_BYTES_MAX else 0


cdef bint has_token(const char *p, uint32_t size, const char *token, uint32_t n) noexcept:
    """Is a token, given in lower case, in a list?"""
    cdef uint32_t at = 0, end
    while at < size:
        end = at
        while end < size and p[end] != b',' and p[end] != b' ' and p[end] != b'\t':
            end += 1
        if end - at == n and same_token(p + at, token, n):
            return True
        at = end + 1
    return False


cdef char *write_coded(char *o, const Head *response, int coding) noexcept:
    """ETag, Vary and Content-Encoding of an answer that is compressed for some of its clients: its
    bytes are not those that a strong ETag stands for (RFC 9110 §8.8.1)."""
    cdef uint32_t i
    cdef const Field *f
    cdef const char *p
    cdef const char *start
    cdef bint any = False
    for i in range(response.count):
        f = &response.fields[i]
        p = response.base + f.value
        if f.id == HeaderId.ETAG and not f.flags & HOP_BY_HOP:
            o = put(o, b"ETag: ", 6)
            if coding != CODING_NONE and not (f.value_size > 2 and p[0] == b'W' and p[1] == b'/'):
                o = put(o, b"W/", 2)
            o = put(o, p, f.value_size)
            o = put(o, b"\r\n", 2)
    o = put(o, b"Vary: ", 6)
    start = o
    o = join_values(o, response, HeaderId.VARY, b", ", &any)
    if not has_token(start, <uint32_t>(o - start), b"accept-encoding", 15):
        o = put(o, b", Accept-Encoding" if any else b"Accept-Encoding", 17 if any else 15)
    o = put(o, b"\r\n", 2)
    if coding == CODING_GZIP:
        o = put(o, b"Content-Encoding: gzip\r\n", 24)
    elif coding == CODING_BROTLI:
        o = put(o, b"Content-Encoding: br\r\n", 22)
    return o


cdef uint32_t merged_room(const Head *stored, const Head *fresh) noexcept:
    return stored.size + fresh.size + 4 * (stored.count + fresh.count) + HEAD_GROWTH_BYTES


cdef bint has_name(const Head *head, const Field *field, const char *base) noexcept:
    """Has the head a field, of those that may be copied, with this one's name?"""
    cdef uint32_t i
    cdef const Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if (f.id == field.id and f.name_size == field.name_size and not f.flags & HOP_BY_HOP
                and (f.id or same_token(head.base + f.name, base + field.name, f.name_size))):
            return True
    return False


cdef uint32_t build_merged(const Head *stored, const Head *fresh, int policy, uint32_t *visible,
                           char *out) noexcept:
    """The stored head as a 304 updates it (RFC 9111 §3.2); the bytes written, 0 if it could not be
    read again. The fields that stay are first, in their order."""
    cdef Rules rules = fastly_rules(0) if policy == <int>Policy.FASTLY else rfc9111_rules(0)
    cdef Head old = stored[0], new = fresh[0]
    cdef uint64_t seen = 0
    cdef uint32_t i, count = 0
    cdef char *o
    for i in range(new.count):
        if not updates_field(&rules, &new.fields[i]):
            new.fields[i].flags |= HOP_BY_HOP      # which is what copy_fields leaves out
        count += not new.fields[i].flags & HOP_BY_HOP
    for i in range(old.count):
        if has_name(&new, &old.fields[i], old.base):
            old.fields[i].flags |= HOP_BY_HOP
        count += not old.fields[i].flags & HOP_BY_HOP
    if count > FIELDS_MAX:
        return 0
    o = write_status_line(out, old.status, old.base + old.reason, old.reason_size)
    o = copy_fields(o, &old, NOT_VISIBLE, &seen)
    o = copy_fields(o, &new, NOT_VISIBLE, &seen)
    visible[0] = <uint32_t>(o - out)
    o = copy_fields(o, &old, NOT_A_MARK, &seen)
    o = copy_fields(o, &new, NOT_A_MARK, &seen)
    o = copy_fields(o, &old, NOT_SURROGATE, &seen)
    o = copy_fields(o, &new, NOT_SURROGATE, &seen)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out) if o - out <= HEAD_BYTES_MAX else 0


# -- marks ---------------------------------------------------------------------------------------

cdef char *write_digits(char *o, uint64_t n, int digits) noexcept nogil:
    """With zeros in front."""
    cdef int i
    for i in range(digits - 1, -1, -1):
        o[i] = <char>(48 + n % 10)
        n //= 10
    return o + digits


cdef char *write_seconds(char *o, int64_t ms) noexcept nogil:
    """Milliseconds as VCL prints a time span: `-10.999`."""
    if ms < 0:
        o = put(o, b"-", 1)
        ms = -ms
    o += write_number(o, <uint64_t>ms // 1000)
    o = put(o, b".", 1)
    return write_digits(o, <uint64_t>ms % 1000, 3)


cdef char *begin_list(char *o, const char *name, const Head *inner, int id) noexcept nogil:
    """A list field that continues what a cdn behind us wrote."""
    cdef bint any = False
    o = put(o, name, <uint32_t>strlen(name))
    if inner != NULL:
        o = join_values(o, inner, id, b", ", &any)
        if any:
            o = put(o, b", ", 2)
    return o


cdef char *end_list(char *o, const Head *inner, int id) noexcept nogil:
    """What a cdn behind us wrote, behind ours: the order of Fastly's debug fields."""
    cdef bint any = True
    if inner != NULL:
        o = join_values(o, inner, id, b" ", &any)
    return put(o, b"\r\n", 2)


cdef char *write_debug(char *o, Marks marks, const Head *inner, const Delivery *d) noexcept:
    """Fastly-Debug-Path, -TTL and -Digest. D: the node that delivers, F: the one that fetched."""
    cdef uint64_t now_s = (d.started_us // 1000 + d.elapsed_ms) // 1000
    cdef int i
    o = put(o, b"Fastly-Debug-Path: (D ", 22)
    o = put(o, marks.served_by.data, marks.served_by.size)
    o = put(o, b" ", 1)
    o += write_number(o, now_s)
    if d.hits or d.mark == MARK_MISS:          # else it is an answer of our own
        o = put(o, b") (F ", 5)
        o = put(o, marks.served_by.data, marks.served_by.size)
        o = put(o, b" ", 1)
        o += write_number(o, now_s - d.age_s if d.with_age and d.age_s < now_s else now_s)
    o = put(o, b")", 1)
    o = end_list(o, inner, HeaderId.FASTLY_DEBUG_PATH)
    o = put(o, b"Fastly-Debug-TTL: (H " if d.hits else b"Fastly-Debug-TTL: (M ", 21)
    o = put(o, marks.served_by.data, marks.served_by.size)
    o = put(o, b" ", 1)
    if d.hits:
        o = write_seconds(o, d.ttl_ms)
        o = put(o, b" ", 1)
        o = write_seconds(o, d.grace_ms)
        o = put(o, b" ", 1)
    else:
        o = put(o, b"- - ", 4)
    if d.with_age:
        o += write_number(o, d.age_s)
    else:
        o = put(o, b"-", 1)
    o = put(o, b")", 1)
    o = end_list(o, inner, HeaderId.FASTLY_DEBUG_TTL)
    # deviates: 128 bits, as keys are hashed here; Fastly shows a SHA-256
    o = put(o, b"Fastly-Debug-Digest: ", 21)
    for i in range(32):
        o[i] = b"0123456789abcdef"[d.digest[i >> 4] >> (60 - 4 * (i & 15)) & 15]
    return put(o + 32, b"\r\n", 2)


cdef char *write_marks(char *o, Marks marks, const Head *inner, const Delivery *d) noexcept:
    """The lines of this cdn. `inner`: a head with what a cdn behind us wrote; NULL: none did."""
    cdef int i
    if marks.enabled:
        o = begin_list(o, b"X-Served-By: ", inner, HeaderId.X_SERVED_BY)
        o = put(o, marks.served_by.data, marks.served_by.size)
        o = begin_list(o, b"\r\nX-Cache: ", inner, HeaderId.X_CACHE)
        o = put(o, b"HIT" if d.mark == MARK_HIT else b"MISS", 3 if d.mark == MARK_HIT else 4)
        o = begin_list(o, b"\r\nX-Cache-Hits: ", inner, HeaderId.X_CACHE_HITS)
        o += write_number(o, d.hits)
        o = put(o, b"\r\nX-Timer: S", 12)
        o += write_number(o, d.started_us // 1_000_000)
        o = put(o, b".", 1)
        o = write_digits(o, d.started_us % 1_000_000, 6)
        o = put(o, b",VS0,VE", 7)
        o += write_number(o, d.elapsed_ms)
        o = put(o, b"\r\n", 2)
        if d.debug or d.inner:                 # what a cdn in front of us hides and continues
            o = write_debug(o, marks, inner, d)
    elif inner != NULL:
        for i in range(<int>HeaderId.X_CACHE, <int>HeaderId.FASTLY_DEBUG_DIGEST + 1):
            o = copy_field(o, inner, i)
    if inner != NULL and (d.debug or d.inner):
        o = copy_field(o, inner, HeaderId.SURROGATE_CONTROL)
        o = copy_field(o, inner, HeaderId.SURROGATE_KEY)
        o = copy_field(o, inner, HeaderId.SURROGATE_CAPABILITY)
    return o


# -- delivering ----------------------------------------------------------------------------------

cdef int read_stored(const char *head, uint32_t size, Head *parsed) noexcept:
    """0, or -1 for what build_stored did not write."""
    cdef HeadLimits limits
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    return 0 if parse_response_head(head, size, &limits, M_GET, parsed) > 0 else -1


cdef char *write_range(char *o, const ByteRange *range, int64_t total) noexcept nogil:
    """Content-Range (RFC 9110 §14.4); `range` NULL: unsatisfied."""
    o = put(o, b"Content-Range: bytes ", 21)
    if range != NULL:
        o += write_number(o, <uint64_t>range.first)
        o = put(o, b"-", 1)
        o += write_number(o, <uint64_t>range.last)
    else:
        o = put(o, b"*", 1)
    o = put(o, b"/", 1)
    if total >= 0:
        o += write_number(o, <uint64_t>total)
    else:
        o = put(o, b"*", 1)
    return put(o, b"\r\n", 2)


cdef char *write_form(char *o, const Head *stored, const Delivery *d) noexcept:
    """Status line and fields of what is not the whole answer."""
    cdef uint64_t seen = 0
    if d.form == FORM_NOT_MODIFIED:
        o = write_status_line(o, 304, b"Not Modified", 12)
        o = copy_fields(o, stored, NOT_IN_304, &seen)
        if not has_field(stored, HeaderId.ETAG):
            # RFC 9110 §15.4.5: useful where it guides an update in the ETag's place
            o = copy_field(o, stored, HeaderId.LAST_MODIFIED)
    elif d.form == FORM_UNSATISFIABLE:
        o = write_status_line(o, 416, b"Range Not Satisfiable", 21)
        o = copy_fields(o, stored, NOT_IN_416, &seen)
        if d.total >= 0:                       # `*/*` is no Content-Range
            o = write_range(o, NULL, d.total)
    else:
        o = write_status_line(o, 206, b"Partial Content", 15)
        if d.form == FORM_PART:
            o = copy_fields(o, stored, NOT_IN_PART, &seen)
            o = write_range(o, &d.range, d.total)
        else:                                  # RFC 9110 §15.3.7.2
            o = copy_fields(o, stored, NOT_IN_PARTS, &seen)
            o = put(o, b"Content-Type: multipart/byteranges; boundary=", 45)
            o = put(o, d.boundary, <uint32_t>strlen(d.boundary))
            o = put(o, b"\r\n", 2)
    return o


cdef char *write_via(char *o, const Head *inner, const Text *via) noexcept:
    """The stored list, then ours (RFC 9110 §7.6.3)."""
    cdef bint any = False
    if inner == NULL or not has_field(inner, HeaderId.VIA):
        if not via.size:
            return o
        o = put(o, b"Via: ", 5)
    else:
        o = put(o, b"Via: ", 5)
        o = join_values(o, inner, HeaderId.VIA, b", ", &any)
        if any and via.size:
            o = put(o, b", ", 2)
    o = put(o, via.data, via.size)
    return put(o, b"\r\n", 2)


cdef uint32_t delivery_room(uint32_t head_size) noexcept:
    return head_size + HEAD_GROWTH_BYTES


cdef uint32_t build_delivery(const char *head, uint32_t head_size, uint32_t visible_size,
                             const Delivery *d, Marks marks, const Text *via,
                             char *out) noexcept:
    """The head as the client gets it; the bytes written. 0: what is stored is no stored head."""
    cdef char *o = out
    cdef Head parsed, hidden
    cdef const Head *inner = NULL
    cdef uint32_t hidden_size = head_size - visible_size
    if d.form == FORM_WHOLE:
        o = put(o, head, visible_size)
    else:
        if read_stored(head, head_size, &parsed) < 0:
            return 0
        o = write_form(o, &parsed, d)
    # Surrogate-* alone, the common case, need no look.
    if hidden_size > 2 and (head[visible_size] | 0x20 != b's' or d.inner or d.debug):
        if parse_trailers(head + visible_size, hidden_size, HEAD_BYTES_MAX, &hidden) <= 0:
            return 0
        inner = &hidden
    if d.with_age:
        o = put(o, b"Age: ", 5)
        o += write_number(o, d.age_s)
        o = put(o, b"\r\n", 2)
    o = write_via(o, inner, via)
    o = write_framing(o, d.framing, d.length)
    o = write_marks(o, marks, inner, d)
    o = write_connection(o, d.say)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


cdef uint32_t part_head(const char *head, uint32_t head_size, const ByteRange *range,
                        int64_t total, const char *boundary, char *out) noexcept:
    """What stands before a part's bytes, or (`range` NULL) behind the last one's; the bytes
    written (RFC 9110 §14.6)."""
    cdef char *o = put(out, b"\r\n--", 4)
    cdef Head parsed
    o = put(o, boundary, <uint32_t>strlen(boundary))
    if range == NULL:
        o = put(o, b"--\r\n", 4)
        return <uint32_t>(o - out)
    o = put(o, b"\r\n", 2)
    if read_stored(head, head_size, &parsed) == 0:
        o = copy_field(o, &parsed, HeaderId.CONTENT_TYPE)
    o = write_range(o, range, total)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


# -- facade for tests ----------------------------------------------------------------------------

cdef Text text_of(bytes text):
    return Text(text, <uint32_t>len(text))


cdef int read_head(bytes data, Head *head) except -1:
    if read_stored(data, <uint32_t>len(data), head) < 0:
        raise ValueError("not one whole answer head")
    return 0


cdef Delivery delivery_of(dict given):
    """Keys as in struct Delivery; `boundary` is borrowed from the dict."""
    cdef Delivery d
    memset(&d, 0, sizeof(Delivery))
    d.total = -1
    for key in given:
        if key not in DELIVERY_KEYS:
            raise KeyError(key)
    d.form = given.get("form", 0)
    d.framing = given.get("framing", 0)
    d.say = given.get("say", 0)
    d.length = given.get("length", 0)
    d.total = given.get("total", -1)
    d.range.first, d.range.last = given.get("range", (0, 0))
    if "boundary" in given:
        d.boundary = <bytes>given["boundary"]
    d.with_age = "age_s" in given
    d.age_s = given.get("age_s", 0)
    d.mark = given.get("mark", 0)
    d.hits = given.get("hits", 0)
    d.started_us = given.get("started_us", 0)
    d.elapsed_ms = given.get("elapsed_ms", 0)
    d.inner = given.get("inner", False)
    d.debug = given.get("debug", False)
    d.ttl_ms = given.get("ttl_ms", 0)
    d.grace_ms = given.get("grace_ms", 0)
    d.digest = given.get("digest", (0, 0))
    return d


DELIVERY_KEYS = {
    "form", "framing", "say", "length", "total", "range", "boundary", "age_s", "mark", "hits",
    "started_us", "elapsed_ms", "inner", "debug", "ttl_ms", "grace_ms", "digest",
}


def stored_for_test(bytes data, bytes date=b"", int coding=CODING_NONE, bint varies=False):
    """The stored head of the answer in `data`, and the size of its visible part; None: too long."""
    cdef Head head
    cdef uint32_t visible = 0
    cdef Text text = text_of(date)
    read_head(data, &head)
    out = bytearray(stored_room(&head))
    used = build_stored(&head, &text, coding, varies, &visible, out)
    assert used <= len(out)
    return (bytes(out[:used]), visible) if used else None


def merged_for_test(bytes stored, bytes fresh, int policy):
    """The stored head updated by the 304 in `fresh`, and its visible part; None: too long."""
    cdef Head old, new
    cdef uint32_t visible = 0
    read_head(stored, &old)
    read_head(fresh, &new)
    out = bytearray(merged_room(&old, &new))
    used = build_merged(&old, &new, policy, &visible, out)
    assert used <= len(out)
    return (bytes(out[:used]), visible) if used else None


cdef class DeliveryForTest:
    """A stored head and how it is delivered, held for repeated delivery."""
    cdef bytes head
    cdef dict given
    cdef bytes via_bytes
    cdef uint32_t visible
    cdef Delivery d
    cdef Marks marks
    cdef Text via
    cdef bytearray out

    def __init__(self, bytes head, int visible, dict given, Marks marks, bytes via=b""):
        self.head = head
        self.given = given
        self.via_bytes = via
        self.visible = visible
        self.d = delivery_of(given)
        self.marks = marks
        self.via = text_of(via)
        self.out = bytearray(delivery_room(<uint32_t>len(head)))

    def build(self):
        """The bytes written."""
        return build_delivery(self.head, <uint32_t>len(self.head), self.visible, &self.d,
                              self.marks, &self.via, self.out)

    def repeat(self, int times):
        """Build it so often that the call costs nothing beside it."""
        cdef int _
        cdef uint32_t size = <uint32_t>len(self.head)
        cdef const char *head = self.head
        cdef char *out = self.out
        for _ in range(times):
            build_delivery(head, size, self.visible, &self.d, self.marks, &self.via, out)

    def __bytes__(self):
        used = self.build()
        assert used <= len(self.out)
        return bytes(self.out[:used])


def marks_for_test(bytes inner, Marks marks, dict given):
    """The lines of write_marks for an answer that is passed through; b"": one of our own."""
    cdef Head head
    cdef Delivery d = delivery_of(given)
    cdef const Head *pointer = NULL
    if inner:
        read_head(inner, &head)
        pointer = &head
    out = bytearray(len(inner) + HEAD_GROWTH_BYTES)
    cdef char *start = out
    used = write_marks(start, marks, pointer, &d) - start
    assert used <= len(out)
    return bytes(out[:used])


def part_for_test(bytes head, tuple part, int64_t total, bytes boundary):
    """The head of one part; `part` None: the end."""
    cdef ByteRange r
    cdef const ByteRange *pointer = NULL
    if part is not None:
        r.first, r.last = part
        pointer = &r
    out = bytearray(delivery_room(<uint32_t>len(head)))
    used = part_head(head, <uint32_t>len(head), pointer, total, boundary, out)
    assert used <= len(out)
    return bytes(out[:used])
