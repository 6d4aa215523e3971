"""Servers by the hash of a key, placed exactly as HAProxy places them (`hash-type`).

Theory. `map-based`: an array with as many entries as the weights have units, in the order of a
simple weighted round robin; a key's server is the entry at its hash modulo the size. It is even,
but nearly all keys move when a server comes or goes. Walked entry by entry it is `static-rr`, and
is so where a request has no key. Weights are those of the file, divided by what they have in
common; a server is in or out, and run-time weights and slow starts change nothing else.

`consistent`: a ring of 2^32 places (Karger et al., STOC 1997) with 16 points per unit of weight, at
avalanche(seed + number of the point). A key goes to the nearest point, before or after it. A server
that goes loses its points only, so its own keys move and no others. How even the shares are grows
with the root of the number of points: at weight 1 a share is within about 18 % of the mean (one
standard deviation), at weight 10 within 6 %. With a bound (`hash-balance-factor`; Mirrokni et
al., SODA 2018) a server that has more than its part of the load passes its keys on along the ring.

Deviates from HAProxy: there a key's server that is full is waited for, and on a map one that has
failed is tried again. Here the next one on the map or ring takes the request, as with newer
HAProxy's `hash-preserve-affinity maxconn`: one queue serves the whole tier.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc

from ext.farm cimport KEY_GIVEN_BIT, PICK_NONE
from ext.hashes cimport avalanche
from ext.heap cimport Heap, Rank, heap_add, heap_first, heap_free, heap_make, heap_move, heap_remove

cdef enum:
    SEED_STEP = 4096               # between two servers' numbers: more than one's points


cdef uint32_t common_divisor(uint32_t a, uint32_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef class Mapped(Balancer):
    """Base of the algorithms that use the map."""

    def __cinit__(self, *args, **options):
        cdef int i
        for i in range(self.count):
            self.divisor = common_divisor(self.divisor, self.choices[i].configured)
        self.divisor = max(1, self.divisor)

    def __dealloc__(self):
        free(self.map)

    cdef uint32_t parts(self, int index) noexcept:
        """Entries of a server. One that the file gives no weight has what it got at run time."""
        cdef uint32_t weight = self.choices[index].configured or self.choices[index].weight
        return (weight + self.divisor - 1) // self.divisor if self.choices[index].usable else 0

    cdef bint reserve(self, uint32_t total) noexcept:
        cdef int *map
        if total > self.room:
            map = <int *>realloc(self.map, total * sizeof(int))
            if map == NULL:
                return False                   # the old map still works
            self.map = map
            self.room = total
        return True

    cdef void rebuild(self) noexcept:
        """Each entry goes to the server with most whole turns owing, the first of equals."""
        cdef uint32_t total = 0
        cdef int i
        for i in range(self.count):
            total += self.parts(i)
        if not self.reserve(total):
            return
        if fill_map(self, self.map, total):
            self.total = total

    cdef int from_place(self, uint32_t at, const uint16_t *tried, int tried_count) noexcept:
        """The first open server from an entry on; `turn` is the entry behind it, maybe the end."""
        cdef uint32_t _
        for _ in range(self.total):
            if self.open_to(self.map[at], tried, tried_count):
                self.turn = at + 1
                return self.map[at]
            at = at + 1 if at + 1 < self.total else 0
        return PICK_NONE

    cdef int in_turn(self, const uint16_t *tried, int tried_count) noexcept:
        return self.from_place(self.turn if self.turn < self.total else 0, tried, tried_count)


cdef bint fill_map(Mapped farm, int *map, uint32_t total) noexcept:
    """Entry n: every server has got its weight n + 1 times, and paid `total` for each entry it has.
    What it owes is so many whole `total`s, below 1 it is not asked. Those that owe stand in a heap
    by (most, first in the file); when one will owe another whole stands in a heap by time. So an
    entry costs O(log servers), and not O(servers) as when all are looked at."""
    cdef Heap asked, later
    cdef Rank *ranks = <Rank *>calloc(2 * max(1, farm.count), sizeof(Rank))
    cdef Rank *times = ranks + max(1, farm.count)
    cdef int64_t *gains = <int64_t *>calloc(max(1, farm.count), sizeof(int64_t))
    cdef bint good = heap_make(&asked, farm.count)
    cdef uint32_t n
    cdef int i
    good = heap_make(&later, farm.count) and good and ranks != NULL and gains != NULL
    if good:
        for i in range(farm.count):
            if farm.parts(i):
                ranks[i].key = <uint64_t>-1 - 1        # owes one whole from the start
                ranks[i].stamp = i
                heap_add(&asked, ranks, i)
                gains[i] = 1
                times[i].key = gain_time(1, total, farm.parts(i))
                times[i].stamp = i
                heap_add(&later, times, i)
        for n in range(total):
            while later.size and times[heap_first(&later)].key <= n:
                i = heap_first(&later)
                gains[i] += 1
                times[i].key = gain_time(gains[i], total, farm.parts(i))
                heap_move(&later, times, i)
                ranks[i].key -= 1
                if ranks[i].key == <uint64_t>-1 - 1:
                    heap_add(&asked, ranks, i)
                else:
                    heap_move(&asked, ranks, i)
            i = heap_first(&asked)
            map[n] = i
            ranks[i].key += 1
            if ranks[i].key == <uint64_t>-1:
                heap_remove(&asked, ranks, i)
            else:
                heap_move(&asked, ranks, i)
    heap_free(&asked)
    heap_free(&later)
    free(ranks)
    free(gains)
    return good


cdef uint64_t gain_time(int64_t gains, uint32_t total, uint32_t weight) noexcept nogil:
    """The entry at which a server owes one whole more than `gains`, had it paid nothing."""
    return (<uint64_t>gains * total + weight - 1) // weight - 1


cdef class StaticRoundRobin(Mapped):
    """`balance static-rr`: one entry of the map after the other."""

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        return self.in_turn(tried, tried_count)


cdef class MapHash(Mapped):
    """`hash-type map-based`; a request without a key goes round robin."""

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef uint32_t turn = self.turn
        cdef int index
        if self.total == 0:
            return PICK_NONE
        if not key >> KEY_GIVEN_BIT:
            return self.in_turn(tried, tried_count)
        index = self.from_place(<uint32_t>key % self.total, tried, tried_count)
        self.turn = turn
        return index


cdef int by_place(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t *>a)[0], y = (<const uint64_t *>b)[0]
    return -1 if x < y else (1 if x > y else 0)


cdef class ConsistentHash(Balancer):
    """`hash-type consistent`."""

    def __cinit__(self, *args, list seeds=None, uint32_t balance_percent=0, **options):
        cdef int i, room = max(1, self.count)
        self.effective = <uint32_t *>calloc(room, sizeof(uint32_t))
        self.seeds = <uint32_t *>calloc(room, sizeof(uint32_t))
        self.before = <uint32_t *>calloc(room, sizeof(uint32_t))
        if self.effective == NULL or self.seeds == NULL or self.before == NULL:
            raise MemoryError
        for i in range(self.count):
            self.seeds[i] = (i + 1) * SEED_STEP if seeds is None else seeds[i]
        self.last = <uint32_t>-1               # the first request without a key goes to point 0
        self.balance_percent = balance_percent
        self.by_load = balance_percent > 0

    def __dealloc__(self):
        free(self.points)
        free(self.effective)
        free(self.seeds)
        free(self.before)

    cdef uint32_t wanted(self, int index) noexcept:
        """Points of a server now."""
        return self.choices[index].effective if self.choices[index].usable else 0

    cdef uint32_t kept(self, int index) noexcept:
        """Points of a server that stay. A point on the ring does not tell its number, so a server
        that has fewer now loses all and gets the others anew."""
        cdef uint32_t wanted = self.wanted(index)
        return self.effective[index] if wanted >= self.effective[index] else 0

    cdef void rebuild(self) noexcept:
        cdef uint32_t fresh = 0
        cdef bint same = self.points != NULL
        cdef int i
        self.total = 0
        for i in range(self.count):
            self.before[i] = self.total
            self.total += self.wanted(i)
            fresh += self.wanted(i) - self.kept(i)
            same = same and self.wanted(i) == self.effective[i]
        if not same:
            self.renew(self.total, fresh)

    cdef void renew(self, uint32_t size, uint32_t fresh) noexcept:
        """A ring from the old one's points that stay, in their order, and the fresh ones, which
        alone are sorted: of 1,000 servers one that comes does not cost a sort of all."""
        cdef uint64_t *points = <uint64_t *>malloc((size or 1) * sizeof(uint64_t))
        cdef uint64_t *news = <uint64_t *>malloc((fresh or 1) * sizeof(uint64_t))
        cdef uint32_t i, j = 0, n = 0
        cdef int index
        if points == NULL or news == NULL:
            free(points)
            free(news)
            return                             # the old ring still works
        for index in range(self.count):
            for i in range(self.kept(index), self.wanted(index)):
                news[n] = <uint64_t>avalanche(self.seeds[index] + i) << 32 | <uint32_t>index
                n += 1
        qsort(news, n, sizeof(uint64_t), by_place)
        n = 0
        for i in range(self.size):
            while j < fresh and news[j] < self.points[i]:
                points[n] = news[j]
                n += 1
                j += 1
            if self.kept(<int><uint32_t>self.points[i]):
                points[n] = self.points[i]
                n += 1
        while j < fresh:
            points[n] = news[j]
            n += 1
            j += 1
        free(news)
        free(self.points)
        self.points = points
        self.size = n
        for index in range(self.count):
            self.effective[index] = self.wanted(index)

    cdef uint32_t nearest(self, uint32_t hash) noexcept:
        """The point nearest to a hash; the one before it, if both are as near."""
        cdef uint64_t wanted = <uint64_t>hash << 32
        cdef uint32_t low = 0, left = self.size, half
        cdef uint32_t before
        while left:                            # first point at or behind the hash
            half = left // 2
            if self.points[low + half] < wanted:
                low += half + 1
                left -= half + 1
            else:
                left = half
        before = low - 1 if low else self.size - 1
        if low == self.size:
            low = 0
        if (hash - <uint32_t>(self.points[before] >> 32)
                <= <uint32_t>(self.points[low] >> 32) - hash):
            return before
        return low

    cdef bint within_bound(self, int index) noexcept:
        """Has a server less than its part of `balance_percent` of all requests, this one too?"""
        cdef uint64_t slots = ((self.served + 1) * self.balance_percent + 99) // 100
        cdef uint64_t rest = slots % self.total
        cdef uint64_t weight = self.effective[index], before = self.before[index]
        slots = weight * (slots // self.total)
        slots += (before + weight) * rest // self.total - before * rest // self.total
        self.moved(index)
        return self.choices[index].known < max(<uint64_t>1, slots)

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef uint32_t at, _
        cdef int index, open_ = PICK_NONE
        cdef bint given = key >> KEY_GIVEN_BIT != 0
        if self.size == 0:
            return PICK_NONE
        at = self.nearest(<uint32_t>key) if given else self.last + 1
        if self.by_load:
            self.sweep()
        for _ in range(self.size):
            if at >= self.size:
                at = 0
            index = <int><uint32_t>self.points[at]
            if self.open_to(index, tried, tried_count):
                if not given:
                    self.last = at
                if not (self.by_load and given) or self.within_bound(index):
                    return index
                if open_ < 0:
                    open_ = index              # above its part, but better than none
            at += 1
        return open_
