# Re-serialisation of heads: what is forwarded is written from the parsed fields.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from ext.fields cimport ID_COUNT, Text
from ext.http1 cimport Head, HeadLimits
from ext.tracing cimport Tracer

cdef enum:
    HOPS_MAX = 4                   # cdn, elb, haproxy + one of reserve

cdef enum Mode:                    # of X-Forwarded-Proto, -Host, -Port
    MODE_OFF, MODE_SET, MODE_IF_NONE

cdef enum Framing:
    FRAME_NONE, FRAME_LENGTH, FRAME_CHUNKED, FRAME_CLOSE

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
    cdef Text via_answer           # all of them, as an answer's Via has them
    cdef bint forwarded
    cdef bint date                 # add Date to an answer that has none (RFC 9110 6.6.1)
    cdef bint fastly               # a cdn is in the chain: it writes Fastly's fields
    cdef bint strict_client_ip     # a client's own Fastly-Client-IP is replaced
    cdef bint normal_encodings     # Accept-Encoding becomes one coding
    cdef bint trace                # an elb is in the chain: it writes X-Amzn-Trace-Id
    cdef Tracer tracer
    cdef bint plain_names          # fields with other names than [-A-Za-z0-9]+ are not sent on
    cdef bint plain_host           # Host goes without the port of its scheme
    cdef Text ff_service           # the first part of our entry in Fastly-FF, with its `!`
    cdef Text ff_pop               # the second one, likewise
    cdef Text ff_entry             # all of it

cdef enum:
    ENCODING_KEPT = -1             # else a Coding

cdef struct Ask:                   # a request that is not sent as it came
    bint as_get                    # the method is GET, without a body
    bint whole                     # Range and If-Range are left out
    bint unconditional             # the client's conditions are left out; ours imply it
    const char *etag               # If-None-Match, with quotes; NULL: none
    uint32_t etag_size
    const char *last_modified      # If-Modified-Since, as the server wrote it; NULL: none
    uint32_t last_modified_size
    int encoding                   # Coding to accept, instead of what the request accepts

cdef uint32_t request_room(Head *head, Recipe recipe, const Ask *ask) noexcept
cdef uint32_t build_request(Head *head, Recipe recipe, const Text *client, const Ask *ask,
                            char *out) noexcept
cdef int refused_behind(const char *out, uint32_t size, const HeadLimits *limits) noexcept nogil
cdef int count_visits(const Head *head, Recipe recipe, bint *loop) noexcept
cdef uint32_t response_room(Head *head, Recipe recipe) noexcept
cdef uint32_t build_response(Head *head, Recipe recipe, int framing, int connection,
                             const Text *date, char *out) noexcept
cdef char *write_framing(char *o, int framing, int64_t length) noexcept nogil
cdef char *write_connection(char *o, int connection) noexcept nogil
cdef uint32_t trailers_room(Head *trailers) noexcept
cdef uint32_t build_trailers(Head *trailers, char *out) noexcept

cdef enum ConnectionField:         # what build_response says about the client's connection
    SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_UPGRADE
