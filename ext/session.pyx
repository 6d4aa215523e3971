r"""READ FIRST. A request enters here, and this table is its way through the program.

    receive -> hash -> lookup -> hit ---------------------------------------> deliver -> log
                         |  | \-> join: another request is fetching it --^
                         |  \--> miss --> elb -> haproxy -> fetch -> answer ---^
                         \-----> pass --^    ^---- retry -----|

The rows carry the names of Fastly's state machine and of the tiers, because customers' VCL will run
in them; each is Fastly's default one, or the RFC's where the policy says so. `fetch` and `answer`
are the two halves of vcl_fetch: asking, and deciding on what came. Which row may follow which:

    receive   hash error log
    hash      lookup
    lookup    hit join miss pass error
    hit       deliver
    join      wait lookup hit pass error
    miss      elb haproxy fetch wait error
    pass      elb haproxy fetch wait error
    elb       haproxy fetch wait error
    haproxy   fetch wait error log
    fetch     wait error
    answer    deliver hit miss error log
    deliver   wait error log
    error     hit miss log
    log       done

Theory. `run` calls the row's function, which answers the next row, or WAIT: then the request has
left, and an event (a free slot, a connection, a fetch of another, the answer's head) re-enters at
the same row, or at `answer`. Steps work on C data; the parsed head is the worker's scratch and is
gone after the first WAIT, so `pass` and `miss` write the request as the server will get it into a
block before any step can wait, and who needs the head again keeps a copy (cached.pyx). A tier that
a listener's chain does not have is not entered; without a cdn every request is passed.

Reading order: this file, client.pyx, relay.pyx, cached.pyx, fill.pyx, store.pyx; ruled.pyx (rules
of the haproxy), regulars.pyx (its cookies), targets.pyx (the elb); upstream.pyx, farm.pyx,
balance.pyx; http1.pyx, forward.pyx, deliver.pyx, freshness.pyx. TCP has tcp.pyx.
"""
from ext.answers import (
    BACKEND_FULL, FETCH_REASONS, NO_BACKEND, build_answer, build_loop, build_made)
from ext.arena cimport (
    SC_REQUESTS, SC_RESPONSE_ERRORS, TC_CACHE_HITS, TC_CACHE_JOINS, TC_CACHE_MISSES,
    TC_CACHE_PASSES, TC_CACHE_STALE, TC_IN_FLIGHT, TC_NO_SERVER, TC_REQUESTS, TC_REQUEST_ERRORS,
    TC_UNHEALTHY_ROUTED)
from ext.body cimport body_start
from ext.client cimport (
    AWAIT, DELIVER, DONE, ELB, ERROR, FETCH, HAPROXY, HASH, HIT, JOIN, LINGER, LOG, LOOKUP,
    MISS, PASS, RELAY, TUNNEL, WAIT, WAITING, WAIT_CONNECT, WAIT_FILL, WAIT_SLOT)
from ext.deliver cimport MARK_HIT, MARK_MISS, Delivery, write_marks
from ext.encoding cimport normal_encoding
from ext.farm cimport PICK_FULL, PICK_NONE
from ext.fields cimport has_field
from ext.forward cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_NOTHING,
    SAY_UPGRADE, Ask, Recipe, Text, build_response, count_visits,
    refused_behind, response_room)
from ext.freshness cimport (
    DISCONNECTED, FRESH, GATEWAY_TIMEOUT, MISS as REUSE_MISS, O_NO_CACHE, O_SOFT_PURGED,
    PASS as REUSE_PASS, REVALIDATE, STALE, STALE_WHILE_REVALIDATE, decide_invalidation,
    decide_reuse)
from ext.headers cimport HeaderId
from ext.http1 cimport (
    BODY_CHUNKED, BODY_NONE, BODY_UNTIL_CLOSE, H_CHUNKED, H_CLOSE, H_KEEP_ALIVE, H_UPGRADE, Field,
    Head, HeadLimits, M_CONNECT, M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_OTHER, M_PUT, M_TRACE,
    parse_response_head)
from ext.limits cimport HEAD_GROWTH_BYTES
from ext.limits import REFUSED_STATUS
from ext.platform import EXCESS_ANSWERS
from ext.store cimport (
    AGAIN, ALONE, BUSY, FAILED, FILLING, JOIN as BEGUN_JOIN, LEAD, NO_ROOM, Asked, Found, Handle,
    Seen)
from ext.regulars cimport follow_cookie, give_cookie
from ext.retry cimport Failure
from ext.ruled cimport GO_ON, end_rules, judge_answer, judge_request
from ext.storing cimport (
    deliver_stored, fetch_again, give_up_fill, invalidate, may_serve_prior, serve_stale,
    store_answer, validated)
from ext.targets cimport give_sticky_cookie, meet
from ext.timers cimport now_ms, now_us, wall_us
from ext.trip cimport count, enter
from ext.upstream cimport TIER_ELB, TIER_HAPROXY, NodeConnection, Server, Tier
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    OWN_FIELDS_MAX = 24            # that the tiers of a chain add to a request
    JOIN_MS = 60000                # longest wait for another's fetch: Fastly's cap inside a site
    JOINS_MAX = 3                  # then a request goes alone
    RESTARTS_MAX = 1               # of Fastly's default vcl_fetch after a 500 or 503

ctypedef int (*StepFunction)(Session s) except -1

cdef StepFunction[14] STEPS
STEPS[:] = [
    step_receive,                  # validate; decide keep-alive and the body's framing
    step_hash,                     # keys: of the cache, of consistent hashing
    step_lookup,                   # in the cache
    step_hit,                      # something stored answers
    step_join,                     # another request is fetching it: wait for that
    step_miss,                     # fetch it for the cache
    step_pass,                     # past the cache: the request as the server will get it
    step_elb,                      # pick a target: a VM's haproxy, or a node
    step_haproxy,                  # pick a server; queue when all are full
    step_fetch,                    # get a connection, send
    step_answer,                   # the answer's head is here: store it, use something else?
    step_deliver,                  # send the head on, begin the body
    step_error,                    # answer ourselves
    step_log,                      # count, let everything go
]


cdef class Session(Cached):
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
    s.method = s.sent_method = <uint8_t>h.method
    s.minor = h.minor
    s.keep_alive = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    s.close_after = not s.keep_alive
    s.field_count = h.count
    s.upgrade = (h.flags & H_UPGRADE) != 0
    s.safe = (h.method == M_GET or h.method == M_HEAD or h.method == M_OPTIONS
              or h.method == M_TRACE)
    s.idempotent = s.safe or h.method == M_PUT or h.method == M_DELETE
    s.request_done = h.body == BODY_NONE
    s.request_bytes = 0
    s.attempts_left = 0
    s.answer_ms = s.entry.answer_ms
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
    if s.store is not None:
        return receive_at_cdn(s)
    return HASH


cdef int receive_at_cdn(Session s) except -1:
    """What a cdn's platform does before any of its service's rules."""
    cdef Head *h = &s.site.request
    cdef bint loop = False
    cdef int excess = s.entry.cache.platform.check_request(h)
    if excess:
        s.status, s.reason = EXCESS_ANSWERS[excess]
        s.close_after = True
        return s.fail_with(s.status, s.entry.cdn)
    s.visits = <uint8_t>min(count_visits(h, s.entry.recipe, &loop), 255)
    if loop:
        s.status = 503
        s.close_after = True
        s.send_bytes(build_loop(s.entry.cache.node))
        return LOG
    if h.method == M_OTHER and h.method_size == 5 and memcmp(h.base + h.start, b"PURGE", 5) == 0:
        return purge(s)
    return HASH


cdef int step_hash(Session s) except -1:
    cdef Head *h = &s.site.request
    cdef Asked asked
    if s.entry.elb_key is not None:
        s.keys[<int>TIER_ELB] = s.entry.elb_key.of_request(h, s.source)
    if s.entry.haproxy_key is not None:
        s.keys[<int>TIER_HAPROXY] = s.entry.haproxy_key.of_request(h, s.source)
    if s.store is not None:
        s.encoding = <uint8_t>normal_encoding(h)
        s.ask(&asked)
        s.store.set_key(&asked)
        s.key_hash[0] = asked.hash[0]
        s.key_hash[1] = asked.hash[1]
    return LOOKUP


cdef int step_lookup(Session s) except -1:
    """What is stored for the request, and what may be done with it now."""
    cdef Asked asked
    cdef int row = AGAIN
    if (s.store is None or s.alone or (s.method != M_GET and s.method != M_HEAD) or s.upgrade
            or not s.request_done):
        return PASS
    s.wall_us = wall_us()
    s.ask(&asked)
    while row == AGAIN:                        # somebody else has changed it in between
        row = look(s, &asked)
    return row


cdef int step_hit(Session s) except -1:
    """vcl_hit: deliver."""
    cdef Seen seen
    s.store.see(s.object, &seen)
    s.store.count_hit(s.object)
    s.was_hit = True
    s.hits = seen.hits + 1
    s.entry.cdn.cells[TC_CACHE_HITS] += 1
    if s.is_stale:
        s.entry.cdn.cells[TC_CACHE_STALE] += 1
    return DELIVER


cdef int step_join(Session s) except -1:
    """Wait until the head of another's answer is there, or until there is none."""
    cdef Seen seen
    s.store.follow(s.joined)
    s.store.see(s.joined, &seen)
    if seen.state == BUSY and not s.alone:
        if s.question == NULL:
            s.entry.cdn.cells[TC_CACHE_JOINS] += 1
        s.hold_question()
        s.phase = WAITING
        s.wait = WAIT_FILL
        s.row = JOIN
        s.start_following()
        s.arm(JOIN_MS)
        return WAIT
    s.recall()
    s.joins += 1
    if seen.state == FAILED and seen.failure:
        if may_serve_prior(s, seen.failure):
            s.object = s.prior
            s.prior = 0
            s.is_stale = True
            return HIT
        # A request shares the failure of a fetch that began after it. One from before may have met
        # a server that has been taken out since.
        if s.joins > 1:
            return s.fail_with(seen.failure, s.entry.cdn)
    if s.prior:
        s.store.release(s.prior)
        s.prior = 0
    if seen.state == ALONE or s.alone or s.joins > JOINS_MAX:
        s.alone = True
        return PASS
    return LOOKUP


cdef int step_miss(Session s) except -1:
    """vcl_miss: the question to the origin, whose answer is for the cache."""
    if s.block == NULL:
        s.hold_question()
        s.write_question()
    return onwards(s)


cdef int step_pass(Session s) except -1:
    """vcl_pass: the request as it came, past the cache."""
    cdef Ask ask
    if s.block == NULL:
        if s.store is None:
            s.write_request(NULL)
        else:
            s.entry.cdn.cells[TC_CACHE_PASSES] += 1
            if not s.safe and not s.entry.cache.fastly:
                s.hold_question()              # its answer may invalidate what is stored
            memset(&ask, 0, sizeof(Ask))
            ask.encoding = s.encoding
            s.write_request(&ask if s.entry.cache.fastly else NULL)
    return onwards(s)


cdef int onwards(Session s) except -1:
    """To the tier behind the cdn, or to the one that the listener belongs to."""
    cdef Tier haproxy = s.entry.haproxy
    if s.entry.elb is not None:
        return ELB
    if haproxy is not None:
        enter(s, haproxy, s.entry.tier)
        s.passed_haproxy = s.backend = haproxy
        return HAPROXY if fits(s, haproxy) else ERROR
    return choose(s, s.entry.cdn, MISS if s.fill else PASS)


cdef int step_elb(Session s) except -1:
    cdef int next_
    if s.passed_elb is None:
        enter(s, s.entry.elb, s.entry.tier)
        s.passed_elb = s.entry.elb
        next_ = meet(s, s.passed_elb)
        if next_:
            return s.fail_with(next_, s.passed_elb)
        if not fits(s, s.passed_elb):
            return ERROR
    next_ = choose(s, s.passed_elb, ELB)
    if next_ == FETCH:
        s.same = None                      # a cookie's target; behind it others are asked anew
    if next_ != FETCH or s.server.next_tier is None:
        return next_
    s.target = s.server                    # fused: the target is a tier, go on inside it
    s.server = None
    s.queue_due_ms = 0
    s.passed_haproxy = s.backend = s.target.next_tier
    s.target.cells[SC_REQUESTS] += 1
    enter(s, s.passed_haproxy, s.entry.tier)
    return HAPROXY if fits(s, s.passed_haproxy) else ERROR


cdef int step_haproxy(Session s) except -1:
    cdef int row
    if s.passed_haproxy.rules is not None and not s.judged:
        row = judge_request(s)
        if row != GO_ON:
            return row
    if s.backend.cookie is not None and not s.cookie.done:
        follow_cookie(s, s.backend)
    return choose(s, s.backend, HAPROXY)


cdef int step_fetch(Session s) except -1:
    cdef NodeConnection node = s.node
    while node is None:
        # A retry takes a new connection: the kept ones may have died of the same cause.
        node = (s.server.checkout(s.requests == 1, s.idempotent, s.serial)
                if s.tried_count == 0 else None)
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


cdef int step_answer(Session s) except -1:
    """vcl_fetch: what to do with the origin's answer."""
    cdef Head *h = &s.site.answer
    cdef int excess, row
    s.status = h.status
    s.node_keeps = not h.flags & H_CLOSE and (h.minor == 1 or (h.flags & H_KEEP_ALIVE) != 0)
    body_start(&s.answer_body, h.body, h.content_length, s.entry.tier.extension_bytes_max,
               s.entry.tier.trailer_bytes_max)
    if s.judged:
        row = judge_answer(s)
        if row != GO_ON:
            return row
    if s.store is not None:
        excess = s.entry.cache.platform.check_response(h)
        if excess:
            s.node_keeps = False
            s.status, s.reason = EXCESS_ANSWERS[excess]
            return s.fail_with(s.status, s.entry.cdn)
    if s.server.tier.cookie is not None:
        give_cookie(s)
    if s.one_use:
        s.node_keeps = False
    if s.passed_elb is not None and s.passed_elb.sticky is not None:
        give_sticky_cookie(s, s.passed_elb)
    if not s.fill:
        if s.question != NULL and decide_invalidation(&s.entry.cache.rules, s.method, h.status):
            s.recall()
            invalidate(s)
        return DELIVER
    s.wall_us = wall_us()
    s.recall()
    if h.status == 304:
        if s.prior and s.asks_prior:
            return validated(s)
        s.node_keeps = False                   # to a question without a condition: no answer
        s.reason = FETCH_REASONS[<int>Failure.JUNK]
        return s.fail_with(503, s.entry.cdn)
    if h.status >= 500 and may_serve_prior(s, h.status):
        return serve_stale(s)
    if (s.entry.cache.fastly and (h.status == 500 or h.status == 503)
            and s.restarts < RESTARTS_MAX and s.replayable):
        s.restarts += 1
        return fetch_again(s)
    return store_answer(s)


cdef int step_deliver(Session s) except -1:
    cdef Head *h = &s.site.answer
    cdef Text date = Text(s.site.date, <uint32_t>len(s.site.date))
    cdef int say = SAY_NOTHING
    cdef uint32_t size
    if s.object:
        return deliver_stored(s)
    s.answer_framing = framing_of(s, h)
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
    if s.store is not None:
        size = mark(s, h, MARK_MISS, size)
    s.phase = RELAY
    if s.as_get and h.body != BODY_NONE:       # asked as GET, for the cache: not wanted after all
        s.node_keeps = False
        body_start(&s.answer_body, BODY_NONE, 0, 0, 0)
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
    cdef bint inner = s.blamed is not s.entry.cdn
    cdef bytes answer
    if s.fill:
        s.wall_us = wall_us()
        s.recall()
        if may_serve_prior(s, s.status if inner else DISCONNECTED):
            return serve_stale(s)
        if (inner and s.entry.cache.fastly and (s.status == 500 or s.status == 503)
                and s.restarts < RESTARTS_MAX):
            s.restarts += 1
            return fetch_again(s)
        if s.status < 500:                     # of this request alone: who waits asks as well
            give_up_fill(s, ALONE, 0)
        else:
            give_up_fill(s, FAILED, s.status)
        if s.ghost:
            return LOG
    s.close_after = s.close_after or not s.request_done or s.site.draining
    answer = build_made(
        s.made, close=s.close_after and outer is None, head_only=s.method == M_HEAD,
        minor=s.minor) if s.made is not None else build_answer(
        s.blamed.kind, s.status, close=s.close_after and outer is None, minor=s.minor,
        head_only=s.method == M_HEAD,
        retry_after_s=s.blamed.retry_after_s if s.status == 503 else 0,
        reason=s.reason or "", node="" if s.store is None else s.entry.cache.node,
        now_us=<int64_t>wall_us())
    if outer is not None:
        answer = through_tiers(s, outer, answer)
    s.send_bytes(answer if s.store is None else marked(s, answer))
    return LOG


cdef int step_log(Session s) except -1:
    cdef uint64_t us = now_us() - s.started_us
    if not s.background:
        count(s.entry.tier, s.status, us)
    s.count_out(s.entry.tier, us)
    if s.block != NULL:
        s.site.give_block(s.block)
        s.block = NULL
    if s.ghost:
        s.phase = LINGER
        s.timer.due_ms = 0
    s.let_go(s.node_keeps and s.answer_done and s.request_done)
    if s.txn != NULL:
        end_rules(s)
    if s.store is not None:
        s.forget()
    return DONE


# -- parts of steps ------------------------------------------------------------------------------

cdef int look(Session s, Asked *asked) except -1:
    """One look at the store: a row, or AGAIN. What is not used of it is released."""
    cdef Found found
    cdef Handle busy = 0
    cdef int reuse, begun
    cdef int64_t now = <int64_t>(s.wall_us // 1000)
    s.store.find(asked, now, &found)
    reuse = decide_reuse(&found.freshness if found.object else NULL, &s.site.request,
                         &s.entry.cache.rules, now)
    if s.joined and reuse != FRESH:
        reuse = reuse_joined(s, &found, reuse)
    if reuse == REUSE_MISS or reuse == REVALIDATE:
        s.prior = found.object
        return look_for_fetch(s, asked, &found)
    if found.busy:
        s.store.release(found.busy)
    if reuse == REUSE_PASS or reuse == GATEWAY_TIMEOUT:
        if found.object:
            s.store.release(found.object)
        return PASS if reuse == REUSE_PASS else s.fail_with(504, s.entry.cdn)
    s.object = found.object
    s.is_stale = reuse != FRESH
    if reuse == STALE_WHILE_REVALIDATE and not found.busy:
        begun = s.store.begin(asked, &found, now, &busy)
        if begun == LEAD:
            s.fill = busy
            start_refresh(s)
        elif begun == BEGUN_JOIN:
            s.store.release(busy)
        elif begun == AGAIN:
            s.store.release(s.object)
            s.object = 0
            return AGAIN
    return HIT


cdef int look_for_fetch(Session s, Asked *asked, const Found *found) except -1:
    """Nothing stored may be used as it is: read along with a fetch, wait for it, or be it."""
    cdef Handle busy = found.busy
    cdef int begun = BEGUN_JOIN
    if busy and found.busy_state == FILLING:
        if not may_follow(s, busy):
            s.store.release(busy)
            return PASS
        s.object = busy
        s.is_stale = False
        return HIT
    if not busy:
        # If-Match and If-Unmodified-Since are the origin's to judge (RFC 9110 §13.1.1, §13.1.4).
        if (s.method == M_HEAD and not s.entry.cache.fastly
                or has_field(&s.site.request, <int>HeaderId.IF_MATCH)
                or has_field(&s.site.request, <int>HeaderId.IF_UNMODIFIED_SINCE)):
            return PASS
        begun = s.store.begin(asked, found, <int64_t>(s.wall_us // 1000), &busy)
    if begun == BEGUN_JOIN:
        s.set_joined(busy)
        return JOIN
    if begun == LEAD:
        s.fill = busy
        s.entry.cdn.cells[TC_CACHE_MISSES] += 1
        return MISS
    if begun == NO_ROOM:
        return PASS
    if s.prior:
        s.store.release(s.prior)
        s.prior = 0
    return AGAIN


cdef bint may_follow(Session s, Handle busy) noexcept:
    """May a request read along with a fetch whose head is there? What arrives slowly may be stale,
    purged softly or to be validated each time before it is whole."""
    cdef Found found
    cdef int reuse
    memset(&found, 0, sizeof(Found))
    found.object = busy
    s.store.read_freshness(busy, &found.freshness)
    reuse = decide_reuse(&found.freshness, &s.site.request, &s.entry.cache.rules,
                         <int64_t>(s.wall_us // 1000))
    if s.joined:
        reuse = reuse_joined(s, &found, reuse)
    return reuse == FRESH or reuse == STALE or reuse == STALE_WHILE_REVALIDATE


cdef int reuse_joined(Session s, const Found *found, int reuse) noexcept:
    """A request that has waited takes the answer that it has waited for, whatever its age (RFC 9111
    §4: one answer for several requests), but not one that asks to be validated each time, nor one
    that was purged softly meanwhile: maybe before this request came."""
    if found.object == s.joined and not found.freshness.flags & (O_NO_CACHE | O_SOFT_PURGED):
        return FRESH if reuse != REUSE_PASS else reuse
    return reuse


cdef int start_refresh(Session s) except -1:
    """A fetch in the background: this request's client gets what is stored."""
    cdef Session ghost = Session(s.entry)
    s.hold_question()                          # the ghost may end at once, and with it its copy
    ghost.start_ghost(s)
    ghost.run(MISS)
    return 0


cdef int purge(Session s) except -1:
    """PURGE of the request's URL, if the request may."""
    cdef Head *h = &s.site.request
    cdef Field *f
    cdef uint32_t i
    cdef bytes answer
    fields = []
    for i in range(h.count):
        f = &h.fields[i]
        fields.append((h.base[f.name:f.name + f.name_size], h.base[f.value:f.value + f.value_size]))
    s.close_after = s.close_after or not s.request_done or s.site.draining
    answer = s.entry.cache.purger(h.base[h.host:h.host + h.host_size],
                                  h.base[h.path:h.path + h.path_size] or b"/", fields,
                                  close=s.close_after)
    s.status = int(answer[9:12])
    s.send_bytes(answer)
    return LOG


cdef uint32_t mark(Session s, Head *inner, int hit, uint32_t size) except 0:
    """The cdn's own fields behind a head in `out`, whose last line is empty; the new size."""
    cdef Delivery d
    cdef char *end
    memset(&d, 0, sizeof(Delivery))
    d.mark = hit
    d.inner = s.visits > 0                     # else its edge would not know how long, nor by what
    d.digest[0] = s.key_hash[0]                # key it is purged
    d.digest[1] = s.key_hash[1]
    d.elapsed_ms = <uint32_t>((now_us() - s.started_us) // 1000)
    d.started_us = wall_us() - (now_us() - s.started_us)
    end = write_marks(s.site.out.data + size - 2, s.entry.cache.marks, inner, &d)
    end[0] = b'\r'
    end[1] = b'\n'
    return <uint32_t>(end + 2 - s.site.out.data)


cdef bytes marked(Session s, bytes answer):
    """An answer of our own with the cdn's fields. To X-Cache it is a hit, as at Fastly, unless a
    fetch has failed."""
    cdef int hit = MARK_HIT if s.block == NULL and s.question == NULL else MARK_MISS
    cdef uint32_t size = <uint32_t>answer.index(b"\r\n\r\n") + 4
    cdef char *out = s.site.scratch(size + HEAD_GROWTH_BYTES)
    memcpy(out, <const char *>answer, size)
    return out[:mark(s, NULL, hit, size)] + answer[size:]


cdef bint fits(Session s, Tier tier) except -1:
    """Would a tier behind the entry accept the request as it gets it? Its limits may be narrower.
    Fused it parses nothing, so only a head that could be too long for it is looked at again."""
    cdef int refused
    cdef const HeadLimits *limits = &tier.request_limits
    if tier is s.entry.tier or (
            s.block.size <= min(limits.header_bytes, limits.request_line_bytes)
            and s.field_count + OWN_FIELDS_MAX <= limits.header_count):
        return True
    refused = refused_behind(s.block.data, s.block.size, limits)
    if refused:
        tier.cells[TC_REQUEST_ERRORS] += 1
        s.fail_with(REFUSED_STATUS[refused], tier)
    return not refused


cdef int choose(Session s, Tier tier, int row) except -1:
    """Pick and take a server of a tier: FETCH, WAIT (queued at `row`) or ERROR."""
    cdef bint again = s.queue_due_ms != 0
    cdef int index
    cdef Server server
    cdef Server bound = s.same if s.same is not None and s.same.tier is tier else None
    if (bound is not None and tier.redispatch_after and (again or s.tried_count)
            and not bound.is_up()):
        bound = s.same = None              # it need not wait for what is gone
    if bound is not None and not again and bound.has_no_room():
        bound = s.same = None
        if not tier.redispatch_after:
            s.reason = BACKEND_FULL
            return s.fail_with(503, tier)
    if bound is not None:
        index = bound.index if again or not bound.queue.size else PICK_FULL
    elif tier.queue.size and not again:    # behind those who wait already
        index = PICK_FULL
    else:
        index = tier.balancer.pick(s.keys[tier.kind], s.tried, s.tried_count)
        if tier.balancer.opened and index >= 0 and s.tried_count == 0:
            tier.cells[TC_UNHEALTHY_ROUTED] += 1
    if index == PICK_NONE:
        tier.cells[TC_NO_SERVER] += 1
        s.reason = NO_BACKEND
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
    tier.enqueue(s, bound, again)
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
    s.silence_ms = s.tunnel_wait()
    s.arm(s.silence_ms)
    s.resume()
    if s.kept.size and not s.in_use:       # what the client sent behind its request
        s.tunnel_in(NULL, 0)
    if s.ended and s.phase == TUNNEL:      # not if that ended it: the node may be gone by now
        s.tunnel_end(False)
    return WAIT
