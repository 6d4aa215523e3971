"""The purge log: purging a key that tags a million objects takes as long as purging one.

Theory. Each purge is an epoch, the next number. The log has, for each purged key, the epochs of
its last hard and its last soft purge. An object has the epoch up to which it is known to be
valid: when that is the newest, a look at it is one compare; else its keys are looked up, once. A
purge writes its entry first and the epoch afterwards, so who reads the new epoch finds the entry.

An entry may go when every object is known to be valid beyond it. Then the others are copied into
a second table, which becomes the current one. A reader holds a shard's lock from the moment it
picks a table; so who has passed through all shards' locks since the last change may write the old
one.

One lock for all who write. Each store leaves the log usable, so dying inside costs at most the
purge that was not confirmed. Called by: store (purges), sweep (trims), shard (looks up).
"""
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from ext.atomics cimport edge_in_order, edge_load32, edge_load64, edge_store32, edge_store64
from ext.locks cimport lock_drop, lock_make, lock_mended, lock_take, OWNER_DIED


cdef uint64_t purgelog_bytes() noexcept nogil:
    """Of both tables."""
    return 2 * <uint64_t>PURGE_SLOTS * sizeof(PurgeEntry)


cdef void purgelog_place(PurgeLog *log, PurgeHead *head, char *tables) noexcept nogil:
    log.head = head
    log.tables[0] = <PurgeEntry *>tables
    log.tables[1] = log.tables[0] + PURGE_SLOTS


cdef int purgelog_make(PurgeLog *log) noexcept nogil:
    """Of zeroed memory: 0, or an errno."""
    log.head.epoch = 1                     # 0 means never
    return lock_make(&log.head.lock)


cdef uint64_t purge_epoch(const PurgeLog *log) noexcept nogil:
    return edge_load64(&log.head.epoch)


# -- reading, under a shard's lock -----------------------------------------------------------------

cdef inline PurgeEntry *slot_of(PurgeEntry *table, uint64_t key) noexcept nogil:
    """Where a key is, or would be."""
    cdef uint32_t at = <uint32_t>key & (PURGE_SLOTS - 1)
    cdef uint64_t there
    while True:
        there = edge_load64(&table[at].key)
        if there == key or there == 0:
            return &table[at]
        at = (at + 1) & (PURGE_SLOTS - 1)


cdef int purged_since(const PurgeLog *log, uint64_t epoch, const uint64_t *keys, uint32_t count,
                      int64_t *soft_ms) noexcept nogil:
    """A PurgeResult for what is valid up to `epoch`; for PURGED_SOFT also when that was."""
    cdef PurgeEntry *table = log.tables[edge_load32(&log.head.current) & 1]
    cdef PurgeEntry *entry
    cdef int result = NOT_PURGED
    cdef uint32_t i
    if edge_load64(&log.head.all_epoch) > epoch:
        return PURGED_HARD
    for i in range(count):
        entry = slot_of(table, keys[i])
        if entry.key == 0:
            continue
        if edge_load64(&entry.hard) > epoch:
            return PURGED_HARD
        if edge_load64(&entry.soft) > epoch:
            if result == NOT_PURGED or entry.soft_ms < soft_ms[0]:
                soft_ms[0] = entry.soft_ms
            result = PURGED_SOFT
    return result


# -- writing ---------------------------------------------------------------------------------------

cdef inline bint is_written(const PurgeLog *log, uint32_t table, uint32_t page) noexcept nogil:
    return log.head.pages[table][page >> 6] >> (page & 63) & 1


cdef PurgeEntry *new_entry(PurgeLog *log, uint32_t table, uint64_t key) noexcept nogil:
    """The place for a key that the table does not have."""
    cdef PurgeEntry *entry = slot_of(log.tables[table], key)
    cdef uint32_t page = <uint32_t>(entry - log.tables[table]) // PURGE_PAGE_SLOTS
    log.head.pages[table][page >> 6] |= <uint64_t>1 << (page & 63)
    edge_in_order()
    return entry


cdef uint32_t copy_newer(PurgeLog *log, uint32_t from_, uint32_t to, uint64_t floor) noexcept nogil:
    """What was purged after `floor`, into the other table: how many entries. Pages that were never
    written are neither read nor cleared, so a small log costs little."""
    cdef PurgeEntry *old
    cdef uint32_t page, i, kept = 0
    for page in range(PURGE_PAGES):
        if is_written(log, to, page):
            memset(log.tables[to] + page * PURGE_PAGE_SLOTS, 0,
                   PURGE_PAGE_SLOTS * sizeof(PurgeEntry))
    edge_in_order()
    memset(log.head.pages[to], 0, sizeof(log.head.pages[to]))
    for page in range(PURGE_PAGES):
        if not is_written(log, from_, page):
            continue
        for i in range(PURGE_PAGE_SLOTS):
            old = log.tables[from_] + page * PURGE_PAGE_SLOTS + i
            if old.key and (old.hard > floor or old.soft > floor):
                new_entry(log, to, old.key)[0] = old[0]
                kept += 1
    return kept


cdef uint32_t used_of(PurgeLog *log, uint32_t table) noexcept nogil:
    cdef uint32_t i, count = 0
    for i in range(PURGE_SLOTS):
        if is_written(log, table, i // PURGE_PAGE_SLOTS):
            count += log.tables[table][i].key != 0
    return count


cdef void enter(PurgeLog *log) noexcept nogil:
    if lock_take(&log.head.lock) == OWNER_DIED:
        log.head.used = used_of(log, log.head.current & 1)
        lock_mended(&log.head.lock)


cdef uint32_t purge_keys(PurgeLog *log, const uint64_t *keys, uint32_t count, bint soft,
                         int64_t now_ms) noexcept nogil:
    """How many of the keys are purged now; fewer than `count` when the table is full."""
    cdef PurgeEntry *entry
    cdef uint64_t epoch
    cdef uint32_t i = 0
    enter(log)
    epoch = log.head.epoch + 1
    while i < count:
        entry = slot_of(log.tables[log.head.current & 1], keys[i])
        if entry.key == 0:
            if log.head.used >= PURGE_KEYS_MAX:
                break
            entry = new_entry(log, log.head.current & 1, keys[i])
            entry.hard = entry.soft = 0
            log.head.used += 1
        if soft:
            entry.soft_ms = now_ms
            edge_store64(&entry.soft, epoch)
        else:
            edge_store64(&entry.hard, epoch)
        edge_store64(&entry.key, keys[i])
        i += 1
    log.head.keys += i
    edge_store64(&log.head.epoch, epoch)
    lock_drop(&log.head.lock)
    return i


cdef void purge_everything(PurgeLog *log) noexcept nogil:
    """Hard, as Fastly's purge_all."""
    enter(log)
    edge_store64(&log.head.all_epoch, log.head.epoch + 1)
    edge_store64(&log.head.epoch, log.head.epoch + 1)
    log.head.alls += 1
    lock_drop(&log.head.lock)


cdef void count_url_purge(PurgeLog *log) noexcept nogil:
    enter(log)
    log.head.urls += 1
    lock_drop(&log.head.lock)


cdef void trim_purges(PurgeLog *log, uint64_t floor) noexcept nogil:
    """Forget what was purged up to `floor`. No reader has picked a table before the last trim."""
    cdef uint32_t next_, kept
    enter(log)
    next_ = (log.head.current & 1) ^ 1
    kept = copy_newer(log, next_ ^ 1, next_, floor)
    edge_store32(&log.head.current, next_)
    log.head.used = kept
    lock_drop(&log.head.lock)


# -- facade for tests ------------------------------------------------------------------------------

cdef class PurgeLogForTest:
    """A log of its own, in private memory; keys are numbers."""

    cdef PurgeLog log
    cdef PurgeHead head
    cdef char *tables

    def __cinit__(self):
        self.tables = <char *>calloc(1, purgelog_bytes())
        if self.tables == NULL:
            raise MemoryError
        memset(&self.head, 0, sizeof(PurgeHead))
        purgelog_place(&self.log, &self.head, self.tables)
        if purgelog_make(&self.log):
            raise OSError("cannot make a lock")

    def __dealloc__(self):
        free(self.tables)

    @property
    def epoch(self):
        return purge_epoch(&self.log)

    @property
    def used(self):
        return self.head.used

    def purge(self, uint64_t key, bint soft=False, int64_t now_ms=0):
        """False when there is no room."""
        return purge_keys(&self.log, &key, 1, soft, now_ms) == 1

    def purge_everything(self):
        purge_everything(&self.log)

    def trim(self, uint64_t floor):
        trim_purges(&self.log, floor)

    def since(self, uint64_t epoch, list keys):
        """None, "hard", or the time of the soft purge."""
        cdef uint64_t array[16]
        cdef int64_t soft_ms = 0
        for i, key in enumerate(keys[:16]):
            array[i] = key
        result = purged_since(&self.log, epoch, array, <uint32_t>len(keys[:16]), &soft_ms)
        return {NOT_PURGED: None, PURGED_SOFT: soft_ms, PURGED_HARD: "hard"}[result]
