# What may be stored, what may be reused, and for how long. Pure functions of (request, answer,
# rules, now); times are milliseconds since the epoch, lifetimes seconds.
from libc.stdint cimport int64_t, uint32_t
from ext.http1 cimport Field, Head

cpdef enum Policy:
    FASTLY = 0
    RFC9111 = 1

cdef struct Rules:                 # a tier's settings; made by fastly_rules or rfc9111_rules
    int policy                     # Policy
    uint32_t default_ttl_s         # of an answer that says nothing about its lifetime
    uint32_t pass_s                # fastly: least time that a hit-for-pass marker lives
    uint32_t heuristic_percent     # rfc9111: of the time since Last-Modified; 0: no heuristic
    uint32_t heuristic_max_s
    uint32_t disconnected_s        # rfc9111: stale without stale-if-error, when no origin answers
    uint32_t stale_while_revalidate_max_s   # caps; 0 at a shield: it never serves stale
    uint32_t stale_if_error_max_s
    bint passes_no_store           # fastly: Cache-Control: no-store is hit-for-pass, else ignored
    bint reads_surrogate           # rfc9111: Surrogate-Control is a targeted field

cdef Rules fastly_rules(uint32_t default_ttl_s) noexcept nogil
cdef Rules rfc9111_rules(uint32_t default_ttl_s) noexcept nogil

# -- an answer arrives ---------------------------------------------------------------------------

cpdef enum Verdict:
    NOT_STORED = 0
    STORED = 1
    HIT_FOR_PASS = 2               # nothing is stored but that the next requests go through alone

cpdef enum NoStore:                # why an answer is not stored
    STORABLE = 0
    METHOD = 1                     # the request's method is not GET, or a POST without the rest
    STATUS = 2                     # not cacheable without explicit freshness, or at all
    PARTIAL = 3                    # 206, or 416 to a range
    NOT_UNDERSTOOD = 4             # must-understand with a status unknown here
    NO_STORE = 5
    PRIVATE = 6
    SET_COOKIE = 7
    REQUEST_NO_STORE = 8
    AUTHORIZATION = 9
    VARY_STAR = 10                 # or a Vary that is no list of names
    VARY_TOO_LONG = 11
    NO_FRESHNESS_NO_VALIDATOR = 12  # stale at once, and nothing to ask the origin with
    NOT_FRESH = 13                 # fastly: stale at once, and not to be served stale

cdef enum FreshnessFlag:
    O_MUST_REVALIDATE = 1          # never served stale
    O_NO_CACHE = 2                 # never served without asking
    O_IMMUTABLE = 4                # RFC 8246
    O_HEURISTIC = 8                # the lifetime was guessed from Last-Modified
    O_ETAG = 16
    O_LAST_MODIFIED = 32
    O_VALIDATORS = 48              # O_ETAG | O_LAST_MODIFIED
    O_PASS = 64                    # a hit-for-pass marker
    O_ESI = 128                    # Surrogate-Control: content="ESI/1.0"
    O_SOFT_PURGED = 256

cdef struct Freshness:             # kept with each object: 32 bytes
    int64_t born_ms                # now - born_ms is the current age (RFC 9111 §4.2.3)
    int64_t fresh_until_ms
    uint32_t stale_while_revalidate_s   # both count from fresh_until_ms
    uint32_t stale_if_error_s
    uint32_t flags                 # FreshnessFlag

cdef struct Storing:
    int verdict                    # Verdict
    int reason                     # NoStore
    uint32_t lifetime_s            # as the answer gave it, before its age
    Freshness freshness            # of the object, or of the hit-for-pass marker

cdef Storing decide_store(const Head *request, const Head *response, const Rules *rules,
                          int64_t requested_ms, int64_t now_ms) noexcept nogil

# -- a request meets an object -------------------------------------------------------------------

cpdef enum Reuse:
    MISS = 0                       # fetch it: nothing is there, or nothing to ask with
    FRESH = 1
    STALE = 2                      # the client takes it stale (max-stale); nothing is fetched
    STALE_WHILE_REVALIDATE = 3     # serve it and fetch in the background
    REVALIDATE = 4                 # ask the origin with the validators first
    PASS = 5                       # hit-for-pass
    GATEWAY_TIMEOUT = 6            # only-if-cached: 504

cdef int decide_reuse(const Freshness *object, const Head *request, const Rules *rules,
                      int64_t now_ms) noexcept nogil
cdef uint32_t current_age_s(const Freshness *object, int64_t now_ms) noexcept nogil
cdef int64_t remaining_ms(const Freshness *object, int64_t now_ms) noexcept nogil
cdef void make_stale(Freshness *object, int64_t now_ms) noexcept nogil

# -- the origin fails ----------------------------------------------------------------------------

cdef enum:
    DISCONNECTED = 0               # no connection, no answer in time, no healthy server

cdef bint may_serve_stale_on_error(const Freshness *object, const Head *request,
                                   const Rules *rules, int status,
                                   int64_t now_ms) noexcept nogil

# -- validation and invalidation -----------------------------------------------------------------

cdef Storing decide_refresh(const Head *request, const Head *stored, const Head *fresh,
                            const Rules *rules, int64_t requested_ms,
                            int64_t now_ms) noexcept nogil
cdef bint updates_field(const Rules *rules, const Field *field) noexcept nogil
cdef bint decide_invalidation(const Rules *rules, int method, int status) noexcept nogil
cdef bint is_cacheable_status(int policy, int status) noexcept nogil
