"""The retry rule: HAProxy's `retry-on` and `option redispatch`, and what is never sent twice.

Theory. The cause of a failure is recorded where it is known (`Failure`), the decision is one pure
function, and every "no" has a reason (`NoRetry`). `listed` are the bits of `retry_on` (RetryOn).
Nothing was sent: any method may be repeated. The request may have reached a server: idempotent
methods only (RFC 9110 §9.2.2), and only while the whole request is still held and the client has
seen nothing of an answer. A kept connection that ended under an idempotent request is not a
server's failure, and is made good whatever is listed: HAProxy there closes the client's connection
so that the client repeats its request itself.

deviates: HAProxy repeats every method for what `retry-on` lists. Here that takes `retry_unsafe`.
"""


cdef uint32_t bit_of_status(int status) noexcept nogil:
    """The bit of a status that `retry_on` may name; 0 for all others."""
    if status < 500:
        if status == 401:
            return RetryOn.ON_401
        if status == 403:
            return RetryOn.ON_403
        if status == 404:
            return RetryOn.ON_404
        if status == 408:
            return RetryOn.ON_408
        if status == 421:
            return RetryOn.ON_421
        if status == 425:
            return RetryOn.ON_425
        return RetryOn.ON_429 if status == 429 else 0
    return <uint32_t>RetryOn.ON_500 << (status - 500) if status <= 504 else 0


cdef uint32_t bit_of(int failure) noexcept nogil:
    if failure == Failure.CONNECT_FAILED or failure == Failure.CONNECT_TIMEOUT:
        return RetryOn.ON_CONNECT
    if (failure == Failure.CLOSED_REUSED or failure == Failure.CLOSED_EMPTY
            or failure == Failure.CLOSED_PARTIAL):
        return RetryOn.ON_EMPTY
    if failure == Failure.JUNK:
        return RetryOn.ON_JUNK
    return RetryOn.ON_TIMEOUT if failure == Failure.ANSWER_TIMEOUT else ON_SOME_STATUS


cdef int may_retry(int failure, uint32_t listed, bint idempotent, bint unsafe, bint replayable,
                   int attempts_left) noexcept nogil:
    """NoRetry.RETRY, or why not. See the theory above."""
    cdef bint is_listed = (listed & bit_of(failure)) != 0
    if attempts_left <= 0:
        return NoRetry.EXHAUSTED
    if not is_listed and failure != Failure.CLOSED_REUSED:
        return NoRetry.NOT_LISTED
    if failure == Failure.CONNECT_FAILED or failure == Failure.CONNECT_TIMEOUT:
        return NoRetry.RETRY
    if not idempotent and not (unsafe and is_listed):
        return NoRetry.NOT_IDEMPOTENT
    return NoRetry.RETRY if replayable else NoRetry.BODY_SENT


cdef bint redispatches(int after, int retries, int done, bint bound, bint is_hash, bint is_up,
                       int usable) noexcept nogil:
    """May the `done`-th retry of `retries` go to another server? `after` is the N of HAProxy's
    `option redispatch N`, 0 without it; `bound`: the request belongs to its server."""
    cdef int every = after if after > 0 else retries + 1 + after
    if after == 0:
        return False
    if not is_up or (not bound and not is_hash and usable > 1):
        return True
    return done % max(every, 1) == 0


def may_retry_for_test(int failure, uint32_t listed, bint idempotent, bint unsafe,
                       bint replayable, int attempts_left):
    return NoRetry(may_retry(failure, listed, idempotent, unsafe, replayable, attempts_left))


def redispatches_for_test(int after, int retries, int done, bint bound, bint is_hash, bint is_up,
                          int usable):
    return redispatches(after, retries, done, bound, is_hash, is_up, usable)


def bit_of_status_for_test(int status):
    return bit_of_status(status)
