"""Balancing: smooth weighted round robin, least connections, consistent hash, random of two.

Theory. A balancer sees its servers as an array of `Choice` and re-reads their states from the arena
only when the arena's epoch has moved, so an unchanged farm costs one load per pick. `pick`
answers an index, or PICK_FULL (every usable server is at its maxconn: the request queues), or
PICK_NONE. Servers that the request has already tried are passed over while another is usable.
Backup servers take part only when no active server is usable: the first of them, as HAProxy
does. In-flight counts are summed over the workers' rows.

Called by: session (steps elb, haproxy). Orders are exact per worker and tested against HAProxy's.
"""
import os

from libc.stdlib cimport calloc, free, malloc, qsort

from ext.arena cimport SC_IN_FLIGHT, ServerSlot, edge_load32, edge_load64

cdef enum:
    SMALL_FARM = 64                # servers; up to here a ring has many points for even shares
    POINTS_SMALL_FARM = 160        # per unit of weight: shares within a few per cent
    POINTS_LARGE_FARM = 16         # as HAProxy has it; 1,000 servers: sorted in 2 ms


cdef uint64_t hash_bytes(const char *p, uint32_t n) noexcept nogil:
    """64-bit FNV-1a with a final mix, so that short keys spread over all bits."""
    cdef uint64_t h = 14695981039346656037ULL
    cdef uint32_t i
    for i in range(n):
        h = (h ^ <unsigned char>p[i]) * 1099511628211ULL
    return mix(h)


cdef inline uint64_t mix(uint64_t h) noexcept nogil:
    h ^= h >> 33
    h *= 0xFF51AFD7ED558CCDULL
    h ^= h >> 33
    h *= 0xC4CEB9FE1A85EC53ULL
    return h ^ (h >> 33)


cdef class Balancer:
    """Base: states, loads, and who is open. `servers` is a list of (slot, maxconn, backup)."""

    def __cinit__(self, Arena arena not None, int row, list servers, bint fail_open=False):
        self.arena = arena
        self.row = row
        self.count = len(servers)
        self.fail_open = fail_open
        self.choices = <Choice *>calloc(max(1, self.count), sizeof(Choice))
        if self.choices == NULL:
            raise MemoryError
        for i, (slot, maxconn, backup) in enumerate(servers):
            self.choices[i].slot = slot
            self.choices[i].maxconn = maxconn
            self.choices[i].backup = bool(backup)
        self.epoch = <uint64_t>-1

    def __dealloc__(self):
        free(self.choices)

    cdef uint64_t load(self, int index) noexcept:
        """Requests in flight at a server, over all workers."""
        cdef uint64_t sum = 0
        cdef int row, slot = self.choices[index].slot
        for row in range(<int>self.arena.head.rows):
            sum += self.arena.server_cells(row, slot)[SC_IN_FLIGHT]
        return sum

    cdef void refresh(self) noexcept:
        """Read states and weights again if the epoch has moved."""
        cdef uint64_t epoch = edge_load64(&self.arena.head.epoch)
        cdef int i, backup = -1
        cdef Choice *c
        cdef ServerSlot *s
        cdef bint up
        if epoch == self.epoch:
            return
        self.epoch = epoch
        self.usable = 0
        for i in range(self.count):
            c = &self.choices[i]
            s = &self.arena.servers[c.slot]
            c.weight = edge_load32(&s.weight)
            up = edge_load32(&s.state) == 0 and edge_load32(&s.admin) == 0 and c.weight > 0
            c.usable = up and not c.backup
            self.usable += c.usable
            if up and c.backup and backup < 0:
                backup = i
        if self.usable == 0 and backup >= 0:
            self.choices[backup].usable = 1
            self.usable = 1
        if self.usable == 0 and self.fail_open:
            for i in range(self.count):
                c = &self.choices[i]
                c.usable = edge_load32(&self.arena.servers[c.slot].admin) == 0 and c.weight > 0
                self.usable += c.usable
        self.rebuild()

    cdef void rebuild(self) noexcept:
        """The set of usable servers or a weight has changed."""

    cdef bint open_to(self, int index, const uint16_t *tried, int tried_count) noexcept:
        """May this request go to that server now?"""
        cdef int i
        cdef Choice *c = &self.choices[index]
        if not c.usable:
            return False
        for i in range(tried_count):
            if tried[i] == index:
                return False
        return c.maxconn == 0 or self.load(index) < c.maxconn

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        """The algorithm: an index of an open server, or PICK_NONE."""
        return PICK_NONE

    cdef int pick(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        """Index of the server for a request, PICK_FULL or PICK_NONE."""
        cdef int index
        self.refresh()
        if self.usable == 0:
            return PICK_NONE
        index = self.choose(key, tried, tried_count)
        if index < 0 and tried_count:
            index = self.choose(key, NULL, 0)  # all have been tried: any is better than none
        return index if index >= 0 else PICK_FULL

    def pick_for_test(self, uint64_t key=0, tried=()):
        cdef uint16_t array[16]
        for i, index in enumerate(tried):
            array[i] = index
        return self.pick(key, array, len(tried))


cdef class RoundRobin(Balancer):
    """Smooth weighted round robin with HAProxy's order (`balance roundrobin`).

    Virtual positions: a server of weight w out of W in all has a turn every W / w positions (the
    remainder is carried). At each position the server whose turn is due goes; when no turn is
    due, the heaviest server that has had none yet fills the hole. 3:2:1 gives a b a c a b.
    """

    cdef int64_t now               # position
    cdef uint32_t total            # weight of the usable servers

    cdef void rebuild(self) noexcept:
        cdef int i
        self.total = 0
        self.now = 0
        for i in range(self.count):
            self.choices[i].placed = 0
            self.choices[i].position = 0
            self.choices[i].remainder = 0
            if self.choices[i].usable:
                self.total += self.choices[i].weight

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int i, due = -1, fresh = -1
        cdef Choice *c
        cdef Choice *best
        for i in range(self.count):
            if not self.open_to(i, tried, tried_count):
                continue
            c = &self.choices[i]
            if not c.placed:
                if fresh < 0 or c.weight > self.choices[fresh].weight:
                    fresh = i
            elif due < 0:
                due = i
            else:
                best = &self.choices[due]
                if c.position < best.position or (c.position == best.position
                                                  and c.weight > best.weight):
                    due = i
        if fresh >= 0 and (due < 0 or self.choices[due].position > self.now):
            due = fresh
        if due < 0:
            return PICK_NONE
        self.take_turn(&self.choices[due])
        return due

    cdef void take_turn(self, Choice *c) noexcept:
        if not c.placed:
            c.placed = 1
            c.position = self.now
        elif c.position < self.now - <int64_t>self.total:
            c.position = self.now              # was full for a whole round: no burst afterwards
        elif c.position > self.now + <int64_t>self.total:
            c.position = self.now + <int64_t>self.total    # stood in for others: no debt either
        c.position += self.total // c.weight
        c.remainder += self.total % c.weight
        if c.remainder >= c.weight:
            c.remainder -= c.weight
            c.position += 1
        self.now += 1
        # A full round of W positions brings every server back to its start.
        if self.now >= self.total:
            self.wrap()

    cdef void wrap(self) noexcept:
        cdef int i
        self.now -= self.total
        for i in range(self.count):
            if self.choices[i].placed:
                self.choices[i].position -= self.total


cdef class LeastConnections(Balancer):
    """Fewest requests in flight relative to weight; idle servers rotate (`balance leastconn`)."""

    cdef int last

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int i, index, best = -1
        cdef uint64_t load, cost, least = 0
        for i in range(1, self.count + 1):
            index = (self.last + i) % self.count
            if not self.open_to(index, tried, tried_count):
                continue
            load = self.load(index)
            cost = 0 if load == 0 else (load + 1) * 256 // self.choices[index].weight
            if best < 0 or cost < least:
                best = index
                least = cost
        if best >= 0:
            self.last = best
        return best

    def __init__(self, *args, **options):
        self.last = self.count - 1


cdef struct Point:
    uint64_t at
    int index


cdef int by_place(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const Point *>a).at, y = (<const Point *>b).at
    return -1 if x < y else (1 if x > y else 0)


cdef class ConsistentHash(Balancer):
    """A ring of points per server, as many as its weight asks (Karger et al., STOC 1997).

    Used for `source` and `uri`: a key goes to the first point at or after its hash, so that a lost
    server moves only its own keys. All servers stay on the ring; those that are not open are
    passed over, which is the same as taking them off.
    """

    cdef Point *ring
    cdef int points
    cdef uint64_t weights          # hash of the weights that the ring was built for

    def __dealloc__(self):
        free(self.ring)

    cdef void rebuild(self) noexcept:
        cdef int i, j, n = 0, most
        cdef uint64_t weights = 14695981039346656037ULL, name
        cdef Point *ring
        for i in range(self.count):
            weights = mix(weights ^ self.choices[i].weight)
        if weights == self.weights and self.ring != NULL:
            return
        for i in range(self.count):
            n += self.ring_points(i)
        ring = <Point *>malloc(max(1, n) * sizeof(Point))
        if ring == NULL:
            return                             # the old ring still works
        n = 0
        for i in range(self.count):
            # Points depend on the server's name alone, so every worker and machine agrees.
            name = slot_hash(self.arena, self.choices[i].slot)
            most = self.ring_points(i)
            for j in range(most):
                ring[n].at = mix(name + <uint64_t>j * 0x9E3779B97F4A7C15ULL)
                ring[n].index = i
                n += 1
        qsort(ring, n, sizeof(Point), by_place)
        free(self.ring)
        self.ring = ring
        self.points = n
        self.weights = weights

    cdef int ring_points(self, int index) noexcept:
        """Points of a server. They depend on its own weight alone, so that a change of one weight
        moves keys only to or from that server."""
        cdef int each = POINTS_SMALL_FARM if self.count <= SMALL_FARM else POINTS_LARGE_FARM
        return each * <int>self.choices[index].weight

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int low = 0, high = self.points, middle, i, index
        if self.points == 0:
            return PICK_NONE
        while low < high:
            middle = (low + high) // 2
            if self.ring[middle].at < key:
                low = middle + 1
            else:
                high = middle
        for i in range(self.points):
            index = self.ring[(low + i) % self.points].index
            if self.open_to(index, tried, tried_count):
                return index
        return PICK_NONE


cdef uint64_t slot_hash(Arena arena, int slot) noexcept:
    cdef const char *name = arena.servers[slot].name
    cdef uint32_t n = 0
    while name[n]:
        n += 1
    return hash_bytes(name, n)


cdef class RandomOfTwo(Balancer):
    """Two draws by weight, the less loaded wins (Mitzenmacher 2001; `balance random(2)`)."""

    cdef uint64_t state            # xorshift64*, seeded by the kernel
    cdef uint32_t total

    def __init__(self, *args, **options):
        self.state = int.from_bytes(os.urandom(8), "little") | 1

    cdef void rebuild(self) noexcept:
        cdef int i
        self.total = 0
        for i in range(self.count):
            if self.choices[i].usable:
                self.total += self.choices[i].weight

    cdef uint64_t draw(self) noexcept:
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return (self.state * 0x2545F4914F6CDD1DULL) >> 16

    cdef int draw_server(self, const uint16_t *tried, int tried_count) noexcept:
        """A usable server by weight, or the next open one after it."""
        cdef int64_t left = <int64_t>(self.draw() % self.total)
        cdef int i, at = 0
        for i in range(self.count):
            if self.choices[i].usable:
                left -= self.choices[i].weight
                if left < 0:
                    at = i
                    break
        for i in range(self.count):
            if self.open_to((at + i) % self.count, tried, tried_count):
                return (at + i) % self.count
        return PICK_NONE

    cdef int choose(self, uint64_t key, const uint16_t *tried, int tried_count) noexcept:
        cdef int a = self.draw_server(tried, tried_count), b
        if a < 0:
            return a
        b = self.draw_server(tried, tried_count)
        if self.load(a) * self.choices[b].weight <= self.load(b) * self.choices[a].weight:
            return a
        return b


BALANCERS = {
    "roundrobin": RoundRobin,
    "round_robin": RoundRobin,
    "leastconn": LeastConnections,
    "least_outstanding_requests": LeastConnections,
    "source": ConsistentHash,
    "uri": ConsistentHash,
    "random": RandomOfTwo,
    "weighted_random": RandomOfTwo,
}
