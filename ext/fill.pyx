"""An answer on its way into the cache: from the server's connection into a stored object.

Theory. When the head of an answer that is to be stored has come, the session hands its trip over to
a fill, and becomes a reader of the object like every other request for it. So nobody waits for a
slow client, the fetch goes on when its client is gone, and there is one way in which clients get
stored answers.

When the cache takes no more of a body (longer than `max_object`, or everything else is in use), the
object leaves the index and readers that joined are cut; the leader reads what is stored and then,
piece by piece, what the fill has next (`Cached.pump`), while the server waits for it.

Ownership: a fill is held by its node connection, and by `leader` until one of the two is done;
`site.fetchers` counts it for the drain.
"""
cimport cython
from libc.stdint cimport int64_t

from ext.arena cimport SC_BYTES_OUT, SC_RESPONSE_ERRORS, SC_SERVER_ABORTS
from ext.body cimport Piece, body_take
from ext.http1 cimport BODY_UNTIL_CLOSE
from ext.store cimport ALONE, FAILED, STORE_OK
from ext.stream cimport drop_front, keep
from ext.timers cimport now_ms, now_us, wall_us
from ext.upstream cimport NodeConnection

cdef enum:
    SQUEEZE_BYTES_INLINE = 8192    # about 0.2 ms; a thread costs about 0.1 ms


@cython.no_gc_clear                # __dealloc__ reads store
cdef class Fill(Trip):
    """Made by the step `answer`; lives until the body is whole or has failed."""

    def __cinit__(self, Entry entry):
        self.entry = entry
        self.site = entry.site
        self.wheel = entry.site.wheel
        self.readiness = entry.site.readiness
        self.store = entry.cache.store

    def __dealloc__(self):
        if self.object:                        # nobody ended it: its worker is going down
            self.store.abandon(self.object, FAILED, 0)
            self.store.release(self.object)

    cdef int begin(self, Trip trip, Handle object, Member leader) except -1:
        """Take over a trip whose answer's head has come. The lease on `object` is ours now."""
        trip.hand_over(self)
        self.object = object
        self.leader = leader
        self.site.fetchers.add(self)
        return 0

    cdef uint32_t take(self, char *p, uint32_t n) except? 0xFFFFFFFF:
        """Store what is at hand of the body; how many bytes were used. `after` follows."""
        cdef Piece piece
        if body_take(&self.answer_body, p, n, &self.site.trailers, &piece) < 0:
            self.server.cells[SC_RESPONSE_ERRORS] += 1
            self.fail()
            return n
        self.answer_done = piece.last
        if piece.last and piece.used < n:
            self.node_keeps = False            # bytes behind the answer
        if self.squeezer is not None:
            self.squeeze(piece.payload, piece.size, piece.last)
        elif piece.size:
            self.put(piece.payload, piece.size)
        return piece.used

    cdef int put(self, const char *p, uint32_t n) except -1:
        """Store bytes as clients get them, or keep them for the leader."""
        self.stored_bytes += n
        if (self.overflow or self.stored_bytes > self.entry.cache.max_object_bytes
                or self.store.append(self.object, p, n) != STORE_OK):
            if not self.overflow:
                self.overflow = True
                self.store.abandon(self.object, ALONE, 0)
            keep(&self.kept, p, n)
        return 0

    cdef int squeeze(self, const char *p, uint32_t n, bint last) except -1:
        """Compress: a little at once, more in a thread, while the server waits."""
        cdef bytes ready
        if n <= SQUEEZE_BYTES_INLINE:
            ready = self.squeezer.feed(p[:n], last)
            return self.put(ready, <uint32_t>len(ready)) if ready else 0
        self.is_squeezing = True
        self.node.pause()
        self.timer.due_ms = 0
        job = self.site.loop.run_in_executor(None, self.squeezer.feed, p[:n], last)
        job.add_done_callback(self.on_squeezed)
        return 0

    def on_squeezed(self, job):
        """A thread has compressed a piece."""
        cdef bytes ready
        self.is_squeezing = False
        if not self.object:                    # the fill has ended meanwhile
            return
        ready = job.result()
        if ready:
            self.put(ready, <uint32_t>len(ready))
        if self.answer_done or self.kept.size:
            self.after()
        else:
            self.go_on()

    cdef int after(self) except -1:
        """Go on after `take`: the end, the leader's turn, or more from the server."""
        if not self.object or self.is_squeezing:
            return 0
        if self.overflow:
            if self.leader is None:
                return self.fail()
            if self.kept.size or self.answer_done:
                self.node.pause()
                self.timer.due_ms = 0
                return self.leader.on_moved()
        if self.answer_done:
            self.store.finish(self.object, <int64_t>(wall_us() // 1000))
            return self.end()
        self.wheel.arm(&self.timer, now_ms() + self.entry.between_ms)
        return 0

    cdef int fail(self) except -1:
        """The body does not come to its end: what is stored of it is for nobody."""
        self.node_keeps = False
        self.answer_done = False
        if self.object and not self.overflow:
            self.store.abandon(self.object, FAILED, 0)
        return self.end()

    cdef int end(self) except -1:
        """Count, and let everything go."""
        cdef Member leader = self.leader
        self.timer.due_ms = 0
        self.site.fetchers.discard(self)
        self.leader = None
        if self.object:
            self.store.release(self.object)
            self.object = 0
        self.count_out(self.entry.tier, now_us() - self.started_us)
        self.let_go(self.node_keeps and self.answer_done)
        # Whoever is woken by us, and not by the store, has to see that nothing more comes.
        return leader.on_moved() if self.overflow and leader is not None else 0

    cdef int go_on(self) except -1:
        """More from the server: what was at hand is stored, or the leader has sent it."""
        self.wheel.arm(&self.timer, now_ms() + self.entry.between_ms)
        self.node.resume()
        return self.on_answer(b"", 0) if self.node.kept.size else 0

    # -- from the server -------------------------------------------------------------------------

    cdef int on_answer(self, char *p, uint32_t n) except -1:
        cdef NodeConnection node = self.node
        cdef uint32_t used
        self.server.cells[SC_BYTES_OUT] += n
        if node.kept.size:
            keep(&node.kept, p, n)
            used = self.take(node.kept.data, node.kept.size)
            if self.node is node:
                drop_front(&node.kept, used)
        else:
            used = self.take(p, n)
            if self.node is node and used < n:
                keep(&node.kept, p + used, n - used)
        return self.after()

    cdef int on_answer_end(self, bint reset) except -1:
        if self.answer_body.kind == BODY_UNTIL_CLOSE and not reset:
            self.node_keeps = False
            self.answer_done = True
            if self.squeezer is not None:
                self.squeeze(b"", 0, True)
            return self.after()
        self.server.cells[SC_SERVER_ABORTS] += 1
        return self.fail()

    cdef int on_killed(self, bint by_server) except -1:
        return self.fail() if self.object and not self.is_squeezing else 0

    cdef int on_timer(self) except -1:
        self.server.cells[SC_SERVER_ABORTS] += 1
        return self.fail()
