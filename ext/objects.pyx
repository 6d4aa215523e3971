"""The memory of one object: its runs, its body, and where the next bytes of it go.

Theory. An object begins with a run that holds the struct, the key, and, when they fit, the stored
head and the body; a body goes on in further runs, its extents. All but the last extent are full,
and each says how many units of body end with it, so a position is found by bisection. Bytes that
were published never move. Readers need no lock: what describes bytes is written before `filled`
says that they are there, and stays until the last lease is gone.

Each change is a few stores in an order that leaves the object right at any of them: a run is
taken before it is linked, and unlinked before it is given back. What a process that was killed
had taken and not linked comes back when its shard is emptied (shard.pyx).

Called by: shard, eviction, sweep, audit, store; under the shard's lock where nothing else is said.
"""
from ext.atomics cimport edge_in_order, edge_load64
from ext.extents cimport NO_RUN, RUN_UNITS_MAX, give_run, take_run, take_run_at

cdef extern from *:
    int __builtin_ctzll(uint64_t x) noexcept nogil

assert sizeof(Object) == OBJECT_BYTES and sizeof(Meta) == META_BYTES


# -- where objects begin ---------------------------------------------------------------------------

cdef void set_start(Shard *s, uint32_t handle) noexcept nogil:
    """The struct is complete: from now on others may look at it."""
    cdef uint32_t unit = handle - s.first
    edge_in_order()
    s.starts[unit >> 6] |= <uint64_t>1 << (unit & 63)


cdef void clear_start(Shard *s, uint32_t handle) noexcept nogil:
    cdef uint32_t unit = handle - s.first
    s.starts[unit >> 6] &= ~(<uint64_t>1 << (unit & 63))
    edge_in_order()


cdef uint32_t next_start(const Shard *s, uint32_t handle) noexcept nogil:
    """The first object at a handle or behind it; 0 when there is none."""
    cdef uint32_t unit = handle - s.first
    cdef uint32_t at = unit >> 6
    cdef uint64_t word
    if unit >= s.units:
        return 0
    word = s.starts[at] >> (unit & 63) << (unit & 63)
    while word == 0:
        at += 1
        if at > (s.units - 1) >> 6:
            return 0
        word = s.starts[at]
    return s.first + (at << 6) + __builtin_ctzll(word)


# -- extents ---------------------------------------------------------------------------------------

cdef Extent *extent_number(const Shard *s, Object *o, uint32_t i) noexcept nogil:
    """One that is there, or whose place is there; else NULL."""
    cdef uint32_t handle = o.table
    cdef Table *t
    if i < EXTENTS_INLINE:
        return &o.extents[i]
    i -= EXTENTS_INLINE
    while handle:
        t = table_at(s, handle)
        if i < t.room:
            return &entries_of(t)[i]
        i -= t.room
        handle = t.next
    return NULL


cdef uint32_t body_units(const Shard *s, const Object *o) noexcept nogil:
    """Of all extents."""
    return extent_number(s, <Object *>o, o.extents_used - 1).end if o.extents_used else 0


cdef uint32_t object_units(const Shard *s, const Object *o) noexcept nogil:
    """Of all its runs."""
    cdef uint32_t sum = o.units + body_units(s, o)
    cdef uint32_t handle = o.table
    if o.meta:
        sum += meta_of(s, o).units
    while handle:
        sum += table_at(s, handle).units
        handle = table_at(s, handle).next
    return sum


cdef bint add_table(Shard *s, Object *o) noexcept nogil:
    cdef uint32_t units = 0
    cdef uint32_t run = take_run(&s.extents, TABLE_UNITS_NEXT if o.table else TABLE_UNITS_FIRST, 1,
                                 &units)
    cdef uint32_t *link = &o.table
    cdef Table *t
    if run == NO_RUN:
        return False
    t = table_at(s, s.first + run)
    t.next = 0
    t.units = units
    t.room = (units * UNIT_BYTES - <uint32_t>sizeof(Table)) // <uint32_t>sizeof(Extent)
    t.reserved = 0
    while link[0]:
        link = &table_at(s, link[0]).next
    edge_in_order()
    link[0] = s.first + run
    return True


cdef bint add_extent(Shard *s, Object *o, uint32_t start, uint32_t units) noexcept nogil:
    """Let a body go on in a run; False when there is no memory to note it."""
    cdef uint32_t before = body_units(s, o)
    cdef Extent *e = extent_number(s, o, o.extents_used)
    if e == NULL:
        if not add_table(s, o):
            return False
        e = extent_number(s, o, o.extents_used)
    e.start = start
    e.end = before + units
    edge_in_order()
    o.extents_used += 1
    return True


# -- the body --------------------------------------------------------------------------------------

cdef Extent *bisect(Extent *e, uint32_t count, uint32_t unit, uint32_t *before) noexcept nogil:
    """The extent that has a unit of the body; `before`: the units in front of it."""
    cdef uint32_t low = 0, high = count - 1, middle
    while low < high:
        middle = (low + high) // 2
        if e[middle].end > unit:
            high = middle
        else:
            low = middle + 1
    if low:
        before[0] = e[low - 1].end
    return &e[low]


cdef Extent *extent_with(const Shard *s, const Object *o, uint32_t unit,
                         uint32_t *before) noexcept nogil:
    cdef uint32_t left = o.extents_used, count = min(left, <uint32_t>EXTENTS_INLINE)
    cdef Extent *e = <Extent *>o.extents
    cdef Table *t
    cdef uint32_t handle = o.table
    before[0] = 0
    while count:
        if e[count - 1].end > unit:
            return bisect(e, count, unit, before)
        before[0] = e[count - 1].end
        left -= count
        if left == 0:
            break
        t = table_at(s, handle)
        e = entries_of(t)
        count = min(left, t.room)
        handle = t.next
    return NULL


cdef uint64_t body_room(const Shard *s, const Object *o, uint64_t at, char **p) noexcept nogil:
    """Where byte `at` of the body is or goes, and how many bytes from there are in one piece; 0:
    the object has no memory for it yet. Needs no lock below `filled`, or by the filler."""
    cdef uint64_t inside = <uint64_t>o.units * UNIT_BYTES - o.body_at
    cdef uint32_t before
    cdef Extent *e
    if at < inside:
        p[0] = <char *>o + o.body_at + at
        return inside - at
    at -= inside
    e = extent_with(s, o, <uint32_t>(at // UNIT_BYTES), &before)
    if e == NULL:
        return 0
    p[0] = <char *>s.base + <uint64_t>e.start * UNIT_BYTES + (at - <uint64_t>before * UNIT_BYTES)
    return <uint64_t>e.end * UNIT_BYTES - at


cdef uint64_t body_parts(const Shard *s, const Object *o, uint64_t at, uint64_t most,
                         iovec *parts, int *count) noexcept nogil:
    """Needs no lock but a lease."""
    cdef uint64_t filled = edge_load64(<uint64_t *>&o.filled)
    cdef uint64_t sum = 0, size
    cdef int used = 0
    cdef char *p = NULL
    if at < filled:
        most = min(most, filled - at)
        while sum < most and used < count[0]:
            size = min(body_room(s, o, at + sum, &p), most - sum)
            parts[used].iov_base = p
            parts[used].iov_len = size
            used += 1
            sum += size
    count[0] = used
    return sum


# -- its end ---------------------------------------------------------------------------------------

cdef void fit_first_run(Shard *s, Object *o, uint64_t size) noexcept nogil:
    """Let an object of `size` bytes have them in one run if what follows is free, and give back
    what the run has too much; the next object may begin there."""
    cdef uint64_t needed = (size + UNIT_BYTES - 1) // UNIT_BYTES
    cdef uint32_t end = handle_of(s, o) - s.first + o.units, more
    if needed > RUN_UNITS_MAX:
        return
    if needed > o.units:
        more = <uint32_t>needed - o.units
        if take_run_at(&s.extents, end, more, more):
            o.units = <uint16_t>needed
            s.head.next_unit = end + more
    elif needed < o.units:
        more = o.units - <uint32_t>needed
        o.units = <uint16_t>needed
        edge_in_order()
        s.head.next_unit = end - more
        give_run(&s.extents, end - more, more)


cdef void trim_object(Shard *s, Object *o) noexcept nogil:
    """Give back what a whole body has left over. `filled` and `body_at` are final."""
    cdef uint64_t inside = <uint64_t>o.units * UNIT_BYTES - o.body_at
    cdef uint32_t needed = units_for(o.filled - inside) if o.filled > inside else 0
    cdef uint32_t before, kept, spare, end
    cdef Extent *e
    while o.extents_used:                  # more than one when an append found no room for all
        e = extent_number(s, o, o.extents_used - 1)
        end = e.end
        if needed >= end:
            return
        before = body_units_before(s, o)
        kept = needed - before if needed > before else 0
        spare = e.start - s.first + kept
        if kept:
            e.end = needed
        else:
            o.extents_used -= 1
        edge_in_order()
        give_run(&s.extents, spare, end - before - kept)
        if kept:
            return
    fit_first_run(s, o, o.body_at + o.filled)


cdef uint32_t body_units_before(const Shard *s, Object *o) noexcept nogil:
    """Of all extents but the last."""
    return extent_number(s, o, o.extents_used - 2).end if o.extents_used > 1 else 0


cdef bint each_run(Shard *s, uint32_t handle, uint32_t units, bint keep) noexcept nogil:
    if units == 0:
        return True
    if keep:
        return take_run_at(&s.extents, handle - s.first, units, units) == units
    give_run(&s.extents, handle - s.first, units)
    return True


cdef bint each_extent(Shard *s, const Extent *e, uint32_t count, uint32_t *before,
                      bint keep) noexcept nogil:
    cdef uint32_t i
    cdef bint good = True
    for i in range(count):
        good &= each_run(s, e[i].start, e[i].end - before[0], keep)
        before[0] = e[i].end
    return good


cdef bint all_runs(Shard *s, Object *o, bint keep) noexcept nogil:
    """Give every run of an object back, or take it out of an allocator that was reset."""
    cdef uint32_t handle = o.table, left = o.extents_used, count, units, before = 0
    cdef Table *t
    cdef bint good
    count = min(left, <uint32_t>EXTENTS_INLINE)
    good = each_extent(s, o.extents, count, &before, keep)
    while handle:
        t = table_at(s, handle)
        left -= count
        count = min(left, t.room)
        units = t.units
        good &= each_extent(s, entries_of(t), count, &before, keep)
        good &= each_run(s, handle, units, keep)
        handle = t.next
    if o.meta:
        good &= each_run(s, o.meta, meta_of(s, o).units, keep)
    return each_run(s, handle_of(s, o), o.units, keep) and good


cdef void free_object(Shard *s, Object *o) noexcept nogil:
    """Nobody has it any more: it is in no queue, not in the index and not leased."""
    clear_start(s, handle_of(s, o))
    all_runs(s, o, False)


cdef bint keep_object(Shard *s, Object *o) noexcept nogil:
    """Take its runs out of an allocator that was reset. False: not all of them were free."""
    return all_runs(s, o, True)
