"""A client that is answered from the cache: it waits for a fetch, reads an object, or fetches.

Theory. A request holds leases on up to four objects (cached.pxd), and every one of them ends in
`forget`. Its head is the worker's scratch and gone after the first wait, so a request that waits or
fetches keeps a copy (`question`) and parses it again with `recall`.

`feed` sends what there is of the object's body and follows the object when there will be more. The
socket's back-pressure stops the reader alone, since the fetch is the fill's.

Ghosts: a request whose client goes away while it fetches for the cache goes on without it, and a
stale answer that is served is renewed by one that never had a client. A ghost ends where its answer
is not to be stored, or when its fill has taken over.
"""
cimport cython
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from ext.arena cimport TC_BYTES_OUT, TC_CLIENT_ABORTS
from ext.body cimport FRAME_BYTES, Piece, add_part, frame_chunk
from ext.cachekey cimport key_room, write_key
from ext.client cimport (
    AWAIT, ERROR, JOIN, LINGER, LOG, MISS, STREAM, WAITING, WAIT_CONNECT, WAIT_FILL, WAIT_SLOT)
from ext.encoding cimport CODING_BROTLI, CODING_GZIP
from ext.facts cimport field_of
from ext.forward cimport ENCODING_KEPT, FRAME_CHUNKED, Text, build_request, request_room
from ext.headers cimport HeaderId
from ext.http1 cimport Field, Head, M_GET, M_HEAD, parse_request_head, parse_response_head
from ext.relay cimport Relay
from ext.site cimport Scratch, at_least
from ext.store cimport ALONE, BUSY, FAILED, Seen, StoredHead
from ext.stream cimport release
from ext.timers cimport now_us, wall_us
from ext.upstream cimport TIER_CDN, Tier

cdef enum:
    FEED_BYTES = 131072            # handed to the kernel at once; what it does not take is held
    FEED_PARTS = 32                # runs of a stored body in one call: 4 KiB each at the least
    GATHER_BYTES = 4096            # copying a small body costs less than a second part to send


@cython.no_gc_clear                # __dealloc__ reads site and store
cdef class Cached(Relay):
    """A client connection in front of a cache."""

    def __cinit__(self, *args):
        if self.entry.cache is not None:
            self.store = self.entry.cache.store

    def __dealloc__(self):
        if self.store is not None:
            self.release_all()

    cdef void release_all(self) noexcept:
        if self.fill:                          # nobody will fetch it: who waits asks again
            self.store.abandon(self.fill, FAILED, 0)
            self.store.release(self.fill)
            self.fill = 0
        if self.object:
            self.store.release(self.object)
            self.object = 0
        if self.prior:
            self.store.release(self.prior)
            self.prior = 0
        if self.joined:
            self.store.release(self.joined)
            self.joined = 0
        if self.question != NULL:
            self.site.give_block(self.question)
            self.question = NULL

    # -- the request, kept -----------------------------------------------------------------------

    cdef int hold_question(self) except -1:
        """Keep the request's head beyond the first wait."""
        cdef Head *h = &self.site.request
        if self.question == NULL:
            self.question = self.site.take_block(h.size)
            memcpy(self.question.data, h.base, h.size)
            self.question.size = h.size
        return 0

    cdef int recall(self) except -1:
        """The request's head as scratch again. The copy is whole and was accepted before."""
        if self.question != NULL:
            parse_request_head(self.question.data, self.question.size,
                               &self.entry.tier.request_limits, &self.site.request)
            self.entry.cache.platform.check_request(&self.site.request)
        return 0

    cdef int ask(self, Asked *asked) except -1:
        """The request at hand as the store sees it; borrows the key scratch."""
        cdef Head *h = &self.site.request
        asked.key = at_least(&self.site.key, key_room(h, self.entry.cache.pop.size))
        asked.key_size = write_key(h, self.entry.cache.pop.data, self.entry.cache.pop.size,
                                   <char *>asked.key)
        asked.hash[0] = self.key_hash[0]
        asked.hash[1] = self.key_hash[1]
        asked.head = h
        asked.accept_encoding = NULL
        asked.accept_encoding_size = 0
        if self.entry.cache.fastly:
            asked.accept_encoding = (b"br" if self.encoding == CODING_BROTLI else
                                     b"gzip" if self.encoding == CODING_GZIP else b"")
            asked.accept_encoding_size = (2 if self.encoding == CODING_BROTLI else
                                          4 if self.encoding == CODING_GZIP else 0)
        return 0

    cdef int read_prior(self, StoredHead *stored) except -1:
        """The head of `prior`, parsed into site.stored_head."""
        cdef Scratch *scratch = &self.site.stored
        cdef int room = self.store.copy_head(self.prior, scratch.data, scratch.room, stored)
        while room:                            # a 304 may make it longer meanwhile
            room = self.store.copy_head(self.prior, at_least(scratch, <uint32_t>room),
                                        <uint32_t>room, stored)
        return parse_response_head(stored.head, stored.head_size, &self.site.answer_limits, M_GET,
                                   &self.site.stored_head)

    cdef int write_question(self) except -1:
        """The request at hand as the server will get it when the answer is for the cache: whole,
        unconditional, or asking whether `prior` is still good."""
        cdef Ask ask
        cdef StoredHead stored
        cdef const Field *f
        cdef Head *old = &self.site.stored_head
        memset(&ask, 0, sizeof(Ask))
        ask.whole = True
        ask.unconditional = True
        self.as_get = self.method == M_HEAD
        self.sent_method = M_GET
        ask.as_get = self.as_get
        ask.encoding = ENCODING_KEPT           # not by a conditional: its type would be unsigned
        if self.entry.cache.fastly:
            ask.encoding = self.encoding
        if self.prior:
            self.read_prior(&stored)
            f = field_of(old, <int>HeaderId.ETAG)
            if f != NULL:
                ask.etag = old.base + f.value
                ask.etag_size = f.value_size
                if stored.coding & WEAKENED:   # the origin is asked about its own
                    ask.etag += 2
                    ask.etag_size -= 2
            f = field_of(old, <int>HeaderId.LAST_MODIFIED)
            if f != NULL:
                ask.last_modified = old.base + f.value
                ask.last_modified_size = f.value_size
        self.asks_prior = ask.etag != NULL or ask.last_modified != NULL
        self.requested_ms = <int64_t>(wall_us() // 1000)
        return self.write_request(&ask)

    cdef int write_request(self, const Ask *ask) except -1:
        """The request at hand, as the server will get it, into the block."""
        cdef Text client
        client.data = self.address
        client.size = self.address_size
        self.block = self.site.take_block(request_room(&self.site.request, self.entry.asking, ask))
        self.block.size = build_request(&self.site.request, self.entry.asking, &client, ask,
                                        self.block.data)
        self.replayable = True
        return 0

    cdef int set_joined(self, Handle joined) except -1:
        """The fetch to wait for; the lease is ours."""
        if self.joined:
            self.store.release(self.joined)
        self.joined = joined
        return 0

    # -- ends --------------------------------------------------------------------------------------

    cdef int start_following(self) except -1:
        self.following = True
        self.site.followers.add(self)
        return 0

    cdef int stop_following(self) except -1:
        self.following = False
        self.site.followers.discard(self)
        return 0

    cdef int forget(self) except -1:
        """The request is over for the cache."""
        if self.following:
            self.stop_following()
        if self.filler is not None:
            self.filler.leader = None
            if self.filler.overflow:           # it was waiting for this reader
                self.filler.fail()
            self.filler = None
        self.release_all()
        self.site.fetchers.discard(self)
        self.joins = 0
        self.restarts = 0
        self.alone = False
        self.as_get = False
        self.was_hit = False
        self.hits = 0
        return 0

    cdef int end_trip(self) except -1:
        """The server has answered all that is wanted of it; the client has still to be served."""
        self.count_out(self.entry.tier, now_us() - self.started_us)
        self.let_go(self.node_keeps and self.answer_done and self.request_done)
        if self.block != NULL:
            self.site.give_block(self.block)
            self.block = NULL
        return 0

    cdef int leave(self) except -1:
        """The client is gone; what is being fetched for the cache is fetched on."""
        if not self.fill or (self.phase != AWAIT and self.phase != WAITING):
            return Relay.leave(self)
        if not self.ghost:
            self.ghost = True
            self.site.fetchers.add(self)
            self.entry.tier.cells[TC_CLIENT_ABORTS] += 1
        # The loss of a connection takes its timer out of the wheel.
        if self.phase == AWAIT:
            return self.arm(self.answer_ms)
        if self.wait == WAIT_SLOT:
            self.wheel.arm(&self.timer, self.queue_due_ms)
            return 0
        return self.arm(self.server.tier.connect_ms if self.wait == WAIT_CONNECT
                        else self.entry.tier.connect_ms)

    cdef int cut(self) except -1:
        if self.ghost:
            self.phase = LINGER
            return self.log()
        return Relay.cut(self)

    # -- reading an object -------------------------------------------------------------------------

    cdef int feed(self) except -1:
        if self.feed_with(0) and self.phase == STREAM:
            return self.run(LOG)
        return 0

    cdef int feed_with(self, uint32_t head_size) except -1:
        """Send the head that is in `out`, if any, and what there is of the body; 1 at its end."""
        cdef iovec[FEED_PARTS + 5] parts
        cdef char size_line[FRAME_BYTES]
        cdef Seen seen
        cdef int count, bodies
        cdef uint64_t n
        while True:
            self.store.see(self.object, &seen)
            if seen.length >= 0 and self.end > <uint64_t>seen.length:
                self.end = <uint64_t>seen.length
            count = 0
            bodies = FEED_PARTS
            n = 0
            if self.at < self.end:
                n = self.store.body(self.object, self.at, min(self.end - self.at,
                                                              <uint64_t>FEED_BYTES),
                                    &parts[2], &bodies)
            if head_size:
                count = add_part(&parts[0], count, self.site.out.data, head_size)
            count = self.join_parts(&parts[0], count, bodies if n else 0, n, size_line)
            self.at += n
            if self.at >= self.end and self.answer_framing == FRAME_CHUNKED:
                count = add_part(&parts[0], count, b"0\r\n\r\n", 5)
            self.send(&parts[0], count)
            self.entry.tier.cells[TC_BYTES_OUT] += n + head_size
            head_size = 0
            if self.broken:
                self.drop()
                return 0
            if self.at >= self.end:
                return 1
            if self.blocked:
                self.arm(self.entry.tier.client_ms)
                return 0
            if n == 0 and not self.wait_for_more(&seen):
                return 0
        return 0

    cdef int join_parts(self, iovec *parts, int count, int bodies, uint64_t n,
                        char *size_line) noexcept:
        """Bring the body's parts, which stand from parts[2] on, behind the `count` first ones,
        framed; the new count."""
        cdef int i
        cdef Piece chunk
        cdef iovec[FEED_PARTS] body
        cdef iovec[3] frame
        if not bodies:
            return count
        if self.answer_framing == FRAME_CHUNKED:
            chunk.payload = NULL
            chunk.size = <uint32_t>n
            for i in range(bodies):
                body[i] = parts[2 + i]
            frame_chunk(&chunk, size_line, &frame[0], 0)
            parts[count] = frame[0]
            for i in range(bodies):
                parts[count + 1 + i] = body[i]
            parts[count + 1 + bodies] = frame[2]
            return count + 2 + bodies
        if count == 1 and parts[0].iov_len + n <= GATHER_BYTES:
            for i in range(bodies):
                memcpy(<char *>parts[0].iov_base + parts[0].iov_len, parts[2 + i].iov_base,
                       parts[2 + i].iov_len)
                parts[0].iov_len += parts[2 + i].iov_len
            return 1
        for i in range(bodies):
            parts[count + i] = parts[2 + i]
        return count + bodies

    cdef int wait_for_more(self, Seen *seen) except -1:
        """All that is there was sent; 1: look again before waiting."""
        if seen.state == FAILED or seen.state == ALONE:
            return self.nothing_more()
        self.arm(2 * self.entry.between_ms)    # who fetches it gives up before
        if self.following:
            return 0
        self.start_following()
        self.store.follow(self.object)
        return 1

    cdef int nothing_more(self) except -1:
        """No more of the body is stored."""
        if self.filler is not None and self.filler.overflow and self.filler.object:
            return self.pump()
        self.cut()
        return 0

    cdef int pump(self) except -1:
        """The cache takes no more of the body: pass on what the fill has, then let it go on."""
        cdef Fill filler = self.filler
        cdef iovec[4] parts
        cdef char size_line[FRAME_BYTES]
        cdef Piece piece
        cdef int count = 0
        cdef bint is_last
        # Where in the body it begins; who wants a part of it may not be there yet.
        cdef uint64_t begin = filler.stored_bytes - filler.kept.size
        cdef uint32_t skip = <uint32_t>min(self.at - begin, <uint64_t>filler.kept.size)
        piece.payload = filler.kept.data + skip
        piece.size = <uint32_t>min(filler.kept.size - skip, self.end - self.at)
        self.at += piece.size
        if self.answer_framing == FRAME_CHUNKED:
            count = frame_chunk(&piece, size_line, &parts[0], 0)
        elif piece.size:
            count = add_part(&parts[0], 0, piece.payload, piece.size)
        is_last = self.at >= self.end or (filler.answer_done and not filler.is_squeezing)
        if is_last and self.answer_framing == FRAME_CHUNKED:
            count = add_part(&parts[0], count, b"0\r\n\r\n", 5)
        self.send(&parts[0], count)
        self.entry.tier.cells[TC_BYTES_OUT] += piece.size
        release(&filler.kept)
        if is_last:
            filler.leader = None
            self.filler = None
            filler.end()
            return self.run(LOG)
        if self.broken:
            return self.drop()
        self.arm(self.entry.tier.client_ms if self.blocked else 2 * self.entry.between_ms)
        # Not paused: another object has moved; what the fill waits for keeps its deadline.
        if self.blocked or filler.is_squeezing or not filler.node.paused:
            return 0
        return filler.go_on()

    # -- following ---------------------------------------------------------------------------------

    cdef int on_moved(self) except -1:
        cdef Seen seen
        if self.phase == STREAM:
            return 0 if self.blocked else self.feed()
        if self.phase == WAITING and self.wait == WAIT_FILL and self.joined:
            self.store.see(self.joined, &seen)
            if seen.state != BUSY:
                self.stop_following()
                return self.resume_at(JOIN)
        return 0

    cdef int tier_row(self, Tier tier) noexcept:
        if self.fill and tier.kind == TIER_CDN:
            return MISS
        return Relay.tier_row(self, tier)

    cdef int waited_out(self) except -1:
        if self.wait == WAIT_FILL:             # too long: as if nobody fetched it
            self.stop_following()
            self.alone = True
            return self.resume_at(JOIN)
        return Relay.waited_out(self)

    cdef int on_killed(self, bint by_server) except -1:
        if self.phase == WAITING and self.wait == WAIT_FILL:
            self.stop_following()
            self.fail_with(502, self.entry.cdn)
            return self.resume_at(ERROR)
        return Relay.on_killed(self, by_server)

    # -- ghosts ------------------------------------------------------------------------------------

    cdef int start_ghost(self, Cached other) except -1:
        """Take over from `other`, which has the request at hand, what it was to fetch."""
        self.ghost = True
        self.background = True
        self.lost = True
        self.site.fetchers.add(self)
        self.requests = 1
        self.address_size = other.address_size
        memcpy(self.address, other.address, other.address_size)
        self.source = other.source
        self.keys = other.keys
        self.key_hash[0] = other.key_hash[0]
        self.key_hash[1] = other.key_hash[1]
        self.encoding = other.encoding
        self.wall_us = other.wall_us
        self.method = self.sent_method = M_GET
        self.minor = 1
        self.safe = self.idempotent = self.request_done = True
        self.started_us = other.started_us
        self.fill = other.fill
        other.fill = 0
        self.prior = other.object
        self.store.share(self.prior)
        self.hold_question()
        return 0
