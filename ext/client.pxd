# One client connection and the request on it: the state that the steps (session.pyx) work on.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ext.body cimport BodyReader
from ext.limits cimport TRIED_MAX
from ext.persist cimport CookieSeen
from ext.site cimport Block, Entry, Site
from ext.tunnel cimport Tunnel
from ext.upstream cimport Connecting, Server, Tier

cdef enum Step:                    # rows of STEPS in session.pyx
    RECEIVE, HASH, LOOKUP, HIT, JOIN, MISS, PASS, ELB, HAPROXY, FETCH, ANSWER, DELIVER, ERROR, LOG,
    WAIT,                          # the step left; an event re-enters at the same row
    DONE

cdef enum Phase:
    IDLE                           # between requests, or inside a head
    WAITING                        # for a queue slot, a turn-around, a connect, another's fetch
    AWAIT                          # the request is being sent; no answer head yet
    RELAY                          # the answer's head has been sent on
    STREAM                         # being answered from the cache
    TUNNEL                         # after 101
    LINGER                         # answered and closing: what still arrives is dropped
    GREET                          # a PROXY header comes first

cdef enum Hold:
    HOLD_NONE, HOLD_ON, HOLD_OVER

cdef enum Wait:
    WAIT_SLOT, WAIT_TURN, WAIT_CONNECT, WAIT_FILL, WAIT_TARPIT

cdef class Client(Tunnel):
    cdef Site site
    cdef Entry entry
    cdef uint8_t phase             # Phase
    cdef uint8_t row               # Step to re-enter after WAIT
    cdef uint8_t wait              # Wait
    cdef bint in_use               # use() is running: no other request starts inside it
    cdef bint head_timed           # the deadline of the head being read is set
    cdef uint8_t chunks_wait       # Hold: of a chunked body whose end may be about to come
    cdef uint32_t requests         # on this connection; also the exchange's serial number
    cdef uint64_t serial           # of this connection in its worker
    cdef uint64_t made_us          # timers.now_us of its begin

    # the request
    cdef uint8_t method, minor
    cdef uint8_t sent_method       # to the server: a HEAD may be fetched as GET
    cdef uint16_t field_count      # of its head
    cdef bint keep_alive, upgrade, safe, idempotent    # RFC 9110 9.2.1, 9.2.2
    cdef bint request_done         # all of it has been sent on
    cdef bint replayable           # the block holds all that was sent of it
    cdef bint one_use              # neither connection takes another request: desync mitigation
    cdef uint8_t desync            # DesyncReason
    cdef int sticky_found          # what its cookie says of a target: StickyFound
    cdef BodyReader request_body
    cdef uint64_t request_bytes    # of its body
    cdef uint64_t keys[3]          # of the balancing of each TierKind; 0 = none
    cdef Block *block
    cdef char *part                # body bytes at hand: borrowed while use() or resume_at() runs
    cdef uint32_t part_size, part_used

    # rules of the haproxy tier
    cdef bint judged               # they have run for this request
    cdef Block *txn                # samples.Txn: what they keep about it; NULL: nothing
    cdef bint once                 # disable-l7-retry: what was sent is sent to nobody else
    cdef object scene              # samples.Scene that `txn` belongs to
    cdef bytes made                # the answer that one of them gives; None: the tier's page
    cdef uint32_t answer_ms        # longest wait for the answer's head
    cdef uint32_t tunnel_ms        # as a rule has set it; 0: the tier's

    # its way; the rest is Trip's
    cdef Connecting connecting
    cdef Server same               # the server that the request belongs to: it waits for no other
    cdef uint16_t tried[TRIED_MAX]
    cdef uint8_t tried_count
    cdef CookieSeen cookie
    cdef int attempts_left
    cdef uint64_t queue_due_ms     # 0 = has not queued yet

    # the answer; the rest is Trip's
    cdef Tier blamed               # whose page an error gets
    cdef str reason                # what the cdn's page says has failed; None: the status's own
    cdef uint8_t answer_framing, interims
    cdef bint close_after          # the client's connection ends with this answer
    cdef char *got                 # answer bytes at hand: borrowed while on_answer runs
    cdef uint32_t got_size, got_used

    # engine
    cdef int run(self, int step) except -1
    cdef int resume_at(self, int step) except -1
    cdef int after(self) except -1
    cdef uint32_t idle_ms(self) noexcept
    cdef int next_request(self) except -1
    cdef int read_on(self) except -1
    cdef int log(self) except -1   # the row `log`, for ends outside of the table
    cdef void note_method(self, int method) noexcept
    cdef uint32_t tunnel_wait(self) noexcept
    cdef int fail_with(self, int status, Tier tier) noexcept

    # from the client
    cdef int greet(self, const char *p, uint32_t n) except -1
    cdef uint32_t use(self, char *p, uint32_t n) except? 0xFFFFFFFF
    cdef int use_kept(self) except -1
    cdef bint hold_chunks(self, const char *p, uint32_t n) noexcept
    cdef int refuse(self, int reason) except -1
    cdef int end_if_cut(self) except -1

    # ends
    cdef int leave(self) except -1
    cdef int linger(self) except -1

    # the other side: relay.pyx, cached.pyx
    cdef int send_part(self, bint with_head) except -1
    cdef int attempt_failed(self, int failure) except -1
    cdef void leave_queue(self) noexcept
    cdef int waited_out(self) except -1
    cdef int feed(self) except -1
    cdef int cut(self) except -1
