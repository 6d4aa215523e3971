# HAProxy's stick tables: what is counted about a key, in memory that all processes share.
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from ext.locks cimport Lock

cdef enum TableType:
    TYPE_IP = 0
    TYPE_IPV6 = 1
    TYPE_INTEGER = 2               # 4 bytes, the first one the highest
    TYPE_STRING = 3                # cut at the table's key length
    TYPE_BINARY = 4                # likewise

cdef enum TableData:              # HAProxy's order, which `show table` prints
    SD_SERVER_ID = 0
    SD_GPT0
    SD_GPC0
    SD_GPC0_RATE
    SD_CONN_CNT
    SD_CONN_RATE
    SD_CONN_CUR
    SD_SESS_CNT
    SD_SESS_RATE
    SD_HTTP_REQ_CNT
    SD_HTTP_REQ_RATE
    SD_HTTP_ERR_CNT
    SD_HTTP_ERR_RATE
    SD_BYTES_IN_CNT
    SD_BYTES_IN_RATE
    SD_BYTES_OUT_CNT
    SD_BYTES_OUT_RATE
    SD_GPC1
    SD_GPC1_RATE
    SD_HTTP_FAIL_CNT
    SD_HTTP_FAIL_RATE
    SD_COUNT

cdef enum:
    TABLE_KEY_BYTES_MAX = 1024     # a longer string says no more about who sends it

ctypedef uint32_t TableHandle      # of what `track` holds; 0: nothing

cdef struct Rate:                  # events of the running period, and of the one before
    uint64_t since_ms
    uint32_t now
    uint32_t before

cdef struct Entry:                 # shared; its data and then its key follow
    uint32_t next                  # in its bucket
    uint32_t older, newer          # by last use
    uint32_t refs                  # requests that track it
    uint32_t generation            # what a handle of an earlier one means is gone
    uint32_t key_size
    uint64_t expires_ms            # on the machine's monotonic clock

cdef struct TableShard:            # shared
    Lock lock
    uint32_t used
    uint32_t free                  # list of given back ones
    uint32_t fresh                 # so many were ever taken
    uint32_t oldest, newest
    uint32_t capacity
    uint32_t reserved[10]

cdef struct TableHead:             # shared
    uint64_t magic
    uint64_t version
    uint64_t hash_key[2]
    uint64_t expire_ms             # after its last use; 0: never
    uint32_t type                  # TableType
    uint32_t key_bytes             # longest key
    uint32_t size                  # entries
    uint32_t shards                # a power of two
    uint32_t shard_capacity        # of the largest
    uint32_t buckets               # of a shard, a power of two
    uint32_t entry_bytes
    uint32_t nopurge               # when full, nothing makes room
    uint32_t period_ms[SD_COUNT]   # of the rates
    uint32_t offset[SD_COUNT]      # of the data in an entry; 0: not stored


@cython.final
cdef class StickTable:
    cdef readonly int fd
    cdef readonly int row
    cdef char *base
    cdef uint64_t mapped_bytes
    cdef TableHead *head
    cdef TableShard *shard
    cdef uint32_t *tops            # by row: so many of its holds were ever used
    cdef uint64_t *holds           # of this row
    cdef uint32_t *spare           # holds of this row that were given back
    cdef uint32_t spares, top

    # a worker's requests
    cdef TableHandle track(self, const char *key, uint32_t size) noexcept
    cdef void untrack(self, TableHandle handle) noexcept
    cdef uint64_t value(self, TableHandle handle, int data) noexcept
    cdef uint64_t add(self, TableHandle handle, int data, uint64_t n) noexcept
    cdef void put(self, TableHandle handle, int data, uint64_t value) noexcept
    cdef void count_answer(self, TableHandle handle, int status, uint64_t bytes_in,
                           uint64_t bytes_out) noexcept
    cdef bint look_up(self, const char *key, uint32_t size, int data, uint64_t *value) noexcept

    # memory and critical sections
    cdef uint64_t *holds_of(self, int row) noexcept
    cdef uint32_t *buckets_of(self, TableShard *s) noexcept
    cdef Entry *entry(self, TableShard *s, uint32_t index) noexcept
    cdef char *key_of(self, Entry *e) noexcept
    cdef void *data_of(self, Entry *e, int data) noexcept
    cdef void enter(self, TableShard *s) noexcept
    cdef Entry *enter_held(self, uint64_t hold, TableShard **shard) noexcept
    cdef void leave(self, TableShard *s) noexcept
    cdef uint64_t hash(self, const char *key, uint32_t size) noexcept
    cdef bint fit(self, const char **key, uint32_t *size, char *own) noexcept
    cdef uint32_t *link_to(self, TableShard *s, uint64_t hash, const char *key,
                           uint32_t size) noexcept
    cdef uint32_t get(self, TableShard *s, uint64_t hash, const char *key, uint32_t size,
                      bint make, uint64_t now) noexcept
    cdef void remove(self, TableShard *s, uint32_t *link) noexcept
    cdef bint make_room(self, TableShard *s, uint64_t now) noexcept
    cdef void unlist(self, TableShard *s, Entry *e) noexcept
    cdef void touch(self, TableShard *s, Entry *e, uint32_t index, uint64_t now) noexcept
    cdef uint64_t count(self, Entry *e, int data, uint64_t n, uint64_t now) noexcept
    cdef uint64_t read(self, Entry *e, int data, uint64_t now) noexcept
    cdef void write(self, Entry *e, int data, uint64_t value, uint64_t now) noexcept
    cdef void give_back(self, uint64_t *hold) noexcept
    cdef uint32_t read_some(self, TableShard *s, uint32_t first, list found) except? 0
