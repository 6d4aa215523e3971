from enum import IntEnum
from typing import Any

class Policy(IntEnum):
    FASTLY = 0
    RFC9111 = 1

class Verdict(IntEnum):
    NOT_STORED = 0
    STORED = 1
    HIT_FOR_PASS = 2

class NoStore(IntEnum):
    STORABLE = 0
    METHOD = 1
    STATUS = 2
    PARTIAL = 3
    NOT_UNDERSTOOD = 4
    NO_STORE = 5
    PRIVATE = 6
    SET_COOKIE = 7
    REQUEST_NO_STORE = 8
    AUTHORIZATION = 9
    VARY_STAR = 10
    VARY_TOO_LONG = 11
    NO_FRESHNESS_NO_VALIDATOR = 12
    NOT_FRESH = 13

class Reuse(IntEnum):
    MISS = 0
    FRESH = 1
    STALE = 2
    STALE_WHILE_REVALIDATE = 3
    REVALIDATE = 4
    PASS = 5
    GATEWAY_TIMEOUT = 6

DISCONNECTED_FOR_TEST: int

class RulesForTest:
    def __init__(self, policy: Policy, default_ttl_s: int = 0, **changes: int) -> None: ...
    def store(
        self, request: bytes, response: bytes, requested_ms: int, now_ms: int
    ) -> dict[str, Any]: ...
    def refresh(
        self, request: bytes, stored: bytes, fresh: bytes, requested_ms: int, now_ms: int
    ) -> dict[str, Any]: ...
    def reuse(self, stored: dict[str, Any] | None, request: bytes, now_ms: int) -> Reuse: ...
    def stale_on_error(
        self, stored: dict[str, Any], request: bytes, status: int, now_ms: int
    ) -> bool: ...
    def updates(self, response: bytes) -> list[bytes]: ...
    def invalidates(self, method: bytes, status: int) -> bool: ...
    def cacheable(self, status: int) -> bool: ...

def age_for_test(stored: dict[str, Any], now_ms: int) -> int: ...
def remaining_for_test(stored: dict[str, Any], now_ms: int) -> int: ...
def soft_purge_for_test(stored: dict[str, Any], now_ms: int) -> dict[str, Any]: ...
