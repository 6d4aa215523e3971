# A request's way to a server: which tiers it has entered, and what it holds there.
from libc.stdint cimport uint64_t
from ext.body cimport BodyReader
from ext.upstream cimport Exchange, NodeConnection, Server, Tier

cdef class Trip(Exchange):
    cdef Tier passed_elb           # counted there
    cdef Tier passed_haproxy
    cdef Tier backend              # whose servers are used: that tier itself, unless rules say else
    cdef Server target             # of the elb, fused
    cdef Server server
    cdef NodeConnection node
    cdef int status                # of the answer; 0 none yet; -1 gone without one
    cdef BodyReader answer_body
    cdef bint answer_done
    cdef bint node_keeps           # the connection may serve another request
    cdef uint64_t started_us       # timers.now_us of the request's arrival

    cdef void count_out(self, Tier entry, uint64_t us) noexcept
    cdef int let_go(self, bint reusable) except -1
    cdef int hand_over(self, Trip to) except -1
    cdef int on_killed(self, bint by_server) except -1

cdef int class_of(int status) noexcept
cdef void enter(Trip trip, Tier tier, Tier entry) noexcept
cdef void count(Tier tier, int status, uint64_t us) noexcept
