"""A tier's servers as a balancing algorithm sees them: who may be picked, and how busy each is.

Theory. States and weights are read from the arena only when its epoch has moved, so an unchanged
farm costs one load per pick. Who is usable is decided in one place, `refresh`: the active servers
that are live; when there is none the backups, the first one alone as HAProxy does, or all of them
(`allbackups`); and where the tier fails open, every registered server when no live one is left.

Loads. What is in flight at a server is the sum of its cells in the workers' rows. The cells are the
truth: a limit is judged by a fresh sum. But rows times servers is too much memory to read per pick,
so an algorithm that compares loads keeps what it last saw of each (`known`). Its own worker's takes
and returns are told to it at once (`moved`). Those of other workers are found by looking again: at
every pick at a few servers in turn (`sweep`: a small farm whole), and always at the one that is
about to be picked. So a pick is never better than it thought, and a server that others have left is
found after count * rows / SWEEP_CELLS picks at the latest.

Called by: session (elb, haproxy, cdn) and upstream, through ext.balance.
"""
from libc.stdlib cimport calloc, free

from ext.arena cimport (
    SC_IN_FLIGHT, TC_IN_FLIGHT, ServerSlot, edge_load32, edge_load64, maxconn_now)

cdef enum:
    SWEEP_CELLS = 24               # read again per pick: three servers of eight workers


cdef uint32_t dynamic_maxconn(uint32_t minconn, uint32_t maxconn, uint64_t requests,
                              uint32_t fullconn) noexcept nogil:
    """HAProxy's `minconn` and `fullconn`: a server's limit grows with what its tier has to do."""
    if fullconn == 0 or requests >= fullconn:
        return maxconn
    return max(minconn, <uint32_t>(requests * maxconn // fullconn))


def dynamic_maxconn_for_test(uint32_t minconn, uint32_t maxconn, uint64_t requests,
                             uint32_t fullconn):
    return dynamic_maxconn(minconn, maxconn, requests, fullconn)


cdef class Balancer:
    """Base: states, loads, limits. `servers`: (slot, maxconn, backup), in the order of the file.

    `weights`: the file's; without, the arena's now. `seeds`: where a server's points on a ring
    come from; without, its number as HAProxy counts (`id`). `draws`: of `random`.
    `balance_percent`: the most that a hashed server may have of the mean load; 0 = no bound.
    """

    def __cinit__(self, Arena arena not None, int row, list servers, int fail_open=0, *,
                  bint all_backups=False, list weights=None, list seeds=None, int draws=2,
                  uint32_t balance_percent=0):
        cdef Choice *c
        self.arena = arena
        self.row = row
        self.count = len(servers)
        self.fail_open = fail_open
        self.all_backups = all_backups
        self.choices = <Choice *>calloc(max(1, self.count), sizeof(Choice))
        if self.choices == NULL:
            raise MemoryError
        self.stride = arena.server_cells(1, 0) - arena.server_cells(0, 0)
        for i, (slot, maxconn, backup) in enumerate(servers):
            c = &self.choices[i]
            c.slot = slot
            c.maxconn = c.maxconn_set = maxconn
            c.backup = bool(backup)
            c.in_flight = arena.server_cells(0, slot) + SC_IN_FLIGHT
            c.configured = arena.servers[c.slot].weight if weights is None else weights[i]
        self.epoch = <uint64_t>-1

    def __dealloc__(self):
        free(self.choices)

    # -- states --------------------------------------------------------------------------------

    cdef void refresh(self) noexcept:
        """Read states and weights again if the epoch has moved, and decide who is usable."""
        cdef uint64_t epoch = edge_load64(&self.arena.head.epoch)
        cdef int i, live
        cdef Choice *c
        if epoch == self.epoch:
            return
        self.epoch = epoch
        live = self.find_live(False)
        self.opened = live < self.fail_open
        if self.opened:
            live = self.find_live(True)
        self.backup_turn = True
        for i in range(self.count):
            if self.choices[i].live and not self.choices[i].backup:
                self.backup_turn = False
        self.usable = 0
        for i in range(self.count):
            c = &self.choices[i]
            c.usable = (c.live and c.backup == self.backup_turn
                        and (not c.backup or self.all_backups or self.usable == 0))
            self.usable += c.usable
        self.rebuild()

    cdef int find_live(self, bint open_) noexcept:
        """Count those that could be picked by themselves; `open_`: whatever their checks say."""
        cdef int i, live = 0
        cdef Choice *c
        cdef ServerSlot *s
        for i in range(self.count):
            c = &self.choices[i]
            s = &self.arena.servers[c.slot]
            c.weight = edge_load32(&s.weight)
            c.effective = s.user_weight * (edge_load32(&s.ramp) or WEIGHT_SCALE)
            c.maxconn = maxconn_now(s, c.maxconn_set)
            c.live = ((open_ or edge_load32(&s.state) == 0) and edge_load32(&s.admin) == 0
                      and c.weight > 0)
            live += c.live
        return live

    cdef void rebuild(self) noexcept:
        """The set of usable servers or a weight may have changed."""

    # -- loads ---------------------------------------------------------------------------------

    cdef uint64_t load(self, int index) noexcept:
        """Requests in flight at a server, over all workers."""
        return sum_rows(self.choices[index].in_flight, self.arena.head.rows, self.stride)

    cdef void moved(self, int index) noexcept:
        """Look again at one server's load."""
        cdef Choice *c = &self.choices[index]
        cdef uint32_t load = <uint32_t>sum_rows(c.in_flight, self.arena.head.rows, self.stride)
        if load != c.known:
            self.served += <int64_t>load - c.known
            c.known = load
            self.load_changed(index)

    cdef void load_changed(self, int index) noexcept:
        """`known` of a server has changed."""

    cdef void sweep(self) noexcept:
        """Look again at the next few servers."""
        cdef uint32_t rows = self.arena.head.rows
        cdef int left = SWEEP_CELLS // max(1, <int>rows), hand = self.hand
        cdef Choice *c
        left = min(max(1, left), self.count)
        while left:
            left -= 1
            hand = hand + 1 if hand + 1 < self.count else 0
            c = &self.choices[hand]
            if <uint32_t>sum_rows(c.in_flight, rows, self.stride) != c.known:
                self.moved(hand)
        self.hand = hand

    # -- picking -------------------------------------------------------------------------------

    cdef uint32_t limit(self, int index) noexcept:
        """Most requests at once at a server now; 0 = no limit."""
        cdef Choice *c = &self.choices[index]
        cdef uint64_t requests = 0
        cdef int row
        if c.minconn == 0 or c.minconn >= c.maxconn:
            return c.maxconn
        for row in range(<int>self.arena.head.rows):
            requests += self.arena.tier_cells(row, self.tier_slot)[TC_IN_FLIGHT]
        return dynamic_maxconn(c.minconn, c.maxconn, requests, self.fullconn)

    cdef bint has_room(self, int index) noexcept:
        """Is a usable server below its maxconn?"""
        cdef Choice *c = &self.choices[index]
        return c.maxconn == 0 or self.load(index) < self.limit(index)

    cdef bint open_to(self, int index, const uint16_t *tried, int tried_count) noexcept:
        """May this request go to that server now?"""
        return (self.choices[index].usable and not was_tried(index, tried, tried_count)
                and self.has_room(index))

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        """The algorithm: an index of an open server, or PICK_NONE."""
        return PICK_NONE

    cdef int pick(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        """Index of the server for a request, PICK_FULL or PICK_NONE."""
        cdef int index
        self.refresh()
        if self.usable == 0:
            return PICK_NONE
        index = self.choose(key, tried, tried_count)
        if index < 0 and tried_count:
            index = self.choose(key, NULL, 0)  # all have been tried: any is better than none
        return index if index >= 0 else PICK_FULL

    def pick_for_test(self, key=None, tried=()):
        """`key`: HAProxy's hash of the key; None: the request has none."""
        cdef uint16_t array[16]
        cdef uint64_t given = 0
        if key is not None:
            given = <uint64_t>1 << KEY_GIVEN_BIT | <uint32_t>key
        for i, index in enumerate(tried):
            array[i] = index
        return self.pick(given, array, len(tried))

    def picks_for_test(self, int times, uint32_t key=0, bint with_load=False):
        """So many picks with keys from `key` on, each taken and given back; the last index."""
        cdef uint64_t given = <uint64_t>1 << KEY_GIVEN_BIT
        cdef int index = PICK_NONE, _
        cdef uint64_t *cell
        for _ in range(times):
            key = key * <uint32_t>2654435761 + 1
            index = self.pick(given | key, NULL, 0)
            if with_load and index >= 0:
                cell = self.arena.server_cells(self.row, self.choices[index].slot) + SC_IN_FLIGHT
                cell[0] += 1
                self.moved(index)
                cell[0] -= 1
                self.moved(index)
        return index

    def take_for_test(self, int index, int change=1):
        """This worker's requests at a server, as Server.take and give_back change them."""
        self.arena.server_cells(self.row, self.choices[index].slot)[SC_IN_FLIGHT] += change
        if self.by_load:
            self.moved(index)
