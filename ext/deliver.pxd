# Heads of stored answers: as they are kept, and as clients get them.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ext.conditions cimport ByteRange
from ext.encoding cimport CODING_BROTLI, CODING_GZIP, CODING_NONE, Coding, normal_encoding
from ext.fields cimport Text
from ext.http1 cimport Head

cdef enum Form:                    # what is made of a stored head
    FORM_WHOLE                     # its own status line and fields
    FORM_NOT_MODIFIED              # 304: the fields of RFC 9110 §15.4.5 only
    FORM_PART                      # 206 with one Content-Range
    FORM_PARTS                     # 206 multipart/byteranges
    FORM_UNSATISFIABLE             # 416: Content-Range: bytes */length, no body

cdef enum CacheMark:               # X-Cache: a pass is a MISS, an answer of our own a HIT
    MARK_MISS, MARK_HIT

cdef class Marks:                  # of one listener's cdn: what it writes into every answer
    cdef list held
    cdef bint enabled              # X-Served-By, X-Cache, X-Cache-Hits, X-Timer
    cdef Text served_by            # cache-fra1234-FRA
    cdef Text pop                  # FRA

cdef struct Delivery:
    int form                       # Form
    int framing                    # forward.Framing
    int say                        # forward.ConnectionField
    int64_t length                 # Content-Length with FRAME_LENGTH
    int64_t total                  # of the whole body; -1: unknown (a 206 says `*` then)
    ByteRange range                # FORM_PART
    const char *boundary           # FORM_PARTS: NUL-terminated, chosen by the caller
    bint with_age                  # Age is written: not for an answer that was just fetched
    uint32_t age_s
    int mark                       # CacheMark
    uint32_t hits                  # X-Cache-Hits
    uint64_t started_us            # X-Timer: unix time of the request's arrival
    uint32_t elapsed_ms
    bint inner                     # for another cdn (a shield's client): Surrogate-* stay
    bint debug                     # Fastly-Debug: adds the Fastly-Debug-* fields and Surrogate-*
    int64_t ttl_ms                 # the rest is for debug only: remaining lifetime
    int64_t grace_ms               # remaining stale-while-revalidate and stale-if-error
    uint64_t digest[2]             # of the cache key

# 0: the head would be too long to be read again; nothing may be stored (merged: keep the old one).
cdef uint32_t stored_room(const Head *response) noexcept
cdef uint32_t build_stored(const Head *response, const Text *date, int coding, bint varies,
                           uint32_t *visible, char *out) noexcept
cdef uint32_t merged_room(const Head *stored, const Head *fresh) noexcept
cdef uint32_t build_merged(const Head *stored, const Head *fresh, int policy, uint32_t *visible,
                           char *out) noexcept

# `via`: what follows `Via: ` and the entries of the origin (Recipe.via_answer); size 0: none.
cdef uint32_t delivery_room(uint32_t head_size) noexcept
cdef uint32_t build_delivery(const char *head, uint32_t head_size, uint32_t visible_size,
                             const Delivery *d, Marks marks, const Text *via,
                             char *out) noexcept
# `inner`: the answer that is passed through, NULL for one of our own.
cdef char *write_marks(char *o, Marks marks, const Head *inner, const Delivery *d) noexcept
# The delimiter and the head of one part of FORM_PARTS; `range` NULL: the delimiter at the end.
# The room is delivery_room(head_size).
cdef uint32_t part_head(const char *head, uint32_t head_size, const ByteRange *range,
                        int64_t total, const char *boundary, char *out) noexcept
