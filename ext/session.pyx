"""One client connection: a request enters here, and this table is its way through the program.

    receive -> hash -> lookup -> pass -> elb -> haproxy -> fetch -> deliver -> log
                                          ^--- retry -----------|
    any step -> error -> log

The rows carry the names of Fastly's state machine (and of the tiers), because customers' VCL will
run in them; `lookup` goes to `pass` for every request until the cdn tier has its cache.

Theory. `run` calls the row's function, which answers the next row, or WAIT: then the session has
left, and an event (a free slot, a connection, the answer's head) re-enters at the same row. Steps
work on C data; the parsed head is scratch of the worker and is gone after the first WAIT, so
`pass` writes the request as the server will get it into a block before any step can wait. The
block is also what a retry sends again, and takes the body along while it fits.

Bodies are not steps: `send_part` moves what the client sends, `relay` what the server answers, each
at most one read at a time; when one side's socket is full the other side is not read.

Deadlines: one timer per connection, meaning by phase (see on_timer).
"""
import email.utils
import time

from libc.stdlib cimport malloc, free
from libc.string cimport memcpy
from posix.uio cimport iovec

from ext.answers import build_answer
from ext.arena cimport (
    Arena, TC_CONNECTIONS, TC_CONNECTIONS_OPEN, TC_REQUESTS, TC_IN_FLIGHT, TC_QUEUED, TC_BYTES_IN,
    TC_BYTES_OUT, TC_1XX, TC_OTHER, TC_REQUEST_ERRORS, TC_CLIENT_ABORTS, TC_RETRIES, TC_REDISPATCHES,
    TC_NO_SERVER, TC_QUEUE_TIMEOUTS, TC_LATENCY_SUM_US, TC_LATENCY_0, latency_bucket,
    SC_REQUESTS, SC_BYTES_IN, SC_BYTES_OUT, SC_1XX, SC_OTHER, SC_RESPONSE_ERRORS,
    SC_SERVER_ABORTS, SC_CLIENT_ABORTS, SC_RETRIES, SC_REDISPATCHES)
from ext.balance cimport PICK_FULL, PICK_NONE, hash_bytes
from ext.forward cimport (
    FRAME_NONE, FRAME_LENGTH, FRAME_CHUNKED, FRAME_CLOSE, SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE,
    SAY_UPGRADE, Text, build_request, build_response, build_trailers, request_room, response_room,
    write_hex)
from ext.http1 cimport (
    BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE, CHUNK_TRAILERS, CHUNK_DONE, H_CLOSE,
    H_KEEP_ALIVE, H_UPGRADE, H_EXPECT_CONTINUE, M_CONNECT, M_DELETE, M_GET, M_HEAD, M_OPTIONS,
    M_PUT, M_TRACE, chunked_decode, chunked_start, parse_request_head, parse_response_head,
    parse_trailers)
from ext.limits cimport (
    BLOCK_BYTES, FIELDS_MAX, HEAD_BYTES_MAX, INTERIM_MAX, LINGER_MS, PIPELINE_BYTES_MAX, Refused)
from ext.limits import REFUSED_STATUS
from ext.stream cimport drop_front, keep, release
from ext.timers cimport now_ms, now_us
from ext.upstream cimport Failure, NoRetry, TIER_CDN, TIER_ELB, may_retry
from ext.live cimport EDGE_LIVE_ADD, EDGE_LIVE_SUB

cdef enum:
    DRAIN_IDLE_MS = 1000           # an idle connection's last chance to send, when draining
    TURN_AROUND_MS = 1000          # HAProxy's pause before the same server is tried again

# == the table ======================================================================================

ctypedef int (*StepFunction)(Session s) except -1

cdef StepFunction[10] STEPS
STEPS[:] = [
    step_receive,                  # validate, decide keep-alive and the body's framing
    step_hash,                     # keys: of the cache, of consistent hashing
    step_lookup,                   # in the cache: all pass, until the cache is there
    step_pass,                     # write the request as the server will get it
    step_elb,                      # pick a target: a VM's haproxy, or a node
    step_haproxy,                  # pick a server; queue when all are full
    step_fetch,                    # get a connection, send
    step_deliver,                  # the answer's head is here: send it on, begin the body
    step_error,                    # answer ourselves
    step_log,                      # count, let the server go
]


cdef int step_receive(Session s) except -1:
    cdef Head *h = &s.site.request
    cdef Tier tier = s.entry.tier
    s.requests += 1
    s.started_us = now_us()
    s.method = <uint8_t>h.method
    s.minor = h.minor
    s.keep_alive = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    s.upgrade = (h.flags & H_UPGRADE) != 0
    s.expects = (h.flags & H_EXPECT_CONTINUE) != 0
    s.idempotent = (h.method == M_GET or h.method == M_HEAD or h.method == M_PUT
                    or h.method == M_DELETE or h.method == M_OPTIONS or h.method == M_TRACE)
    s.request_body = h.body
    s.request_left = h.content_length
    s.request_bytes = 0
    s.request_done = h.body == BODY_NONE
    s.attempts_left = 0
    if h.body == BODY_CHUNKED:
        chunked_start(&s.request_chunks, tier.extension_bytes_max, tier.trailer_bytes_max)
    tier.cells[TC_REQUESTS] += 1
    tier.cells[TC_IN_FLIGHT] += 1
    if h.method == M_CONNECT or (h.method == M_TRACE and s.entry.elb is not None):
        s.close_after = True
        return s.fail_with(405, tier)
    if tier.body_bytes_max and h.content_length > <int64_t>tier.body_bytes_max:
        tier.cells[TC_REQUEST_ERRORS] += 1
        s.close_after = True
        return s.fail_with(413, tier)
    return HASH


cdef int step_hash(Session s) except -1:
    cdef Head *h = &s.site.request
    cdef uint32_t n = 0
    if s.entry.needs_uri:
        while n < h.path_size and h.base[h.path + n] != b'?':
            n += 1
        s.uri_hash = hash_bytes(h.base + h.path, n)
    return LOOKUP


cdef int step_lookup(Session s) except -1:
    return PASS


cdef int step_pass(Session s) except -1:
    cdef Entry entry = s.entry
    cdef Text client
    cdef uint32_t room
    if s.block == NULL:
        client.data = s.client
        client.size = s.client_size
        room = request_room(&s.site.request, entry.recipe)
        s.block = s.site.take_block(room)
        s.block.size = build_request(&s.site.request, entry.recipe, &client, s.block.data)
        s.replayable = True
    if entry.elb is not None:
        return ELB
    if entry.haproxy is not None:
        s.passed_haproxy = entry.haproxy
        entry.haproxy.cells[TC_IN_FLIGHT] += entry.haproxy is not entry.tier
        entry.haproxy.cells[TC_REQUESTS] += entry.haproxy is not entry.tier
        return HAPROXY
    return s.choose(entry.cdn, PASS)           # a cdn in front of its origins


cdef int step_elb(Session s) except -1:
    cdef Tier elb = s.entry.elb
    cdef int next_
    if s.passed_elb is None:
        s.passed_elb = elb
        if elb is not s.entry.tier:
            elb.cells[TC_REQUESTS] += 1
            elb.cells[TC_IN_FLIGHT] += 1
    next_ = s.choose(elb, ELB)
    if next_ != FETCH or s.server.next_tier is None:
        return next_
    s.target = s.server                        # fused: the target is a tier, go on inside it
    s.server = None
    s.tried_count = 0
    s.passed_haproxy = s.target.next_tier
    s.passed_haproxy.cells[TC_REQUESTS] += 1
    s.passed_haproxy.cells[TC_IN_FLIGHT] += 1
    s.target.cells[SC_REQUESTS] += 1
    return HAPROXY


cdef int step_haproxy(Session s) except -1:
    return s.choose(s.passed_haproxy, HAPROXY)


cdef int step_fetch(Session s) except -1:
    cdef NodeConnection node = s.node
    while node is None:
        # A retry takes a new connection: the kept ones may have died of the same cause.
        node = s.server.checkout() if s.tried_count == 0 else None
        if node is None:
            s.phase = WAITING
            s.wait = WAIT_CONNECT
            s.row = FETCH
            s.arm(s.server.tier.connect_ms)
            s.connecting = s.server.connect(s)
            return WAIT
        if not s.idempotent and not node.alive():
            node.abort()
            node = None
    s.node = node
    node.exchange = s
    s.phase = AWAIT
    s.server.cells[SC_REQUESTS] += 1
    s.send_part(True)
    return WAIT if s.phase == AWAIT else (ERROR if s.status else DONE)


cdef int step_deliver(Session s) except -1:
    cdef Head *h = &s.site.answer
    cdef Text date
    cdef int framing, say = SAY_NOTHING
    cdef char *out
    s.status = h.status
    s.answer_body = h.body
    s.answer_left = h.content_length
    s.node_keeps = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    if s.block != NULL:                        # from here on nothing is sent again
        s.site.give_block(s.block)
        s.block = NULL
    if h.body == BODY_CHUNKED:
        chunked_start(&s.answer_chunks, s.entry.tier.extension_bytes_max,
                      s.entry.tier.trailer_bytes_max)
    if h.body == BODY_UNTIL_CLOSE or h.body == BODY_CHUNKED:
        framing = FRAME_CHUNKED if s.minor == 1 else FRAME_CLOSE
    elif h.status == 204 or h.status < 200:
        framing = FRAME_NONE
    elif h.content_length >= 0:
        framing = FRAME_LENGTH
    else:
        framing = FRAME_CHUNKED if h.flags & 16 and s.minor == 1 else FRAME_NONE
    s.answer_framing = framing
    # RFC 9112 §9.6: say so when the connection will not be kept. A request whose body is still
    # coming when an error is answered is not read to its end.
    s.close_after = (not s.keep_alive or framing == FRAME_CLOSE or s.site.draining
                     or (not s.request_done and h.status >= 400))
    if h.status == 101:
        say = SAY_UPGRADE
        s.close_after = True
    elif s.close_after:
        say = SAY_CLOSE
    elif s.minor == 0:
        say = SAY_KEEP_ALIVE
    date.data = s.site.date
    date.size = <uint32_t>len(s.site.date)
    out = s.site.scratch(response_room(h, s.entry.recipe))
    s.phase = RELAY
    s.relay(build_response(h, s.entry.recipe, framing, say, &date, out))
    if h.status == 101 and not s.lost:
        s.phase = TUNNEL
        s.arm(s.server.tier.tunnel_ms)
        if s.kept.size and not s.in_use:       # what the client sent after its request
            s.on_data(NULL, 0)
        s.resume()
        return WAIT
    return LOG if s.answer_done else WAIT


cdef int step_error(Session s) except -1:
    """Answer `status` in the words of the blamed tier. Nothing of another answer was sent."""
    cdef bint close = s.close_after or not s.keep_alive or not s.request_done or s.site.draining
    cdef uint32_t retry_after = s.blamed.retry_after_s if s.status == 503 else 0
    s.close_after = close
    s.send_bytes(build_answer(s.blamed.kind, s.status, close=close, head_only=s.method == M_HEAD,
                              minor=s.minor, retry_after_s=retry_after))
    return LOG


cdef int step_log(Session s) except -1:
    cdef uint64_t us = now_us() - s.started_us
    cdef int class_ = s.status // 100 if 100 <= s.status < 600 else 6
    cdef int bucket = latency_bucket(us)
    count(s.entry.tier, class_, us, bucket)
    if s.passed_elb is not None:
        if s.passed_elb is not s.entry.tier:
            count(s.passed_elb, class_, us, bucket)
        s.passed_elb = None
    if s.passed_haproxy is not None:
        if s.passed_haproxy is not s.entry.tier:
            count(s.passed_haproxy, class_, us, bucket)
        s.passed_haproxy = None
    if s.server is not None:
        s.server.cells[SC_1XX + class_ - 1] += s.node is not None
    if s.target is not None:
        s.target.cells[SC_1XX + class_ - 1] += 1
    if s.block != NULL:
        s.site.give_block(s.block)
        s.block = NULL
    s.let_go(s.node_keeps and s.answer_done and s.request_done)
    return DONE


cdef inline void count(Tier tier, int class_, uint64_t us, int bucket) noexcept:
    tier.cells[TC_IN_FLIGHT] -= 1
    tier.cells[TC_1XX + class_ - 1] += 1
    tier.cells[TC_LATENCY_SUM_US] += us
    tier.cells[TC_LATENCY_0 + bucket] += 1


# == the worker's shared things =====================================================================

cdef class Site:
    """What the connections of one worker share: loop, clock, scratch memory, free blocks."""

    def __cinit__(self, loop, Arena arena not None):
        self.loop = loop
        self.arena = arena
        self.wheel = Wheel()
        self.input = ReadBuffer()
        # A node's head may be as large as the largest that a client may send.
        self.answer_limits.header_bytes = HEAD_BYTES_MAX
        self.answer_limits.header_count = FIELDS_MAX
        self.scratch(BLOCK_BYTES)
        self.tell_date()

    def __dealloc__(self):
        cdef Block *block
        while self.blocks != NULL:
            block = self.blocks
            self.blocks = block.next
            free(block.data)
            free(block)
        free(self.out)

    @property
    def parts(self):
        """(wheel, read buffer) for the servers of this worker."""
        return self.wheel, self.input

    def tick(self):
        """Advance the timers; the worker calls it every TICK_MS."""
        self.wheel.advance(now_ms())

    def tell_date(self):
        """Renew the Date field; the worker calls it every second."""
        self.date = f"Date: {email.utils.formatdate(time.time(), usegmt=True)}\r\n".encode()

    def drain(self):
        """Take no further request on any connection: the running ones end with `close`."""
        cdef Session s = self.first
        self.draining = True
        while s is not None:
            if s.phase == IDLE:
                s.arm(DRAIN_IDLE_MS)
            s = s.next

    cdef Block *take_block(self, uint32_t room) except NULL:
        cdef Block *block = self.blocks
        if room <= BLOCK_BYTES and block != NULL:
            self.blocks = block.next
            return block
        block = <Block *>malloc(sizeof(Block))
        if block == NULL:
            raise MemoryError
        block.room = room if room > BLOCK_BYTES else BLOCK_BYTES
        block.data = <char *>malloc(block.room)
        if block.data == NULL:
            free(block)
            raise MemoryError
        EDGE_LIVE_ADD("block")
        return block

    cdef void give_block(self, Block *block) noexcept:
        if block.room > BLOCK_BYTES:
            free(block.data)
            free(block)
            EDGE_LIVE_SUB("block")
            return
        block.next = self.blocks
        self.blocks = block

    cdef char *scratch(self, uint32_t room) except NULL:
        """At least `room` bytes, valid until the next call."""
        if room > self.out_room:
            free(self.out)
            self.out_room = 0
            self.out = <char *>malloc(room)
            if self.out == NULL:
                raise MemoryError
            self.out_room = room
        return self.out


cdef class Entry:
    """Where the requests of one listener enter the chain; call it to make a connection."""

    def __init__(self, Site site, Recipe recipe, *, Tier cdn=None, Tier elb=None, Tier haproxy=None,
                 bint needs_uri=False, uint32_t answer_ms, uint32_t between_ms, int answer_kind):
        self.site = site
        self.recipe = recipe
        self.cdn = cdn
        self.elb = elb
        self.haproxy = haproxy
        self.needs_uri = needs_uri
        self.tier = cdn if cdn is not None else (elb if elb is not None else haproxy)
        self.answer_ms = answer_ms
        self.between_ms = between_ms
        self.answer_kind = answer_kind

    def __call__(self):
        return Session(self)


# == the session ====================================================================================

cdef class Session(Exchange):

    def __cinit__(self, Entry entry):
        self.entry = entry
        self.site = entry.site
        self.wheel = entry.site.wheel
        self.input = entry.site.input

    # -- connection ----------------------------------------------------------------------------

    cdef int on_made(self) except -1:
        cdef Tier tier = self.entry.tier
        peer = self.transport.get_extra_info("peername")
        cdef bytes text = peer[0].encode() if isinstance(peer, tuple) else b"unknown"
        self.client_size = <uint8_t>min(len(text), 45)
        memcpy(self.client, <const char *>text, self.client_size)
        self.source_hash = hash_bytes(self.client, self.client_size)
        self.next = self.site.first
        if self.next is not None:
            self.next.prev = self
        self.site.first = self
        self.site.sessions += 1
        tier.cells[TC_CONNECTIONS] += 1
        tier.cells[TC_CONNECTIONS_OPEN] += 1
        self.handed = True
        if tier.connections_max and tier.cells[TC_CONNECTIONS_OPEN] > tier.connections_max:
            self.send_bytes(build_answer(tier.kind, 503, close=True,
                                         retry_after_s=tier.retry_after_s))
            return self.linger()
        self.arm(tier.http_request_ms)
        return 0

    cdef int on_lost(self, bint reset) except -1:
        if self.next is not None:
            self.next.prev = self.prev
        if self.prev is not None:
            self.prev.next = self.next
        elif self.site.first is self:
            self.site.first = self.next
        self.next = None
        self.prev = None
        if self.handed:
            self.handed = False
            self.site.sessions -= 1
            self.entry.tier.cells[TC_CONNECTIONS_OPEN] -= 1
        return self.leave()

    cdef int leave(self) except -1:
        """The client is gone: end what runs for it."""
        if self.phase == IDLE or self.phase == LINGER:
            return 0
        if self.phase != TUNNEL:
            self.entry.tier.cells[TC_CLIENT_ABORTS] += 1
            if self.server is not None:
                self.server.cells[SC_CLIENT_ABORTS] += 1
        if self.status == 0:
            self.status = -1
        self.node_keeps = False
        self.forget_request()
        self.phase = LINGER
        step_log(self)
        return 0

    cdef void forget_request(self) noexcept:
        """Leave the queue or the connect that is waited for."""
        cdef Tier tier
        if self.queued:
            self.queued = False
            tier = self.passed_queue()
            tier.cells[TC_QUEUED] -= 1
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting = None

    cdef Tier passed_queue(self):
        """The tier in whose queue this request stands."""
        if self.row == HAPROXY:
            return self.passed_haproxy
        return self.passed_elb if self.row == ELB else self.entry.cdn

    cdef int arm(self, uint32_t ms) noexcept:
        self.wheel.arm(&self.timer, now_ms() + ms)
        return 0

    cdef int fail_with(self, int status, Tier tier) noexcept:
        """Remember what to answer; the row that answers it."""
        self.status = status
        self.blamed = tier
        return ERROR

    # -- the engine ----------------------------------------------------------------------------

    cdef int run(self, int step) except -1:
        """Run rows until one waits or the request is done."""
        while step < WAIT:
            step = STEPS[step](self)
        if step == DONE:
            self.after()
        return 0

    cdef int resume_at(self, int step) except -1:
        """Re-enter at a row, with the body bytes that were kept meanwhile."""
        cdef bint inside = self.in_use
        self.part = self.kept.data
        self.part_size = self.kept.size
        self.part_used = 0
        self.in_use = True
        self.run(step)
        self.in_use = inside
        drop_front(&self.kept, self.part_used)
        self.part = NULL
        self.part_size = 0
        self.part_used = 0
        if not inside:
            self.use_kept()
        return 0

    cdef int after(self) except -1:
        """The request is over: the next one, or the end of the connection."""
        self.status = 0
        self.target = None
        self.tried_count = 0
        self.queue_due_ms = 0
        self.answer_done = False
        self.interims = 0
        if self.lost or self.phase == LINGER:
            return 0
        if self.close_after or self.closing or self.broken:
            return self.linger()
        self.phase = IDLE
        self.arm(DRAIN_IDLE_MS if self.site.draining else self.entry.tier.keep_alive_ms)
        if self.client_ended and not self.kept.size:
            return self.close()
        if self.kept.size and not self.in_use:
            self.use_kept()
        if self.paused and not self.kept.size:
            self.resume()
        return 0

    cdef int linger(self) except -1:
        """Close so that the answer arrives: FIN, then read and drop until the peer's FIN.

        A plain close with unread input would send RST, which can destroy the answer on its way
        (RFC 9112 §9.6).
        """
        self.phase = LINGER
        if self.client_ended or (self.request_done and not self.kept.size and self.requests):
            return self.close()
        release(&self.kept)
        self.half_close()
        self.resume()
        self.arm(LINGER_MS)
        return 0

    # -- from the client -----------------------------------------------------------------------

    cdef int on_data(self, char *p, uint32_t n) except -1:
        cdef uint32_t used
        cdef iovec part
        if self.phase == LINGER:
            return 0
        self.entry.tier.cells[TC_BYTES_IN] += n
        if self.phase == TUNNEL:
            if self.kept.size:
                part.iov_base = self.kept.data
                part.iov_len = self.kept.size
                self.node.send(&part, 1)
                release(&self.kept)
            part.iov_base = p
            part.iov_len = n
            self.node.send(&part, 1 if n else 0)
            self.arm(self.server.tier.tunnel_ms)
            if self.node.blocked:
                self.pause()
            return 0
        if self.kept.size:
            keep(&self.kept, p, n)
            self.use_kept()
        else:
            used = self.use(p, n)
            if used < n and not self.lost and self.phase != LINGER:
                keep(&self.kept, p + used, n - used)
                if self.phase == TUNNEL:
                    return self.on_data(NULL, 0)
        # Back-pressure: a body that waits for its connection, and requests that come faster
        # than their answers go, stay in the kernel.
        if self.kept.size and (self.phase == WAITING or self.kept.size > PIPELINE_BYTES_MAX):
            self.pause()
        return 0

    cdef int use_kept(self) except -1:
        cdef uint32_t used
        if self.in_use or not self.kept.size or self.lost or self.phase == LINGER:
            return 0
        used = self.use(self.kept.data, self.kept.size)
        drop_front(&self.kept, used)
        return 0

    cdef uint32_t use(self, char *p, uint32_t n) except? 0xFFFFFFFF:
        """Use bytes from the client; how many. The rest waits for more bytes or for an event."""
        cdef uint32_t at = 0
        cdef int rc
        self.in_use = True
        while at < n and not self.closing and not self.lost:
            if self.phase == IDLE:
                rc = parse_request_head(p + at, n - at, &self.entry.tier.request_limits,
                                        &self.site.request)
                if rc == 0:
                    # The deadline of a head is total: more bytes do not extend it.
                    if at or (not self.kept.size and self.requests):
                        self.arm(self.entry.tier.http_request_ms)
                    break
                if rc < 0:
                    self.refuse(-rc)
                    at = n
                    break
                at += rc
            elif self.request_done or (self.phase != AWAIT and self.phase != RELAY):
                break
            self.part = p + at
            self.part_size = n - at
            self.part_used = 0
            if self.phase == IDLE:
                self.run(RECEIVE)
            else:
                self.send_part(False)
                if self.phase == AWAIT and self.status:
                    self.run(ERROR)
                elif self.part_used == 0:
                    break
            at += self.part_used
        self.part = NULL
        self.part_size = 0
        self.part_used = 0
        self.in_use = False
        return at if self.phase != LINGER else n

    cdef int refuse(self, int reason) except -1:
        """Answer a head that was not accepted, and close. No step has run."""
        cdef Tier tier = self.entry.tier
        cdef int status = REFUSED_STATUS[reason]
        tier.cells[TC_REQUESTS] += 1
        tier.cells[TC_REQUEST_ERRORS] += 1
        tier.cells[TC_1XX + status // 100 - 1] += 1
        self.request_done = False
        self.send_bytes(build_answer(tier.kind, status, close=True))
        return self.linger()

    cdef int on_eof(self) except -1:
        self.client_ended = True
        if self.phase == TUNNEL:
            self.node.half_close()
            return self.tunnel_end(False)
        if self.phase == LINGER:
            return self.close()
        if self.phase == IDLE:
            if self.kept.size:                 # half a head, then FIN
                self.refuse_cut()
            return self.close()
        if not self.request_done:              # a cut body: the server must see it as cut
            self.leave()
            return self.close()
        return 0                               # half-close after a whole request is legal

    cdef int refuse_cut(self) except -1:
        self.entry.tier.cells[TC_REQUEST_ERRORS] += 1
        return self.send_bytes(build_answer(self.entry.tier.kind, 400, close=True))

    cdef int on_writable(self) except -1:
        if self.node is not None and (self.phase == RELAY or self.phase == TUNNEL):
            self.arm(self.entry.between_ms if self.phase == RELAY
                     else self.server.tier.tunnel_ms)
            self.node.resume()
        return 0

    # -- choosing a server ---------------------------------------------------------------------

    cdef int choose(self, Tier tier, int row) except -1:
        """Pick and take a server of a tier: FETCH, WAIT (queued at `row`) or ERROR."""
        cdef uint64_t key = 0
        cdef int index
        cdef Server server
        cdef bint again = self.queue_due_ms != 0
        if tier.key_kind:
            key = self.source_hash if tier.key_kind == 1 else self.uri_hash
        index = tier.balancer.pick(key, self.tried, self.tried_count)
        if index >= 0:
            server = <Server>tier.servers[index]
            if server.take():
                self.server = server
                if self.tried_count == 0:
                    self.attempts_left = <int>tier.retries
                return FETCH
        elif index == PICK_NONE:
            tier.cells[TC_NO_SERVER] += 1
            return self.fail_with(503, tier)
        self.phase = WAITING
        self.wait = WAIT_SLOT
        self.row = row
        if not again:
            self.queue_due_ms = now_ms() + tier.queue_ms
        self.wheel.arm(&self.timer, self.queue_due_ms)
        tier.enqueue(self, again)
        return WAIT

    cdef int on_slot(self) except -1:
        return self.resume_at(self.row)

    cdef int on_connected(self, NodeConnection node) except -1:
        self.connecting = None
        self.node = node
        node.exchange = self
        self.resume()
        return self.resume_at(FETCH)

    cdef int on_connect_failed(self, int failure) except -1:
        self.connecting = None
        return self.attempt_failed(failure)

    # -- to the server -------------------------------------------------------------------------

    cdef int send_part(self, bint with_head) except -1:
        """Send what is at hand of the request: the block (head) if asked, then body bytes."""
        cdef iovec parts[5]
        cdef int count = 0, rc, i
        cdef uint32_t left = self.part_size - self.part_used, size = 0, used = 0, total = 0
        cdef char *p = self.part + self.part_used
        cdef char *payload = p
        cdef char size_line[20]
        cdef bint last = self.request_done
        if with_head:
            parts[0].iov_base = self.block.data
            parts[0].iov_len = self.block.size
            count = 1
        if left and not self.request_done:
            if self.request_body == BODY_LENGTH:
                size = left if <int64_t>left < self.request_left else <uint32_t>self.request_left
                used = size
                self.request_left -= size
                last = self.request_left == 0
            else:
                rc = chunked_decode(&self.request_chunks, p, left, &payload, &size)
                if rc < 0:
                    return self.bad_body(-rc, with_head)
                used = rc
                if self.request_chunks.state == CHUNK_TRAILERS:
                    rc = parse_trailers(p + used, left - used,
                                        self.request_chunks.trailer_bytes_max, &self.site.request)
                    if rc < 0:
                        return self.bad_body(-rc, with_head)
                    used += rc
                    last = rc > 0
            self.request_bytes += size
            if self.entry.tier.body_bytes_max and self.request_bytes > self.entry.tier.body_bytes_max:
                return self.bad_body(<int>Refused.BODY_TOO_LONG, with_head)
            if self.request_body == BODY_CHUNKED and size:
                rc = write_hex(size_line, size)
                size_line[rc] = b'\r'
                size_line[rc + 1] = b'\n'
                parts[count].iov_base = size_line
                parts[count].iov_len = rc + 2
                count += 1
            if size:
                parts[count].iov_base = payload
                parts[count].iov_len = size
                count += 1
            if self.request_body == BODY_CHUNKED and size:
                parts[count].iov_base = <char *>b"\r\n"
                parts[count].iov_len = 2
                count += 1
            if self.request_body == BODY_CHUNKED and last:
                parts[count].iov_base = self.site.scratch(self.site.request.size + 1024
                                                          + used + 4 * self.site.request.count)
                parts[count].iov_len = build_trailers(&self.site.request,
                                                      <char *>parts[count].iov_base)
                count += 1
        self.part_used += used
        self.node.send(parts, count)
        for i in range(count):
            total += <uint32_t>parts[i].iov_len
        self.server.cells[SC_BYTES_IN] += total
        if self.block != NULL and self.replayable:
            self.hold(parts + (1 if with_head else 0), count - (1 if with_head else 0))
        self.request_done = last
        self.arm(self.entry.answer_ms if last else self.entry.tier.client_ms)
        if self.node.blocked and not last:
            self.pause()
        return 0

    cdef void hold(self, iovec *parts, int count) noexcept:
        """Keep body bytes behind the head for a retry, or give that up when they do not fit."""
        cdef int i
        for i in range(count):
            if self.block.size + parts[i].iov_len > self.block.room:
                self.replayable = False
                return
            memcpy(self.block.data + self.block.size, parts[i].iov_base, parts[i].iov_len)
            self.block.size += <uint32_t>parts[i].iov_len

    cdef int bad_body(self, int reason, bint unsent) except -1:
        """The body breaks the rules. `unsent`: the server has not seen a byte of the request."""
        cdef Tier tier = self.entry.tier
        tier.cells[TC_REQUEST_ERRORS] += 1
        self.part_used = self.part_size
        self.close_after = True
        if self.phase == RELAY:                # too late for an answer of ours
            return self.cut()
        if unsent:
            self.node.exchange = None
            self.server.checkin(self.node)
            self.node = None
        self.fail_with(REFUSED_STATUS[reason], tier)
        self.node_keeps = False
        if unsent:
            self.phase = WAITING
        return 0

    cdef int on_node_writable(self) except -1:
        if self.phase == AWAIT or self.phase == RELAY or self.phase == TUNNEL:
            self.resume()
        return 0

    # -- failures and retries ------------------------------------------------------------------

    cdef int attempt_failed(self, int failure) except -1:
        """One attempt has failed and the client has seen nothing: again, or an error."""
        cdef Server server = self.server
        cdef Tier tier = server.tier
        cdef bint unsent = failure == Failure.CONNECT_FAILED or failure == Failure.CONNECT_TIMEOUT
        if not unsent:
            server.cells[SC_RESPONSE_ERRORS] += 1
        # A kept connection that its server was just closing says nothing about the server: one
        # more attempt, whatever the tier's `retries`.
        if failure == Failure.CLOSED_REUSED and self.tried_count == 0 and self.attempts_left == 0:
            self.attempts_left = 1
        self.node_keeps = False
        self.let_go(False)
        if may_retry(failure, self.idempotent, self.replayable, self.attempts_left):
            if failure == Failure.ANSWER_TIMEOUT:
                tier = self.impatient()
                # Fastly says 503 where HAProxy and an ALB say 504.
                self.fail_with(503 if tier.kind == TIER_CDN else 504, tier)
            elif unsent:
                # lb.md §0.4: HAProxy says 503 for a failed connect, an ALB 502 or 504.
                self.fail_with(503 if tier.kind != TIER_ELB else
                               504 if failure == Failure.CONNECT_TIMEOUT else 502, tier)
            else:
                self.fail_with(502, tier)
            return self.resume_at(ERROR)
        self.attempts_left -= 1
        if self.tried_count < TRIED_MAX:
            self.tried[self.tried_count] = server.index
            self.tried_count += 1
        if tier.redispatch and tier.balancer.usable > 1:
            server.cells[SC_REDISPATCHES] += 1
            tier.cells[TC_REDISPATCHES] += 1
        else:
            server.cells[SC_RETRIES] += 1
            tier.cells[TC_RETRIES] += 1
            if unsent:                         # the same server: let it come back first
                self.phase = WAITING
                self.wait = WAIT_TURN
                self.row = self.tier_row(tier)
                self.arm(tier.connect_ms if tier.connect_ms < TURN_AROUND_MS else TURN_AROUND_MS)
                return 0
        return self.resume_at(self.tier_row(tier))

    cdef Tier impatient(self):
        """The tier whose time for an answer is the shortest."""
        if self.entry.answer_kind == TIER_CDN and self.entry.cdn is not None:
            return self.entry.cdn
        if self.entry.answer_kind == TIER_ELB and self.entry.elb is not None:
            return self.entry.elb
        return self.passed_haproxy if self.passed_haproxy is not None else self.entry.tier

    cdef int tier_row(self, Tier tier) noexcept:
        return PASS if tier.kind == TIER_CDN else (ELB if tier.kind == TIER_ELB else HAPROXY)

    cdef int let_go(self, bint keep) except -1:
        """Return the connection and the slot of the server."""
        cdef NodeConnection node = self.node
        cdef Server server = self.server
        cdef Server target = self.target
        self.node = None
        self.server = None
        if node is not None:
            node.exchange = None
            release(&node.kept)
            if keep and not node.ended and not node.broken and not node.blocked and not node.lost:
                node.resume()
                server.checkin(node)
            else:
                node.abort()
        if server is not None:
            server.give_back()
        if target is not None and self.status:
            self.target = None
            target.give_back()
        return 0

    # -- from the server -----------------------------------------------------------------------

    cdef int on_answer(self, char *p, uint32_t n) except -1:
        cdef NodeConnection node = self.node
        cdef uint32_t used
        cdef bint from_kept = node.kept.size > 0
        cdef iovec part
        self.server.cells[SC_BYTES_OUT] += n
        if self.phase == TUNNEL:
            part.iov_base = p
            part.iov_len = n
            self.send(&part, 1)
            self.entry.tier.cells[TC_BYTES_OUT] += n
            self.arm(self.server.tier.tunnel_ms)
            if self.blocked:
                node.pause()
            return 0
        if from_kept:
            keep(&node.kept, p, n)
            p = node.kept.data
            n = node.kept.size
        if self.phase == AWAIT:
            used = self.read_answer_head(p, n)
        else:
            self.part = p
            self.part_size = n
            self.part_used = 0
            self.relay(0)
            used = self.part_used
            self.part = NULL
            if self.answer_done:
                self.run(LOG)
        if self.node is not node:
            return 0                           # the exchange is over; nothing of it is kept
        if from_kept:
            drop_front(&node.kept, used)
        elif used < n:
            keep(&node.kept, p + used, n - used)
        return 0

    cdef uint32_t read_answer_head(self, char *p, uint32_t n) except? 0xFFFFFFFF:
        """Parse the answer's head, interim ones first; how many bytes were used."""
        cdef Head *h = &self.site.answer
        cdef uint32_t at = 0
        cdef iovec part
        cdef Text date
        cdef int rc
        while True:
            rc = parse_response_head(p + at, n - at, &self.site.answer_limits, self.method, h)
            if rc == 0:
                return at
            if rc < 0 or (h.status == 101 and not self.upgrade):
                self.attempt_failed(Failure.JUNK)
                return n
            at += rc
            if h.status >= 200 or h.status == 101:
                break
            self.interims += 1
            if self.interims > INTERIM_MAX:
                self.attempt_failed(Failure.JUNK)
                return n
            if self.minor == 1:                # RFC 9110 §15.2: not to HTTP/1.0 clients
                date.data = NULL
                date.size = 0
                part.iov_base = self.site.scratch(response_room(h, self.entry.recipe))
                part.iov_len = build_response(h, self.entry.recipe, FRAME_NONE, SAY_NOTHING,
                                              &date, <char *>part.iov_base)
                self.send(&part, 1)
        self.part = p + at
        self.part_size = n - at
        self.part_used = 0
        self.run(DELIVER)
        at += self.part_used
        self.part = NULL
        self.part_used = 0
        return at

    cdef int relay(self, uint32_t head_size) except -1:
        """Send what is at hand of the answer: the head from scratch if any, then body bytes.

        Sets answer_done at the end of the answer. Bytes behind the end are not used, and their
        connection is not kept.
        """
        cdef iovec parts[5]
        cdef int count = 0, rc, i
        cdef uint32_t left = self.part_size - self.part_used, size = 0, used = 0, room
        cdef char *p = self.part + self.part_used
        cdef char *payload = p
        cdef char size_line[20]
        cdef char *trailers = NULL
        if head_size:
            parts[0].iov_base = self.site.out
            parts[0].iov_len = head_size
            count = 1
        if self.answer_body == BODY_NONE:
            self.answer_done = True
        elif self.answer_body == BODY_LENGTH:
            size = left if <int64_t>left < self.answer_left else <uint32_t>self.answer_left
            used = size
            self.answer_left -= size
            self.answer_done = self.answer_left == 0
        elif self.answer_body == BODY_UNTIL_CLOSE:
            size = left
            used = left
        else:
            rc = chunked_decode(&self.answer_chunks, p, left, &payload, &size)
            if rc < 0:
                return self.cut_after(parts, count)
            used = rc
            if self.answer_chunks.state == CHUNK_TRAILERS:
                rc = parse_trailers(p + used, left - used, self.answer_chunks.trailer_bytes_max,
                                    &self.site.request)
                if rc < 0:
                    return self.cut_after(parts, count)
                used += rc
                self.answer_done = rc > 0
        self.part_used += used
        if used < left and self.answer_done:
            self.node_keeps = False
        if self.answer_framing == FRAME_CHUNKED and size:
            rc = write_hex(size_line, size)
            size_line[rc] = b'\r'
            size_line[rc + 1] = b'\n'
            parts[count].iov_base = size_line
            parts[count].iov_len = rc + 2
            count += 1
        if size:
            parts[count].iov_base = payload
            parts[count].iov_len = size
            count += 1
        if self.answer_framing == FRAME_CHUNKED and size:
            parts[count].iov_base = <char *>b"\r\n"
            parts[count].iov_len = 2
            count += 1
        if (self.answer_framing == FRAME_CHUNKED and self.answer_done
                and self.answer_body == BODY_CHUNKED):
            # Behind the head in the scratch memory, which may still be waiting to be sent.
            room = used + 8 + 4 * self.site.request.count
            trailers = <char *>malloc(room)
            if trailers == NULL:
                raise MemoryError
            parts[count].iov_base = trailers
            parts[count].iov_len = build_trailers(&self.site.request, trailers)
            count += 1
        self.send(parts, count)
        free(trailers)
        for i in range(count):
            self.entry.tier.cells[TC_BYTES_OUT] += parts[i].iov_len
        self.arm(self.entry.tier.client_ms if self.blocked else self.entry.between_ms)
        if self.blocked and not self.answer_done:
            self.node.pause()
        return 0

    cdef int cut_after(self, iovec *parts, int count) except -1:
        """The answer's body broke the rules: send what was valid, then cut."""
        self.part_used = self.part_size
        if count:
            self.send(parts, count)
        return self.cut()

    cdef int on_answer_end(self, bint reset) except -1:
        """The server closed (FIN) or reset the connection."""
        cdef NodeConnection node = self.node
        cdef iovec part
        if self.phase == TUNNEL:
            return self.tunnel_end(reset)
        if self.phase == AWAIT:
            return self.attempt_failed(
                Failure.CLOSED_PARTIAL if node.kept.size else
                Failure.CLOSED_REUSED if node.reused else Failure.CLOSED_EMPTY)
        if self.phase != RELAY:
            return 0
        if self.answer_body == BODY_UNTIL_CLOSE and not reset:
            if self.answer_framing == FRAME_CHUNKED:
                part.iov_base = <char *>b"0\r\n\r\n"
                part.iov_len = 5
                self.send(&part, 1)
            self.node_keeps = False
            self.answer_done = True
            return self.run(LOG)
        return self.cut()

    cdef int cut(self) except -1:
        """End an answer that cannot be completed, so that the client can tell (lb.md §5.1 I3)."""
        self.server.cells[SC_SERVER_ABORTS] += 1
        self.node_keeps = False
        self.answer_done = False
        step_log(self)
        self.phase = LINGER
        if self.answer_framing == FRAME_CLOSE:
            return self.reset()                # a FIN would look like the end of the body
        return self.close()

    # -- tunnels -------------------------------------------------------------------------------

    cdef int tunnel_end(self, bint reset) except -1:
        """One side of a tunnel ended: pass the FIN on; both sides: close."""
        cdef NodeConnection node = self.node
        if reset or node.lost:
            self.node_keeps = False
            step_log(self)
            self.phase = LINGER
            return self.reset() if reset else self.close()
        if node.ended:
            self.half_close()
        if node.ended and self.client_ended:
            self.node_keeps = False
            self.phase = LINGER
            self.node.exchange = None
            self.node.close()
            self.node = None
            step_log(self)
            return self.close()
        return 0

    # -- time ----------------------------------------------------------------------------------

    cdef int on_timer(self) except -1:
        cdef Tier tier = self.entry.tier
        if self.phase == IDLE:
            if self.kept.size:
                tier.cells[TC_REQUEST_ERRORS] += 1
                tier.cells[TC_REQUESTS] += 1
                tier.cells[TC_1XX + 3] += 1
                self.request_done = False
                self.send_bytes(build_answer(tier.kind, 408, close=True))
                return self.linger()
            return self.close()
        if self.phase == LINGER:
            return self.abort() if self.closing else self.close()
        if self.phase == WAITING:
            return self.waited_out()
        if self.phase == AWAIT:
            if self.request_done:
                return self.attempt_failed(Failure.ANSWER_TIMEOUT)
            tier.cells[TC_REQUEST_ERRORS] += 1
            self.close_after = True
            self.fail_with(408, tier)
            return self.resume_at(ERROR)
        if self.phase == TUNNEL:
            return self.tunnel_end(True)
        if self.blocked:                       # the client does not read
            self.leave()
            return self.abort()
        return self.cut()

    cdef int waited_out(self) except -1:
        cdef Tier tier
        if self.wait == WAIT_TURN:
            return self.resume_at(self.row)
        if self.wait == WAIT_SLOT:
            tier = self.passed_queue()
            tier.cells[TC_QUEUE_TIMEOUTS] += 1
            self.forget_request()
            self.fail_with(503, tier)
            return self.resume_at(ERROR)
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting.task.cancel()
            self.connecting = None
        self.server.note_connect(False)
        return self.attempt_failed(Failure.CONNECT_TIMEOUT)
