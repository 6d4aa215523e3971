# The fields that the data path knows by number, and what a proxy does with each. The rows are in
# headers.pyx, with the RFC section of each rule.
from libc.stdint cimport uint8_t, uint16_t

cpdef enum HeaderId:
    OTHER = 0
    CONNECTION = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    HOST = 4
    UPGRADE = 5
    EXPECT = 6
    KEEP_ALIVE = 7
    PROXY_CONNECTION = 8
    TE = 9
    TRAILER = 10
    VIA = 11
    X_FORWARDED_FOR = 12
    X_FORWARDED_PROTO = 13
    X_FORWARDED_HOST = 14
    X_FORWARDED_PORT = 15
    FORWARDED = 16
    DATE = 17
    PROXY_AUTHENTICATE = 18
    PROXY_AUTHORIZATION = 19
    COOKIE = 20
    CACHE_CONTROL = 21
    AUTHORIZATION = 22
    CONTENT_TYPE = 23
    CONTENT_ENCODING = 24
    CONTENT_RANGE = 25
    SET_COOKIE = 26
    ETAG = 27
    EXPIRES = 28
    AGE = 29
    LAST_MODIFIED = 30
    VARY = 31
    PRAGMA = 32
    IF_NONE_MATCH = 33
    IF_MODIFIED_SINCE = 34
    IF_RANGE = 35
    RANGE = 36
    SURROGATE_CONTROL = 37
    CDN_CACHE_CONTROL = 38
    SURROGATE_KEY = 39
    IF_MATCH = 40
    IF_UNMODIFIED_SINCE = 41
    LOCATION = 42
    CONTENT_LOCATION = 43
    ACCEPT_ENCODING = 44
    SURROGATE_CAPABILITY = 45
    X_CACHE = 46
    X_CACHE_HITS = 47
    X_SERVED_BY = 48
    X_TIMER = 49
    FASTLY_DEBUG_PATH = 50
    FASTLY_DEBUG_TTL = 51
    FASTLY_DEBUG_DIGEST = 52
    FASTLY_DEBUG = 53
    FASTLY_FF = 54
    FASTLY_CLIENT_IP = 55
    FASTLY_CLIENT = 56
    CDN_LOOP = 57
    FASTLY_ORIG_ACCEPT_ENCODING = 58
    FASTLY_COOKIE_OVERFLOW = 59
    FASTLY_KEY = 60
    FASTLY_SOFT_PURGE = 61
    X_PURGE_TOKEN = 62
    PROXY_AUTHENTICATION_INFO = 63

cdef enum FieldFlag:
    HOP_BY_HOP = 1                 # never forwarded as received
    PROTECTED = 2                  # a Connection option may not remove it
    NOT_IN_TRAILER = 4             # framing, routing, or control data

cdef struct Known:
    const char *name               # lower case, static
    uint8_t size
    uint8_t flags
    uint16_t id

cdef const Known *known_field(const char *name, unsigned size) noexcept nogil
cdef bint same_name(const char *name, const char *lower, unsigned size) noexcept nogil
