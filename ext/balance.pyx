"""The balancing algorithms by name; here those that compare loads, or draw.

Theory. `pick` (ext/farm.pyx) answers an index, or PICK_FULL (every usable server is at its
maxconn: the request queues), or PICK_NONE. Servers that the request has tried already are passed
over while another is usable.

    roundrobin, round_robin                   ext/turns.pyx    O(log servers)
    static-rr                                 ext/keyed.pyx    O(1)
    leastconn, least_outstanding_requests     here             O(log servers)
    first                                     here             O(full servers before it)
    random, weighted_random                   here             O(1) a draw
    map, consistent (source, uri, hdr ...)    ext/keyed.pyx    O(1), O(log points)

Orders are exact per worker and tested against HAProxy's. Called by: edge/worker.py makes one of a
tier; session (elb, haproxy, cdn) and upstream call it.
"""
import os

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from ext.farm cimport EFFECTIVE_MAX, PICK_NONE
from ext.heap cimport Heap, Rank, heap_add, heap_first, heap_free, heap_make, heap_move, heap_remove
from ext.keyed import ConsistentHash, MapHash, StaticRoundRobin
from ext.turns import RoundRobin


cdef class LeastConnections(Balancer):
    """Fewest requests in flight relative to weight (`balance leastconn`).

    A heap by (in flight + 1) * 256 / weight, idle servers by 0 whatever their weight; equals in
    the order in which their load last changed. So idle servers rotate, as at HAProxy. What other
    workers do is seen as ext/farm.pyx says.
    """

    cdef Heap heap
    cdef Rank *ranks
    cdef uint64_t stamp
    cdef int *passed               # scratch: servers taken out while looking for an open one
    cdef uint32_t *weights         # that the ranks were made with; 0 = has none

    def __cinit__(self, *args, **options):
        self.ranks = <Rank *>calloc(max(1, self.count), sizeof(Rank))
        self.passed = <int *>calloc(max(1, self.count), sizeof(int))
        self.weights = <uint32_t *>calloc(max(1, self.count), sizeof(uint32_t))
        if (self.ranks == NULL or self.passed == NULL or self.weights == NULL
                or not heap_make(&self.heap, self.count)):
            raise MemoryError
        self.by_load = True

    def __dealloc__(self):
        heap_free(&self.heap)
        free(self.ranks)
        free(self.passed)
        free(self.weights)

    cdef uint64_t cost(self, int index) noexcept:
        cdef uint64_t load = self.choices[index].known
        return (load + 1) * EFFECTIVE_MAX // self.choices[index].effective if load else 0

    cdef void rank(self, int index) noexcept:
        """Behind its equals."""
        self.stamp += 1
        self.ranks[index].stamp = self.stamp
        self.ranks[index].key = self.cost(index)

    cdef void rebuild(self) noexcept:
        """Who stays as it is keeps its place; who comes or changes goes behind its equals."""
        cdef uint32_t weight
        cdef int i
        self.heap.size = 0
        for i in range(self.count):
            self.choices[i].known = <uint32_t>self.load(i)
            weight = self.choices[i].effective if self.choices[i].usable else 0
            if weight and (weight != self.weights[i] or self.ranks[i].key != self.cost(i)):
                self.rank(i)
            if weight:
                heap_add(&self.heap, self.ranks, i)
            self.weights[i] = weight

    cdef void load_changed(self, int index) noexcept:
        if self.choices[index].usable:
            self.rank(index)
            heap_move(&self.heap, self.ranks, index)

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int index = PICK_NONE, found = PICK_NONE, passed = 0, looks = 2 * self.count
        cdef uint64_t stamp
        self.sweep()
        while self.heap.size:
            index = heap_first(&self.heap)
            stamp = self.ranks[index].stamp
            self.moved(index)
            looks -= 1
            if self.ranks[index].stamp != stamp and looks > 0:
                continue                       # it was not what it seemed: who is first now?
            if self.open_to(index, tried, tried_count):
                found = index
                break
            heap_remove(&self.heap, self.ranks, index)
            self.passed[passed] = index
            passed += 1
        while passed:
            passed -= 1
            heap_add(&self.heap, self.ranks, self.passed[passed])
        if found >= 0:
            self.rank(found)
            heap_move(&self.heap, self.ranks, found)
        return found


cdef class FirstFree(Balancer):
    """The first server in the file that has room (`balance first`); weights do not count."""

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int i
        for i in range(self.count):
            if self.open_to(i, tried, tried_count):
                return i
        return PICK_NONE


cdef class Random(Balancer):
    """So many draws by weight, the least loaded wins (`balance random`; Mitzenmacher 2001).

    Deviates from HAProxy, which draws a place on the hash ring: here each share is exactly its
    weight's. Draws that do not find room are repeated by looking at the servers behind.
    """

    cdef uint64_t state            # xorshift64*, seeded by the kernel
    cdef uint32_t *ends            # sum of the weights up to each server
    cdef int *guide                # by draw: where to begin to look for its server
    cdef int draws

    def __cinit__(self, *args, int draws=2, **options):
        self.ends = <uint32_t *>calloc(max(1, self.count), sizeof(uint32_t))
        self.guide = <int *>calloc(max(1, self.count), sizeof(int))
        if self.ends == NULL or self.guide == NULL:
            raise MemoryError
        self.draws = draws
        self.state = int.from_bytes(os.urandom(8), "little") | 1

    def __dealloc__(self):
        free(self.ends)
        free(self.guide)

    cdef void rebuild(self) noexcept:
        """The sums, and as many equal parts of their range as there are servers: a draw in a part
        begins to look at the first server that reaches into it, and finds its own in two steps."""
        cdef uint64_t total = 0
        cdef int i, part = 0
        for i in range(self.count):
            if self.choices[i].usable:
                total += self.choices[i].effective
            self.ends[i] = <uint32_t>total
        for i in range(self.count):
            while part < self.count and part * total < self.ends[i] * <uint64_t>self.count:
                self.guide[part] = i
                part += 1

    cdef uint64_t draw(self) noexcept:
        """32 bits."""
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return self.state * 0x2545F4914F6CDD1DULL >> 32

    cdef int draw_server(self, const uint16_t *tried, int tried_count) noexcept:
        """A server by weight, or the next open one behind it."""
        cdef uint64_t random = self.draw()
        cdef uint32_t drawn = <uint32_t>(random * self.ends[self.count - 1] >> 32)
        cdef int at = self.guide[random * <uint64_t>self.count >> 32], _
        while self.ends[at] <= drawn:
            at += 1
        for _ in range(self.count):
            if self.open_to(at, tried, tried_count):
                return at
            at = at + 1 if at + 1 < self.count else 0
        return PICK_NONE

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int best = self.draw_server(tried, tried_count), other, _
        if best < 0:
            return best
        for _ in range(1, self.draws):
            other = self.draw_server(tried, tried_count)
            if other >= 0 and other != best and (self.load(other) * self.choices[best].effective
                                                 < self.load(best) * self.choices[other].effective):
                best = other
        return best


# By the first word of `balance`; the hashes (source, uri, hdr, url_param) by their `hash-type`.
BALANCERS = {
    "roundrobin": RoundRobin,
    "round_robin": RoundRobin,
    "static-rr": StaticRoundRobin,
    "leastconn": LeastConnections,
    "least_outstanding_requests": LeastConnections,
    "first": FirstFree,
    "random": Random,
    "weighted_random": Random,
    "map-based": MapHash,
    "consistent": ConsistentHash,
}
