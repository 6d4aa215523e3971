# Cache directives as C data: Cache-Control, Surrogate-Control, CDN-Cache-Control.
from libc.stdint cimport uint32_t
from ext.http1 cimport Head

cdef extern from *:
    """
    #define EDGE_DELTA_MAX 2147483648u
    """
    const uint32_t DELTA_MAX "EDGE_DELTA_MAX"   # what a larger number counts as: RFC 9111 §1.2.2

cdef enum Directive:               # bits of Directives.seen
    D_PUBLIC = 1
    D_PRIVATE = 2                  # with or without field names
    D_NO_CACHE = 4                 # likewise
    D_NO_STORE = 8
    D_NO_TRANSFORM = 16
    D_MUST_REVALIDATE = 32
    D_PROXY_REVALIDATE = 64
    D_MUST_UNDERSTAND = 128
    D_IMMUTABLE = 256              # RFC 8246
    D_ONLY_IF_CACHED = 512
    D_MAX_AGE = 1024
    D_S_MAXAGE = 2048
    D_MIN_FRESH = 4096
    D_MAX_STALE = 8192
    D_MAX_STALE_ANY = 16384        # max-stale without a number
    D_STALE_WHILE_REVALIDATE = 32768   # RFC 5861 §3
    D_STALE_IF_ERROR = 65536           # RFC 5861 §4
    D_ESI = 131072                 # Surrogate-Control: content="ESI/1.0"
    D_MALFORMED = 262144           # a quote that is never closed
    D_PRESENT = 524288             # the field is there

cdef struct Directives:            # a number counts only when its bit is in `seen`
    uint32_t seen                  # Directive
    uint32_t max_age_s             # 0 also when what stands there is no number
    uint32_t s_maxage_s
    uint32_t min_fresh_s
    uint32_t max_stale_s
    uint32_t stale_while_revalidate_s
    uint32_t stale_if_error_s

cdef void clear_directives(Directives *d) noexcept nogil
cdef void read_directives(const char *p, uint32_t size, Directives *d) noexcept nogil
cdef void read_surrogate(const char *p, uint32_t size, Directives *d) noexcept nogil
cdef bint read_targeted(const Head *head, int id, Directives *d) noexcept nogil
cdef uint32_t delta_seconds(const char *p, uint32_t size, bint *good) noexcept nogil
