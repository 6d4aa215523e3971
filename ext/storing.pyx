"""Parts of the steps: answers into the cache, and out of it.

Theory. An answer that is to be stored gets its object and its fill here, and its client becomes a
reader of the object. A 304 renews the object that was asked about. What a client gets of an object
(all of it, a 304, a part, parts) is decided when it is delivered, by the validators in the stored
head, so it is the same for who fetched it, who waited and who came later.

Called by: session (answer, deliver, error). Each part answers the row to go on with.
"""
import secrets
from urllib.parse import urljoin, urlsplit

from ext.answers import FETCH_REASONS, OBJECT_TOO_LARGE

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset
from posix.uio cimport iovec

from ext.arena cimport SC_RESPONSE_ERRORS
from ext.body cimport breaks_rules
from ext.cachekey import cache_key
from ext.client cimport DELIVER, HIT, LOG, MISS, STREAM, WAIT
from ext.conditions cimport (
    NOT_MODIFIED, RANGE_UNSATISFIABLE, ByteRange, Validators, check_condition, check_range,
    may_refresh, read_validators)
from ext.deliver cimport (
    FORM_NOT_MODIFIED, FORM_PART, FORM_PARTS, FORM_UNSATISFIABLE, FORM_WHOLE, MARK_HIT, MARK_MISS,
    Delivery, build_delivery, build_merged, build_stored, delivery_room, merged_room, part_head,
    stored_room)
from ext.cached cimport WEAKENED
from ext.encoding cimport CODING_NONE
from ext.facts cimport VaryName, field_of, vary_names
from ext.fill cimport Fill
from ext.forward cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_NOTHING,
    Text)
from ext.freshness cimport (
    AUTHORIZATION, HIT_FOR_PASS, NOT_STORED, REQUEST_NO_STORE, STORED, Freshness, Storing,
    current_age_s, decide_refresh, decide_store, may_serve_stale_on_error, remaining_ms)
from ext.headers cimport HOP_BY_HOP, HeaderId
from ext.http1 cimport BODY_LENGTH, BODY_NONE, Field, Head, M_GET, M_HEAD, parse_response_head
from ext.limits cimport RANGES_MAX, VARY_NAMES_MAX
from ext.observe cimport Observed
from ext.retry cimport Failure
from ext.site cimport at_least
from ext.store cimport ALONE, FAILED, STORE_OK, Answer, Asked, Seen, StoredHead
from ext.squeeze cimport Squeezer
from ext.stream cimport drop_front, keep
from ext.ruled cimport end_rules
from ext.timers cimport now_us, wall_us
from ext.upstream cimport NodeConnection, TIER_CDN, Tier

cdef enum:
    # Of a multipart answer, which is made in memory: what any client that does not read may leave
    # with us (READ_BYTES). More: the whole.
    PARTS_BYTES_MAX = 131072

cdef uint64_t NO_END = 0xFFFFFFFFFFFFFFFF


# -- into the cache ------------------------------------------------------------------------------

cdef void give_up_fill(Cached s, int state, int failure) noexcept:
    """What this request was to fetch will not come: who waits is told. `failure`: the status for
    them, as far as a page of ours has it."""
    if failure < 500 or failure == 501 or failure > 504:
        failure = 503 if failure else 0
    s.store.abandon(s.fill, state, failure)
    s.store.release(s.fill)
    s.fill = 0


cdef int unshared(Cached s) except -1:
    """The answer is for this client alone."""
    if s.ghost:
        s.node_keeps = False
        return LOG
    return DELIVER


cdef int store_answer(Cached s) except -1:
    """The head of an answer has come to a request that fetches for the cache: store it?"""
    cdef Head *h = &s.site.answer
    cdef Asked asked
    cdef Answer answer
    cdef Storing storing
    cdef Text date = Text(s.site.date, <uint32_t>len(s.site.date))
    cdef int64_t now_ms = <int64_t>(s.wall_us // 1000)
    cdef int coding
    cdef bint varies = False
    if s.as_get:
        s.site.request.method = M_GET
    storing = decide_store(&s.site.request, h, &s.entry.cache.rules, s.requested_ms, now_ms)
    if storing.verdict == HIT_FOR_PASS:
        s.store.mark_pass(s.fill, &storing.freshness)
        s.store.release(s.fill)
        s.fill = 0
        return unshared(s)
    if storing.verdict == NOT_STORED:
        give_up_fill(s, ALONE, 0)
        return unshared(s)
    if varies_by_client(h):
        give_up_fill(s, ALONE, 0)
        return unshared(s)
    if h.content_length > <int64_t>s.entry.cache.max_object_bytes:
        if not s.entry.cache.fastly:
            give_up_fill(s, ALONE, 0)
            return unshared(s)
        give_up_fill(s, FAILED, 503)           # for who waits, too
        s.node_keeps = False
        s.reason = OBJECT_TOO_LARGE
        return s.fail_with(503, s.entry.cdn)
    if breaks_rules(&s.answer_body, s.got + s.got_used, s.got_size - s.got_used):
        return junk(s)                         # nobody has seen anything of it yet
    s.ask(&asked)
    memset(&answer, 0, sizeof(Answer))
    answer.head = s.site.scratch(stored_room(h))
    coding = s.entry.cache.choose_coding(&s.site.request, h, s.encoding, &varies)
    answer.head_size = build_stored(h, &date, coding, varies, &answer.visible_size,
                                    <char *>answer.head)
    if not answer.head_size:                   # with a Date it is longer than what is read again
        give_up_fill(s, ALONE, 0)
        return unshared(s)
    answer.response = h
    answer.freshness = storing.freshness
    answer.length = stored_length(h) if coding == CODING_NONE else -1
    answer.coding = <uint8_t>coding
    if coding != CODING_NONE and has_strong_etag(h):
        answer.coding |= WEAKENED
    answer.vary_encoding = varies
    answer.status = h.status
    if s.store.open(s.fill, &asked, &answer, now_ms) != STORE_OK:
        give_up_fill(s, ALONE, 0)
        return unshared(s)
    return start_fill(s, coding)


cdef int junk(Cached s) except -1:
    """The body that came with the head is bad: an error instead of the head, as when it is passed
    on."""
    cdef Tier tier = s.server.tier
    s.server.cells[SC_RESPONSE_ERRORS] += 1
    s.server.observe(<int>Observed.HTTP_BAD_BODY)
    s.got_used = s.got_size
    s.node_keeps = False
    if tier.kind == TIER_CDN:
        s.reason = FETCH_REASONS[<int>Failure.JUNK]
    return s.fail_with(503 if tier.kind == TIER_CDN else 502, tier)


cdef bint varies_by_client(const Head *h) noexcept:
    """Has the client's address selected the answer? The origin has it from us, so the requests that
    clients send do not tell for whom else the answer is."""
    cdef VaryName names[VARY_NAMES_MAX]
    cdef int i
    for i in range(vary_names(h, names)):
        if (names[i].id == HeaderId.X_FORWARDED_FOR or names[i].id == HeaderId.FORWARDED
                or names[i].id == HeaderId.FASTLY_CLIENT_IP):
            return True
    return False


cdef bint has_strong_etag(const Head *h) noexcept:
    cdef const Field *f = field_of(h, <int>HeaderId.ETAG)
    return f != NULL and not (f.value_size > 2 and h.base[f.value] == b'W')


cdef int64_t stored_length(const Head *h) noexcept:
    """Of the body as it will be stored; -1: not known before its end."""
    return 0 if h.body == BODY_NONE else h.content_length if h.body == BODY_LENGTH else -1


cdef int start_fill(Cached s, int coding) except -1:
    """The object is open: the trip goes on as a fill, and the client reads the object."""
    cdef Fill fill = Fill(s.entry)
    cdef NodeConnection node = s.node
    cdef uint32_t used, rest
    cdef char *p = s.got + s.got_used
    if not s.ghost:
        s.object = s.fill
        s.store.share(s.object)
    if coding != CODING_NONE:
        fill.squeezer = Squeezer(coding)
    fill.begin(s, s.fill, None if s.ghost else s)
    s.fill = 0
    if s.block != NULL:
        s.site.give_block(s.block)
        s.block = NULL
    used = fill.take(p, s.got_size - s.got_used)
    rest = s.got_size - s.got_used - used
    s.got_used = s.got_size
    if fill.node is node:                      # what was not used is the connection's to keep
        if node.kept.size:
            drop_front(&node.kept, node.kept.size - rest)
        elif rest:
            keep(&node.kept, p + used, rest)
    if not s.ghost:
        s.filler = fill
    fill.after()
    if fill.object == 0:
        s.filler = None
    return LOG if s.ghost else DELIVER


# -- an answer to a question about a stored object -----------------------------------------------

cdef int validated(Cached s) except -1:
    """304: the object is as good as new (RFC 9111 §4.3.3, §4.3.4)."""
    cdef StoredHead stored
    cdef Validators old, new
    cdef Freshness freshness
    cdef Storing storing
    cdef Head *h = &s.site.answer
    cdef int64_t now_ms = <int64_t>(s.wall_us // 1000)
    cdef char *merged = NULL
    cdef uint32_t size = 0, visible = 0
    s.read_prior(&stored)
    read_validators(&s.site.stored_head, now_ms // 1000, &old)
    read_validators(h, now_ms // 1000, &new)
    # An ETag of what edge has compressed is weak, and the origin has compared it as such.
    if stored.coding == CODING_NONE and (
            not may_refresh(&old, &new) or differs(&s.site.stored_head, h, <int>HeaderId.VARY)
            or differs(&s.site.stored_head, h, <int>HeaderId.SURROGATE_KEY)):
        return fetch_again(s)
    if s.as_get:
        s.site.request.method = M_GET
    storing = decide_refresh(&s.site.request, &s.site.stored_head, h, &s.entry.cache.rules,
                             s.requested_ms, now_ms)
    s.store.read_freshness(s.prior, &freshness)
    if storing.verdict == STORED:
        freshness = storing.freshness
        if not s.entry.cache.fastly:
            if stored.coding != CODING_NONE:   # its ETag and Vary are ours
                leave_out(h, <int>HeaderId.ETAG)
                leave_out(h, <int>HeaderId.VARY)
            merged = s.site.scratch(merged_room(&s.site.stored_head, h))
            size = build_merged(&s.site.stored_head, h, s.entry.cache.rules.policy, &visible,
                                merged)
            if not size:
                merged = NULL
    elif storing.reason != AUTHORIZATION and storing.reason != REQUEST_NO_STORE:
        s.store.discard(s.prior)
    s.store.refresh(s.fill, s.prior, &freshness, merged, size, visible, now_ms)
    s.store.release(s.fill)
    s.fill = 0
    s.answer_done = True                       # a 304 has no body
    if s.got_used < s.got_size:
        s.node_keeps = False                   # bytes behind the answer
    return use_prior(s)


cdef bint differs(const Head *stored, const Head *fresh, int id) noexcept:
    """Does a 304 have another value in a field that decides whom the object is for, or how it is
    purged? What the object was filed under would not be true any more."""
    cdef const Field *old = field_of(stored, id)
    cdef const Field *new = field_of(fresh, id)
    if new == NULL:
        return False
    return (old == NULL or old.value_size != new.value_size
            or memcmp(stored.base + old.value, fresh.base + new.value, new.value_size) != 0)


cdef void leave_out(Head *h, int id) noexcept:
    """As if a head did not have a field."""
    cdef uint32_t i
    for i in range(h.count):
        if h.fields[i].id == id:
            h.fields[i].flags |= HOP_BY_HOP


cdef int serve_stale(Cached s) except -1:
    """The origin has failed, and what is stored may be served instead (RFC 5861 §4)."""
    give_up_fill(s, FAILED, s.status)
    return use_prior(s)


cdef int use_prior(Cached s) except -1:
    """Answer from `prior`; the server is not needed any more."""
    cdef bint validated = s.status == 304
    s.object = s.prior
    s.prior = 0
    s.end_trip()
    if s.ghost:
        return LOG
    s.is_stale = not validated
    return HIT


cdef int fetch_again(Cached s) except -1:
    """Ask once more, as if for the first time; without `prior` if that was asked about."""
    s.node_keeps = False
    s.end_trip()
    if s.prior:
        s.store.release(s.prior)
        s.prior = 0
    s.recall()
    s.status = 0
    s.judged = False
    s.once = False
    s.made = None
    if s.txn != NULL:
        end_rules(s)
    s.same = None
    s.tried_count = 0
    s.queue_due_ms = 0
    return MISS


cdef bint may_serve_prior(Cached s, int status) noexcept:
    """Is there something stale that may be served instead of an answer with this status?"""
    cdef Freshness freshness
    if not s.prior:
        return False
    s.store.read_freshness(s.prior, &freshness)
    return may_serve_stale_on_error(&freshness, &s.site.request, &s.entry.cache.rules, status,
                                    <int64_t>(s.wall_us // 1000))


# -- unsafe methods ------------------------------------------------------------------------------

cdef int invalidate(Cached s) except -1:
    """An unsafe request has succeeded: what is stored for its target is void, and for what the
    answer's Location and Content-Location name on the same origin (RFC 9111 §4.4)."""
    cdef Head *asked = &s.site.request
    cdef bytes pop = s.entry.cache.pop.data[:s.entry.cache.pop.size]
    cdef bytes host = asked.base[asked.host:asked.host + asked.host_size]
    cdef bytes path = asked.base[asked.path:asked.path + asked.path_size]
    cdef bytes key
    cdef const Field *f
    cdef int id
    paths = {path or b"/"}
    for id in (<int>HeaderId.LOCATION, <int>HeaderId.CONTENT_LOCATION):
        f = field_of(&s.site.answer, id)
        if f != NULL:
            paths.add(same_origin_path(host, path, s.site.answer.base[f.value:f.value
                                                                      + f.value_size]))
    for each in paths - {None}:
        key = cache_key(pop, host, each)
        s.store.drop_key(key, <uint32_t>len(key), False, <int64_t>(wall_us() // 1000))
    return 0


def same_origin_path(bytes host, bytes path, bytes reference):
    """Path and query of a URI reference (RFC 3986 §5) in an answer to a request for `path`; None
    when it names another origin, or nothing."""
    try:
        named = urlsplit(urljoin(b"http://" + host + path, reference))
        if named.scheme != b"http" or not named.netloc:
            return None
    except ValueError:
        return None
    if cache_key(b"", named.netloc, b"/") != cache_key(b"", host, b"/"):
        return None
    return (named.path or b"/") + (b"?" + named.query if named.query else b"")


# -- out of the cache ----------------------------------------------------------------------------

cdef inline bint has_condition(const Head *request) noexcept:
    """Does anything in the request ask for less than the whole?"""
    cdef uint32_t i
    cdef int id
    for i in range(request.count):
        id = request.fields[i].id
        if (id == <int>HeaderId.IF_NONE_MATCH or id == <int>HeaderId.IF_MODIFIED_SINCE
                or id == <int>HeaderId.RANGE):
            return True
    return False


cdef int choose_form(Cached s, const StoredHead *stored, Delivery *d, ByteRange *ranges) noexcept:
    """What of the object the request asks for: sets form and range; the number of ranges."""
    cdef Validators v
    cdef int count, i
    cdef int64_t now_s = <int64_t>(s.wall_us // 1000000), size = 0
    if parse_response_head(stored.head, stored.head_size, &s.site.answer_limits, M_GET,
                           &s.site.stored_head) <= 0:
        return 0
    read_validators(&s.site.stored_head, now_s, &v)
    if check_condition(&s.site.request, &v, stored.status, now_s) == NOT_MODIFIED:
        d.form = FORM_NOT_MODIFIED
        return 0
    if d.total < 0 or stored.status != 200 or s.method != M_GET:
        return 0
    count = check_range(&s.site.request, &v, stored.status, d.total, now_s, ranges)
    if count == RANGE_UNSATISFIABLE:
        d.form = FORM_UNSATISFIABLE
    elif count == 1:
        d.form = FORM_PART
        d.range = ranges[0]
    elif count > 1:
        for i in range(count):
            size += ranges[i].last - ranges[i].first + 1
        if size <= PARTS_BYTES_MAX:
            d.form = FORM_PARTS
    return count


cdef int deliver_stored(Cached s) except -1:
    """Send the head of the object that was found, and begin its body."""
    cdef StoredHead stored
    cdef Delivery d
    cdef Freshness freshness
    cdef Seen seen
    cdef ByteRange[RANGES_MAX] ranges
    cdef int count = 0
    cdef uint32_t size
    cdef uint64_t us
    cdef int room = s.store.copy_head(s.object, s.site.stored.data, s.site.stored.room, &stored)
    while room:                                # a 304 may make it longer meanwhile
        room = s.store.copy_head(s.object, at_least(&s.site.stored, <uint32_t>room),
                                 <uint32_t>room, &stored)
    if s.question != NULL:                     # it has waited: time has gone by
        s.recall()
        s.wall_us = wall_us()
    s.store.see(s.object, &seen)
    s.store.read_freshness(s.object, &freshness)
    memset(&d, 0, sizeof(Delivery))
    d.form = FORM_WHOLE
    d.total = seen.length
    d.length = seen.length
    if has_condition(&s.site.request):
        count = choose_form(s, &stored, &d, ranges)
    s.at = 0
    s.end = NO_END if seen.length < 0 else <uint64_t>seen.length
    s.status = stored.status
    if d.form == FORM_PART:
        s.status = 206
        s.at = <uint64_t>d.range.first
        s.end = <uint64_t>d.range.last + 1
        d.length = d.range.last - d.range.first + 1
    elif d.form == FORM_UNSATISFIABLE:
        s.status = 416
        d.length = 0
    elif d.form == FORM_NOT_MODIFIED:
        s.status = 304
    d.framing = framing_stored(s, &d)
    s.close_after = not s.keep_alive or d.framing == FRAME_CLOSE or s.site.draining
    d.say = (SAY_CLOSE if s.close_after else SAY_KEEP_ALIVE if s.minor == 0 else SAY_NOTHING)
    d.age_s = current_age_s(&freshness, <int64_t>(s.wall_us // 1000))
    d.with_age = s.was_hit or d.age_s > 0
    d.mark = MARK_HIT if s.was_hit else MARK_MISS
    d.hits = s.hits
    us = now_us() - s.started_us
    d.started_us = s.wall_us - us if s.question != NULL else s.wall_us
    d.elapsed_ms = <uint32_t>(us // 1000)
    read_debug(s, &d, &freshness)
    s.phase = STREAM
    if d.form == FORM_PARTS:
        return deliver_parts(s, &stored, &d, ranges, count)
    if s.method == M_HEAD or s.status == 304 or s.status == 416 or s.status == 204:
        s.end = s.at
        s.answer_framing = FRAME_NONE
    else:
        s.answer_framing = <uint8_t>d.framing
    size = build_delivery(stored.head, stored.head_size, stored.visible_size, &d,
                          s.entry.cache.marks, &s.entry.recipe.via_answer,
                          s.site.scratch(delivery_room(stored.head_size)))
    return LOG if s.feed_with(size) else WAIT


cdef int framing_stored(Cached s, const Delivery *d) noexcept:
    """How a stored body is framed to this client (RFC 9112 §6.3)."""
    if d.form == FORM_NOT_MODIFIED or s.status == 204:
        return FRAME_NONE
    if d.length >= 0:
        return FRAME_LENGTH
    return FRAME_CHUNKED if s.minor else FRAME_CLOSE


cdef void read_debug(Cached s, Delivery *d, const Freshness *freshness) noexcept:
    """What the request's fields say about the fields of the answer: Fastly-Debug, Fastly-FF."""
    cdef int64_t now_ms = <int64_t>(s.wall_us // 1000)
    cdef int64_t left_ms = remaining_ms(freshness, now_ms)
    d.inner = s.visits > 0
    d.debug = field_of(&s.site.request, <int>HeaderId.FASTLY_DEBUG) != NULL
    if d.debug:
        d.ttl_ms = left_ms
        d.grace_ms = 1000 * <int64_t>max(freshness.stale_while_revalidate_s,
                                         freshness.stale_if_error_s)
        d.digest[0] = s.key_hash[0]
        d.digest[1] = s.key_hash[1]


cdef int deliver_parts(Cached s, const StoredHead *stored, Delivery *d, const ByteRange *ranges,
                       int count) except -1:
    """A multipart answer (RFC 9110 §14.6): rare and small, so it is made in memory."""
    cdef bytes boundary = secrets.token_hex(15).encode()
    cdef bytearray body = bytearray()
    cdef char *out = s.site.scratch(delivery_room(stored.head_size))
    cdef iovec part
    cdef int i, parts
    cdef uint64_t at, n
    d.boundary = boundary
    for i in range(count):
        body += out[:part_head(stored.head, stored.head_size, &ranges[i], d.total, boundary, out)]
        at = <uint64_t>ranges[i].first
        while at <= <uint64_t>ranges[i].last:
            parts = 1
            n = s.store.body(s.object, at, <uint64_t>ranges[i].last + 1 - at, &part, &parts)
            if n == 0:                         # not there yet: the whole is no worse
                d.form = FORM_WHOLE
                break
            body += (<char *>part.iov_base)[:n]
            at += n
    body += out[:part_head(stored.head, stored.head_size, NULL, d.total, boundary, out)]
    if d.form == FORM_PARTS:
        s.status = 206
        d.length = len(body)
    s.answer_framing = <uint8_t>d.framing
    n = build_delivery(stored.head, stored.head_size, stored.visible_size, d, s.entry.cache.marks,
                       &s.entry.recipe.via_answer, out)
    if d.form == FORM_WHOLE:
        return LOG if s.feed_with(<uint32_t>n) else WAIT
    s.send_bytes(out[:n] + bytes(body))
    return LOG
