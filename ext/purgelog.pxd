# What has been purged, and when: surrogate keys by hash, and everything at once.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from ext.locks cimport Lock

cdef enum:
    PURGE_SLOTS = 65536            # 2 MiB a table: at most half of it is used
    PURGE_PAGE_SLOTS = 128         # 4 KiB
    PURGE_PAGES = 512
    PURGE_PAGE_WORDS = 8
    # Different keys that are purged between two trims: a reindex of a large shop purges some ten
    # thousand.
    PURGE_KEYS_MAX = 32768

cdef struct PurgeEntry:
    uint64_t key                   # hash of the surrogate key; 0: free
    uint64_t hard                  # epoch of its last hard purge; 0: none
    uint64_t soft                  # and of its last soft purge
    int64_t soft_ms                # when that was

cdef struct PurgeHead:             # shared
    Lock lock                      # of who purges or trims; readers hold a shard's lock instead
    uint64_t epoch                 # grows with each purge
    uint64_t all_epoch             # of the last purge of everything
    uint32_t current               # the table in use
    uint32_t used                  # entries in it
    uint64_t keys, urls, alls      # how many purges there were
    uint64_t pages[2][PURGE_PAGE_WORDS]     # of each table: a bit per page that was written

cdef struct PurgeLog:              # this process's view
    PurgeHead *head
    PurgeEntry *tables[2]

cdef enum PurgeResult:
    NOT_PURGED, PURGED_SOFT, PURGED_HARD

cdef uint64_t purgelog_bytes() noexcept nogil
cdef int purgelog_make(PurgeLog *log) noexcept nogil
cdef void purgelog_place(PurgeLog *log, PurgeHead *head, char *tables) noexcept nogil
cdef uint64_t purge_epoch(const PurgeLog *log) noexcept nogil
cdef int purged_since(const PurgeLog *log, uint64_t epoch, const uint64_t *keys, uint32_t count,
                      int64_t *soft_ms) noexcept nogil
cdef uint32_t purge_keys(PurgeLog *log, const uint64_t *keys, uint32_t count, bint soft,
                         int64_t now_ms) noexcept nogil
cdef void purge_everything(PurgeLog *log) noexcept nogil
cdef void count_url_purge(PurgeLog *log) noexcept nogil
cdef void trim_purges(PurgeLog *log, uint64_t floor) noexcept nogil
