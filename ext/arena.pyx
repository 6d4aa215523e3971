"""The arena: one memfd, mapped by the supervisor, the workers and control. Layout in arena.pxd.

The supervisor creates it and names the slots; control writes server states; each worker writes
the counters of its own row. It outlives workers and reloads, and goes when the last process
that maps it ends.
"""
import os
import time

from libc.string cimport memcpy, memset, strncmp
from posix.mman cimport mmap, munmap, PROT_READ, PROT_WRITE, MAP_SHARED, MAP_FAILED

cdef enum:
    MAGIC = 0x65646765              # "edge"
    VERSION = 2
    NOTE_BYTES_MAX = 65536          # a thousand nodes that were added at run time

TIER_COUNTERS = (
    ("connections", "counter", "Client connections accepted."),
    ("connections_open", "gauge", "Client connections open now."),
    ("requests", "counter", "Requests received."),
    ("in_flight", "gauge", "Requests being served now."),
    ("queued", "gauge", "Requests waiting for a free server slot."),
    ("bytes_in", "counter", "Bytes received from clients."),
    ("bytes_out", "counter", "Bytes sent to clients."),
    ("responses_1xx", "counter", "Interim and switching answers."),
    ("responses_2xx", "counter", "Answers with a 2xx status."),
    ("responses_3xx", "counter", "Answers with a 3xx status."),
    ("responses_4xx", "counter", "Answers with a 4xx status."),
    ("responses_5xx", "counter", "Answers with a 5xx status."),
    ("responses_other", "counter", "Answers with any other status."),
    ("request_errors", "counter", "Requests refused (400, 408, 413, 414, 431)."),
    ("client_aborts", "counter", "Requests whose client went away."),
    ("retries", "counter", "Attempts repeated on the same server."),
    ("redispatches", "counter", "Attempts repeated on another server."),
    ("no_server", "counter", "Requests answered 503 because no server was usable."),
    ("queue_timeouts", "counter", "Requests answered 503 after waiting in the queue."),
    ("latency_sum_us", "counter", "Sum of the request times, in microseconds."),
    ("cache_hits", "counter", "Requests answered from the cache, stale ones included."),
    ("cache_stale", "counter", "Requests answered from the cache with something stale."),
    ("cache_misses", "counter", "Requests that fetched for the cache."),
    ("cache_joins", "counter", "Requests that waited for another request's fetch."),
    ("cache_passes", "counter", "Requests that went to the origin past the cache."),
    ("proxy_errors", "counter", "Connections ended for a bad, late or missing PROXY header."),
    ("unhealthy_routed", "counter", "Requests routed with too few healthy targets: to any."),
    ("not_sticky", "counter", "Requests whose cookie named no target that may be used."),
    ("desync", "counter", "Requests that desync mitigation found not compliant."),
)
SERVER_COUNTERS = (
    ("requests", "counter", "Requests sent to the server."),
    ("in_flight", "gauge", "Requests at the server now."),
    ("bytes_in", "counter", "Bytes sent to the server."),
    ("bytes_out", "counter", "Bytes received from the server."),
    ("responses_1xx", "counter", "Interim and switching answers."),
    ("responses_2xx", "counter", "Answers with a 2xx status."),
    ("responses_3xx", "counter", "Answers with a 3xx status."),
    ("responses_4xx", "counter", "Answers with a 4xx status."),
    ("responses_5xx", "counter", "Answers with a 5xx status."),
    ("responses_other", "counter", "Answers with any other status."),
    ("connects", "counter", "New connections established."),
    ("reuses", "counter", "Requests that took a kept connection."),
    ("connections_open", "gauge", "Connections open now."),
    ("connections_idle", "gauge", "Kept connections waiting for a request."),
    ("connect_errors", "counter", "Failed connects, refused or timed out."),
    ("response_errors", "counter", "Answers that were missing, malformed or late."),
    ("server_aborts", "counter", "Answers cut short by the server."),
    ("client_aborts", "counter", "Requests whose client went away."),
    ("retries", "counter", "Attempts repeated on this server."),
    ("redispatches", "counter", "Attempts moved away from this server."),
    ("queued", "gauge", "Requests waiting for this server and no other."),
)
# Upper bounds in microseconds; the last bucket has no bound. 100 us is one loopback round trip
# of a busy proxy; 60 s is the longest default timeout.
LATENCY_BOUNDS_US = (
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 20_000_000, 30_000_000, 60_000_000,
)

cdef size_t SLOTS_AT = 4096
cdef size_t TIERS_AT = SLOTS_AT + SERVERS_MAX * sizeof(ServerSlot)
cdef size_t ROWS_AT = (TIERS_AT + TIERS_MAX * sizeof(TierSlot) + 4095) // 4096 * 4096
cdef size_t TIER_CELLS_AT = sizeof(RowHead)
cdef size_t SERVER_CELLS_AT = TIER_CELLS_AT + TIERS_MAX * TC_COUNT * sizeof(uint64_t)
cdef size_t SESSIONS_AT = SERVER_CELLS_AT + SERVERS_MAX * SC_COUNT * sizeof(uint64_t)
cdef size_t ROW_BYTES = (SESSIONS_AT + SESSIONS_SHOWN_MAX * sizeof(SessionEntry)
                         + 4095) // 4096 * 4096
cdef size_t NOTE_AT = ROWS_AT + ROWS_MAX * ROW_BYTES
cdef size_t ARENA_BYTES = NOTE_AT + 2 * NOTE_BYTES_MAX

cdef uint64_t[LATENCY_BUCKETS - 1] bounds_us
for _i in range(LATENCY_BUCKETS - 1):
    bounds_us[_i] = LATENCY_BOUNDS_US[_i]


cdef int latency_bucket(uint64_t us) noexcept nogil:
    """Index of the histogram cell for a duration; linear, because most are in the first few."""
    cdef int i = 0
    while i < LATENCY_BUCKETS - 1 and us > bounds_us[i]:
        i += 1
    return i


cdef class Arena:
    """One mapping of the shared memory. `Arena.create()` in the supervisor, `attach(fd)` else."""

    def __cinit__(self, int fd):
        self.fd = fd
        self.base = <char *>mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if self.base == <char *>MAP_FAILED:
            self.base = NULL
            raise MemoryError("cannot map the arena")
        self.head = <ArenaHead *>self.base
        self.servers = <ServerSlot *>(self.base + SLOTS_AT)
        self.tiers = <TierSlot *>(self.base + TIERS_AT)

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, ARENA_BYTES)

    @staticmethod
    def create():
        """Make a new arena; its descriptor is inheritable and owned by the caller."""
        fd = os.memfd_create("edge-arena", 0)
        os.ftruncate(fd, ARENA_BYTES)
        os.set_inheritable(fd, True)
        cdef Arena arena = Arena(fd)
        arena.head.magic = MAGIC
        arena.head.version = VERSION
        return arena

    @staticmethod
    def attach(int fd):
        """Map an arena made by another process. ValueError if it is not one of this version."""
        if os.fstat(fd).st_size != ARENA_BYTES:
            raise ValueError(f"descriptor {fd} is not an arena of this version")
        cdef Arena arena = Arena(fd)
        if arena.head.magic != MAGIC or arena.head.version != VERSION:
            raise ValueError(f"descriptor {fd} is not an arena of this version")
        return arena

    # -- C surface: hot path ------------------------------------------------------------------

    cdef RowHead *row_head(self, int row) noexcept:
        return <RowHead *>(self.base + ROWS_AT + row * ROW_BYTES)

    cdef uint64_t *tier_cells(self, int row, int tier) noexcept:
        """The TC_COUNT counters of a tier in a row; borrowed while the arena lives."""
        return <uint64_t *>(self.base + ROWS_AT + row * ROW_BYTES + TIER_CELLS_AT) + tier * TC_COUNT

    cdef uint64_t *server_cells(self, int row, int server) noexcept:
        """The SC_COUNT counters of a server in a row; borrowed while the arena lives."""
        return (<uint64_t *>(self.base + ROWS_AT + row * ROW_BYTES + SERVER_CELLS_AT)
                + server * SC_COUNT)

    cdef SessionEntry *session_entry(self, int row, int index) noexcept:
        return <SessionEntry *>(self.base + ROWS_AT + row * ROW_BYTES + SESSIONS_AT) + index

    cdef bint mark_down(self, int server) noexcept:
        """Passive mark by a worker: UP -> DOWN. True if this call made the change."""
        cdef ServerSlot *slot = &self.servers[server]
        if edge_load32(&slot.state) == 1:
            return False
        slot.health = 0
        slot.changed_at = time.time()
        edge_store32(&slot.state, 1)
        edge_add64(&self.head.epoch, 1)
        return True

    # -- names ---------------------------------------------------------------------------------

    def server_slot(self, str name) -> int:
        """Slot of a server `tier/server`, allocated at the first call. Supervisor only."""
        cdef bytes raw = self._text(name)
        cdef uint32_t i
        for i in range(self.head.servers):
            if strncmp(self.servers[i].name, raw, TEXT_BYTES_MAX) == 0:
                return i
        if self.head.servers >= SERVERS_MAX:
            raise ValueError(f"more than {SERVERS_MAX} servers")
        i = self.head.servers
        memset(&self.servers[i], 0, sizeof(ServerSlot))
        memcpy(self.servers[i].name, <char *>raw, len(raw))
        self.servers[i].weight = self.servers[i].user_weight = self.servers[i].file_weight = 1
        self.servers[i].changed_at = time.time()
        edge_store32(&self.head.servers, i + 1)
        return i

    def tier_slot(self, str name) -> int:
        """Slot of a tier, allocated at the first call. Supervisor only."""
        cdef bytes raw = self._text(name)
        cdef uint32_t i
        for i in range(self.head.tiers):
            if strncmp(self.tiers[i].name, raw, TEXT_BYTES_MAX) == 0:
                return i
        if self.head.tiers >= TIERS_MAX:
            raise ValueError(f"more than {TIERS_MAX} tiers")
        i = self.head.tiers
        memcpy(self.tiers[i].name, <char *>raw, len(raw))
        edge_store32(&self.head.tiers, i + 1)
        return i

    def _text(self, str name) -> bytes:
        raw = name.encode()
        if not 0 < len(raw) < TEXT_BYTES_MAX:
            raise ValueError(f"name {name!r} must have 1 to {TEXT_BYTES_MAX - 1} bytes")
        return raw

    def server_names(self) -> dict:
        return {self.servers[i].name.decode(): i for i in range(self.head.servers)}

    def tier_names(self) -> dict:
        return {self.tiers[i].name.decode(): i for i in range(self.head.tiers)}

    # -- the note ------------------------------------------------------------------------------

    def note(self) -> bytes:
        """What control has noted for the generations after this one."""
        cdef uint32_t turn = edge_load32(&self.head.note_turn) & 1
        cdef const char *text = self.base + NOTE_AT + turn * NOTE_BYTES_MAX
        return text[:self.head.note_sizes[turn]]

    def set_note(self, bytes text not None) -> None:
        """Control only. Written aside and then made valid, so a death in between changes nothing.
        ValueError if it is too long."""
        cdef uint32_t turn = edge_load32(&self.head.note_turn) + 1
        if len(text) > NOTE_BYTES_MAX:
            raise ValueError(f"a note has at most {NOTE_BYTES_MAX} bytes, not {len(text)}")
        memcpy(self.base + NOTE_AT + (turn & 1) * NOTE_BYTES_MAX, <const char *>text, len(text))
        self.head.note_sizes[turn & 1] = <uint32_t>len(text)
        edge_store32(&self.head.note_turn, turn)

    # -- states --------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return edge_load64(&self.head.epoch)

    @property
    def news(self) -> int:
        """Another number whenever a server's state has changed or a connect has failed."""
        return edge_load64(&self.head.epoch) + (<uint64_t>edge_load32(&self.head.complaints) << 32)

    def server(self, int slot) -> dict:
        """State of one server; see ServerSlot for the units."""
        self._check(slot)
        cdef ServerSlot *s = &self.servers[slot]
        return {
            "state": edge_load32(&s.state), "admin": edge_load32(&s.admin), "weight": s.weight,
            "health": s.health, "changed_at": s.changed_at, "checked": bool(s.checked),
            "check_status": s.check_status.decode(),
            "connect_fail_streak": edge_load32(&s.connect_fail_streak),
            "user_weight": s.user_weight, "file_weight": s.file_weight, "ramp": s.ramp,
            "ramp_began_at": s.ramp_began_at, "maxconn": edge_load32(&s.maxconn),
            "agent_down": bool(s.agent_down),
            "error_events": edge_load32(&s.error_events),
            "errors_counted": s.errors_counted, "last_error": s.last_error,
            "address": s.address.decode(), "port": s.port,
        }

    def count_usable(self, slots) -> int:
        """How many of these servers would take a new request, HAProxy's `nbsrv`."""
        cdef ServerSlot *s
        cdef int slot, count = 0
        for slot in slots:
            self._check(slot)
            s = &self.servers[slot]
            count += (edge_load32(&s.state) == UP and edge_load32(&s.admin) == READY
                      and edge_load32(&s.weight) > 0)
        return count

    def set_server(self, int slot, *, state=None, admin=None, weight=None, health=None,
                   check_status=None, connect_fail_streak=None, checked=None, file_weight=None,
                   ramp=None, ramp_began_at=None, maxconn=None, agent_down=None) -> None:
        """Change parts of a server's state; workers see it at their next request.

        `weight` is the user's; the effective one follows from it and `ramp`.
        """
        self._check(slot)
        cdef ServerSlot *s = &self.servers[slot]
        cdef bytes text
        if health is not None:
            s.health = health
        self._set_weights(s, weight, file_weight, ramp)
        if ramp_began_at is not None:
            s.ramp_began_at = ramp_began_at
        if maxconn is not None:
            edge_store32(&s.maxconn, maxconn)
        if agent_down is not None:
            s.agent_down = 1 if agent_down else 0
        if check_status is not None:
            text = check_status.encode()[:15]
            memset(s.check_status, 0, 16)
            memcpy(s.check_status, <char *>text, len(text))
        if checked is not None:
            s.checked = 1 if checked else 0
        if connect_fail_streak is not None:
            edge_store32(&s.connect_fail_streak, connect_fail_streak)
            edge_add32(&self.head.complaints, 1)
        if maxconn is not None:
            edge_store32(&s.maxconn, maxconn)
        if admin is not None:
            if edge_load32(&s.admin) != <uint32_t>admin:
                s.changed_at = time.time()
            edge_store32(&s.admin, admin)
        if state is not None:
            if edge_load32(&s.state) != <uint32_t>state:
                s.changed_at = time.time()
            edge_store32(&s.state, state)
        if any([value is not None for value in (state, admin, weight, ramp, maxconn)]):
            edge_add64(&self.head.epoch, 1)

    def may_persist_for_test(self, int slot) -> bool:
        self._check(slot)
        return bool(may_persist(&self.servers[slot]))

    def maxconn_for_test(self, int slot, uint32_t configured) -> int:
        self._check(slot)
        return maxconn_now(&self.servers[slot], configured)

    cdef int _set_weights(self, ServerSlot *s, object weight, object file_weight,
                          object ramp) except -1:
        for value in (weight, file_weight):
            if value is not None and not 0 <= value <= 256:
                raise ValueError(f"weight {value} is not between 0 and 256")
        if ramp is not None and not 0 <= ramp < RAMP_STEPS:
            raise ValueError(f"ramp {ramp} is not between 0 and {RAMP_STEPS - 1}")
        if file_weight is not None:
            s.file_weight = file_weight
        if weight is not None:
            s.user_weight = weight
        if ramp is not None:
            edge_store32(&s.ramp, ramp)
        # Rounded up, as HAProxy does: a server that starts gets some traffic.
        edge_store32(&s.weight, s.user_weight if s.ramp == 0 else
                     (s.user_weight * s.ramp + RAMP_STEPS - 1) // RAMP_STEPS)
        return 0

    def move_server(self, int slot, str address, uint32_t port) -> None:
        """Another address for new connections; empty: the configured one again."""
        self._check(slot)
        cdef ServerSlot *s = &self.servers[slot]
        cdef bytes text = address.encode()
        if len(text) >= ADDRESS_BYTES_MAX:
            raise ValueError(f"address {address!r} is longer than {ADDRESS_BYTES_MAX - 1} bytes")
        if s.port == port and s.address.decode() == address:
            return
        edge_store32(&s.moves, s.moves | 1)    # even if the last writer died while it wrote
        edge_fence()
        memset(s.address, 0, ADDRESS_BYTES_MAX)
        memcpy(s.address, <char *>text, len(text))
        s.port = port
        edge_add32(&s.moves, 1)
        edge_add64(&self.head.epoch, 1)

    def shut_down_sessions(self, int slot) -> None:
        """Workers cut what runs at the server within a tick."""
        self._check(slot)
        edge_add32(&self.servers[slot].shutdowns, 1)
        edge_add64(&self.head.epoch, 1)

    def set_maxconn(self, int tier, uint32_t maxconn) -> None:
        """Client connections of a tier, or of the whole process group (-1); 0: as configured."""
        if not -1 <= tier < <int>self.head.tiers:
            raise IndexError(f"no tier slot {tier}")
        edge_store32(&self.tiers[tier].maxconn if tier >= 0 else &self.head.maxconn, maxconn)

    def maxconn(self, int tier) -> int:
        if not -1 <= tier < <int>self.head.tiers:
            raise IndexError(f"no tier slot {tier}")
        return edge_load32(&self.tiers[tier].maxconn if tier >= 0 else &self.head.maxconn)

    # -- orders to workers (ext/orders.pyx) ------------------------------------------------------

    def ask_sessions(self) -> list:
        """Ask every worker for its table of sessions; the rows that will answer."""
        cdef int row
        asked = []
        for row in range(self.head.rows):
            if self.row_head(row).pid:
                self.row_head(row).list_asked += 1
                asked.append(row)
        return asked

    def has_told(self, int row) -> bool:
        """Has the row's worker written its table, and ended what it was to end? Or is it gone?"""
        cdef RowHead *head = self.row_head(row)
        return head.pid == 0 or (edge_load64(&head.list_told) == head.list_asked
                                 and edge_load64(&head.kill_told) == head.kill_asked)

    def sessions(self, int row) -> tuple:
        """(sessions in the worker, those that it told as dicts, request blocks, free ones, bytes of
        scratch memory), as of its last answer."""
        cdef RowHead *head = self.row_head(row)
        cdef SessionEntry *e
        cdef uint64_t i
        told = []
        for i in range(min(head.shown, <uint64_t>SESSIONS_SHOWN_MAX)):
            e = self.session_entry(row, i)
            told.append({"id": e.id, "age_us": e.age_us, "requests": e.requests,
                         "request_us": e.request_us, "tier": e.tier, "server": e.server,
                         "target": e.target, "expires_ms": e.expires_ms, "fd": e.fd,
                         "server_fd": e.server_fd, "held_bytes": e.held_bytes, "phase": e.phase,
                         "wait": e.wait, "row": e.row, "address": e.address.decode()})
        return head.sessions, told, head.blocks, head.blocks_free, head.scratch_bytes

    def kill_session(self, int row, uint64_t session) -> None:
        """Ask a worker to end one session."""
        cdef RowHead *head = self.row_head(row)
        head.kill_id = session
        edge_add64(&head.kill_asked, 1)

    def was_killed(self, int row) -> bool:
        """Did the worker find the session that it was told to end?"""
        return bool(self.row_head(row).kill_found)

    def _check(self, int slot) -> None:
        if not 0 <= slot < <int>self.head.servers:
            raise IndexError(f"no server slot {slot}")

    # -- rows and sums -------------------------------------------------------------------------

    def claim_row(self, uint64_t pid) -> int:
        """Take a free row for a worker. Counters in it go on where its last owner stopped."""
        cdef int row
        for row in range(ROWS_MAX):
            if self.row_head(row).pid == 0:
                self.row_head(row).pid = pid
                self.row_head(row).started_at_ms = <uint64_t>(time.time() * 1000)
                if row >= <int>self.head.rows:
                    edge_store32(&self.head.rows, row + 1)
                return row
        raise ValueError(f"all {ROWS_MAX} worker rows are in use")

    def set_row_pid(self, int row, uint64_t pid) -> None:
        self.row_head(row).pid = pid

    def release_row(self, int row) -> None:
        """The row's worker is gone: its gauges fall to zero, its counters stay."""
        cdef int slot, index
        for index, (_, kind, _) in enumerate(TIER_COUNTERS):
            if kind == "gauge":
                for slot in range(self.head.tiers):
                    self.tier_cells(row, slot)[index] = 0
        for index, (_, kind, _) in enumerate(SERVER_COUNTERS):
            if kind == "gauge":
                for slot in range(self.head.servers):
                    self.server_cells(row, slot)[index] = 0
        self.row_head(row).pid = 0

    def rows(self) -> list:
        """The rows in use: row, pid, started_at (unix s), connections open."""
        found = []
        cdef int row, tier
        cdef uint64_t connections
        for row in range(self.head.rows):
            if self.row_head(row).pid:
                connections = 0
                for tier in range(self.head.tiers):
                    connections += self.tier_cells(row, tier)[TC_CONNECTIONS_OPEN]
                found.append({"row": row, "pid": self.row_head(row).pid,
                              "started_at": self.row_head(row).started_at_ms / 1000.0,
                              "connections": connections})
        return found

    def server_counters(self, int slot) -> dict:
        """Every counter of a server, summed over all rows."""
        self._check(slot)
        cdef int row
        sums = [0] * len(SERVER_COUNTERS)
        for row in range(self.head.rows):
            for i in range(len(sums)):
                sums[i] += self.server_cells(row, slot)[i]
        return {name: sums[i] for i, (name, _, _) in enumerate(SERVER_COUNTERS)}

    def tier_counters(self, int slot) -> dict:
        """Every counter of a tier, summed over all rows."""
        cdef int row
        if not 0 <= slot < <int>self.head.tiers:
            raise IndexError(f"no tier slot {slot}")
        sums = [0] * len(TIER_COUNTERS)
        for row in range(self.head.rows):
            for i in range(len(sums)):
                sums[i] += self.tier_cells(row, slot)[i]
        return {name: sums[i] for i, (name, _, _) in enumerate(TIER_COUNTERS)}

    def tier_latency(self, int slot) -> tuple:
        """(bounds in us, count per bucket with one more for the rest, sum in us) of a tier."""
        cdef int row, i
        counts = [0] * LATENCY_BUCKETS
        for row in range(self.head.rows):
            for i in range(LATENCY_BUCKETS):
                counts[i] += self.tier_cells(row, slot)[TC_LATENCY_0 + i]
        return LATENCY_BOUNDS_US, counts, self.tier_counters(slot)["latency_sum_us"]
