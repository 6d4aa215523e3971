"""READ FIRST. A request enters here, and this table is its way through the program.

    receive -> hash -> lookup -> pass -> elb -> haproxy -> fetch -> deliver -> log
                                          ^--- retry ------|
    receive | pass | elb | haproxy | fetch | deliver -> error -> log

The rows carry the names of Fastly's state machine and of the tiers, because customers' VCL will run
in them; `lookup` sends every request to `pass` until the cdn tier has its cache. A tier that a
listener's chain does not have is not entered.

Theory. `run` calls the row's function, which answers the next row, or WAIT: then the request has
left, and an event (a free slot, a connection, the answer's head) re-enters at the same row, or at
`deliver`. Steps work on C data; the parsed head is the worker's scratch and is gone after the first
WAIT, so `pass` writes the request as the server will get it into a block before any step can
wait. How bytes move meanwhile is `client.pyx`.

Reading order: this file, client.pyx, upstream.pyx, balance.pyx, http1.pyx, forward.pyx.
"""
from ext.answers import build_answer
from ext.arena cimport (
    SC_1XX, SC_REQUESTS, SC_RESPONSE_ERRORS, TC_1XX, TC_IN_FLIGHT, TC_LATENCY_0,
    TC_LATENCY_SUM_US, TC_NO_SERVER, TC_REQUESTS, TC_REQUEST_ERRORS, latency_bucket)
from ext.balance cimport PICK_FULL, PICK_NONE, hash_bytes
from ext.body cimport body_start
from ext.client cimport (
    AWAIT, DONE, ELB, ERROR, FETCH, HAPROXY, HASH, LOG, LOOKUP, PASS, RELAY, TUNNEL, WAIT,
    WAITING, WAIT_CONNECT, WAIT_SLOT)
from ext.forward cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_NOTHING,
    SAY_UPGRADE, Recipe, Text, build_request, build_response, request_room, response_room)
from ext.http1 cimport (
    BODY_CHUNKED, BODY_NONE, BODY_UNTIL_CLOSE, H_CHUNKED, H_CLOSE, H_KEEP_ALIVE, H_UPGRADE, Head,
    M_CONNECT, M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_PUT, M_TRACE, parse_response_head)
from ext.timers cimport now_ms, now_us
from ext.upstream cimport KEY_SOURCE, NodeConnection, Server, Tier
from libc.stdint cimport uint32_t, uint64_t, int64_t

ctypedef int (*StepFunction)(Session s) except -1

cdef StepFunction[10] STEPS
STEPS[:] = [
    step_receive,                  # validate; decide keep-alive and the body's framing
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


cdef class Session(Client):
    """A client connection whose requests go through the table."""

    cdef int run(self, int step) except -1:
        while step < WAIT:
            step = STEPS[step](self)
        if step == DONE:
            self.after()
        return 0

    cdef int log(self) except -1:
        step_log(self)
        return 0


cdef int step_receive(Session s) except -1:
    cdef Head *h = &s.site.request
    cdef Tier tier = s.entry.tier
    s.requests += 1
    s.started_us = now_us()
    s.method = <int>h.method
    s.minor = h.minor
    s.keep_alive = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    s.close_after = not s.keep_alive
    s.upgrade = (h.flags & H_UPGRADE) != 0
    s.safe = (h.method == M_GET or h.method == M_HEAD or h.method == M_OPTIONS
              or h.method == M_TRACE)
    s.idempotent = s.safe or h.method == M_PUT or h.method == M_DELETE
    s.request_done = h.body == BODY_NONE
    s.request_bytes = 0
    s.attempts_left = 0
    body_start(&s.request_body, h.body, h.content_length, tier.extension_bytes_max,
               tier.trailer_bytes_max)
    tier.cells[TC_REQUESTS] += 1
    tier.cells[TC_IN_FLIGHT] += 1
    if h.method == M_CONNECT or (h.method == M_TRACE and s.entry.elb is not None):
        s.close_after = True               # no tunnels to anywhere; an ALB refuses TRACE
        return s.fail_with(405, tier)
    if tier.body_bytes_max and h.content_length > <int64_t>tier.body_bytes_max:
        tier.cells[TC_REQUEST_ERRORS] += 1
        s.close_after = True
        return s.fail_with(413, tier)
    return HASH


cdef int step_hash(Session s) except -1:
    cdef Head *h = &s.site.request
    cdef uint32_t n = 0
    if s.entry.needs_uri:                  # HAProxy's `balance uri`: the part before the query
        while n < h.path_size and h.base[h.path + n] != b'?':
            n += 1
        s.uri_hash = hash_bytes(h.base + h.path, n)
    return LOOKUP


cdef int step_lookup(Session s) except -1:
    return PASS


cdef int step_pass(Session s) except -1:
    cdef Tier haproxy = s.entry.haproxy
    cdef Text client
    if s.block == NULL:
        client.data = s.address
        client.size = s.address_size
        s.block = s.site.take_block(request_room(&s.site.request, s.entry.recipe))
        s.block.size = build_request(&s.site.request, s.entry.recipe, &client, s.block.data)
        s.replayable = True
    if s.entry.elb is not None:
        return ELB
    if haproxy is not None:
        enter(s, haproxy)
        s.passed_haproxy = haproxy
        return HAPROXY
    return choose(s, s.entry.cdn, PASS)    # a cdn in front of its origins


cdef int step_elb(Session s) except -1:
    cdef int next_
    if s.passed_elb is None:
        enter(s, s.entry.elb)
        s.passed_elb = s.entry.elb
    next_ = choose(s, s.passed_elb, ELB)
    if next_ != FETCH or s.server.next_tier is None:
        return next_
    s.target = s.server                    # fused: the target is a tier, go on inside it
    s.server = None
    s.queue_due_ms = 0
    s.passed_haproxy = s.target.next_tier
    s.target.cells[SC_REQUESTS] += 1
    enter(s, s.passed_haproxy)
    return HAPROXY


cdef int step_haproxy(Session s) except -1:
    return choose(s, s.passed_haproxy, HAPROXY)


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
            node.abort()                   # such a request cannot be repeated: be sure first
            node = None
    s.node = node
    node.exchange = s
    s.phase = AWAIT
    s.server.cells[SC_REQUESTS] += 1
    s.read_on()
    s.send_part(True)
    return ERROR if s.status else WAIT


cdef int step_deliver(Session s) except -1:
    cdef Head *h = &s.site.answer
    cdef Text date = Text(s.site.date, <uint32_t>len(s.site.date))
    cdef int say = SAY_NOTHING
    cdef uint32_t size
    s.status = h.status
    s.node_keeps = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    s.answer_framing = framing_of(s, h)
    body_start(&s.answer_body, h.body, h.content_length, s.entry.tier.extension_bytes_max,
               s.entry.tier.trailer_bytes_max)
    s.site.give_block(s.block)             # from here on nothing is sent again
    s.block = NULL
    # RFC 9112 §9.6: say so when the connection will not be kept. A request whose body is still
    # coming when an error is answered is not read to its end.
    s.close_after = (not s.keep_alive or s.answer_framing == FRAME_CLOSE or s.site.draining
                     or (not s.request_done and h.status >= 400))
    if h.status == 101:
        say = SAY_UPGRADE
        s.close_after = True
    elif s.close_after:
        say = SAY_CLOSE
    elif s.minor == 0:
        say = SAY_KEEP_ALIVE
    size = build_response(h, s.entry.recipe, s.answer_framing, say, &date,
                          s.site.scratch(response_room(h, s.entry.recipe)))
    s.phase = RELAY
    if s.relay(size):
        s.server.cells[SC_RESPONSE_ERRORS] += 1
        s.node_keeps = False
        s.close_after = not s.keep_alive
        return s.fail_with(502, s.server.tier)
    if h.status == 101:
        return open_tunnel(s)
    # `cut` inside relay has logged already: then the phase is LINGER.
    return LOG if s.answer_done and s.phase == RELAY else WAIT


cdef int step_error(Session s) except -1:
    """Answer `status` in the words of the blamed tier. Nothing of another answer was sent."""
    cdef Recipe outer = s.entry.outer[s.blamed.kind]
    cdef bytes answer
    s.close_after = s.close_after or not s.request_done or s.site.draining
    answer = build_answer(
        s.blamed.kind, s.status, close=s.close_after and outer is None, minor=s.minor,
        head_only=s.method == M_HEAD,
        retry_after_s=s.blamed.retry_after_s if s.status == 503 else 0)
    s.send_bytes(answer if outer is None else through_tiers(s, outer, answer))
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
    if s.node is not None:
        s.server.cells[SC_1XX + class_ - 1] += 1
    if s.target is not None:
        s.target.cells[SC_1XX + class_ - 1] += 1
    if s.block != NULL:
        s.site.give_block(s.block)
        s.block = NULL
    s.let_go(s.node_keeps and s.answer_done and s.request_done)
    return DONE


# -- parts of steps ------------------------------------------------------------------------------

cdef inline void enter(Session s, Tier tier) noexcept:
    """Count a request into a tier; the entry tier has counted it in `receive`."""
    if tier is not s.entry.tier:
        tier.cells[TC_REQUESTS] += 1
        tier.cells[TC_IN_FLIGHT] += 1


cdef inline void count(Tier tier, int class_, uint64_t us, int bucket) noexcept:
    """Count a request out of a tier."""
    tier.cells[TC_IN_FLIGHT] -= 1
    tier.cells[TC_1XX + class_ - 1] += 1
    tier.cells[TC_LATENCY_SUM_US] += us
    tier.cells[TC_LATENCY_0 + bucket] += 1


cdef int choose(Session s, Tier tier, int row) except -1:
    """Pick and take a server of a tier: FETCH, WAIT (queued at `row`) or ERROR."""
    cdef uint64_t key = 0
    cdef bint again = s.queue_due_ms != 0
    cdef int index
    cdef Server server
    if tier.key_kind:
        key = s.source_hash if tier.key_kind == KEY_SOURCE else s.uri_hash
    if s.same is not None and s.same.tier is tier:
        index = s.same.index
    elif tier.queue and not again:         # behind those who wait already
        index = PICK_FULL
    else:
        index = tier.balancer.pick(key, s.tried, s.tried_count)
    if index == PICK_NONE:
        tier.cells[TC_NO_SERVER] += 1
        return s.fail_with(503, tier)
    if index >= 0:
        server = <Server>tier.servers[index]
        if server.take():
            s.server = server
            if s.tried_count == 0:
                s.attempts_left = <int>tier.retries
            return FETCH
    s.phase = WAITING
    s.wait = WAIT_SLOT
    s.row = row
    if not again:
        s.queue_due_ms = now_ms() + tier.queue_ms
    s.wheel.arm(&s.timer, s.queue_due_ms)
    tier.enqueue(s, again)
    return WAIT


cdef bytes through_tiers(Session s, Recipe outer, bytes answer):
    """An inner tier's own answer as the tiers in front of it pass it on."""
    cdef Head *h = &s.site.answer
    cdef Text date = Text(s.site.date, <uint32_t>len(s.site.date))
    cdef int say = SAY_CLOSE if s.close_after else SAY_NOTHING if s.minor else SAY_KEEP_ALIVE
    cdef int size = parse_response_head(answer, <uint32_t>len(answer), &s.site.answer_limits,
                                        s.method, h)
    cdef char *out = s.site.scratch(response_room(h, outer))
    return out[:build_response(h, outer, FRAME_LENGTH, say, &date, out)] + answer[size:]


cdef int framing_of(Session s, Head *h) noexcept:
    """How the answer's body is framed to this client (RFC 9112 §6.1, §6.3)."""
    if h.body == BODY_UNTIL_CLOSE or h.body == BODY_CHUNKED:
        return FRAME_CHUNKED if s.minor == 1 else FRAME_CLOSE
    if h.status == 204 or h.status < 200:
        return FRAME_NONE
    if h.content_length >= 0:
        return FRAME_LENGTH
    # The head of a HEAD's answer or a 304: what a GET would have had.
    return FRAME_CHUNKED if h.flags & H_CHUNKED and s.minor == 1 else FRAME_NONE


cdef int open_tunnel(Session s) except -1:
    """After 101 both sides are relayed as they are."""
    if s.lost or s.phase != RELAY:
        return WAIT
    s.phase = TUNNEL
    s.answer_done = False
    s.arm(s.server.tier.tunnel_ms)
    s.resume()
    if s.kept.size and not s.in_use:       # what the client sent behind its request
        s.tunnel_in(NULL, 0)
    if s.ended and s.phase == TUNNEL:      # not if that ended it: the node may be gone by now
        s.node.half_close()
    return WAIT
