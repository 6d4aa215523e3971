"""The books of a store: each unit of memory is free or belongs to one object, and to one only.

Walks all objects and all units of a shard under its lock, some ten milliseconds; so it is for
tests and for whoever looks for a fault, not for a store at work.

Called by: store.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from ext.extents cimport is_free
from ext.objects cimport (
    EXTENTS_INLINE, IN_NONE, Extent, Object, Shard, Table, entries_of, handle_of, is_leased,
    meta_of, next_start, object_at, table_at)
from ext.shard cimport enter, leave

cdef struct Sum:
    uint64_t free                  # units
    uint64_t live                  # of objects in the index
    uint64_t dead                  # of others that are leased
    uint64_t orphaned              # of others that nobody leases: a sweep frees them
    uint64_t lost                  # neither free nor of an object
    uint64_t twice                 # more than one of these
    uint64_t queued                # of objects in a queue, less what the queues say


cdef uint64_t mark(const Shard *s, uint8_t *marks, uint32_t handle, uint32_t units,
                   Sum *sum) noexcept nogil:
    """Count the units of a run."""
    cdef uint32_t i
    for i in range(handle - s.first, handle - s.first + units):
        sum.twice += marks[i]
        marks[i] = 1
    return units


cdef uint64_t mark_object(const Shard *s, uint8_t *marks, Object *o, Sum *sum) noexcept nogil:
    cdef uint64_t units = mark(s, marks, handle_of(s, o), o.units, sum)
    cdef uint32_t left = o.extents_used, count = min(left, <uint32_t>EXTENTS_INLINE)
    cdef uint32_t handle = o.table, before = 0, i
    cdef Extent *e = o.extents
    cdef Table *t
    if o.meta:
        units += mark(s, marks, o.meta, meta_of(s, o).units, sum)
    while True:
        for i in range(count):
            units += mark(s, marks, e[i].start, e[i].end - before, sum)
            before = e[i].end
        left -= count
        if handle == 0:
            return units
        t = table_at(s, handle)
        units += mark(s, marks, handle, t.units, sum)
        e = entries_of(t)
        count = min(left, t.room)
        handle = t.next


cdef void audit_shard(Shard *s, uint8_t *marks, Sum *sum) noexcept nogil:
    cdef uint32_t handle = next_start(s, s.first), i
    cdef uint64_t units
    cdef Object *o
    while handle:
        o = object_at(s.base, handle)
        units = mark_object(s, marks, o, sum)
        if o.queue != IN_NONE:
            sum.queued += units
        if o.indexed:
            sum.live += units
        elif is_leased(o):
            sum.dead += units
        else:
            sum.orphaned += units
        handle = next_start(s, handle + 1)
    sum.queued -= s.head.small.units + s.head.main.units
    for i in range(s.units):
        if is_free(&s.extents, i):
            sum.free += 1
            sum.twice += marks[i]
        elif not marks[i]:
            sum.lost += 1


cdef dict audit_region(Region *r):
    """Units of memory by who has them; lost, twice and queued are 0 in a store that is right."""
    cdef Sum sum
    cdef uint64_t units = 0
    cdef uint32_t i
    cdef uint8_t *marks
    sum = Sum(0, 0, 0, 0, 0, 0, 0)
    for i in range(r.shards):
        units += r.shard[i].units
        marks = <uint8_t *>calloc(1, r.shard[i].units)
        if marks == NULL:
            raise MemoryError
        with nogil:
            enter(&r.shard[i])
            audit_shard(&r.shard[i], marks, &sum)
            leave(&r.shard[i])
        free(marks)
    return {"units": units, **sum}
