"""Heads as they are sent on: parsed fields in, bytes out.

Theory. Every tier that a request passes changes a few fields; what a chain of tiers changes is
known when the configuration is read, so it is compiled into one `Recipe` per listener and applied
in one pass, fused or not. Fields of the hop (RFC 9110 §7.6.1) and framing fields are never copied:
framing is written anew from the parsed values. Neighbouring fields that stand in canonical form
(`name: value CRLF`, one space) are copied as one run: writing them again gives the same bytes.

Called by: session (pass, deliver). Pure byte functions; `out` has the room that `*_room` says.
"""
from libc.string cimport memcpy, memset

from ext.digits cimport write_number
from ext.headers cimport HOP_BY_HOP, HeaderId
from ext.http1 cimport (BODY_CHUNKED, Field, H_UPGRADE, HeadLimits, M_GET, M_OPTIONS,
                        parse_request_head, parse_response_head, parse_trailers)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, HEAD_GROWTH_BYTES


cdef inline char *put(char *o, const char *p, uint32_t n) noexcept nogil:
    memcpy(o, p, n)
    return o + n


cdef class Recipe:
    """The changes of a chain of tiers. `hops`: one dict per tier in order, with keys
    x_forwarded_for (append|line|preserve|remove), x_forwarded_proto, _host, _port
    (set|if_none|off), forwarded (bool), via (str or None), port (of its listener), date (bool).

    `hop_address`: the address that tiers behind the first one see as their peer, when they are
    fused: what a split chain on one machine would show.
    """

    def __init__(self, list hops, str hop_address="127.0.0.1"):
        if not 0 < len(hops) <= HOPS_MAX:
            raise ValueError(f"1 to {HOPS_MAX} tiers, not {len(hops)}")
        self.held = []
        memset(self.drop_request, 0, ID_COUNT)
        memset(self.drop_response, 0, ID_COUNT)
        for number in (HeaderId.CONNECTION, HeaderId.CONTENT_LENGTH, HeaderId.TRANSFER_ENCODING,
                       HeaderId.UPGRADE, HeaderId.KEEP_ALIVE, HeaderId.PROXY_CONNECTION,
                       HeaderId.TE):
            self.drop_request[<int>number] = 1
            self.drop_response[<int>number] = 1
        self.drop_request[<int>HeaderId.HOST] = 1
        self.drop_request[<int>HeaderId.PROXY_AUTHORIZATION] = 1
        self.drop_response[<int>HeaderId.PROXY_AUTHENTICATE] = 1
        self._peers(hops, hop_address.encode())
        for hop in hops:
            self._identity(hop)
            self.forwarded = self.forwarded or hop["forwarded"]
            self.date = self.date or hop["date"]
            if hop["via"]:
                self.via[self.via_count] = self._text(hop["via"].encode())
                self.via_count += 1
        if self.via_count:
            self.drop_request[<int>HeaderId.VIA] = 1
            self.drop_response[<int>HeaderId.VIA] = 1
        if self.forwarded:
            self.drop_request[<int>HeaderId.FORWARDED] = 1

    cdef Text _text(self, bytes text):
        cdef Text made
        self.held.append(text)
        made.data = text
        made.size = len(text)
        return made

    def _peers(self, hops, bytes address):
        """Which addresses go where in X-Forwarded-For."""
        entries = []
        drop = False
        for i, hop in enumerate(hops):
            mode = hop["x_forwarded_for"]
            if mode == "remove":
                entries, drop = [], True
            elif mode == "append":
                entries = [(client, False) for client, _ in entries] + [(i == 0, False)]
            elif mode == "line":
                entries.append((i == 0, True))
        for i, (client, new_line) in enumerate(entries):
            self.peers[i].client = client
            self.peers[i].new_line = new_line
            self.peers[i].text = self._text(address)
        self.peer_count = len(entries)
        self.merge_peers = bool(entries) and not entries[0][1] and not drop
        self.drop_request[<int>HeaderId.X_FORWARDED_FOR] = drop or self.merge_peers

    def _identity(self, hop):
        modes = {"off": MODE_OFF, "set": MODE_SET, "if_none": MODE_IF_NONE}
        for key in ("proto", "host", "port"):
            mode = modes[hop[f"x_forwarded_{key}"]]
            # A later tier that sets wins; one that fills in only does so when none did before.
            if mode == MODE_OFF or (mode == MODE_IF_NONE and self._mode(key) != MODE_OFF):
                continue
            if key == "proto":
                self.proto = mode
                self.proto_line = self._text(b"X-Forwarded-Proto: http\r\n")
                self.drop_request[<int>HeaderId.X_FORWARDED_PROTO] = mode == MODE_SET
            elif key == "host":
                self.host = mode
                self.drop_request[<int>HeaderId.X_FORWARDED_HOST] = mode == MODE_SET
            else:
                self.port = mode
                self.port_line = self._text(b"X-Forwarded-Port: %d\r\n" % hop["port"])
                self.drop_request[<int>HeaderId.X_FORWARDED_PORT] = mode == MODE_SET

    def _mode(self, key):
        return {"proto": self.proto, "host": self.host, "port": self.port}[key]


# -- parts ---------------------------------------------------------------------------------------

cdef char *copy_fields(char *o, Head *head, const uint8_t *drop, uint64_t *seen) noexcept nogil:
    """All fields that stay, in order; `seen` gets a bit per HeaderId met."""
    cdef uint32_t i, run = 0, run_end = 0, end
    cdef Field *f
    cdef const char *base = head.base
    for i in range(head.count):
        f = &head.fields[i]
        seen[0] |= <uint64_t>1 << f.id
        if f.flags & HOP_BY_HOP or drop[f.id]:
            continue
        end = f.value + f.value_size
        if (f.value == f.name + f.name_size + 2u and base[f.value - 1] == b' '
                and base[end] == b'\r'):
            if run_end != f.name:
                o = put(o, base + run, run_end - run)
                run = f.name
            run_end = end + 2
            continue
        o = put(o, base + run, run_end - run)
        run = run_end = 0
        o = put(o, base + f.name, f.name_size)
        o = put(o, b": ", 2)
        o = put(o, base + f.value, f.value_size)
        o = put(o, b"\r\n", 2)
    return put(o, base + run, run_end - run)


cdef char *join_values(char *o, Head *head, int id, bint *any) noexcept nogil:
    """The values of a list field, joined in order (RFC 9110 §5.3)."""
    cdef uint32_t i
    cdef Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == id and f.value_size:
            if any[0]:
                o = put(o, b", ", 2)
            o = put(o, head.base + f.value, f.value_size)
            any[0] = True
    return o


cdef char *write_peers(char *o, Head *head, Recipe recipe, const Text *client) noexcept:
    """X-Forwarded-For as each tier of the chain continues it."""
    cdef int i
    cdef bint any = False, open_ = False
    cdef const Text *text
    for i in range(recipe.peer_count):
        if not open_ or recipe.peers[i].new_line:
            if open_:
                o = put(o, b"\r\n", 2)
            o = put(o, b"X-Forwarded-For: ", 17)
            open_ = True
            any = False
            if i == 0 and recipe.merge_peers:
                o = join_values(o, head, HeaderId.X_FORWARDED_FOR, &any)
        if any:
            o = put(o, b", ", 2)
        text = client if recipe.peers[i].client else &recipe.peers[i].text
        o = put(o, text.data, text.size)
        any = True
    if open_:
        o = put(o, b"\r\n", 2)
    return o


cdef char *write_via(char *o, Head *head, Recipe recipe, bint inwards) noexcept:
    """Via: the received list, then one entry a tier in the order of passing (RFC 9110 §7.6.3):
    a request passes the outermost tier first (`inwards`), an answer last."""
    cdef int i
    cdef const Text *via
    cdef bint any = False
    o = put(o, b"Via: ", 5)
    o = join_values(o, head, HeaderId.VIA, &any)
    for i in range(recipe.via_count):
        if any:
            o = put(o, b", ", 2)
        via = &recipe.via[i if inwards else recipe.via_count - 1 - i]
        o = put(o, b"1.0 " if i == 0 and head.minor == 0 else b"1.1 ", 4)
        o = put(o, via.data, via.size)
        any = True
    return put(o, b"\r\n", 2)


cdef char *write_forwarded(char *o, Head *head, const Text *client) noexcept:
    """Forwarded (RFC 7239 §4): the received list, then the client of this program."""
    cdef uint32_t i
    cdef bint any = False, six = False
    o = put(o, b"Forwarded: ", 11)
    o = join_values(o, head, HeaderId.FORWARDED, &any)
    if any:
        o = put(o, b", ", 2)
    for i in range(client.size):
        if client.data[i] == b':':
            six = True
    o = put(o, b'for="[' if six else b"for=", 6 if six else 4)
    o = put(o, client.data, client.size)
    if six:
        o = put(o, b']"', 2)
    if head.host_size:
        o = put(o, b';host="', 7)
        o = put(o, head.base + head.host, head.host_size)
        o = put(o, b'"', 1)
    return put(o, b";proto=http\r\n", 13)


cdef char *write_framing(char *o, Head *head, int framing) noexcept:
    if framing == FRAME_CHUNKED:
        o = put(o, b"Transfer-Encoding: chunked\r\n", 28)
    elif framing == FRAME_LENGTH:
        o = put(o, b"Content-Length: ", 16)
        o += write_number(o, <uint64_t>head.content_length)
        o = put(o, b"\r\n", 2)
    return o


cdef char *write_upgrade(char *o, Head *head) noexcept:
    cdef Field *f = &head.fields[head.upgrade - 1]
    o = put(o, b"Connection: Upgrade\r\nUpgrade: ", 30)
    o = put(o, head.base + f.value, f.value_size)
    return put(o, b"\r\n", 2)


# -- heads ---------------------------------------------------------------------------------------

cdef inline bint wanted(int mode, uint64_t seen, int id) noexcept nogil:
    """Is an identity field ours to write, given the fields that the request had?"""
    return mode == MODE_SET or (mode == MODE_IF_NONE and not seen >> id & 1)


cdef uint32_t request_room(Head *head, Recipe recipe) noexcept:
    """Bytes that build_request may write: every received byte once, the host thrice, and ours."""
    return head.size + 3 * head.host_size + 4 * head.count + HEAD_GROWTH_BYTES


cdef uint32_t build_request(Head *head, Recipe recipe, const Text *client, char *out) noexcept:
    """The head as the server gets it, in origin-form; the bytes written."""
    cdef char *o = out
    cdef uint64_t seen = 0
    cdef const char *base = head.base
    cdef int framing = FRAME_NONE
    o = put(o, base + head.start, head.method_size)
    o = put(o, b" ", 1)
    if head.path_size:
        o = put(o, base + head.path, head.path_size)
    else:                                      # of an absolute form (RFC 9112 §3.2.4)
        o = put(o, b"*" if head.method == M_OPTIONS else b"/", 1)
    o = put(o, b" HTTP/1.1\r\nHost: ", 17)
    o = put(o, base + head.host, head.host_size)   # HTTP/1.0 without Host: an empty one
    o = put(o, b"\r\n", 2)
    o = copy_fields(o, head, recipe.drop_request, &seen)
    if recipe.peer_count:
        o = write_peers(o, head, recipe, client)
    if wanted(recipe.proto, seen, <int>HeaderId.X_FORWARDED_PROTO):
        o = put(o, recipe.proto_line.data, recipe.proto_line.size)
    if head.host_size and wanted(recipe.host, seen, <int>HeaderId.X_FORWARDED_HOST):
        o = put(o, b"X-Forwarded-Host: ", 18)
        o = put(o, base + head.host, head.host_size)
        o = put(o, b"\r\n", 2)
    if wanted(recipe.port, seen, <int>HeaderId.X_FORWARDED_PORT):
        o = put(o, recipe.port_line.data, recipe.port_line.size)
    if recipe.via_count:
        o = write_via(o, head, recipe, True)
    if recipe.forwarded:
        o = write_forwarded(o, head, client)
    if head.flags & H_UPGRADE:
        o = write_upgrade(o, head)
    if head.body == BODY_CHUNKED:
        framing = FRAME_CHUNKED
    elif head.content_length >= 0:
        framing = FRAME_LENGTH
    o = write_framing(o, head, framing)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


cdef uint32_t response_room(Head *head, Recipe recipe) noexcept:
    return head.size + 4 * head.count + HEAD_GROWTH_BYTES


cdef uint32_t build_response(Head *head, Recipe recipe, int framing, int connection,
                             const Text *date, char *out) noexcept:
    """The head as the client gets it; the bytes written. `date` is a whole field line."""
    cdef char *o = out
    cdef uint64_t seen = 0
    cdef unsigned status = head.status
    o = put(o, b"HTTP/1.1 ", 9)
    o[0] = <char>(48 + status // 100)
    o[1] = <char>(48 + status // 10 % 10)
    o[2] = <char>(48 + status % 10)
    o[3] = b' '
    o = put(o + 4, head.base + head.reason, head.reason_size)
    o = put(o, b"\r\n", 2)
    o = copy_fields(o, head, recipe.drop_response, &seen)
    if recipe.date and status >= 200 and not seen >> <int>HeaderId.DATE & 1:
        o = put(o, date.data, date.size)
    if recipe.via_count:
        o = write_via(o, head, recipe, False)
    o = write_framing(o, head, framing)
    if connection == SAY_CLOSE:
        o = put(o, b"Connection: close\r\n", 19)
    elif connection == SAY_KEEP_ALIVE:
        o = put(o, b"Connection: keep-alive\r\n", 24)
    elif connection == SAY_UPGRADE and head.upgrade:
        o = write_upgrade(o, head)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


cdef uint32_t trailers_room(Head *trailers) noexcept:
    return trailers.size + 4 * trailers.count + 16


cdef uint32_t build_trailers(Head *trailers, char *out) noexcept:
    """The last chunk, the trailer fields that may be forwarded, and the empty line."""
    cdef char *o = put(out, b"0\r\n", 3)
    cdef uint64_t seen = 0
    cdef uint8_t drop[ID_COUNT]
    memset(drop, 0, ID_COUNT)
    o = copy_fields(o, trailers, drop, &seen)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


# -- facade for tests ----------------------------------------------------------------------------

cdef Text text_of(bytes text):
    cdef Text made
    made.data = text
    made.size = <uint32_t>len(text)
    return made


cdef void widest(HeadLimits *limits) noexcept:
    limits.request_line_bytes = HEAD_BYTES_MAX
    limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX


def request_for_test(bytes data, Recipe recipe, bytes client=b"192.0.2.1"):
    """The head in `data` as the server would get it."""
    cdef HeadLimits limits
    cdef Head head
    cdef Text text = text_of(client)
    widest(&limits)
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    out = bytearray(request_room(&head, recipe))
    used = build_request(&head, recipe, &text, out)
    assert used <= len(out)
    return bytes(out[:used])


def response_for_test(bytes data, Recipe recipe, int framing, int connection, bytes date=b""):
    """The head in `data` as the client would get it."""
    cdef HeadLimits limits
    cdef Head head
    cdef Text text = text_of(date)
    widest(&limits)
    if parse_response_head(data, <uint32_t>len(data), &limits, M_GET, &head) <= 0:
        raise ValueError("not one whole answer head")
    out = bytearray(response_room(&head, recipe))
    used = build_response(&head, recipe, framing, connection, &text, out)
    assert used <= len(out)
    return bytes(out[:used])


def trailers_for_test(bytes data):
    """The last chunk for the trailer section in `data`."""
    cdef Head head
    if parse_trailers(data, <uint32_t>len(data), HEAD_BYTES_MAX, &head) <= 0:
        raise ValueError("not one whole trailer section")
    out = bytearray(trailers_room(&head))
    used = build_trailers(&head, out)
    assert used <= len(out)
    return bytes(out[:used])
