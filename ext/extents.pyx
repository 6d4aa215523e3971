"""The allocator of a shard: a binary buddy system whose blocks are given out in part.

Theory. Free memory is a set of blocks of 2^k units, each aligned to its size; a block and its
buddy that are both free are one block of the next size (Knuth 2.5). A run that is taken need not
be a block: what a block has too much is given back at once, so a run is any number of units. When
no block is large enough, the largest are taken together with what lies free on both sides of
them. The blocks are bits outside of the memory that they stand for, with two levels of summary,
so memory that nobody uses is never touched, and the lowest fitting block is found with a few
loads.

The bits stand in shared memory and change under the shard's lock. Called by: objects, shard.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from *:
    int __builtin_ctzll(uint64_t x) noexcept nogil
    int __builtin_clz(unsigned x) noexcept nogil

cdef enum:
    PIECES_TRIED_MAX = 4           # blocks of one size whose neighbours are looked at


# -- sets of block numbers -------------------------------------------------------------------------

cdef inline uint32_t words_of(uint64_t bits) noexcept nogil:
    return <uint32_t>((bits + 63) // 64)


cdef uint64_t bits_bytes(uint32_t count) noexcept nogil:
    cdef uint64_t words = words_of(<uint64_t>count + 1)
    cdef uint64_t groups = words_of(words)
    return 8 * (words + groups + words_of(groups))


cdef char *bits_place(Bits *b, char *memory, uint32_t count) noexcept nogil:
    cdef uint32_t words = words_of(<uint64_t>count + 1)
    cdef uint32_t groups = words_of(words)
    b.top_count = words_of(groups)
    b.words = <uint64_t *>memory
    b.groups = b.words + words
    b.tops = b.groups + groups
    return <char *>(b.tops + b.top_count)


cdef inline bint bits_has(Bits *b, uint32_t i) noexcept nogil:
    return b.words[i >> 6] >> (i & 63) & 1


cdef inline void bits_add(Bits *b, uint32_t i) noexcept nogil:
    b.words[i >> 6] |= <uint64_t>1 << (i & 63)
    b.groups[i >> 12] |= <uint64_t>1 << (i >> 6 & 63)
    b.tops[i >> 18] |= <uint64_t>1 << (i >> 12 & 63)


cdef inline void bits_drop(Bits *b, uint32_t i) noexcept nogil:
    b.words[i >> 6] &= ~(<uint64_t>1 << (i & 63))
    if b.words[i >> 6] == 0:
        b.groups[i >> 12] &= ~(<uint64_t>1 << (i >> 6 & 63))
        if b.groups[i >> 12] == 0:
            b.tops[i >> 18] &= ~(<uint64_t>1 << (i >> 12 & 63))


cdef uint32_t bits_next(Bits *b, uint32_t i) noexcept nogil:
    """The first number of the set from `i` on, or NO_RUN."""
    cdef uint32_t at = i >> 6
    cdef uint64_t word
    if at >> 12 >= b.top_count:
        return NO_RUN
    word = b.words[at] >> (i & 63)
    if word:
        return i + __builtin_ctzll(word)
    at += 1                                # of words; the next one that has any
    if at & 63:
        word = b.groups[at >> 6] >> (at & 63)
        if word:
            at += __builtin_ctzll(word)
            return at << 6 | __builtin_ctzll(b.words[at])
        at = (at >> 6) + 1
    else:
        at >>= 6
    while at >> 6 < b.top_count:           # of groups
        word = b.tops[at >> 6] >> (at & 63)
        if word:
            at += __builtin_ctzll(word)
            at = at << 6 | __builtin_ctzll(b.groups[at])
            return at << 6 | __builtin_ctzll(b.words[at])
        at = ((at >> 6) + 1) << 6
    return NO_RUN


# -- blocks ----------------------------------------------------------------------------------------

cdef inline int floor_order(uint32_t n) noexcept nogil:
    return min(31 - __builtin_clz(n), ORDERS - 1)


cdef inline int largest_order_at(uint32_t unit) noexcept nogil:
    """Of the blocks that may begin (or end) at a unit."""
    return min(__builtin_ctzll(unit | <uint64_t>1 << (ORDERS - 1)), ORDERS - 1)


cdef void put_block(Extents *e, uint32_t unit, int order) noexcept nogil:
    """A free block, joined with its buddies."""
    cdef uint32_t i = unit >> order
    while order < ORDERS - 1 and bits_has(&e.free[order], i ^ 1):
        bits_drop(&e.free[order], i ^ 1)
        i >>= 1
        order += 1
    bits_add(&e.free[order], i)


cdef void put_run(Extents *e, uint32_t start, uint32_t count) noexcept nogil:
    cdef int order
    while count:
        order = min(largest_order_at(start), floor_order(count))
        put_block(e, start, order)
        start += <uint32_t>1 << order
        count -= <uint32_t>1 << order


cdef uint32_t free_from(Extents *e, uint32_t unit) noexcept nogil:
    """Units of the free block that begins at a unit; 0 when none does."""
    cdef int order
    if unit >= e.units:
        return 0
    for order in range(largest_order_at(unit) + 1):
        if bits_has(&e.free[order], unit >> order):
            return <uint32_t>1 << order
    return 0


cdef uint32_t free_until(Extents *e, uint32_t unit) noexcept nogil:
    """Units of the free block that ends before a unit; 0 when none does."""
    cdef int order
    if unit == 0:
        return 0
    for order in range(largest_order_at(unit) + 1):
        if unit >> order and bits_has(&e.free[order], (unit >> order) - 1):
            return <uint32_t>1 << order
    return 0


cdef int order_around(Extents *e, uint32_t unit) noexcept nogil:
    """The order of the free block that a unit is in, or -1."""
    cdef int order
    for order in range(ORDERS):
        if bits_has(&e.free[order], unit >> order):
            return order
    return -1


cdef void cut_out(Extents *e, uint32_t start, uint32_t count) noexcept nogil:
    """Take units that are all free out of their blocks."""
    cdef uint32_t base, size, stop = start + count
    cdef int order
    while start < stop:
        order = order_around(e, start)
        size = <uint32_t>1 << order
        base = start >> order << order
        bits_drop(&e.free[order], base >> order)
        put_run(e, base, start - base)
        if base + size > stop:
            put_run(e, stop, base + size - stop)
        start = base + size


# -- runs ------------------------------------------------------------------------------------------

cdef uint64_t extents_bytes(uint32_t units) noexcept nogil:
    """What the bits of so many units take."""
    cdef uint64_t sum = 0
    cdef int order
    for order in range(ORDERS):
        sum += bits_bytes(units >> order)
    return sum


cdef void extents_place(Extents *e, char *memory, uint32_t units,
                        uint32_t *free_units) noexcept nogil:
    """A view of bits that are at `memory`, 8-aligned. Fresh memory, all zero, has nothing free."""
    cdef int order
    e.units = units
    e.free_units = free_units
    for order in range(ORDERS):
        memory = bits_place(&e.free[order], memory, units >> order)


cdef void extents_make(Extents *e) noexcept nogil:
    """Everything is free. The bits are all zero and are touched only where blocks are."""
    put_run(e, 0, e.units)
    e.free_units[0] = e.units


cdef void extents_reset(Extents *e) noexcept nogil:
    """Everything is free again."""
    cdef Bits *last = &e.free[ORDERS - 1]
    memset(e.free[0].words, 0, <size_t>(<char *>(last.tops + last.top_count)
                                        - <char *>e.free[0].words))
    extents_make(e)


cdef uint32_t take_run(Extents *e, uint32_t want, uint32_t least, uint32_t *got) noexcept nogil:
    """Where a run of `want` units begins, or of fewer down to `least` when nothing that large is
    found; else NO_RUN. 1 <= least <= want <= RUN_UNITS_MAX."""
    cdef int order = floor_order(want), k, tried
    cdef uint32_t i, low, high, piece
    if want & (want - 1):
        order += 1
    for k in range(order, ORDERS):
        i = bits_next(&e.free[k], 0)
        if i != NO_RUN:
            got[0] = want
            bits_drop(&e.free[k], i)
            put_run(e, (i << k) + want, (<uint32_t>1 << k) - want)
            e.free_units[0] -= want
            return i << k
    # A run of n free units has a whole block of (n + 1) / 2 in it, rounded down to a power of two.
    for k in range(order - 1, floor_order((least + 1) // 2) - 1, -1):
        i = bits_next(&e.free[k], 0)
        tried = 0
        while i != NO_RUN and tried < PIECES_TRIED_MAX:
            tried += 1
            low = i << k
            high = low + (<uint32_t>1 << k)
            while high - low < want:
                piece = free_from(e, high)
                if piece == 0:
                    break
                high += piece
            while high - low < want:
                piece = free_until(e, low)
                if piece == 0:
                    break
                low -= piece
            if high - low >= least:
                got[0] = min(high - low, want)
                cut_out(e, low, got[0])
                e.free_units[0] -= got[0]
                return low
            i = bits_next(&e.free[k], i + 1)
    return NO_RUN


cdef uint32_t take_run_at(Extents *e, uint32_t start, uint32_t want,
                          uint32_t least) noexcept nogil:
    """Take what is free from a unit on: between `least` and `want` units, or 0."""
    cdef uint32_t count, piece
    cdef int order
    if start >= e.units:
        return 0
    order = order_around(e, start)
    if order < 0:
        return 0
    count = (<uint32_t>1 << order) - (start & ((<uint32_t>1 << order) - 1))
    while count < want:
        piece = free_from(e, start + count)
        if piece == 0:
            break
        count += piece
    count = min(count, want)
    if count < least:
        return 0
    cut_out(e, start, count)
    e.free_units[0] -= count
    return count


cdef void give_run(Extents *e, uint32_t start, uint32_t count) noexcept nogil:
    put_run(e, start, count)
    e.free_units[0] += count


cdef bint is_free(Extents *e, uint32_t unit) noexcept nogil:
    return order_around(e, unit) >= 0


# -- facade for tests ------------------------------------------------------------------------------

cdef class ExtentsForTest:
    """An allocator over so many units, without the memory that they stand for."""

    cdef Extents extents
    cdef uint32_t free_units
    cdef char *memory

    def __cinit__(self, uint32_t units):
        self.memory = <char *>malloc(extents_bytes(units))
        if self.memory == NULL:
            raise MemoryError
        extents_place(&self.extents, self.memory, units, &self.free_units)
        extents_reset(&self.extents)

    def __dealloc__(self):
        free(self.memory)

    def take(self, uint32_t want, uint32_t least):
        """(start, count), or None."""
        cdef uint32_t got = 0
        cdef uint32_t start = take_run(&self.extents, want, least, &got)
        return None if start == NO_RUN else (start, got)

    def take_at(self, uint32_t start, uint32_t want, uint32_t least):
        return take_run_at(&self.extents, start, want, least)

    def give(self, uint32_t start, uint32_t count):
        give_run(&self.extents, start, count)

    def free_count(self):
        return self.free_units

    def is_free(self, uint32_t unit):
        return bool(is_free(&self.extents, unit))

    def blocks(self):
        """All free blocks: (start, units)."""
        cdef uint32_t i
        cdef int order
        found = []
        for order in range(ORDERS):
            i = bits_next(&self.extents.free[order], 0)
            while i != NO_RUN:
                found.append((i << order, 1 << order))
                i = bits_next(&self.extents.free[order], i + 1)
        return sorted(found)
