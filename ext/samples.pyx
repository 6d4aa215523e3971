"""Samples: what rules read, and what converters make of it (configuration manual, section 7.3).

Theory. An expression is a fetch with converters. A fetch of something that occurs several times (a
header, a cookie) gives one value at a time, `Look` remembers where it goes on: an ACL asks until
one matches, a value takes the last or the one that it names. Texts are borrowed from the head, or
from the scene's scratch where a converter has made them; both hold until the next rule.

Edits wait until something of the head is read (`settle`), so rules see what those before them have
written, and a list of edits that nobody reads is written once.

What rules keep from one event to the next of a request (variables, what is tracked) is a `Txn` in a
block of the site, taken when the first rule needs it.

Called by: rules. Nothing here makes a Python object.
"""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset

from ext.arena cimport (
    SC_IN_FLIGHT, SC_QUEUED, TC_IN_FLIGHT, TC_QUEUED, edge_load32, may_persist)
from ext.fields cimport put
from ext.headers cimport Known, known_field
from ext.patterns cimport (
    DIGITS_BYTES, GROUPS_MAX, Regex, as_address, as_number, as_text, read_number, regmatch_t)
from ext.patterns import Regex as RegexType
from ext.rewrite cimport rewrite_answer, rewrite_request
from ext.rulecodes cimport (
    C_ADD, C_ADDRESS, C_BOOL, C_BYTES, C_DIV, C_FIELD, C_INT, C_LENGTH, C_LOWER,
    C_MOD, C_MUL, C_NOT, C_PORT_ONLY, C_REGSUB, C_SUB, C_UPPER, C_URL_DEC, C_WORD,
    F_BE_CONN, F_BOOL, F_COOKIE, F_DATE, F_FHDR, F_FHDR_CNT, F_HDR, F_HDR_CNT, F_INT,
    F_METHOD, F_NBSRV, F_PATH, F_QUERY, F_QUEUE, F_RAND, F_SC, F_SC_INC_GPC0, F_SC_TRACKED,
    F_SET_COOKIE, F_SRC, F_SRV_CONN, F_STATUS, F_STOPPING, F_TEXT, F_URL,
    F_URL_PARAM, F_VAR, F_VERSION, N_CONN_CNT, N_CONN_CUR, N_CONN_RATE, N_GPC0, N_GPC0_RATE,
    N_HTTP_ERR_CNT, N_HTTP_ERR_RATE, N_HTTP_REQ_CNT, N_HTTP_REQ_RATE, T_ADDRESS, T_BOOL, T_INT,
    T_TEXT)
from ext.sticktable cimport (
    SD_CONN_CNT, SD_CONN_CUR, SD_CONN_RATE, SD_GPC0, SD_GPC0_RATE, SD_HTTP_ERR_CNT,
    SD_HTTP_ERR_RATE, SD_HTTP_REQ_CNT, SD_HTTP_REQ_RATE, StickTable)
from ext.timers cimport now_us, wall_us
from ext.upstream cimport Server, Tier
from ext.values cimport (
    next_cookie, next_item, next_line, next_parameter, next_set_cookie, path_of, query_of)

cdef enum:
    HISTORY = 10                   # occurrences from the end that can be named: HAProxy's

cdef int[9] DATA                   # of a stick table, by Counter
DATA[<int>N_HTTP_REQ_RATE] = SD_HTTP_REQ_RATE
DATA[<int>N_HTTP_REQ_CNT] = SD_HTTP_REQ_CNT
DATA[<int>N_HTTP_ERR_RATE] = SD_HTTP_ERR_RATE
DATA[<int>N_HTTP_ERR_CNT] = SD_HTTP_ERR_CNT
DATA[<int>N_CONN_CUR] = SD_CONN_CUR
DATA[<int>N_CONN_RATE] = SD_CONN_RATE
DATA[<int>N_CONN_CNT] = SD_CONN_CNT
DATA[<int>N_GPC0] = SD_GPC0
DATA[<int>N_GPC0_RATE] = SD_GPC0_RATE

cdef uint64_t random_state = 0x9E3779B97F4A7C15


cdef uint64_t random_number() noexcept:
    """xorshift64*: for sharing traffic out, not for secrets."""
    global random_state
    random_state ^= random_state >> 12
    random_state ^= random_state << 25
    random_state ^= random_state >> 27
    return random_state * <uint64_t>0x2545F4914F6CDD1D


cdef class Scene:
    """What the rules of one frontend and of its backends share in a worker.

    `backends`: (name in rules, Tier) in the order of the compiled numbers; `tables` likewise.
    """

    def __init__(self, Site site, list backends, list tables):
        global random_state
        assert sizeof(Txn) <= 16384
        self.site = site
        self.names = [name.encode() for name, _ in backends]
        self.backends = [tier for _, tier in backends]
        self.tables = tables
        self.scratch = <char *>malloc(SCRATCH_BYTES)
        if self.scratch == NULL:
            raise MemoryError
        random_state ^= now_us() | 1

    def __dealloc__(self):
        free(self.scratch)

    cdef Txn *txn(self, Client s) except NULL:
        """The request's own memory."""
        cdef Txn *txn
        if s.txn == NULL:
            s.txn = self.site.take_block(sizeof(Txn))
            s.scene = self
            txn = <Txn *>s.txn.data
            memset(txn, 0, sizeof(Txn) - TXN_TEXT_BYTES)
        return <Txn *>s.txn.data

    cdef int begin(self, const Head *head) noexcept:
        """Another request is judged. `method` is the one that came, whatever rules make of it, as
        in HAProxy."""
        self.method_size = min(head.method_size, METHOD_BYTES_MAX)
        memcpy(self.method, head.base + head.start, self.method_size)
        return 0

    cdef int end(self, Client s) noexcept:
        """The request is over: nothing is tracked any more. `status` is what it was answered."""
        cdef Txn *txn = <Txn *>s.txn.data
        cdef StickTable table
        cdef int i
        for i in range(TRACKED_MAX):
            if txn.tracked[i]:
                table = <StickTable>self.tables[txn.tables[i]]
                table.count_answer(txn.tracked[i], max(s.status, 0), 0, 0)
                table.untrack(txn.tracked[i])
        self.site.give_block(s.txn)
        s.txn = NULL
        return 0

    cdef int settle(self, Client s, Look *look) except -1:
        """Write the edits that wait; `look.head` is what there is now."""
        if self.site.edits.count:
            if not (rewrite_answer(s, self.site.edits) if look.is_answer
                    else rewrite_request(s, self.site.edits)):
                self.failed = True
        return 0

    cdef char *room(self, uint32_t size) noexcept:
        """So many bytes of scratch, NULL if there are none left for this rule."""
        cdef char *at = self.scratch + self.used
        if size > SCRATCH_BYTES - self.used:
            return NULL
        self.used += size
        return at


# -- the program's state -------------------------------------------------------------------------

cdef int64_t summed(Tier tier, int cell) noexcept:
    """A counter of a tier in all workers."""
    cdef int row
    cdef int64_t n = 0
    for row in range(<int>edge_load32(&tier.balancer.arena.head.rows)):
        n += <int64_t>tier.balancer.arena.tier_cells(row, tier.slot)[cell]
    return max(n, 0)


cdef int64_t summed_of_server(Server server, int cell) noexcept:
    cdef int row
    cdef int64_t n = 0
    for row in range(<int>edge_load32(&server.arena.head.rows)):
        n += <int64_t>server.arena.server_cells(row, server.slot)[cell]
    return max(n, 0)


cdef bint read_state(Scene scene, Client s, const Expr *e, Sample *out) noexcept:
    """Fetches about backends, servers and the program."""
    cdef Tier tier
    cdef Server server
    cdef int64_t index = 0
    out.type = T_INT
    if e.fetch == F_STOPPING:
        out.type = T_BOOL
        out.number = scene.site.draining
        return True
    if e.fetch == F_RAND:
        out.number = <int64_t>(random_number() >> 32) % e.number
        return True
    if e.fetch == F_DATE:
        out.number = <int64_t>(wall_us() // 1000000)
        return True
    tier = <Tier>scene.backends[e.number]
    if e.fetch == F_NBSRV:
        tier.balancer.refresh()
        out.number = tier.balancer.usable
    elif e.fetch == F_BE_CONN:
        out.number = summed(tier, TC_IN_FLIGHT)
    elif e.fetch == F_QUEUE:
        out.number = summed(tier, TC_QUEUED)
        for server in tier.servers:
            out.number += summed_of_server(server, SC_QUEUED)
    else:
        read_number(&e.name, &index, True)
        server = <Server>tier.servers[index]
        if e.fetch == F_SRV_CONN:
            out.number = summed_of_server(server, SC_IN_FLIGHT)
        else:
            out.type = T_BOOL
            out.number = may_persist(&server.arena.servers[server.slot])
    return True


cdef bint read_tracked(Scene scene, Client s, const Expr *e, Sample *out) noexcept:
    cdef Txn *txn = <Txn *>s.txn.data if s.txn != NULL else NULL
    cdef StickTable table
    cdef bint tracked = txn != NULL and txn.tracked[e.number] != 0
    if e.fetch == F_SC_TRACKED:
        out.type = T_BOOL
        out.number = tracked
        return True
    out.type = T_INT
    out.number = 0
    if not tracked:
        return e.fetch == F_SC               # HAProxy: 0 for what is not tracked
    table = <StickTable>scene.tables[txn.tables[e.number]]
    if e.fetch == F_SC_INC_GPC0:
        out.number = <int64_t>table.add(txn.tracked[e.number], SD_GPC0, 1)
        table.add(txn.tracked[e.number], SD_GPC0_RATE, 1)
    else:
        out.number = <int64_t>table.value(txn.tracked[e.number], DATA[<int>e.name.data[0]])
    return True


cdef bint read_source(Client s, Sample *out) noexcept:
    """The address that the haproxy tier sees as its client."""
    cdef Sample text
    cdef Tier tier = s.passed_haproxy
    out.type = T_ADDRESS
    if s.txn != NULL and (<Txn *>s.txn.data).has_source:
        memcpy(out.address, (<Txn *>s.txn.data).source, 16)
        return True
    text.type = T_TEXT
    text.text = Text(<const char *>s.address, s.address_size)
    if tier is not s.entry.tier:
        text.text = Text(b"127.0.0.1", 9)      # the tier in front, in this very process
    return as_address(&text, out.address)


# -- expressions ---------------------------------------------------------------------------------

cdef class Expressions:
    """The expressions of one section, compiled: objects with fetch, name, number, converters."""

    def __init__(self, list expressions):
        cdef int i, at = 0
        cdef const Known *known
        self.held = []
        self.regexes = []
        self.count = len(expressions)
        self.exprs = <Expr *>calloc(self.count + 1, sizeof(Expr))
        total = sum(len(each.converters) for each in expressions)
        self.converts = <Convert *>calloc(total + 1, sizeof(Convert))
        if self.exprs == NULL or self.converts == NULL:
            raise MemoryError
        for i, each in enumerate(expressions):
            self.exprs[i].fetch = each.fetch
            self.exprs[i].number = each.number
            self.exprs[i].name = self.text(each.name)
            known = known_field(each.name, len(each.name)) if each.name else NULL
            self.exprs[i].id = known.id if known != NULL else 0
            self.exprs[i].first = at
            self.exprs[i].count = len(each.converters)
            for made in each.converters:
                self.converts[at] = self.converter(made)
                at += 1

    def __dealloc__(self):
        free(self.exprs)
        free(self.converts)

    cdef Text text(self, bytes given):
        self.held.append(given)
        return Text(<const char *>given, <uint32_t>len(given))

    cdef Convert converter(self, made):
        cdef Convert c
        c.code = made.code
        c.text = self.text(made.text)
        c.other = self.text(made.other)
        c.a = made.a
        c.b = made.b
        c.regex = -1
        if made.code == C_REGSUB:
            c.regex = len(self.regexes)
            self.regexes.append(RegexType(made.text, bool(made.a)))
        return c

    cdef bint next_value(self, Scene scene, Client s, Look *look, int index,
                         Sample *out) except -1:
        """The next value of an expression that was begun with look.field = look.at = 0; False if
        there is none, or no further one."""
        cdef const Expr *e = &self.exprs[index]
        cdef Text last[HISTORY]
        cdef int64_t n = 0
        if (e.fetch == F_HDR or e.fetch == F_FHDR) and e.number:
            look.more = False
            while read_field(look, e, &out.text):      # one that is named by its place
                n += 1
                last[n % HISTORY] = out.text
                if n == e.number:
                    break
            if e.number > 0 and n < e.number or e.number < 0 and n < -e.number:
                return False
            if e.number < 0:
                out.text = last[(n + e.number + 1) % HISTORY]
            out.type = T_TEXT
            return self.convert(scene, e, out)
        while fetch(scene, s, look, e, out):
            if self.convert(scene, e, out):
                return True
            if not look.more:
                break
        return False

    cdef bint value(self, Scene scene, Client s, Look *look, int index, Sample *out) except -1:
        """The one value of an expression: of a header or cookie the last, of a parameter the first
        (HAProxy 2.6 does so)."""
        cdef const Expr *e = &self.exprs[index]
        cdef bint any = False
        cdef Sample found
        if reads_head(e.fetch):
            scene.settle(s, look)
        look.field = look.at = 0
        look.more = False
        while self.next_value(scene, s, look, index, &found):
            any = True
            out[0] = found
            if not look.more or e.fetch == F_URL_PARAM:
                break
        return any

    cdef bint convert(self, Scene scene, const Expr *e, Sample *out) noexcept:
        cdef int i
        cdef const Convert *c
        for i in range(e.count):
            c = &self.converts[e.first + i]
            if C_ADD <= c.code <= C_MOD or c.code == C_NOT or c.code == C_BOOL:
                if not calculate(c, out):
                    return False
            elif not rewrite_text(scene, self, c, out):
                return False
        return True


cdef bint reads_head(int code) noexcept:
    return F_METHOD <= code <= F_STATUS or code == F_VERSION


cdef bint read_field(Look *look, const Expr *e, Text *out) noexcept:
    if e.fetch == F_HDR:
        return next_item(look, e, out)
    if not next_line(look, e, out):
        return False
    look.field += 1
    return True


cdef bint fetch(Scene scene, Client s, Look *look, const Expr *e, Sample *out) noexcept:
    """One value; `look.more`: there may be another one."""
    cdef Txn *txn
    look.more = False
    if e.fetch <= F_TEXT:
        out.type = T_BOOL if e.fetch == F_BOOL else T_INT if e.fetch == F_INT else T_TEXT
        out.number = e.number
        out.text = e.name
        return True
    if reads_head(e.fetch):
        return fetch_from_head(scene, s, look, e, out)
    if e.fetch == F_SRC:
        return read_source(s, out)
    if e.fetch == F_VAR:
        txn = <Txn *>s.txn.data if s.txn != NULL else NULL
        if txn == NULL or not txn.set_variables >> e.number & 1:
            return False
        out[0] = txn.variables[e.number]
        return True
    if e.fetch == F_SC or e.fetch == F_SC_TRACKED or e.fetch == F_SC_INC_GPC0:
        return read_tracked(scene, s, e, out)
    return read_state(scene, s, e, out)


cdef bint fetch_from_head(Scene scene, Client s, Look *look, const Expr *e, Sample *out) noexcept:
    cdef Head *h = look.head
    cdef Text text
    cdef char *o
    out.type = T_TEXT
    if F_URL_PARAM <= e.fetch <= F_SET_COOKIE:
        if e.fetch == F_HDR_CNT or e.fetch == F_FHDR_CNT:
            out.type = T_INT
            out.number = 0
            while (next_item(look, e, &text) if e.fetch == F_HDR_CNT
                   else next_line(look, e, &text)):
                look.field += e.fetch == F_FHDR_CNT
                out.number += 1
            return True
        look.more = True
        if e.fetch == F_URL_PARAM:
            return next_parameter(look, e, &out.text)
        if e.fetch == F_COOKIE:
            return next_cookie(look, e, &out.text)
        if e.fetch == F_SET_COOKIE:
            return next_set_cookie(look, e, &out.text)
        return read_field(look, e, &out.text)
    if e.fetch == F_STATUS:
        out.type = T_INT
        out.number = h.status
    elif e.fetch == F_METHOD:
        out.text = Text(<const char *>scene.method, scene.method_size)
    elif e.fetch == F_PATH:
        out.text = path_of(h)
    elif e.fetch == F_QUERY:
        return query_of(h, &out.text)
    elif e.fetch == F_URL:
        out.text = Text(h.base + h.path, h.path_size)
    elif e.fetch == F_VERSION:
        out.text = Text(b"1.1", 3) if h.minor else Text(b"1.0", 3)
    else:                                      # F_BASE
        text = path_of(h)
        o = scene.room(h.host_size + text.size)
        if o == NULL:
            return False
        out.text = Text(o, h.host_size + text.size)
        o = put(o, h.base + h.host, h.host_size)
        put(o, text.data, text.size)
    return True


# -- converters ----------------------------------------------------------------------------------

cdef bint calculate(const Convert *c, Sample *out) noexcept:
    """On 64 bits, wrapping as HAProxy's do."""
    cdef int64_t n
    if not as_number(out, &n):
        return False
    out.type = T_INT
    if c.code == C_ADD:
        out.number = <int64_t>(<uint64_t>n + <uint64_t>c.a)
    elif c.code == C_SUB:
        out.number = <int64_t>(<uint64_t>n - <uint64_t>c.a)
    elif c.code == C_MUL:
        out.number = <int64_t>(<uint64_t>n * <uint64_t>c.a)
    elif c.code == C_DIV:
        out.number = n // c.a
    elif c.code == C_MOD:
        out.number = n % c.a
    else:
        out.type = T_BOOL
        out.number = (n == 0) if c.code == C_NOT else (n != 0)
    return True


cdef bint rewrite_text(Scene scene, Expressions own, const Convert *c, Sample *out) noexcept:
    """Converters that take a text."""
    cdef char digits[DIGITS_BYTES]
    cdef Text text = as_text(out, digits)
    cdef char *copy
    if c.code == C_INT:
        out.type = T_INT
        return read_number(&text, &out.number, False)
    if c.code == C_ADDRESS:
        if not as_address(out, out.address):
            return False
        out.type = T_ADDRESS
        return True
    if c.code == C_LENGTH:
        out.type = T_INT
        out.number = text.size
        return True
    if out.type != T_TEXT:                     # `digits` ends with this function
        copy = scene.room(text.size)
        if copy == NULL:
            return False
        memcpy(copy, text.data, text.size)
        text.data = copy
    out.type = T_TEXT
    if c.code == C_LOWER or c.code == C_UPPER:
        return fold(scene, &text, c.code == C_UPPER, &out.text)
    if c.code == C_FIELD:
        return take_field(&text, c, &out.text)
    if c.code == C_WORD:
        return take_word(&text, c, &out.text)
    if c.code == C_URL_DEC:
        return decode(scene, &text, c.a != 0, &out.text)
    if c.code == C_REGSUB:
        return substitute(scene, own.regexes[c.regex], &text, &c.other, c.b != 0, &out.text)
    if c.code == C_BYTES:
        if c.a > <int64_t>text.size:
            return False
        out.text = Text(text.data + c.a, <uint32_t>min(c.b, <int64_t>text.size - c.a))
        return True
    if not split_host(&text, c.code == C_PORT_ONLY, out) or c.code == C_PORT_ONLY:
        return True
    text = out.text
    return fold(scene, &text, False, &out.text)


cdef bint fold(Scene scene, const Text *text, bint upper, Text *out) noexcept:
    cdef char *o = scene.room(text.size)
    cdef uint32_t i
    cdef unsigned char c
    if o == NULL:
        return False
    for i in range(text.size):
        c = text.data[i]
        if upper and 97 <= c <= 122 or not upper and 65 <= c <= 90:
            c ^= 0x20
        o[i] = <char>c
    out[0] = Text(o, text.size)
    return True


cdef inline bint divides(char c, const Text *delimiters) noexcept:
    return memchr(delimiters.data, c, delimiters.size) != NULL


cdef bint take_field(const Text *text, const Convert *c, Text *out) noexcept:
    """Fields between single delimiters, from the left, or (index < 0) from the right; `b` of them,
    0: all to that end."""
    cdef int64_t total = 1, first, last, n = 1
    cdef uint32_t i, begin = 0, end = text.size
    for i in range(text.size):
        total += divides(text.data[i], &c.text)
    if c.a > 0:
        first = c.a
        last = total if c.b == 0 else min(c.a + c.b - 1, total)
    else:
        last = total + c.a + 1
        first = 1 if c.b == 0 else max(last - c.b + 1, 1)
    if first > total or last < 1:
        out[0] = Text(text.data, 0)
        return True
    for i in range(text.size):
        if divides(text.data[i], &c.text):
            if n == last:
                end = i
                break
            n += 1
            if n == first:
                begin = i + 1
    out[0] = Text(text.data + begin, end - begin)
    return True


cdef bint take_word(const Text *text, const Convert *c, Text *out) noexcept:
    """As fields, but any number of delimiters stand between two words."""
    cdef int64_t total = 0, first, last, n = 0
    cdef uint32_t i, begin = 0, end = 0
    cdef bint inside = False
    for i in range(text.size):
        if not divides(text.data[i], &c.text):
            total += not inside
            inside = True
        else:
            inside = False
    if c.a > 0:
        first = c.a
        last = total if c.b == 0 else min(c.a + c.b - 1, total)
    else:
        last = total + c.a + 1
        first = 1 if c.b == 0 else max(last - c.b + 1, 1)
    if first > total or last < 1:
        out[0] = Text(text.data, 0)
        return True
    inside = False
    for i in range(text.size):
        if divides(text.data[i], &c.text):
            inside = False
            continue
        if not inside:
            n += 1
            if n == first:
                begin = i
        inside = True
        if n == last:
            end = i + 1
    out[0] = Text(text.data + begin, end - begin)
    return True


cdef int hex_of(char c) noexcept:
    if 48 <= c <= 57:
        return c - 48
    c |= 0x20
    return c - 97 + 10 if 97 <= c <= 102 else -1


cdef bint decode(Scene scene, const Text *text, bint in_form, Text *out) noexcept:
    """%XX decoded; `+` is a blank behind a `?`, or everywhere in a form. Not if a %XX is wrong."""
    cdef char *o = scene.room(text.size)
    cdef uint32_t i = 0, n = 0
    cdef int high, low
    if o == NULL:
        return False
    while i < text.size:
        if text.data[i] == b'%':
            if i + 2 >= text.size:
                return False
            high = hex_of(text.data[i + 1])
            low = hex_of(text.data[i + 2])
            if high < 0 or low < 0:
                return False
            o[n] = <char>(16 * high + low)
            i += 2
        elif text.data[i] == b'+' and in_form:
            o[n] = b' '
        else:
            in_form = in_form or text.data[i] == b'?'
            o[n] = text.data[i]
        n += 1
        i += 1
    out[0] = Text(o, n)
    return True


cdef bint split_host(const Text *text, bint port, Sample *out) noexcept:
    """The host of a Host field, or its port; 0: it has none. Hosts have no case."""
    cdef uint32_t end = text.size
    cdef Text digits
    while end and 48 <= text.data[end - 1] <= 57:
        end -= 1
    digits = Text(text.data + end, text.size - end)
    if not end or text.data[end - 1] != b':' or (
            memchr(text.data, b':', end - 1) != NULL and text.data[0] != b'['):
        digits.size = 0
        end = text.size + 1
    if port:
        out.type = T_INT
        out.number = 0
        read_number(&digits, &out.number, True)
        return True
    out.text = Text(text.data, end - 1)
    return True


cdef bint substitute(Scene scene, object regex, const Text *text, const Text *replacement,
                     bint every, Text *out) noexcept:
    """The text with what the regex matches replaced (the first, or `every`): \\0 to \\9 are its
    groups. False if there is no room; without a match, the text as it is."""
    cdef regmatch_t found[GROUPS_MAX]
    cdef uint32_t at = 0, room = SCRATCH_BYTES - scene.used, i
    cdef char *begin = scene.scratch + scene.used
    cdef char *o = begin
    cdef char *end = begin + room
    cdef int group
    while at <= text.size and (<Regex>regex).find(text, at, found):
        if end - o < found[0].rm_so - <int>at + <int64_t>replacement.size:
            return False
        o = put(o, text.data + at, <uint32_t>found[0].rm_so - at)
        i = 0
        while i < replacement.size:
            group = -1
            if replacement.data[i] == b'\\' and i + 1 < replacement.size:
                i += 1
                if 48 <= replacement.data[i] <= 57:
                    group = replacement.data[i] - 48
            if group < 0:
                if o == end:
                    return False
                o[0] = replacement.data[i]
                o += 1
            elif found[group].rm_so >= 0:
                if end - o < found[group].rm_eo - found[group].rm_so:
                    return False
                o = put(o, text.data + found[group].rm_so,
                        <uint32_t>(found[group].rm_eo - found[group].rm_so))
            i += 1
        at = <uint32_t>found[0].rm_eo
        if found[0].rm_eo == found[0].rm_so:   # of nothing: go on behind one byte
            if at < text.size:
                if o == end:
                    return False
                o[0] = text.data[at]
                o += 1
            at += 1
        if not every:
            break
    if at < text.size:
        if end - o < <int64_t>text.size - at:
            return False
        o = put(o, text.data + at, text.size - at)
    out[0] = Text(begin, <uint32_t>(o - begin))
    scene.used += out.size
    return True
