"""The cache's objects in memory that all processes share.

Theory. A request asks by `find`. When nothing suits it, `begin` makes it the leader of a fill or
lets it join one; the leader fetches, `open`s with the head, `append`s the body and `finish`es;
the others `follow`, and read the body while it arrives. What any of these hand out is leased
until `release`. All of them are short critical sections of one shard; `see` and `body` need no
lock.

A fill is in the index from the start, so all processes of the machine join it. It becomes visible
as an answer when it is whole. When it must not be shared (a purge came after its fetch began), it
leaves the index and still goes to those who had joined.

    index, leases, crashes   shard.pyx         eviction   eviction.pyx
    memory of an object      objects.pyx       purges     purgelog.pyx, sweep.pyx

Called by: session, deliver (C surface); supervisor, control (Python face).
"""
import os

from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from ext.atomics cimport (
    edge_add32, edge_and64, edge_fence, edge_in_order, edge_load8, edge_load8_sc, edge_load32,
    edge_load64, edge_or64, edge_store8, edge_store64)
from ext.audit cimport audit_region
from ext.eviction cimport enqueue, requeue
from ext.extents cimport NO_RUN, RUN_UNITS_MAX, UNIT_BYTES, give_run, take_run_at
from ext.freshness cimport O_PASS, make_stale, remaining_ms
from ext.leases cimport (
    Lease, lease_forget, lease_note, lease_of, leases_free, leases_have_room, leases_make)
from ext.limits cimport ROWS_MAX, VARIANTS_MAX
from ext.objects cimport (
    FIRST_RUN_UNITS, META_BYTES, Meta, OBJECT_BYTES, add_extent, after_key, body_parts, body_room,
    fit_first_run, handle_of, head_of, is_fill, is_start, key_of, keys_of, meta_bytes, meta_of,
    object_at, object_units, set_start, state_of, trim_object, units_for, variant_of)
from ext.purgelog cimport (
    NOT_PURGED, PURGED_HARD, count_url_purge, purge_epoch, purge_everything, purge_keys,
    purged_since)
from ext.region cimport (
    is_row_used, region_attach, region_create, region_detach, region_stats, region_use_row,
    shard_for, shard_of)
from ext.shard cimport (
    ALL_IN_USE, drop, drop_lease, enter, give_way, is_valid, leave, link, make_room, newest_of,
    next_of, set_state, unlink, wake)
from ext.siphash cimport siphash128
from ext.surrogate cimport SURROGATE_KEYS_MAX, surrogate_hash, surrogate_hashes
from ext.sweep cimport sweep_for_room, sweep_row, sweep_some
from ext.timers cimport wall_us
from ext.variants cimport (
    VARIANT_ROOM_BYTES, Selecting, same_variant_names, variant_by_answer, variant_by_text)

cdef enum:
    # Runs below 1 KiB are taken only when evicting has not brought larger ones: more pieces make
    # more parts of each write.
    GOOD_RUN_UNITS = 8
    # An object and a fill. `begin` wants as many, or it would say AGAIN for ever to who has found
    # nothing for want of them.
    FOUND_LEASES = 2
    KEYS_AT_ONCE = 256             # purged under one lock; a batch of Fastly's API


cdef class Store:
    """One process's face of it. `Store.create(size)` in the supervisor, `attach(fd, ...)` else."""

    def __cinit__(self, int fd, int wake_fd=-1, int row=-1):
        self.fd = fd
        self.wake_fd = wake_fd
        self.row = row
        if not -1 <= row < ROWS_MAX:
            raise ValueError(f"row {row} is not one of {int(ROWS_MAX)}")
        region_attach(&self.region, fd, wake_fd)
        if row >= 0:
            if is_row_used(&self.region, row):
                sweep_row(&self.region, row)
            region_use_row(&self.region, row)
        self.text = <char *>malloc(VARIANT_ROOM_BYTES)
        self.keys = <uint64_t *>malloc(SURROGATE_KEYS_MAX * sizeof(uint64_t))
        if self.text == NULL or self.keys == NULL or leases_make(
                &self.leases, &self.region.rows[row] if row >= 0 else NULL):
            raise MemoryError

    def __dealloc__(self):
        leases_free(&self.leases)
        free(self.text)
        free(self.keys)
        region_detach(&self.region)

    @staticmethod
    def create(uint64_t size_bytes, int wake_fd=-1):
        """Make a new one; its descriptor is inheritable and owned by the caller."""
        cdef int fd = region_create(size_bytes)
        try:
            return Store(fd, wake_fd)
        except MemoryError:
            os.close(fd)
            raise

    @property
    def size_bytes(self) -> int:
        return self.region.head.size_bytes

    @staticmethod
    def attach(int fd, int wake_fd=-1, int row=-1):
        """Map one made by another process. ValueError if it is not one of this version.

        `wake_fd`: an eventfd that all processes share. `row`: of leases; only this process has it,
        and what one before it may have left is cleared.
        """
        return Store(fd, wake_fd, row)

    # -- a request looks ----------------------------------------------------------------------

    cdef void set_key(self, Asked *asked) noexcept:
        siphash128(self.region.head.hash_key, asked.key, asked.key_size, asked.hash)

    cdef int find(self, Asked *asked, int64_t now_ms, Found *found) noexcept:
        """1 when there is an object or a fetch under way."""
        cdef Shard *s = shard_for(&self.region, asked.hash)
        cdef Handle handle
        cdef Object *o
        cdef uint64_t epoch
        memset(found, 0, sizeof(Found))
        if not leases_have_room(&self.leases, FOUND_LEASES):
            return 0
        self.text_size = -1
        enter(s)
        epoch = purge_epoch(&self.region.log)
        found.changes = s.head.changes
        handle = newest_of(s, asked.hash[0], asked.key, asked.key_size)
        while handle and not (found.object and found.busy):
            o = object_at(s.base, handle)
            handle = next_of(s, o)
            if not is_valid(s, o, epoch):
                drop(s, o)
            elif is_fill(o):
                if not found.busy and self.selects(s, o, asked):
                    found.busy = handle_of(s, o)
                    found.busy_state = state_of(o)
                    self.take_lease(o, found.busy)
            elif o.freshness.flags & O_PASS and remaining_ms(&o.freshness, now_ms) <= 0:
                drop(s, o)
            elif not found.object and self.selects(s, o, asked):
                found.object = handle_of(s, o)
                found.freshness = o.freshness
                found.hits = o.hits
                self.take_lease(o, found.object)
        leave(s)
        return found.object != 0 or found.busy != 0

    cdef bint selects(self, Shard *s, Object *o, const Asked *asked) noexcept:
        """Is it a request's variant? The request's text is made once for each list of names."""
        cdef Meta *m = meta_of(s, o)
        cdef const char *variant = variant_of(m)
        cdef Selecting selecting
        if m.variant_size == 0:
            return True
        if self.text_size >= 0:
            if self.text_size == m.variant_size and memcmp(self.text, variant,
                                                           m.variant_size) == 0:
                return True
            if same_variant_names(self.text, <uint32_t>self.text_size, variant, m.variant_size):
                return False
        selecting = Selecting(asked.head, asked.accept_encoding, asked.accept_encoding_size)
        self.text_size = variant_by_text(&selecting, variant, m.variant_size, self.text)
        return self.text_size == m.variant_size and memcmp(self.text, variant,
                                                           m.variant_size) == 0

    cdef void take_lease(self, Object *o, Handle handle) noexcept:
        """Under the lock; there is room."""
        if lease_note(&self.leases, handle):
            edge_or64(&o.leases[self.row >> 6], <uint64_t>1 << (self.row & 63))

    cdef void release(self, Handle object) noexcept:
        """Give one lease back. Its filler's last one ends a fill that was neither finished nor
        abandoned."""
        cdef Lease *lease
        cdef Object *o
        cdef Shard *s
        if object == 0:
            return
        lease = lease_of(&self.leases, object)
        if lease == NULL:
            return
        lease.count -= 1
        if lease.count:
            return
        o = object_at(self.region.base, object)
        s = shard_of(&self.region, object)
        if is_fill(o) and o.filler == self.row:
            self.abandon(object, FAILED, 0)
        edge_and64(&o.leases[self.row >> 6], ~(<uint64_t>1 << (self.row & 63)))
        # From here on it may be gone, and what stands there something else; then the look at it
        # says nothing, and the second one under the lock does.
        if not edge_load8_sc(&o.indexed):
            enter(s)
            if is_start(s, object):
                drop_lease(s, o, self.row)
            leave(s)
        lease_forget(&self.leases, object)

    cdef void share(self, Handle object) noexcept:
        """One lease more of what this process leases already."""
        if lease_of(&self.leases, object) != NULL:
            lease_note(&self.leases, object)

    cdef void count_hit(self, Handle object) noexcept:
        cdef Object *o = object_at(self.region.base, object)
        edge_add32(&o.hits, 1)
        if edge_load8(&o.frequency) < 3:
            edge_store8(&o.frequency, edge_load8(&o.frequency) + 1)

    cdef void see(self, Handle object, Seen *seen) noexcept:
        """What is written before a state is there when the state is seen; so that comes first."""
        cdef Object *o = object_at(self.region.base, object)
        cdef uint32_t state = edge_load32(&o.state)
        seen.state = state & 0xFFFF
        seen.failure = state >> 16
        seen.filled = edge_load64(&o.filled)
        seen.length = <int64_t>edge_load64(<uint64_t *>&o.length)
        seen.hits = edge_load32(&o.hits)

    cdef void read_freshness(self, Handle object, Freshness *freshness) noexcept:
        cdef Shard *s = shard_of(&self.region, object)
        enter(s)
        freshness[0] = object_at(s.base, object).freshness
        leave(s)

    cdef int copy_head(self, Handle object, char *out, uint32_t room, StoredHead *copy) noexcept:
        """0, or the room that is needed. It is copied since a 304 may replace it."""
        cdef Shard *s = shard_of(&self.region, object)
        cdef Object *o = object_at(s.base, object)
        cdef Meta *m
        cdef int needed = 0
        enter(s)
        m = meta_of(s, o)
        if m.head_size > room:
            needed = <int>m.head_size
        else:
            memcpy(out, head_of(m), m.head_size)
            copy.head = out
            copy.head_size = m.head_size
            copy.visible_size = m.visible_size
            copy.status = o.status
            copy.coding = o.coding
        leave(s)
        return needed

    cdef uint64_t body(self, Handle object, uint64_t at, uint64_t most, iovec *parts,
                       int *count) noexcept:
        """Parts of the body from `at`, as far as it is there; `count`: room, and how many."""
        return body_parts(shard_of(&self.region, object), object_at(self.region.base, object), at,
                          most, parts, count)

    cdef void follow(self, Handle object) noexcept:
        """`wake_fd` is written when it moves. Follow first, then see: no move is missed."""
        edge_store8(&object_at(self.region.base, object).followed, 1)
        edge_fence()

    # -- a fill begins ------------------------------------------------------------------------

    cdef Object *busy_for(self, Shard *s, const Asked *asked) noexcept:
        """A valid fill that a request may join, or NULL."""
        cdef Handle handle = newest_of(s, asked.hash[0], asked.key, asked.key_size)
        cdef uint64_t epoch = purge_epoch(&self.region.log)
        cdef Object *o
        while handle:
            o = object_at(s.base, handle)
            if is_fill(o) and is_valid(s, o, epoch) and self.selects(s, o, asked):
                return o
            handle = next_of(s, o)
        return NULL

    cdef uint32_t select_leader(self, Shard *s, const Asked *asked) noexcept:
        """Make the request's text for what the newest object of its key varies on: its size."""
        cdef Handle handle = newest_of(s, asked.hash[0], asked.key, asked.key_size)
        cdef Selecting selecting
        cdef Object *o
        cdef Meta *m
        while handle:
            o = object_at(s.base, handle)
            m = meta_of(s, o)
            if state_of(o) != BUSY and m.variant_size:
                selecting = Selecting(asked.head, asked.accept_encoding,
                                      asked.accept_encoding_size)
                self.text_size = variant_by_text(&selecting, variant_of(m), m.variant_size,
                                                 self.text)
                return <uint32_t>self.text_size if self.text_size > 0 else 0
            handle = next_of(s, o)
        return 0

    cdef int begin(self, Asked *asked, const Found *found, int64_t now_ms, Handle *out) noexcept:
        """A Begun. LEAD and JOIN: `out` is leased; the leader's lease keeps the fill alive."""
        cdef Shard *s = shard_for(&self.region, asked.hash)
        cdef Object *o
        cdef uint32_t run, got = 0, idle = 0, variant_size, needed, want
        cdef bint picky = True
        out[0] = 0
        if not leases_have_room(&self.leases, FOUND_LEASES):
            return NO_ROOM
        while True:
            self.text_size = -1
            enter(s)
            if s.head.changes != found.changes:
                leave(s)
                return AGAIN
            o = self.busy_for(s, asked)
            if o != NULL:
                out[0] = handle_of(s, o)
                self.take_lease(o, out[0])
                leave(s)
                return JOIN
            variant_size = self.select_leader(s, asked)
            needed = units_for(((OBJECT_BYTES + asked.key_size + 7) & ~<uint32_t>7) + META_BYTES
                               + variant_size)
            want = max(needed, <uint32_t>FIRST_RUN_UNITS)
            run = s.head.next_unit
            got = take_run_at(&s.extents, run, want, max(needed, <uint32_t>FIRST_RUN_UNITS // 2))
            if got == 0:
                run = make_room(s, want, max(needed, <uint32_t>GOOD_RUN_UNITS) if picky else needed,
                                &got, &idle)
            if run != NO_RUN:
                s.head.next_unit = run + got
                out[0] = s.first + run
                self.make_fill(s, out[0], got, asked, variant_size)
                leave(s)
                return LEAD
            give_way(s)
            if idle == ALL_IN_USE and not picky:
                return NO_ROOM
            if idle == ALL_IN_USE:
                idle = 0
            picky = False

    cdef void make_fill(self, Shard *s, Handle handle, uint32_t units, const Asked *asked,
                        uint32_t variant_size) noexcept:
        """The variant text is in `text`."""
        cdef Object *o = object_at(s.base, handle)
        cdef Meta *m
        memset(o, 0, OBJECT_BYTES)
        o.state = BUSY
        o.units = <uint16_t>units
        o.length = -1
        o.hash = asked.hash[0]
        o.epoch = purge_epoch(&self.region.log)
        o.filler = <uint8_t>self.row
        o.key_size = asked.key_size
        memcpy(key_of(o), asked.key, asked.key_size)
        m = meta_of(s, o)
        memset(m, 0, META_BYTES)
        m.variant_size = variant_size
        memcpy(variant_of(m), self.text, variant_size)
        self.take_lease(o, handle)
        set_start(s, handle)
        link(s, o)
        s.head.fills += 1
        s.head.changes += 1

    # -- a fill goes on -----------------------------------------------------------------------

    cdef int store_meta(self, Shard *s, Object *o, const Answer *answer, uint32_t key_count,
                        uint32_t *idle) noexcept:
        """Keys, variant (in `text`) and head: in the first run, or in a run of their own. NO_RUN:
        as make_room."""
        cdef uint64_t size = (META_BYTES + 8 * <uint64_t>key_count + <uint64_t>self.text_size
                              + answer.head_size)
        cdef Meta *m
        cdef uint32_t run = 0, got = 0, units = 0
        if after_key(o) + size <= <uint64_t>o.units * UNIT_BYTES:
            m = <Meta *>(<char *>o + after_key(o))
            o.body_at = after_key(o) + <uint32_t>size
        else:
            units = units_for(size)
            run = make_room(s, units, units, &got, idle)
            if run == NO_RUN:
                return NO_RUN
            m = <Meta *>object_at(s.base, s.first + run)
            o.body_at = after_key(o)
        m.variant_size = <uint32_t>self.text_size
        m.head_size = answer.head_size
        m.visible_size = answer.visible_size
        m.key_count = <uint16_t>key_count
        m.units = <uint16_t>units
        memcpy(keys_of(m), self.keys, key_count * sizeof(uint64_t))
        memcpy(variant_of(m), self.text, m.variant_size)
        memcpy(head_of(m), answer.head, answer.head_size)
        edge_in_order()
        if units:
            o.meta = s.first + run
        return 0

    cdef int open(self, Handle fill, Asked *asked, const Answer *answer, int64_t now_ms) noexcept:
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *o = object_at(s.base, fill)
        cdef Selecting selecting = Selecting(asked.head, asked.accept_encoding,
                                             asked.accept_encoding_size)
        cdef uint32_t idle = 0, key_count = surrogate_hashes(self.region.head.hash_key,
                                                             answer.response, self.keys)
        cdef int64_t soft_ms = 0
        cdef uint64_t epoch
        cdef int purged
        self.text_size = variant_by_answer(&selecting, answer.response, answer.vary_encoding,
                                           self.text)
        if self.text_size < 0:
            return STORE_PURGED                # it suits nobody else
        if answer.length > <int64_t>s.units * UNIT_BYTES:
            return STORE_FULL
        while True:
            enter(s)
            if state_of(o) != BUSY or not o.indexed:
                leave(s)
                return STORE_LOST if state_of(o) != BUSY else STORE_PURGED
            epoch = purge_epoch(&self.region.log)
            purged = purged_since(&self.region.log, o.epoch, self.keys, key_count, &soft_ms)
            if purged == PURGED_HARD:
                s.head.changes += 1
                drop(s, o)
                leave(s)
                return STORE_PURGED
            if self.store_meta(s, o, answer, key_count, &idle) != NO_RUN:
                break
            give_way(s)
            if idle == ALL_IN_USE:
                return STORE_FULL
        o.freshness = answer.freshness
        if purged != NOT_PURGED:
            make_stale(&o.freshness, soft_ms)
        o.epoch = epoch
        o.status = answer.status
        o.coding = answer.coding
        edge_store64(<uint64_t *>&o.length, <uint64_t>answer.length)
        if answer.length >= 0:
            fit_first_run(s, o, o.body_at + <uint64_t>answer.length)
        set_state(s, o, FILLING, 0)
        s.head.changes += 1
        leave(s)
        return STORE_OK

    cdef int append(self, Handle fill, const char *p, uint32_t n) noexcept:
        """All of it or, when the result is not STORE_OK, nothing. STORE_SHORT: more than `open`
        said. STORE_FULL: abandon it."""
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *o = object_at(s.base, fill)
        cdef uint64_t filled = o.filled, size
        cdef char *out = NULL
        cdef int result
        if state_of(o) != FILLING:
            return STORE_LOST
        if o.length >= 0 and filled + n > <uint64_t>o.length:
            return STORE_SHORT
        while n:
            size = body_room(s, o, filled, &out)
            if size == 0:
                result = self.grow(s, o, filled, n)
                if result != STORE_OK:
                    return result
                continue
            size = min(size, <uint64_t>n)
            memcpy(out, p, size)
            p += size
            n -= <uint32_t>size
            filled += size
        edge_store64(&o.filled, filled)
        wake(s, o)
        return STORE_OK

    cdef int grow(self, Shard *s, Object *o, uint64_t filled, uint32_t n) noexcept:
        """Let the body go on in a new run: as long as the rest of it, or, when that is not known,
        as all of it up to now; what is too much comes back at its end."""
        cdef uint64_t bytes_ = (<uint64_t>o.length - filled if o.length >= 0
                                else max(filled, <uint64_t>n))
        cdef uint32_t want = <uint32_t>min(max(units_for(bytes_), <uint32_t>2),
                                           <uint32_t>RUN_UNITS_MAX)
        cdef uint32_t least = min(want, <uint32_t>GOOD_RUN_UNITS)
        cdef uint32_t run, got = 0, idle = 0
        while True:
            enter(s)
            if state_of(o) != FILLING:
                leave(s)
                return STORE_LOST
            run = make_room(s, want, least, &got, &idle)
            if run != NO_RUN:
                if not add_extent(s, o, s.first + run, got):
                    got -= 1                   # a unit of it for the table that notes it
                    give_run(&s.extents, run + got, 1)
                    add_extent(s, o, s.first + run, got)
                leave(s)
                return STORE_OK
            give_way(s)
            if idle == ALL_IN_USE:
                if least == 2:
                    return STORE_FULL
                idle = 0
            least = 2

    # -- a fill ends --------------------------------------------------------------------------

    cdef int finish(self, Handle fill, int64_t now_ms) noexcept:
        """It is whole. STORE_PURGED: for those who joined it, and out of the index. STORE_SHORT:
        nothing was done; abandon it."""
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *o = object_at(s.base, fill)
        cdef int result = STORE_OK
        enter(s)
        if state_of(o) != FILLING:
            leave(s)
            return STORE_LOST
        if o.length >= 0 and o.filled != <uint64_t>o.length:
            leave(s)
            return STORE_SHORT
        edge_store64(<uint64_t *>&o.length, o.filled)
        trim_object(s, o)
        if not o.indexed or not is_valid(s, o, purge_epoch(&self.region.log)):
            drop(s, o)                         # before it is whole: it is counted as a fill
            result = STORE_PURGED
        else:
            replace_older(s, o, False)
            unlink(s, o)
            link(s, o)
            s.head.objects += 1
            enqueue(s, o)
        set_state(s, o, WHOLE, 0)
        s.head.changes += 1
        leave(s)
        return result

    cdef void mark_pass(self, Handle fill, const Freshness *freshness) noexcept:
        """A hit-for-pass marker for all variants. Purged meanwhile: who waits goes on alone."""
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *o = object_at(s.base, fill)
        cdef Meta *m
        enter(s)
        if is_fill(o):
            if state_of(o) == BUSY and o.indexed and is_valid(s, o, purge_epoch(&self.region.log)):
                o.freshness = freshness[0]
                o.freshness.flags |= O_PASS
                m = meta_of(s, o)
                m.variant_size = 0
                o.body_at = after_key(o) + META_BYTES
                edge_store64(<uint64_t *>&o.length, 0)
                fit_first_run(s, o, o.body_at)
                replace_older(s, o, True)
                unlink(s, o)
                link(s, o)
                s.head.markers += 1
                enqueue(s, o)
                set_state(s, o, WHOLE, 0)
            else:
                drop(s, o)
                set_state(s, o, ALONE, 0)
            s.head.changes += 1
        leave(s)

    cdef void abandon(self, Handle fill, int state, int failure) noexcept:
        """ALONE or FAILED, for who waits for it; the object goes when they have gone."""
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *o = object_at(s.base, fill)
        enter(s)
        if is_fill(o):
            drop(s, o)
            set_state(s, o, state, failure)
            s.head.changes += 1
        leave(s)

    # -- what is stored changes ---------------------------------------------------------------

    cdef int refresh(self, Handle fill, Handle prior, const Freshness *freshness,
                     const char *head, uint32_t head_size, uint32_t visible_size,
                     int64_t now_ms) noexcept:
        """A 304 has validated `prior`, an object of the same key that the caller leases. The fill
        has done its part, whatever comes of it."""
        cdef Shard *s = shard_of(&self.region, fill)
        cdef Object *f = object_at(s.base, fill)
        cdef Object *o = object_at(s.base, prior)
        cdef uint32_t run = NO_RUN, got = 0, idle = 0, units = 0
        cdef int result = STORE_OK
        while True:
            enter(s)
            if state_of(f) != BUSY:
                leave(s)
                return STORE_LOST
            if o.indexed and not is_valid(s, o, purge_epoch(&self.region.log)):
                drop(s, o)
            if not o.indexed:
                result = STORE_PURGED
                break
            if head == NULL or idle == ALL_IN_USE:
                break
            units = units_for(meta_bytes(meta_of(s, o)) - meta_of(s, o).head_size + head_size)
            run = make_room(s, units, units, &got, &idle)
            if run != NO_RUN:
                replace_head(s, o, run, units, head, head_size, visible_size)
                break
            give_way(s)
        if result == STORE_OK:
            renew(s, o, f, freshness, now_ms)
        drop(s, f)
        set_state(s, f, FAILED, 0)
        wake(s, o)
        s.head.changes += 1
        leave(s)
        return result

    cdef int drop_key(self, const char *key, uint32_t key_size, bint soft,
                      int64_t now_ms) noexcept:
        """All variants of a key leave the index, or turn stale; its fills leave: how many."""
        cdef Asked asked
        cdef Shard *s
        cdef Handle handle
        cdef Object *o
        cdef int count = 0
        asked.key = key
        asked.key_size = key_size
        self.set_key(&asked)
        s = shard_for(&self.region, asked.hash)
        enter(s)
        handle = newest_of(s, asked.hash[0], key, key_size)
        while handle:
            o = object_at(s.base, handle)
            handle = next_of(s, o)
            if soft and not is_fill(o):
                make_stale(&o.freshness, now_ms)
                wake(s, o)
            else:
                drop(s, o)
            count += 1
        s.head.changes += 1
        leave(s)
        return count

    cdef void discard(self, Handle object) noexcept:
        """Out of the index: nobody finds it any more."""
        cdef Shard *s = shard_of(&self.region, object)
        cdef Object *o = object_at(s.base, object)
        enter(s)
        if o.indexed:
            drop(s, o)
            s.head.changes += 1
        leave(s)

    # -- purges, statistics -------------------------------------------------------------------

    def purge_keys(self, list keys not None, bint soft=False, now_ms=None) -> None:
        """Purge what is tagged with any of the surrogate keys; takes as long for one object as for
        a million. `now_ms`: unix milliseconds, for tests; what is purged softly is stale since."""
        cdef uint64_t[KEYS_AT_ONCE] hashes
        cdef int64_t at_ms = wall_us() // 1000 if now_ms is None else now_ms
        cdef uint32_t count = 0, done
        cdef bytes key
        for number, key in enumerate(keys, 1):
            hashes[count] = surrogate_hash(self.region.head.hash_key, key,
                                           <uint32_t>len(key))
            count += 1
            if count < KEYS_AT_ONCE and number < len(keys):
                continue
            done = 0
            with nogil:
                while True:
                    done += purge_keys(&self.region.log, hashes + done, count - done, soft, at_ms)
                    if done == count:
                        break
                    sweep_for_room(&self.region)
            count = 0

    def purge_all(self) -> None:
        """Everything, at once; always hard, as Fastly's."""
        purge_everything(&self.region.log)

    def purge_url(self, bytes key, bint soft=False, now_ms=None) -> int:
        """All variants of a primary key: how many objects were hit."""
        cdef int64_t at_ms = wall_us() // 1000 if now_ms is None else now_ms
        count_url_purge(&self.region.log)
        return self.drop_key(key, <uint32_t>len(key), soft, at_ms)

    def sweep(self, uint64_t budget_us) -> bool:
        """Carry out purges for about so long. True: there is more to do."""
        cdef bint more
        with nogil:
            more = sweep_some(&self.region, budget_us)
        return more

    def sweep_row(self, int row) -> None:
        """The process of a row has died: clear its leases, fail what it was filling."""
        if not 0 <= row < ROWS_MAX:
            raise ValueError(f"row {row} is not one of {int(ROWS_MAX)}")
        if is_row_used(&self.region, row):
            sweep_row(&self.region, row)

    def stats(self) -> dict:
        return region_stats(&self.region)

    def audit(self) -> dict:
        """Units of memory by who has them; slow. See ext/audit.pyx."""
        return audit_region(&self.region)


# -- parts, under the shard's lock -----------------------------------------------------------------

cdef void replace_older(Shard *s, Object *o, bint all_variants) noexcept nogil:
    """What the new object stands for leaves the index: its variant, or all; and the oldest when
    the key has VARIANTS_MAX."""
    cdef Meta *m = meta_of(s, o)
    cdef Meta *other
    cdef Handle handle = newest_of(s, o.hash, key_of(o), o.key_size)
    cdef Object *old
    cdef int count = 1
    while handle:
        old = object_at(s.base, handle)
        handle = next_of(s, old)
        if old == o or is_fill(old):
            continue
        other = meta_of(s, old)
        count += 1
        if all_variants or count > VARIANTS_MAX or (
                other.variant_size == m.variant_size
                and memcmp(variant_of(other), variant_of(m), m.variant_size) == 0):
            drop(s, old)
            count -= 1


cdef void replace_head(Shard *s, Object *o, uint32_t run, uint32_t units, const char *head,
                       uint32_t head_size, uint32_t visible_size) noexcept nogil:
    """A stored head and what stands before it, in a new run."""
    cdef Meta *old = meta_of(s, o)
    cdef Meta *m = <Meta *>object_at(s.base, s.first + run)
    cdef uint32_t before = object_units(s, o), old_run = o.meta, old_units = old.units
    memcpy(m, old, meta_bytes(old) - old.head_size)
    m.head_size = head_size
    m.visible_size = visible_size
    m.units = <uint16_t>units
    memcpy(head_of(m), head, head_size)
    edge_in_order()
    o.meta = s.first + run
    requeue(s, o, before)
    if old_run:
        give_run(&s.extents, old_run - s.first, old_units)


cdef void renew(Shard *s, Object *o, Object *fill, const Freshness *freshness,
                int64_t now_ms) noexcept nogil:
    """Fresh again, and the newest; unless it was purged softly after the origin was asked."""
    cdef Meta *m = meta_of(s, o)
    cdef int64_t soft_ms = 0
    cdef int purged = purged_since(s.log, fill.epoch, keys_of(m), m.key_count, &soft_ms)
    o.freshness = freshness[0]
    if fill.purged:
        make_stale(&o.freshness, now_ms)
    elif purged != NOT_PURGED:
        make_stale(&o.freshness, soft_ms)
    unlink(s, o)
    link(s, o)
