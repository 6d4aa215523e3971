"""Queues of requests that wait for a server's slot: a heap ordered by class, time and offset.

Theory. HAProxy's `set-priority-class` and `set-priority-offset`: the lowest class goes first, in a
class who came first, where an offset in milliseconds moves a request back (or forward) in time.
With neither the order is that of arrival. A binary heap in C: to enter, to leave from anywhere (a
time-out, a client that is gone) and to take the first cost O(log n) and make no Python object. Who
has had its turn and found the slot taken by another worker comes back to its old place.

Ownership: the heap holds one reference to each Waiter in it.
"""
from cpython.ref cimport Py_INCREF, Py_DECREF
from libc.stdlib cimport free, realloc

cdef uint64_t turns = 0


cdef bint goes_before(Waiter a, Waiter b) noexcept:
    if a.priority_class != b.priority_class:
        return a.priority_class < b.priority_class
    if a.turn_ms != b.turn_ms:
        return a.turn_ms < b.turn_ms
    return a.turn < b.turn


cdef class Waiter(Connection):
    """What can stand in a queue."""


cdef class Queue:
    """One queue of one worker."""

    def __dealloc__(self):
        while self.size:
            self.size -= 1
            Py_DECREF(<object>self.heap[self.size])
        free(self.heap)

    def __len__(self):
        return self.size

    cdef int put(self, Waiter waiter, uint64_t now, bint again) except -1:
        """Enter; `again`: at the place of the last time."""
        global turns
        cdef PyObject **heap
        if self.size == self.room:
            heap = <PyObject **>realloc(self.heap, (self.room * 2 + 16) * sizeof(PyObject *))
            if heap == NULL:
                raise MemoryError
            self.heap = heap
            self.room = self.room * 2 + 16
        if not again:
            turns += 1
            waiter.turn = turns
            waiter.turn_ms = <int64_t>now + waiter.priority_offset
        Py_INCREF(waiter)
        waiter.queue = self
        waiter.queued = True
        self.size += 1
        if self.gauge != NULL:
            self.gauge[0] += 1
            self.total[0] += 1
        self.set_at(self.size - 1, <PyObject *>waiter)
        self.up(self.size - 1)
        return 0

    cdef Waiter first(self):
        return <Waiter>self.heap[0] if self.size else None

    cdef Waiter take(self):
        """The first, who leaves; None without one."""
        cdef Waiter waiter = self.first()
        if waiter is not None:
            self.remove(waiter)
        return waiter

    cdef int remove(self, Waiter waiter) except -1:
        """Leave, from wherever."""
        cdef uint32_t place = waiter.place
        assert waiter.queue is self
        waiter.queued = False
        waiter.queue = None
        self.size -= 1
        if self.gauge != NULL:
            self.gauge[0] -= 1
            self.total[0] -= 1
        if place != self.size:
            self.set_at(place, self.heap[self.size])
            self.down(place)
            self.up(place)
        Py_DECREF(waiter)
        return 0

    cdef void set_at(self, uint32_t place, PyObject *one) noexcept:
        self.heap[place] = one
        (<Waiter>one).place = place

    cdef void up(self, uint32_t place) noexcept:
        cdef PyObject *one = self.heap[place]
        cdef uint32_t above
        while place:
            above = (place - 1) // 2
            if not goes_before(<Waiter>one, <Waiter>self.heap[above]):
                break
            self.set_at(place, self.heap[above])
            place = above
        self.set_at(place, one)

    cdef void down(self, uint32_t place) noexcept:
        cdef PyObject *one = self.heap[place]
        cdef uint32_t below
        while 2 * place + 1 < self.size:
            below = 2 * place + 1
            if (below + 1 < self.size
                    and goes_before(<Waiter>self.heap[below + 1], <Waiter>self.heap[below])):
                below += 1
            if not goes_before(<Waiter>self.heap[below], <Waiter>one):
                break
            self.set_at(place, self.heap[below])
            place = below
        self.set_at(place, one)


def waiter_for_test(int priority_class=0, int priority_offset=0):
    cdef Waiter waiter = Waiter()
    waiter.priority_class = <int16_t>priority_class
    waiter.priority_offset = priority_offset
    return waiter


def put_for_test(Queue queue, Waiter waiter, uint64_t now, bint again=False):
    queue.put(waiter, now, again)


def take_for_test(Queue queue):
    return queue.take()


def remove_for_test(Queue queue, Waiter waiter):
    queue.remove(waiter)
