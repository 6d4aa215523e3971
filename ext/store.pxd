# The cache's objects in memory that all processes share: found, filled, followed, purged, evicted.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec
from ext.freshness cimport Freshness
from ext.http1 cimport Head
from ext.leases cimport Leases
from ext.objects cimport State, BUSY, FILLING, WHOLE, ALONE, FAILED, Object, Shard
from ext.region cimport Region

ctypedef uint32_t Handle           # of an object: its offset in units; 0 = none

cdef struct Asked:                 # a request as the cache sees it; pointers are borrowed
    uint64_t hash[2]               # of the key, by Store.set_key
    const char *key                # site, host and path: the primary key
    uint32_t key_size
    const Head *head               # for the values that Vary selects
    const char *accept_encoding    # stands for the field of that name; NULL: as in the head
    uint32_t accept_encoding_size

cdef struct Seen:                  # of an object, copied at once
    int state                      # State
    int failure                    # of FAILED: the status that its waiters answer; 0: ask again
    uint64_t filled                # bytes of the body that are there
    int64_t length                 # of the whole body; -1: not known yet
    uint32_t hits

cdef struct Found:
    # Leased. The newest WHOLE answer that the request selects, of any age, or a hit-for-pass
    # marker; 0: none.
    Handle object
    # Leased. A fetch under way whose answer this request may take: BUSY, or FILLING and of its
    # variant; 0: none.
    Handle busy
    int busy_state
    Freshness freshness            # of `object`: a copy
    uint32_t hits                  # of `object`, this request not counted
    uint32_t changes               # of the shard, for `begin`

cdef enum Begun:
    LEAD = 0                       # the caller fetches
    JOIN = 1                       # another one does already
    AGAIN = 2                      # something has changed since `find`: find again
    NO_ROOM = 3                    # everything is in use: fetch without storing

cdef enum Stored:
    STORE_OK = 0
    STORE_FULL = 1                 # no room: everything else is in use, or the body is too long
    STORE_PURGED = 2               # purged since its fetch began: it must not be shared
    STORE_LOST = 3                 # the shard was emptied after a crash
    STORE_SHORT = 4                # the body is not as long as it was said to be

cdef struct Answer:                # what `open` stores; pointers are borrowed
    const char *head               # as deliver.pyx writes it, and as parse_response_head reads it
    uint32_t head_size
    uint32_t visible_size          # the part of it that every client gets
    const Head *response           # of the origin: its Vary and Surrogate-Key
    Freshness freshness
    int64_t length                 # -1: not known
    uint16_t status
    uint8_t coding                 # deliver.Coding that edge itself has applied to the body
    bint vary_encoding             # varies on Accept-Encoding also when Vary does not say so

cdef struct StoredHead:            # borrowed: of the caller's room for it
    const char *head
    uint32_t head_size
    uint32_t visible_size
    uint16_t status
    uint8_t coding


cdef class Store:
    cdef readonly int fd           # the memory
    cdef readonly int wake_fd      # eventfd: written when something that is followed has moved
    cdef readonly int row          # this process's row of leases; -1: may not lease
    cdef Region region
    cdef Leases leases
    cdef char *text                # scratch: a request's variant text
    cdef int64_t text_size         # -1: none was made for this request yet
    cdef uint64_t *keys            # scratch: hashes of surrogate keys

    cdef void set_key(self, Asked *asked) noexcept
    cdef int find(self, Asked *asked, int64_t now_ms, Found *found) noexcept
    cdef int begin(self, Asked *asked, const Found *found, int64_t now_ms, Handle *out) noexcept
    cdef void release(self, Handle object) noexcept
    cdef void share(self, Handle object) noexcept
    cdef void count_hit(self, Handle object) noexcept
    cdef void see(self, Handle object, Seen *seen) noexcept
    cdef void read_freshness(self, Handle object, Freshness *freshness) noexcept
    cdef int copy_head(self, Handle object, char *out, uint32_t room, StoredHead *copy) noexcept
    cdef uint64_t body(self, Handle object, uint64_t at, uint64_t most, iovec *parts,
                       int *count) noexcept
    cdef void follow(self, Handle object) noexcept

    cdef int open(self, Handle fill, Asked *asked, const Answer *answer, int64_t now_ms) noexcept
    cdef int append(self, Handle fill, const char *p, uint32_t n) noexcept
    cdef int finish(self, Handle fill, int64_t now_ms) noexcept
    cdef void abandon(self, Handle fill, int state, int failure) noexcept
    cdef void mark_pass(self, Handle fill, const Freshness *freshness) noexcept
    cdef int refresh(self, Handle fill, Handle prior, const Freshness *freshness,
                     const char *head, uint32_t head_size, uint32_t visible_size,
                     int64_t now_ms) noexcept
    cdef int drop_key(self, const char *key, uint32_t key_size, bint soft,
                      int64_t now_ms) noexcept
    cdef void discard(self, Handle object) noexcept

    # -- its parts
    cdef bint selects(self, Shard *s, Object *o, const Asked *asked) noexcept
    cdef void take_lease(self, Object *o, Handle handle) noexcept
    cdef Object *busy_for(self, Shard *s, const Asked *asked) noexcept
    cdef uint32_t select_leader(self, Shard *s, const Asked *asked) noexcept
    cdef void make_fill(self, Shard *s, Handle handle, uint32_t units, const Asked *asked,
                        uint32_t variant_size) noexcept
    cdef int store_meta(self, Shard *s, Object *o, const Answer *answer, uint32_t key_count,
                        uint32_t *idle) noexcept
    cdef int grow(self, Shard *s, Object *o, uint64_t filled, uint32_t n) noexcept
