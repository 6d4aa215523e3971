# The servers of a tier as a balancing algorithm sees them. One class per algorithm behind `pick`.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from ext.arena cimport Arena

cdef enum Picked:
    PICK_FULL = -1                 # usable servers exist, all at their maxconn: queue
    PICK_NONE = -2                 # no usable server

cdef enum:
    WEIGHT_SCALE = 16              # HAProxy's effective weights have 16 steps per unit
    EFFECTIVE_MAX = 256 * WEIGHT_SCALE
    KEY_GIVEN_BIT = 32             # of a key: below is HAProxy's hash; all 0 = there is no key

cdef struct Choice:                # one server
    uint64_t *in_flight            # its cell in row 0; the other rows follow at `stride`
    uint32_t weight                # 0..256; 0 gets nothing new
    uint32_t configured            # the file's weight: what the static algorithms go by
    uint32_t effective             # of the user's weight in WEIGHT_SCALE parts: a slow start's
    uint32_t maxconn               # concurrent requests now; 0 = no limit
    uint32_t maxconn_set           # as configured
    uint32_t minconn               # while the tier has little to do; 0 or maxconn: always maxconn
    uint32_t known                 # requests in flight when last looked at
    int slot                       # in the arena
    uint8_t live                   # UP, READY, weight > 0 by itself
    uint8_t usable                 # takes part now: live, and it is the turn of its kind
    uint8_t backup

cdef class Balancer:
    cdef Arena arena
    cdef Choice *choices
    cdef readonly int count
    cdef readonly int usable       # how many
    cdef readonly bint by_load     # wants to hear of every `moved`
    cdef int fail_open             # ELB: with fewer live servers than this, use all; 0: never
    cdef bint opened               # so it is now
    cdef bint all_backups          # HAProxy's `allbackups`
    cdef bint backup_turn          # no active server is usable
    cdef uint64_t epoch            # of the arena at the last refresh
    cdef uint64_t stride           # words between the rows of the arena
    cdef int row                   # of this worker
    cdef int tier_slot
    cdef uint32_t fullconn         # requests of the tier at which its servers get their maxconn
    cdef int hand                  # the next server that `sweep` looks at
    cdef int64_t served            # sum of `known` over all servers

    cdef int pick(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept
    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept
    cdef void refresh(self) noexcept
    cdef void rebuild(self) noexcept
    cdef int find_live(self, bint open_) noexcept
    cdef uint64_t load(self, int index) noexcept
    cdef void moved(self, int index) noexcept
    cdef void load_changed(self, int index) noexcept
    cdef void sweep(self) noexcept
    cdef uint32_t limit(self, int index) noexcept
    cdef bint has_room(self, int index) noexcept
    cdef bint open_to(self, int index, const uint16_t *tried, int tried_count) noexcept

cdef uint32_t dynamic_maxconn(uint32_t minconn, uint32_t maxconn, uint64_t requests,
                              uint32_t fullconn) noexcept nogil

cdef inline uint64_t sum_rows(const uint64_t *cell, uint32_t rows, uint64_t stride) noexcept nogil:
    """A cell summed over the rows of the arena."""
    cdef uint64_t sum = 0
    cdef uint32_t _
    for _ in range(rows):
        sum += cell[0]
        cell += stride
    return sum

cdef inline bint was_tried(int index, const uint16_t *tried, int tried_count) noexcept:
    cdef int i
    for i in range(tried_count):
        if tried[i] == index:
            return True
    return False
