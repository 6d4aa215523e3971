# The limits of Fastly's platform, and what it answers beyond them.
from libc.stdint cimport uint32_t
from ext.http1 cimport Head

cpdef enum Excess:
    NO_EXCESS = 0
    LONG_URL = 1
    LONG_REQUEST = 2               # its fields are too many or too long: found by the parser
    LONG_RESPONSE = 3              # those of an answer are too long together
    MANY_RESPONSE_FIELDS = 4

cdef struct PlatformLimits:        # 0: no limit
    uint32_t url_bytes
    uint32_t cookie_bytes
    uint32_t response_header_bytes
    uint32_t response_header_count

cdef class Platform:               # of one cdn tier
    cdef PlatformLimits limits
    cdef bint own_refusals         # 414 and 431, as the standards have it

    cdef int check_request(self, Head *head) noexcept
    cdef int check_response(self, const Head *head) noexcept
    cdef int excess_of(self, int refused) noexcept
