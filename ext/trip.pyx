"""A request's way to a server: the tiers that it has entered, its slots, its connection.

Theory. A trip belongs to whoever waits for the answer: a client's session, or the fill that keeps
the answer for the cache while the session serves its client from there. It can be handed over
whole between the two when the answer's head has come. Whatever was counted in is counted out once,
by whoever holds the trip at its end.

Ownership: `node.exchange` and `node` refer to each other and are cut together in `let_go`.
"""
from ext.arena cimport (
    SC_1XX, TC_1XX, TC_IN_FLIGHT, TC_LATENCY_0, TC_LATENCY_SUM_US, TC_REQUESTS, latency_bucket)
from ext.stream cimport release
from ext.upstream cimport TIER_ELB


cdef void enter(Trip trip, Tier tier, Tier entry) noexcept:
    """Count a request into a tier; the entry tier has counted it in `receive`."""
    if tier is not entry:
        tier.cells[TC_REQUESTS] += 1
        tier.cells[TC_IN_FLIGHT] += 1


cdef int class_of(int status) noexcept:
    """Of a status: 1 to 5; 6: any other number, or none."""
    return status // 100 if 100 <= status < 600 else 6


cdef void count(Tier tier, int status, uint64_t us) noexcept:
    """Count a request out of a tier."""
    if status < 0 and tier.kind == TIER_ELB:
        status = 460                       # an ALB's name for a client that has not waited
    tier.cells[TC_IN_FLIGHT] -= 1
    tier.cells[TC_1XX + class_of(status) - 1] += 1
    tier.cells[TC_LATENCY_SUM_US] += us
    tier.cells[TC_LATENCY_0 + latency_bucket(us)] += 1


cdef class Trip(Exchange):
    """What a request holds behind its listener."""

    cdef void count_out(self, Tier entry, uint64_t us) noexcept:
        """Count the end in every tier behind the entry, and at the servers."""
        if self.passed_elb is not None:
            if self.passed_elb is not entry:
                count(self.passed_elb, self.status, us)
            self.passed_elb = None
        if self.passed_haproxy is not None:
            if self.backend is not self.passed_haproxy:
                count(self.backend, self.status, us)
            self.backend = None
            if self.passed_haproxy is not entry:
                count(self.passed_haproxy, self.status, us)
            self.passed_haproxy = None
        if self.node is not None:
            self.server.cells[SC_1XX + class_of(self.status) - 1] += 1
        if self.target is not None:
            self.target.cells[SC_1XX + class_of(self.status) - 1] += 1

    cdef int let_go(self, bint reusable) except -1:
        """Return the connection and the slot of the server, and the elb's at the end."""
        cdef NodeConnection node = self.node
        cdef Server server = self.server
        cdef Server target = self.target if self.status else None
        self.node = None
        self.server = None
        if target is not None:
            self.target = None
        if node is not None:
            node.exchange = None
            release(&node.kept)
            if reusable and not (node.ended or node.broken or node.blocked or node.lost):
                node.resume()
                server.checkin(node)
            else:
                node.abort()
        if server is not None:
            server.give_back()
        if target is not None:
            target.give_back()
        return 0

    cdef int on_killed(self, bint by_server) except -1:
        """Control wants the request ended; `by_server`: because its server is no longer to be
        used. The client is told, or sees that its answer is cut."""
        return 0

    cdef int hand_over(self, Trip to) except -1:
        """Everything held, and the answer under way, to another."""
        to.passed_elb = self.passed_elb
        to.passed_haproxy = self.passed_haproxy
        to.backend = self.backend
        to.target = self.target
        to.server = self.server
        to.node = self.node
        to.status = self.status
        to.answer_body = self.answer_body
        to.answer_done = self.answer_done
        to.node_keeps = self.node_keeps
        to.started_us = self.started_us
        self.passed_elb = None
        self.passed_haproxy = None
        self.backend = None
        self.target = None
        self.server = None
        self.node = None
        if to.node is not None:
            to.node.exchange = to
        return 0
