"""A binary heap of numbered items, with removal and change of any item in O(log n).

Theory. The ranks (what an item is sorted by, and where it is) are an array beside the heap, indexed
by the item, so that several heaps can share them as long as an item is in one heap at a time.
Equal keys keep the order in which they were placed, as in HAProxy's trees: balancing depends on it.
"""
from libc.stdlib cimport free, malloc


cdef bint heap_make(Heap *heap, int room) noexcept nogil:
    """Memory for so many items; False when there is none."""
    heap.size = 0
    heap.items = <int *>malloc((room if room else 1) * sizeof(int))
    return heap.items != NULL


cdef void heap_free(Heap *heap) noexcept nogil:
    free(heap.items)
    heap.items = NULL
    heap.size = 0


cdef void heap_add(Heap *heap, Rank *ranks, int item) noexcept nogil:
    heap.size += 1
    rise(heap, ranks, item, heap.size - 1)


cdef void heap_remove(Heap *heap, Rank *ranks, int item) noexcept nogil:
    cdef int place = ranks[item].place
    cdef int last
    heap.size -= 1
    if place != heap.size:
        last = heap.items[heap.size]
        ranks[last].place = place
        settle(heap, ranks, last, place)


cdef void heap_move(Heap *heap, Rank *ranks, int item) noexcept nogil:
    """The item's rank has changed: to its new place."""
    settle(heap, ranks, item, ranks[item].place)


cdef void settle(Heap *heap, Rank *ranks, int item, int place) noexcept nogil:
    if place and comes_first(&ranks[item], &ranks[heap.items[(place - 1) // 2]]):
        rise(heap, ranks, item, place)
    else:
        sink(heap, ranks, item, place)


cdef void rise(Heap *heap, Rank *ranks, int item, int place) noexcept nogil:
    cdef int parent
    while place:
        parent = heap.items[(place - 1) // 2]
        if not comes_first(&ranks[item], &ranks[parent]):
            break
        heap.items[place] = parent
        ranks[parent].place = place
        place = (place - 1) // 2
    heap.items[place] = item
    ranks[item].place = place


cdef void sink(Heap *heap, Rank *ranks, int item, int place) noexcept nogil:
    cdef int child = 2 * place + 1
    while child < heap.size:
        if child + 1 < heap.size and comes_first(&ranks[heap.items[child + 1]],
                                                 &ranks[heap.items[child]]):
            child += 1
        if not comes_first(&ranks[heap.items[child]], &ranks[item]):
            break
        heap.items[place] = heap.items[child]
        ranks[heap.items[place]].place = place
        place = child
        child = 2 * place + 1
    heap.items[place] = item
    ranks[item].place = place


cdef class HeapForTest:
    """A heap of the items 0 to room - 1; every change counts as a placing."""

    cdef Heap heap
    cdef Rank *ranks
    cdef uint64_t stamp

    def __cinit__(self, int room):
        self.ranks = <Rank *>malloc(room * sizeof(Rank))
        if self.ranks == NULL or not heap_make(&self.heap, room):
            raise MemoryError

    def __dealloc__(self):
        heap_free(&self.heap)
        free(self.ranks)

    def _rank(self, int item, uint64_t key):
        self.stamp += 1
        self.ranks[item].key = key
        self.ranks[item].stamp = self.stamp

    def add(self, int item, uint64_t key):
        self._rank(item, key)
        heap_add(&self.heap, self.ranks, item)

    def move(self, int item, uint64_t key):
        self._rank(item, key)
        heap_move(&self.heap, self.ranks, item)

    def remove(self, int item):
        heap_remove(&self.heap, self.ranks, item)

    def first(self):
        return heap_first(&self.heap)
