# READ FIRST with session.pyx: one client connection and the request on it.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from posix.uio cimport iovec

from ext.arena cimport Arena
from ext.forward cimport Recipe
from ext.http1 cimport Head, HeadLimits, Chunked
from ext.limits cimport TRIED_MAX
from ext.stream cimport ReadBuffer
from ext.timers cimport Wheel
from ext.upstream cimport Connecting, Exchange, NodeConnection, Server, Tier

cdef enum Step:                    # rows of STEPS in session.pyx
    RECEIVE, HASH, LOOKUP, PASS, ELB, HAPROXY, FETCH, DELIVER, ERROR, LOG,
    WAIT,                          # the step left; an event re-enters at the same row
    DONE

cdef enum Phase:
    IDLE                           # between requests, or inside a head
    WAITING                        # for a queue slot, a turn-around or a connect
    AWAIT                          # the request is being sent; no answer head yet
    RELAY                          # the answer's head has been sent on
    TUNNEL                         # after 101
    LINGER                         # answered and closing: what still arrives is dropped

cdef enum Wait:
    WAIT_SLOT, WAIT_TURN, WAIT_CONNECT

cdef struct Block:                 # a request as sent upstream: head, then body while it fits
    Block *next
    char *data
    uint32_t size
    uint32_t room

cdef class Site:                   # what all connections of a worker share
    cdef readonly object loop
    cdef readonly Arena arena
    cdef Wheel wheel
    cdef ReadBuffer input
    cdef Head request              # scratch: valid until the steps first wait
    cdef Head answer
    cdef char *out                 # scratch for heads to clients and trailers
    cdef uint32_t out_room
    cdef Block *blocks             # free ones
    cdef HeadLimits answer_limits
    cdef readonly bint draining
    cdef readonly uint64_t sessions    # open client connections
    cdef Session first             # all of them
    cdef bytes date

    cdef Block *take_block(self, uint32_t room) except NULL
    cdef void give_block(self, Block *block) noexcept
    cdef char *scratch(self, uint32_t room) except NULL

cdef class Entry:                  # one listener: where requests enter the chain
    cdef Site site
    cdef Tier cdn                  # None where the chain begins later
    cdef Tier elb
    cdef Tier haproxy
    cdef Tier tier                 # the first of them: limits, timeouts, error pages
    cdef Recipe recipe
    cdef bint needs_uri            # some tier hashes the path
    cdef uint32_t answer_ms        # longest wait for an answer's head: the shortest of all tiers
    cdef uint32_t between_ms       # longest silence inside an answer's body, likewise
    cdef int answer_kind           # TierKind of the tier that has answer_ms

cdef class Session(Exchange):
    cdef Site site
    cdef Entry entry
    cdef Session next, prev        # in Site.first
    cdef uint8_t phase             # Phase
    cdef uint8_t row               # Step to re-enter after WAIT
    cdef uint8_t wait              # Wait
    cdef bint in_use               # use() is running: do not start another request inside it
    cdef bint client_ended         # FIN seen
    cdef bint handed               # the entry counted this connection
    cdef uint8_t client_size
    cdef char client[46]           # address as text; INET6_ADDRSTRLEN
    cdef uint64_t source_hash
    cdef uint32_t requests         # on this connection

    # the request
    cdef uint8_t method, minor, request_body
    cdef bint keep_alive, upgrade, expects, idempotent, request_done, sent
    cdef int64_t request_left
    cdef uint64_t request_bytes    # of its body
    cdef Chunked request_chunks
    cdef uint64_t started_us
    cdef uint64_t uri_hash
    cdef Block *block
    cdef bint replayable
    cdef char *part                # bytes at hand: borrowed while use() or resume_at() runs
    cdef uint32_t part_size, part_used

    # its way
    cdef Tier passed_elb           # counted there
    cdef Tier passed_haproxy
    cdef Server target             # of the elb, fused
    cdef Server server
    cdef NodeConnection node
    cdef Connecting connecting
    cdef uint16_t tried[TRIED_MAX]
    cdef uint8_t tried_count
    cdef int attempts_left
    cdef uint64_t queue_due_ms     # 0 = has not queued yet

    # the answer
    cdef int status                # 0 none yet; -1 gone without one
    cdef Tier blamed               # whose page an error gets
    cdef uint8_t answer_body, answer_framing, interims
    cdef bint close_after, node_keeps, answer_done
    cdef int64_t answer_left
    cdef Chunked answer_chunks
    cdef uint64_t answer_bytes

    cdef int run(self, int step) except -1
    cdef int resume_at(self, int step) except -1
    cdef uint32_t use(self, char *p, uint32_t n) except? 0xFFFFFFFF
    cdef int use_kept(self) except -1
    cdef int refuse(self, int reason) except -1
    cdef int choose(self, Tier tier, int row) except -1
    cdef int send_part(self, bint with_head) except -1
    cdef int bad_body(self, int reason, bint unsent) except -1
    cdef int attempt_failed(self, int failure) except -1
    cdef int let_go(self, bint keep) except -1
    cdef uint32_t read_answer_head(self, char *p, uint32_t n) except? 0xFFFFFFFF
    cdef int relay(self, uint32_t head_size) except -1
    cdef int cut(self) except -1
    cdef int leave(self) except -1
    cdef int after(self) except -1
    cdef int linger(self) except -1
    cdef int tunnel_end(self, bint reset) except -1
    cdef int arm(self, uint32_t ms) noexcept
    cdef int fail_with(self, int status, Tier tier) noexcept
    cdef void forget_request(self) noexcept
    cdef Tier passed_queue(self)
    cdef int refuse_cut(self) except -1
    cdef void hold(self, iovec *parts, int count) noexcept
    cdef Tier impatient(self)
    cdef int tier_row(self, Tier tier) noexcept
    cdef int cut_after(self, iovec *parts, int count) except -1
    cdef int waited_out(self) except -1
