# The shared memory of all processes (design: one memfd). Layout, in this order:
#
#   ArenaHead | ServerSlot[SERVERS_MAX] | TierSlot[TIERS_MAX] | row 0 | row 1 | ...
#   row = RowHead | uint64 tier[TIERS_MAX][TC_COUNT] | uint64 server[SERVERS_MAX][SC_COUNT]
#         | SessionEntry[SESSIONS_SHOWN_MAX]
#   behind the last row: the note, twice
#
# One writer per word: slots are written by control (states) and by the supervisor (names), a row
# only by the worker that claimed it, its orders by control. So counters are plain adds without
# atomics, and a reader sums the rows. The words that several processes write (epoch, complaints,
# connect_fail_streak, errors) and the passive DOWN mark use atomics. Nothing in here is a lock, so
# a process killed at any instruction leaves nothing held. Unused rows and slots cost address
# space, not memory.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from ext.limits cimport (
    ADDRESS_BYTES_MAX, DRAIN, MAXCONN_NONE, NOLB, RAMP_STEPS, READY, ROWS_MAX, SERVERS_MAX,
    SESSIONS_SHOWN_MAX, TEXT_BYTES_MAX, TIERS_MAX, UP)

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
    SC_RETRIES, SC_REDISPATCHES, SC_QUEUED,
    SC_COUNT = 24

cdef struct ArenaHead:
    uint64_t magic
    uint64_t version
    uint64_t epoch                  # grows at each change of a slot; workers re-read slots then
    uint32_t servers                # slots in use
    uint32_t tiers
    uint32_t rows                   # rows ever used; readers sum this many
    uint32_t complaints             # failed connects that workers have reported
    uint32_t maxconn                # `set maxconn global`: client connections; 0 = as configured
    uint32_t note_turn              # which of the two notes counts: the low bit
    uint32_t note_sizes[2]

cdef struct ServerSlot:
    uint32_t state                  # ServerState
    uint32_t admin                  # AdminState
    uint32_t weight                 # effective, 0..256: user_weight, less during a slow start
    uint32_t health                 # 0 .. rise + fall - 1
    uint32_t connect_fail_streak    # workers: consecutive failed connects; a good one zeroes it
    uint32_t checked                # 0 until the first check has ended
    uint32_t user_weight            # 0..256, from the file, an operator or the agent
    uint32_t file_weight            # 0..256, what the file says: percentages are of this
    uint32_t ramp                   # slow start: 1..15 of RAMP_STEPS parts; 0: all of it
    uint32_t maxconn                # set at run time; 0 = as configured, MAXCONN_NONE = none
    uint32_t agent_down             # 1 while the agent says that the server is down
    double ramp_began_at            # monotonic seconds, of the slow start that goes on
    double changed_at               # unix seconds of the last change of state
    uint32_t errors                 # workers: consecutive errors (ext/observe.pyx)
    uint32_t errors_counted         # how many there were when they reached the limit
    uint32_t last_error             # the last of these (Observed)
    uint32_t error_events           # how often they reached it
    uint32_t shutdowns              # grows when the server's running requests are to be cut
    uint32_t moves                  # changes of the address: odd while one is being written
    uint32_t port                   # of `set server addr`
    char address[ADDRESS_BYTES_MAX]  # of `set server addr`; empty = as configured
    char check_status[16]
    char name[TEXT_BYTES_MAX]


cdef inline bint may_persist(ServerSlot *slot) noexcept nogil:
    """May a request that belongs to this server (cookie, stick table) still go there?"""
    return (edge_load32(&slot.state) in (UP, NOLB)
            and edge_load32(&slot.admin) in (READY, DRAIN))


cdef inline uint32_t maxconn_now(ServerSlot *slot, uint32_t configured) noexcept nogil:
    """Concurrent requests the server takes now, 0 = no limit: a slow start lets in its part."""
    cdef uint32_t most = edge_load32(&slot.maxconn)
    cdef uint32_t ramp = edge_load32(&slot.ramp)
    if most == MAXCONN_NONE:
        return 0
    if most == 0:
        most = configured
    if most == 0 or ramp == 0:
        return most
    most = <uint32_t>(<uint64_t>most * ramp // RAMP_STEPS)
    return most if most > 1 else 1


cdef struct TierSlot:
    char name[TEXT_BYTES_MAX]
    uint32_t maxconn                # `set maxconn frontend`; 0 = as configured

cdef struct RowHead:
    uint64_t pid                    # 0 = free
    uint64_t started_at_ms          # unix milliseconds
    # Orders: a number that control raises, and the worker repeats when it has obeyed.
    uint64_t list_asked, list_told  # write the table of sessions
    uint64_t kill_asked, kill_told  # end the session `kill_id`
    uint64_t kill_id, kill_found
    uint64_t sessions, shown        # with the table: how many there are, how many are in it
    uint64_t blocks, blocks_free    # with the table: request blocks in this worker
    uint64_t scratch_bytes          # with the table: its scratch memory
    uint64_t reserved[3]

cdef struct SessionEntry:           # one session, as `show sess` shows it
    uint64_t id                     # unique in its worker's life
    uint64_t age_us                 # of the connection
    uint64_t requests               # on the connection
    uint64_t request_us             # age of the running one
    int32_t tier, server, target    # slots; -1 = none
    int32_t expires_ms              # until its next deadline; -1 = none
    int32_t fd, server_fd           # -1 = none
    uint32_t held_bytes             # that wait in this process, from and to the client
    uint8_t phase, wait, row, method
    char address[48]                # of the client


cdef class Arena:
    cdef readonly int fd
    cdef char *base
    cdef ArenaHead *head
    cdef ServerSlot *servers
    cdef TierSlot *tiers

    cdef RowHead *row_head(self, int row) noexcept
    cdef uint64_t *tier_cells(self, int row, int tier) noexcept
    cdef uint64_t *server_cells(self, int row, int server) noexcept
    cdef SessionEntry *session_entry(self, int row, int index) noexcept
    cdef bint mark_down(self, int server) noexcept
    cdef int _set_weights(self, ServerSlot *s, object weight, object file_weight,
                          object ramp) except -1


cdef int latency_bucket(uint64_t us) noexcept nogil
