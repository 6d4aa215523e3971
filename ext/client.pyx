"""A client connection: takes requests from it, keeps time, ends it.

Theory. A connection is in one Phase. Bytes from the client go to `use`: a head starts the steps
(IDLE), body bytes are sent on (AWAIT, RELAY), anything else is kept until its time. Events of
others (a free slot, a connection, a deadline) re-enter the steps through `resume_at`. What happens
on the other side is relay.pyx (a server) and cached.pyx (the cache).

Back-pressure: each direction holds at most one read. Who feeds a socket that is full stops
reading the other side until it is writable; requests that outrun their answers stay in the kernel.

Deadlines: one timer, whose meaning is the phase's (see on_timer). Ends: `log` counts and lets the
server go, once per request.

Ownership: the block and `kept` are ours; `part` is borrowed from the read while use() runs.
"""
from libc.string cimport memchr

from ext.answers import ELB_REFUSALS, build_answer
from ext.arena cimport (
    TC_1XX, TC_BYTES_IN, TC_CLIENT_ABORTS, TC_CONNECTIONS, TC_CONNECTIONS_OPEN, TC_REQUESTS,
    TC_PROXY_ERRORS, TC_REQUEST_ERRORS, SC_CLIENT_ABORTS, ArenaHead, edge_load32)
from ext.body cimport chunks_incomplete
from ext.http1 cimport (
    BODY_CHUNKED, H_EXPECT_CONTINUE, M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_PUT,
    parse_request_head)
from ext.limits cimport LINGER_MS, PIPELINE_BYTES_MAX, Refused
from ext.limits import REFUSED_STATUS
from ext.platform import EXCESS_ANSWERS
from ext.retry cimport Failure
from ext.stream cimport drop_front, keep, release
from ext.timers cimport now_us
from ext.trip cimport class_of
from ext.upstream cimport TIER_ELB

cdef enum:
    DRAIN_IDLE_MS = 1000           # an idle connection's last chance to send, when draining
    HOLD_MS = 50                   # longest wait for the end of a small chunked body
    HOLD_BYTES = 8192              # a larger one is streamed at once


cdef bint too_many(Tier tier) noexcept:
    """Is there one client connection more than an operator allows (`set maxconn`)?"""
    cdef ArenaHead *head = tier.arena.head
    cdef uint32_t of_tier = edge_load32(&tier.arena.tiers[tier.slot].maxconn)
    cdef uint32_t of_all = edge_load32(&head.maxconn)
    cdef uint64_t here = 0, everywhere = 0
    cdef uint32_t row, slot
    if of_tier == 0 and of_all == 0:
        return False
    for row in range(head.rows):
        here += tier.arena.tier_cells(row, tier.slot)[TC_CONNECTIONS_OPEN]
        for slot in range(head.tiers):
            everywhere += tier.arena.tier_cells(row, slot)[TC_CONNECTIONS_OPEN]
    return (of_tier and here > of_tier) or (of_all and everywhere > of_all)


cdef class Client(Tunnel):
    """The connection without the steps; `Session` in session.pyx adds `run` and `log`."""

    def __cinit__(self, Entry entry):
        self.entry = entry
        self.site = entry.site
        self.wheel = entry.site.wheel
        self.readiness = entry.site.readiness
        self.answer_ms = entry.answer_ms

    cdef int run(self, int step) except -1:
        """Run the steps from a row until one waits or the request is done."""
        return 0

    cdef int log(self) except -1:
        """Count the request and let its server go."""
        return 0

    # What the other side does: relay.pyx, cached.pyx.

    cdef int send_part(self, bint with_head) except -1:
        return 0

    cdef int attempt_failed(self, int failure) except -1:
        return 0

    cdef void leave_queue(self) noexcept:
        pass

    cdef int waited_out(self) except -1:
        return 0

    cdef int feed(self) except -1:
        return 0

    cdef int cut(self) except -1:
        return 0

    # -- connection ----------------------------------------------------------------------------

    cdef int on_made(self) except -1:
        cdef Tier tier = self.entry.tier
        self.meet(tier)
        self.site.join(self)
        self.site.serial += 1
        self.serial = self.site.serial
        self.made_us = now_us()
        tier.cells[TC_CONNECTIONS] += 1
        tier.cells[TC_CONNECTIONS_OPEN] += 1
        if ((tier.connections_max and tier.cells[TC_CONNECTIONS_OPEN] > tier.connections_max)
                or too_many(tier)):
            self.send_bytes(build_answer(tier.kind, 503, close=True,
                                         retry_after_s=tier.retry_after_s))
            return self.linger()
        self.head_timed = True
        if self.owes_header(self.entry.proxy):
            self.phase = GREET
        self.arm(tier.http_request_ms)
        return 0

    cdef int on_lost(self, bint reset) except -1:
        if self.joined:
            self.site.quit(self)
            self.entry.tier.cells[TC_CONNECTIONS_OPEN] -= 1
        return self.leave()

    cdef int on_drain(self) except -1:
        if self.phase == GREET or (
                self.phase == IDLE and not self.kept.size and not self.blocked):
            self.arm(DRAIN_IDLE_MS)            # a slow reader keeps its time
        return 0

    cdef int leave(self) except -1:
        """The client is gone: end what runs for it."""
        if self.phase == IDLE or self.phase >= LINGER:
            return 0
        if self.phase != TUNNEL:
            self.entry.tier.cells[TC_CLIENT_ABORTS] += 1
            if self.server is not None:
                self.server.cells[SC_CLIENT_ABORTS] += 1
        if self.status == 0:
            self.status = -1
        if self.phase == AWAIT and self.request_done and not self.safe:
            self.node.leave_to_itself(self.answer_ms)
            self.node = None
            self.server = None
        self.node_keeps = False
        self.leave_queue()
        self.phase = LINGER
        return self.log()

    cdef int drop(self) except -1:
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

    cdef void note_method(self, int method) noexcept:
        """A rule has changed the method that the server gets: what may be repeated follows it."""
        self.sent_method = <uint8_t>method
        self.idempotent = self.idempotent and (
            method == M_GET or method == M_HEAD or method == M_OPTIONS or method == M_PUT
            or method == M_DELETE)
        self.safe = self.safe and (method == M_GET or method == M_HEAD or method == M_OPTIONS)

    cdef uint32_t tunnel_wait(self) noexcept:
        return self.tunnel_ms if self.tunnel_ms else self.server.tier.tunnel_ms

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
        self.cookie.done = False
        self.one_use = False
        self.blamed = None
        self.reason = None
        self.made = None
        self.judged = False
        self.once = False
        self.tunnel_ms = 0
        self.tried_count = 0
        self.queue_due_ms = 0
        self.answer_done = False
        self.interims = 0
        self.priority_class = 0
        self.priority_offset = 0
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
        if self.phase >= LINGER:
            return self.greet(p, n) if self.phase == GREET else 0
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

    cdef int greet(self, const char *p, uint32_t n) except -1:
        """Bytes of a PROXY header; the first request may stand behind it."""
        if self.take_header(p, n) <= 0:
            return 0
        self.phase = IDLE
        self.arm(self.entry.tier.http_request_ms)
        self.use_kept()
        if self.phase != IDLE and self.kept.size > PIPELINE_BYTES_MAX:
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
        cdef int status = REFUSED_STATUS[reason], excess = 0
        cdef str words = ""
        if self.entry.cache is not None:
            excess = self.entry.cache.platform.excess_of(reason)
        if excess:
            status, words = EXCESS_ANSWERS[excess]
        if tier.kind == TIER_ELB:
            status = 505 if reason == Refused.BAD_VERSION else ELB_REFUSALS.get(status, status)
        tier.cells[TC_REQUESTS] += 1
        tier.cells[TC_REQUEST_ERRORS] += 1
        tier.cells[TC_1XX + class_of(status) - 1] += 1
        self.request_done = False
        self.send_bytes(build_answer(tier.kind, status, close=True, reason=words))
        return self.linger()

    cdef int on_eof(self) except -1:
        self.ended = True
        if self.phase == TUNNEL:
            return self.tunnel_end(False)
        if self.phase >= LINGER:
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
        if self.phase == STREAM:
            self.arm(self.entry.between_ms)
            return self.feed()
        if self.node is not None and (self.phase == RELAY or self.phase == TUNNEL):
            self.arm(self.entry.between_ms if self.phase == RELAY
                     else self.tunnel_wait())
            self.node.resume()
        return 0

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
        if self.phase == GREET:
            self.front[TC_PROXY_ERRORS] += 1
            return self.abort()
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
