# Whether a failed attempt is repeated, and where. Pure.
from libc.stdint cimport uint32_t

cpdef enum Failure:                # of one attempt, set where the fact is known
    NO_FAILURE = 0
    CONNECT_FAILED = 1             # refused, unreachable: nothing was sent
    CONNECT_TIMEOUT = 2
    CLOSED_REUSED = 3              # a kept connection ended without a byte of the answer
    CLOSED_EMPTY = 4               # a new connection ended without a byte of the answer
    CLOSED_PARTIAL = 5             # ended inside the answer's head
    JUNK = 6                       # the answer is not valid HTTP/1.1
    ANSWER_TIMEOUT = 7
    REFUSED_BY_STATUS = 8          # a whole head, with a status that `retry_on` names

cpdef enum NoRetry:
    RETRY = 0
    EXHAUSTED = 1
    NOT_IDEMPOTENT = 2
    BODY_SENT = 3                  # the request is no longer held whole
    NOT_LISTED = 4                 # `retry_on` does not name what has happened

cpdef enum RetryOn:                # bits; HAProxy's classes
    ON_CONNECT = 1                 # conn-failure
    ON_EMPTY = 2                   # empty-response; in HAProxy also a head that is cut short
    ON_JUNK = 4                    # junk-response
    ON_TIMEOUT = 8                 # response-timeout
    ON_401 = 1 << 8
    ON_403 = 1 << 9
    ON_404 = 1 << 10
    ON_408 = 1 << 11
    ON_421 = 1 << 12
    ON_425 = 1 << 13
    ON_429 = 1 << 14
    ON_500 = 1 << 15
    ON_501 = 1 << 16
    ON_502 = 1 << 17
    ON_503 = 1 << 18
    ON_504 = 1 << 19

cdef enum:
    ON_SOME_STATUS = 0xFFF << 8

cdef uint32_t bit_of_status(int status) noexcept nogil
cdef int may_retry(int failure, uint32_t listed, bint idempotent, bint unsafe, bint replayable,
                   int attempts_left) noexcept nogil
cdef bint redispatches(int after, int retries, int done, bint bound, bint is_hash, bint is_up,
                       int usable) noexcept nogil
