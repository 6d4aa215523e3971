"""The table of known header fields: number, name, and the proxy's rule with its RFC section.

Lookup is one hash of (size, first, last byte) into a small open table, then one case-blind
compare, so an unknown field costs a few loads. Called by the head parser for each field line.
"""
cdef enum:
    TABLE_SIZE = 256
    ROWS = 63

# (id, name, flags). Connection-specific: RFC 9110 §7.6.1. Not in trailers: RFC 9110 §6.5.1.
FIELDS = (
    (HeaderId.CONNECTION, b"connection", HOP_BY_HOP | NOT_IN_TRAILER),        # RFC 9110 §7.6.1
    (HeaderId.CONTENT_LENGTH, b"content-length", HOP_BY_HOP | PROTECTED | NOT_IN_TRAILER),
    (HeaderId.TRANSFER_ENCODING, b"transfer-encoding",                        # RFC 9112 §6.1
     HOP_BY_HOP | PROTECTED | NOT_IN_TRAILER),
    (HeaderId.HOST, b"host", PROTECTED | NOT_IN_TRAILER),                     # RFC 9110 §7.2
    (HeaderId.UPGRADE, b"upgrade", HOP_BY_HOP | NOT_IN_TRAILER),              # RFC 9110 §7.8
    (HeaderId.EXPECT, b"expect", PROTECTED | NOT_IN_TRAILER),                 # RFC 9110 §10.1.1
    (HeaderId.KEEP_ALIVE, b"keep-alive", HOP_BY_HOP | NOT_IN_TRAILER),        # RFC 9110 §7.6.1
    (HeaderId.PROXY_CONNECTION, b"proxy-connection", HOP_BY_HOP | NOT_IN_TRAILER),
    (HeaderId.TE, b"te", HOP_BY_HOP | NOT_IN_TRAILER),                        # RFC 9110 §10.1.4
    (HeaderId.TRAILER, b"trailer", NOT_IN_TRAILER),                           # RFC 9110 §6.6.2
    (HeaderId.VIA, b"via", PROTECTED),                                        # RFC 9110 §7.6.3
    (HeaderId.X_FORWARDED_FOR, b"x-forwarded-for", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_FORWARDED_PROTO, b"x-forwarded-proto", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_FORWARDED_HOST, b"x-forwarded-host", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_FORWARDED_PORT, b"x-forwarded-port", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FORWARDED, b"forwarded", PROTECTED | NOT_IN_TRAILER),           # RFC 7239 §4
    (HeaderId.DATE, b"date", PROTECTED | NOT_IN_TRAILER),                     # RFC 9110 §6.6.1
    (HeaderId.PROXY_AUTHENTICATE, b"proxy-authenticate", HOP_BY_HOP | NOT_IN_TRAILER),
    (HeaderId.PROXY_AUTHORIZATION, b"proxy-authorization", HOP_BY_HOP | NOT_IN_TRAILER),
    # RFC 9110 §11.7.3: for the next client on the way back alone
    (HeaderId.PROXY_AUTHENTICATION_INFO, b"proxy-authentication-info", HOP_BY_HOP | NOT_IN_TRAILER),
    (HeaderId.COOKIE, b"cookie", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CACHE_CONTROL, b"cache-control", PROTECTED | NOT_IN_TRAILER),   # RFC 9110 §7.6.1
    (HeaderId.AUTHORIZATION, b"authorization", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CONTENT_TYPE, b"content-type", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CONTENT_ENCODING, b"content-encoding", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CONTENT_RANGE, b"content-range", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.SET_COOKIE, b"set-cookie", PROTECTED | NOT_IN_TRAILER),
    # What caches decide by: a Connection option that removed one could poison an object.
    (HeaderId.ETAG, b"etag", PROTECTED | NOT_IN_TRAILER),                     # RFC 9110 §8.8.3
    (HeaderId.EXPIRES, b"expires", PROTECTED | NOT_IN_TRAILER),               # RFC 9111 §5.3
    (HeaderId.AGE, b"age", PROTECTED | NOT_IN_TRAILER),                       # RFC 9111 §5.1
    (HeaderId.LAST_MODIFIED, b"last-modified", PROTECTED | NOT_IN_TRAILER),   # RFC 9110 §8.8.2
    (HeaderId.VARY, b"vary", PROTECTED | NOT_IN_TRAILER),                     # RFC 9110 §12.5.5
    (HeaderId.PRAGMA, b"pragma", PROTECTED | NOT_IN_TRAILER),                 # RFC 9111 §5.4
    (HeaderId.IF_NONE_MATCH, b"if-none-match", PROTECTED | NOT_IN_TRAILER),   # RFC 9110 §13.1.2
    (HeaderId.IF_MODIFIED_SINCE, b"if-modified-since",                        # RFC 9110 §13.1.3
     PROTECTED | NOT_IN_TRAILER),
    (HeaderId.IF_RANGE, b"if-range", PROTECTED | NOT_IN_TRAILER),             # RFC 9110 §13.1.5
    (HeaderId.RANGE, b"range", PROTECTED | NOT_IN_TRAILER),                   # RFC 9110 §14.2
    (HeaderId.SURROGATE_CONTROL, b"surrogate-control",                        # Fastly; W3C Note
     PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CDN_CACHE_CONTROL, b"cdn-cache-control",                        # RFC 9213 §3.1
     PROTECTED | NOT_IN_TRAILER),
    (HeaderId.SURROGATE_KEY, b"surrogate-key", PROTECTED | NOT_IN_TRAILER),   # Fastly
    (HeaderId.IF_MATCH, b"if-match", PROTECTED | NOT_IN_TRAILER),             # RFC 9110 §13.1.1
    (HeaderId.IF_UNMODIFIED_SINCE, b"if-unmodified-since",                    # RFC 9110 §13.1.4
     PROTECTED | NOT_IN_TRAILER),
    (HeaderId.LOCATION, b"location", PROTECTED | NOT_IN_TRAILER),             # RFC 9110 §10.2.2
    (HeaderId.CONTENT_LOCATION, b"content-location", PROTECTED | NOT_IN_TRAILER),  # RFC 9110 §8.7
    (HeaderId.ACCEPT_ENCODING, b"accept-encoding", PROTECTED | NOT_IN_TRAILER),  # RFC 9110 §12.5.3
    # Fastly's own, and those of a cdn in front of us or behind: a client that could remove or
    # append one would change what the next cdn believes.
    (HeaderId.SURROGATE_CAPABILITY, b"surrogate-capability", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_CACHE, b"x-cache", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_CACHE_HITS, b"x-cache-hits", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_SERVED_BY, b"x-served-by", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_TIMER, b"x-timer", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_DEBUG_PATH, b"fastly-debug-path", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_DEBUG_TTL, b"fastly-debug-ttl", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_DEBUG_DIGEST, b"fastly-debug-digest", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_DEBUG, b"fastly-debug", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_FF, b"fastly-ff", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_CLIENT_IP, b"fastly-client-ip", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_CLIENT, b"fastly-client", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.CDN_LOOP, b"cdn-loop", PROTECTED | NOT_IN_TRAILER),             # RFC 8586 §2
    (HeaderId.FASTLY_ORIG_ACCEPT_ENCODING, b"fastly-orig-accept-encoding",
     PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_COOKIE_OVERFLOW, b"fastly-cookie-overflow", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_KEY, b"fastly-key", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.FASTLY_SOFT_PURGE, b"fastly-soft-purge", PROTECTED | NOT_IN_TRAILER),
    (HeaderId.X_PURGE_TOKEN, b"x-purge-token", PROTECTED | NOT_IN_TRAILER),
)

cdef Known rows[ROWS]
cdef unsigned char table[TABLE_SIZE]       # row + 1, or 0


cdef inline unsigned slot_of(const char *name, unsigned size) noexcept nogil:
    return (size * 31 + (<unsigned char>name[0] | 0x20) * 7
            + (<unsigned char>name[size - 1] | 0x20) * 3) & (TABLE_SIZE - 1)


cdef bint same_name(const char *name, const char *lower, unsigned size) noexcept nogil:
    """Case-blind equality of a token with a lower-case name of letters and hyphens."""
    cdef unsigned i
    for i in range(size):
        if (<unsigned char>name[i] | 0x20) != <unsigned char>lower[i]:
            return False
    return True


cdef const Known *known_field(const char *name, unsigned size) noexcept nogil:
    """The row of a field name (any case), or NULL. `size` must be at least 1."""
    cdef unsigned at = slot_of(name, size)
    cdef const Known *row
    while table[at]:
        row = &rows[table[at] - 1]
        if row.size == size and same_name(name, row.name, size):
            return row
        at = (at + 1) & (TABLE_SIZE - 1)
    return NULL


cdef int fill_table() except -1:
    cdef unsigned at
    cdef bytes name
    assert len(FIELDS) == ROWS
    for i, (number, raw, flags) in enumerate(FIELDS):
        name = raw
        rows[i].name = name                # FIELDS keeps the bytes alive
        rows[i].size = len(name)
        rows[i].flags = flags
        rows[i].id = number
        at = slot_of(name, len(name))
        while table[at]:
            at = (at + 1) & (TABLE_SIZE - 1)
        table[at] = i + 1
    return 0


fill_table()


def lookup(bytes name) -> int:
    """HeaderId of a field name; for tests."""
    cdef const Known *row = known_field(name, len(name)) if name else NULL
    return row.id if row != NULL else 0
