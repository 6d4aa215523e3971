"""Parts of the steps haproxy and answer: a client that comes back goes to its server.

Theory. Before a request is balanced for the first time, its cookie may say which server it belongs
to (`Client.same`); the answer's head is marked when it is parsed and before anyone stores it.

Called by: session.
"""
from ext.http1 cimport M_POST
from ext.rewrite cimport read_request, rewrite_answer, rewrite_request
from ext.timers cimport wall_us
from ext.upstream cimport Server
from libc.stdint cimport int64_t


cdef int follow_cookie(Client s, Tier tier) except -1:
    """Look for the tier's cookie; `s.same` becomes the server that it names."""
    read_request(s)
    s.site.edits.clear()
    tier.cookie.read(&s.site.sent, <int64_t>(wall_us() // 1000000), &s.cookie, s.site.edits)
    if s.cookie.server >= 0:
        s.same = <Server>tier.servers[s.cookie.server]
    if s.site.edits.count:
        rewrite_request(s, s.site.edits)
    return 0


cdef int give_cookie(Client s) except -1:
    """Mark the answer in `site.answer` with the server that has given it."""
    s.site.edits.clear()
    s.server.tier.cookie.write(&s.site.answer, &s.cookie, s.server.index, s.method == M_POST,
                               <int64_t>(wall_us() // 1000000), s.site.edits)
    if s.site.edits.count:
        rewrite_answer(s, s.site.edits)
    return 0
