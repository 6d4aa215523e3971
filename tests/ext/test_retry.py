"""ext.retry: the retry rule as a table, and HAProxy's `option redispatch N`."""

from itertools import product

import pytest

from ext.retry import (
    Failure,
    NoRetry,
    RetryOn,
    bit_of_status_for_test,
    may_retry_for_test,
    redispatches_for_test,
)

NOTHING_SENT = {Failure.CONNECT_FAILED, Failure.CONNECT_TIMEOUT}
BITS = {
    Failure.CONNECT_FAILED: RetryOn.ON_CONNECT,
    Failure.CONNECT_TIMEOUT: RetryOn.ON_CONNECT,
    Failure.CLOSED_REUSED: RetryOn.ON_EMPTY,
    Failure.CLOSED_EMPTY: RetryOn.ON_EMPTY,
    Failure.CLOSED_PARTIAL: RetryOn.ON_EMPTY,
    Failure.JUNK: RetryOn.ON_JUNK,
    Failure.ANSWER_TIMEOUT: RetryOn.ON_TIMEOUT,
    Failure.REFUSED_BY_STATUS: RetryOn.ON_503,
}
EVERYTHING = (1 << 20) - 1
STATUSES = (401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504)


def expected(
    failure: Failure, *, listed: bool, idempotent: bool, unsafe: bool, replayable: bool
) -> NoRetry:
    """The rule in words: listed; nothing sent, or may be repeated; and still held."""
    if not listed and failure is not Failure.CLOSED_REUSED:
        return NoRetry.NOT_LISTED
    if failure in NOTHING_SENT:
        return NoRetry.RETRY
    if not idempotent and not (unsafe and listed):
        return NoRetry.NOT_IDEMPOTENT
    return NoRetry.RETRY if replayable else NoRetry.BODY_SENT


@pytest.mark.parametrize("failure", sorted(BITS))
def test_rfc9110_9_2_2_retry(failure: Failure) -> None:
    for listed, idempotent, unsafe, replayable in product((True, False), repeat=4):
        mask = BITS[failure] if listed else EVERYTHING & ~BITS[failure]
        if failure is Failure.REFUSED_BY_STATUS and not listed:
            mask = 0
        arguments = (failure, mask, idempotent, unsafe, replayable)
        wanted = expected(
            failure, listed=listed, idempotent=idempotent, unsafe=unsafe, replayable=replayable
        )
        for attempts_left in (1, 3, 100):
            assert may_retry_for_test(*arguments, attempts_left) is wanted, arguments
        for attempts_left in (0, -1):
            assert may_retry_for_test(*arguments, attempts_left) is NoRetry.EXHAUSTED


def test_every_failure_has_a_bit() -> None:
    assert set(BITS) == set(Failure) - {Failure.NO_FAILURE}


def test_what_may_have_been_done_is_not_repeated_whatever_is_listed() -> None:
    for failure in set(BITS) - NOTHING_SENT:
        decided = may_retry_for_test(failure, EVERYTHING, False, False, True, 3)
        assert decided is NoRetry.NOT_IDEMPOTENT


def test_statuses_are_those_of_haproxy() -> None:
    named = {status for status in range(1000) if bit_of_status_for_test(status)}
    assert named == set(STATUSES)
    for status in STATUSES:
        assert bit_of_status_for_test(status) == RetryOn[f"ON_{status}"]


RETRIES = 3
# (N, which retries of a request that belongs to its server go to another one)
REDISPATCH = [
    (0, []),
    (1, [1, 2, 3]),
    (2, [2]),
    (3, [3]),
    (4, []),
    (-1, [3]),
    (-2, [2]),
    (-3, [1, 2, 3]),
    (-4, [1, 2, 3]),
    (-100, [1, 2, 3]),
]


@pytest.mark.parametrize(("after", "moving"), REDISPATCH)
def test_redispatch_of_who_belongs_to_its_server(after: int, moving: list[int]) -> None:
    retries = range(1, RETRIES + 1)
    for bound, is_hash in ((True, False), (False, True), (True, True)):
        found = [
            done
            for done in retries
            if redispatches_for_test(after, RETRIES, done, bound, is_hash, True, 3)
        ]
        assert found == moving


@pytest.mark.parametrize("after", [after for after, _ in REDISPATCH if after])
def test_redispatch_at_once(after: int) -> None:
    """Any server will do and there is another, or the server is gone."""
    assert redispatches_for_test(after, RETRIES, 1, False, False, True, 2)
    assert redispatches_for_test(after, RETRIES, 1, True, True, False, 1)


def test_no_redispatch_is_none() -> None:
    assert not redispatches_for_test(0, RETRIES, 3, False, False, False, 2)


def test_the_only_server_is_not_left_before_its_time() -> None:
    assert not redispatches_for_test(-1, RETRIES, 1, False, False, True, 1)
