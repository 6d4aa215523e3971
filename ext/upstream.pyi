from asyncio import AbstractEventLoop, BufferedProtocol
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from ext.arena import Arena
from ext.farm import Balancer
from ext.persist import Cookie
from ext.sticky import Stickiness

class Failure(IntEnum):
    NO_FAILURE = 0
    CONNECT_FAILED = 1
    CONNECT_TIMEOUT = 2
    CLOSED_REUSED = 3
    CLOSED_EMPTY = 4
    CLOSED_PARTIAL = 5
    JUNK = 6
    ANSWER_TIMEOUT = 7

class NoRetry(IntEnum):
    RETRY = 0
    EXHAUSTED = 1
    NOT_IDEMPOTENT = 2
    BODY_SENT = 3
    NOT_A_CONNECTION_ERROR = 4

def may_retry_for_test(
    failure: int, idempotent: bool, replayable: bool, attempts_left: int
) -> NoRetry: ...

class Tier:
    name: str
    kind: int
    servers: list[Server]
    orphans: int
    def __init__(
        self, name: str, kind: int, arena: Arena, row: int, slot: int, options: dict[str, Any]
    ) -> None: ...
    def wire(self, balancer: Balancer, servers: list[Server], next_: Tier | None) -> None: ...
    def balance_as_alb(
        self, sticky: Stickiness | None, desync_mode: int, other_protocol: bool
    ) -> None: ...
    def keep_clients(self, cookie: Cookie) -> None: ...
    def close_idle(self) -> None: ...
    def poll(self) -> None: ...

class Server:
    name: str
    host: str
    port: int
    def __init__(
        self,
        name: str,
        tier: Tier,
        arena: Arena,
        row: int,
        slot: int,
        index: int,
        host: str,
        port: int,
        maxconn: int,
        next_tier: Tier | None,
        loop: AbstractEventLoop,
        wheel: Any,
        readiness: Any,
    ) -> None: ...
    def announce_clients(self, version: int) -> None: ...
    def reach(self, hop: Callable[[], BufferedProtocol]) -> None: ...
