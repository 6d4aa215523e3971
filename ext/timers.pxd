# One coarse timer wheel per worker. A Timer is embedded in its owner and belongs to it.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    WHEEL_SLOTS = 1024             # x TICK_MS = 41 s a turn; later timers are revisited each turn

cdef struct Timer:
    Timer *next                    # NULL = not in the wheel
    Timer *prev
    uint64_t due_ms                # 0 = disarmed
    uint64_t visit_ms              # when the wheel will look at it
    void *owner                    # borrowed: the Timed that embeds this timer

cdef class Timed:
    cdef Timer timer
    cdef int on_timer(self) except -1

cdef class Wheel:
    cdef Timer slots[WHEEL_SLOTS]  # list heads
    cdef uint64_t tick             # index of the next slot to visit, counted from the start
    cdef readonly uint64_t armed   # timers in the wheel

    cdef void arm(self, Timer *timer, uint64_t due_ms) noexcept
    cdef void link(self, Timer *timer, uint64_t tick) noexcept
    cdef void remove(self, Timer *timer) noexcept
    cdef int advance(self, uint64_t now_ms) except -1
    cdef int visit(self, Timer *todo, uint64_t now_ms) except -1
    cdef void put_back(self, Timer *todo) noexcept

cdef uint64_t now_ms() noexcept nogil
cdef uint64_t now_us() noexcept nogil
cdef uint64_t wall_us() noexcept nogil
