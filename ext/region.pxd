# The whole memory of a store: its head, the rows of leases, the purge log, the shards.
from libc.stdint cimport uint32_t, uint64_t
from ext.extents cimport UNIT_BYTES
from ext.leases cimport LeaseRow
from ext.locks cimport Lock
from ext.objects cimport Shard
from ext.purgelog cimport PurgeHead, PurgeLog

cdef enum:
    SHARDS_MAX = 64
    SHARD_BYTES = 67108864         # 64 MiB: 32 locks for 2 GiB, and room for one large object

cdef struct SweepHead:             # shared
    Lock lock                      # of who sweeps
    uint64_t swept                 # every object is valid up to this epoch
    uint64_t target                # and after this round, up to this one
    uint64_t floor                 # the oldest epoch of a fill that this round has met
    uint32_t shard                 # where this round is
    uint32_t handle                # the next one to look at; 0: no round is under way

cdef struct RegionHead:            # shared
    uint64_t magic
    uint64_t version
    uint64_t size_bytes            # of the shards
    uint64_t shard_bytes
    uint64_t hash_key[2]
    uint64_t rows_used[2]          # atomic: a bit per row that ever was
    uint32_t shards
    uint32_t reserved
    PurgeHead purges
    SweepHead sweep

cdef struct Region:                # this process's view
    char *base
    uint64_t mapped_bytes
    RegionHead *head
    LeaseRow *rows
    PurgeLog log
    uint32_t shards
    uint64_t shards_at
    uint64_t shard_bytes
    Shard shard[SHARDS_MAX]


cdef inline Shard *shard_of(Region *r, uint32_t handle) noexcept nogil:
    return &r.shard[(<uint64_t>handle * UNIT_BYTES - r.shards_at) // r.shard_bytes]


cdef inline Shard *shard_for(Region *r, const uint64_t *hash) noexcept nogil:
    return &r.shard[hash[0] & (r.shards - 1)]


cdef inline bint is_row_used(const Region *r, int row) noexcept nogil:
    return r.head.rows_used[row >> 6] >> (row & 63) & 1


cdef int region_create(uint64_t size_bytes) except -1
cdef int region_attach(Region *r, int fd, int wake_fd) except -1
cdef void region_detach(Region *r) noexcept nogil
cdef void region_use_row(Region *r, int row) noexcept nogil
cdef dict region_stats(Region *r)
