# Tiers, their servers, and the kept connections to them.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from ext.arena cimport Arena
from ext.farm cimport Balancer
from ext.http1 cimport HeadLimits
from ext.sticky cimport Stickiness
from ext.persist cimport Cookie
from ext.readiness cimport Readiness
from ext.stream cimport Connection
from ext.timers cimport Wheel

cdef enum TierKind:
    TIER_CDN, TIER_ELB, TIER_HAPROXY, TIER_TCP

cpdef enum Failure:                # of one attempt, set where the fact is known
    NO_FAILURE = 0
    CONNECT_FAILED = 1             # refused, unreachable: nothing was sent
    CONNECT_TIMEOUT = 2
    CLOSED_REUSED = 3              # a kept connection ended without a byte of the answer
    CLOSED_EMPTY = 4               # a new connection ended without a byte of the answer
    CLOSED_PARTIAL = 5             # ended inside the answer's head
    JUNK = 6                       # the answer is not valid HTTP/1.1
    ANSWER_TIMEOUT = 7

cpdef enum NoRetry:
    RETRY = 0
    EXHAUSTED = 1
    NOT_IDEMPOTENT = 2
    BODY_SENT = 3                  # the request is no longer held whole
    NOT_A_CONNECTION_ERROR = 4     # junk and timeouts: likely the request's own fault

cdef class Tier:
    cdef readonly str name
    cdef readonly int kind         # TierKind
    cdef readonly list servers     # of Server
    cdef Balancer balancer
    cdef Stickiness sticky         # of an elb; None: every request is balanced
    cdef int desync_mode           # DesyncMode
    cdef bint other_protocol       # the targets are said to speak another HTTP: 464
    cdef Cookie cookie             # None: every request is balanced
    cdef Tier next                 # fused: the cdn's only backend
    cdef int slot
    cdef uint64_t *cells           # this worker's counters
    cdef HeadLimits request_limits
    cdef uint64_t body_bytes_max   # 0 = no limit
    cdef uint32_t extension_bytes_max, trailer_bytes_max
    cdef uint32_t connect_ms, client_ms, server_ms, http_request_ms, keep_alive_ms, queue_ms
    cdef uint32_t tunnel_ms
    cdef uint32_t retries
    cdef bint redispatch
    cdef uint32_t retry_after_s
    cdef uint32_t error_limit      # consecutive failed connects that mark DOWN; 0 = never
    cdef uint32_t idle_max         # kept connections a server, in this worker
    cdef uint32_t idle_ms          # how long one is kept
    cdef uint32_t connections_max  # client connections of this worker; 0 = no limit
    cdef object queue              # deque of waiting Exchanges
    cdef readonly int orphans      # requests that run on without their clients

    cdef int enqueue(self, Exchange exchange, bint first) except -1
    cdef bint waking, wake_again
    cdef uint64_t yielded_ms       # when a slot was last left to other workers
    cdef int dequeue(self, Exchange exchange) except -1
    cdef int wake(self) except -1

cdef class Server:
    cdef readonly str name
    cdef readonly str host
    cdef readonly int port
    cdef Tier tier
    cdef Tier next_tier            # fused: the tier behind; else None
    cdef object hop                # makes the other end of a connection inside this process
    cdef object loop
    cdef Wheel wheel
    cdef Readiness readiness
    cdef Arena arena
    cdef int slot, row
    cdef int index                 # in tier.servers
    cdef uint64_t yielded_ms       # when a slot was last left to other workers
    cdef uint64_t *cells
    cdef uint32_t maxconn
    cdef readonly int send_proxy   # ProxyVersion: a header comes first; one client per connection
    cdef NodeConnection idle       # newest first
    cdef NodeConnection idle_last
    cdef uint32_t idle_count

    cdef NodeConnection checkout(self)
    cdef int checkin(self, NodeConnection node) except -1
    cdef void unlink(self, NodeConnection node)
    cdef int drop_idle(self) except -1
    cdef Connecting connect(self, Exchange exchange)
    cdef bint take(self) noexcept
    cdef bint others_starve(self) noexcept
    cdef int give_back(self) except -1
    cdef void note_connect(self, bint good) noexcept

cdef class Connecting:             # a connect under way; `exchange` None = nobody waits for it
    cdef Exchange exchange
    cdef object task

cdef class Exchange(Connection):   # what a node connection and a queue talk to: the session
    cdef bint queued
    cdef int on_slot(self) except -1
    cdef int on_connected(self, NodeConnection node) except -1
    cdef int on_connect_failed(self, int failure) except -1
    cdef int on_answer(self, char *p, uint32_t n) except -1
    cdef int on_answer_end(self, bint reset) except -1
    cdef int on_node_writable(self) except -1

cdef class NodeConnection(Connection):
    cdef Server server
    cdef Exchange exchange         # None when kept idle
    cdef NodeConnection next, prev
    cdef bint idle
    cdef bint reused               # has served a request before this one
    cdef bint ended                # FIN seen
    cdef bint counted              # in connections_open
    cdef bint orphan               # its client is gone; it holds the slot until the server answers

    cdef bint alive(self) noexcept
    cdef int leave_to_itself(self, uint32_t ms) except -1
    cdef int close_within(self, uint32_t ms) except -1

cdef int may_retry(int failure, bint idempotent, bint replayable, int attempts_left) noexcept nogil
