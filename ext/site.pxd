# What all connections of one worker share.
from libc.stdint cimport uint32_t, uint64_t
from ext.arena cimport Arena
from ext.cache cimport Cache
from ext.edits cimport Edits
from ext.forward cimport Recipe
from ext.hashkey cimport HashKey
from ext.http1 cimport Head, HeadLimits
from ext.proxyline cimport ProxyPeers
from ext.readiness cimport Readiness
from ext.store cimport Store
from ext.timers cimport Wheel
from ext.trip cimport Trip
from ext.upstream cimport Tier

cdef struct Block:                 # a request as sent upstream: head, then body while it fits
    Block *next
    char *data
    uint32_t size
    uint32_t room

cdef struct Scratch:
    char *data
    uint32_t room

cdef char *at_least(Scratch *scratch, uint32_t room) except NULL

cdef class Member(Trip):           # a client connection in Site's list
    cdef Member next, prev
    cdef bint joined
    cdef int on_drain(self) except -1
    cdef int on_moved(self) except -1

cdef class Site:
    cdef readonly object loop
    cdef readonly Arena arena
    cdef Wheel wheel
    cdef Readiness readiness
    cdef Head request              # scratch: valid until the steps first wait
    cdef Head answer
    cdef Head trailers
    cdef Head stored_head
    cdef Scratch out               # for heads to clients
    cdef Scratch tail              # for trailers: they go out together with a head that is in `out`
    cdef Scratch key               # for the cache key of `request`
    cdef Scratch stored            # for stored heads
    cdef Scratch edited            # what `answer` is parsed from once it has been edited
    cdef Scratch spare             # the next one of those
    cdef Head sent                 # of a request as the server will get it, while it is edited
    cdef Edits edits
    cdef Block *blocks             # free ones
    cdef HeadLimits answer_limits
    cdef readonly bint draining
    cdef readonly uint64_t sessions    # open client connections
    cdef uint64_t serial           # how many there have been
    cdef uint64_t blocks_made      # and not freed since
    cdef Member first              # all of them
    cdef set followers             # Members that wait for another's fetch
    cdef readonly set fetchers     # who fetches for the cache, without a client
    cdef object moved              # epoll set that holds the store's eventfd
    cdef bytes date

    cdef Block *take_block(self, uint32_t room) except NULL
    cdef void give_block(self, Block *block) noexcept
    cdef char *scratch(self, uint32_t room) except NULL
    cdef void join(self, Member member)
    cdef void quit(self, Member member)

cdef class Entry:                  # one listener: where requests enter the chain
    cdef Site site
    cdef object make               # the Session class
    cdef Tier cdn                  # None where the chain begins later
    cdef Tier elb
    cdef Tier haproxy              # None behind an elb: there the target decides
    cdef Tier tier                 # the first of them: limits, timeouts, error pages
    cdef Cache cache               # of the cdn; None where it is not in this listener's chain
    cdef Recipe recipe             # what the whole chain does to heads
    cdef Recipe asking             # to requests, without what `own` does
    cdef Recipe own                # of a haproxy tier with rules: written after them; else None
    cdef list outer                # by TierKind: Recipe of the tiers in front of it, or None
    cdef HashKey elb_key           # what these tiers balance by; None: by no key
    cdef HashKey haproxy_key
    cdef uint32_t answer_ms        # longest wait for an answer's head: the shortest of all tiers
    cdef uint32_t front_ms         # the same of the tiers in front of the haproxy tier
    cdef uint32_t between_ms       # longest silence inside an answer's body, likewise
    cdef ProxyPeers proxy          # who must send a PROXY header; None: nobody
    cdef int answer_kind           # TierKind of the tier that has answer_ms
