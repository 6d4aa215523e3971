"""Stick tables: counters about clients, sessions or anything else that a request names.

Theory. A table is a hash of keys to entries of counters, in one memfd that workers and control
map; it outlives reloads. A request that tracks a key holds its entry (`track` to `untrack`), so
`conn_cur` counts it; everything is a short critical section of one shard. An entry lives for
`expire` after its last use; when a shard is full, the entry that was used longest ago and that
nobody holds gives way, unless the table says `nopurge`: then the new key is not tracked.

Crashes. Each worker notes what it holds in a row of its own, inside the critical section; when it
dies, the supervisor gives that back (`sweep_row`). When it died inside one, that shard is emptied,
never trusted: entries get a new generation, and holds of the old one mean nothing.

Rates are HAProxy's: the running period's count, and of the one before as much as is still in view.

Called by: rules, session (C surface); supervisor, control (Python face).
Source: HAProxy 2.6 configuration manual, `stick-table`; management guide, `show table`.
"""
import os

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from ext.limits cimport ROWS_MAX
from ext.locks cimport OWNER_DIED, lock_drop, lock_make, lock_mended, lock_take
from ext.siphash cimport siphash64
from ext.timers cimport now_ms

cdef enum:
    MAGIC = 0x6564676574626C       # "edgetbl"
    VERSION = 1
    SHARDS_MAX = 16                # locks: enough for as many cores to meet seldom
    SHARD_ENTRIES_MIN = 1024       # a small table is exact: one shard has all of its `size`
    SIZE_MAX = 16777216            # entries: 16 million, some 2 GiB
    HOLDS_MAX = 49152              # of a worker: three for each of 16,384 connections
    LOOKS_MAX = 32                 # held entries passed over in search of one to purge
    BATCH = 64                     # entries read under one lock: some microseconds
    PAGE_BYTES = 4096

DATA_NAMES = (
    "server_id", "gpt0", "gpc0", "gpc0_rate", "conn_cnt", "conn_rate", "conn_cur", "sess_cnt",
    "sess_rate", "http_req_cnt", "http_req_rate", "http_err_cnt", "http_err_rate", "bytes_in_cnt",
    "bytes_in_rate", "bytes_out_cnt", "bytes_out_rate", "gpc1", "gpc1_rate", "http_fail_cnt",
    "http_fail_rate",
)
TYPE_NAMES = ("ip", "ipv6", "integer", "string", "binary")

cdef uint8_t[SD_COUNT] is_rate
for _i in range(SD_COUNT):
    is_rate[_i] = DATA_NAMES[_i].endswith("_rate")

cdef char[12] V4_IN_V6
memcpy(V4_IN_V6, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)


# -- rates -----------------------------------------------------------------------------------------

cdef void count_rate(Rate *rate, uint32_t period_ms, uint64_t now, uint32_t n) noexcept nogil:
    """n events now."""
    if now - rate.since_ms >= period_ms:
        rate.before = rate.now if now - rate.since_ms < 2 * <uint64_t>period_ms else 0
        rate.now = 0
        rate.since_ms = (rate.since_ms + period_ms
                         if now - rate.since_ms < 2 * <uint64_t>period_ms else now)
    rate.now += n


cdef uint64_t read_rate(const Rate *rate, uint32_t period_ms, uint64_t now) noexcept nogil:
    """Events in the period that ends now."""
    cdef uint64_t past = now - rate.since_ms, current = rate.now, before = rate.before
    if past >= period_ms:
        before = current if past < 2 * <uint64_t>period_ms else 0
        current = 0
        past -= period_ms
    if past >= period_ms:
        return 0
    if before <= 1 and current == 0:           # one event stays one, instead of flickering
        return before
    return current + before * (period_ms - past) // period_ms


# -- entries ---------------------------------------------------------------------------------------

cdef inline bint is_expired(const Entry *e, uint64_t now) noexcept nogil:
    return e.expires_ms != 0 and e.expires_ms <= now


@cython.final
cdef class StickTable:
    """One table as one process sees it. `create` in the supervisor, `attach` elsewhere."""

    def __cinit__(self, int fd, uint64_t size_bytes, int row):
        self.fd = fd
        self.row = row
        self.mapped_bytes = size_bytes
        self.base = <char *>mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if self.base == <char *>MAP_FAILED:
            self.base = NULL
            raise MemoryError("cannot map a stick table")
        self.head = <TableHead *>self.base
        self.shard = <TableShard *>(self.base + PAGE_BYTES)
        self.tops = <uint32_t *>(self.base + TOPS_AT)
        if row >= 0:
            self.holds = self.holds_of(row)
            self.spare = <uint32_t *>malloc(HOLDS_MAX * sizeof(uint32_t))
            if self.spare == NULL:
                raise MemoryError

    def __dealloc__(self):
        free(self.spare)
        if self.base != NULL:
            munmap(self.base, self.mapped_bytes)

    @staticmethod
    def create(str key_type, uint32_t size, *, uint32_t key_bytes=32, uint64_t expire_ms=0,
               bint nopurge=False, store=()):
        """An empty table; its descriptor is inheritable and owned by the caller.

        `key_type`: of TYPE_NAMES; `size`: entries; `key_bytes`: of strings and binaries; `store`:
        pairs of a name of DATA_NAMES and the period of a rate in ms (0 for what is none).
        ValueError for what cannot be, OSError and MemoryError when there is no memory.
        """
        cdef TableHead head
        cdef StickTable table
        cdef bytes secret = os.urandom(16)
        cdef int error = 0
        cdef uint32_t i
        head_of(&head, key_type, size, key_bytes, store)
        head.expire_ms = expire_ms
        head.nopurge = nopurge
        memcpy(head.hash_key, <const char *>secret, 16)
        fd = os.memfd_create("edge-stick-table", 0)
        try:
            os.ftruncate(fd, bytes_of(&head))
            table = StickTable(fd, bytes_of(&head), -1)
            memcpy(table.head, &head, sizeof(TableHead))
            for i in range(head.shards):
                error = error or lock_make(&table.shard[i].lock)
                table.shard[i].capacity = head.size // head.shards + (i < head.size % head.shards)
            if error:
                raise OSError(error, "cannot make a lock in shared memory")
            table.head.version = VERSION
            table.head.magic = MAGIC
            os.set_inheritable(fd, True)
        except (OSError, MemoryError):
            os.close(fd)
            raise
        return table

    @staticmethod
    def attach(int fd, int row=-1):
        """Map a table of another process; with its `row` a worker may track. ValueError if the
        descriptor is not a table of this version."""
        cdef StickTable table
        size_bytes = os.fstat(fd).st_size
        if size_bytes >= ENTRIES_AT:
            table = StickTable(fd, size_bytes, row)
            if (table.head.magic == MAGIC and table.head.version == VERSION
                    and bytes_of(table.head) == size_bytes):
                return table
        raise ValueError(f"descriptor {fd} is not a stick table of this version")

    # -- memory --------------------------------------------------------------------------------

    cdef uint64_t *holds_of(self, int row) noexcept:
        return <uint64_t *>(self.base + HOLDS_AT) + <uint64_t>row * HOLDS_MAX

    cdef uint32_t *buckets_of(self, TableShard *s) noexcept:
        return <uint32_t *>(self.base + ENTRIES_AT) + <uint64_t>(s - self.shard) * self.head.buckets

    cdef Entry *entry(self, TableShard *s, uint32_t index) noexcept:
        """Of a shard; indexes begin at 1."""
        cdef uint64_t place = (<uint64_t>(s - self.shard) * self.head.shard_capacity + index - 1)
        return <Entry *>(self.base + ENTRIES_AT
                         + <uint64_t>self.head.shards * self.head.buckets * sizeof(uint32_t)
                         + place * self.head.entry_bytes)

    cdef char *key_of(self, Entry *e) noexcept:
        return <char *>e + self.head.entry_bytes - key_room(self.head.key_bytes)

    cdef void *data_of(self, Entry *e, int data) noexcept:
        """NULL: not stored in this table."""
        return <char *>e + self.head.offset[data] if self.head.offset[data] else NULL

    # -- critical sections ---------------------------------------------------------------------

    cdef void enter(self, TableShard *s) noexcept:
        cdef uint32_t i
        if lock_take(&s.lock) != OWNER_DIED:
            return
        memset(self.buckets_of(s), 0, self.head.buckets * sizeof(uint32_t))
        for i in range(1, min(s.fresh, s.capacity) + 1):
            self.entry(s, i).generation += 1
            self.entry(s, i).refs = 0
        s.used = s.free = s.fresh = s.oldest = s.newest = 0
        lock_mended(&s.lock)

    cdef void leave(self, TableShard *s) noexcept:
        lock_drop(&s.lock)

    cdef void unlist(self, TableShard *s, Entry *e) noexcept:
        """Take an entry off the list by last use."""
        if e.older:
            self.entry(s, e.older).newer = e.newer
        else:
            s.oldest = e.newer
        if e.newer:
            self.entry(s, e.newer).older = e.older
        else:
            s.newest = e.older

    cdef void touch(self, TableShard *s, Entry *e, uint32_t index, uint64_t now) noexcept:
        """Put an entry that is in no list at the end of the list by last use."""
        e.newer = 0
        e.older = s.newest
        if s.newest:
            self.entry(s, s.newest).newer = index
        else:
            s.oldest = index
        s.newest = index
        e.expires_ms = now + self.head.expire_ms if self.head.expire_ms else 0

    cdef uint32_t *link_to(self, TableShard *s, uint64_t hash, const char *key,
                           uint32_t size) noexcept:
        """Where the index of a key is kept; 0 stands there when there is no such entry."""
        cdef uint32_t *link = self.buckets_of(s) + (hash >> 32 & (self.head.buckets - 1))
        cdef Entry *e
        while link[0]:
            e = self.entry(s, link[0])
            if e.key_size == size and memcmp(self.key_of(e), key, size) == 0:
                break
            link = &e.next
        return link

    cdef void remove(self, TableShard *s, uint32_t *link) noexcept:
        cdef uint32_t index = link[0]
        cdef Entry *e = self.entry(s, index)
        link[0] = e.next
        self.unlist(s, e)
        e.generation += 1
        e.next = s.free
        s.free = index
        s.used -= 1

    cdef bint make_room(self, TableShard *s, uint64_t now) noexcept:
        """Purge the entry that was used longest ago. What has expired goes first by itself."""
        cdef uint32_t index = s.oldest
        cdef int looks = 0
        cdef Entry *e
        while index and looks < LOOKS_MAX:
            e = self.entry(s, index)
            if not e.refs and (is_expired(e, now) or not self.head.nopurge):
                self.remove(s, self.link_to(s, self.hash(self.key_of(e), e.key_size),
                                            self.key_of(e), e.key_size))
                return True
            index = e.newer
            looks += 1
        return False

    cdef uint64_t hash(self, const char *key, uint32_t size) noexcept:
        return siphash64(self.head.hash_key, key, size)

    cdef uint32_t get(self, TableShard *s, uint64_t hash, const char *key, uint32_t size,
                      bint make, uint64_t now) noexcept:
        """The entry of a key, used now; made if there is none. 0: there is none."""
        cdef uint32_t *link = self.link_to(s, hash, key, size)
        cdef uint32_t index = link[0]
        cdef Entry *e
        if index and is_expired(self.entry(s, index), now) and not self.entry(s, index).refs:
            self.remove(s, link)
            index = 0
        if index:
            e = self.entry(s, index)
            self.unlist(s, e)
            self.touch(s, e, index, now)
            return index
        if not make:
            return 0
        if not s.free and s.fresh >= s.capacity and not self.make_room(s, now):
            return 0
        if s.free:
            index = s.free
            s.free = self.entry(s, index).next
        else:
            s.fresh += 1
            index = s.fresh
        e = self.entry(s, index)
        memset(<char *>e + sizeof(Entry), 0, self.head.entry_bytes - sizeof(Entry))
        memcpy(self.key_of(e), key, size)
        e.key_size = size
        e.refs = 0
        link = self.link_to(s, hash, key, size)    # room may have been made in this very bucket
        e.next = 0
        link[0] = index
        self.touch(s, e, index, now)
        s.used += 1
        return index

    cdef bint fit(self, const char **key, uint32_t *size, char *own) noexcept:
        """Make a key what this table has: `own` has room for 16 bytes. False: it cannot be."""
        cdef uint32_t type = self.head.type
        if type == TYPE_STRING or type == TYPE_BINARY:
            size[0] = min(size[0], self.head.key_bytes)
            return size[0] > 0
        if type == TYPE_IP and size[0] == 16 and memcmp(key[0], V4_IN_V6, 12) == 0:
            key[0] += 12
            size[0] = 4
        elif type == TYPE_IPV6 and size[0] == 4:
            memcpy(own, V4_IN_V6, 12)
            memcpy(own + 12, key[0], 4)
            key[0] = own
            size[0] = 16
        return size[0] == self.head.key_bytes

    # -- a worker's requests -------------------------------------------------------------------

    cdef TableHandle track(self, const char *key, uint32_t size) noexcept:
        """Hold the entry of a key and count a request. 0: it cannot be tracked (no room, or not a
        key of this table's type); that is not an error in HAProxy, either."""
        cdef char own[16]
        cdef uint64_t hash, now
        cdef uint32_t index, slot
        cdef TableShard *s
        cdef Entry *e
        if self.row < 0 or not self.fit(&key, &size, own):
            return 0
        if not self.spares and self.top >= HOLDS_MAX:
            return 0
        hash = self.hash(key, size)
        s = &self.shard[hash & (self.head.shards - 1)]
        now = now_ms()
        self.enter(s)
        index = self.get(s, hash, key, size, True, now)
        if not index:
            self.leave(s)
            return 0
        if self.spares:
            self.spares -= 1
            slot = self.spare[self.spares]
        else:
            slot = self.top
            self.top += 1
            self.tops[self.row] = self.top
        e = self.entry(s, index)
        self.holds[slot] = <uint64_t>e.generation << 32 | (
            <uint64_t>(s - self.shard) * self.head.shard_capacity + index)
        e.refs += 1
        self.count(e, SD_CONN_CUR, 1, now)
        self.count(e, SD_CONN_CNT, 1, now)
        self.count(e, SD_CONN_RATE, 1, now)
        self.count(e, SD_HTTP_REQ_CNT, 1, now)
        self.count(e, SD_HTTP_REQ_RATE, 1, now)
        self.leave(s)
        return slot + 1

    cdef uint64_t count(self, Entry *e, int data, uint64_t n, uint64_t now) noexcept:
        cdef void *p = self.data_of(e, data)
        if p == NULL:
            return 0
        if is_rate[data]:
            count_rate(<Rate *>p, self.head.period_ms[data], now, <uint32_t>n)
            return read_rate(<Rate *>p, self.head.period_ms[data], now)
        (<uint64_t *>p)[0] += n
        return (<uint64_t *>p)[0]

    cdef uint64_t read(self, Entry *e, int data, uint64_t now) noexcept:
        cdef void *p = self.data_of(e, data)
        if p == NULL:
            return 0
        if is_rate[data]:
            return read_rate(<Rate *>p, self.head.period_ms[data], now)
        return (<uint64_t *>p)[0]

    cdef void write(self, Entry *e, int data, uint64_t value, uint64_t now) noexcept:
        cdef void *p = self.data_of(e, data)
        if p == NULL:
            return
        if is_rate[data]:
            (<Rate *>p).since_ms = now
            (<Rate *>p).now = 0
            # As much as has come before, so that it fades within one period.
            (<Rate *>p).before = <uint32_t>value
        else:
            (<uint64_t *>p)[0] = value

    cdef Entry *enter_held(self, uint64_t hold, TableShard **shard) noexcept:
        """The entry of a hold, with its shard entered; NULL when the shard was emptied meanwhile.
        `shard` is to be left in any case."""
        cdef uint32_t place = <uint32_t>hold - 1
        cdef TableShard *s = &self.shard[place // self.head.shard_capacity]
        cdef Entry *e = self.entry(s, place % self.head.shard_capacity + 1)
        shard[0] = s
        self.enter(s)
        return e if e.generation == hold >> 32 else NULL

    cdef void give_back(self, uint64_t *hold) noexcept:
        cdef TableShard *s
        cdef Entry *e = self.enter_held(hold[0], &s)
        cdef uint64_t *conn_cur
        hold[0] = 0
        if e != NULL and e.refs:
            e.refs -= 1
            conn_cur = <uint64_t *>self.data_of(e, SD_CONN_CUR)
            if conn_cur != NULL and conn_cur[0]:
                conn_cur[0] -= 1
            if self.head.expire_ms:
                e.expires_ms = now_ms() + self.head.expire_ms
        self.leave(s)

    cdef void untrack(self, TableHandle handle) noexcept:
        """The request is over."""
        if handle and self.holds[handle - 1]:
            self.give_back(&self.holds[handle - 1])
            self.spare[self.spares] = handle - 1
            self.spares += 1

    cdef uint64_t value(self, TableHandle handle, int data) noexcept:
        """What is counted now; 0 for what is not stored."""
        cdef TableShard *s
        cdef uint64_t value = 0
        cdef Entry *e
        if handle and self.head.offset[data]:
            e = self.enter_held(self.holds[handle - 1], &s)
            if e != NULL:
                value = self.read(e, data, now_ms())
            self.leave(s)
        return value

    cdef uint64_t add(self, TableHandle handle, int data, uint64_t n) noexcept:
        """Count n more; what is counted now."""
        cdef TableShard *s
        cdef uint64_t value = 0
        cdef Entry *e
        if handle and self.head.offset[data]:
            e = self.enter_held(self.holds[handle - 1], &s)
            if e != NULL:
                value = self.count(e, data, n, now_ms())
            self.leave(s)
        return value

    cdef void put(self, TableHandle handle, int data, uint64_t value) noexcept:
        """Set what is kept, such as a server's id."""
        cdef TableShard *s
        cdef Entry *e
        if handle and self.head.offset[data]:
            e = self.enter_held(self.holds[handle - 1], &s)
            if e != NULL:
                self.write(e, data, value, now_ms())
            self.leave(s)

    cdef void count_answer(self, TableHandle handle, int status, uint64_t bytes_in,
                           uint64_t bytes_out) noexcept:
        """The end of a request: 4xx are the client's errors, 5xx failures of the servers; 501 and
        505 are neither, as in HAProxy."""
        cdef TableShard *s
        cdef Entry *e
        cdef uint64_t now
        if not handle:
            return
        e = self.enter_held(self.holds[handle - 1], &s)
        if e != NULL:
            now = now_ms()
            if 400 <= status < 500:
                self.count(e, SD_HTTP_ERR_CNT, 1, now)
                self.count(e, SD_HTTP_ERR_RATE, 1, now)
            elif 500 <= status < 600 and status != 501 and status != 505:
                self.count(e, SD_HTTP_FAIL_CNT, 1, now)
                self.count(e, SD_HTTP_FAIL_RATE, 1, now)
            self.count(e, SD_BYTES_IN_CNT, bytes_in, now)
            self.count(e, SD_BYTES_IN_RATE, bytes_in, now)
            self.count(e, SD_BYTES_OUT_CNT, bytes_out, now)
            self.count(e, SD_BYTES_OUT_RATE, bytes_out, now)
        self.leave(s)

    cdef bint look_up(self, const char *key, uint32_t size, int data, uint64_t *value) noexcept:
        """What is counted about a key that is not tracked. False: there is no such entry."""
        cdef char own[16]
        cdef uint64_t hash, now
        cdef uint32_t index
        cdef TableShard *s
        if not self.fit(&key, &size, own):
            return False
        hash = self.hash(key, size)
        s = &self.shard[hash & (self.head.shards - 1)]
        now = now_ms()
        self.enter(s)
        index = self.link_to(s, hash, key, size)[0]
        if index and is_expired(self.entry(s, index), now) and not self.entry(s, index).refs:
            index = 0
        if index:
            value[0] = self.read(self.entry(s, index), data, now)
        self.leave(s)
        return index != 0

    # -- supervisor and control ----------------------------------------------------------------

    def sweep_row(self, int row):
        """Give back what a worker held that is gone."""
        cdef uint64_t *holds = self.holds_of(row)
        cdef uint32_t i
        for i in range(self.tops[row]):
            if holds[i]:
                self.give_back(&holds[i])
        self.tops[row] = 0

    @property
    def description(self):
        """What `create` was told, as plain values: two tables that agree in it may be one."""
        cdef int i
        return {
            "key_type": TYPE_NAMES[self.head.type], "size": self.head.size,
            "key_bytes": self.head.key_bytes, "expire_ms": self.head.expire_ms,
            "nopurge": bool(self.head.nopurge),
            "store": [(DATA_NAMES[i], self.head.period_ms[i]) for i in range(SD_COUNT)
                      if self.head.offset[i]],
        }

    def used(self):
        """Entries now, expired ones excepted."""
        cdef uint32_t i
        self.expire()
        return sum([self.shard[i].used for i in range(self.head.shards)])

    def expire(self):
        """Forget what has expired; called now and then, so that memory is used again in order."""
        cdef uint32_t i, _n
        cdef TableShard *s
        cdef Entry *e
        cdef bint more
        for i in range(self.head.shards):
            s = &self.shard[i]
            more = True
            while more:
                self.enter(s)
                for _n in range(BATCH):
                    e = self.entry(s, s.oldest) if s.oldest else NULL
                    more = e != NULL and is_expired(e, now_ms()) and not e.refs
                    if not more:
                        break
                    self.remove(s, self.link_to(s, self.hash(self.key_of(e), e.key_size),
                                                self.key_of(e), e.key_size))
                self.leave(s)

    def entries(self):
        """All of them in the order of their keys: (key, place in memory, requests that hold it, ms
        to live or None, {name: value})."""
        cdef uint32_t i, index
        cdef TableShard *s
        found = []
        for i in range(self.head.shards):
            s = &self.shard[i]
            index = 1
            while index:
                index = self.read_some(s, index, found)
        return sorted(found)

    cdef uint32_t read_some(self, TableShard *s, uint32_t first, list found) except? 0:
        """Some entries from an index on; the next one, 0 at the end."""
        cdef uint32_t index, until
        cdef uint64_t now = now_ms()
        cdef Entry *e
        cdef int i
        cdef bytes key
        self.enter(s)
        try:
            until = min(first + BATCH, s.fresh + 1)
            for index in range(first, until):
                e = self.entry(s, index)
                key = self.key_of(e)[:e.key_size]
                if (self.link_to(s, self.hash(key, e.key_size), key, e.key_size)[0] != index
                        or (is_expired(e, now) and not e.refs)):
                    continue                   # given back
                left_ms = max(0, <int64_t>(e.expires_ms - now)) if e.expires_ms else None
                found.append((key, <char *>e - self.base, e.refs, left_ms,
                              {DATA_NAMES[i]: self.read(e, i, now) for i in range(SD_COUNT)
                               if self.head.offset[i]}))
            return until if until <= s.fresh else 0
        finally:
            self.leave(s)

    def set(self, bytes key, dict values):
        """Make or change an entry. False: no room, or not a key of this type."""
        cdef const char *p = key
        cdef uint32_t size = <uint32_t>len(key), index
        cdef char own[16]
        cdef uint64_t hash, now = now_ms()
        cdef TableShard *s
        for name in values:
            if name not in DATA_NAMES:
                raise ValueError(f"no stick table stores {name}")
        numbers = [(DATA_NAMES.index(name), <uint64_t>value) for name, value in values.items()]
        if not self.fit(&p, &size, own):
            return False
        hash = self.hash(p, size)
        s = &self.shard[hash & (self.head.shards - 1)]
        self.enter(s)
        index = self.get(s, hash, p, size, True, now)
        if index:
            for data, value in numbers:
                self.write(self.entry(s, index), data, value, now)
        self.leave(s)
        return index != 0

    def clear(self, bytes key):
        """Forget an entry. False when a request holds it."""
        cdef const char *p = key
        cdef uint32_t size = <uint32_t>len(key)
        cdef char own[16]
        cdef uint64_t hash
        cdef uint32_t *link
        cdef TableShard *s
        cdef bint done = True
        if not self.fit(&p, &size, own):
            return True
        hash = self.hash(p, size)
        s = &self.shard[hash & (self.head.shards - 1)]
        self.enter(s)
        link = self.link_to(s, hash, p, size)
        if link[0]:
            done = self.entry(s, link[0]).refs == 0
            if done:
                self.remove(s, link)
        self.leave(s)
        return done

    # -- facade for tests ----------------------------------------------------------------------

    def track_for_test(self, bytes key):
        return self.track(key, <uint32_t>len(key))

    def untrack_for_test(self, TableHandle handle):
        self.untrack(handle)

    def value_for_test(self, TableHandle handle, str name):
        return self.value(handle, DATA_NAMES.index(name))

    def add_for_test(self, TableHandle handle, str name, uint64_t n):
        return self.add(handle, DATA_NAMES.index(name), n)

    def put_for_test(self, TableHandle handle, str name, uint64_t value):
        self.put(handle, DATA_NAMES.index(name), value)

    def count_answer_for_test(self, TableHandle handle, int status, bytes_in=0, bytes_out=0):
        self.count_answer(handle, status, bytes_in, bytes_out)

    def look_up_for_test(self, bytes key, str name):
        cdef uint64_t value
        found = self.look_up(key, <uint32_t>len(key), DATA_NAMES.index(name), &value)
        return value if found else None

    def enter_for_test(self, int shard):
        """Take a lock and keep it."""
        self.enter(&self.shard[shard])


cdef uint32_t key_room(uint32_t key_bytes) noexcept nogil:
    return (key_bytes + 7) // 8 * 8


cdef int head_of(TableHead *head, str key_type, uint32_t size, uint32_t key_bytes, store) except -1:
    """The layout of a table."""
    cdef uint32_t at = sizeof(Entry)
    cdef int data
    memset(head, 0, sizeof(TableHead))
    if key_type not in TYPE_NAMES:
        raise ValueError(f"no stick table has keys of type {key_type!r}")
    if not 0 < size <= SIZE_MAX:
        raise ValueError(f"a stick table of {size} entries; it has 1 to {int(SIZE_MAX)}")
    head.type = TYPE_NAMES.index(key_type)
    key_bytes = {TYPE_IP: 4, TYPE_IPV6: 16, TYPE_INTEGER: 4}.get(head.type, key_bytes)
    if not 0 < key_bytes <= TABLE_KEY_BYTES_MAX:
        raise ValueError(f"keys of {key_bytes} bytes; 1 to {int(TABLE_KEY_BYTES_MAX)}")
    head.key_bytes = key_bytes
    head.size = size
    head.shards = 1
    while head.shards < SHARDS_MAX and size // (2 * head.shards) >= SHARD_ENTRIES_MIN:
        head.shards *= 2
    head.shard_capacity = (size + head.shards - 1) // head.shards
    head.buckets = 2                           # 8 bytes: entries behind them are aligned
    while head.buckets < head.shard_capacity:
        head.buckets *= 2
    periods = dict(store)
    for data in range(SD_COUNT):
        if DATA_NAMES[data] not in periods:
            continue
        head.period_ms[data] = periods.pop(DATA_NAMES[data])
        if is_rate[data] != (head.period_ms[data] > 0):
            raise ValueError(f"{DATA_NAMES[data]}: a rate has a period, and nothing else has one")
        head.offset[data] = at
        at += sizeof(Rate) if is_rate[data] else sizeof(uint64_t)
    if periods:
        raise ValueError(f"no stick table stores {', '.join(periods)}")
    head.entry_bytes = at + key_room(key_bytes)
    return 0


cdef uint64_t TOPS_AT = PAGE_BYTES + (SHARDS_MAX * sizeof(TableShard) + 63) // 64 * 64
cdef uint64_t HOLDS_AT = (TOPS_AT + ROWS_MAX * sizeof(uint32_t) + 4095) // 4096 * 4096
cdef uint64_t ENTRIES_AT = HOLDS_AT + <uint64_t>ROWS_MAX * HOLDS_MAX * sizeof(uint64_t)


cdef uint64_t bytes_of(const TableHead *head) noexcept:
    """Of the whole memory; what is not used costs nothing."""
    return (ENTRIES_AT + <uint64_t>head.shards * head.buckets * sizeof(uint32_t)
            + <uint64_t>head.shards * head.shard_capacity * head.entry_bytes)


def rate_for_test(events, uint32_t period_ms, uint64_t now):
    """The rate at `now` after (time in ms, how many) of `events`, in order."""
    cdef Rate rate
    memset(&rate, 0, sizeof(Rate))
    for at, n in events:
        count_rate(&rate, period_ms, at, n)
    return read_rate(&rate, period_ms, now)
