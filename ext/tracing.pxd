# X-Amzn-Trace-Id, and the other fields that an Application Load Balancer knows by name.
from libc.stdint cimport uint32_t, uint64_t
from ext.http1 cimport Head

cdef enum:
    TRACE_BYTES_MAX = 7168         # longer lists of fields lose theirs: AWS's 7 KB
    TRACE_ID_BYTES = 35            # 1-<8>-<24>

cdef struct Tracer:
    uint64_t a, b                  # xorshift128+

cdef int mark_trace(Head *head) noexcept nogil
cdef void drop_invalid_names(Head *head) noexcept nogil
cdef char *write_trace(char *o, const Head *head, int index, Tracer *tracer,
                       uint32_t now_s) noexcept nogil
