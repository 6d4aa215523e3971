"""S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need for cache eviction, SOSP
2023).

Theory. Most objects that enter a cache are asked for once. So a new object enters a small queue,
a tenth of the memory. At its end, one that was asked for more than once goes on into the main
queue; any other leaves, and only a fingerprint of it stays, in the ghosts. Who comes back while
its ghost is there enters the main queue at once. At the end of the main queue an object that was
asked for since goes round again, up to three times. A hit only counts to three, so it writes
nothing when an object is hot.

Sizes are units of memory, not numbers of objects. Objects that are leased are passed over. The
ghosts are a table of fingerprints with the time of their eviction, counted in evictions: there
are as many as there are objects in the main queue, and older ones count as gone.

The queues change under the shard's lock. Called by: shard, store.
"""
from libc.stdint cimport uint8_t, uint64_t

from ext.atomics cimport edge_load8, edge_store8
from ext.hashes cimport hash_bytes
from ext.objects cimport (
    GHOSTS_PER_BUCKET, IN_MAIN, IN_NONE, IN_SMALL, Meta, Queue, handle_of, is_leased, meta_of,
    object_at, object_units, variant_of)

cdef enum:
    SMALL_PERCENT = 10             # of the memory; the paper's choice
    UNITS_PER_GHOST = 8            # 1 KiB: as many ghosts as objects, when these are small
    GHOST_TICKS = 16384            # of all ghosts; times have 16 bits, so they wrap after four such


# -- queues ----------------------------------------------------------------------------------------

cdef inline Queue *queue_of(Shard *s, Object *o) noexcept nogil:
    return &s.head.main if o.queue == IN_MAIN else &s.head.small


cdef void push(Shard *s, Object *o, int which, uint32_t units) noexcept nogil:
    cdef uint32_t handle = handle_of(s, o)
    cdef Queue *q
    o.queue = which
    q = queue_of(s, o)
    o.newer = 0
    o.older = q.newest
    if q.newest:
        object_at(s.base, q.newest).newer = handle
    else:
        q.oldest = handle
    q.newest = handle
    q.count += 1
    q.units += units


cdef void pull(Shard *s, Object *o, uint32_t units) noexcept nogil:
    cdef Queue *q = queue_of(s, o)
    if o.older:
        object_at(s.base, o.older).newer = o.newer
    else:
        q.oldest = o.newer
    if o.newer:
        object_at(s.base, o.newer).older = o.older
    else:
        q.newest = o.older
    q.count -= 1
    q.units -= units
    o.queue = IN_NONE


cdef void dequeue(Shard *s, Object *o) noexcept nogil:
    if o.queue != IN_NONE:
        pull(s, o, object_units(s, o))


cdef void enqueue(Shard *s, Object *o) noexcept nogil:
    """A new object that is whole."""
    edge_store8(&o.frequency, 0)
    push(s, o, IN_MAIN if was_ghost(s, o) else IN_SMALL, object_units(s, o))


cdef void requeue(Shard *s, Object *o, uint32_t units_before) noexcept nogil:
    """The size of an object in a queue has changed."""
    if o.queue != IN_NONE:
        queue_of(s, o).units += object_units(s, o)
        queue_of(s, o).units -= units_before


# -- ghosts ----------------------------------------------------------------------------------------

cdef uint32_t ghost_bytes(uint32_t units) noexcept nogil:
    cdef uint32_t buckets = units // (UNITS_PER_GHOST * GHOSTS_PER_BUCKET)
    return max(buckets, <uint32_t>1) * GHOSTS_PER_BUCKET * <uint32_t>sizeof(uint32_t)


cdef void ghosts_place(Shard *s, char *memory) noexcept nogil:
    """For s.units; zeroed memory has no ghosts."""
    cdef uint32_t count = ghost_bytes(s.units) // <uint32_t>sizeof(uint32_t)
    s.ghosts = <uint32_t *>memory
    s.ghost_buckets = count // GHOSTS_PER_BUCKET
    s.ghost_shift = 0
    while count >> s.ghost_shift > GHOST_TICKS:
        s.ghost_shift += 1


cdef uint32_t *ghosts_like(Shard *s, Object *o, uint32_t *fingerprint) noexcept nogil:
    """The bucket for an object's ghost. The shard is the low bits of the hash, the bucket of the
    index the high ones."""
    cdef Meta *m = meta_of(s, o)
    cdef uint64_t hash = o.hash
    if m.variant_size:
        hash ^= hash_bytes(variant_of(m), m.variant_size)
    fingerprint[0] = max(<uint32_t>(hash >> 32) & 0xFFFF, <uint32_t>1)
    return &s.ghosts[(<uint64_t><uint32_t>hash * s.ghost_buckets >> 32) * GHOSTS_PER_BUCKET]


cdef inline uint32_t ghost_age(const Shard *s, uint32_t ghost) noexcept nogil:
    return ((s.head.ghost_clock >> s.ghost_shift) - ghost) & 0xFFFF


cdef bint was_ghost(Shard *s, Object *o) noexcept nogil:
    """Was it evicted not long ago? Its ghost goes."""
    cdef uint32_t fingerprint, i
    cdef uint32_t *bucket
    if s.head.ghost_clock == 0:                # nothing was: leave their memory untouched
        return False
    bucket = ghosts_like(s, o, &fingerprint)
    for i in range(GHOSTS_PER_BUCKET):
        if bucket[i] >> 16 == fingerprint:
            fingerprint = bucket[i]
            bucket[i] = 0
            return ghost_age(s, fingerprint) <= s.head.main.count >> s.ghost_shift
    return False


cdef void add_ghost(Shard *s, Object *o) noexcept nogil:
    cdef uint32_t fingerprint, i, age, oldest = 0, oldest_age = 0
    cdef uint32_t *bucket = ghosts_like(s, o, &fingerprint)
    for i in range(GHOSTS_PER_BUCKET):
        if bucket[i] == 0 or bucket[i] >> 16 == fingerprint:
            oldest = i
            break
        age = ghost_age(s, bucket[i])
        if age >= oldest_age:
            oldest = i
            oldest_age = age
    bucket[oldest] = fingerprint << 16 | (s.head.ghost_clock >> s.ghost_shift & 0xFFFF)
    s.head.ghost_clock += 1


# -- the next one to leave -------------------------------------------------------------------------

cdef int next_victim(Shard *s, Object **victim) noexcept nogil:
    """Look at one object: STEP_EVICT with it out of its queue, or another Step. So that a caller
    can stop anywhere, this is one turn of the paper's loops."""
    cdef Queue *small = &s.head.small
    cdef Queue *main = &s.head.main
    cdef bint from_small = small.count and (
        main.count == 0 or small.units * 100 >= <uint64_t>s.units * SMALL_PERCENT)
    cdef Object *o
    cdef uint32_t units
    cdef uint8_t frequency
    if small.count == 0 and main.count == 0:
        return STEP_EMPTY
    o = object_at(s.base, small.oldest if from_small else main.oldest)
    units = object_units(s, o)
    frequency = edge_load8(&o.frequency)
    pull(s, o, units)
    if from_small and frequency > 1:
        push(s, o, IN_MAIN, units)
        return STEP_MOVED
    if not from_small and frequency:
        edge_store8(&o.frequency, frequency - 1)
        push(s, o, IN_MAIN, units)
        return STEP_MOVED
    if is_leased(o):
        push(s, o, IN_SMALL if from_small else IN_MAIN, units)
        return STEP_MOVED
    if from_small:
        add_ghost(s, o)
    victim[0] = o
    return STEP_EVICT
