"""What control orders of a worker between requests: a list of its sessions, the end of some.

Theory. Orders are numbers in shared memory that control raises. A worker compares them once a tick,
three loads while nothing is asked, so a request pays nothing. The list is bounded and written into
the worker's own row of the arena; control reads it when the worker has repeated the number.
Requests of a server that must end (a check took it down, an operator said so) are found by a walk
over all sessions of the worker, as rare as such an order.

Called by: edge/worker.py each tick.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ext.arena cimport (
    Arena, RowHead, SessionEntry, edge_fence, edge_load32, edge_load64)
from ext.client cimport IDLE, LINGER, Client
from ext.limits cimport SESSIONS_SHOWN_MAX
from ext.site cimport Block, Member, Site
from ext.timers cimport now_ms, now_us
from ext.trip cimport Trip
from ext.upstream cimport Server, Tier


cdef class Orders:
    """The orders to one worker, whose row of the arena is `row`."""

    cdef Site site
    cdef Arena arena
    cdef list tiers
    cdef int row
    cdef uint64_t epoch            # of the arena when servers were last looked at

    def __init__(self, Site site, Arena arena, int row, list tiers):
        self.site = site
        self.arena = arena
        self.row = row
        self.tiers = tiers

    def look(self):
        """Each tick: obey what is new."""
        cdef RowHead *head = self.arena.row_head(self.row)
        if edge_load64(&self.arena.head.epoch) != self.epoch:
            self.epoch = edge_load64(&self.arena.head.epoch)
            self.look_at_servers()
        if edge_load64(&head.kill_asked) != head.kill_told:
            self.kill_one(head)
        if edge_load64(&head.list_asked) != head.list_told:
            self.tell(head)

    cdef int look_at_servers(self) except -1:
        cdef Tier tier
        cdef Server server
        cdef uint32_t shutdowns
        for tier in self.tiers:
            for server in tier.servers:
                shutdowns = edge_load32(&self.arena.servers[server.slot].shutdowns)
                if shutdowns != server.shutdowns:
                    server.shutdowns = shutdowns
                    self.kill_all(server)
        return 0

    cdef int kill_all(self, Server server) except -1:
        """End every request at a server."""
        cdef Trip trip
        for trip in self.trips():
            if trip.server is server or trip.target is server:
                trip.on_killed(True)
        return 0

    cdef list trips(self):
        cdef Member member = self.site.first
        cdef list found = list(self.site.fetchers)
        while member is not None:
            found.append(member)
            member = member.next
        return found

    cdef int kill_one(self, RowHead *head) except -1:
        """End the session that control names."""
        cdef uint64_t asked = edge_load64(&head.kill_asked)
        cdef Member member = self.site.first
        cdef Client client = None
        while member is not None:
            if not isinstance(member, Client):
                member = member.next           # mode tcp: not listed
                continue
            client = <Client>member
            if client.serial == head.kill_id and is_session(client):
                break
            member = member.next
        head.kill_found = member is not None
        if member is not None:
            client.on_killed(False)
        edge_fence()
        head.kill_told = asked
        return 0

    cdef int tell(self, RowHead *head) except -1:
        """Write the table of sessions, and how much memory the worker has in what."""
        cdef uint64_t asked = edge_load64(&head.list_asked)
        cdef Member member = self.site.first
        cdef Block *block = self.site.blocks
        cdef uint64_t count = 0
        while member is not None:
            if isinstance(member, Client) and is_session(<Client>member):
                if count < SESSIONS_SHOWN_MAX:
                    describe(<Client>member, self.arena.session_entry(self.row, <int>count))
                count += 1
            member = member.next
        head.sessions = count
        head.shown = min(count, <uint64_t>SESSIONS_SHOWN_MAX)
        head.blocks = self.site.blocks_made
        head.blocks_free = 0
        while block != NULL:
            head.blocks_free += 1
            block = block.next
        head.scratch_bytes = (self.site.out.room + self.site.tail.room + self.site.key.room
                              + self.site.stored.room)
        edge_fence()
        head.list_told = asked
        return 0


cdef bint is_session(Client client) noexcept:
    """Does a request run on the connection? HAProxy lists no others."""
    return client.phase != IDLE and client.phase != LINGER


cdef void describe(Client c, SessionEntry *e) noexcept:
    cdef uint64_t now = now_us()
    memset(e, 0, sizeof(SessionEntry))
    e.id = c.serial
    e.age_us = now - c.made_us
    e.request_us = now - c.started_us
    e.requests = c.requests
    e.tier = c.entry.tier.slot
    e.server = -1 if c.server is None else c.server.slot
    e.target = -1 if c.target is None else c.target.slot
    e.expires_ms = <int32_t>(c.timer.due_ms - now_ms()) if c.timer.due_ms else -1
    e.fd = c.fd
    e.server_fd = -1 if c.node is None else c.node.fd
    e.held_bytes = c.kept.size + (0 if c.node is None else c.node.kept.size)
    e.phase = c.phase
    e.wait = c.wait
    e.row = c.row
    memcpy(e.address, c.address, c.address_size)
