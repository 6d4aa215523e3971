"""The sweep: purges are carried out, the purge log is trimmed, what the dead have left is
cleared.

Theory. A purge by key only writes into the log; an object finds out when somebody asks for it.
The sweep goes round all objects in short slices, each under one shard's lock, and asks for each,
so that memory comes back and the log can be trimmed. A round has a target, the epoch at its
start. At its end every object is valid up to the target, for a new one begins valid beyond it;
but a fill whose head has not come yet has no keys to look up, so the log keeps what is newer than
the oldest of those.

Before the trim writes the older purge table it passes through every shard's lock: then no reader
has it in hand. One process sweeps at a time. Called by: store.
"""
from libc.stdint cimport uint32_t

from ext.atomics cimport edge_load32, edge_store32
from ext.limits cimport LEASES_MAX
from ext.leases cimport LeaseRow
from ext.locks cimport (
    NOT_LOCKED, OWNER_DIED, lock_drop, lock_forget_waiters, lock_mended, lock_take, lock_try)
from ext.objects cimport (
    BUSY, Object, Shard, fetch_ahead, free_object, is_fill, is_leased, is_start, next_start,
    object_at, state_of)
from ext.purgelog cimport purge_epoch, trim_purges
from ext.region cimport SweepHead, shard_of
from ext.shard cimport drop, drop_lease, enter, fail, give_way, is_valid, leave
from ext.timers cimport now_us

cdef enum:
    SLICE_OBJECTS = 32             # objects under one lock: about 10 us


cdef void look(Shard *s, Object *o, SweepHead *w, uint64_t epoch, bint forced) noexcept nogil:
    """At one object."""
    if not o.indexed:
        if not is_leased(o):
            free_object(s, o)              # whose last lease was dropped by who died at it
        return
    if state_of(o) == BUSY and o.epoch < w.target:
        if forced:
            s.head.changes += 1
            drop(s, o)                     # its answer goes to who waits for it, and is not kept
            return
        w.floor = min(w.floor, o.epoch)
    if not is_valid(s, o, epoch):
        s.head.changes += 1
        drop(s, o)


cdef bint sweep_slice(Region *r, bint forced) noexcept nogil:
    """False: others wait for the shard."""
    cdef SweepHead *w = &r.head.sweep
    cdef Shard *s = &r.shard[w.shard]
    cdef uint32_t handle, here, _i
    cdef uint64_t epoch
    cdef bint way
    enter(s)
    epoch = purge_epoch(&r.log)
    handle = next_start(s, w.handle)
    for _i in range(SLICE_OBJECTS):
        if handle == 0:
            break
        here = handle
        handle = next_start(s, here + 1)
        fetch_ahead(s.base, handle)
        look(s, object_at(s.base, here), w, epoch, forced)
    way = give_way(s)
    if handle == 0:                        # the next shard, or the end of the round
        w.shard += 1
        handle = r.shard[w.shard].first if w.shard < r.shards else 0
    w.handle = handle
    return way


cdef void begin_round(Region *r) noexcept nogil:
    cdef SweepHead *w = &r.head.sweep
    w.target = w.floor = purge_epoch(&r.log)
    w.shard = 0
    w.handle = r.shard[0].first


cdef void end_round(Region *r) noexcept nogil:
    cdef SweepHead *w = &r.head.sweep
    cdef uint32_t i
    w.swept = w.target
    if edge_load32(&r.head.purges.used) == 0:
        return
    for i in range(r.shards):
        enter(&r.shard[i])
        leave(&r.shard[i])
    trim_purges(&r.log, w.floor)


cdef bint has_work(Region *r) noexcept nogil:
    cdef SweepHead *w = &r.head.sweep
    return w.handle != 0 or w.swept < purge_epoch(&r.log)


cdef bint sweep_some(Region *r, uint64_t budget_us) noexcept nogil:
    """For about so long. True: there is more to do."""
    cdef SweepHead *w = &r.head.sweep
    cdef uint64_t end_us = now_us() + budget_us
    cdef int locked = lock_try(&w.lock)
    cdef bint more, is_free
    if locked == NOT_LOCKED:
        return False                       # another process is at it
    if locked == OWNER_DIED:
        w.handle = 0                       # the round begins anew
        lock_mended(&w.lock)
    more = has_work(r)
    if more and w.handle == 0:
        begin_round(r)
    while more:
        is_free = sweep_slice(r, False)
        if w.handle == 0:
            end_round(r)
            more = has_work(r)
            break
        if not is_free or now_us() >= end_us:
            break
    lock_drop(&w.lock)
    return more


cdef void sweep_for_room(Region *r) noexcept nogil:
    """A whole round at once, since the purge table is full. Also fills whose head has not come
    yet must not hold entries back: they will not be stored."""
    cdef SweepHead *w = &r.head.sweep
    if lock_take(&w.lock) == OWNER_DIED:
        lock_mended(&w.lock)
    begin_round(r)
    while w.handle:
        sweep_slice(r, True)
    end_round(r)
    lock_drop(&w.lock)


# -- after a process has died ----------------------------------------------------------------------

cdef void clear_lease(Region *r, uint32_t handle, int row) noexcept nogil:
    """A handle that the row lists. The process may have died before it set the object's bit, or
    after it cleared it; then there may be another object by now, or none."""
    cdef Shard *s = shard_of(r, handle)
    cdef Object *o = object_at(r.base, handle)
    enter(s)
    if is_start(s, handle):
        if is_fill(o) and o.filler == row:
            fail(s, o)
        if is_start(s, handle):            # still: `fail` frees what nobody leases
            drop_lease(s, o, row)
    leave(s)


cdef void sweep_row(Region *r, int row) noexcept nogil:
    """Clear what a dead process has leased and fail what it was filling. May be repeated."""
    cdef LeaseRow *leases = &r.rows[row]
    cdef uint32_t i, handle
    for i in range(r.shards):
        lock_forget_waiters(&r.shard[i].head.lock)
    for i in range(LEASES_MAX):
        handle = edge_load32(&leases.handles[i])
        if handle:
            clear_lease(r, handle, row)
            edge_store32(&leases.handles[i], 0)
    leases.used = 0
