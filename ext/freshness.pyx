"""Every decision of the cache about one answer and one request, without a clock and without state.

Theory. An answer is read once into `Facts`: its directives, dates and what else matters. From
them and the rules of a policy follows a `Freshness` of a few numbers, which is kept with the object
and is all that a hit looks at. Two policies, both whole functions of their own:

* rfc9111 is RFC 9111 as a shared cache reads it, with RFC 5861, 8246 and 9213. Where the RFC leaves
  a choice, what stores and reuses less is chosen, except that a heuristic lifetime is given.
* fastly is Fastly's documented behaviour (`deviates:` marks it): Surrogate-Control, s-maxage,
  max-age, Expires or a default TTL; `private` and Set-Cookie are hit-for-pass; the directives of
  requests are not read; stale only in the windows that the answer gave.

A targeted field (RFC 9213) is either used alone or not at all. The request is given as it was sent
to the origin: a HEAD that was fetched as GET is a GET here.

Called by: session (hit, miss, fetch, error), store (soft purge). Touches no Python but the facade.
"""
from libc.string cimport memcmp, memset

from ext.cachecontrol cimport (
    DELTA_MAX, Directives, D_ESI, D_IMMUTABLE, D_MALFORMED, D_MAX_AGE, D_MAX_STALE,
    D_MAX_STALE_ANY, D_MIN_FRESH, D_MUST_REVALIDATE, D_MUST_UNDERSTAND, D_NO_CACHE, D_NO_STORE,
    D_ONLY_IF_CACHED, D_PRIVATE, D_PROXY_REVALIDATE, D_PUBLIC, D_S_MAXAGE, D_STALE_IF_ERROR,
    D_STALE_WHILE_REVALIDATE)
from ext.conditions cimport V_DATE, V_LAST_MODIFIED
from ext.facts cimport (Facts, F_CDN, F_EXPIRES, F_EXPIRES_DATE, F_SET_COOKIE, field_of, read_facts,
                        read_refreshed, read_request, VARY_ANY, VARY_TOO_MANY)
from ext.headers cimport HeaderId, HOP_BY_HOP, same_name
from ext.http1 cimport (HeadLimits, method_number, M_GET, M_HEAD, M_OPTIONS, M_POST, M_TRACE,
                        parse_request_head, parse_response_head)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX

cdef struct Lifetime:
    bint is_explicit
    uint32_t seconds


cdef Rules fastly_rules(uint32_t default_ttl_s) noexcept nogil:
    """Fastly's defaults; `default_ttl_s` is 3600 in its boilerplate."""
    cdef Rules rules
    memset(&rules, 0, sizeof(Rules))
    rules.policy = FASTLY
    rules.default_ttl_s = default_ttl_s
    rules.pass_s = 120
    rules.stale_while_revalidate_max_s = rules.stale_if_error_max_s = DELTA_MAX
    return rules


cdef Rules rfc9111_rules(uint32_t default_ttl_s) noexcept nogil:
    """10 % of the time since Last-Modified, at most a day (RFC 9111 §4.2.2)."""
    cdef Rules rules = fastly_rules(default_ttl_s)
    rules.policy = RFC9111
    rules.heuristic_percent = 10
    rules.heuristic_max_s = 86400
    rules.reads_surrogate = True
    return rules


# -- cacheable statuses ----------------------------------------------------------------------------

cdef bint is_cacheable_status(int policy, int status) noexcept nogil:
    """May an answer be stored that says nothing about it?

    rfc9111: heuristically cacheable (RFC 9110 §15.1), without 206, which is never stored here.
    """
    if policy == FASTLY:
        return (status == 200 or status == 203 or (status >= 300 and status <= 302)
                or status == 404 or status == 410)
    return (status == 200 or status == 203 or status == 204 or status == 300 or status == 301
            or status == 308 or status == 404 or status == 405 or status == 410 or status == 414
            or status == 501)


cdef bint is_understood_status(int status) noexcept nogil:
    """Statuses whose caching is as RFC 9110 §15 says (RFC 9111 §3, must-understand)."""
    return (status >= 200 and status <= 205 or status >= 300 and status <= 303
            or status == 305 or status == 307 or status == 308
            or status >= 400 and status <= 417 or status == 421 or status == 422 or status == 426
            or status >= 500 and status <= 505)


# -- storing: common -------------------------------------------------------------------------------

cdef inline int64_t at_least_0(int64_t n) noexcept nogil:
    return n if n > 0 else 0


cdef inline uint32_t as_delta(int64_t seconds) noexcept nogil:
    """0 to DELTA_MAX (RFC 9111 §1.2.2)."""
    return <uint32_t>min(at_least_0(seconds), <int64_t>DELTA_MAX)


cdef int64_t floor_s(int64_t ms) noexcept nogil:
    return (ms - 999 if ms < 0 else ms) // 1000


cdef uint32_t validator_flags(const Facts *facts) noexcept nogil:
    return ((O_ETAG if facts.validators.etag != NULL else 0)
            | (O_LAST_MODIFIED if facts.validators.flags & V_LAST_MODIFIED else 0))


cdef Storing refuse(int reason) noexcept nogil:
    cdef Storing s
    memset(&s, 0, sizeof(Storing))
    s.verdict = NOT_STORED
    s.reason = reason
    return s


cdef int vary_reason(const Facts *facts) noexcept nogil:
    if facts.vary == VARY_ANY:
        return VARY_STAR
    return VARY_TOO_LONG if facts.vary == VARY_TOO_MANY else STORABLE


cdef Storing decide_store(const Head *request, const Head *response, const Rules *rules,
                          int64_t requested_ms, int64_t now_ms) noexcept nogil:
    """May the answer to a request sent at `requested_ms`, whose head came at `now_ms`, be stored,
    and how fresh is it?"""
    cdef Facts facts
    read_facts(response, floor_s(now_ms), &facts)
    if rules.policy == FASTLY:
        return store_fastly(request, response, &facts, rules, now_ms)
    return store_rfc9111(request, response, &facts, rules, requested_ms, now_ms)


cdef Storing decide_refresh(const Head *request, const Head *stored, const Head *fresh,
                            const Rules *rules, int64_t requested_ms,
                            int64_t now_ms) noexcept nogil:
    """The same for a stored answer that the 304 `fresh` has validated (RFC 9111 §4.3.4): each field
    is that of the 304 where it has one. Age and Set-Cookie are of the 304 alone.

    Not stored because of the request (AUTHORIZATION, REQUEST_NO_STORE): the object stays as it was.
    For another reason: it must go. May the 304 update it at all? conditions.may_refresh.
    """
    cdef Facts facts
    read_refreshed(stored, fresh, floor_s(now_ms), &facts)
    if rules.policy == FASTLY:
        return store_fastly(request, stored, &facts, rules, now_ms)
    return store_rfc9111(request, stored, &facts, rules, requested_ms, now_ms)


# -- storing: rfc9111 ------------------------------------------------------------------------------

cdef const Directives *ruling(const Facts *facts, const Rules *rules) noexcept nogil:
    """The one field that rules: the first valid one of the target list (RFC 9213 §2.2), else
    Cache-Control. Surrogate-Control is on the list when it says something about storing."""
    if facts.flags & F_CDN:
        return &facts.cdn
    if rules.reads_surrogate and facts.surrogate.seen & (D_MAX_AGE | D_NO_STORE | D_NO_CACHE
                                                         | D_PRIVATE | D_S_MAXAGE):
        return &facts.surrogate
    return &facts.cache_control


cdef Lifetime explicit_lifetime(const Facts *facts, const Directives *d) noexcept nogil:
    """RFC 9111 §4.2.1: s-maxage, max-age, Expires minus Date. A targeted field puts Expires out of
    force (RFC 9213 §2.2). Whatever is invalid is 0 (RFC 9111 §4.2.1, §5.3)."""
    cdef Lifetime life
    cdef int64_t date_s
    life.is_explicit = True
    life.seconds = 0
    if d.seen & D_MALFORMED:
        return life
    if d.seen & D_S_MAXAGE:
        life.seconds = d.s_maxage_s
    elif d.seen & D_MAX_AGE:
        life.seconds = d.max_age_s
    elif facts.flags & F_EXPIRES and d == &facts.cache_control:
        if facts.flags & F_EXPIRES_DATE:
            date_s = (facts.validators.date_s if facts.validators.flags & V_DATE
                      else facts.validators.received_s)
            life.seconds = as_delta(facts.expires_s - date_s)
    else:
        life.is_explicit = False
    return life


cdef uint32_t heuristic_lifetime(const Facts *facts, const Rules *rules) noexcept nogil:
    """A part of the time between Last-Modified and Date (RFC 9111 §4.2.2)."""
    cdef int64_t date_s = (facts.validators.date_s if facts.validators.flags & V_DATE
                           else facts.validators.received_s)
    cdef int64_t unchanged_s
    unchanged_s = at_least_0(date_s - facts.validators.last_modified_s)
    return <uint32_t>min(unchanged_s * rules.heuristic_percent // 100,
                         <int64_t>rules.heuristic_max_s)


cdef int64_t initial_age_ms(const Facts *facts, int minor, int64_t requested_ms,
                            int64_t now_ms) noexcept nogil:
    """corrected_initial_age (RFC 9111 §4.2.3). apparent_age counts only for HTTP/1.0, where caches
    leave Age out: with Date's whole seconds it would take up to one from every lifetime."""
    cdef int64_t age_ms = <int64_t>facts.age_s * 1000 + at_least_0(now_ms - requested_ms)
    if minor == 0 and facts.validators.flags & V_DATE:
        age_ms = max(age_ms, now_ms - facts.validators.date_s * 1000)
    return age_ms


cdef bint is_own_location(const Head *request, const Head *response) noexcept nogil:
    """Does Content-Location name the target of the request, as a path or as a whole URI?"""
    cdef const Field *f = field_of(response, <int>HeaderId.CONTENT_LOCATION)
    cdef const char *p
    cdef uint32_t size, scheme = 0
    if f == NULL or request.path_size == 0:
        return False
    p = response.base + f.value
    size = f.value_size
    if size > 7 and same_name(p, b"http", 4):
        scheme = 8 if p[4] == b's' or p[4] == b'S' else 7
        if (size != scheme + request.host_size + request.path_size
                or memcmp(p + scheme - 3, b"://", 3) != 0
                or memcmp(p + scheme, request.base + request.host, request.host_size) != 0):
            return False
        p += scheme + request.host_size
        size = request.path_size
    return size == request.path_size and memcmp(p, request.base + request.path, size) == 0


cdef int forbidden_rfc9111(const Head *request, const Head *response, const Facts *facts,
                           const Directives *d) noexcept nogil:
    """The conditions of RFC 9111 §3 that do not depend on a lifetime: a NoStore."""
    cdef int status = response.status
    cdef Directives asked
    if request.method != M_GET and request.method != M_POST:
        return METHOD
    if status < 200 or status == 304:
        return STATUS
    if status == 206 or (status == 416 and field_of(request, <int>HeaderId.RANGE) != NULL):
        return PARTIAL
    if d.seen & D_MUST_UNDERSTAND:         # RFC 9111 §5.2.2.3: it puts no-store out of force
        if not is_understood_status(status):
            return NOT_UNDERSTOOD
    elif d.seen & D_NO_STORE:
        return NO_STORE
    if d.seen & D_PRIVATE:                 # with field names too, as RFC 9111 §5.2.2.7 notes
        return PRIVATE
    read_request(request, &asked)
    if asked.seen & D_NO_STORE:
        return REQUEST_NO_STORE
    # RFC 9111 §3.5
    if (field_of(request, <int>HeaderId.AUTHORIZATION) != NULL
            and not d.seen & (D_PUBLIC | D_MUST_REVALIDATE | D_S_MAXAGE)):
        return AUTHORIZATION
    return vary_reason(facts)


cdef Storing store_rfc9111(const Head *request, const Head *response, const Facts *facts,
                           const Rules *rules, int64_t requested_ms,
                           int64_t now_ms) noexcept nogil:
    cdef Storing s
    cdef const Directives *d = ruling(facts, rules)
    cdef Lifetime life = explicit_lifetime(facts, d)
    cdef Freshness *o = &s.freshness
    s = refuse(forbidden_rfc9111(request, response, facts, d))
    if s.reason != STORABLE:
        return s
    # RFC 9110 §9.3.3: a POST only with explicit freshness and a Content-Location of its target.
    if request.method == M_POST and not (life.is_explicit and is_own_location(request, response)):
        return refuse(METHOD)
    o.flags = validator_flags(facts)
    if not life.is_explicit:
        if not d.seen & D_PUBLIC and not is_cacheable_status(RFC9111, response.status):
            return refuse(STATUS)
        life.seconds = rules.default_ttl_s
        if o.flags & O_LAST_MODIFIED and rules.heuristic_percent:
            o.flags |= O_HEURISTIC
            life.seconds = heuristic_lifetime(facts, rules)
    s.lifetime_s = life.seconds
    o.born_ms = now_ms - initial_age_ms(facts, response.minor, requested_ms, now_ms)
    o.fresh_until_ms = o.born_ms + <int64_t>life.seconds * 1000
    if d.seen & D_NO_CACHE:
        o.flags |= O_NO_CACHE
    if d.seen & D_IMMUTABLE:
        o.flags |= O_IMMUTABLE
    if facts.surrogate.seen & D_ESI:
        o.flags |= O_ESI
    if d.seen & (D_MUST_REVALIDATE | D_PROXY_REVALIDATE | D_S_MAXAGE | D_MALFORMED):
        o.flags |= O_MUST_REVALIDATE       # RFC 9111 §4.2.4, §5.2.2.10
    else:
        if d.seen & D_STALE_WHILE_REVALIDATE:
            o.stale_while_revalidate_s = d.stale_while_revalidate_s
        if d.seen & D_STALE_IF_ERROR:
            o.stale_if_error_s = d.stale_if_error_s
    if not o.flags & O_VALIDATORS and (o.flags & O_NO_CACHE or is_useless(o, rules, now_ms)):
        return refuse(NO_FRESHNESS_NO_VALIDATOR)
    s.verdict = STORED
    return s


cdef bint is_useless(const Freshness *o, const Rules *rules, int64_t now_ms) noexcept nogil:
    """Neither fresh nor ever to be served stale."""
    cdef int64_t stale_s = max(o.stale_while_revalidate_s, o.stale_if_error_s)
    if rules.policy == RFC9111 and not o.flags & O_MUST_REVALIDATE:
        stale_s = max(stale_s, <int64_t>rules.disconnected_s)
    return o.fresh_until_ms + stale_s * 1000 <= now_ms


# -- storing: fastly -------------------------------------------------------------------------------

cdef Lifetime fastly_ttl(const Facts *facts, const Rules *rules, Freshness *o,
                         int64_t now_ms) noexcept nogil:
    """Surrogate-Control max-age, s-maxage, max-age, Expires, else the default; sets born_ms and
    fresh_until_ms.

    deviates: the age is taken from the first three only; with Expires it starts at 0 whatever Age
    says, and the TTL is the time that is left on our clock; a default TTL is whole.
    """
    cdef Lifetime life
    cdef int64_t age_s = facts.age_s
    cdef const Directives *cc = &facts.cache_control
    life.is_explicit = True
    life.seconds = 0
    o.born_ms = now_ms - age_s * 1000
    if facts.surrogate.seen & D_MAX_AGE:
        life.seconds = facts.surrogate.max_age_s
    elif cc.seen & D_S_MAXAGE:
        life.seconds = cc.s_maxage_s
    elif cc.seen & D_MAX_AGE:
        life.seconds = cc.max_age_s
    elif facts.flags & F_EXPIRES:
        o.born_ms = now_ms
        o.fresh_until_ms = now_ms
        if facts.flags & F_EXPIRES_DATE:
            life.seconds = as_delta(facts.expires_s - facts.validators.received_s)
            o.fresh_until_ms = max(now_ms, min(facts.expires_s * 1000,
                                               now_ms + <int64_t>DELTA_MAX * 1000))
        return life
    else:
        life.is_explicit = False
        life.seconds = rules.default_ttl_s
        o.fresh_until_ms = now_ms + <int64_t>life.seconds * 1000
        return life
    o.fresh_until_ms = o.born_ms + <int64_t>life.seconds * 1000
    return life


cdef int passed_fastly(const Facts *facts, const Rules *rules) noexcept nogil:
    """What the default vcl_fetch answers with `return(pass)`: a NoStore, or STORABLE."""
    if facts.flags & F_SET_COOKIE:
        return SET_COOKIE
    if facts.cache_control.seen & D_PRIVATE or facts.surrogate.seen & D_PRIVATE:
        return PRIVATE
    if facts.surrogate.seen & D_NO_STORE:
        return NO_STORE
    if rules.passes_no_store and facts.cache_control.seen & D_NO_STORE:
        return NO_STORE
    return STORABLE


cdef Storing store_fastly(const Head *request, const Head *response, const Facts *facts,
                          const Rules *rules, int64_t now_ms) noexcept nogil:
    """deviates: no-cache, no-store (see Rules), must-revalidate, Authorization and the request's
    directives are not looked at, CDN-Cache-Control is not read, and nothing is guessed."""
    cdef Storing s = refuse(STORABLE)
    cdef Lifetime life
    cdef Freshness *o = &s.freshness
    if request.method != M_GET:
        return refuse(METHOD)
    if response.status == 206:
        return refuse(PARTIAL)
    if not is_cacheable_status(FASTLY, response.status):
        return refuse(STATUS)
    life = fastly_ttl(facts, rules, o, now_ms)
    s.lifetime_s = life.seconds
    s.reason = passed_fastly(facts, rules)
    if s.reason != STORABLE:
        s.verdict = HIT_FOR_PASS
        if not life.is_explicit:           # the default TTL is set behind the pass
            o.fresh_until_ms = now_ms
        o.fresh_until_ms = max(o.fresh_until_ms, now_ms + <int64_t>rules.pass_s * 1000)
        o.born_ms = now_ms
        o.flags = O_PASS
        return s
    s.reason = vary_reason(facts)
    if s.reason != STORABLE:
        return refuse(s.reason)
    o.stale_while_revalidate_s = stale_window(facts, D_STALE_WHILE_REVALIDATE)
    o.stale_if_error_s = stale_window(facts, D_STALE_IF_ERROR)
    if is_useless(o, rules, now_ms):
        return refuse(NOT_FRESH)
    o.flags = validator_flags(facts) | (O_ESI if facts.surrogate.seen & D_ESI else 0)
    s.verdict = STORED
    return s


cdef uint32_t stale_window(const Facts *facts, uint32_t bit) noexcept nogil:
    """Of Surrogate-Control, else of Cache-Control."""
    cdef const Directives *d = (&facts.surrogate if facts.surrogate.seen & bit
                                else &facts.cache_control)
    if not d.seen & bit:
        return 0
    if bit == D_STALE_IF_ERROR:
        return d.stale_if_error_s
    return d.stale_while_revalidate_s


# -- reuse -----------------------------------------------------------------------------------------

cdef uint32_t current_age_s(const Freshness *object, int64_t now_ms) noexcept nogil:
    """The Age to send (RFC 9111 §4.2.3, §5.1)."""
    return as_delta(at_least_0(now_ms - object.born_ms) // 1000)


cdef int64_t remaining_ms(const Freshness *object, int64_t now_ms) noexcept nogil:
    """The lifetime that is left; negative: how long it has been stale."""
    return object.fresh_until_ms - now_ms


cdef void make_stale(Freshness *object, int64_t now_ms) noexcept nogil:
    """Soft purge: stale from now on, and the windows in which it may be served stale begin."""
    if object.fresh_until_ms > now_ms:
        object.fresh_until_ms = now_ms
    object.flags |= O_SOFT_PURGED


cdef int decide_reuse(const Freshness *object, const Head *request, const Rules *rules,
                      int64_t now_ms) noexcept nogil:
    """What a GET or HEAD may do with the stored object that it selects, NULL for none: a Reuse."""
    cdef int64_t left_ms
    if rules.policy == RFC9111:
        return reuse_rfc9111(object, request, rules, now_ms)
    if object == NULL:
        return MISS
    left_ms = remaining_ms(object, now_ms)
    if object.flags & O_PASS:
        return PASS if left_ms > 0 else MISS
    if left_ms > 0:
        return FRESH
    if is_within(left_ms, object.stale_while_revalidate_s, rules.stale_while_revalidate_max_s):
        return STALE_WHILE_REVALIDATE
    return REVALIDATE if object.flags & O_VALIDATORS else MISS


cdef inline bint is_within(int64_t left_ms, uint32_t window_s, uint32_t max_s) noexcept nogil:
    """Is something that is fresh for left_ms more no longer stale than a window lasts?"""
    return left_ms + <int64_t>min(window_s, max_s) * 1000 > 0


cdef int reuse_rfc9111(const Freshness *object, const Head *request, const Rules *rules,
                       int64_t now_ms) noexcept nogil:
    """RFC 9111 §4, §4.2, §5.2.1."""
    cdef Directives d
    read_request(request, &d)
    if object != NULL:
        if object.flags & O_PASS:
            return PASS if remaining_ms(object, now_ms) > 0 else MISS
        if not object.flags & O_NO_CACHE and not d.seen & D_NO_CACHE:
            if remaining_ms(object, now_ms) > 0:
                if suits(object, &d, now_ms):
                    return FRESH
            elif not object.flags & O_MUST_REVALIDATE:
                if takes_stale(object, &d, now_ms):
                    return STALE
                # Whoever names an age or a lifetime wants nothing stale (RFC 9111 §5.2.1.1).
                if not d.seen & (D_MAX_AGE | D_MIN_FRESH) and is_within(
                        remaining_ms(object, now_ms), object.stale_while_revalidate_s,
                        rules.stale_while_revalidate_max_s):
                    return STALE_WHILE_REVALIDATE
    if d.seen & D_ONLY_IF_CACHED:
        return GATEWAY_TIMEOUT
    return REVALIDATE if object != NULL and object.flags & O_VALIDATORS else MISS


cdef bint suits(const Freshness *object, const Directives *d, int64_t now_ms) noexcept nogil:
    """Is a fresh answer fresh enough for the request (RFC 9111 §5.2.1.1, §5.2.1.3)?

    A reload sends max-age=0, which an immutable answer is not asked for (RFC 8246 §2.1).
    """
    if d.seen & D_MAX_AGE and not object.flags & O_IMMUTABLE:
        if now_ms - object.born_ms > <int64_t>d.max_age_s * 1000:
            return False
    return not d.seen & D_MIN_FRESH or (
        remaining_ms(object, now_ms) >= <int64_t>d.min_fresh_s * 1000)


cdef bint takes_stale(const Freshness *object, const Directives *d, int64_t now_ms) noexcept nogil:
    """max-stale (RFC 9111 §5.2.1.2), within the max-age that the request may name too."""
    if not d.seen & D_MAX_STALE or d.seen & D_MIN_FRESH:
        return False
    if d.seen & D_MAX_AGE and now_ms - object.born_ms > <int64_t>d.max_age_s * 1000:
        return False
    return d.seen & D_MAX_STALE_ANY or (
        remaining_ms(object, now_ms) + <int64_t>d.max_stale_s * 1000 >= 0)


# -- errors of the origin --------------------------------------------------------------------------

cdef bint may_serve_stale_on_error(const Freshness *object, const Head *request,
                                   const Rules *rules, int status,
                                   int64_t now_ms) noexcept nogil:
    """May the object answer instead of the origin, which answered with `status` or not at all
    (DISCONNECTED)?

    fastly: any 5xx, within either window. rfc9111: RFC 5861 §4, where the request may ask for it
    too; disconnected also for as long as the rules say (RFC 9111 §4.2.4).
    """
    cdef int64_t left_ms = remaining_ms(object, now_ms)
    cdef uint32_t window_s = object.stale_if_error_s
    cdef Directives d
    if object.flags & O_PASS:
        return False
    if rules.policy == FASTLY:
        if status != DISCONNECTED and (status < 500 or status > 599):
            return False
        return left_ms > 0 or is_within(left_ms, window_s, rules.stale_if_error_max_s) or is_within(
            left_ms, object.stale_while_revalidate_s, rules.stale_while_revalidate_max_s)
    if status != DISCONNECTED and status != 500 and (status < 502 or status > 504):
        return False
    read_request(request, &d)
    if object.flags & O_NO_CACHE or d.seen & D_NO_CACHE:
        return False
    if left_ms > 0:
        return True
    if object.flags & O_MUST_REVALIDATE:
        return False
    if d.seen & D_STALE_IF_ERROR:
        window_s = max(window_s, d.stale_if_error_s)
    if status == DISCONNECTED and is_within(left_ms, rules.disconnected_s, DELTA_MAX):
        return True
    return is_within(left_ms, window_s, rules.stale_if_error_max_s)


# -- updates and invalidation ----------------------------------------------------------------------

cdef bint updates_field(const Rules *rules, const Field *field) noexcept nogil:
    """Does a field of a 304 replace the stored fields of its name (RFC 9111 §3.2)?

    Not those of the hop, nor what describes the stored bytes. deviates: in policy fastly none does,
    only TTL and Age are renewed.
    """
    if rules.policy == FASTLY or field.flags & HOP_BY_HOP:
        return False
    return (field.id != HeaderId.CONTENT_LENGTH and field.id != HeaderId.CONTENT_ENCODING
            and field.id != HeaderId.CONTENT_RANGE and field.id != HeaderId.TRAILER)


cdef bint decide_invalidation(const Rules *rules, int method, int status) noexcept nogil:
    """Does an answer invalidate what is stored for the target URI (RFC 9111 §4.4)? Methods whose
    safety is unknown do. deviates: in policy fastly none does."""
    if rules.policy == FASTLY:
        return False
    if method == M_GET or method == M_HEAD or method == M_OPTIONS or method == M_TRACE:
        return False
    return status >= 200 and status <= 399


# -- facade for tests ----------------------------------------------------------------------------

DISCONNECTED_FOR_TEST = DISCONNECTED


cdef int widest(HeadLimits *limits) except -1:
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    return 0


cdef int parse_asked(bytes data, Head *head) except -1:
    cdef HeadLimits limits
    widest(&limits)
    if parse_request_head(data, <uint32_t>len(data), &limits, head) <= 0:
        raise ValueError("not one whole request head")
    return 0


cdef int parse_answer(bytes data, Head *head) except -1:
    cdef HeadLimits limits
    widest(&limits)
    if parse_response_head(data, <uint32_t>len(data), &limits, M_GET, head) <= 0:
        raise ValueError("not one whole answer head")
    return 0


cdef dict storing_dict(Storing s):
    return {"verdict": Verdict(s.verdict), "reason": NoStore(s.reason),
            "lifetime_s": s.lifetime_s, **s.freshness}


cdef Freshness freshness_of(dict stored) except *:
    cdef Freshness made
    made.born_ms = stored["born_ms"]
    made.fresh_until_ms = stored["fresh_until_ms"]
    made.stale_while_revalidate_s = stored["stale_while_revalidate_s"]
    made.stale_if_error_s = stored["stale_if_error_s"]
    made.flags = stored["flags"]
    return made


cdef class RulesForTest:
    """The functions of one policy on whole heads; a Freshness is a dict."""

    cdef Rules rules

    def __init__(self, policy, default_ttl_s=0, **changes):
        cdef uint32_t ttl_s = default_ttl_s
        self.rules = fastly_rules(ttl_s) if policy == FASTLY else rfc9111_rules(ttl_s)
        self.rules = {**self.rules, **changes}

    def store(self, bytes request, bytes response, int64_t requested_ms, int64_t now_ms):
        cdef Head asked, answer
        parse_asked(request, &asked)
        parse_answer(response, &answer)
        return storing_dict(decide_store(&asked, &answer, &self.rules, requested_ms, now_ms))

    def refresh(self, bytes request, bytes stored, bytes fresh, int64_t requested_ms,
                int64_t now_ms):
        cdef Head asked, old, new
        parse_asked(request, &asked)
        parse_answer(stored, &old)
        parse_answer(fresh, &new)
        return storing_dict(decide_refresh(&asked, &old, &new, &self.rules, requested_ms, now_ms))

    def reuse(self, stored, bytes request, int64_t now_ms):
        cdef Head asked
        cdef Freshness object
        parse_asked(request, &asked)
        if stored is None:
            return Reuse(decide_reuse(NULL, &asked, &self.rules, now_ms))
        object = freshness_of(stored)
        return Reuse(decide_reuse(&object, &asked, &self.rules, now_ms))

    def stale_on_error(self, dict stored, bytes request, int status, int64_t now_ms):
        cdef Head asked
        cdef Freshness object = freshness_of(stored)
        parse_asked(request, &asked)
        return bool(may_serve_stale_on_error(&object, &asked, &self.rules, status, now_ms))

    def updates(self, bytes response):
        """The names of the fields that replace stored ones."""
        cdef Head answer
        parse_answer(response, &answer)
        return [answer.base[f.name:f.name + f.name_size] for f in answer.fields[:answer.count]
                if updates_field(&self.rules, &f)]

    def invalidates(self, bytes method, int status):
        number = method_number(method, <uint32_t>len(method))
        return bool(decide_invalidation(&self.rules, number, status))

    def cacheable(self, int status):
        return bool(is_cacheable_status(self.rules.policy, status))


def age_for_test(dict stored, int64_t now_ms):
    """The Age to send."""
    cdef Freshness object = freshness_of(stored)
    return current_age_s(&object, now_ms)


def remaining_for_test(dict stored, int64_t now_ms):
    """Milliseconds of freshness left."""
    cdef Freshness object = freshness_of(stored)
    return remaining_ms(&object, now_ms)


def soft_purge_for_test(dict stored, int64_t now_ms):
    """The object after a soft purge."""
    cdef Freshness object = freshness_of(stored)
    make_stale(&object, now_ms)
    return {**stored, **object}
