# Requests with a condition or a range, against the validators of what is stored.
from libc.stdint cimport int64_t, uint16_t, uint32_t
from ext.http1 cimport Head

cdef enum ValidatorFlag:
    V_LAST_MODIFIED = 1
    V_DATE = 2

cdef struct Validators:
    const char *etag               # as received, with quotes; borrowed from the head; NULL: none
    uint32_t etag_size
    uint32_t flags                 # ValidatorFlag: which of the dates are there
    int64_t last_modified_s
    int64_t date_s
    int64_t received_s             # when the answer came: stands in for Date (RFC 9111 §4.3.2)

cdef enum Condition:
    NO_CONDITION = 0               # answer as if there was none
    NOT_MODIFIED = 1               # 304
    MODIFIED = 2                   # there is one, and it holds: the whole answer

cdef enum RangeResult:             # else the number of ranges
    RANGE_WHOLE = 0                # no range, or one that is ignored: 200
    RANGE_UNSATISFIABLE = -1       # 416

cdef struct ByteRange:             # inclusive, within the length
    int64_t first
    int64_t last

cdef void read_validators(const Head *response, int64_t received_s, Validators *v) noexcept nogil
cdef int check_condition(const Head *request, const Validators *v, int status,
                         int64_t now_s) noexcept nogil
cdef int check_range(const Head *request, const Validators *v, int status, int64_t length,
                     int64_t now_s, ByteRange *ranges) noexcept nogil
cdef int parse_range(const char *p, uint32_t size, int64_t length,
                     ByteRange *ranges) noexcept nogil
cdef bint may_refresh(const Validators *stored, const Validators *fresh) noexcept nogil
