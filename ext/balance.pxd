# Which server of a tier gets a request. One class per algorithm behind `pick`.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from ext.arena cimport Arena

cdef enum Picked:
    PICK_FULL = -1                 # usable servers exist, all at their maxconn: queue
    PICK_NONE = -2                 # no usable server

cdef struct Choice:                # one server as the algorithms see it
    uint32_t weight                # 0..256; 0 gets nothing new
    uint32_t maxconn               # concurrent requests; 0 = no limit
    int slot                       # in the arena
    uint8_t usable                 # in this round: UP, READY, weight > 0, active or backup turn
    uint8_t backup
    int64_t position               # round robin: where its next turn is
    uint32_t remainder             # round robin: fraction of a step not yet used
    uint8_t placed                 # round robin: has had a turn in this order

cdef class Balancer:
    cdef Arena arena
    cdef Choice *choices
    cdef readonly int count
    cdef readonly int usable       # how many
    cdef bint fail_open            # ELB: with no usable server, use all
    cdef uint64_t epoch            # of the arena at the last refresh
    cdef int row                   # of this worker, for in-flight sums

    cdef int pick(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept
    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept
    cdef void refresh(self) noexcept
    cdef void rebuild(self) noexcept
    cdef uint64_t load(self, int index) noexcept
    cdef bint open_to(self, int index, const uint16_t *tried, int tried_count) noexcept

cdef uint64_t hash_bytes(const char *p, uint32_t n) noexcept nogil
