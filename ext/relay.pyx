"""The bytes between a client and a server: the request there, the answer back, retries, tunnels.

Theory. `send_part` sends what is at hand of the request; bytes from the server go to `on_answer`:
the answer's head re-enters the steps at `answer`, body bytes are relayed. `attempt_failed` asks
`may_retry`; the block is sent again. After 101 both sides are relayed as they are.

Ownership: `got` is borrowed from the read while on_answer() runs.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from ext.answers import BACKEND_FULL, FETCH_REASONS
from ext.arena cimport (
    TC_BYTES_OUT, TC_QUEUE_TIMEOUTS, TC_REDISPATCHES, TC_REQUEST_ERRORS, TC_RETRIES, SC_BYTES_IN,
    SC_BYTES_OUT, SC_REDISPATCHES, SC_RESPONSE_ERRORS, SC_RETRIES, SC_SERVER_ABORTS)
from ext.body cimport FRAME_BYTES, PARTS_MAX, Piece, add_part, body_take, frame_chunk
from ext.client cimport (
    ANSWER, AWAIT, ELB, ERROR, FETCH, HAPROXY, LINGER, LOG, PASS, RELAY, TUNNEL, WAITING,
    STREAM, WAIT_CONNECT, WAIT_SLOT, WAIT_TARPIT, WAIT_TURN)
from ext.forward cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_NONE, SAY_NOTHING, Text, build_response, build_trailers,
    response_room, trailers_room)
from ext.http1 cimport BODY_CHUNKED, BODY_UNTIL_CLOSE, H_UPGRADE, Head, parse_response_head
from ext.limits cimport INTERIM_MAX, TRIED_MAX, TURN_AROUND_MS, Refused
from ext.limits import REFUSED_STATUS
from ext.proxyline cimport PROXY_OUT_BYTES_MAX
from ext.observe cimport Observed, observed_status
from ext.retry cimport Failure, bit_of_status, may_retry, redispatches
from ext.site cimport at_least
from ext.stream cimport drop_front, keep, release
from ext.upstream cimport NodeConnection, Server, TIER_CDN, TIER_ELB, Tier
from posix.uio cimport iovec

cdef enum:
    GATHER_BYTES = 4096            # copying a small body costs less than a second part to send


cdef int[9] OBSERVED                   # of Failure
OBSERVED[:] = [0, <int>Observed.L4_ERROR, <int>Observed.L4_ERROR, 0, <int>Observed.HTTP_CLOSED,
               <int>Observed.HTTP_CLOSED, <int>Observed.HTTP_BAD_HEAD,
               <int>Observed.HTTP_READ_TIMEOUT, 0]


cdef class Relay(Client):
    """A client connection whose request goes to a server."""

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
        self.arm(self.answer_ms if last else self.entry.tier.client_ms)
        return self.pause() if self.node.blocked and not last else 0

    cdef int send_last_chunk(self, iovec *parts, int count) except -1:
        """Append the last chunk with the trailers at hand; the new count."""
        cdef Head *trailers = &self.site.trailers
        cdef char *out
        if trailers.count == 0:
            return add_part(parts, count, b"0\r\n\r\n", 5)
        out = at_least(&self.site.tail, trailers_room(trailers))
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
        node.owner = self.serial
        if node.server.send_proxy:
            self.send_header(node)
        return self.resume_at(FETCH)

    cdef int send_header(self, NodeConnection node) except -1:
        """The PROXY header: nothing may come before it."""
        cdef char header[PROXY_OUT_BYTES_MAX]
        cdef iovec part
        add_part(&part, 0, header, self.write_header(node, header))
        return node.send(&part, 1)

    cdef int on_connect_failed(self, int failure) except -1:
        self.connecting = None
        return self.attempt_failed(failure)

    cdef int attempt_failed(self, int failure) except -1:
        """One attempt has failed and the client has seen nothing: again, or an error."""
        cdef Server server = self.server
        cdef Tier tier = server.tier
        cdef bint unsent = failure == Failure.CONNECT_FAILED or failure == Failure.CONNECT_TIMEOUT
        cdef bint bound = self.same is server
        cdef bint moves
        if not unsent and failure != Failure.REFUSED_BY_STATUS:
            server.cells[SC_RESPONSE_ERRORS] += 1
            if failure != Failure.CLOSED_REUSED:
                server.observe(OBSERVED[failure])
        # A kept connection that its server was just closing says nothing about the server: one
        # more attempt, whatever the tier's `retries`.
        if failure == Failure.CLOSED_REUSED and self.tried_count == 0 and self.attempts_left == 0:
            self.attempts_left = 1
        self.node_keeps = False
        self.let_go(False)
        if self.ends_here(failure, tier):
            return self.fail_attempt(failure, tier)
        self.attempts_left -= 1
        if self.tried_count < TRIED_MAX:
            self.tried[self.tried_count] = server.index
            self.tried_count += 1
        tier.balancer.refresh()
        moves = redispatches(tier.redispatch_after, <int>tier.retries,
                             max(1, <int>tier.retries - self.attempts_left), bound,
                             tier.is_hash, server.is_up(), tier.balancer.usable)
        self.same = None if moves else server
        if moves and tier.balancer.usable > 1:
            server.cells[SC_REDISPATCHES] += 1
            tier.cells[TC_REDISPATCHES] += 1
        else:
            server.cells[SC_RETRIES] += 1
            tier.cells[TC_RETRIES] += 1
            if unsent:                         # the same server: let it come back first
                self.phase = WAITING
                self.wait = WAIT_TURN
                self.row = self.tier_row(tier)
                return self.arm(min(tier.connect_ms, <uint32_t>TURN_AROUND_MS))
        return self.resume_at(self.tier_row(tier))

    cdef bint ends_here(self, int failure, Tier tier) noexcept:
        """Is there no further attempt? `once`: HAProxy's disable-l7-retry."""
        return may_retry(failure, tier.retry_on, self.idempotent,
                         tier.retry_unsafe and not self.once, self.replayable,
                         self.attempts_left) != 0

    cdef bint heed_status(self, int status) except -1:
        """Passive health, and `retry_on` a status. True if the answer is not used: another attempt
        is under way."""
        cdef Tier tier = self.server.tier
        self.server.observe(observed_status(status))
        if (not tier.retry_on & bit_of_status(status)
                or self.ends_here(Failure.REFUSED_BY_STATUS, tier)):
            return False
        self.attempt_failed(Failure.REFUSED_BY_STATUS)
        return True

    cdef int fail_attempt(self, int failure, Tier tier) except -1:
        """No further attempt: the error that the tier's original would answer."""
        if failure == Failure.ANSWER_TIMEOUT:
            tier = self.impatient()
        if tier.kind == TIER_CDN:              # at Fastly every failed fetch is a 503
            self.reason = FETCH_REASONS[failure]
            self.fail_with(503, tier)
        elif failure == Failure.ANSWER_TIMEOUT:
            self.fail_with(504, tier)
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
            return self.backend
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

    cdef int give_up_connect(self) except -1:
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting.task.cancel()
            self.connecting = None
        return 0

    cdef int on_killed(self, bint by_server) except -1:
        if by_server and self.phase == WAITING and self.wait == WAIT_CONNECT:
            self.give_up_connect()             # nothing was sent: another server may have it
            return self.attempt_failed(Failure.CONNECT_FAILED)
        if self.phase == AWAIT or self.phase == WAITING:
            self.leave_queue()
            self.node_keeps = False
            self.made = None                   # what a tarpit holds back
            self.fail_with(502, self.server.tier if self.server is not None else self.entry.tier)
            return self.resume_at(ERROR)
        if self.phase == RELAY or self.phase == STREAM:
            return self.cut()
        if self.phase == TUNNEL:
            self.leave()
            self.arm(self.entry.tier.client_ms)
            return self.close()
        return 0

    cdef int waited_out(self) except -1:
        """A deadline of phase WAITING has passed."""
        cdef Tier tier
        if self.wait == WAIT_TURN or self.wait == WAIT_TARPIT:
            return self.resume_at(self.row)
        if self.wait == WAIT_SLOT:
            tier = self.queue_tier()
            tier.cells[TC_QUEUE_TIMEOUTS] += 1
            self.reason = BACKEND_FULL
            self.leave_queue()
            self.fail_with(503, tier)
            return self.resume_at(ERROR)
        self.give_up_connect()
        self.server.note_connect(False)
        self.server.drop_idle()
        return self.attempt_failed(Failure.CONNECT_TIMEOUT)

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
            rc = parse_response_head(p + at, n - at, &self.site.answer_limits,
                                     self.sent_method, h)
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
        if self.server.tier.heeds_status and self.heed_status(h.status):
            return n
        self.got = p + at
        self.got_size = n - at
        self.got_used = 0
        self.run(ANSWER)
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
            count = add_part(parts, count, self.site.out.data, head_size)
        if body_take(&self.answer_body, self.got + self.got_used, self.got_size - self.got_used,
                     &self.site.trailers, &piece) < 0:
            self.got_used = self.got_size
            self.server.observe(<int>Observed.HTTP_BAD_BODY)
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
            memcpy(self.site.out.data + head_size, piece.payload, piece.size)
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
        if self.server is not None:
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

    cdef int on_tunnel_over(self) except -1:
        self.phase = LINGER
        self.node_keeps = False
        self.log()
        return self.arm(self.entry.tier.client_ms)
