# One object of the store, where its parts are, and the shard that it is in.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec
from ext.atomics cimport edge_load32
from ext.extents cimport Extents, UNIT_BYTES
from ext.freshness cimport Freshness
from ext.locks cimport Lock
from ext.purgelog cimport PurgeLog

cdef extern from *:
    """
    #define edge_prefetch(p) __builtin_prefetch(p)
    """
    void edge_prefetch(const void *p) noexcept nogil

cdef enum:
    OBJECT_BYTES = 160             # sizeof(Object)
    META_BYTES = 16                # sizeof(Meta)
    FIRST_RUN_UNITS = 32           # 4 KiB: what a fill gets before its length is known
    EXTENTS_INLINE = 3
    TABLE_UNITS_FIRST = 4          # 62 extents: 62 MiB, when memory is not in pieces
    TABLE_UNITS_NEXT = 32          # 510
    GHOSTS_PER_BUCKET = 16         # one cache line

cdef enum State:
    BUSY = 1                       # being fetched; its head is not there yet
    FILLING = 2                    # the head is there, and `filled` bytes of the body
    WHOLE = 3                      # or a hit-for-pass marker, without head and body
    ALONE = 4                      # not to be shared: who waited for it goes on alone
    FAILED = 5                     # nothing (more) comes; `failure` is the status to answer, or 0

cdef enum Queued:
    IN_NONE, IN_SMALL, IN_MAIN

cdef struct Extent:                # a run that holds body
    uint32_t start                 # a handle
    uint32_t end                   # units of the body in this extent and those before it

cdef struct Table:                 # of extents, at the start of a run; `room` extents follow
    uint32_t next                  # a handle; 0: the last table
    uint32_t units                 # of the run
    uint32_t room
    uint32_t reserved

cdef struct Meta:                  # then: uint64 keys[key_count] | variant text | head
    uint32_t variant_size
    uint32_t head_size
    uint32_t visible_size          # of the head
    uint16_t key_count             # surrogate keys
    uint16_t units                 # of its run; 0: in the object's first run

# The first run is Object | key | Meta | body, and a Meta that does not fit has a run of its own. So
# does one that replaces another: it is made whole and then put in with one store.
cdef struct Object:                # a cache line of what each look needs first
    uint64_t hash                  # of the key
    uint64_t epoch                 # purges up to this one do not concern it
    uint64_t leases[2]             # atomic: a bit per row
    uint32_t next                  # in its bucket: the next older one
    uint32_t key_size
    uint32_t state                 # atomic: State | failure << 16
    uint32_t meta                  # handle of the Meta's own run; 0: behind the key
    uint32_t hits                  # atomic
    uint16_t units                 # of the first run
    uint16_t status
    uint8_t indexed                # atomic: others can find it
    uint8_t followed               # atomic: who waits for it wants to be woken
    uint8_t queue                  # Queued
    uint8_t frequency              # atomic: S3-FIFO, 0 to 3
    uint8_t coding
    uint8_t filler                 # the row that fills it
    uint8_t purged                 # left the index while it was filled: must not be shared
    uint64_t filled                # atomic: bytes of the body that are there
    int64_t length                 # atomic: -1 until it is known
    Freshness freshness
    uint32_t body_at               # offset of the body in the first run
    uint32_t extents_used
    uint32_t older                 # in its queue
    uint32_t newer
    Extent extents[EXTENTS_INLINE]
    uint32_t table                 # handle of the further extents

cdef struct Queue:
    uint32_t oldest
    uint32_t newest
    uint32_t count
    uint32_t reserved
    uint64_t units

cdef struct ShardHead:             # shared
    Lock lock
    uint32_t changes               # grows whenever a request might find something else
    uint32_t generation            # grows when the shard was emptied after a crash
    uint32_t free_units
    uint32_t next_unit             # where the last first run ended: the next may begin there
    uint32_t objects               # in the index, WHOLE
    uint32_t markers               # in the index, hit-for-pass
    uint32_t fills                 # BUSY or FILLING
    uint32_t ghost_clock           # evictions from the small queue
    Queue small
    Queue main
    uint64_t evictions
    uint64_t evicted_units

cdef struct Shard:                 # this process's view
    ShardHead *head
    char *base                     # of the whole memory: a handle is an offset from here
    uint64_t *starts               # a bit per unit: an object begins here
    uint32_t *buckets              # handles of the newest object
    uint32_t *ghosts               # fingerprint << 16 | time
    uint32_t bucket_count
    uint32_t ghost_buckets
    uint32_t ghost_shift           # evictions in one tick of a ghost's time
    uint32_t first                 # handle of unit 0
    uint32_t units
    int wake_fd
    Extents extents
    const PurgeLog *log            # borrowed


cdef inline Object *object_at(const char *base, uint32_t handle) noexcept nogil:
    return <Object *>(base + <uint64_t>handle * UNIT_BYTES)


cdef inline void fetch_ahead(const char *base, uint32_t handle) noexcept nogil:
    """Have the struct, the key and the surrogate keys come from memory, all four lines at once."""
    edge_prefetch(base + <uint64_t>handle * UNIT_BYTES)
    edge_prefetch(base + <uint64_t>handle * UNIT_BYTES + 64)
    edge_prefetch(base + <uint64_t>handle * UNIT_BYTES + 128)
    edge_prefetch(base + <uint64_t>handle * UNIT_BYTES + 192)


cdef inline uint32_t handle_of(const Shard *s, const Object *o) noexcept nogil:
    return <uint32_t>((<const char *>o - s.base) // UNIT_BYTES)


cdef inline char *key_of(Object *o) noexcept nogil:
    return <char *>o + OBJECT_BYTES


cdef inline uint32_t after_key(const Object *o) noexcept nogil:
    """Offset in the first run, 8-aligned."""
    return (OBJECT_BYTES + o.key_size + 7) & ~<uint32_t>7


cdef inline Meta *meta_of(const Shard *s, const Object *o) noexcept nogil:
    if o.meta:
        return <Meta *>(s.base + <uint64_t>o.meta * UNIT_BYTES)
    return <Meta *>(<char *>o + after_key(o))


cdef inline uint64_t *keys_of(Meta *m) noexcept nogil:
    return <uint64_t *>(<char *>m + META_BYTES)


cdef inline char *variant_of(Meta *m) noexcept nogil:
    return <char *>(keys_of(m) + m.key_count)


cdef inline char *head_of(Meta *m) noexcept nogil:
    return variant_of(m) + m.variant_size


cdef inline uint64_t meta_bytes(const Meta *m) noexcept nogil:
    """With what stands behind it."""
    return META_BYTES + 8 * <uint64_t>m.key_count + m.variant_size + m.head_size


cdef inline Table *table_at(const Shard *s, uint32_t handle) noexcept nogil:
    return <Table *>(s.base + <uint64_t>handle * UNIT_BYTES)


cdef inline Extent *entries_of(Table *t) noexcept nogil:
    return <Extent *>(<char *>t + sizeof(Table))


cdef inline bint is_leased(const Object *o) noexcept nogil:
    return (o.leases[0] | o.leases[1]) != 0


cdef inline bint is_start(const Shard *s, uint32_t handle) noexcept nogil:
    """Does an object begin there? Under the lock, or nothing can be concluded."""
    cdef uint32_t unit = handle - s.first
    return s.starts[unit >> 6] >> (unit & 63) & 1


cdef inline uint32_t units_for(uint64_t size) noexcept nogil:
    return <uint32_t>((size + UNIT_BYTES - 1) // UNIT_BYTES)


cdef inline int state_of(const Object *o) noexcept nogil:
    """Its State; what was written before it is there too."""
    return edge_load32(<uint32_t *>&o.state) & 0xFFFF


cdef inline bint is_fill(const Object *o) noexcept nogil:
    return state_of(o) <= FILLING


cdef void set_start(Shard *s, uint32_t handle) noexcept nogil
cdef void clear_start(Shard *s, uint32_t handle) noexcept nogil
cdef uint32_t next_start(const Shard *s, uint32_t handle) noexcept nogil
cdef uint32_t object_units(const Shard *s, const Object *o) noexcept nogil
cdef bint add_extent(Shard *s, Object *o, uint32_t start, uint32_t units) noexcept nogil
cdef uint64_t body_room(const Shard *s, const Object *o, uint64_t at, char **p) noexcept nogil
cdef uint64_t body_parts(const Shard *s, const Object *o, uint64_t at, uint64_t most,
                         iovec *parts, int *count) noexcept nogil
cdef void fit_first_run(Shard *s, Object *o, uint64_t size) noexcept nogil
cdef void trim_object(Shard *s, Object *o) noexcept nogil
cdef void free_object(Shard *s, Object *o) noexcept nogil
cdef bint keep_object(Shard *s, Object *o) noexcept nogil
