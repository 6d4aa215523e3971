# Which object leaves when memory is needed: S3-FIFO.
from libc.stdint cimport uint32_t
from ext.objects cimport Object, Shard

cdef enum Step:
    STEP_EMPTY = -1                # no object is in a queue
    STEP_MOVED = 0                 # one was looked at and stays
    STEP_EVICT = 1

cdef uint32_t ghost_bytes(uint32_t units) noexcept nogil
cdef void ghosts_place(Shard *s, char *memory) noexcept nogil
cdef void enqueue(Shard *s, Object *o) noexcept nogil
cdef void dequeue(Shard *s, Object *o) noexcept nogil
cdef void requeue(Shard *s, Object *o, uint32_t units_before) noexcept nogil
cdef int next_victim(Shard *s, Object **victim) noexcept nogil
