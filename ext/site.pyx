"""What the connections of one worker share: loop, clock, scratch memory, free blocks, who is there.

Ownership: scratch (`request`, `answer`, `out`) belongs to whoever runs, until it returns to the
event loop or waits; a Block is owned by one session from `take_block` to `give_block`.
`Site.first` is a list of all client connections, walked only when the worker drains.

Followers: sessions that wait for something of the cache that another request fetches, maybe in
another worker. Whoever moves it writes to the store's eventfd; every worker has that in an epoll
set of its own, edge-triggered since nobody may read it empty for the others, and looks at its
followers then.
"""
import email.utils
import select
import time

from libc.stdlib cimport free, malloc

from ext.limits cimport BLOCK_BYTES, FIELDS_MAX, HEAD_BYTES_MAX
from ext.live cimport EDGE_LIVE_ADD, EDGE_LIVE_SUB
from ext.timers cimport now_ms


cdef class Member(Trip):
    """A client connection that is in the worker's list."""

    cdef int on_drain(self) except -1:
        return 0

    cdef int on_moved(self) except -1:
        """What this one follows may have moved."""
        return 0


cdef class Site:
    """One worker's shared things."""

    def __cinit__(self, loop, Arena arena not None):
        self.loop = loop
        self.arena = arena
        self.wheel = Wheel()
        self.readiness = Readiness(loop)
        self.edits = Edits()
        # A node's head may be as large as the largest that a client may send.
        self.answer_limits.header_bytes = HEAD_BYTES_MAX
        self.answer_limits.header_count = FIELDS_MAX
        self.scratch(BLOCK_BYTES)
        at_least(&self.stored, BLOCK_BYTES)
        self.followers = set()
        self.fetchers = set()
        self.tell_date()

    def __dealloc__(self):
        cdef Block *block
        while self.blocks != NULL:
            block = self.blocks
            self.blocks = block.next
            free_block(block)
        free(self.out.data)
        free(self.tail.data)
        free(self.key.data)
        free(self.stored.data)
        free(self.edited.data)
        free(self.spare.data)

    @property
    def parts(self):
        """(wheel, readiness set) for the servers of this worker."""
        return self.wheel, self.readiness

    def start(self, Store store=None):
        """Read whatever is ready, from now on. `store`: of the cdn tier, if there is one."""
        self.loop.add_reader(self.readiness.fd, self.readiness.on_ready)
        if store is not None:
            self.moved = select.epoll()
            self.moved.register(store.wake_fd, select.EPOLLIN | select.EPOLLET)
            self.loop.add_reader(self.moved.fileno(), self.on_moved)

    def on_moved(self):
        """Something that is followed, here or by another worker, has moved."""
        self.moved.poll(0)
        for member in list(self.followers):
            try:
                (<Member>member).on_moved()
            except Exception as error:
                # One follower ends; the others are still to be told.
                self.loop.call_exception_handler({
                    "message": "exception in a follower", "exception": error, "protocol": member})
                (<Member>member).on_failed()

    def tick(self):
        """Advance the timers; the worker calls it every TICK_MS."""
        self.wheel.advance(now_ms())

    def tell_date(self):
        """Renew the Date field; the worker calls it every second."""
        self.date = f"Date: {email.utils.formatdate(time.time(), usegmt=True)}\r\n".encode()

    def drain(self):
        """Take no further request on any connection: the running ones end with `close`."""
        cdef Member member = self.first
        self.draining = True
        while member is not None:
            member.on_drain()
            member = member.next

    cdef void join(self, Member member):
        member.joined = True
        member.next = self.first
        if self.first is not None:
            self.first.prev = member
        self.first = member
        self.sessions += 1

    cdef void quit(self, Member member):
        if not member.joined:
            return
        member.joined = False
        if member.next is not None:
            member.next.prev = member.prev
        if member.prev is not None:
            member.prev.next = member.next
        else:
            self.first = member.next
        member.next = None
        member.prev = None
        self.sessions -= 1

    cdef Block *take_block(self, uint32_t room) except NULL:
        """A block of at least `room` bytes, with size 0."""
        cdef Block *block = self.blocks
        if room <= BLOCK_BYTES and block != NULL:
            self.blocks = block.next
        else:
            block = <Block *>malloc(sizeof(Block))
            if block == NULL:
                raise MemoryError
            block.room = room if room > BLOCK_BYTES else BLOCK_BYTES
            block.data = <char *>malloc(block.room)
            if block.data == NULL:
                free(block)
                raise MemoryError
            EDGE_LIVE_ADD("block")
            self.blocks_made += 1
        block.size = 0
        return block

    cdef void give_block(self, Block *block) noexcept:
        if block.room > BLOCK_BYTES:
            free_block(block)
            self.blocks_made -= 1
        else:
            block.next = self.blocks
            self.blocks = block

    cdef char *scratch(self, uint32_t room) except NULL:
        """Scratch for a head to a client: at least `room` bytes, valid until the next call."""
        return at_least(&self.out, room)


cdef char *at_least(Scratch *scratch, uint32_t room) except NULL:
    """The scratch memory with room for so many bytes; what was in it may be gone."""
    if room > scratch.room:
        free(scratch.data)
        scratch.room = 0
        scratch.data = <char *>malloc(room)
        if scratch.data == NULL:
            raise MemoryError
        scratch.room = room
    return scratch.data


cdef void free_block(Block *block) noexcept:
    free(block.data)
    free(block)
    EDGE_LIVE_SUB("block")


cdef class Entry:
    """Where the requests of one listener enter the chain; called, it makes a session."""

    def __init__(self, Site site, object make, Recipe recipe, *, Tier cdn=None, Tier elb=None,
                 Tier haproxy=None, Recipe asking=None, Recipe own=None,
                 uint32_t front_ms=0xFFFFFFFF, Cache cache=None, HashKey elb_key=None,
                 HashKey haproxy_key=None, uint32_t answer_ms, uint32_t between_ms,
                 int answer_kind, list outer):
        self.site = site
        self.make = make
        self.recipe = recipe
        self.asking = recipe if asking is None else asking
        self.own = own
        self.front_ms = front_ms
        self.cdn = cdn
        self.elb = elb
        self.haproxy = haproxy
        self.cache = cache
        self.elb_key = elb_key
        self.haproxy_key = haproxy_key
        self.tier = cdn if cdn is not None else (elb if elb is not None else haproxy)
        self.answer_ms = answer_ms
        self.between_ms = between_ms
        self.answer_kind = answer_kind
        self.outer = outer

    def expect_proxy(self, ProxyPeers peers):
        """Connections of `peers` begin with a PROXY header."""
        self.proxy = peers

    def __call__(self):
        return self.make(self)
