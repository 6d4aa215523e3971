# Round robin by positions.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ext.farm cimport Balancer
from ext.heap cimport Heap, Rank

cdef enum Place:                   # where a server is
    NOWHERE, CURRENT, BY_WEIGHT    # BY_WEIGHT: in one of the group's two heaps by weight

cdef struct Turn:                  # one server in the order
    int64_t position               # of its next turn
    int64_t last                   # of its last turn
    uint32_t remainder             # fraction of a step not yet used, in parts of `effective`
    uint32_t effective             # weight that the order was made with; 0 = not in it
    uint8_t place                  # Place
    uint8_t half                   # BY_WEIGHT: which of the two heaps
    int passed                     # the server that was passed over before this one, or -1

cdef struct Group:                 # the active servers, or the backups
    Heap current                   # by position
    Heap halves[2]                 # by weight
    int first                      # the half whose servers have had no turn in this round
    int64_t position
    int64_t total                  # weight of this round
    int64_t total_next             # weight of the servers now: that of the next round

cdef class RoundRobin(Balancer):
    cdef Turn *turns
    cdef Rank *ranks
    cdef Group groups[2]
    cdef uint64_t stamp

    cdef void change(self, Group *g, int index, uint32_t effective) noexcept
    cdef void enter(self, Group *g, int index) noexcept
    cdef void shift(self, Group *g, int index, uint32_t effective) noexcept
    cdef int only_backup(self, const uint16_t *tried, int tried_count) noexcept
    cdef bint all_tried(self, const uint16_t *tried, int tried_count) noexcept
    cdef int next_in(self, Group *g) noexcept
    cdef void step(self, Group *g, int index) noexcept
    cdef void leave(self, Group *g, int index) noexcept
    cdef void queue(self, Group *g, int index) noexcept
    cdef void queue_by_weight(self, Group *g, int index, int half) noexcept
    cdef void queue_passed(self, Group *g, int passed, int taken, bint turned) noexcept
