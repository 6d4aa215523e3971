from asyncio import AbstractEventLoop, BufferedProtocol
from collections.abc import Callable
from typing import Any

from ext.arena import Arena
from ext.farm import Balancer
from ext.hashkey import HashKey
from ext.persist import Cookie
from ext.sticky import Stickiness

def surplus_for_test(used: int, idle: int, used_max: int, expected: int) -> int: ...

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
    def judge_by(self, rules: object, key: HashKey | None, default_backend: int = -1) -> None: ...
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
        *,
        minconn: int = 0,
        maxqueue: int = 0,
    ) -> None: ...
    def announce_clients(self, version: int) -> None: ...
    def reach(self, hop: Callable[[], BufferedProtocol]) -> None: ...
