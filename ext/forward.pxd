# Re-serialisation of heads: what is forwarded is written from the parsed fields.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from ext.http1 cimport Head

cdef enum:
    HOPS_MAX = 4                   # cdn, elb, haproxy + one of reserve
    ID_COUNT = 64                  # more than HeaderId has rows

cdef enum Mode:                    # of X-Forwarded-Proto, -Host, -Port
    MODE_OFF, MODE_SET, MODE_IF_NONE

cdef enum Framing:
    FRAME_NONE, FRAME_LENGTH, FRAME_CHUNKED, FRAME_CLOSE

cdef struct Text:                  # borrowed from a bytes object that the Recipe holds
    const char *data
    uint32_t size

cdef struct Peer:                  # one address that a tier adds to X-Forwarded-For
    bint client                    # the client's own address; else `text`
    bint new_line                  # HAProxy's way: a field of its own
    Text text

cdef class Recipe:
    cdef list held                 # keeps the texts alive
    cdef Text _text(self, bytes text)
    cdef uint8_t drop_request[ID_COUNT]    # fields of requests not copied, by HeaderId
    cdef uint8_t drop_response[ID_COUNT]
    cdef Peer peers[HOPS_MAX]
    cdef int peer_count
    cdef bint merge_peers          # the first peer continues the received list
    cdef int proto, host, port     # Mode
    cdef Text proto_line, port_line
    cdef Text via[HOPS_MAX]        # pseudonyms of the tiers that add Via
    cdef int via_count
    cdef bint forwarded
    cdef bint date                 # add Date to an answer that has none (RFC 9110 6.6.1)

cdef uint32_t request_room(Head *head, Recipe recipe) noexcept
cdef uint32_t build_request(Head *head, Recipe recipe, const Text *client, char *out) noexcept
cdef uint32_t response_room(Head *head, Recipe recipe) noexcept
cdef uint32_t build_response(Head *head, Recipe recipe, int framing, int connection,
                             const Text *date, char *out) noexcept
cdef uint32_t trailers_room(Head *trailers) noexcept
cdef uint32_t build_trailers(Head *trailers, char *out) noexcept

cdef enum ConnectionField:         # what build_response says about the client's connection
    SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_UPGRADE
