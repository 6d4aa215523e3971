"""Smooth weighted round robin with HAProxy's order (`balance roundrobin`), in O(log servers).

Theory. Positions on a line: a server of weight w out of W in all has a turn every W / w positions
(the remainder is carried). At each position the server whose turn is due goes; when none is due,
the heaviest one that has had no turn in this round fills the hole. 3:2:1 gives a b a c a b.

HAProxy keeps this in three trees, here they are heaps: `current` by position, and two halves by
weight, one with those that have had no turn yet, one with those whose next turn is beyond this
round. When nothing is left of the round the halves change places and the positions start again
at the round's weight. Weights are scaled by 16, as there: slow starts have finer steps.

A change does not start the order anew. A server that comes is placed as far ahead as a server of
its weight has to wait on average; one whose weight changes keeps its last turn and waits for the
new distance from there, never longer than before. Full servers are passed over and then placed
again, as if they had been used, so that they come back without a burst.
"""
from libc.stdlib cimport calloc, free

from ext.farm cimport EFFECTIVE_MAX, PICK_NONE, WEIGHT_SCALE, Choice, was_tried
from ext.heap cimport heap_add, heap_first, heap_free, heap_make, heap_remove

cdef enum:
    KEYS_PER_POSITION = 256        # equal positions are sorted by weight, heaviest first


cdef class RoundRobin(Balancer):
    """`balance roundrobin`; active servers and backups have an order of their own."""

    def __cinit__(self, *args, **options):
        cdef int i
        self.turns = <Turn *>calloc(max(1, self.count), sizeof(Turn))
        self.ranks = <Rank *>calloc(max(1, self.count), sizeof(Rank))
        if self.turns == NULL or self.ranks == NULL:
            raise MemoryError
        for i in range(2):
            if not (heap_make(&self.groups[i].current, self.count)
                    and heap_make(&self.groups[i].halves[0], self.count)
                    and heap_make(&self.groups[i].halves[1], self.count)):
                raise MemoryError

    def __dealloc__(self):
        cdef int i
        for i in range(2):
            heap_free(&self.groups[i].current)
            heap_free(&self.groups[i].halves[0])
            heap_free(&self.groups[i].halves[1])
        free(self.turns)
        free(self.ranks)

    # -- changes -------------------------------------------------------------------------------

    cdef void rebuild(self) noexcept:
        cdef bint new = self.stamp == 0
        cdef int i
        cdef Choice *c
        cdef Group *g
        for i in range(self.count):
            c = &self.choices[i]
            g = &self.groups[c.backup]
            if new and c.live:                 # nobody has had a turn: the heaviest goes first
                self.turns[i].effective = c.effective
                g.total_next += self.turns[i].effective
                self.queue_by_weight(g, i, g.first)
            elif not new:
                self.change(g, i, c.effective if c.live else 0)
        self.stamp += 1
        for i in range(2):
            g = &self.groups[i]
            if new:
                g.position = g.total = g.total_next

    cdef void change(self, Group *g, int index, uint32_t effective) noexcept:
        """A server has come, gone or another weight."""
        cdef Turn *t = &self.turns[index]
        cdef uint32_t before = t.effective
        if effective == before:
            return
        g.total_next += <int64_t>effective - before
        if effective == 0:
            self.leave(g, index)
            t.effective = 0
        elif before == 0:
            t.effective = effective
            self.enter(g, index)
        else:
            self.shift(g, index, effective)

    cdef void enter(self, Group *g, int index) noexcept:
        cdef Turn *t = &self.turns[index]
        t.position = g.position + (g.total_next + g.total - g.position) // t.effective
        self.queue(g, index)

    cdef void shift(self, Group *g, int index, uint32_t effective) noexcept:
        """Another weight, in the middle of the round."""
        cdef Turn *t = &self.turns[index]
        cdef int64_t before, distance = g.total_next // effective
        cdef bint unused = t.place == BY_WEIGHT and t.half == g.first
        if t.place == BY_WEIGHT and not unused:
            t.position += g.total
        self.leave(g, index)
        t.effective = effective
        if unused:
            self.queue_by_weight(g, index, g.first)
            return
        before = t.position
        t.position = min(t.last + distance, before)
        t.remainder = 0
        if t.position < g.position + 2:
            t.position = g.position + distance
        self.queue(g, index)

    # -- turns ---------------------------------------------------------------------------------

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef Group *g = &self.groups[self.backup_turn]
        cdef int index, passed = -1, avoided = -1
        cdef bint turned = False
        if self.backup_turn and not self.all_backups:
            return self.only_backup(tried, tried_count)
        if g.total == 0:
            g.position = g.total = g.total_next
        if tried_count >= self.usable and self.all_tried(tried, tried_count):
            tried_count = 0                    # as if for the first time, and in turn
        while True:
            index = self.next_in(g)
            if index < 0:
                if turned:
                    index = avoided
                    break
                turned = True                  # the round is over
                g.first ^= 1
                g.total = g.position = g.total_next
                continue
            self.step(g, index)
            self.leave(g, index)
            g.position += 1
            if self.has_room(index):
                if not was_tried(index, tried, tried_count):
                    break
                if avoided < 0:
                    avoided = index
            self.turns[index].passed = passed
            passed = index
        if index >= 0:
            self.queue(g, index)
        self.queue_passed(g, passed, index, turned)
        return index if index >= 0 else PICK_NONE

    cdef int only_backup(self, const uint16_t *tried, int tried_count) noexcept:
        """The first backup alone: it needs no order."""
        cdef int i
        for i in range(self.count):
            if self.choices[i].usable:
                return i if self.has_room(i) else PICK_NONE
        return PICK_NONE

    cdef bint all_tried(self, const uint16_t *tried, int tried_count) noexcept:
        cdef int i
        for i in range(self.count):
            if self.choices[i].usable and not was_tried(i, tried, tried_count):
                return False
        return True

    cdef int next_in(self, Group *g) noexcept:
        """Who is due, else who has had no turn yet, else who is due next; or -1."""
        cdef int due = heap_first(&g.current), unused
        if due >= 0 and self.turns[due].position <= g.position:
            return due
        unused = heap_first(&g.halves[g.first])
        if unused >= 0:
            self.turns[unused].position = 0
            self.turns[unused].remainder = 0
            return unused
        return due

    cdef void step(self, Group *g, int index) noexcept:
        """A server's turn has come: where is its next one?"""
        cdef Turn *t = &self.turns[index]
        if t.position == 0:                    # its first one in this round
            t.position = g.position
        t.last = t.position
        t.position += g.total_next // t.effective
        t.remainder += g.total_next % t.effective
        if t.remainder >= t.effective:
            t.remainder -= t.effective
            t.position += 1

    # -- places --------------------------------------------------------------------------------

    cdef void leave(self, Group *g, int index) noexcept:
        cdef Turn *t = &self.turns[index]
        if t.place == CURRENT:
            heap_remove(&g.current, self.ranks, index)
        elif t.place == BY_WEIGHT:
            heap_remove(&g.halves[t.half], self.ranks, index)
        t.place = NOWHERE

    cdef void queue(self, Group *g, int index) noexcept:
        """Where its position belongs: into this round, or by weight into the next."""
        cdef Turn *t = &self.turns[index]
        if t.position >= 2 * g.total or t.position >= g.total + g.total_next:
            t.position -= g.total
            self.queue_by_weight(g, index, g.first ^ 1)
            return
        self.stamp += 1
        self.ranks[index].stamp = self.stamp
        self.ranks[index].key = (KEYS_PER_POSITION * <uint64_t>t.position
                                 + (EFFECTIVE_MAX + t.remainder - t.effective) // WEIGHT_SCALE)
        heap_add(&g.current, self.ranks, index)
        t.place = CURRENT

    cdef void queue_by_weight(self, Group *g, int index, int half) noexcept:
        cdef Turn *t = &self.turns[index]
        self.stamp += 1
        self.ranks[index].stamp = self.stamp
        self.ranks[index].key = EFFECTIVE_MAX - t.effective
        heap_add(&g.halves[half], self.ranks, index)
        t.place = BY_WEIGHT
        t.half = <uint8_t>half

    cdef void queue_passed(self, Group *g, int passed, int taken, bint turned) noexcept:
        """Those that were passed over: as if they had been used. When the round has ended
        meanwhile their places are lost, and only their weights count."""
        while passed >= 0:
            if passed != taken:
                if turned:
                    self.queue_by_weight(g, passed, g.first)
                else:
                    self.queue(g, passed)
            passed = self.turns[passed].passed
