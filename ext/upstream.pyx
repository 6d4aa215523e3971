"""Tiers, servers, queues, kept connections, connects.

Theory. A server keeps the connections that are provably clean: request fully sent, answer fully
read, no byte left over, no close seen. The newest is taken first, so that the surplus ages and is
closed. Anything that arrives on an idle connection, bytes or FIN, ends it. A connect is the slow
path and ordinary asyncio; who waits for it may leave (time-out, client gone), then the new
connection is kept for the next request.

Queues: as in HAProxy a tier has one for requests that any server may take, and each server one for
those that belong to it (persistence, a retry at the same place). A freed slot goes to whoever is
first in the two. `maxqueue` bounds a server's own queue only.

A kept connection may be closed by its server at any moment, which a request that cannot be repeated
would not survive; so under `http_reuse: safe` such a request never rides one as the first of its
client's connection (its client could not know that it may try again), and later ones look first
whether it is open. Half of the connections that nobody has needed since the last look are closed
each `pool_purge_delay`.

Ownership: `Server.idle` owns kept connections; an Exchange owns the one it uses, both refer to each
other and both ends are cut in `session.let_go` / `on_lost`.
"""
import asyncio
import errno as errors
import socket

from ext.arena cimport (SC_CONNECTS, SC_CONNECT_ERRORS, SC_CONNECTIONS_OPEN, SC_CONNECTIONS_IDLE,
                        SC_IN_FLIGHT, SC_QUEUED, SC_REUSES, TC_QUEUED, ServerSlot, edge_add32,
                        edge_fence, edge_load32, edge_load64, edge_store32, may_persist)
from ext.limits cimport ADDRESS_BYTES_MAX, TICK_MS
from ext.observe cimport LAYER_NONE, LAYER_7, Observed, observe as count_sign
from ext.queue cimport goes_before
from ext.retry cimport ON_SOME_STATUS, Failure, RetryOn
from ext.stream cimport keep
from ext.timers cimport now_ms

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    int MSG_PEEK
    int MSG_DONTWAIT
from libc.errno cimport errno, EAGAIN
from libc.string cimport memcpy


CONNECT_SLACK_S = 0.5
cdef enum:
    YIELD_MS = 2 * TICK_MS         # so long a worker may keep a server's only slot to itself
    READS_MAX = 1000               # looks at an address that is being written
LOCAL_SHORTAGES = frozenset({errors.EMFILE, errors.ENFILE, errors.ENOBUFS, errors.ENOMEM,
                             errors.EADDRNOTAVAIL})
REUSES = {"never": REUSE_NEVER, "safe": REUSE_SAFE, "aggressive": REUSE_AGGRESSIVE,
          "always": REUSE_ALWAYS}


cdef uint32_t surplus(uint32_t used, uint32_t idle, uint32_t used_max,
                      uint32_t expected) noexcept nogil:
    """How many kept connections HAProxy's purge closes: half of those beyond what was needed at
    once since the last purge, or was expected then."""
    cdef int64_t exceeding = <int64_t>used + idle - max(used_max, expected)
    return min(<uint32_t>(exceeding // 2 + (exceeding & 1)), idle) if exceeding > 0 else 0


def surplus_for_test(uint32_t used, uint32_t idle, uint32_t used_max, uint32_t expected):
    return surplus(used, idle, used_max, expected)


cdef class Exchange(Waiter):
    """The side of a client session that its server's connection sees."""

    cdef int on_slot(self) except -1:
        return 0

    cdef int on_connected(self, NodeConnection node) except -1:
        return 0

    cdef int on_connect_failed(self, int failure) except -1:
        return 0

    cdef int on_answer(self, char *p, uint32_t n) except -1:
        return 0

    cdef int on_answer_end(self, bint reset) except -1:
        return 0

    cdef int on_node_writable(self) except -1:
        return 0


cdef class Tier:
    """One tier's settings as ready values; `options` as edge/worker.py builds them."""

    def __init__(self, str name, int kind, Arena arena, int row, int slot, dict options):
        self.name = name
        self.kind = kind
        self.slot = slot
        self.cells = arena.tier_cells(row, slot)
        self.servers = []
        self.arena = arena
        self.queue = Queue()
        self.queue.gauge = &self.cells[TC_QUEUED]
        self.queue.total = &self.queued
        limits = options["limits"]
        self.request_limits.request_line_bytes = limits["request_line_bytes"]
        self.request_limits.header_bytes = limits["header_bytes"]
        self.request_limits.header_count = limits["header_count"]
        self.body_bytes_max = limits["body_bytes"]
        self.extension_bytes_max = limits["chunk_extension_bytes"]
        self.trailer_bytes_max = limits["trailer_bytes"]
        timeouts = options["timeouts_ms"]
        self.connect_ms = timeouts["connect"]
        self.client_ms = timeouts["client"]
        self.server_ms = timeouts["server"]
        self.http_request_ms = timeouts["http_request"]
        self.keep_alive_ms = timeouts["http_keep_alive"]
        self.queue_ms = timeouts["queue"]
        self.tunnel_ms = timeouts["tunnel"]
        self.retries = options["retries"]
        self.redispatch_after = options["redispatch"]
        self.is_hash = options["is_hash"]
        self.retry_on = options["retry_on"]
        self.retry_unsafe = options["retry_unsafe"]
        self.observing.layer = options["observe"]
        self.observing.limit = options["error_limit"]
        self.observing.marks_down = options["marks_down"]
        self.heeds_status = (self.observing.layer == LAYER_7
                             or (self.retry_on & ON_SOME_STATUS) != 0)
        self.reuse = REUSES[options["reuse"]]
        self.fullconn = options["fullconn"]
        self.purge_ms = options["purge_ms"]
        self.retry_after_s = options["retry_after_s"]
        self.error_limit = options["error_limit"]
        self.idle_max = options["idle_max"]
        self.idle_ms = options["idle_ms"]
        self.connections_max = options["connections_max"]

    def wire(self, Balancer balancer, list servers, Tier next_):
        """Second half of construction, when all tiers exist."""
        cdef Server server
        self.balancer = balancer
        self.servers = servers
        self.next = next_
        balancer.tier_slot = self.slot
        balancer.fullconn = self.fullconn
        for server in servers:
            balancer.choices[server.index].minconn = server.minconn

    def balance_as_alb(self, Stickiness sticky, int desync_mode, bint other_protocol):
        """What an Application Load Balancer does beyond picking; `sticky` None: no stickiness."""
        self.sticky = sticky
        self.desync_mode = desync_mode
        self.other_protocol = other_protocol

    def keep_clients(self, Cookie cookie not None):
        """Clients that bring this cookie go to its server."""
        self.cookie = cookie

    def judge_by(self, rules, HashKey key, int default_backend=-1):
        """The rules of this tier (None: it has none, but its frontend has) and its key; of a
        frontend with the number of its default backend."""
        self.rules = rules
        self.key = key
        self.default_backend = default_backend

    def close_idle(self):
        """Close every kept connection; at the end of a drain."""
        cdef Server server
        for server in self.servers:
            server.drop_idle()

    def poll(self):
        """Each tick: heed what control has changed, and wake waiting requests while other workers
        have freed slots."""
        cdef uint64_t now = now_ms()
        cdef Server server
        if edge_load64(&self.arena.head.epoch) != self.epoch:
            self.look_at_servers()
        if self.purge_ms and now >= self.purge_due_ms:
            self.purge_idle(now)
        if self.queued == 0 or now - self.yielded_ms < TICK_MS + TICK_MS // 2:
            return                             # a slot was left to others: their tick comes first
        self.wake_all(self.queue)
        for server in self.servers:
            if server.queue.size:
                self.wake_all(server.queue)

    def wake_all(self, Queue queue):
        """Give turns to who waits there, until one finds nothing free."""
        cdef uint32_t waiting = queue.size, before
        while waiting and queue.size:
            waiting -= 1
            before = queue.size
            (<Exchange>queue.take()).on_slot()
            if queue.size >= before:           # it queued again
                break

    cdef int look_at_servers(self) except -1:
        """Server states or addresses have changed: connections to an old address are for nobody,
        and who waits for a server that is gone may get another one."""
        cdef Server server
        cdef uint32_t waiting
        self.epoch = edge_load64(&self.arena.head.epoch)
        for server in self.servers:
            if edge_load32(&self.arena.servers[server.slot].moves) != server.moves:
                server.read_address()
            if server.queue.size and not server.is_up():
                waiting = server.queue.size
                while waiting and server.queue.size:
                    waiting -= 1
                    (<Exchange>server.queue.take()).on_slot()
        return 0

    cdef int purge_idle(self, uint64_t now) except -1:
        """Close half of the kept connections that are not needed."""
        cdef Server server
        cdef NodeConnection node
        cdef uint32_t used, closing
        self.purge_due_ms = now + self.purge_ms
        for server in self.servers:
            used = <uint32_t>(server.cells[SC_CONNECTIONS_OPEN] - server.idle_count)
            closing = surplus(used, server.idle_count, server.used_max, server.used_expected)
            server.used_expected = max((server.used_expected + server.used_max) // 2,
                                       server.used_max)
            server.used_max = used
            while closing and server.idle_last is not None:
                closing -= 1
                node = server.idle_last
                server.unlink(node)
                node.close()
        return 0

    cdef int enqueue(self, Exchange exchange, Server bound, bint again) except -1:
        """Wait for a slot of any server, or of `bound`. `again`: at the place of the last time."""
        return (self.queue if bound is None else bound.queue).put(exchange, now_ms(), again)

    cdef int dequeue(self, Exchange exchange) except -1:
        """A request leaves its queue without its turn."""
        return exchange.queue.remove(exchange)

    cdef int wake(self, Server freed=None) except -1:
        """Give the turn to the first request that waits, for `freed` or for any. One that ends at
        once frees its slot again inside its turn: that is a loop here, not a recursion."""
        cdef Waiter own, any_
        if self.waking:
            self.wake_again = True
            return 0
        self.waking = True
        try:
            self.wake_again = True
            while self.wake_again and self.queued:
                self.wake_again = False
                any_ = self.queue.first()
                own = None if freed is None else freed.queue.first()
                if own is None or (any_ is not None and goes_before(any_, own)):
                    own = any_
                if own is None:
                    break
                (<Exchange>own.queue.take()).on_slot()
        finally:
            self.waking = False
        return 0


cdef class Server:
    """One server of a tier, as one worker sees it."""

    def __init__(self, str name, Tier tier, Arena arena, int row, int slot, int index,
                 str host, int port, int maxconn, Tier next_tier, object loop, Wheel wheel,
                 Readiness readiness, *, uint32_t minconn=0, uint32_t maxqueue=0):
        self.name = name
        self.tier = tier
        self.arena = arena
        self.row = row
        self.slot = slot
        self.index = index
        self.cells = arena.server_cells(row, slot)
        self.host = host
        self.port = port
        self.set_host = host
        self.set_port = port
        self.maxconn = maxconn
        self.minconn = minconn
        self.maxqueue = maxqueue
        self.queue = Queue()
        self.queue.gauge = &self.cells[SC_QUEUED]
        self.queue.total = &tier.queued
        self.shutdowns = edge_load32(&arena.servers[slot].shutdowns)
        self.next_tier = next_tier
        self.loop = loop
        self.wheel = wheel
        self.readiness = readiness
        self.read_address()

    # -- slots ---------------------------------------------------------------------------------

    cdef bint take(self) noexcept:
        """Count a request in. False when that would pass maxconn: nothing is counted then.

        Add first, then look: two workers that race for the last slot may both step back and
        queue, but never both pass.
        """
        cdef uint32_t limit = self.tier.balancer.limit(self.index)
        self.cells[SC_IN_FLIGHT] += 1
        if limit:
            edge_fence()
            if self.tier.balancer.load(self.index) > limit:
                self.cells[SC_IN_FLIGHT] -= 1
                return False
        if self.tier.balancer.by_load:
            self.tier.balancer.moved(self.index)
        return True

    cdef int give_back(self) except -1:
        """Count a request out, and let a waiting one in."""
        self.cells[SC_IN_FLIGHT] -= 1
        if self.tier.balancer.by_load:
            self.tier.balancer.moved(self.index)
        if self.tier.queued and not (self.tier.balancer.limit(self.index)
                                     and self.others_starve()):
            self.tier.wake(self)
        return 0

    cdef bint has_no_room(self) noexcept:
        """No slot, and as many who wait for one as `maxqueue` allows, in all workers together?"""
        cdef uint64_t waiting = 0
        cdef uint32_t limit
        cdef int row
        if self.maxqueue == 0:
            return False
        limit = self.tier.balancer.limit(self.index)
        if limit == 0 or (self.queue.size == 0
                          and self.tier.balancer.load(self.index) < limit):
            return False
        for row in range(<int>self.arena.head.rows):
            waiting += self.arena.server_cells(row, self.slot)[SC_QUEUED]
        return waiting >= self.maxqueue

    cdef bint is_up(self) noexcept:
        """May requests that belong to the server go there? Draining does not forbid it."""
        return may_persist(&self.arena.servers[self.slot])

    cdef bint others_starve(self) noexcept:
        """Do requests of other workers wait while this one has every slot? Then a freed slot is
        left to them now and then: they look for it every tick, and so does our own queue."""
        cdef uint64_t queued = 0, served = 0, now = now_ms()
        cdef int row
        if now - self.yielded_ms < YIELD_MS:
            return False
        for row in range(<int>self.arena.head.rows):
            if row != self.row:
                queued += self.arena.tier_cells(row, self.tier.slot)[TC_QUEUED]
                queued += self.arena.server_cells(row, self.slot)[SC_QUEUED]
                served += self.arena.server_cells(row, self.slot)[SC_IN_FLIGHT]
        if queued == 0 or served:
            return False
        self.yielded_ms = now
        self.tier.yielded_ms = now
        return True

    # -- kept connections ----------------------------------------------------------------------

    cdef NodeConnection checkout(self, bint first, bint repeatable, uint64_t owner):
        """The newest kept connection that the request may use, or None. `first`: it is the first
        of its client's connection, whose number is `owner`."""
        cdef NodeConnection node = self.idle
        if node is None:
            return None
        if (first and not repeatable) or self.tier.reuse == REUSE_NEVER:
            node = self.find_kept(first, repeatable, owner)
            if node is None:
                return None
        self.unlink(node)
        node.timer.due_ms = 0
        node.reused = True
        self.cells[SC_REUSES] += 1
        self.note_used()
        return node

    cdef NodeConnection find_kept(self, bint first, bint repeatable, uint64_t owner):
        """The part of `checkout` that HAProxy's http-reuse is about."""
        cdef NodeConnection node = self.idle
        cdef int reuse = self.tier.reuse
        if reuse == REUSE_NEVER:
            while node is not None and node.owner != owner:
                node = node.next
            return node
        if reuse == REUSE_ALWAYS or (self.tier.retry_unsafe
                                     and self.tier.retry_on & RetryOn.ON_EMPTY):
            return node
        if reuse == REUSE_AGGRESSIVE:
            while node is not None and not node.reused:
                node = node.next
            return node
        return None

    cdef void note_used(self) noexcept:
        cdef uint32_t used = <uint32_t>(self.cells[SC_CONNECTIONS_OPEN] - self.idle_count)
        if used > self.used_max:
            self.used_max = used

    cdef int checkin(self, NodeConnection node) except -1:
        """Keep a clean connection, or close it when enough are kept."""
        node.exchange = None
        # What a PROXY header was sent on is one client's, what one was not yet sent on nobody's.
        if (self.idle_count >= self.tier.idle_max or self.send_proxy
                or node.moves != self.moves):
            return node.close()
        node.idle = True
        node.prev = None
        node.next = self.idle
        if self.idle is not None:
            self.idle.prev = node
        else:
            self.idle_last = node
        self.idle = node
        self.idle_count += 1
        self.cells[SC_CONNECTIONS_IDLE] += 1
        self.wheel.arm(&node.timer, now_ms() + self.tier.idle_ms)
        return 0

    cdef void unlink(self, NodeConnection node):
        """Take a connection off the kept list."""
        if not node.idle:
            return
        node.idle = False
        if node.prev is not None:
            node.prev.next = node.next
        else:
            self.idle = node.next
        if node.next is not None:
            node.next.prev = node.prev
        else:
            self.idle_last = node.prev
        node.next = None
        node.prev = None
        self.idle_count -= 1
        self.cells[SC_CONNECTIONS_IDLE] -= 1

    cdef int drop_idle(self) except -1:
        """Close what is kept: the drain is over, or a connect has failed. Where nobody answers a
        connect, nobody answers on a connection either, and a request would wait for that long."""
        cdef NodeConnection node
        while self.idle is not None:
            node = self.idle
            self.unlink(node)
            node.abort()
        return 0

    # -- connects ------------------------------------------------------------------------------

    cdef Connecting connect(self, Exchange exchange):
        """Start a connect for an exchange; its on_connected or on_connect_failed follows."""
        cdef Connecting connecting = Connecting()
        connecting.exchange = exchange
        if edge_load32(&self.arena.servers[self.slot].moves) != self.moves:
            self.read_address()
        connecting.task = self.loop.create_task(self._connect(connecting))
        return connecting

    async def _connect(self, Connecting connecting):
        cdef NodeConnection node
        cdef Exchange exchange
        try:
            # Who waits has a deadline of its own; this one is for when nobody waits any more.
            async with asyncio.timeout(self.tier.connect_ms / 1000.0 + CONNECT_SLACK_S):
                if self.hop is not None:
                    near, far = socket.socketpair()
                    await self.loop.connect_accepted_socket(self.hop, far)
                    _, protocol = await self.loop.create_unix_connection(
                        lambda: NodeConnection(self), sock=near)
                else:
                    _, protocol = await self.loop.create_connection(
                        lambda: NodeConnection(self), self.host, self.port)
        except (OSError, asyncio.CancelledError) as error:
            exchange = connecting.exchange
            connecting.exchange = None
            if isinstance(error, OSError):
                # Our own shortage says nothing about the server.
                if error.errno not in LOCAL_SHORTAGES:
                    self.note_connect(False)
                    self.drop_idle()
                if exchange is not None:
                    exchange.on_connect_failed(Failure.CONNECT_FAILED)
            return
        # Counted here, not when it is made: a connect that is cancelled just then has no loss.
        node = protocol
        if not node.lost:
            node.counted = True
            self.cells[SC_CONNECTIONS_OPEN] += 1
            self.note_used()
        self.note_connect(True)
        exchange = connecting.exchange
        connecting.exchange = None
        if node.lost:
            if exchange is not None:
                exchange.on_connect_failed(Failure.CONNECT_FAILED)
        elif exchange is None:
            self.checkin(node)                 # or closes it
        else:
            exchange.on_connected(node)

    def announce_clients(self, int version):
        """Connections begin with a PROXY header of this version."""
        self.send_proxy = version

    def reach(self, hop):
        """Connections go to `hop` (an Entry), which is in this process."""
        self.hop = hop

    cdef int read_address(self) except -1:
        """Where new connections go: as configured, or where an operator has moved the server."""
        cdef ServerSlot *s = &self.arena.servers[self.slot]
        cdef char address[ADDRESS_BYTES_MAX]
        cdef uint32_t moves, port
        cdef int _i
        for _i in range(READS_MAX):
            moves = edge_load32(&s.moves)
            memcpy(address, s.address, ADDRESS_BYTES_MAX)
            port = s.port
            edge_fence()
            if not moves & 1 and edge_load32(&s.moves) == moves:
                break
        else:
            return 0                           # its writer has died: as before
        if moves != self.moves:
            self.moves = moves
            self.drop_idle()
        address[ADDRESS_BYTES_MAX - 1] = 0
        self.host = (<bytes>address).decode() or self.set_host
        self.port = <int>port or self.set_port
        return 0

    cdef int observe(self, int what) except -1:
        """Passive health, as HAProxy's `observe`."""
        if self.tier.observing.layer:
            count_sign(self.arena, self.slot, &self.tier.observing, what)
        return 0

    cdef void note_connect(self, bint good) noexcept:
        """Passive health: report to the arena; mark DOWN at the error limit."""
        cdef ServerSlot *s = &self.arena.servers[self.slot]
        cdef uint32_t streak
        if good:
            self.cells[SC_CONNECTS] += 1
            if edge_load32(&s.connect_fail_streak):
                edge_store32(&s.connect_fail_streak, 0)
            self.observe(<int>Observed.L4_OK)
            return
        self.cells[SC_CONNECT_ERRORS] += 1
        streak = edge_add32(&s.connect_fail_streak, 1)
        edge_add32(&self.arena.head.complaints, 1)
        if self.tier.observing.layer != LAYER_NONE:
            self.observe(<int>Observed.L4_ERROR)
        elif self.tier.error_limit and streak >= self.tier.error_limit:
            self.arena.mark_down(self.slot)


cdef class Connecting:
    """A ticket: setting `exchange` to None lets the waiter leave."""


cdef class NodeConnection(Connection):
    """A connection to a server; hands what it reads to the exchange that uses it."""

    def __cinit__(self, Server server):
        self.server = server
        self.moves = server.moves
        self.wheel = server.wheel
        self.readiness = server.readiness

    cdef int on_data(self, char *p, uint32_t n) except -1:
        cdef Exchange exchange = self.exchange     # held: it may go on without us
        if exchange is not None:
            return exchange.on_answer(p, n)
        if self.orphan and n > 9 and p[9] == b'1':
            return 0                           # 1xx: not the answer yet
        if self.is_early():                    # its session has not been told yet that it stands
            self.pause()
            return keep(&self.kept, p, n)
        # Nobody asked, or nobody waits any longer: never to be read as the next answer.
        self.server.unlink(self)
        return self.abort()

    cdef int on_eof(self) except -1:
        cdef Exchange exchange = self.exchange
        self.ended = True
        if exchange is not None:
            return exchange.on_answer_end(False)
        if self.is_early():
            return 0
        self.server.unlink(self)
        return self.close()

    cdef bint is_early(self) noexcept:
        """mode tcp: a server that speaks first may do so before the connect has returned."""
        return not self.counted and not self.idle and self.server.tier.kind == TIER_TCP

    cdef int on_lost(self, bint reset) except -1:
        cdef Exchange exchange = self.exchange
        self.server.unlink(self)
        if self.counted:
            self.counted = False
            self.server.cells[SC_CONNECTIONS_OPEN] -= 1
        if self.orphan:
            self.orphan = False
            self.server.tier.orphans -= 1
            self.server.give_back()
        if exchange is not None:
            exchange.on_answer_end(reset)
            self.exchange = None
        return 0

    cdef int on_writable(self) except -1:
        cdef Exchange exchange = self.exchange
        return 0 if exchange is None else exchange.on_node_writable()

    cdef int on_timer(self) except -1:
        if self.idle:
            self.server.unlink(self)
            return self.close()
        return self.abort() if self.orphan or self.closing else 0

    cdef int leave_to_itself(self, uint32_t ms) except -1:
        """Let a request run whose client is gone: half an order would be worse than one whose
        answer nobody reads. The slot is given back when the server answers or closes, or after
        `ms`."""
        self.exchange = None
        self.orphan = True
        self.server.tier.orphans += 1
        self.wheel.arm(&self.timer, now_ms() + ms)
        return 0

    cdef int close_within(self, uint32_t ms) except -1:
        """Send what is held and close; a server that does not take it in time is dropped."""
        self.close()
        if not self.lost:
            self.wheel.arm(&self.timer, now_ms() + ms)
        return 0

    cdef bint alive(self) noexcept:
        """Is a kept connection still open and silent? One system call; used before a request
        that could not be repeated."""
        cdef char byte
        cdef ssize_t n = recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        return n < 0 and errno == EAGAIN
