"""The memory of a store: one memfd, which every process maps, made of parts that are all offsets.

    RegionHead | a row of leases per process | two purge tables | shard | shard | ...
    shard = ShardHead | ghosts | free blocks | object starts | buckets | units

A page of a memfd is memory once it is touched, so an empty store of any size costs a few hundred
KiB. The kernel promises no more than it has: when it runs out of pages a process that touches a
new one gets SIGBUS, as with any memory that is overcommitted. So a store must be no larger than
what its machine or its control group can spare.

Called by: sweep, store.
"""
import os

from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from ext.atomics cimport edge_load32, edge_or64
from ext.limits cimport ROWS_MAX
from ext.locks cimport lock_make
from ext.objects cimport ShardHead
from ext.purgelog cimport purgelog_bytes, purgelog_make, purgelog_place
from ext.shard cimport SHARD_MIN_BYTES, enter, leave, shard_make, shard_place

cdef enum:
    MAGIC = 0x65646773             # "edgs"
    VERSION = 1
    PAGE_BYTES = 4096

cdef uint64_t ROWS_AT = PAGE_BYTES
cdef uint64_t PURGES_AT = paged(ROWS_AT + ROWS_MAX * sizeof(LeaseRow))
cdef uint64_t SHARDS_AT = paged(PURGES_AT + purgelog_bytes())
cdef uint64_t SIZE_MAX_BYTES = (<uint64_t>UNIT_BYTES << 32) - SHARDS_AT    # handles have 32 bits

assert sizeof(RegionHead) <= PAGE_BYTES


cdef inline uint64_t paged(uint64_t size) noexcept nogil:
    return (size + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES


cdef uint32_t shards_for(uint64_t size_bytes) noexcept nogil:
    """A power of two, so that a hash picks one by its low bits."""
    cdef uint32_t shards = 1
    while shards < SHARDS_MAX and shards * 2 * <uint64_t>SHARD_BYTES <= size_bytes:
        shards *= 2
    return shards


cdef int map_region(Region *r, int fd, uint64_t size) except -1:
    memset(r, 0, sizeof(Region))
    r.base = <char *>mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if r.base == <char *>MAP_FAILED:
        r.base = NULL
        raise MemoryError(f"cannot map {size} bytes for the cache")
    r.mapped_bytes = size
    r.head = <RegionHead *>r.base
    return 0


cdef void place(Region *r, int wake_fd) noexcept nogil:
    """The views of what the head describes."""
    cdef uint32_t i
    r.rows = <LeaseRow *>(r.base + ROWS_AT)
    purgelog_place(&r.log, &r.head.purges, r.base + PURGES_AT)
    r.shards = r.head.shards
    r.shards_at = SHARDS_AT
    r.shard_bytes = r.head.shard_bytes
    for i in range(r.shards):
        shard_place(&r.shard[i], r.base, SHARDS_AT + i * r.shard_bytes, r.shard_bytes, &r.log,
                    wake_fd)


cdef int region_create(uint64_t size_bytes) except -1:
    """The descriptor of a new one: inheritable, owned by the caller."""
    cdef Region r
    cdef bytes secret = os.urandom(16)
    cdef uint32_t i
    cdef int error
    if not SHARD_MIN_BYTES <= size_bytes <= SIZE_MAX_BYTES:
        raise ValueError(f"a cache of {size_bytes} bytes; it has {int(SHARD_MIN_BYTES)} "
                         f"to {SIZE_MAX_BYTES}")
    fd = os.memfd_create("edge-cache", 0)
    try:
        os.ftruncate(fd, SHARDS_AT + size_bytes)
        map_region(&r, fd, SHARDS_AT + size_bytes)
        r.head.shards = shards_for(size_bytes)
        r.head.shard_bytes = size_bytes // r.head.shards // PAGE_BYTES * PAGE_BYTES
        r.head.size_bytes = size_bytes
        memcpy(r.head.hash_key, <char *>secret, 16)
        place(&r, -1)
        error = purgelog_make(&r.log) or lock_make(&r.head.sweep.lock)
        r.head.sweep.swept = r.head.purges.epoch
        for i in range(r.shards):
            error = error or shard_make(&r.shard[i])
        if error:
            raise OSError(error, "cannot make a lock in shared memory")
        r.head.version = VERSION
        r.head.magic = MAGIC
        region_detach(&r)
        os.set_inheritable(fd, True)
    except (OSError, MemoryError):
        os.close(fd)
        raise
    return fd


cdef int region_attach(Region *r, int fd, int wake_fd) except -1:
    """Map one made by another process. ValueError when it is not one of this version."""
    cdef uint64_t size = os.fstat(fd).st_size
    if size >= SHARDS_AT + SHARD_MIN_BYTES:
        map_region(r, fd, size)
        if (r.head.magic == MAGIC and r.head.version == VERSION
                and SHARDS_AT + r.head.size_bytes == size):
            place(r, wake_fd)
            return 0
        region_detach(r)
    raise ValueError(f"descriptor {fd} is not a cache of this version")


cdef void region_detach(Region *r) noexcept nogil:
    if r.base != NULL:
        munmap(r.base, r.mapped_bytes)
        r.base = NULL


cdef void region_use_row(Region *r, int row) noexcept nogil:
    edge_or64(&r.head.rows_used[row >> 6], <uint64_t>1 << (row & 63))


# -- statistics ------------------------------------------------------------------------------------

cdef dict region_stats(Region *r):
    """What the store has in it and what has happened; sizes in bytes."""
    cdef uint64_t units = 0, free_units = 0, evicted_units = 0
    cdef uint64_t objects = 0, markers = 0, fills = 0, evictions = 0, generations = 0
    cdef ShardHead *h
    cdef uint32_t i
    cdef int row
    for i in range(r.shards):
        h = r.shard[i].head
        enter(&r.shard[i])
        units += r.shard[i].units
        free_units += h.free_units
        objects += h.objects
        markers += h.markers
        fills += h.fills
        evictions += h.evictions
        evicted_units += h.evicted_units
        generations += h.generation
        leave(&r.shard[i])
    row_leases = {row: r.rows[row].used for row in range(ROWS_MAX) if is_row_used(r, row)}
    return {
        "size_bytes": r.head.size_bytes,
        "body_bytes": units * UNIT_BYTES,
        "used_bytes": (units - free_units) * UNIT_BYTES,
        "objects": objects, "pass_markers": markers, "fills": fills,
        "evictions": evictions, "evicted_bytes": evicted_units * UNIT_BYTES,
        "key_purges": r.head.purges.keys, "url_purges": r.head.purges.urls,
        "all_purges": r.head.purges.alls, "logged_keys": edge_load32(&r.head.purges.used),
        "lost_shards": generations,
        "leases": sum(row_leases.values()), "row_leases": row_leases,
    }
