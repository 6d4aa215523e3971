"""Parts of the steps elb and answer: what an Application Load Balancer adds to picking a target.

`meet` runs once a request, when it enters the tier: it is refused (464: its version does not fit
the target group's; 463: too many addresses in X-Forwarded-For; 400: desync mitigation), or its
cookie says which target it belongs to. `give_sticky_cookie` marks the answer before anyone stores
it; a cdn in front therefore keeps no answer of a sticky group, as it would at AWS.

Called by: session.
"""
from libc.stdint cimport int64_t, uint32_t

from ext.arena cimport TC_DESYNC, TC_NOT_STICKY, TC_REQUEST_ERRORS
from ext.desync cimport DESYNC_CLOSE, DESYNC_REFUSE, classify, desync_verdict
from ext.headers cimport HeaderId
from ext.http1 cimport Field, Head
from ext.rewrite cimport rewrite_answer
from ext.sticky cimport STICKY_LOST
from ext.timers cimport wall_us
from ext.upstream cimport Server

cdef enum:
    ADDRESSES_MAX = 30             # in X-Forwarded-For, as received: AWS's limit


cdef int forwarded_for(const Head *head) noexcept nogil:
    """Addresses in X-Forwarded-For."""
    cdef uint32_t i, j
    cdef int count = 0
    cdef const Field *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == HeaderId.X_FORWARDED_FOR and f.value_size:
            count += 1
            for j in range(f.value_size):
                count += head.base[f.value + j] == b','
    return count


cdef int meet(Client s, Tier elb) except -1:
    """The status that refuses the request in site.request, or 0."""
    cdef const Head *h = &s.site.request
    cdef bint behind = s.entry.tier is not elb
    cdef int verdict
    if elb.other_protocol:
        return refuse(elb, 464)
    # A cdn in front, in this process, has added its client.
    if forwarded_for(h) + behind > ADDRESSES_MAX:
        return refuse(elb, 463)
    s.desync = <unsigned char>classify(h)
    if s.desync:
        elb.cells[TC_DESYNC] += 1
        verdict = desync_verdict(elb.desync_mode, s.desync)
        if verdict == DESYNC_REFUSE:
            s.close_after = True
            return refuse(elb, 400)
        if verdict == DESYNC_CLOSE:
            s.one_use = True
            if not behind:
                s.keep_alive = False
                s.close_after = True
    if elb.sticky is not None:
        s.sticky_found = elb.sticky.find(h, <int64_t>(wall_us() // 1000000))
        if s.sticky_found >= 0:
            s.same = <Server>elb.servers[s.sticky_found]
        elif s.sticky_found == STICKY_LOST:
            elb.cells[TC_NOT_STICKY] += 1
    return 0


cdef int refuse(Tier elb, int status) noexcept:
    elb.cells[TC_REQUEST_ERRORS] += 1
    return status


cdef int give_sticky_cookie(Client s, Tier elb) except -1:
    """Mark the answer in site.answer with the target that it came from."""
    cdef Server target = s.target if s.target is not None else s.server
    s.site.edits.clear()
    if elb.sticky.write(&s.site.answer, target.index, s.sticky_found,
                        <int64_t>(wall_us() // 1000000), s.site.edits):
        rewrite_answer(s, s.site.edits)
    return 0
