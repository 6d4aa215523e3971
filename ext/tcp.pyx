"""HAProxy's `mode tcp`: a client connection, a server connection, and nothing in between.

    GREETING -> (choose) -> CONNECTING -> RELAYED -> OVER
                   |  ^---- TURN ---|
                   QUEUED

Theory. A server is picked when the client has connected (and has sent its PROXY header, where the
listener wants one), not when it first speaks: in many protocols, MySQL's among them, the server
speaks first. Only connects are tried again, since nobody here knows what the bytes mean; what the
client sends meanwhile is kept, up to PIPELINE_BYTES_MAX. A connection to a server belongs to one
client and ends with it. The relay itself is Tunnel's.

Ends: no server, or none that lets us connect: the client is closed. A FIN is passed on and the
other direction goes on (`client-fin`, `server-fin`); a RST is passed on as one. When the worker
drains, connections run on until they end or the drain's time is over.

Ownership: as a Trip, `finish` gives back the server's slot and its connection, once.
"""
from libc.stdint cimport uint32_t, uint64_t
from posix.uio cimport iovec

from ext.arena cimport (
    SC_BYTES_IN, SC_BYTES_OUT, SC_CLIENT_ABORTS, SC_REDISPATCHES, SC_REQUESTS, SC_RETRIES,
    SC_SERVER_ABORTS, TC_BYTES_IN, TC_CLIENT_ABORTS, TC_CONNECTIONS, TC_CONNECTIONS_OPEN,
    TC_IN_FLIGHT, TC_LATENCY_0, TC_LATENCY_SUM_US, TC_NO_SERVER, TC_PROXY_ERRORS,
    TC_QUEUE_TIMEOUTS, TC_REDISPATCHES, TC_REQUESTS, TC_RETRIES, latency_bucket)
from ext.farm cimport PICK_FULL, PICK_NONE
from ext.limits cimport PIPELINE_BYTES_MAX, TRIED_MAX, TURN_AROUND_MS
from ext.proxyline cimport PROXY_OUT_BYTES_MAX
from ext.stream cimport keep, release
from ext.timers cimport now_ms, now_us
from ext.upstream cimport NodeConnection


cdef class TcpEntry:
    """A listener; `times_ms`: header, silence, client_fin, server_fin (0: as silence). `key`: of a
    balance that hashes the client's address."""

    def __init__(self, Site site not None, Tier tier not None, dict times_ms, HashKey key=None):
        self.site = site
        self.tier = tier
        self.key = key
        self.header_ms = times_ms["header"]
        self.silence_ms = times_ms["silence"]
        self.client_fin_ms = times_ms["client_fin"]
        self.server_fin_ms = times_ms["server_fin"]

    def expect_proxy(self, ProxyPeers peers):
        """Connections of `peers` begin with a PROXY header."""
        self.proxy = peers

    def __call__(self):
        return TcpSession(self)


cdef class TcpSession(Tunnel):
    """A client's connection and its server's."""

    def __cinit__(self, TcpEntry entry):
        self.entry = entry
        self.site = entry.site
        self.wheel = entry.site.wheel
        self.readiness = entry.site.readiness
        self.silence_ms = entry.silence_ms

    # -- the client's connection ---------------------------------------------------------------

    cdef int on_made(self) except -1:
        cdef Tier tier = self.entry.tier
        self.meet(tier)
        self.site.join(self)
        tier.cells[TC_CONNECTIONS] += 1
        tier.cells[TC_CONNECTIONS_OPEN] += 1
        self.started_us = now_us()
        if tier.connections_max and tier.cells[TC_CONNECTIONS_OPEN] > tier.connections_max:
            self.phase = OVER
            return self.abort()
        if self.owes_header(self.entry.proxy):
            self.phase = GREETING
            return self.arm(self.entry.header_ms)
        return self.begin()

    cdef int on_data(self, char *p, uint32_t n) except -1:
        if self.phase == RELAYED:
            self.front[TC_BYTES_IN] += n
            return self.tunnel_in(p, n)
        if self.phase == OVER:
            return 0
        if self.phase == GREETING:
            if self.take_header(p, n) <= 0:
                return 0
            self.front[TC_BYTES_IN] += self.kept.size
            self.begin()
        else:
            self.front[TC_BYTES_IN] += n
            keep(&self.kept, p, n)
        if self.kept.size > PIPELINE_BYTES_MAX:
            self.pause()
        return 0

    cdef int on_eof(self) except -1:
        self.ended = True
        if self.phase == RELAYED:
            return self.tunnel_end(False)
        if self.phase == GREETING:
            self.front[TC_PROXY_ERRORS] += 1
            return self.give_up()
        if self.phase == OVER:
            return self.close()
        return 0                               # it may have sent all that it has to say

    cdef int on_lost(self, bint reset) except -1:
        if self.joined:
            self.site.quit(self)
            self.front[TC_CONNECTIONS_OPEN] -= 1
        if self.phase == OVER:
            return 0
        self.front[TC_CLIENT_ABORTS] += 1
        if self.server is not None:
            self.server.cells[SC_CLIENT_ABORTS] += 1
        if self.node is not None and reset:
            self.node.exchange = None
            self.node.reset()
        return self.finish()

    cdef int on_writable(self) except -1:
        if self.phase == RELAYED:
            self.arm(self.silence_ms)
            self.node.resume()
        return 0

    # -- a server ------------------------------------------------------------------------------

    cdef int begin(self) except -1:
        self.counted = True
        self.front[TC_REQUESTS] += 1
        self.front[TC_IN_FLIGHT] += 1
        self.attempts_left = <int>self.entry.tier.retries
        return self.choose()

    cdef int choose(self) except -1:
        """Pick a server and connect, or wait, or give up."""
        cdef Tier tier = self.entry.tier
        cdef HashKey by = self.entry.key
        cdef uint64_t key = 0 if by is None else by.of_request(NULL, self.source)
        cdef int index
        cdef Server server
        if self.same is not None:
            index = self.same.index
        elif tier.queue.size and not self.queue_due_ms:    # behind those who wait already
            index = PICK_FULL
        else:
            index = tier.balancer.pick(key, self.tried, self.tried_count)
        if index == PICK_NONE:
            self.front[TC_NO_SERVER] += 1
            return self.give_up()
        if index >= 0:
            server = <Server>tier.servers[index]
            if server.take():
                self.server = server
                return self.connect()
        return self.wait_for_slot()

    cdef int wait_for_slot(self) except -1:
        cdef Tier tier = self.entry.tier
        cdef bint again = self.queue_due_ms != 0
        if not again:
            self.queue_due_ms = now_ms() + tier.queue_ms
        self.phase = QUEUED
        self.wheel.arm(&self.timer, self.queue_due_ms)
        return tier.enqueue(self, self.same, again)

    cdef int on_slot(self) except -1:
        return self.choose()

    cdef int connect(self) except -1:
        self.phase = CONNECTING
        self.arm(self.entry.tier.connect_ms)
        self.connecting = self.server.connect(self)
        return 0

    cdef int on_connected(self, NodeConnection node) except -1:
        """The PROXY header and what the client has said go first, in one segment."""
        cdef char header[PROXY_OUT_BYTES_MAX]
        cdef iovec parts[2]
        cdef int count = 0
        self.connecting = None
        self.node = node
        node.exchange = self
        self.server.cells[SC_REQUESTS] += 1
        self.phase = RELAYED
        self.same = None
        parts[0].iov_base = header
        parts[0].iov_len = self.write_header(node, header)
        count = 1 if parts[0].iov_len else 0
        if self.kept.size:
            parts[count].iov_base = self.kept.data
            parts[count].iov_len = self.kept.size
            self.server.cells[SC_BYTES_IN] += self.kept.size
            count += 1
        node.send(parts, count)
        release(&self.kept)
        self.arm(self.silence_ms)
        if not node.blocked:
            self.resume()
        if node.kept.size:                     # it has spoken already
            self.server.cells[SC_BYTES_OUT] += node.kept.size
            self.tunnel_out(node.kept.data, node.kept.size)
            release(&node.kept)
            if self.phase != RELAYED:
                return 0
            if not self.blocked:
                node.resume()
        return self.tunnel_end(False) if self.ended or node.ended else 0

    cdef int on_connect_failed(self, int failure) except -1:
        self.connecting = None
        return self.attempt_failed()

    cdef int attempt_failed(self) except -1:
        """A connect has failed: again, here or at another server, or the end."""
        cdef Server server = self.server
        cdef Tier tier = server.tier
        self.let_go(False)
        if self.attempts_left <= 0:
            return self.give_up()
        self.attempts_left -= 1
        self.queue_due_ms = 0
        if self.tried_count < TRIED_MAX:
            self.tried[self.tried_count] = <uint16_t>server.index
            self.tried_count += 1
        if tier.redispatch_after and tier.balancer.usable > 1:
            server.cells[SC_REDISPATCHES] += 1
            self.front[TC_REDISPATCHES] += 1
            return self.choose()
        server.cells[SC_RETRIES] += 1
        self.front[TC_RETRIES] += 1
        if not tier.redispatch_after:
            self.same = server
        self.phase = TURN                      # the same server: let it come back first
        return self.arm(min(tier.connect_ms, <uint32_t>TURN_AROUND_MS))

    # -- the server's connection ---------------------------------------------------------------

    cdef int on_answer(self, char *p, uint32_t n) except -1:
        self.server.cells[SC_BYTES_OUT] += n
        return self.tunnel_out(p, n)

    cdef int on_answer_end(self, bint reset) except -1:
        if self.phase != RELAYED:
            return 0
        if reset:
            self.server.cells[SC_SERVER_ABORTS] += 1
        return self.tunnel_end(reset)

    cdef int on_node_writable(self) except -1:
        if self.phase == RELAYED:
            self.arm(self.silence_ms)
            return self.resume()
        return 0

    # -- ends ----------------------------------------------------------------------------------

    cdef int on_killed(self, bint by_server) except -1:
        """Cut: on both sides a RST, since the bytes may not be whole."""
        if self.node is not None:
            self.node.exchange = None
            self.node.reset()
        self.finish()
        return self.reset()

    cdef int tunnel_end(self, bint reset) except -1:
        cdef uint32_t fin_ms = (self.entry.client_fin_ms if self.node.ended
                                else self.entry.server_fin_ms)
        if fin_ms:
            self.silence_ms = fin_ms
            self.arm(fin_ms)
        return Tunnel.tunnel_end(self, reset)

    cdef int on_tunnel_over(self) except -1:
        self.finish()
        return self.arm(self.entry.tier.client_ms)

    cdef int drop(self) except -1:
        """A write has failed. That connection's read side tells why, behind what came before; not
        if it is not read: then nobody would tell."""
        if self.node.broken:
            if not (self.node.paused or self.node.deaf):
                return self.pause()
        elif not (self.paused or self.deaf):
            return self.node.pause()
        self.finish()
        return self.reset()

    cdef int finish(self) except -1:
        """Count the session out and let its server go."""
        cdef uint64_t us = now_us() - self.started_us
        if self.phase == QUEUED and self.queued:
            self.entry.tier.dequeue(self)
        self.phase = OVER
        if self.connecting is not None:
            self.connecting.exchange = None
            self.connecting.task.cancel()
            self.connecting = None
        if self.counted:
            self.counted = False
            self.front[TC_IN_FLIGHT] -= 1
            self.front[TC_LATENCY_SUM_US] += us
            self.front[TC_LATENCY_0 + latency_bucket(us)] += 1
        return self.let_go(False)

    cdef int give_up(self) except -1:
        """No server for this client, or not in time."""
        self.finish()
        return self.abort()

    cdef int on_timer(self) except -1:
        if self.phase == RELAYED:
            # A limit on silence: who reads, however slowly, has more time.
            if (self.blocked and self.progress()) or (self.node.blocked and self.node.progress()):
                return self.arm(self.silence_ms)
            self.finish()
            self.arm(self.entry.tier.client_ms)
            return self.close()
        if self.phase == OVER and self.blocked and self.progress():
            return self.arm(self.entry.tier.client_ms)
        if self.phase == TURN:
            return self.choose()
        if self.phase == CONNECTING:
            self.connecting.exchange = None
            self.connecting.task.cancel()
            self.connecting = None
            self.server.note_connect(False)
            return self.attempt_failed()
        if self.phase == GREETING:
            self.front[TC_PROXY_ERRORS] += 1
        elif self.phase == QUEUED:
            self.front[TC_QUEUE_TIMEOUTS] += 1
        return self.give_up()                  # of OVER: what is held was not taken in time
