"""Cookie persistence: a client goes back to the server that its cookie names.

Theory. A server has a cookie value. `read` looks for the tier's cookie in the request's head: who
brings the value of a server that takes its regulars (UP or soft-stopped, ready or draining) goes
there without being balanced. What the application must not see is edited out: the whole cookie
(`indirect`), or the server's part of it (`prefix`). `write` marks the answer: a cookie of our own
(`insert`, when the client has none or another server's), or the application's, whose value is
replaced (`rewrite`) or gets the server's in front of it (`prefix`).

With `maxidle` or `maxlife` the value carries when it was last and first given, in units of four
seconds, as five base64 digits each behind a `|`.

Both halves work on parsed heads and collect edits; who calls applies them.
Called by: session (steps haproxy, answer). Source: HAProxy 2.6 configuration manual, `cookie`.
"""
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp

from ext.arena cimport ServerSlot, edge_load32, may_persist
from ext.edits cimport EDIT_ADD, Edits, edited_room, write_edited
from ext.fields cimport put
from ext.headers cimport HeaderId
from ext.http1 cimport Field, HeadLimits, M_GET, parse_request_head, parse_response_head
from ext.limits cimport AdminState, FIELDS_MAX, HEAD_BYTES_MAX

cdef enum:
    VALUE_BYTES_MAX = 4096         # of one Set-Cookie that is written; browsers take as much
    DATE_DIGITS = 5                # base64: 30 bits of four seconds each
    DATE_UNIT_S = 4
    DAY_S = 86400                  # a date so far ahead of our clock is not one of ours

cdef const char *DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
MODES = {"insert": COOKIE_INSERT, "rewrite": COOKIE_REWRITE, "prefix": COOKIE_PREFIX}


# -- dates ---------------------------------------------------------------------------------------

cdef char *write_date(char *o, int64_t at_s) noexcept:
    cdef int64_t units = (at_s + DATE_UNIT_S - 1) // DATE_UNIT_S
    cdef int i
    o[0] = b'|'
    for i in range(DATE_DIGITS):
        o[1 + i] = DIGITS[units >> 6 * (DATE_DIGITS - 1 - i) & 63]
    return o + 1 + DATE_DIGITS


cdef int64_t read_date(const char *p) noexcept:
    """Unix seconds of five digits; 0 when they are none."""
    cdef int64_t units = 0
    cdef int i, j
    for i in range(DATE_DIGITS):
        j = 0
        while j < 64 and DIGITS[j] != p[i]:
            j += 1
        if j == 64:
            return 0
        units = units << 6 | j
    return units * DATE_UNIT_S


# -- texts ---------------------------------------------------------------------------------------

cdef inline bint is_blank(char c) noexcept:
    return c == b' ' or c == b'\t'


cdef bint next_pair(const char **p, const char *end, Text *name, Text *value) noexcept:
    """The next `name=value` of a list separated by semicolons, without blanks around; False at the
    end. A part without `=` has an empty name."""
    cdef const char *begin
    cdef const char *equals = NULL
    cdef const char *stop
    while p[0] < end and (is_blank(p[0][0]) or p[0][0] == b';'):
        p[0] += 1
    if p[0] >= end:
        return False
    begin = p[0]
    while p[0] < end and p[0][0] != b';':
        if equals == NULL and p[0][0] == b'=':
            equals = p[0]
        p[0] += 1
    stop = p[0]
    while stop > begin and is_blank((stop - 1)[0]):
        stop -= 1
    name.data = begin
    name.size = 0
    value.data = begin
    if equals != NULL:
        value.data = equals + 1
        while value.data < stop and is_blank(value.data[0]):
            value.data += 1
        name.size = <uint32_t>(equals - begin)
        while name.size and is_blank(begin[name.size - 1]):
            name.size -= 1
    value.size = <uint32_t>(stop - value.data)
    return True


cdef inline bint same(const Text *a, const Text *b) noexcept:
    return a.size == b.size and memcmp(a.data, b.data, a.size) == 0


cdef class Cookie:
    """The cookie of one tier. `servers`: (value or None, slot) in the order of the tier.

    `options`: name, mode (of MODES), indirect, nocache, postonly, preserve, persist, maxidle_s,
    maxlife_s (0: none), and `tail`, the attributes that follow the path.
    """

    def __init__(self, Arena arena, list servers, dict options):
        cdef int i
        self.arena = arena
        self.count = len(servers)
        self.held = []
        self.servers = <Regular *>calloc(max(1, self.count), sizeof(Regular))
        if self.servers == NULL:
            raise MemoryError
        for i, (value, slot) in enumerate(servers):
            self.servers[i].slot = slot
            if value is not None:
                self.servers[i].value = self._text(value)
        self.name = self._text(options["name"])
        self.tail = self._text("; path=/" + options["tail"])
        self.mode = MODES[options["mode"]]
        self.indirect = options["indirect"]
        self.nocache = options["nocache"]
        self.postonly = options["postonly"]
        self.preserve = options["preserve"]
        self.persist = options["persist"]
        self.maxidle_s = options["maxidle_s"]
        self.maxlife_s = options["maxlife_s"]

    def __dealloc__(self):
        free(self.servers)

    cdef Text _text(self, str text):
        cdef bytes raw = text.encode()
        cdef Text made = Text(<const char *>raw, <uint32_t>len(raw))
        self.held.append(raw)
        return made

    # -- the request -------------------------------------------------------------------------------

    cdef bint serves(self, int index) noexcept:
        """Does a server take its regulars now?"""
        cdef ServerSlot *slot = &self.arena.servers[self.servers[index].slot]
        return may_persist(slot) or (
            self.persist and edge_load32(&slot.admin) != <uint32_t>AdminState.MAINT)

    cdef int find(self, const char *p, uint32_t size) noexcept:
        """The server of a value, or -1."""
        cdef int i
        for i in range(self.count):
            if (self.servers[i].value.size == size and size
                    and memcmp(self.servers[i].value.data, p, size) == 0):
                return i
        return -1

    cdef bint read_dates(self, const char *p, uint32_t size, int64_t now_s,
                         CookieSeen *seen) noexcept:
        """The dates behind a value, `|last` or `|last|first`; False when its time is over."""
        cdef int64_t date
        if size >= 1 + DATE_DIGITS:
            date = read_date(p + 1)
            if date:
                if self.maxidle_s and (now_s - date > self.maxidle_s or date - now_s > DAY_S):
                    seen.state = COOKIE_EXPIRED
                    return False
                seen.last_s = date
        if size >= 2 * (1 + DATE_DIGITS) and p[1 + DATE_DIGITS] == b'|':
            date = read_date(p + 2 + DATE_DIGITS)
            if date:
                if self.maxlife_s and (now_s - date > self.maxlife_s or date - now_s > DAY_S):
                    seen.state = COOKIE_OLD
                    return False
                seen.first_s = date
        return True

    cdef void look_at(self, const char *p, uint32_t size, int64_t now_s, CookieSeen *seen) noexcept:
        """One value of our cookie in the request."""
        cdef uint32_t n = 0
        cdef int index
        if self.maxidle_s or self.maxlife_s:
            while n < size and p[n] != b'|':
                n += 1
            if n < size and not self.read_dates(p + n, size - n, now_s, seen):
                return
            size = n
        index = self.find(p, size)
        if index < 0:
            seen.state = COOKIE_INVALID
        elif self.serves(index):
            seen.state = COOKIE_VALID
            seen.server = index
        else:
            seen.state = COOKIE_DOWN

    cdef void read(self, const Head *head, int64_t now_s, CookieSeen *seen, Edits edits) noexcept:
        """What the request's cookie says, and the edits that hide it from the application."""
        cdef char kept[VALUE_BYTES_MAX]
        cdef const char *p
        cdef const char *end
        cdef const char *tilde
        cdef const Field *f
        cdef Text name, value, rest
        cdef char *o
        cdef uint32_t i
        cdef bint changed, fits
        seen.done = True
        seen.server = -1
        seen.state = COOKIE_NONE
        seen.last_s = seen.first_s = 0
        for i in range(head.count):
            f = &head.fields[i]
            if f.id != HeaderId.COOKIE:
                continue
            p = head.base + f.value
            end = p + f.value_size
            o = kept
            changed = False
            fits = f.value_size <= VALUE_BYTES_MAX // 2    # each separator may become longer
            while next_pair(&p, end, &name, &value):
                rest = value
                if same(&name, &self.name):
                    tilde = NULL
                    if self.mode == COOKIE_PREFIX:
                        tilde = <const char *>memchr(value.data, b'~', value.size)
                    if tilde != NULL:
                        value.size = <uint32_t>(tilde - value.data)
                        rest.data = tilde + 1
                        rest.size -= value.size + 1
                        changed = True
                    if seen.state != COOKIE_VALID:
                        self.look_at(value.data, value.size, now_s, seen)
                    if self.indirect and self.mode != COOKIE_PREFIX:
                        changed = True
                        continue
                if fits:
                    o = put_pair(o, o != kept, &name, &rest)
            if changed and fits:
                value = Text(<const char *>kept, <uint32_t>(o - kept))
                if value.size:
                    edits.replace(head, i, &value)
                else:
                    edits.drop(head, i)

    # -- the answer --------------------------------------------------------------------------------

    cdef bint wants_insert(self, const CookieSeen *seen, int server, bint posted,
                           int64_t now_s) noexcept:
        """Is the client to be told where it belongs? Not when its cookie says so already, unless
        the dates in it are to be renewed."""
        if self.mode != COOKIE_INSERT or (self.postonly and not posted):
            return False
        if seen.server != server:
            return True
        if (self.maxidle_s or seen.last_s) and seen.last_s < now_s:
            return True
        return (self.maxlife_s != 0) != (seen.first_s != 0)

    cdef bint write(self, const Head *answer, const CookieSeen *seen, int server, bint posted,
                    int64_t now_s, Edits edits) noexcept:
        """The edits that mark the answer of a server. False: there are none."""
        cdef Text private = Text(b"private", 7), name = Text(b"Cache-Control", 13)
        cdef Text found, value
        cdef const char *p
        cdef const Field *f
        cdef uint32_t i
        cdef bint own = False, marked = False
        for i in range(answer.count):
            f = &answer.fields[i]
            if f.id != HeaderId.SET_COOKIE:
                continue
            p = answer.base + f.value
            if next_pair(&p, p + f.value_size, &found, &value) and same(&found, &self.name):
                own = True
                marked = self.alter(answer, i, server, edits) or marked
        if self.wants_insert(seen, server, posted, now_s) and not (own and self.preserve):
            marked = self.insert(seen, server, now_s, edits) or marked
        if marked and self.nocache and may_be_cached(answer):
            edits.add(EDIT_ADD, &name, &private)
        return marked

    cdef bint alter(self, const Head *answer, uint32_t index, int server, Edits edits) noexcept:
        """The application's own cookie of our name; is it now a mark of the server?"""
        cdef char line[VALUE_BYTES_MAX]
        cdef const Field *f = &answer.fields[index]
        cdef const Text *mark = &self.servers[server].value
        cdef const char *begin = answer.base + f.value
        cdef const char *p = begin
        cdef Text found, value
        cdef uint32_t tail, at
        cdef char *o
        if self.mode == COOKIE_INSERT:
            if not self.preserve:
                edits.drop(answer, index)      # it would take the place of ours
            return False
        next_pair(&p, begin + f.value_size, &found, &value)
        if not mark.size or f.value_size + mark.size + 1 > VALUE_BYTES_MAX:
            return False
        at = <uint32_t>(value.data - begin)
        o = put(line, begin, at)
        o = put(o, mark.data, mark.size)
        if self.mode == COOKIE_PREFIX:
            o = put(o, b"~", 1)
            o = put(o, value.data, value.size)
        tail = at + value.size
        o = put(o, begin + tail, f.value_size - tail)
        value = Text(<const char *>line, <uint32_t>(o - line))
        return edits.replace(answer, index, &value)

    cdef bint insert(self, const CookieSeen *seen, int server, int64_t now_s, Edits edits) noexcept:
        """A cookie of ours; one without value and time when the server has none."""
        cdef char line[VALUE_BYTES_MAX]
        cdef const Text *mark = &self.servers[server].value
        cdef Text name = Text(b"Set-Cookie", 10), value
        cdef char *o = put(line, self.name.data, self.name.size)
        o = put(o, b"=", 1)
        if mark.size:
            o = put(o, mark.data, mark.size)
            if self.maxidle_s or self.maxlife_s:
                o = write_date(o, now_s)
                if self.maxlife_s:
                    o = write_date(o, seen.first_s if seen.first_s else now_s)
        else:
            o = put(o, b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT", 39)
        o = put(o, self.tail.data, self.tail.size)
        value = Text(<const char *>line, <uint32_t>(o - line))
        return edits.add(EDIT_ADD, &name, &value) and mark.size > 0


cdef char *put_pair(char *o, bint follows, const Text *name, const Text *value) noexcept:
    if follows:
        o = put(o, b"; ", 2)
    if name.size or value.data != name.data:
        o = put(o, name.data, name.size)
        o = put(o, b"=", 1)
    return put(o, value.data, value.size)


cdef bint may_be_cached(const Head *answer) noexcept:
    """Might a cache in front keep it? HAProxy says `private` only then: the answer says how long it
    is fresh or how it is validated, and nothing against it."""
    cdef bint says = False
    cdef const Field *f
    cdef const char *p
    cdef uint32_t i, j
    for i in range(answer.count):
        f = &answer.fields[i]
        p = answer.base + f.value
        if f.id == HeaderId.ETAG or f.id == HeaderId.LAST_MODIFIED or f.id == HeaderId.EXPIRES:
            says = True
        elif f.id == HeaderId.CACHE_CONTROL:
            for j in range(f.value_size):
                if j + 6 < f.value_size and memcmp(p + j, b"private", 7) == 0:
                    return False
                if j + 7 < f.value_size and (memcmp(p + j, b"no-store", 8) == 0
                                             or memcmp(p + j, b"no-cache", 8) == 0):
                    return False
                if j + 6 < f.value_size and memcmp(p + j, b"max-age", 7) == 0:
                    says = True
    return says


# -- facade for tests ----------------------------------------------------------------------------

cdef bytes edited(const Head *head, Edits edits):
    out = bytearray(edited_room(head, edits))
    return bytes(out[:write_edited(head, edits, out)])


def read_for_test(Cookie cookie, bytes data, int64_t now_s):
    """(server, CookieState, last_s, first_s, head as the application gets it)."""
    cdef HeadLimits limits = HeadLimits(HEAD_BYTES_MAX, HEAD_BYTES_MAX, FIELDS_MAX)
    cdef Head head
    cdef CookieSeen seen
    cdef Edits edits = Edits()
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole head")
    cookie.read(&head, now_s, &seen, edits)
    return seen.server, seen.state, seen.last_s, seen.first_s, edited(&head, edits)


def write_for_test(Cookie cookie, bytes data, int server, int64_t now_s, int seen_server=-1,
                   int64_t last_s=0, int64_t first_s=0, bint posted=False):
    """The answer in `data` of `server` as the client gets it."""
    cdef HeadLimits limits = HeadLimits(HEAD_BYTES_MAX, HEAD_BYTES_MAX, FIELDS_MAX)
    cdef Head head
    cdef CookieSeen seen
    cdef Edits edits = Edits()
    if parse_response_head(data, <uint32_t>len(data), &limits, M_GET, &head) <= 0:
        raise ValueError("not one whole head")
    seen.server = seen_server
    seen.last_s = last_s
    seen.first_s = first_s
    cookie.write(&head, &seen, server, posted, now_s, edits)
    return edited(&head, edits)
