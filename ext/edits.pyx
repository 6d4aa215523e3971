"""Edits: changes to a parsed head, collected first and then written in one pass.

Theory. An edit means what it says about the head and the edits before it: a SET or DEL takes away
what stood in the head and what an earlier ADD or SET has put there. Who must read the result of
edits writes it, parses it again and clears them, so no reader ever looks at two places.

No edit can change where a message ends or whom it is for: fields of framing and of the connection
are not editable at all, Host only by one valid value, and names, values and targets with bytes that
a strict parser would refuse are refused here. What is written therefore parses again, as a head
with the same framing.

Called by: rewrite (heads of sessions). Pure byte functions; names and values are copied.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ext.fields cimport put, same_token
from ext.headers cimport HeaderId, Known, known_field
from ext.http1 cimport (
    M_CONNECT, Field, HeadLimits, check_host, is_target, is_token, is_value, method_number,
    parse_request_head, parse_response_head)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, METHOD_BYTES_MAX

cdef enum:
    MAY_DEL = 1
    MAY_PUT = 2                    # SET, ADD, REPLACE

cdef unsigned char rights[64]      # by HeaderId

# Where the message ends, and what the two ends of one connection agree on, is the proxy's to write
# (RFC 9112 §6, RFC 9110 §7.6.1).
UNTOUCHABLE = (
    HeaderId.CONTENT_LENGTH, HeaderId.TRANSFER_ENCODING, HeaderId.CONNECTION, HeaderId.KEEP_ALIVE,
    HeaderId.PROXY_CONNECTION, HeaderId.UPGRADE, HeaderId.TE, HeaderId.TRAILER,
)


cdef int fill_rights() except -1:
    for number in range(64):
        rights[number] = MAY_DEL | MAY_PUT
    for number in UNTOUCHABLE:
        rights[<int>number] = 0
    rights[<int>HeaderId.HOST] = 0             # SET alone; see `add`
    rights[<int>HeaderId.EXPECT] = MAY_DEL     # a client that did not ask for 100 gets none
    return 0


fill_rights()


cdef inline int id_of(const Text *name) noexcept:
    cdef const Known *known = known_field(name.data, name.size)
    return known.id if known != NULL else 0


cdef bint may_edit(int op, const Text *name) noexcept:
    """Is it a field name, and one that may be changed in this way?"""
    cdef int id
    if not is_token(name.data, name.size) or name.size > 0xFFFF:
        return False
    id = id_of(name)
    if id == HeaderId.HOST:
        return op == EDIT_SET
    return rights[id] & (MAY_DEL if op == EDIT_DEL else MAY_PUT) != 0


cdef class Edits:
    """Up to EDITS_MAX edits with the bytes of their names and values."""

    def __cinit__(self):
        self.scratch = <char *>malloc(EDIT_BYTES_MAX)
        if self.scratch == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scratch)

    cdef void clear(self) noexcept:
        self.count = 0
        self.used = 0

    cdef bint add(self, int op, const Text *name, const Text *value) noexcept:
        """EDIT_DEL, EDIT_SET or EDIT_ADD; False if it may not be, or if there is no room. A value
        loses the blanks at its ends, as a reader would take them away."""
        cdef Text bare
        cdef Edit *edit
        cdef int id
        if not may_edit(op, name):
            return False
        id = id_of(name)
        if op != EDIT_DEL:
            bare = stripped(value)
            if not is_value(bare.data, bare.size):
                return False
            if id == HeaderId.HOST and check_host(bare.data, bare.size) < 0:
                return False
        edit = self.row(op)
        if edit == NULL or not self.hold(&edit.name, name):
            return False
        if op != EDIT_DEL and not self.hold(&edit.value, &bare):
            return False
        edit.id = id
        self.count += 1
        return True

    cdef bint replace(self, const Head *head, uint32_t index, const Text *value) noexcept:
        """Another value for one field of the head that will be edited."""
        cdef const Field *f = &head.fields[index]
        cdef Text bare = stripped(value)
        cdef Edit *edit
        if not is_value(bare.data, bare.size):
            return False
        if f.id == HeaderId.HOST:
            if check_host(bare.data, bare.size) < 0:
                return False
        elif not rights[f.id] & MAY_PUT:
            return False
        edit = self.row(EDIT_REPLACE)
        if edit == NULL or not self.hold(&edit.value, &bare):
            return False
        edit.index = index
        self.count += 1
        return True

    cdef bint drop(self, const Head *head, uint32_t index) noexcept:
        """One field of the head that will be edited goes."""
        cdef Edit *edit
        if not rights[head.fields[index].id] & MAY_DEL:
            return False
        edit = self.row(EDIT_DROP)
        if edit == NULL:
            return False
        edit.index = index
        self.count += 1
        return True

    cdef bint set_method(self, const Text *method) noexcept:
        """Another method for a request; never CONNECT, after which bytes have another meaning."""
        cdef Edit *edit
        if (not is_token(method.data, method.size) or method.size > METHOD_BYTES_MAX
                or method_number(method.data, method.size) == M_CONNECT):
            return False
        edit = self.row(EDIT_METHOD)
        if edit == NULL or not self.hold(&edit.value, method):
            return False
        self.count += 1
        return True

    cdef bint set_target(self, const Text *target) noexcept:
        """Another path and query for a request: origin-form (RFC 9112 §3.2.1)."""
        cdef Edit *edit
        if (not target.size or target.data[0] != b'/'
                or not is_target(target.data, target.size)):
            return False
        edit = self.row(EDIT_TARGET)
        if edit == NULL or not self.hold(&edit.value, target):
            return False
        self.count += 1
        return True

    cdef bint hold(self, Text *out, const Text *text) noexcept:
        """Keep bytes until `clear`; False if they are too many."""
        if text.size > EDIT_BYTES_MAX - self.used:
            return False
        out.data = self.scratch + self.used
        out.size = text.size
        if text.size:
            memcpy(self.scratch + self.used, text.data, text.size)
            self.used += text.size
        return True

    cdef Edit *row(self, int op) noexcept:
        """The next free row, not counted yet; NULL if there is none."""
        cdef Edit *edit
        if self.count >= EDITS_MAX:
            return NULL
        edit = &self.rows[self.count]
        edit.op = op
        edit.id = 0
        edit.index = 0
        edit.name.size = 0
        edit.value.size = 0
        return edit


cdef Text stripped(const Text *value) noexcept:
    cdef Text bare = value[0]
    while bare.size and (bare.data[0] == b' ' or bare.data[0] == b'\t'):
        bare.data += 1
        bare.size -= 1
    while bare.size and (bare.data[bare.size - 1] == b' ' or bare.data[bare.size - 1] == b'\t'):
        bare.size -= 1
    return bare


# -- writing -------------------------------------------------------------------------------------

cdef uint32_t edited_room(const Head *head, Edits edits) noexcept:
    """Bytes that write_edited may write."""
    return head.size + edits.used + 4 * <uint32_t>edits.count


cdef inline bint takes(const Edit *edit, int id, const char *name, uint32_t size) noexcept:
    """Does a DEL or SET take away the fields of this name?"""
    if edit.op != EDIT_DEL and edit.op != EDIT_SET:
        return False
    if edit.id or id:
        return edit.id == id
    return edit.name.size == size and same_token(edit.name.data, name, size)


cdef const Edit *edit_of(const Head *head, Edits edits, uint32_t index) noexcept:
    """What happens to a field of the head: a DEL, SET or DROP, the last REPLACE, or NULL."""
    cdef const Edit *edit
    cdef const Edit *found = NULL
    cdef const Field *f = &head.fields[index]
    cdef int i
    for i in range(edits.count):
        edit = &edits.rows[i]
        if edit.op == EDIT_DROP or edit.op == EDIT_REPLACE:
            if edit.index != index:
                continue
        elif not takes(edit, f.id, head.base + f.name, f.name_size):
            continue
        if edit.op != EDIT_REPLACE:
            return edit
        found = edit
    return found


cdef bint outlives(Edits edits, int at) noexcept:
    """Is the field that edit `at` puts there at the end still there after all of them?"""
    cdef const Edit *edit = &edits.rows[at]
    cdef int i
    for i in range(at + 1, edits.count):
        if takes(&edits.rows[i], edit.id, edit.name.data, edit.name.size):
            return False
    return True


cdef char *write_first_line(char *o, const Head *head, Edits edits, uint32_t end) noexcept:
    """The first line, which stands before `end`; that of a request with its new method, target."""
    cdef const Edit *edit
    cdef const Text *method = NULL
    cdef const Text *target = NULL
    cdef uint32_t rest
    cdef int i
    for i in range(edits.count):
        edit = &edits.rows[i]
        if edit.op == EDIT_METHOD:
            method = &edit.value
        elif edit.op == EDIT_TARGET:
            target = &edit.value
    if method == NULL and target == NULL:
        return put(o, head.base + head.start, end - head.start)
    if method != NULL:
        o = put(o, method.data, method.size)
    else:
        o = put(o, head.base + head.start, head.method_size)
    o = put(o, b" ", 1)
    if target != NULL:
        o = put(o, target.data, target.size)
    else:
        o = put(o, head.base + head.target, head.target_size)
    rest = head.target + head.target_size      # SP version CRLF
    return put(o, head.base + rest, end - rest)


cdef uint32_t write_edited(const Head *head, Edits edits, char *out) noexcept:
    """The whole head with its edits; the bytes written. Lines that stay are copied as they are, in
    runs."""
    cdef uint32_t i, next_, end = head.size - 2
    cdef uint32_t run = head.fields[0].name if head.count else end
    cdef const Field *f
    cdef const Edit *edit
    cdef char *o = write_first_line(out, head, edits, run)
    cdef int j
    for i in range(head.count):
        edit = edit_of(head, edits, i)
        if edit == NULL:
            continue
        f = &head.fields[i]
        next_ = head.fields[i + 1].name if i + 1 < head.count else end
        o = put(o, head.base + run, f.name - run)
        run = next_
        # A Host stays where it was: at the front, where a reader of RFC 9110 §7.2 looks for it.
        if edit.op == EDIT_REPLACE or (edit.op == EDIT_SET and f.id == HeaderId.HOST):
            edit = last_host(edits, edit)
            o = put(o, head.base + f.name, f.name_size)
            o = put(o, b": ", 2)
            o = put(o, edit.value.data, edit.value.size)
            o = put(o, b"\r\n", 2)
    o = put(o, head.base + run, end - run)
    for j in range(edits.count):
        edit = &edits.rows[j]
        if ((edit.op == EDIT_SET or edit.op == EDIT_ADD) and edit.id != HeaderId.HOST
                and outlives(edits, j)):
            o = put(o, edit.name.data, edit.name.size)
            o = put(o, b": ", 2)
            o = put(o, edit.value.data, edit.value.size)
            o = put(o, b"\r\n", 2)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


cdef const Edit *last_host(Edits edits, const Edit *edit) noexcept:
    """Of several SETs of Host the last; any other edit itself."""
    cdef int i
    if edit.op == EDIT_SET:
        for i in range(edits.count):
            if edits.rows[i].op == EDIT_SET and edits.rows[i].id == HeaderId.HOST:
                edit = &edits.rows[i]
    return edit


OPS = {"del": EDIT_DEL, "set": EDIT_SET, "add": EDIT_ADD}


cdef Text text_of(bytes text):
    return Text(<const char *>text, <uint32_t>len(text))


def is_editable(str op, bytes name):
    """May a rule change the fields of this name? `op`: del, set, add."""
    cdef Text text = text_of(name)
    return bool(may_edit(OPS[op], &text))


# -- facade for tests ----------------------------------------------------------------------------


def edited_for_test(bytes data, list edits, bint answer=False):
    """(head with its edits, [was edit i accepted]). `edits`: ("set", name, value), ("del", name),
    ("replace", index, value), ("drop", index), ("method", value), ("target", value)."""
    cdef HeadLimits limits
    cdef Head head
    cdef Edits made = Edits()
    cdef Text name, value
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    size = (parse_response_head(data, <uint32_t>len(data), &limits, 0, &head) if answer
            else parse_request_head(data, <uint32_t>len(data), &limits, &head))
    if size <= 0:
        raise ValueError("not one whole head")
    accepted = []
    for op, *rest in edits:
        last = rest[len(rest) - 1]
        value = text_of(last) if isinstance(last, bytes) else Text(NULL, 0)
        if op in OPS:
            name = text_of(rest[0])
            accepted.append(bool(made.add(OPS[op], &name, &value)))
        elif op == "replace":
            accepted.append(bool(made.replace(&head, rest[0], &value)))
        elif op == "drop":
            accepted.append(bool(made.drop(&head, rest[0])))
        elif op == "method":
            accepted.append(bool(made.set_method(&value)))
        else:
            accepted.append(bool(made.set_target(&value)))
    out = bytearray(edited_room(&head, made))
    used = write_edited(&head, made, out)
    assert used <= len(out)
    return bytes(out[:used]), accepted
