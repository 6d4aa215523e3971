# Who waits for a server, in the order of their turns.
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t
from ext.stream cimport Connection

cdef class Waiter(Connection):
    cdef int16_t priority_class    # lower goes first
    cdef int32_t priority_offset   # ms: counted as if it had come so much later (earlier: < 0)
    cdef bint queued
    cdef Queue queue               # where it stands; None = in none
    cdef int64_t turn_ms           # when it came, with its offset
    cdef uint64_t turn             # of two that came at once the lower goes first
    cdef uint32_t place            # in the heap

cdef class Queue:
    cdef PyObject **heap           # Waiters, owned; the first to go is heap[0]
    cdef readonly uint32_t size
    cdef uint32_t room
    cdef uint64_t *gauge           # the owner's count of who waits; NULL = none
    cdef uint32_t *total           # of this and other queues; NULL = none

    cdef int put(self, Waiter waiter, uint64_t now, bint again) except -1
    cdef Waiter take(self)
    cdef Waiter first(self)
    cdef int remove(self, Waiter waiter) except -1
    cdef void up(self, uint32_t place) noexcept
    cdef void down(self, uint32_t place) noexcept
    cdef void set_at(self, uint32_t place, PyObject *one) noexcept

cdef bint goes_before(Waiter a, Waiter b) noexcept
