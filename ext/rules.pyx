"""Rules of the haproxy tier, as edge/rules has compiled them, carried out on C data.

Theory. A section has lists of rules (request, routes, response); a rule whose condition holds is
carried out, and some end the list with a verdict. Conditions are suites of terms in one array:
a term that fails skips to the suite behind. Changes of heads are edits that wait until somebody
reads the head or the list ends (samples.pyx), so rules see what those before them have written.

A rule that cannot do what it says (a value with a control byte, a head that would be too long) ends
the request with 500, as in HAProxy with its `strict-mode`; nothing half edited is sent on.

No Python object is made for a request, but by the answers of `return` and `redirect`.

Called by: ruled (the seam with the steps). Source: HAProxy 2.6 manual, sections 4.2 and 7.
"""
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from ext.answers import reason_haproxy
from ext.edits cimport EDIT_ADD, EDIT_DEL, EDIT_SET, Edits
from ext.fields cimport put
from ext.http1 cimport M_HEAD, Field, method_number
from ext.patterns cimport DIGITS_BYTES, Patterns, as_address, as_number, as_text
from ext.patterns import Patterns as PatternsType
from ext.rulecodes cimport (
    A_ADD_HEADER, A_ALLOW, A_DEL_HEADER, A_DENY, A_DISABLE_L7_RETRY, A_PRIORITY_CLASS,
    A_PRIORITY_OFFSET, A_REDIRECT_LOCATION, A_REDIRECT_SCHEME, A_REJECT,
    A_REPLACE_HEADER, A_REPLACE_PATH, A_REPLACE_URI, A_REPLACE_VALUE, A_RETURN, A_SC_INC_GPC0,
    A_SET_HEADER, A_SET_METHOD, A_SET_PATH, A_SET_PATHQ, A_SET_SRC, A_SET_URI,
    A_SET_VAR, A_SILENT_DROP, A_TARPIT, A_TIMEOUT_SERVER, A_TIMEOUT_TUNNEL, A_TRACK, A_UNSET_VAR,
    R_APPEND_SLASH, R_DROP_QUERY, T_TEXT)
from ext.samples cimport SCRATCH_BYTES, TXN_TEXT_BYTES, Txn, reads_head, substitute
from ext.samples import Expressions as ExpressionsType
from ext.sticktable cimport SD_GPC0, SD_GPC0_RATE, TYPE_INTEGER, TYPE_IP, TYPE_IPV6, StickTable
from ext.values cimport stripped

cdef enum:
    FAILED_STATUS = 500            # as HAProxy answers what its strict-mode ends


cdef inline char *put_some(char *o, const char *p, uint32_t n) noexcept:
    """`put` of what may be empty, and then has no address."""
    return put(o, p, n) if n else o


cdef class Rules:
    """A program laid out. `program`: lists request, routes, response of rules as edge/rules makes
    them, monitor_uri, monitor_fail."""

    def __init__(self, Scene scene not None, program):
        layout = Layout()
        lists = [layout.rules(getattr(program, name)) for name in ("request", "routes", "response")]
        monitor = [layout.condition(program.monitor_fail)] if program.monitor_fail else []
        self.scene = scene
        self.held = [layout, program]
        self.expressions = ExpressionsType(layout.expressions)
        self.tests = <Test *>calloc(len(layout.tests) + 1, sizeof(Test))
        self.terms = <Term *>calloc(len(layout.terms) + 1, sizeof(Term))
        self.pieces = <Piece *>calloc(len(layout.pieces) + 1, sizeof(Piece))
        if self.tests == NULL or self.terms == NULL or self.pieces == NULL:
            raise MemoryError
        self.lay_out(layout)
        self.monitor_uri = self.text(program.monitor_uri)
        self.request = self.list_of(lists[0])
        self.routes = self.list_of(lists[1])
        self.response = self.list_of(lists[2])
        self.monitor = self.list_of([
            {"action": A_ALLOW, "condition": condition} for condition in monitor])

    def __dealloc__(self):
        free(self.tests)
        free(self.terms)
        free(self.pieces)
        free(self.request.rules)
        free(self.routes.rules)
        free(self.response.rules)
        free(self.monitor.rules)

    def lay_out(self, layout):
        for i, (expr, patterns) in enumerate(layout.tests):
            self.held.append(patterns)
            self.tests[i] = Test(expr, reads_head(self.expressions.exprs[<int>expr].fetch),
                                 <PyObject *>patterns)
        for i, (first, count, negated, ends) in enumerate(layout.terms):
            self.terms[i] = Term(first, count, negated, ends)
        for i, piece in enumerate(layout.pieces):
            self.pieces[i].expr = piece if isinstance(piece, int) else -1
            if isinstance(piece, bytes):
                self.pieces[i].text = self.text(piece)

    cdef Text text(self, bytes given):
        self.held.append(given)
        return Text(<const char *>given, <uint32_t>len(given))

    cdef RuleList list_of(self, list rows):
        cdef RuleList made
        cdef Rule *rule
        cdef int i
        made.count = len(rows)
        made.rules = <Rule *>calloc(made.count + 1, sizeof(Rule))
        if made.rules == NULL:
            raise MemoryError
        for i, row in enumerate(rows):
            rule = &made.rules[i]
            rule.action = row["action"]
            rule.first_term, rule.terms, rule.unless = row["condition"]
            rule.name = self.text(row.get("name", b""))
            rule.first_piece, rule.pieces = row.get("format", (0, 0))
            rule.expr = row.get("expr", -1)
            rule.a = row.get("a", 0)
            rule.b = row.get("b", 0)
            if row.get("patterns") is not None:
                self.held.append(row["patterns"])
                rule.patterns = <PyObject *>row["patterns"]
            if row.get("answer") is not None:
                self.held.append(row["answer"])
                rule.answer = <PyObject *>row["answer"]
        return made

    # -- lists -----------------------------------------------------------------------------------

    cdef int run_request(self, Client s) except -1:
        """The request's rules, on site.sent: a Verdict. What is written is in the block."""
        cdef Look look
        look.head = &s.site.sent
        look.is_answer = False
        return self.run_list(s, &look, &self.request)

    cdef int run_response(self, Client s) except -1:
        """The response's rules, on site.answer."""
        cdef Look look
        look.head = &s.site.answer
        look.is_answer = True
        return self.run_list(s, &look, &self.response)

    cdef int pick_backend(self, Client s) except? -2:
        """The number of the backend that a use_backend rule names, -1 if none does."""
        cdef Look look
        cdef Rule *rule
        cdef Text name
        cdef int i, j
        look.head = &s.site.sent
        look.is_answer = False
        for i in range(self.routes.count):
            rule = &self.routes.rules[i]
            self.scene.used = 0
            if rule.terms and not self.holds(s, &look, rule):
                continue
            if rule.a >= 0:
                return <int>rule.a
            if not self.compose(s, &look, rule.first_piece, rule.pieces, &name):
                continue
            for j, known in enumerate(self.scene.names):
                if name.size == len(known) and memcmp(
                        name.data, <const char *>(<bytes>known), name.size) == 0:
                    return j
        return -1

    cdef bint is_monitor(self, const Head *head) noexcept:
        return (self.monitor_uri.size and head.path_size == self.monitor_uri.size
                and memcmp(head.base + head.path, self.monitor_uri.data, head.path_size) == 0)

    cdef bint monitor_fails(self, Client s) except -1:
        cdef Look look
        look.head = &s.site.sent
        look.is_answer = False
        self.scene.used = 0
        return self.monitor.count > 0 and self.holds(s, &look, &self.monitor.rules[0])

    cdef int run_list(self, Client s, Look *look, const RuleList *rules) except -1:
        cdef int i, verdict
        cdef const Rule *rule
        self.answer = None
        self.scene.failed = False
        for i in range(rules.count):
            rule = &rules.rules[i]
            self.scene.used = 0
            if rule.terms and not self.holds(s, look, rule):
                continue
            verdict = self.carry_out(s, look, rule)
            if self.scene.failed:
                break
            if verdict == V_STOP:
                break
            if verdict != V_GO:
                s.site.edits.clear()
                return verdict
        if not self.scene.failed:
            self.scene.settle(s, look)
        if self.scene.failed:
            s.site.edits.clear()
            self.answer = None
            self.status = FAILED_STATUS
            return V_DENY
        return V_GO

    # -- conditions ------------------------------------------------------------------------------

    cdef bint holds(self, Client s, Look *look, const Rule *rule) except -1:
        cdef int i = rule.first_term, end = rule.first_term + rule.terms
        cdef const Term *term
        cdef bint matched
        cdef int j
        while i < end:
            term = &self.terms[i]
            matched = False
            for j in range(term.first, term.first + term.count):
                if self.passes(s, look, &self.tests[j]):
                    matched = True
                    break
            if matched != term.negated:
                if term.ends:
                    return not rule.unless
                i += 1
                continue
            while not self.terms[i].ends:      # on to the next suite
                i += 1
            i += 1
        return rule.unless

    cdef bint passes(self, Client s, Look *look, const Test *test) except -1:
        """Does one of the sample's values match?"""
        cdef Sample sample
        if test.reads_head and s.site.edits.count:
            self.scene.settle(s, look)
        look.field = look.at = 0
        while self.expressions.next_value(self.scene, s, look, test.expr, &sample):
            if (<Patterns>test.patterns).accepts(&sample):
                return True
            if not look.more:
                break
        return False

    # -- actions ---------------------------------------------------------------------------------

    cdef int carry_out(self, Client s, Look *look, const Rule *rule) except -1:
        """A Verdict."""
        cdef int action = rule.action
        if A_SET_HEADER <= action <= A_SET_METHOD or action >= A_SET_PATHQ:
            return self.edit(s, look, rule)
        if action == A_ALLOW:
            return V_STOP
        if action == A_DENY or action == A_TARPIT or action == A_RETURN:
            self.status = <int>rule.a
            if rule.answer != NULL:
                self.make_answer(s, look, rule)
            return V_TARPIT if action == A_TARPIT else V_DENY
        if action == A_REJECT:
            return V_REJECT
        if action == A_SILENT_DROP:
            return V_DROP
        if A_REDIRECT_LOCATION <= action <= A_REDIRECT_SCHEME:
            return self.make_redirect(s, look, rule)
        if action == A_TRACK:
            return self.track(s, look, rule)
        return self.keep(s, look, rule)

    cdef int keep(self, Client s, Look *look, const Rule *rule) except -1:
        """Actions that change what is known about the request, not the request."""
        cdef Sample sample
        cdef Txn *txn
        cdef StickTable table
        cdef int64_t number = rule.a
        cdef bint any = False
        if rule.expr >= 0:
            any = self.expressions.value(self.scene, s, look, rule.expr, &sample)
        if rule.action == A_SET_VAR:
            if any:
                keep_variable(self.scene.txn(s), <int>rule.a, &sample)
        elif rule.action == A_UNSET_VAR:
            if s.txn != NULL:
                (<Txn *>s.txn.data).set_variables &= ~(<unsigned long long>1 << rule.a)
        elif rule.action == A_DISABLE_L7_RETRY:
            s.idempotent = False
            s.once = True
        elif rule.action == A_SC_INC_GPC0:
            txn = <Txn *>s.txn.data if s.txn != NULL else NULL
            if txn != NULL and txn.tracked[rule.a]:
                table = <StickTable>self.scene.tables[txn.tables[rule.a]]
                table.add(txn.tracked[rule.a], SD_GPC0, 1)
                table.add(txn.tracked[rule.a], SD_GPC0_RATE, 1)
        elif rule.action == A_SET_SRC:
            if any:
                txn = self.scene.txn(s)
                txn.has_source = as_address(&sample, txn.source) or txn.has_source
        elif rule.action == A_TIMEOUT_SERVER or rule.action == A_TIMEOUT_TUNNEL:
            if rule.expr >= 0 and not (any and as_number(&sample, &number)):
                return V_GO
            number = min(max(number, 1), 0x7FFFFFFF)
            if rule.action == A_TIMEOUT_SERVER:
                s.answer_ms = <uint32_t>number
            else:
                s.tunnel_ms = <uint32_t>number
        elif any and as_number(&sample, &number):
            if rule.action == A_PRIORITY_CLASS:
                s.priority_class = <short>min(max(number, -rule.a - 1), rule.a)
            elif rule.action == A_PRIORITY_OFFSET:
                s.priority_offset = <int>min(max(number, -rule.a), rule.a)
        return V_GO

    cdef int track(self, Client s, Look *look, const Rule *rule) except -1:
        """Count the request at its key. A number is tracked once; later rules for it do nothing."""
        cdef Sample sample
        cdef Txn *txn
        cdef StickTable table = <StickTable>self.scene.tables[rule.b]
        cdef char room[DIGITS_BYTES]
        cdef unsigned char bytes_[16]
        cdef int64_t number
        cdef Text key
        if s.txn != NULL and (<Txn *>s.txn.data).tracked[rule.a]:
            return V_GO
        if not self.expressions.value(self.scene, s, look, rule.expr, &sample):
            return V_GO
        key.data = <char *>bytes_
        if table.head.type == TYPE_IP or table.head.type == TYPE_IPV6:
            if not as_address(&sample, bytes_):
                return V_GO
            key.size = 16
        elif table.head.type == TYPE_INTEGER:
            if not as_number(&sample, &number):
                return V_GO
            bytes_[0] = <unsigned char>(number >> 24)
            bytes_[1] = <unsigned char>(number >> 16)
            bytes_[2] = <unsigned char>(number >> 8)
            bytes_[3] = <unsigned char>number
            key.size = 4
        else:
            key = as_text(&sample, room)
        txn = self.scene.txn(s)
        txn.tracked[rule.a] = table.track(key.data, key.size)
        txn.tables[rule.a] = <int>rule.b
        return V_GO

    # -- edits -----------------------------------------------------------------------------------

    cdef int edit(self, Client s, Look *look, const Rule *rule) except -1:
        cdef Text value
        cdef int action = rule.action
        if action == A_REPLACE_HEADER or action == A_REPLACE_VALUE:
            return self.replace(s, look, rule)
        if action == A_REPLACE_PATH or action == A_REPLACE_URI:
            return self.replace_target(s, look, rule)
        if action == A_SET_SRC:
            return self.keep(s, look, rule)
        if not self.compose(s, look, rule.first_piece, rule.pieces, &value):
            self.scene.failed = True
            return V_GO
        return self.edit_line(s, look, rule, &value)

    cdef int edit_line(self, Client s, Look *look, const Rule *rule, Text *value) except -1:
        cdef Edits edits = s.site.edits
        cdef int action = rule.action
        cdef uint32_t i
        cdef const Field *f
        cdef Text name
        cdef bint done = True
        if edits.count > 48:                   # room for what one rule may add
            self.scene.settle(s, look)
        if action == A_SET_HEADER:
            done = edits.add(EDIT_SET, &rule.name, value)
        elif action == A_ADD_HEADER:
            done = edits.add(EDIT_ADD, &rule.name, value)
        elif action == A_DEL_HEADER and rule.patterns == NULL:
            done = edits.add(EDIT_DEL, &rule.name, NULL)
        elif action == A_DEL_HEADER:
            self.scene.settle(s, look)
            for i in range(look.head.count):
                f = &look.head.fields[i]
                name = Text(look.head.base + f.name, f.name_size)
                # Those that may not be deleted stay, whatever the pattern.
                if (<Patterns>rule.patterns).accepts_text(&name):
                    edits.drop(look.head, i)
        elif action == A_SET_METHOD:
            done = change_method(s, edits, value)
        else:
            self.scene.settle(s, look)
            done = self.scene.failed or set_target(self.scene, edits, look.head, action, value)
        if not done:
            self.scene.failed = True
        return V_GO

    cdef int replace(self, Client s, Look *look, const Rule *rule) except -1:
        """replace-header: in whole lines; replace-value: in each comma-separated value."""
        cdef Edits edits = s.site.edits
        cdef uint32_t i
        cdef const Field *f
        cdef Text value, replacement, made
        cdef Patterns regexes = <Patterns>rule.patterns
        self.scene.settle(s, look)
        for i in range(look.head.count):
            f = &look.head.fields[i]
            if not is_named(look.head, f, &rule.name):
                continue
            value = Text(look.head.base + f.value, f.value_size)
            if not self.compose(s, look, rule.first_piece, rule.pieces, &replacement):
                self.scene.failed = True
                return V_GO
            if rule.action == A_REPLACE_VALUE:
                if not replace_items(self.scene, regexes, &value, &replacement, &made):
                    self.scene.failed = True
                    return V_GO
            else:
                if not regexes.accepts_text(&value):
                    continue
                if not whole(self.scene, regexes, &value, &replacement, &made):
                    self.scene.failed = True
                    return V_GO
            if not edits.replace(look.head, i, &made):
                self.scene.failed = True
                return V_GO
        return V_GO

    cdef int replace_target(self, Client s, Look *look, const Rule *rule) except -1:
        """replace-path (without the query), replace-uri."""
        cdef Head *h = look.head
        cdef Text old, replacement, made
        cdef Patterns regexes = <Patterns>rule.patterns
        cdef const char *mark
        self.scene.settle(s, look)
        old = Text(h.base + h.path, h.path_size)
        if rule.action == A_REPLACE_PATH:
            mark = <const char *>memchr(old.data, b'?', old.size)
            if mark != NULL:
                old.size = <uint32_t>(mark - old.data)
        if not regexes.accepts_text(&old):
            return V_GO
        if (not self.compose(s, look, rule.first_piece, rule.pieces, &replacement)
                or not whole(self.scene, regexes, &old, &replacement, &made)
                or not set_target(self.scene, s.site.edits, h,
                                  A_SET_PATH if rule.action == A_REPLACE_PATH else A_SET_URI,
                                  &made)):
            self.scene.failed = True
        return V_GO

    cdef bint compose(self, Client s, Look *look, int first, int count, Text *out) except -1:
        """The value of a format, in scratch. What an expression has not is left out."""
        cdef Sample sample
        cdef Text text
        cdef const Piece *piece
        cdef char room[DIGITS_BYTES]
        cdef char *joined
        cdef uint32_t size = 0
        cdef Text parts[32]
        cdef int i
        if count == 1 and self.pieces[first].expr < 0:
            out[0] = self.pieces[first].text
            return True
        # Parts first, then the whole: converters use the same scratch.
        if count > 32:
            return False
        for i in range(count):
            piece = &self.pieces[first + i]
            parts[i] = piece.text
            if piece.expr >= 0:
                parts[i].size = 0
                if self.expressions.value(self.scene, s, look, piece.expr, &sample):
                    text = as_text(&sample, room)
                    joined = self.scene.room(text.size)
                    if joined == NULL:
                        return False
                    memcpy(joined, text.data, text.size)
                    parts[i] = Text(joined, text.size)
            size += parts[i].size
        joined = self.scene.room(size)
        if joined == NULL:
            return False
        out[0] = Text(joined, size)
        for i in range(count):
            joined = put_some(joined, parts[i].data, parts[i].size)
        return True

    # -- answers ---------------------------------------------------------------------------------

    cdef int make_redirect(self, Client s, Look *look, const Rule *rule) except -1:
        cdef Head *h = look.head
        cdef Text value
        cdef bytes path = b"", location
        if not self.compose(s, look, rule.first_piece, rule.pieces, &value):
            self.scene.failed = True
            return V_GO
        location = value.data[:value.size]
        if rule.action != A_REDIRECT_LOCATION:
            if look.is_answer:                 # the request's path is not at hand any more
                self.scene.failed = True
                return V_GO
            self.scene.settle(s, look)
            path = h.base[h.path:h.path + h.path_size]
            bare, mark, query = path.partition(b"?")
            if rule.b & R_APPEND_SLASH and not bare.endswith(b"/"):
                bare += b"/"
            path = bare if rule.b & R_DROP_QUERY else bare + mark + query
            if rule.action == A_REDIRECT_SCHEME:
                location += b"://" + h.base[h.host:h.host + h.host_size]
            elif location == b"/":
                location = b""
            location += path
        if any(c < 32 or c == 127 for c in location):
            self.scene.failed = True
            return V_GO
        self.status = <int>rule.a
        lines = [status_line(rule.a), b"content-length: 0", b"location: " + location]
        if rule.a in (302, 303, 307):
            lines.append(b"cache-control: no-cache")
        if rule.name.size:
            lines.append(b"set-cookie: " + rule.name.data[:rule.name.size])
        self.answer = b"\r\n".join(lines) + b"\r\n\r\n"
        return V_DENY

    cdef int make_answer(self, Client s, Look *look, const Rule *rule) except -1:
        """`return`, and `deny` with a body or fields of its own."""
        cdef Text value
        given, body_pieces, fields = <tuple>rule.answer
        body = b""
        if body_pieces is not None:
            if not self.compose(s, look, body_pieces[0], body_pieces[1], &value):
                self.scene.failed = True
                return 0
            body = value.data[:value.size]
        extra = []
        for name, (first, count) in fields:
            if not self.compose(s, look, first, count, &value):
                self.scene.failed = True
                return 0
            field = value.data[:value.size]
            if any(c < 32 and c != 9 or c == 127 for c in field):
                self.scene.failed = True
                return 0
            extra.append(name + b": " + field)
        self.answer = finished(given, body, body_pieces is not None, extra)
        return 0


# -- parts ---------------------------------------------------------------------------------------

cdef int keep_variable(Txn *txn, int number, const Sample *sample) noexcept:
    """A copy; what does not fit is not kept, as in HAProxy beyond its limit of memory."""
    cdef Sample *kept = &txn.variables[number]
    cdef unsigned long long bit = <unsigned long long>1 << number
    if sample.type == T_TEXT:
        if sample.text.size > TXN_TEXT_BYTES - txn.used:
            txn.set_variables &= ~bit
            return 0
        memcpy(txn.text + txn.used, sample.text.data, sample.text.size)
    kept[0] = sample[0]
    if sample.type == T_TEXT:
        kept.text.data = txn.text + txn.used
        txn.used += sample.text.size
    txn.set_variables |= bit
    return 0


cdef bint is_named(const Head *head, const Field *f, const Text *name) noexcept:
    cdef uint32_t i
    if f.name_size != name.size:
        return False
    for i in range(name.size):
        if (head.base[f.name + i] | 0x20) != (name.data[i] | 0x20):
            return False
    return True


cdef bint change_method(Client s, Edits edits, const Text *value) noexcept:
    """The method that the server gets. Not HEAD for another: the answer would have no body, and
    the client waits for one; what may be repeated follows what is sent."""
    cdef int method = method_number(value.data, value.size)
    if method == M_HEAD and s.method != M_HEAD or s.method == M_HEAD and method != M_HEAD:
        return False
    if not edits.set_method(value):
        return False
    s.note_method(method)
    return True


cdef bint set_target(Scene scene, Edits edits, const Head *h, int action,
                     const Text *value) noexcept:
    """The new target: set-path keeps the query, set-query the path."""
    cdef const char *p = h.base + h.path
    cdef const char *mark = <const char *>memchr(p, b'?', h.path_size)
    cdef uint32_t path_size = h.path_size if mark == NULL else <uint32_t>(mark - p)
    cdef uint32_t query_size = h.path_size - path_size
    cdef Text target
    cdef char *o
    if action == A_SET_URI or action == A_SET_PATHQ:
        return edits.set_target(value)
    o = scene.room(value.size + h.path_size + 1)
    if o == NULL:
        return False
    target.data = o
    if action == A_SET_PATH:
        if value.size and memchr(value.data, b'?', value.size) != NULL:
            return False                       # set-pathq is what means that
        o = put_some(o, value.data, value.size)
        o = put_some(o, p + path_size, query_size)
    else:
        o = put_some(o, p, path_size)
        if query_size or value.size:
            o = put(o, b"?", 1)
        o = put_some(o, value.data, value.size)
    target.size = <uint32_t>(o - target.data)
    return edits.set_target(&target)


cdef bint whole(Scene scene, Patterns regexes, const Text *value, const Text *replacement,
                Text *out) noexcept:
    """What the regex matches of the value is replaced, once."""
    return substitute(scene, regexes.held[0], value, replacement, False, out)


cdef bint replace_items(Scene scene, Patterns regexes, const Text *value,
                        const Text *replacement, Text *out) noexcept:
    """Each of the comma-separated values as if it were the header's only one."""
    cdef Text item, made
    cdef uint32_t at = 0, end
    cdef char *joined = scene.room(SCRATCH_BYTES // 4)
    cdef char *o = joined
    if joined == NULL:
        return False
    while at <= value.size:
        end = at
        while end < value.size and value.data[end] != b',':
            end += 1
        made = Text(value.data + at, end - at)
        item = stripped(made.data, made.size)
        # What is replaced loses its blanks, what is not keeps them.
        if regexes.accepts_text(&item) and not whole(scene, regexes, &item, replacement, &made):
            return False
        if o - joined + <int64_t>made.size + 1 > SCRATCH_BYTES // 4:
            return False
        o = put_some(o, made.data, made.size)
        if end >= value.size:
            break
        o = put(o, b",", 1)
        at = end + 1
    out[0] = Text(joined, <uint32_t>(o - joined))
    return True


cdef bytes status_line(int status):
    return f"HTTP/1.1 {status} {reason_haproxy(status)}".encode()


cdef bytes finished(given, bytes body, bint has_body, list extra):
    """A whole answer; `given` has status and content_type."""
    status, content_type = given
    lines = [status_line(status), *extra]
    if status not in (204, 304):
        lines.append(b"content-length: %d" % len(body))
    if has_body and content_type and body:
        lines.append(b"content-type: " + content_type)
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if status in (204, 304) else body)


class Layout:
    """A program's parts in flat lists; the same expression stands once."""

    def __init__(self):
        self.expressions = []
        self.tests = []
        self.terms = []
        self.pieces = []
        self._numbers = {}

    def expression(self, expression):
        if expression not in self._numbers:
            self._numbers[expression] = len(self.expressions)
            self.expressions.append(expression)
        return self._numbers[expression]

    def condition(self, condition):
        """(first term, how many, unless)"""
        first = len(self.terms)
        if condition is None:
            return first, 0, False
        for suite in condition.suites:
            for i, term in enumerate(suite):
                begin = len(self.tests)
                for test in term.acl:
                    self.tests.append((self.expression(test.expression), self.patterns(test)))
                self.terms.append((begin, len(term.acl), term.negated, i == len(suite) - 1))
        return first, len(self.terms) - first, condition.unless

    def patterns(self, test):
        return PatternsType(int(test.match), test.ignores_case, test.texts, test.ranges,
                            test.networks)

    def format(self, pieces):
        """(first piece, how many)"""
        first = len(self.pieces)
        for piece in pieces:
            self.pieces.append(piece if isinstance(piece, bytes) else self.expression(piece))
        return first, len(self.pieces) - first

    def rules(self, rules):
        return [self.rule(rule) for rule in rules]

    def rule(self, rule):
        row = {
            "action": int(rule.action),
            "condition": self.condition(rule.condition),
            "name": rule.name,
            "format": self.format(rule.format),
            "expr": -1 if rule.expression is None else self.expression(rule.expression),
            "a": rule.a,
            "b": rule.b,
        }
        if rule.test is not None:
            row["patterns"] = self.patterns(rule.test)
        if rule.answer is not None:
            given = rule.answer
            body = None if given.body is None else self.format(given.body)
            fields = [(name, self.format(pieces)) for name, pieces in given.fields]
            row["answer"] = ((given.status, given.content_type), body, fields)
        return row
