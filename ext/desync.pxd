# Desync mitigation: how a request that the parser accepts could still be misread elsewhere.
from ext.http1 cimport Head

cpdef enum DesyncMode:
    DESYNC_NONE = 0                # the tier is no load balancer
    DESYNC_MONITOR = 1
    DESYNC_DEFENSIVE = 2
    DESYNC_STRICTEST = 3

cpdef enum DesyncClass:
    COMPLIANT = 0
    ACCEPTABLE = 1
    AMBIGUOUS = 2
    SEVERE = 3

cpdef enum DesyncReason:           # AWS's names are in desync.pyx
    DESYNC_OK = 0
    NON_COMPLIANT_HEADER = 1
    GET_HEAD_ZERO_CONTENT_LENGTH = 2
    UNDEFINED_CONTENT_LENGTH = 3
    UNDEFINED_TRANSFER_ENCODING = 4
    SUSPICIOUS_HEADER = 5

cpdef enum DesyncVerdict:
    DESYNC_PASS = 0
    DESYNC_CLOSE = 1               # pass, then close both connections
    DESYNC_REFUSE = 2              # 400

cdef int classify(const Head *head) noexcept nogil
cdef int class_of_reason(int reason) noexcept nogil
cdef int desync_verdict(int mode, int reason) noexcept nogil
