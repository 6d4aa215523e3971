# Which of some numbered items comes first: a binary heap that knows where each item is.
from libc.stdint cimport uint64_t

cdef struct Rank:                  # of one item: by key, equals by stamp
    uint64_t key
    uint64_t stamp                 # the owner's count of placings: who was placed earlier is first
    int place                      # in the heap that holds the item

cdef struct Heap:                  # owns `items`; the ranks are the owner's
    int *items
    int size

cdef inline bint comes_first(const Rank *a, const Rank *b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.stamp < b.stamp)

cdef inline int heap_first(const Heap *heap) noexcept nogil:
    """The first item, or -1."""
    return heap.items[0] if heap.size else -1

cdef bint heap_make(Heap *heap, int room) noexcept nogil
cdef void heap_free(Heap *heap) noexcept nogil
cdef void heap_add(Heap *heap, Rank *ranks, int item) noexcept nogil
cdef void heap_remove(Heap *heap, Rank *ranks, int item) noexcept nogil
cdef void heap_move(Heap *heap, Rank *ranks, int item) noexcept nogil
