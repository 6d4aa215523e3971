"""A client connection: moves bytes and keeps time for the request that the steps decide on.

Theory. A connection is in one Phase. Bytes from the client go to `use`: a head starts the steps
(IDLE), body bytes are sent on (AWAIT, RELAY), anything else is kept until its time. Bytes from the
server go to `on_answer`: the answer's head re-enters the steps at `deliver`, body bytes are
relayed. Events of others (a free slot, a connection, a deadline) re-enter through `resume_at`.

Back-pressure: each direction holds at most one read. Who feeds a socket that is full stops
reading the other side until it is writable; requests that outrun their answers stay in the kernel.

Deadlines: one timer, whose meaning is the phase's (see on_timer). Retries: `attempt_failed` asks
`may_retry`; the block is sent again. Ends: `log` counts and lets the server go, once per request.

Ownership: the block and `kept` are ours; `part` and `got` are borrowed from the read while use() or
on_answer() runs; `node.exchange` and `node` refer to each other and are cut together in `let_go`.
"""
from libc.string cimport memchr, memcpy

from ext.answers import build_answer
from ext.arena cimport (
    TC_1XX, TC_BYTES_IN, TC_BYTES_OUT, TC_CLIENT_ABORTS, TC_CONNECTIONS, TC_CONNECTIONS_OPEN,
    TC_QUEUE_TIMEOUTS, TC_REDISPATCHES, TC_REQUESTS, TC_REQUEST_ERRORS, TC_RETRIES,
    SC_BYTES_IN, SC_BYTES_OUT, SC_CLIENT_ABORTS, SC_REDISPATCHES, SC_RESPONSE_ERRORS, SC_RETRIES,
    SC_SERVER_ABORTS)
from ext.balance cimport hash_bytes
from ext.body cimport FRAME_BYTES, PARTS_MAX, add_part, body_take, chunks_incomplete, frame_chunk
from ext.forward cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_NONE, SAY_NOTHING, Text, build_response, build_trailers,
    response_room, trailers_room)
from ext.http1 cimport (
    BODY_CHUNKED, BODY_UNTIL_CLOSE, H_EXPECT_CONTINUE, H_UPGRADE, Head, parse_request_head,
    parse_response_head)
from ext.limits cimport INTERIM_MAX, LINGER_MS, PIPELINE_BYTES_MAX, Refused
from ext.limits import REFUSED_STATUS
from ext.stream cimport drop_front, keep, release
from ext.timers cimport now_ms
from ext.upstream cimport Failure, TIER_CDN, TIER_ELB, may_retry

cdef enum:
    DRAIN_IDLE_MS = 1000           # an idle connection's last chance to send, when draining
    TURN_AROUND_MS = 1000          # HAProxy's pause before the same server is tried again
    GATHER_BYTES = 4096            # copying a small body costs less than a second part to send
    HOLD_MS = 50                   # longest wait for the end of a small chunked body
    HOLD_BYTES = 8192              # a larger one is streamed at once


cdef class Client(Member):
    """The connection without the steps; `Session` in session.pyx adds `run` and `log`."""

    def __cinit__(self, Entry entry):
        self.entry = entry
        self.site = entry.site
        self.wheel = entry.site.wheel
        self.readiness = entry.site.readiness

    cdef int run(self, int step) except -1:
        """Run the steps from a row until one waits or the request is done."""
        return 0

    cdef int log(self) except -1:
        """Count the request and let its server go."""
        return 0

    # -- connection ----------------------------------------------------------------------------

    cdef int on_made(self) except -1:
        cdef Tier tier = self.entry.tier
        cdef bytes text
        peer = self.transport.get_extra_info("peername")
        text = peer[0].encode() if isinstance(peer, tuple) else b"unknown"
        self.address_size = <uint8_t>min(len(text), 45)
        memcpy(self.address, <const char *>text, self.address_size)
        self.source_hash = hash_bytes(self.address, self.address_size)
        self.site.join(self)
        tier.cells[TC_CONNECTIONS] += 1
        tier.cells[TC_CONNECTIONS_OPEN] += 1
        if tier.connections_max and tier.cells[TC_CONNECTIONS_OPEN] > tier.connections_max:
            self.send_bytes(build_answer(tier.kind, 503, close=True,
                                         retry_after_s=tier.retry_after_s))
            return self.linger()
        self.head_timed = True
        self.arm(tier.http_request_ms)
        return 0

    cdef int on_lost(self, bint reset) except -1:
        if self.joined:
            self.site.quit(self)
            self.entry.tier.cells[TC_CONNECTIONS_OPEN] -= 1
        return self.leave()

    cdef int on_drain(self) except -1:
        if self.phase == IDLE and not self.kept.size and not self.blocked:
            self.arm(DRAIN_IDLE_MS)            # a slow reader keeps its time
        return 0

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
        if self.phase == AWAIT and self.request_done and not self.safe:
            self.node.leave_to_itself(self.entry.answer_ms)
            self.node = None
            self.server = None
        self.node_keeps = False
        self.leave_queue()
        self.phase = LINGER
        return self.log()

    cdef int drop(self) except -1:
        """A write has failed: the read side may be paused and would not tell."""
        self.leave()
        return self.abort()

    cdef int linger(self) except -1:
        """Close so that the answer arrives: FIN, then read and drop until the peer's FIN.

        A plain close with unread input would send RST, which can destroy the answer on its way
        (RFC 9112 §9.6).
        """
        self.phase = LINGER
        if self.ended or (self.request_done and self.requests and not self.kept.size):
            self.arm(self.entry.tier.client_ms)    # for what the client has still to read
            return self.close()
        release(&self.kept)
        self.half_close()
        self.resume()
        self.arm(LINGER_MS)
        return 0

    cdef int arm(self, uint32_t ms) noexcept:
        self.wheel.arm(&self.timer, now_ms() + ms)
        return 0

    # -- engine --------------------------------------------------------------------------------

    cdef int fail_with(self, int status, Tier tier) noexcept:
        """Remember what to answer; the row that answers it."""
        self.status = status
        self.blamed = tier
        return ERROR

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
        if inside:
            return 0
        if self.phase == IDLE:
            return self.next_request()
        self.use_kept()
        return self.end_if_cut()

    cdef int after(self) except -1:
        """The request is over: the next one, or the end of the connection."""
        self.status = 0
        self.target = None
        self.same = None
        self.blamed = None
        self.tried_count = 0
        self.queue_due_ms = 0
        self.answer_done = False
        self.interims = 0
        if self.lost or self.phase == LINGER:
            return 0
        # What is left of a request that was answered early must never be read as the next one.
        if self.close_after or self.closing or self.broken or not self.request_done:
            return self.linger()
        self.phase = IDLE
        self.head_timed = False
        self.arm(self.idle_ms())
        return 0 if self.in_use else self.next_request()

    cdef uint32_t idle_ms(self) noexcept:
        return DRAIN_IDLE_MS if self.site.draining else self.entry.tier.keep_alive_ms

    cdef int next_request(self) except -1:
        """Go on with what the client has sent meanwhile. Not while it does not read: answers must
        not pile up here."""
        if self.blocked:
            self.arm(self.entry.tier.client_ms)
            return self.pause()
        self.use_kept()
        if self.phase != IDLE:
            return 0
        if self.ended:
            if self.kept.size:                 # half a head, then FIN
                self.refuse(<int>Refused.BAD_LINE_END)
            return self.close()
        return 0 if self.blocked else self.resume()

    cdef int read_on(self) except -1:
        """Read the client again, if this request needs it or little is kept of the next ones."""
        if not self.request_done or self.kept.size <= PIPELINE_BYTES_MAX:
            return self.resume()
        return 0

    # -- from the client -----------------------------------------------------------------------

    cdef int on_data(self, char *p, uint32_t n) except -1:
        cdef uint32_t used
        if self.phase == LINGER:
            return 0
        self.entry.tier.cells[TC_BYTES_IN] += n
        if self.phase == TUNNEL:
            return self.tunnel_in(p, n)
        if self.kept.size:
            keep(&self.kept, p, n)
            # A head that comes in drips is parsed again at line ends only.
            if (self.phase != IDLE or self.chunks_wait or memchr(p, b'\n', n) != NULL
                    or self.kept.size > self.entry.tier.request_limits.request_line_bytes):
                self.use_kept()
        else:
            used = self.use(p, n)
            if used < n and not self.lost and self.phase != LINGER:
                keep(&self.kept, p + used, n - used)
        if self.phase == TUNNEL:
            return self.tunnel_in(NULL, 0)
        # A little is kept while a request waits, so that its client's end is still noticed.
        if self.kept.size and (self.blocked or (
                self.phase != IDLE and self.kept.size > PIPELINE_BYTES_MAX)):
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
        while at < n and not self.closing and not self.lost and self.phase != LINGER:
            if self.phase == IDLE:
                if self.blocked:
                    break
                rc = parse_request_head(p + at, n - at, &self.entry.tier.request_limits,
                                        &self.site.request)
                if rc == 0:
                    if not self.head_timed:    # total: more bytes do not extend it
                        self.head_timed = True
                        self.arm(self.entry.tier.http_request_ms)
                    break
                if rc < 0:
                    self.refuse(-rc)
                    break
                if self.site.request.body == BODY_CHUNKED and self.hold_chunks(p + at + rc,
                                                                               n - at - rc):
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

    cdef bint hold_chunks(self, const char *p, uint32_t n) noexcept:
        """Wait a moment for the rest of a small chunked body, so that a server sees nothing of a
        request whose framing turns out to be bad. Streams go on after HOLD_MS or HOLD_BYTES."""
        if (self.chunks_wait == HOLD_OVER or n > HOLD_BYTES
                or self.site.request.flags & H_EXPECT_CONTINUE
                or not chunks_incomplete(p, n, self.entry.tier.extension_bytes_max,
                                         self.entry.tier.trailer_bytes_max)):
            self.chunks_wait = HOLD_NONE
            return False
        if self.chunks_wait == HOLD_NONE:
            self.chunks_wait = HOLD_ON
            self.arm(HOLD_MS)
        return True

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
        self.ended = True
        if self.phase == TUNNEL:
            self.node.half_close()
            return self.tunnel_end(False)
        if self.phase == LINGER:
            return self.close()
        if self.phase == IDLE:
            return self.next_request()
        # Half-close after a whole request is legal; a body that still waits here may be whole.
        return 0 if self.phase == WAITING else self.end_if_cut()

    cdef int end_if_cut(self) except -1:
        """A body that can no longer be completed: the server must see it as cut."""
        if self.ended and not self.request_done and (self.phase == AWAIT or self.phase == RELAY):
            self.leave()
            return self.close()
        return 0

    cdef int on_writable(self) except -1:
        if self.phase == IDLE:
            self.arm(self.idle_ms())
            return self.next_request()
        if self.node is not None and (self.phase == RELAY or self.phase == TUNNEL):
            self.arm(self.entry.between_ms if self.phase == RELAY
                     else self.server.tier.tunnel_ms)
            self.node.resume()
        return 0

    # -- to the server -------------------------------------------------------------------------

    cdef int send_part(self, bint with_head) except -1:
        """Send what is at hand of the request: the block (head) if asked, then body bytes.

        On a body that breaks the rules `status` is set instead, and when nothing had been sent of
        the request, nothing is.
        """
        cdef iovec parts[PARTS_MAX]
        cdef char size_line[FRAME_BYTES]
        cdef Piece piece
        cdef int count = 0, first, i, rc
        cdef uint64_t total = 0
        cdef bint last = self.request_done
        if with_head:
            count = add_part(parts, count, self.block.data, self.block.size)
        first = count
        if not last and self.part_used < self.part_size:
            rc = body_take(&self.request_body, self.part + self.part_used,
                           self.part_size - self.part_used, &self.site.trailers, &piece)
            if rc < 0:
                return self.bad_body(-rc, with_head)
            self.part_used += piece.used
            self.request_bytes += piece.size
            if (self.entry.tier.body_bytes_max
                    and self.request_bytes > self.entry.tier.body_bytes_max):
                return self.bad_body(<int>Refused.BODY_TOO_LONG, with_head)
            last = piece.last
            if self.request_body.kind == BODY_CHUNKED:
                count = frame_chunk(&piece, size_line, parts, count)
                if last:
                    count = self.send_last_chunk(parts, count)
            elif piece.size:
                count = add_part(parts, count, piece.payload, piece.size)
        self.node.send(parts, count)
        for i in range(count):
            total += parts[i].iov_len
        self.server.cells[SC_BYTES_IN] += total
        if self.block != NULL and self.replayable and count > first:
            self.hold(parts + first, count - first)
        self.request_done = last
        self.arm(self.entry.answer_ms if last else self.entry.tier.client_ms)
        return self.pause() if self.node.blocked and not last else 0

    cdef int send_last_chunk(self, iovec *parts, int count) except -1:
        """Append the last chunk with the trailers at hand; the new count."""
        cdef Head *trailers = &self.site.trailers
        cdef char *out
        if trailers.count == 0:
            return add_part(parts, count, b"0\r\n\r\n", 5)
        out = self.site.tail_scratch(trailers_room(trailers))
        return add_part(parts, count, out, build_trailers(trailers, out))

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
        """The body breaks the rules. `unsent`: no server has seen a byte of the request."""
        cdef Tier tier = self.entry.tier
        tier.cells[TC_REQUEST_ERRORS] += 1
        self.part_used = self.part_size
        self.close_after = True
        self.node_keeps = False
        if self.phase == RELAY:                # too late for an answer of ours
            return self.cut()
        if unsent:                             # the connection is as clean as it was
            self.node.exchange = None
            self.server.checkin(self.node)
            self.node = None
        self.fail_with(REFUSED_STATUS[reason], tier)
        return 0

    cdef int on_node_writable(self) except -1:
        if self.phase == TUNNEL:
            return self.resume()
        return self.read_on() if self.phase == AWAIT or self.phase == RELAY else 0

    # -- failures and retries ------------------------------------------------------------------

    cdef int on_slot(self) except -1:
        return self.resume_at(self.row)

    cdef int on_connected(self, NodeConnection node) except -1:
        self.connecting = None
        self.node = node
        node.exchange = self
        return self.resume_at(FETCH)

    cdef int on_connect_failed(self, int failure) except -1:
        self.connecting = None
        return self.attempt_failed(failure)

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
            return self.fail_attempt(failure, tier)
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
            if not tier.redispatch:
                self.same = server
            if unsent:                         # the same server: let it come back first
                self.phase = WAITING
                self.wait = WAIT_TURN
                self.row = self.tier_row(tier)
                return self.arm(min(tier.connect_ms, <uint32_t>TURN_AROUND_MS))
        return self.resume_at(self.tier_row(tier))

    cdef int fail_attempt(self, int failure, Tier tier) except -1:
        """No further attempt: the error that the tier's original would answer."""
        if failure == Failure.ANSWER_TIMEOUT:
            tier = self.impatient()
            # Fastly says 503 where HAProxy and an ALB say 504.
            self.fail_with(503 if tier.kind == TIER_CDN else 504, tier)
        elif failure != Failure.CONNECT_FAILED and failure != Failure.CONNECT_TIMEOUT:
            self.fail_with(502, tier)
        elif tier.kind != TIER_ELB:            # HAProxy says 503 for a failed connect
            self.fail_with(503, tier)
        else:                                  # and an ALB 502, or 504 when it took too long
            self.fail_with(504 if failure == Failure.CONNECT_TIMEOUT else 502, tier)
        return self.resume_at(ERROR)

    cdef Tier impatient(self):
        """The tier whose time for an answer is the shortest."""
        if self.entry.answer_kind == TIER_CDN and self.entry.cdn is not None:
            return self.entry.cdn
        if self.entry.answer_kind == TIER_ELB and self.entry.elb is not None:
            return self.entry.elb
        return self.passed_haproxy if self.passed_haproxy is not None else self.entry.tier

    cdef int tier_row(self, Tier tier) noexcept:
        """The row in which a tier picks its server."""
        return PASS if tier.kind == TIER_CDN else (ELB if tier.kind == TIER_ELB else HAPROXY)

    cdef Tier queue_tier(self):
        """The tier in whose queue this request stands."""
        if self.row == HAPROXY:
            return self.passed_haproxy
        return self.passed_elb if self.row == ELB else self.entry.cdn

    cdef void leave_queue(self) noexcept:
        """Leave the queue or the connect that is waited for."""
        cdef Tier tier
        if self.queued:
            tier = self.queue_tier()
            tier.dequeue(self)
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting = None

    cdef int let_go(self, bint reusable) except -1:
        """Return the connection and the slot of the server, and the elb's at the end."""
        cdef NodeConnection node = self.node
        cdef Server server = self.server
        cdef Server target = self.target if self.status else None
        self.node = None
        self.server = None
        if target is not None:
            self.target = None
        if node is not None:
            node.exchange = None
            release(&node.kept)
            if reusable and not (node.ended or node.broken or node.blocked or node.lost):
                node.resume()
                server.checkin(node)
            else:
                node.abort()
        if server is not None:
            server.give_back()
        if target is not None:
            target.give_back()
        return 0

    # -- from the server -----------------------------------------------------------------------

    cdef int on_answer(self, char *p, uint32_t n) except -1:
        cdef NodeConnection node = self.node
        cdef uint32_t used, serial = self.requests
        cdef bint from_kept = node.kept.size > 0
        self.server.cells[SC_BYTES_OUT] += n
        if self.phase == TUNNEL:
            return self.tunnel_out(p, n)
        if from_kept:
            keep(&node.kept, p, n)
            p = node.kept.data
            n = node.kept.size
        if self.phase == AWAIT:
            used = self.read_answer_head(p, n)
        else:
            self.got = p
            self.got_size = n
            self.got_used = 0
            self.relay(0)
            used = self.got_used
            if self.answer_done and self.phase == RELAY:
                self.run(LOG)
        # `node` may be free by now, or serve the next request of this very client.
        if self.node is not node or self.requests != serial:
            return 0
        if self.phase == TUNNEL:
            if used < n:                       # came right behind the 101
                self.tunnel_out(p + used, n - used)
            if from_kept:
                release(&node.kept)
            return 0
        if from_kept:
            drop_front(&node.kept, used)
        elif used < n:
            keep(&node.kept, p + used, n - used)
        return 0

    cdef uint32_t read_answer_head(self, char *p, uint32_t n) except? 0xFFFFFFFF:
        """Parse the answer's head, interim ones first; how many bytes were used."""
        cdef Head *h = &self.site.answer
        cdef uint32_t at = 0
        cdef int rc
        while True:
            rc = parse_response_head(p + at, n - at, &self.site.answer_limits, self.method, h)
            if rc == 0:
                return at
            # A switch that was not asked for, or that does not say to what (RFC 9110 §15.2.2).
            if rc < 0 or (h.status == 101 and not (self.upgrade and h.flags & H_UPGRADE)):
                self.attempt_failed(Failure.JUNK)
                return n
            at += rc
            if h.status >= 200 or h.status == 101:
                break
            self.interims += 1
            if self.interims > INTERIM_MAX:
                self.attempt_failed(Failure.JUNK)
                return n
            self.send_interim()
        self.got = p + at
        self.got_size = n - at
        self.got_used = 0
        self.run(DELIVER)
        return at + self.got_used

    cdef int send_interim(self) except -1:
        """Pass on a 1xx head, but not to an HTTP/1.0 client (RFC 9110 §15.2)."""
        cdef Head *h = &self.site.answer
        cdef Text no_date
        cdef iovec part
        if self.minor == 0:
            return 0
        no_date.data = NULL
        no_date.size = 0
        part.iov_base = self.site.scratch(response_room(h, self.entry.recipe))
        part.iov_len = build_response(h, self.entry.recipe, FRAME_NONE, SAY_NOTHING, &no_date,
                                      <char *>part.iov_base)
        return self.send(&part, 1)

    cdef int relay(self, uint32_t head_size) except -1:
        """Send what is at hand of the answer: the head from scratch if any, then body bytes.

        Sets answer_done at its end; bytes behind it are not used, and their connection is not
        kept. Answers 1, and sends nothing, if the body that came with the head is bad.
        """
        cdef iovec parts[PARTS_MAX]
        cdef char size_line[FRAME_BYTES]
        cdef Piece piece
        cdef int count = 0, i
        cdef uint64_t total = 0
        if head_size:
            count = add_part(parts, count, self.site.out, head_size)
        if body_take(&self.answer_body, self.got + self.got_used, self.got_size - self.got_used,
                     &self.site.trailers, &piece) < 0:
            self.got_used = self.got_size
            if head_size:                      # the client has seen nothing: not too late
                return 1
            return self.cut()
        self.got_used += piece.used
        self.answer_done = piece.last
        if piece.last and self.got_used < self.got_size:
            self.node_keeps = False
        if self.answer_framing == FRAME_CHUNKED:
            count = frame_chunk(&piece, size_line, parts, count)
            if piece.last and self.answer_body.kind == BODY_CHUNKED:
                count = self.send_last_chunk(parts, count)
        elif head_size and head_size + piece.size <= GATHER_BYTES:
            memcpy(self.site.out + head_size, piece.payload, piece.size)
            parts[0].iov_len = head_size + piece.size
        elif piece.size:
            count = add_part(parts, count, piece.payload, piece.size)
        self.send(parts, count)
        for i in range(count):
            total += parts[i].iov_len
        self.entry.tier.cells[TC_BYTES_OUT] += total
        if self.broken and not self.answer_done:
            return self.drop()
        self.arm(self.entry.tier.client_ms if self.blocked else self.entry.between_ms)
        return self.node.pause() if self.blocked and not self.answer_done else 0

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
        if self.answer_body.kind == BODY_UNTIL_CLOSE and not reset:
            if self.answer_framing == FRAME_CHUNKED:
                add_part(&part, 0, b"0\r\n\r\n", 5)
                self.send(&part, 1)
            self.node_keeps = False
            self.answer_done = True
            return self.run(LOG)
        return self.cut()

    cdef int cut(self) except -1:
        """End an answer that cannot be completed, so that the client can tell."""
        self.server.cells[SC_SERVER_ABORTS] += 1
        self.node_keeps = False
        self.answer_done = False
        self.phase = LINGER
        self.log()
        if self.answer_framing == FRAME_CLOSE:
            return self.reset()                # a FIN would look like the end of the body
        self.arm(self.entry.tier.client_ms)
        return self.close()

    # -- tunnels -------------------------------------------------------------------------------

    cdef int tunnel_in(self, char *p, uint32_t n) except -1:
        """From the client, with what it sent before the tunnel stood."""
        cdef iovec parts[2]
        cdef int count = 0
        if self.kept.size:
            count = add_part(parts, count, self.kept.data, self.kept.size)
        if n:
            count = add_part(parts, count, p, n)
        self.node.send(parts, count)
        release(&self.kept)
        if self.node.broken:
            return self.drop()
        self.server.cells[SC_BYTES_IN] += n
        self.arm(self.server.tier.tunnel_ms)
        return self.pause() if self.node.blocked else 0

    cdef int tunnel_out(self, char *p, uint32_t n) except -1:
        cdef iovec part
        add_part(&part, 0, p, n)
        self.send(&part, 1)
        if self.broken:
            return self.drop()
        self.entry.tier.cells[TC_BYTES_OUT] += n
        self.arm(self.server.tier.tunnel_ms)
        return self.node.pause() if self.blocked else 0

    cdef int tunnel_end(self, bint reset) except -1:
        """One side of a tunnel ended: pass the FIN on; both sides: close."""
        cdef NodeConnection node = self.node
        if not reset and not node.lost and not (node.ended and self.ended):
            return self.half_close() if node.ended else 0
        self.phase = LINGER
        self.node_keeps = False
        if not reset and not node.lost:
            node.exchange = None               # it may still hold bytes to send
            node.close()
            self.node = None
        self.log()
        if reset:
            return self.reset()
        self.arm(self.entry.tier.client_ms)
        return self.close()

    # -- time ----------------------------------------------------------------------------------

    cdef int on_timer(self) except -1:
        cdef Tier tier = self.entry.tier
        # `client` is a limit on silence: a client that reads, however slowly, has more time.
        if self.blocked and self.phase != TUNNEL and self.progress():
            return self.arm(tier.client_ms)
        if self.phase == IDLE:
            if self.chunks_wait == HOLD_ON:
                self.chunks_wait = HOLD_OVER
                return self.use_kept()
            if self.blocked:                   # the client does not read
                return self.reset()
            if self.kept.size:                 # a head that takes too long
                tier.cells[TC_REQUEST_ERRORS] += 1
                tier.cells[TC_REQUESTS] += 1
                tier.cells[TC_1XX + 3] += 1
                self.request_done = False
                self.send_bytes(build_answer(tier.kind, 408, close=True))
                return self.linger()
            return self.close()                # idle between requests: silently
        if self.phase == LINGER:
            if self.closing:
                return self.abort()
            self.arm(tier.client_ms)           # for what is still to be sent
            return self.close()
        if self.phase == WAITING:
            return self.waited_out()
        if self.phase == TUNNEL:
            self.leave()
            self.arm(tier.client_ms)
            return self.close()
        if self.phase == AWAIT:
            if self.request_done or self.node.blocked:
                return self.attempt_failed(Failure.ANSWER_TIMEOUT)
            tier.cells[TC_REQUEST_ERRORS] += 1
            self.close_after = True
            self.fail_with(408, tier)
            return self.resume_at(ERROR)
        if self.blocked:                       # the client does not read
            self.leave()
            return self.reset()
        return self.cut()

    cdef int waited_out(self) except -1:
        """A deadline of phase WAITING has passed."""
        cdef Tier tier
        if self.wait == WAIT_TURN:
            return self.resume_at(self.row)
        if self.wait == WAIT_SLOT:
            tier = self.queue_tier()
            tier.cells[TC_QUEUE_TIMEOUTS] += 1
            self.leave_queue()
            self.fail_with(503, tier)
            return self.resume_at(ERROR)
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting.task.cancel()
            self.connecting = None
        self.server.note_connect(False)
        return self.attempt_failed(Failure.CONNECT_TIMEOUT)
