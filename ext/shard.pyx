"""A shard: its index, who may stay in it, and how it comes back after a crash.

Theory. A shard owns a part of the memory with everything that describes it, under one robust
lock, and all variants of a key are in one shard. An object lives while it is in the index or
leased. Who takes it out of the index looks at the leases afterwards; who drops a lease looks at
the index afterwards; so one of them sees that nobody has it any more, and frees it.

When a process dies inside the lock, nothing in the shard can be trusted but this: a bit in
`starts` means a complete struct whose runs are linked, and the leases are true. So the next one
who enters empties the shard, keeps what is leased out of the index until the leases go, and
builds the allocator from nothing around that. Dying at it leaves the same work to the one after.

Called by: region, sweep, store.
"""
from libc.string cimport memcmp, memset

from ext.atomics cimport edge_and64, edge_fence, edge_load8, edge_store8, edge_store32
from ext.eviction cimport (
    STEP_EMPTY, STEP_EVICT, dequeue, ghost_bytes, ghosts_place, next_victim)
from ext.extents cimport (
    NO_RUN, UNIT_BYTES, extents_bytes, extents_make, extents_place, extents_reset, take_run)
from ext.freshness cimport O_PASS, make_stale
from ext.locks cimport OWNER_DIED, lock_drop, lock_make, lock_mended, lock_take, lock_yield
from ext.objects cimport (
    BUSY, FAILED, FILLING, IN_NONE, Meta, ShardHead, WHOLE, clear_start, fetch_ahead, free_object,
    handle_of, is_fill, is_leased, keep_object, key_of, keys_of, meta_of, next_start, object_at,
    object_units, state_of)
from ext.purgelog cimport NOT_PURGED, PURGED_HARD, purged_since

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int fd, const void *p, size_t size)

cdef enum:
    PAGE_BYTES = 4096
    UNITS_PER_BUCKET = 8           # 1 KiB: chains of one object on average when objects are small
    EVICTIONS_AT_ONCE = 32         # looks at queued objects per lock: about 10 us


# -- layout ----------------------------------------------------------------------------------------

cdef uint64_t starts_bytes(uint32_t units) noexcept nogil:
    return <uint64_t>(units // 64 + 1) * 8


cdef uint32_t bucket_count_of(uint32_t units) noexcept nogil:
    return units // UNITS_PER_BUCKET + 1


cdef uint64_t tables_bytes(uint32_t units) noexcept nogil:
    """Of everything in front of the units, in whole pages."""
    cdef uint64_t sum = (sizeof(ShardHead) + ghost_bytes(units) + extents_bytes(units)
                         + starts_bytes(units) + 4 * <uint64_t>bucket_count_of(units))
    return (sum + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES


cdef int shard_place(Shard *s, char *base, uint64_t at, uint64_t size, const PurgeLog *log,
                     int wake_fd) noexcept nogil:
    """A view of the shard that begins at offset `at`, a whole page."""
    cdef char *p = base + at
    cdef uint64_t units = size // UNIT_BYTES, over
    while units and tables_bytes(<uint32_t>units) + units * UNIT_BYTES > size:
        over = tables_bytes(<uint32_t>units) + units * UNIT_BYTES - size
        units -= max(over // (2 * UNIT_BYTES), <uint64_t>1)
    s.units = <uint32_t>units
    s.base = base
    s.log = log
    s.wake_fd = wake_fd
    s.head = <ShardHead *>p
    p += sizeof(ShardHead)
    ghosts_place(s, p)
    p += ghost_bytes(s.units)
    extents_place(&s.extents, p, s.units, &s.head.free_units)
    p += extents_bytes(s.units)
    s.starts = <uint64_t *>p
    p += starts_bytes(s.units)
    s.buckets = <uint32_t *>p
    s.bucket_count = bucket_count_of(s.units)
    s.first = <uint32_t>((at + tables_bytes(s.units)) // UNIT_BYTES)
    return 0


cdef int shard_make(Shard *s) noexcept nogil:
    """Of zeroed memory: 0, or an errno."""
    extents_make(&s.extents)
    return lock_make(&s.head.lock)


# -- the lock --------------------------------------------------------------------------------------

cdef bint enter(Shard *s) noexcept nogil:
    """True: the shard was just emptied, since somebody had died inside."""
    if lock_take(&s.head.lock) != OWNER_DIED:
        return False
    rebuild(s)
    lock_mended(&s.head.lock)
    return True


cdef void leave(Shard *s) noexcept nogil:
    lock_drop(&s.head.lock)


cdef bint give_way(Shard *s) noexcept nogil:
    """Leave, to enter again soon. False: better not soon."""
    lock_drop(&s.head.lock)
    return lock_yield(&s.head.lock)


cdef void wake(const Shard *s, Object *o) noexcept nogil:
    """Tell who follows an object that it has moved. A full eventfd has woken everybody already."""
    cdef uint64_t one = 1
    edge_fence()                           # who follows first and looks then misses nothing
    if edge_load8(&o.followed) and s.wake_fd >= 0:
        write(s.wake_fd, &one, sizeof(one))


cdef void rebuild(Shard *s) noexcept nogil:
    cdef uint32_t handle = next_start(s, s.first)
    cdef Object *o
    while handle:
        o = object_at(s.base, handle)
        edge_store8(&o.indexed, 0)
        o.queue = IN_NONE
        if is_fill(o):
            edge_store32(&o.state, FAILED)
        wake(s, o)
        handle = next_start(s, handle + 1)
    edge_fence()                           # from here on who drops the last lease waits for us
    memset(s.buckets, 0, s.bucket_count * sizeof(uint32_t))
    memset(&s.head.small, 0, sizeof(s.head.small))
    memset(&s.head.main, 0, sizeof(s.head.main))
    s.head.objects = s.head.markers = s.head.fills = s.head.next_unit = 0
    s.head.changes += 1
    s.head.generation += 1
    extents_reset(&s.extents)
    handle = next_start(s, s.first)
    while handle:
        o = object_at(s.base, handle)
        if not is_leased(o) or not keep_object(s, o):
            clear_start(s, handle)
        handle = next_start(s, handle + 1)


# -- the index -------------------------------------------------------------------------------------

cdef inline uint32_t *bucket_of(const Shard *s, uint64_t hash) noexcept nogil:
    return &s.buckets[(hash >> 32) * s.bucket_count >> 32]


cdef inline bint has_key(Object *o, uint64_t hash, const char *key, uint32_t size) noexcept nogil:
    return o.hash == hash and o.key_size == size and memcmp(key_of(o), key, size) == 0


cdef uint32_t newest_of(const Shard *s, uint64_t hash, const char *key,
                        uint32_t key_size) noexcept nogil:
    """Handle of the newest object of a key, or 0."""
    cdef uint32_t handle = bucket_of(s, hash)[0]
    fetch_ahead(s.base, handle)
    while handle and not has_key(object_at(s.base, handle), hash, key, key_size):
        handle = object_at(s.base, handle).next
    return handle


cdef uint32_t next_of(const Shard *s, const Object *o) noexcept nogil:
    """Handle of the next older object of the same key, or 0."""
    cdef uint32_t handle = o.next
    while handle and not has_key(object_at(s.base, handle), o.hash, key_of(<Object *>o),
                                 o.key_size):
        handle = object_at(s.base, handle).next
    return handle


cdef void link(Shard *s, Object *o) noexcept nogil:
    """As the newest."""
    cdef uint32_t *bucket = bucket_of(s, o.hash)
    o.next = bucket[0]
    bucket[0] = handle_of(s, o)
    edge_store8(&o.indexed, 1)


cdef void unlink(Shard *s, Object *o) noexcept nogil:
    cdef uint32_t *place = bucket_of(s, o.hash)
    cdef uint32_t handle = handle_of(s, o)
    while place[0] != handle:
        place = &object_at(s.base, place[0]).next
    place[0] = o.next
    edge_store8(&o.indexed, 0)


cdef bint is_valid(Shard *s, Object *o, uint64_t epoch) noexcept nogil:
    """Has nothing that was purged up to `epoch` taken it away? A soft purge is carried out."""
    cdef Meta *m
    cdef int64_t soft_ms = 0
    cdef int purged
    if o.epoch >= epoch:
        return True
    if state_of(o) == BUSY:                # its keys are not known yet: `open` looks
        return purged_since(s.log, o.epoch, NULL, 0, &soft_ms) != PURGED_HARD
    m = meta_of(s, o)
    purged = purged_since(s.log, o.epoch, keys_of(m), m.key_count, &soft_ms)
    if purged == PURGED_HARD:
        return False
    if purged != NOT_PURGED:
        make_stale(&o.freshness, soft_ms)
    o.epoch = epoch
    return True


cdef void set_state(Shard *s, Object *o, int state, int failure) noexcept nogil:
    """`filled` and `length` are as they will be seen with it."""
    if is_fill(o) and state > FILLING:
        s.head.fills -= 1
    edge_store32(&o.state, <uint32_t>(state | failure << 16))
    wake(s, o)


# -- who leaves ------------------------------------------------------------------------------------

cdef void drop(Shard *s, Object *o) noexcept nogil:
    """Out of the index and its queue; freed now, or by who has the last lease."""
    if o.indexed:
        unlink(s, o)
        if state_of(o) == WHOLE:
            if o.freshness.flags & O_PASS:
                s.head.markers -= 1
            else:
                s.head.objects -= 1
    if is_fill(o):
        o.purged = 1
    dequeue(s, o)
    wake(s, o)
    edge_fence()                           # the index first, then the leases: see drop_lease
    if not is_leased(o):
        free_object(s, o)


cdef void fail(Shard *s, Object *o) noexcept nogil:
    """A fill whose filler is gone."""
    s.head.changes += 1
    set_state(s, o, FAILED, 0)
    drop(s, o)


cdef void drop_lease(Shard *s, Object *o, int row) noexcept nogil:
    """Under the lock. Without it: clear the bit, then look whether it is indexed still."""
    edge_and64(&o.leases[row >> 6], ~(<uint64_t>1 << (row & 63)))
    if not o.indexed and not is_leased(o):
        free_object(s, o)


cdef uint32_t make_room(Shard *s, uint32_t want, uint32_t least, uint32_t *got,
                        uint32_t *idle) noexcept nogil:
    """Take a run of `least` to `want` units and evict for it. NO_RUN: give way, enter, and call
    again, so that others get their turn; unless `idle`, 0 at first, is ALL_IN_USE now."""
    cdef Object *victim = NULL
    cdef uint32_t run = take_run(&s.extents, want, least, got)
    cdef int _i, step
    if run != NO_RUN:
        return run
    for _i in range(EVICTIONS_AT_ONCE):
        step = next_victim(s, &victim)
        if step == STEP_EVICT:
            idle[0] = 0
            s.head.evictions += 1
            s.head.evicted_units += object_units(s, victim)
            drop(s, victim)
            run = take_run(&s.extents, want, least, got)
            if run != NO_RUN:
                return run
        else:
            # Four turns bring every frequency to 0: who is still there then is leased.
            idle[0] += 1
            if step == STEP_EMPTY or idle[0] > 4 * (s.head.small.count + s.head.main.count) + 4:
                idle[0] = ALL_IN_USE
                return NO_RUN
    return NO_RUN
