# Tiers, their servers, and the kept connections to them.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ext.arena cimport Arena
from ext.farm cimport Balancer
from ext.hashkey cimport HashKey
from ext.http1 cimport HeadLimits
from ext.sticky cimport Stickiness
from ext.persist cimport Cookie
from ext.observe cimport Observing
from ext.queue cimport Queue, Waiter
from ext.readiness cimport Readiness
from ext.stream cimport Connection
from ext.timers cimport Wheel

cdef enum TierKind:
    TIER_CDN, TIER_ELB, TIER_HAPROXY, TIER_TCP

cdef enum Reuse:                   # HAProxy's http-reuse
    REUSE_NEVER, REUSE_SAFE, REUSE_AGGRESSIVE, REUSE_ALWAYS

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
    cdef HashKey key               # with rules: what it is balanced by; None: by no key
    cdef object rules              # Rules of a haproxy tier; None: it has none
    cdef int default_backend       # with rules: the number of the one that no rule chooses
    cdef int slot
    cdef uint64_t *cells           # this worker's counters
    cdef HeadLimits request_limits
    cdef uint64_t body_bytes_max   # 0 = no limit
    cdef uint32_t extension_bytes_max, trailer_bytes_max
    cdef uint32_t connect_ms, client_ms, server_ms, http_request_ms, keep_alive_ms, queue_ms
    cdef uint32_t tunnel_ms
    cdef uint32_t retries
    cdef int redispatch_after      # N of HAProxy's `option redispatch N`; 0 = never
    cdef bint is_hash              # its algorithm would choose the same server again
    cdef uint32_t retry_on         # RetryOn bits
    cdef bint retry_unsafe         # what is listed repeats every method
    cdef bint heeds_status         # some status is retried, or observed
    cdef Observing observing
    cdef int reuse                 # Reuse
    cdef uint32_t retry_after_s
    cdef uint32_t error_limit      # failed connects in a row that mark DOWN; 0 = never
    cdef uint32_t fullconn         # requests of the tier at which its servers get their maxconn
    cdef uint32_t idle_max         # kept connections a server, in this worker
    cdef uint32_t idle_ms          # how long one is kept
    cdef uint32_t purge_ms         # how often half of the surplus of kept connections is closed
    cdef uint64_t purge_due_ms
    cdef uint64_t epoch            # of the arena when servers were last looked at
    cdef uint32_t connections_max  # client connections of this worker; 0 = no limit
    cdef Arena arena
    cdef Queue queue               # for any server
    cdef uint32_t queued           # in all queues: of the tier and of its servers
    cdef readonly int orphans      # requests that run on without their clients

    cdef int enqueue(self, Exchange exchange, Server bound, bint again) except -1
    cdef int look_at_servers(self) except -1
    cdef int purge_idle(self, uint64_t now) except -1
    cdef bint waking, wake_again
    cdef uint64_t yielded_ms       # when a slot was last left to other workers
    cdef int dequeue(self, Exchange exchange) except -1
    cdef int wake(self, Server freed=*) except -1

cdef class Server:
    cdef readonly str name
    cdef readonly str host
    cdef readonly int port
    cdef str set_host              # where it is by the file
    cdef int set_port
    cdef uint32_t moves            # of the arena's slot when `host` was read
    cdef uint32_t shutdowns        # of the arena's slot, as obeyed
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
    cdef uint32_t maxconn, minconn
    cdef uint32_t maxqueue         # most requests that wait for this server alone; 0 = no limit
    cdef Queue queue               # for this server and no other
    cdef uint32_t used_max         # connections in use since the last purge, and as expected then
    cdef uint32_t used_expected
    cdef readonly int send_proxy   # ProxyVersion: a header comes first; one client per connection
    cdef NodeConnection idle       # newest first
    cdef NodeConnection idle_last
    cdef uint32_t idle_count

    cdef NodeConnection checkout(self, bint first, bint repeatable, uint64_t owner)
    cdef NodeConnection find_kept(self, bint first, bint repeatable, uint64_t owner)
    cdef bint has_no_room(self) noexcept
    cdef bint is_up(self) noexcept
    cdef int read_address(self) except -1
    cdef int observe(self, int what) except -1
    cdef void note_used(self) noexcept
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

cdef class Exchange(Waiter):       # what a node connection and a queue talk to: the session
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
    cdef uint64_t owner            # http_reuse never: the client connection that it serves
    cdef uint32_t moves            # of its server when it was made
    cdef bint counted              # in connections_open
    cdef bint orphan               # its client is gone; it holds the slot until the server answers

    cdef bint alive(self) noexcept
    cdef bint is_early(self) noexcept
    cdef int leave_to_itself(self, uint32_t ms) except -1
    cdef int close_within(self, uint32_t ms) except -1

cdef uint32_t surplus(uint32_t used, uint32_t idle, uint32_t used_max,
                      uint32_t expected) noexcept nogil
