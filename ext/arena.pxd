# The shared memory of all processes (design: one memfd). Layout, in this order:
#
#   ArenaHead | ServerSlot[SERVERS_MAX] | TierSlot[TIERS_MAX] | row 0 | row 1 | ...
#   row = RowHead | uint64 tier[TIERS_MAX][TC_COUNT] | uint64 server[SERVERS_MAX][SC_COUNT]
#   behind the last row: the note, twice
#
# One writer per word: slots are written by control (states) and by the supervisor (names), a row
# only by the worker that claimed it. So counters are plain adds without atomics, and a reader
# sums the rows. The words that several processes write (epoch, complaints, connect_fail_streak)
# and the passive DOWN mark use atomics. Nothing in here is a lock, so a process killed at any
# instruction leaves nothing held. Unused rows and slots cost address space, not memory.
from libc.stdint cimport uint32_t, uint64_t
from ext.limits cimport SERVERS_MAX, TIERS_MAX, ROWS_MAX, TEXT_BYTES_MAX

cdef extern from *:
    """
    #define edge_load32(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define edge_load64(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define edge_store32(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define edge_add32(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    #define edge_add64(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    #define edge_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    uint32_t edge_load32(uint32_t *p) noexcept nogil
    uint64_t edge_load64(uint64_t *p) noexcept nogil
    void edge_store32(uint32_t *p, uint32_t v) noexcept nogil
    uint32_t edge_add32(uint32_t *p, uint32_t v) noexcept nogil
    uint64_t edge_add64(uint64_t *p, uint64_t v) noexcept nogil
    void edge_fence() noexcept nogil

cdef enum:                          # a tier's cells; same order as TIER_COUNTERS in arena.pyx
    TC_CONNECTIONS, TC_CONNECTIONS_OPEN, TC_REQUESTS, TC_IN_FLIGHT, TC_QUEUED,
    TC_BYTES_IN, TC_BYTES_OUT,
    TC_1XX, TC_2XX, TC_3XX, TC_4XX, TC_5XX, TC_OTHER,
    TC_REQUEST_ERRORS, TC_CLIENT_ABORTS, TC_RETRIES, TC_REDISPATCHES,
    TC_NO_SERVER, TC_QUEUE_TIMEOUTS, TC_LATENCY_SUM_US,
    TC_CACHE_HITS, TC_CACHE_STALE, TC_CACHE_MISSES, TC_CACHE_JOINS, TC_CACHE_PASSES,
    TC_PROXY_ERRORS,
    TC_UNHEALTHY_ROUTED, TC_NOT_STICKY, TC_DESYNC,
    TC_LATENCY_0,                   # LATENCY_BUCKETS cells
    TC_COUNT = 56

cdef enum:
    LATENCY_BUCKETS = 20

cdef enum:                          # a server's cells; same order as SERVER_COUNTERS in arena.pyx
    SC_REQUESTS, SC_IN_FLIGHT, SC_BYTES_IN, SC_BYTES_OUT,
    SC_1XX, SC_2XX, SC_3XX, SC_4XX, SC_5XX, SC_OTHER,
    SC_CONNECTS, SC_REUSES, SC_CONNECTIONS_OPEN, SC_CONNECTIONS_IDLE,
    SC_CONNECT_ERRORS, SC_RESPONSE_ERRORS, SC_SERVER_ABORTS, SC_CLIENT_ABORTS,
    SC_RETRIES, SC_REDISPATCHES,
    SC_COUNT = 24

cdef struct ArenaHead:
    uint64_t magic
    uint64_t version
    uint64_t epoch                  # grows at each change of a slot; workers re-read slots then
    uint32_t servers                # slots in use
    uint32_t tiers
    uint32_t rows                   # rows ever used; readers sum this many
    uint32_t complaints             # failed connects that workers have reported
    uint32_t note_turn              # which of the two notes counts: the low bit
    uint32_t note_sizes[2]

cdef struct ServerSlot:
    uint32_t state                  # ServerState
    uint32_t admin                  # AdminState
    uint32_t weight                 # effective, 0..256
    uint32_t health                 # 0 .. rise + fall - 1
    uint32_t connect_fail_streak    # workers: consecutive failed connects; a good one zeroes it
    uint32_t checked                # 0 until the first check has ended
    double changed_at               # unix seconds of the last change of state
    char check_status[16]
    char name[TEXT_BYTES_MAX]

cdef struct TierSlot:
    char name[TEXT_BYTES_MAX]

cdef struct RowHead:
    uint64_t pid                    # 0 = free
    uint64_t started_at_ms          # unix milliseconds
    uint64_t reserved[14]


cdef class Arena:
    cdef readonly int fd
    cdef char *base
    cdef ArenaHead *head
    cdef ServerSlot *servers
    cdef TierSlot *tiers

    cdef RowHead *row_head(self, int row) noexcept
    cdef uint64_t *tier_cells(self, int row, int tier) noexcept
    cdef uint64_t *server_cells(self, int row, int server) noexcept
    cdef bint mark_down(self, int server) noexcept


cdef int latency_bucket(uint64_t us) noexcept nogil
