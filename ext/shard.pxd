# A shard under its lock: who is in it, who leaves it, and what is left of it after a crash.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from ext.objects cimport Object, Shard
from ext.purgelog cimport PurgeLog

cdef enum:
    SHARD_MIN_BYTES = 65536        # a smaller one has no room for a head and its tables
    ALL_IN_USE = 0xFFFFFFFF        # make_room: nothing (more) can be evicted

cdef int shard_place(Shard *s, char *base, uint64_t at, uint64_t size, const PurgeLog *log,
                     int wake_fd) noexcept nogil
cdef int shard_make(Shard *s) noexcept nogil
cdef bint enter(Shard *s) noexcept nogil
cdef void leave(Shard *s) noexcept nogil
cdef bint give_way(Shard *s) noexcept nogil
cdef void wake(const Shard *s, Object *o) noexcept nogil

cdef uint32_t newest_of(const Shard *s, uint64_t hash, const char *key,
                        uint32_t key_size) noexcept nogil
cdef uint32_t next_of(const Shard *s, const Object *o) noexcept nogil
cdef void link(Shard *s, Object *o) noexcept nogil
cdef void unlink(Shard *s, Object *o) noexcept nogil
cdef bint is_valid(Shard *s, Object *o, uint64_t epoch) noexcept nogil
cdef void set_state(Shard *s, Object *o, int state, int failure) noexcept nogil
cdef void drop(Shard *s, Object *o) noexcept nogil
cdef void fail(Shard *s, Object *o) noexcept nogil
cdef uint32_t make_room(Shard *s, uint32_t want, uint32_t least, uint32_t *got,
                        uint32_t *idle) noexcept nogil
cdef void drop_lease(Shard *s, Object *o, int row) noexcept nogil
