"""The C surface of the store over bytes, so that tests can drive every method of it."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from ext.freshness cimport Freshness
from ext.http1 cimport Head, HeadLimits, M_GET, parse_request_head, parse_response_head
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX
from ext.locks cimport lock_take
from ext.objects cimport META_BYTES, OBJECT_BYTES, Shard
from ext.region cimport shard_of
from ext.shard cimport enter
from ext.store cimport (
    ALONE, AGAIN, Answer, Asked, BUSY, FAILED, FILLING, Found, JOIN, LEAD, NO_ROOM, STORE_FULL,
    STORE_LOST, STORE_OK, STORE_PURGED, STORE_SHORT, Seen, Store, StoredHead, WHOLE)

STATES = {BUSY: "busy", FILLING: "filling", WHOLE: "whole", ALONE: "alone", FAILED: "failed"}
BEGUN = {LEAD: "lead", JOIN: "join", AGAIN: "again", NO_ROOM: "no room"}
STORED = {STORE_OK: "ok", STORE_FULL: "full", STORE_PURGED: "purged", STORE_LOST: "lost",
          STORE_SHORT: "short"}
OBJECT_COST_BYTES = OBJECT_BYTES + META_BYTES

cdef enum:
    PARTS_MAX = 64


cdef int widest(HeadLimits *limits) except -1:
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    return 0


cdef Freshness freshness_of(dict given) except *:
    cdef Freshness f
    f.born_ms = given.get("born_ms", 0)
    f.fresh_until_ms = given.get("fresh_until_ms", 0)
    f.stale_while_revalidate_s = given.get("stale_while_revalidate_s", 0)
    f.stale_if_error_s = given.get("stale_if_error_s", 0)
    f.flags = given.get("flags", 0)
    return f


cdef class StoreForTest:
    """One process's store; handles are numbers, states and results are words."""

    cdef Store store
    cdef Head request
    cdef Head response
    cdef Asked asked
    cdef bytes key
    cdef bytes asked_bytes
    cdef bytes encoding

    def __cinit__(self, int fd, int wake_fd=-1, int row=-1):
        self.store = Store.attach(fd, wake_fd, row)

    @property
    def face(self):
        return self.store

    cdef int ask(self, bytes request, bytes key, encoding) except -1:
        cdef HeadLimits limits
        widest(&limits)
        self.asked_bytes = request
        self.key = key
        self.encoding = encoding
        if parse_request_head(request, <uint32_t>len(request), &limits, &self.request) <= 0:
            raise ValueError("not one whole request head")
        self.asked.key = <const char *>key
        self.asked.key_size = <uint32_t>len(key)
        self.asked.head = &self.request
        self.asked.accept_encoding = NULL
        if encoding is not None:
            self.asked.accept_encoding = <const char *>self.encoding
            self.asked.accept_encoding_size = <uint32_t>len(encoding)
        self.store.set_key(&self.asked)
        return 0

    def find(self, bytes request, bytes key, int64_t now_ms=0, encoding=None):
        cdef Found found
        self.ask(request, key, encoding)
        self.store.find(&self.asked, now_ms, &found)
        made = dict(found)
        made["busy_state"] = STATES.get(found.busy_state)
        return made

    def begin(self, bytes request, bytes key, uint32_t changes, int64_t now_ms=0, encoding=None):
        """(Begun, handle)."""
        cdef Found found
        cdef uint32_t handle = 0
        self.ask(request, key, encoding)
        found.changes = changes
        begun = self.store.begin(&self.asked, &found, now_ms, &handle)
        return BEGUN[begun], handle

    def release(self, uint32_t object_):
        self.store.release(object_)

    def share(self, uint32_t object_):
        self.store.share(object_)

    def count_hit(self, uint32_t object_):
        self.store.count_hit(object_)

    def see(self, uint32_t object_):
        cdef Seen seen
        self.store.see(object_, &seen)
        return {**seen, "state": STATES[seen.state]}

    def freshness(self, uint32_t object_):
        cdef Freshness f
        self.store.read_freshness(object_, &f)
        return f

    def head(self, uint32_t object_, uint32_t room=HEAD_BYTES_MAX):
        """{head, visible, status, coding}, or the room that is needed."""
        cdef StoredHead copy
        cdef bytearray out = bytearray(room)
        needed = self.store.copy_head(object_, out, room, &copy)
        if needed:
            return needed
        return {"head": copy.head[:copy.head_size], "visible_size": copy.visible_size,
                "status": copy.status, "coding": copy.coding}

    def parts(self, uint32_t object_, uint64_t at=0, uint64_t most=1 << 62, int count=PARTS_MAX):
        """The pieces of the body from `at`, in at most `count` pieces."""
        cdef iovec parts[PARTS_MAX]
        cdef int used = count
        sum_ = self.store.body(object_, at, most, parts, &used)
        pieces = [(<char *>parts[i].iov_base)[:parts[i].iov_len] for i in range(used)]
        if sum(map(len, pieces)) != sum_:
            raise AssertionError("body() and its parts disagree")
        return pieces

    def body(self, uint32_t object_):
        """All that is there."""
        pieces = []
        at = 0
        while True:
            more = b"".join(self.parts(object_, at))
            if not more:
                return b"".join(pieces)
            pieces.append(more)
            at += len(more)

    def follow(self, uint32_t object_):
        self.store.follow(object_)

    def open(self, uint32_t fill, bytes request, bytes key, bytes response, int64_t now_ms=0,
             encoding=None, bint vary_encoding=False, length=-1, visible_size=None, coding=0,
             **freshness):
        """What is stored as head is the response itself."""
        cdef Answer answer
        cdef HeadLimits limits
        widest(&limits)
        self.ask(request, key, encoding)
        if parse_response_head(response, <uint32_t>len(response), &limits, M_GET,
                               &self.response) <= 0:
            raise ValueError("not one whole answer head")
        answer.head = <const char *>response
        answer.head_size = <uint32_t>len(response)
        answer.visible_size = answer.head_size if visible_size is None else visible_size
        answer.response = &self.response
        answer.freshness = freshness_of(freshness)
        answer.length = length
        answer.status = self.response.status
        answer.coding = coding
        answer.vary_encoding = vary_encoding
        return STORED[self.store.open(fill, &self.asked, &answer, now_ms)]

    def append(self, uint32_t fill, bytes data):
        return STORED[self.store.append(fill, data, <uint32_t>len(data))]

    def finish(self, uint32_t fill, int64_t now_ms=0):
        return STORED[self.store.finish(fill, now_ms)]

    def abandon(self, uint32_t fill, state="failed", int failure=0):
        self.store.abandon(fill, {"failed": FAILED, "alone": ALONE}[state], failure)

    def mark_pass(self, uint32_t fill, **freshness):
        cdef Freshness f = freshness_of(freshness)
        self.store.mark_pass(fill, &f)

    def refresh(self, uint32_t fill, uint32_t prior, head=None, visible_size=0, int64_t now_ms=0,
                **freshness):
        cdef Freshness f = freshness_of(freshness)
        cdef const char *p = NULL
        cdef uint32_t size = 0
        if head is not None:
            p = <const char *>head
            size = <uint32_t>len(head)
        return STORED[self.store.refresh(fill, prior, &f, p, size, visible_size, now_ms)]

    def drop_key(self, bytes key, bint soft=False, int64_t now_ms=0):
        return self.store.drop_key(key, <uint32_t>len(key), soft, now_ms)

    def discard(self, uint32_t object_):
        self.store.discard(object_)

    # -- many at once -------------------------------------------------------------------------

    def replay(self, bytes request, bytes response, trace, uint32_t size, int key_bytes=16):
        """Ask for keys by number, one after the other, and store `size` bytes for each that is not
        there: how many were. Where another process is in the way it goes on to the next."""
        cdef const uint32_t[:] numbers = trace
        cdef bytearray body = bytearray(size)
        cdef char *p = body
        cdef char key[256]
        cdef Answer answer
        cdef Found found
        cdef HeadLimits limits
        cdef uint32_t fill = 0
        cdef Py_ssize_t i, hits = 0
        widest(&limits)
        self.ask(request, b"", None)
        if parse_response_head(response, <uint32_t>len(response), &limits, M_GET,
                               &self.response) <= 0:
            raise ValueError("not one whole answer head")
        answer = Answer(response, <uint32_t>len(response), <uint32_t>len(response),
                        &self.response, freshness_of({"fresh_until_ms": 1 << 60}), size, 200, 0, 0)
        memset(key, b'k', sizeof(key))
        self.asked.key = key
        self.asked.key_size = key_bytes
        for i in range(numbers.shape[0]):
            memcpy(key, &numbers[i], 4)
            self.store.set_key(&self.asked)
            self.store.find(&self.asked, 0, &found)
            if found.object:
                self.store.count_hit(found.object)
                self.store.release(found.object)
                self.store.release(found.busy)
                hits += 1
                continue
            self.store.release(found.busy)
            if (self.store.begin(&self.asked, &found, 0, &fill) == LEAD
                    and (self.store.open(fill, &self.asked, &answer, 0) != STORE_OK
                         or self.store.append(fill, p, size) != STORE_OK
                         or self.store.finish(fill, 0) != STORE_OK)):
                self.store.abandon(fill, ALONE, 0)
            self.store.release(fill)
        return hits

    # -- how others die -----------------------------------------------------------------------

    def take_lock(self, uint32_t object_, bint is_mending=False):
        """Enter an object's shard and stay there. `is_mending`: as who has not yet cleaned up after
        the one who died before."""
        cdef Shard *s = shard_of(&self.store.region, object_)
        if is_mending:
            lock_take(&s.head.lock)
        else:
            enter(s)

    def take_purge_lock(self):
        lock_take(&self.store.region.head.purges.lock)

    def take_sweep_lock(self):
        lock_take(&self.store.region.head.sweep.lock)
