# A client connection whose request may be answered from the cache.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec

from ext.fill cimport Fill
from ext.forward cimport Ask
from ext.relay cimport Relay
from ext.site cimport Block
from ext.store cimport Asked, Handle, Seen, Store, StoredHead

cdef enum:
    WEAKENED = 128                 # with a Coding: the stored ETag has a W/ of ours in front

cdef class Cached(Relay):
    cdef Store store               # None where the chain has no cdn
    cdef uint64_t key_hash[2]
    cdef Block *question           # the request's head as received, while it is needed again
    cdef uint8_t encoding          # deliver.Coding that the client takes
    cdef uint8_t visits            # sites of this service in front of this one
    cdef uint8_t joins             # times that this request has waited for another's fetch
    cdef uint8_t restarts
    cdef bint ghost                # there is no client (any more): it fetches for the cache
    cdef bint background           # and there never was one
    cdef bint alone                # neither waits for others nor makes them wait
    cdef bint as_get               # a HEAD that is fetched as GET
    cdef bint asks_prior           # the server was asked whether `prior` is still good
    cdef bint following            # in site.followers
    cdef bint is_stale             # what is found is served stale
    cdef bint was_hit              # X-Cache
    cdef uint32_t hits             # X-Cache-Hits
    cdef uint64_t wall_us          # when the cache was last asked: unix time
    cdef int64_t requested_ms      # when the server was asked: unix time

    # leases; 0 = none
    cdef Handle object             # what the client is answered from
    cdef Handle prior              # stale: to be validated, or to be served when the origin fails
    cdef Handle joined             # what it waits for
    cdef Handle fill               # being fetched by this request
    cdef Fill filler               # has the trip of this request now

    # the stored body that is sent
    cdef uint64_t at, end          # next byte, and the one behind the last

    cdef int hold_question(self) except -1
    cdef int read_prior(self, StoredHead *stored) except -1
    cdef int write_question(self) except -1
    cdef int write_request(self, const Ask *ask) except -1
    cdef int set_joined(self, Handle joined) except -1
    cdef int recall(self) except -1
    cdef int ask(self, Asked *asked) except -1
    cdef int start_following(self) except -1
    cdef int stop_following(self) except -1
    cdef void release_all(self) noexcept
    cdef int join_parts(self, iovec *parts, int count, int bodies, uint64_t n,
                        char *size_line) noexcept
    cdef int wait_for_more(self, Seen *seen) except -1
    cdef int forget(self) except -1
    cdef int end_trip(self) except -1
    cdef int feed_with(self, uint32_t head_size) except -1
    cdef int nothing_more(self) except -1
    cdef int pump(self) except -1
    cdef int start_ghost(self, Cached other) except -1
