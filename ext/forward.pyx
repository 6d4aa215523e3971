"""Heads as they are sent on: parsed fields in, bytes out.

Theory. Every tier that a request passes changes a few fields; what a chain of tiers changes is
known when the configuration is read, so it is compiled into one `Recipe` per listener and applied
in one pass, fused or not. Fields of the hop (RFC 9110 §7.6.1) and framing fields are never copied:
framing is written anew from the parsed values.

Called by: session (pass, deliver). Pure byte functions; `out` has the room that `*_room` says.
"""
import os

from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from ext.encoding cimport CODING_BROTLI, CODING_GZIP, normal_encoding
from ext.fields cimport (copy_fields, join_values, put, write_length, write_status_line)
from ext.headers cimport HeaderId
from ext.http1 cimport (BODY_CHUNKED, Field, H_COOKIE_OVERFLOW, H_UPGRADE, HeadLimits, M_GET,
                        M_OPTIONS, parse_request_head, parse_response_head, parse_trailers)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, HEAD_GROWTH_BYTES, Refused
from ext.timers cimport wall_us
from ext.tracing cimport drop_invalid_names, mark_trace, write_trace


# Written anew, or (the last three) of a purge and its credentials: not the origin's business.
REQUEST_OURS = (
    HeaderId.FASTLY_FF, HeaderId.FASTLY_CLIENT, HeaderId.CDN_LOOP, HeaderId.FASTLY_COOKIE_OVERFLOW,
    HeaderId.FASTLY_KEY, HeaderId.FASTLY_SOFT_PURGE, HeaderId.X_PURGE_TOKEN,
)
# Continued by deliver.write_marks, or for those clients only that it knows.
ANSWER_OURS = (
    HeaderId.X_SERVED_BY, HeaderId.X_CACHE, HeaderId.X_CACHE_HITS, HeaderId.X_TIMER,
    HeaderId.FASTLY_DEBUG_PATH, HeaderId.FASTLY_DEBUG_TTL, HeaderId.FASTLY_DEBUG_DIGEST,
    HeaderId.SURROGATE_CONTROL, HeaderId.SURROGATE_KEY, HeaderId.SURROGATE_CAPABILITY,
)


cdef class Recipe:
    """The changes of a chain of tiers. `hops`: one dict per tier in order, with keys
    x_forwarded_for (append|line|preserve|remove), x_forwarded_proto, _host, _port
    (set|if_none|off), forwarded (bool), via (str or None), port (of its listener), date (bool),
    alb (None, or of an elb a dict with drop_invalid_header_fields and preserve_host_header),
    fastly (None, or of a cdn a dict with node, pop, service_hash, strict_client_ip and
    normal_encodings).

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
            if hop.get("alb") is not None:
                self._alb(hop["alb"])
            if hop.get("fastly"):
                self._fastly(hop["fastly"])
            if hop["via"]:
                self.via[self.via_count] = self._text(hop["via"].encode())
                self.via_count += 1
        pseudonyms = [hop["via"] for hop in hops if hop["via"]]
        entries = ", ".join(f"1.1 {via}" for via in reversed(pseudonyms))
        self.via_answer = self._text(entries.encode())
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

    def _alb(self, given):
        self.trace = True
        self.tracer.a = int.from_bytes(os.urandom(8), "little") | 1
        self.tracer.b = int.from_bytes(os.urandom(8), "little")
        self.plain_names = given["drop_invalid_header_fields"]
        self.plain_host = not given["preserve_host_header"]

    def _fastly(self, given):
        """What a cdn adds, and what neither its origin nor its clients see."""
        service, pop = f"{given['service_hash']}!", f"{given['pop']}!"
        self.fastly = True
        self.strict_client_ip = given["strict_client_ip"]
        self.normal_encodings = given["normal_encodings"]
        self.ff_service = self._text(service.encode())
        self.ff_pop = self._text(pop.encode())
        self.ff_entry = self._text(f"{service}{pop}{given['node']}".encode())
        for number in REQUEST_OURS:
            self.drop_request[<int>number] = 1
        if self.normal_encodings:
            self.drop_request[<int>HeaderId.ACCEPT_ENCODING] = 1
            self.drop_request[<int>HeaderId.FASTLY_ORIG_ACCEPT_ENCODING] = 1
        for number in ANSWER_OURS:
            self.drop_response[<int>number] = 1

    def _mode(self, key):
        return {"proto": self.proto, "host": self.host, "port": self.port}[key]


# -- parts ---------------------------------------------------------------------------------------

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
                o = join_values(o, head, HeaderId.X_FORWARDED_FOR, b", ", &any)
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
    o = join_values(o, head, HeaderId.VIA, b", ", &any)
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
    o = join_values(o, head, HeaderId.FORWARDED, b", ", &any)
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


cdef char *write_framing(char *o, int framing, int64_t length) noexcept nogil:
    if framing == FRAME_CHUNKED:
        o = put(o, b"Transfer-Encoding: chunked\r\n", 28)
    elif framing == FRAME_LENGTH:
        o = write_length(o, length)
    return o


cdef char *write_connection(char *o, int connection) noexcept nogil:
    if connection == SAY_CLOSE:
        o = put(o, b"Connection: close\r\n", 19)
    elif connection == SAY_KEEP_ALIVE:
        o = put(o, b"Connection: keep-alive\r\n", 24)
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


cdef void drop_by(const Ask *ask, uint8_t *drop) noexcept nogil:
    """Add to `drop` what the request has of its own but the asked one has not."""
    if ask.as_get:
        drop[<int>HeaderId.EXPECT] = 1
    if ask.whole:
        drop[<int>HeaderId.RANGE] = 1
        drop[<int>HeaderId.IF_RANGE] = 1
    if ask.unconditional or ask.etag != NULL or ask.last_modified != NULL:
        drop[<int>HeaderId.IF_NONE_MATCH] = 1
        drop[<int>HeaderId.IF_MODIFIED_SINCE] = 1
        drop[<int>HeaderId.IF_MATCH] = 1
        drop[<int>HeaderId.IF_UNMODIFIED_SINCE] = 1
    if ask.encoding != ENCODING_KEPT:
        drop[<int>HeaderId.ACCEPT_ENCODING] = 1


cdef char *write_ask(char *o, const Ask *ask) noexcept nogil:
    """The conditions that are asked for (RFC 9111 §4.3.1)."""
    if ask.etag != NULL:
        o = put(o, b"If-None-Match: ", 15)
        o = put(o, ask.etag, ask.etag_size)
        o = put(o, b"\r\n", 2)
    if ask.last_modified != NULL:
        o = put(o, b"If-Modified-Since: ", 19)
        o = put(o, ask.last_modified, ask.last_modified_size)
        o = put(o, b"\r\n", 2)
    return o


cdef char *write_encoding(char *o, int coding) noexcept nogil:
    if coding == CODING_GZIP:
        o = put(o, b"Accept-Encoding: gzip\r\n", 23)
    elif coding == CODING_BROTLI:
        o = put(o, b"Accept-Encoding: br\r\n", 21)
    return o


cdef char *write_list(char *o, const char *name, Head *head, int id, const Text *entry) noexcept:
    """A list field that we continue."""
    cdef bint any = False
    o = put(o, name, <uint32_t>strlen(name))
    o = join_values(o, head, id, b", ", &any)
    if any:
        o = put(o, b", ", 2)
    o = put(o, entry.data, entry.size)
    return put(o, b"\r\n", 2)


cdef char *write_fastly(char *o, Head *head, Recipe recipe, const Text *client, uint64_t seen,
                        bint own_ip) noexcept:
    """What Fastly tells an origin. `own_ip`: the client's Fastly-Client-IP was not copied."""
    cdef Text name = Text(b"Fastly", 6)
    cdef bint any = False
    if own_ip or not seen >> <int>HeaderId.FASTLY_CLIENT_IP & 1:
        o = put(o, b"Fastly-Client-IP: ", 18)
        o = put(o, client.data, client.size)
        o = put(o, b"\r\n", 2)
    o = write_list(o, b"Fastly-FF: ", head, HeaderId.FASTLY_FF, &recipe.ff_entry)
    o = write_list(o, b"CDN-Loop: ", head, HeaderId.CDN_LOOP, &name)    # RFC 8586 §2
    o = put(o, b"Fastly-Client: 1\r\n", 18)
    if head.flags & H_COOKIE_OVERFLOW:
        o = put(o, b"Fastly-Cookie-Overflow: 1\r\n", 27)
    if recipe.normal_encodings and seen >> <int>HeaderId.ACCEPT_ENCODING & 1:
        o = put(o, b"Fastly-Orig-Accept-Encoding: ", 29)
        o = join_values(o, head, HeaderId.ACCEPT_ENCODING, b", ", &any)
        o = put(o, b"\r\n", 2)
    return o


cdef int refused_behind(const char *out, uint32_t size, const HeadLimits *limits) noexcept nogil:
    """Why (Refused) a tier behind would not take the head that was built, 0 if it would. A chain of
    one process then answers as the same tiers on their own do."""
    cdef const char *end = <const char *>memchr(out, b'\r', size)
    cdef uint32_t line = <uint32_t>(end - out), i, count = 0
    if line > limits.request_line_bytes:
        return Refused.REQUEST_LINE_TOO_LONG
    if size - line - 4 > limits.header_bytes:  # without both ends: of the line, and of the head
        return Refused.HEAD_TOO_LONG
    for i in range(size):
        count += out[i] == b'\n'
    return <int>Refused.TOO_MANY_FIELDS if count - 2 > limits.header_count else 0


cdef int count_visits(const Head *head, Recipe recipe, bint *loop) noexcept:
    """How often this service has seen the request already, by Fastly-FF: 0 is a client, more a
    cdn of ours (a shield's client). `loop`: once at this very site."""
    cdef uint32_t i
    cdef int visits = 0
    cdef const Field *f
    cdef const char *p
    cdef const char *end
    loop[0] = False
    if not recipe.fastly:
        return 0
    for i in range(head.count):
        f = &head.fields[i]
        if f.id != HeaderId.FASTLY_FF:
            continue
        p = head.base + f.value
        end = p + f.value_size
        while p < end:
            while p < end and (p[0] == b' ' or p[0] == b'\t' or p[0] == b','):
                p += 1
            if begins(p, end, &recipe.ff_service):
                visits += 1
                loop[0] = loop[0] or begins(p + recipe.ff_service.size, end, &recipe.ff_pop)
            while p < end and p[0] != b',':
                p += 1
    return visits


cdef inline bint begins(const char *p, const char *end, const Text *text) noexcept nogil:
    return end - p >= text.size and memcmp(p, text.data, text.size) == 0


cdef uint32_t request_room(Head *head, Recipe recipe, const Ask *ask) noexcept:
    """Bytes that build_request may write: every received byte once, the host thrice, and ours."""
    cdef uint32_t room = head.size + 3 * head.host_size + 4 * head.count + HEAD_GROWTH_BYTES
    return room if ask == NULL else room + ask.etag_size + ask.last_modified_size


cdef uint32_t host_size(const Head *head, Recipe recipe) noexcept:
    """Of the host; through an elb without `:80` and `:443`."""
    cdef const char *end = head.base + head.host + head.host_size
    if not recipe.plain_host:
        return head.host_size
    if head.host_size > 3 and memcmp(end - 3, b":80", 3) == 0:
        return head.host_size - 3
    if head.host_size > 4 and memcmp(end - 4, b":443", 4) == 0:
        return head.host_size - 4
    return head.host_size


cdef char *write_request_line(char *o, Head *head, const Ask *ask, uint32_t host_bytes) noexcept:
    """In origin-form, with the Host that belongs to it."""
    cdef const char *base = head.base
    if ask != NULL and ask.as_get:
        o = put(o, b"GET", 3)
    else:
        o = put(o, base + head.start, head.method_size)
    o = put(o, b" ", 1)
    if head.path_size:
        o = put(o, base + head.path, head.path_size)
    else:                                      # of an absolute form (RFC 9112 §3.2.4)
        o = put(o, b"*" if head.method == M_OPTIONS else b"/", 1)
    o = put(o, b" HTTP/1.1\r\nHost: ", 17)
    o = put(o, base + head.host, host_bytes)   # HTTP/1.0 without Host: an empty one
    return put(o, b"\r\n", 2)


cdef uint32_t build_request(Head *head, Recipe recipe, const Text *client, const Ask *ask,
                            char *out) noexcept:
    """The head as the server gets it; the bytes written. `ask` NULL: as it came."""
    cdef char *o = write_request_line(out, head, ask, host_size(head, recipe))
    cdef uint64_t seen = 0
    cdef const char *base = head.base
    cdef int framing = FRAME_NONE
    cdef int coding = normal_encoding(head) if recipe.normal_encodings else ENCODING_KEPT
    cdef bint bodiless = ask != NULL and ask.as_get
    cdef bint loop, own_ip = recipe.strict_client_ip and not count_visits(head, recipe, &loop)
    cdef int traced = mark_trace(head) if recipe.trace else -1
    cdef uint8_t drop[ID_COUNT]
    memcpy(drop, recipe.drop_request, ID_COUNT)
    if recipe.plain_names:
        drop_invalid_names(head)
    if own_ip:
        drop[<int>HeaderId.FASTLY_CLIENT_IP] = 1
    if ask != NULL:
        drop_by(ask, drop)
    o = copy_fields(o, head, drop, &seen)
    if ask != NULL:
        o = write_ask(o, ask)
        if ask.encoding != ENCODING_KEPT:
            coding = ask.encoding
    o = write_encoding(o, coding)
    if recipe.fastly:
        o = write_fastly(o, head, recipe, client, seen, own_ip)
    if recipe.trace:
        o = write_trace(o, head, traced, &recipe.tracer, <uint32_t>(wall_us() // 1000000))
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
    if head.flags & H_UPGRADE and not bodiless:
        o = write_upgrade(o, head)
    if bodiless:
        framing = FRAME_NONE
    elif head.body == BODY_CHUNKED:
        framing = FRAME_CHUNKED
    elif head.content_length >= 0:
        framing = FRAME_LENGTH
    o = write_framing(o, framing, head.content_length)
    o = put(o, b"\r\n", 2)
    return <uint32_t>(o - out)


cdef uint32_t response_room(Head *head, Recipe recipe) noexcept:
    return head.size + 4 * head.count + HEAD_GROWTH_BYTES


cdef uint32_t build_response(Head *head, Recipe recipe, int framing, int connection,
                             const Text *date, char *out) noexcept:
    """The head as the client gets it; the bytes written. `date` is a whole field line."""
    cdef char *o = out
    cdef uint64_t seen = 0
    o = write_status_line(o, head.status, head.base + head.reason, head.reason_size)
    o = copy_fields(o, head, recipe.drop_response, &seen)
    if recipe.date and head.status >= 200 and not seen >> <int>HeaderId.DATE & 1:
        o = put(o, date.data, date.size)
    if recipe.via_count:
        o = write_via(o, head, recipe, False)
    o = write_framing(o, framing, head.content_length)
    o = write_connection(o, connection)
    if connection == SAY_UPGRADE and head.upgrade:
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


cdef Ask ask_of(dict asked):
    cdef Ask ask
    cdef bytes etag = asked.get("etag"), last_modified = asked.get("last_modified")
    memset(&ask, 0, sizeof(Ask))
    ask.as_get = asked.get("as_get", False)
    ask.whole = asked.get("whole", False)
    ask.unconditional = asked.get("unconditional", False)
    ask.encoding = asked.get("encoding", ENCODING_KEPT)
    if etag is not None:
        ask.etag = etag
        ask.etag_size = <uint32_t>len(etag)
    if last_modified is not None:
        ask.last_modified = last_modified
        ask.last_modified_size = <uint32_t>len(last_modified)
    return ask


def request_for_test(bytes data, Recipe recipe, bytes client=b"192.0.2.1", dict ask=None,
                     bint cookie_overflow=False):
    """The head in `data` as the server would get it. `ask`: keys as in struct Ask."""
    cdef HeadLimits limits
    cdef Ask asked
    cdef const Ask *pointer = NULL
    cdef Head head
    cdef Text text = text_of(client)
    widest(&limits)
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    if cookie_overflow:
        head.flags |= H_COOKIE_OVERFLOW
    if ask is not None:
        asked = ask_of(ask)
        pointer = &asked
    out = bytearray(request_room(&head, recipe, pointer))
    used = build_request(&head, recipe, &text, pointer, out)
    assert used <= len(out)
    return bytes(out[:used])


def refused_for_test(bytes built, int line_bytes, int header_bytes, int header_count):
    """Refused for a head that was built, or 0."""
    cdef HeadLimits limits
    limits.request_line_bytes = line_bytes
    limits.header_bytes = header_bytes
    limits.header_count = header_count
    return refused_behind(built, <uint32_t>len(built), &limits)


def visits_for_test(bytes data, Recipe recipe):
    """(visits, loop) of the request in `data`."""
    cdef HeadLimits limits
    cdef Head head
    cdef bint loop
    widest(&limits)
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    visits = count_visits(&head, recipe, &loop)
    return visits, bool(loop)


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
