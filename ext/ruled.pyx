"""The seam between the steps and the rules of the haproxy tier.

Theory. In HAProxy rules see the request as it was received, and what the tier adds itself
(X-Forwarded-For, ...) comes after them. So where there are rules, the block that `pass` and `miss`
write has what the tiers in front add, the rules work on that, and the tier's own part is written at
the end (`entry.own`). The frontend's rules run first, then the backend's; of an answer the
backend's first. Each request is judged once: a retry sends what was judged.

A verdict against a request is answered through the row `error`, blamed on the tier, so that a cdn
in front does with it what it does with errors of its origin.

Called by: session (rows haproxy, answer, log).
"""
import socket

from libc.string cimport memcpy

from ext.answers import FETCH_REASONS
from ext.client cimport ERROR, LOG, WAIT, WAITING, WAIT_TARPIT
from ext.fields cimport Text
from ext.forward cimport build_request, request_room
from ext.hashkey cimport source_number
from ext.http1 cimport Head
from ext.patterns cimport DIGITS_BYTES, Sample, as_text
from ext.retry cimport Failure
from ext.rewrite cimport read_request
from ext.rulecodes cimport T_ADDRESS
from ext.rules cimport (
    Rules, V_DENY, V_DROP, V_GO, V_REJECT)
from ext.samples cimport Scene, Txn
from ext.site cimport Block
from ext.trip cimport enter
from ext.upstream cimport TIER_HAPROXY, Tier

cdef enum:
    TCP_REPAIR = 19                # linux/tcp.h: closing tells the peer nothing

# As in ext.forward.Recipe: the tier in front, in this very process.
cdef const char *HOP_ADDRESS = b"127.0.0.1"


cdef int judge_request(Client s) except -1:
    """Carry out the frontend's rules, choose the backend, carry out its rules: GO_ON, or the row
    that ends the request."""
    cdef Tier frontend = s.passed_haproxy
    cdef Rules rules = <Rules>frontend.rules
    cdef Rules inner
    cdef int verdict, index
    s.judged = True
    if not read_request(s):
        return s.fail_with(500, frontend)
    rules.scene.begin(&s.site.sent)
    if rules.is_monitor(&s.site.sent):
        return answer_monitor(s, rules)
    verdict = rules.run_request(s)
    if verdict != V_GO:
        return against(s, rules, verdict)
    index = rules.pick_backend(s)
    if index < 0:
        index = frontend.default_backend
    s.backend = <Tier>rules.scene.backends[index]
    if s.backend is not frontend:
        enter(s, s.backend, s.entry.tier)
        if s.answer_ms == s.entry.answer_ms:   # no rule has set it
            s.answer_ms = min(s.entry.front_ms, s.backend.server_ms)
        if s.backend.rules is not None:
            inner = <Rules>s.backend.rules
            verdict = inner.run_request(s)
            if verdict != V_GO:
                return against(s, inner, verdict)
    write_own(s, rules.scene)
    return GO_ON


cdef int write_own(Client s, Scene scene) except -1:
    """The request with what this tier adds itself, into the block."""
    cdef Head *h = &s.site.sent
    cdef Block *old = s.block
    cdef Block *block
    cdef Text client = Text(<const char *>s.address, s.address_size)
    cdef Sample source
    cdef char room[DIGITS_BYTES]
    if s.passed_haproxy is not s.entry.tier:
        client = Text(HOP_ADDRESS, 9)
    if s.txn != NULL and (<Txn *>s.txn.data).has_source:
        source.type = T_ADDRESS
        memcpy(source.address, (<Txn *>s.txn.data).source, 16)
        client = as_text(&source, room)
    if s.backend.key is not None:              # of what the rules have left
        s.keys[<int>TIER_HAPROXY] = s.backend.key.of_request(
            h, source_number(client.data, client.size))
    block = s.site.take_block(request_room(h, s.entry.own, NULL))
    block.size = build_request(h, s.entry.own, &client, NULL, block.data)
    s.block = block
    s.site.give_block(old)
    return 0


cdef int against(Client s, Rules rules, int verdict) except -1:
    """The row that a verdict leads to. The blame is the frontend's, whose name clients know."""
    cdef Tier frontend = s.passed_haproxy
    if verdict == V_REJECT or verdict == V_DROP:
        return without_answer(s, verdict == V_DROP)
    s.made = rules.answer
    s.fail_with(rules.status, frontend)
    if verdict == V_DENY:
        return ERROR
    s.phase = WAITING                          # HAProxy's `timeout tarpit` is that of connects
    s.wait = WAIT_TARPIT
    s.row = ERROR
    s.arm(frontend.connect_ms)
    return WAIT


cdef int without_answer(Client s, bint silently) except -1:
    """`reject` closes, `silent-drop` does not even do that. Behind another tier it is that tier's
    connection which ends, and its answer that the client gets.

    deviates: split, a tier in front of a silent-drop waits until its own time is over; fused it
    answers at once."""
    if s.passed_elb is not None and s.entry.tier is not s.passed_haproxy:
        return s.fail_with(502, s.passed_elb)
    if s.entry.cdn is not None:
        s.reason = FETCH_REASONS[<int>Failure.CLOSED_EMPTY]
        return s.fail_with(503, s.entry.cdn)
    s.status = -1
    s.close_after = True
    if silently:
        vanish(s.transport)
        s.reset()
    return LOG


cdef int vanish(object transport) except -1:
    """Make closing silent; without the right to do so, an RST that dies at the first router."""
    sock = transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except OSError:
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    return 0


cdef int answer_monitor(Client s, Rules rules) except -1:
    """monitor-uri: for what asks whether this HAProxy is well."""
    return s.fail_with(503 if rules.monitor_fails(s) else 200, s.passed_haproxy)


cdef int judge_answer(Client s) except -1:
    """Carry out the backend's rules on an answer, then the frontend's: GO_ON, or a row."""
    cdef Rules rules
    cdef int verdict = V_GO
    if s.backend is not s.passed_haproxy and s.backend.rules is not None:
        rules = <Rules>s.backend.rules
        verdict = rules.run_response(s)
    if verdict == V_GO:
        rules = <Rules>s.passed_haproxy.rules
        verdict = rules.run_response(s)
    if verdict == V_GO:
        return GO_ON
    s.node_keeps = False                       # nobody reads the rest of its answer
    s.made = rules.answer
    return s.fail_with(rules.status, s.passed_haproxy)


cdef int end_rules(Client s) except -1:
    """The request is over."""
    (<Scene>s.scene).end(s)
    s.scene = None
    return 0
