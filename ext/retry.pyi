from enum import IntEnum, IntFlag

class Failure(IntEnum):
    NO_FAILURE = 0
    CONNECT_FAILED = 1
    CONNECT_TIMEOUT = 2
    CLOSED_REUSED = 3
    CLOSED_EMPTY = 4
    CLOSED_PARTIAL = 5
    JUNK = 6
    ANSWER_TIMEOUT = 7
    REFUSED_BY_STATUS = 8

class NoRetry(IntEnum):
    RETRY = 0
    EXHAUSTED = 1
    NOT_IDEMPOTENT = 2
    BODY_SENT = 3
    NOT_LISTED = 4

class RetryOn(IntFlag):
    ON_CONNECT = 1
    ON_EMPTY = 2
    ON_JUNK = 4
    ON_TIMEOUT = 8
    ON_401 = 256
    ON_403 = 512
    ON_404 = 1024
    ON_408 = 2048
    ON_421 = 4096
    ON_425 = 8192
    ON_429 = 16384
    ON_500 = 32768
    ON_501 = 65536
    ON_502 = 131072
    ON_503 = 262144
    ON_504 = 524288

def may_retry_for_test(
    failure: int,
    listed: int,
    idempotent: bool,
    unsafe: bool,
    replayable: bool,
    attempts_left: int,
) -> NoRetry: ...
def redispatches_for_test(
    after: int, retries: int, done: int, bound: bool, is_hash: bool, is_up: bool, usable: int
) -> bool: ...
def bit_of_status_for_test(status: int) -> int: ...
