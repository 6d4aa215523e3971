# HTTP-date as seconds since 1970-01-01 00:00 UTC.
from libc.stdint cimport int64_t, uint32_t

cdef bint parse_http_date(const char *p, uint32_t size, int64_t now_s,
                          int64_t *date_s) noexcept nogil
