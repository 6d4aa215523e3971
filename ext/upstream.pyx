"""Tiers, servers, kept connections, connects, and the retry rule.

Theory. A server keeps the connections that are provably clean: request fully sent, answer fully
read, no byte left over, no close seen. The newest is taken first, so that the surplus ages and is
closed. Anything that arrives on an idle connection, bytes or FIN, ends it. A connect is the slow
path and ordinary asyncio; who waits for it may leave (time-out, client gone), then the new
connection is kept for the next request.

Retries: the cause of a failure is recorded where it is known (`Failure`), the decision is one pure
function, and every "no" has a reason (`NoRetry`). Nothing sent: any method may be repeated. The
request was sent and no byte of the answer has reached the client: idempotent methods only (RFC 9110
§9.2.2), and only while the whole request is still held.

Ownership: `Server.idle` owns kept connections; an Exchange owns the one it uses, both refer to each
other and both ends are cut in `session.let_go` / `on_lost`.
"""
import asyncio
import errno as errors
import socket
from collections import deque

from ext.arena cimport (SC_CONNECTS, SC_CONNECT_ERRORS, SC_CONNECTIONS_OPEN, SC_CONNECTIONS_IDLE,
                        SC_IN_FLIGHT, SC_REUSES, TC_QUEUED, ServerSlot, edge_add32, edge_load32,
                        edge_store32, edge_fence)
from ext.limits cimport TICK_MS
from ext.timers cimport now_ms

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    int MSG_PEEK
    int MSG_DONTWAIT
from libc.errno cimport errno, EAGAIN


CONNECT_SLACK_S = 0.5
cdef enum:
    YIELD_MS = 2 * TICK_MS         # so long a worker may keep a server's only slot to itself
LOCAL_SHORTAGES = frozenset({errors.EMFILE, errors.ENFILE, errors.ENOBUFS, errors.ENOMEM,
                             errors.EADDRNOTAVAIL})


cdef int may_retry(int failure, bint idempotent, bint replayable, int attempts_left) noexcept nogil:
    """NoRetry.RETRY, or why not. See the theory above."""
    if attempts_left <= 0:
        return NoRetry.EXHAUSTED
    if failure == Failure.CONNECT_FAILED or failure == Failure.CONNECT_TIMEOUT:
        return NoRetry.RETRY
    if failure == Failure.JUNK or failure == Failure.ANSWER_TIMEOUT:
        return NoRetry.NOT_A_CONNECTION_ERROR
    if not idempotent:
        return NoRetry.NOT_IDEMPOTENT
    return NoRetry.RETRY if replayable else NoRetry.BODY_SENT


def may_retry_for_test(int failure, bint idempotent, bint replayable, int attempts_left):
    return NoRetry(may_retry(failure, idempotent, replayable, attempts_left))


cdef class Exchange(Connection):
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
        self.queue = deque()
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
        self.redispatch = options["redispatch"]
        self.retry_after_s = options["retry_after_s"]
        self.error_limit = options["error_limit"]
        self.idle_max = options["idle_max"]
        self.idle_ms = options["idle_ms"]
        self.connections_max = options["connections_max"]

    def wire(self, Balancer balancer, list servers, Tier next_):
        """Second half of construction, when all tiers exist."""
        self.balancer = balancer
        self.servers = servers
        self.next = next_

    def balance_as_alb(self, Stickiness sticky, int desync_mode, bint other_protocol):
        """What an Application Load Balancer does beyond picking; `sticky` None: no stickiness."""
        self.sticky = sticky
        self.desync_mode = desync_mode
        self.other_protocol = other_protocol

    def keep_clients(self, Cookie cookie not None):
        """Clients that bring this cookie go to its server."""
        self.cookie = cookie

    def close_idle(self):
        """Close every kept connection; at the end of a drain."""
        cdef Server server
        for server in self.servers:
            server.drop_idle()

    def poll(self):
        """Each tick: wake waiting requests while other workers have freed slots."""
        cdef Py_ssize_t waiting = len(self.queue), before
        if waiting and now_ms() - self.yielded_ms < TICK_MS + TICK_MS // 2:
            return                             # a slot was left to others: their tick comes first
        while waiting and self.queue:
            waiting -= 1
            before = len(self.queue)
            self.wake()
            if len(self.queue) >= before:      # it queued again: nothing is free
                break

    cdef int enqueue(self, Exchange exchange, bint first) except -1:
        exchange.queued = True
        if first:
            self.queue.appendleft(exchange)
        else:
            self.queue.append(exchange)
        self.cells[TC_QUEUED] += 1
        return 0

    cdef int dequeue(self, Exchange exchange) except -1:
        """A request leaves the queue without its turn. It is near the front: time-outs come in
        order."""
        exchange.queued = False
        self.queue.remove(exchange)
        self.cells[TC_QUEUED] -= 1
        return 0

    cdef int wake(self) except -1:
        """Give the turn to the first request that waits. One that ends at once frees its slot
        again inside its turn: that is a loop here, not a recursion."""
        cdef Exchange exchange
        if self.waking:
            self.wake_again = True
            return 0
        self.waking = True
        try:
            self.wake_again = True
            while self.wake_again and self.queue:
                self.wake_again = False
                exchange = self.queue.popleft()
                exchange.queued = False
                self.cells[TC_QUEUED] -= 1
                exchange.on_slot()
        finally:
            self.waking = False
        return 0


cdef class Server:
    """One server of a tier, as one worker sees it."""

    def __init__(self, str name, Tier tier, Arena arena, int row, int slot, int index,
                 str host, int port, int maxconn, Tier next_tier, object loop, Wheel wheel,
                 Readiness readiness):
        self.name = name
        self.tier = tier
        self.arena = arena
        self.row = row
        self.slot = slot
        self.index = index
        self.cells = arena.server_cells(row, slot)
        self.host = host
        self.port = port
        self.maxconn = maxconn
        self.next_tier = next_tier
        self.loop = loop
        self.wheel = wheel
        self.readiness = readiness

    # -- slots ---------------------------------------------------------------------------------

    cdef bint take(self) noexcept:
        """Count a request in. False when that would pass maxconn: nothing is counted then.

        Add first, then look: two workers that race for the last slot may both step back and
        queue, but never both pass.
        """
        self.cells[SC_IN_FLIGHT] += 1
        if self.maxconn:
            edge_fence()
            if self.tier.balancer.load(self.index) > self.maxconn:
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
        if self.tier.queue and not (self.maxconn and self.others_starve()):
            self.tier.wake()
        return 0

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
                served += self.arena.server_cells(row, self.slot)[SC_IN_FLIGHT]
        if queued == 0 or served:
            return False
        self.yielded_ms = now
        self.tier.yielded_ms = now
        return True

    # -- kept connections ----------------------------------------------------------------------

    cdef NodeConnection checkout(self):
        """The newest kept connection, or None."""
        cdef NodeConnection node = self.idle
        if node is None:
            return None
        self.unlink(node)
        node.timer.due_ms = 0
        node.reused = True
        self.cells[SC_REUSES] += 1
        return node

    cdef int checkin(self, NodeConnection node) except -1:
        """Keep a clean connection, or close it when enough are kept."""
        node.exchange = None
        # What a PROXY header was sent on is one client's, what one was not yet sent on nobody's.
        if self.idle_count >= self.tier.idle_max or self.send_proxy:
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
                if exchange is not None:
                    exchange.on_connect_failed(Failure.CONNECT_FAILED)
            return
        # Counted here, not when it is made: a connect that is cancelled just then has no loss.
        node = protocol
        if not node.lost:
            node.counted = True
            self.cells[SC_CONNECTIONS_OPEN] += 1
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

    cdef void note_connect(self, bint good) noexcept:
        """Passive health: report to the arena; mark DOWN at the error limit."""
        cdef ServerSlot *s = &self.arena.servers[self.slot]
        cdef uint32_t streak
        if good:
            self.cells[SC_CONNECTS] += 1
            if edge_load32(&s.connect_fail_streak):
                edge_store32(&s.connect_fail_streak, 0)
            return
        self.cells[SC_CONNECT_ERRORS] += 1
        streak = edge_add32(&s.connect_fail_streak, 1)
        edge_add32(&self.arena.head.complaints, 1)
        if self.tier.error_limit and streak >= self.tier.error_limit:
            self.arena.mark_down(self.slot)


cdef class Connecting:
    """A ticket: setting `exchange` to None lets the waiter leave."""


cdef class NodeConnection(Connection):
    """A connection to a server; hands what it reads to the exchange that uses it."""

    def __cinit__(self, Server server):
        self.server = server
        self.wheel = server.wheel
        self.readiness = server.readiness

    cdef int on_data(self, char *p, uint32_t n) except -1:
        cdef Exchange exchange = self.exchange     # held: it may go on without us
        if exchange is not None:
            return exchange.on_answer(p, n)
        if self.orphan and n > 9 and p[9] == b'1':
            return 0                           # 1xx: not the answer yet
        # Nobody asked, or nobody waits any longer: never to be read as the next answer.
        self.server.unlink(self)
        return self.abort()

    cdef int on_eof(self) except -1:
        cdef Exchange exchange = self.exchange
        self.ended = True
        if exchange is not None:
            return exchange.on_answer_end(False)
        self.server.unlink(self)
        return self.close()

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
