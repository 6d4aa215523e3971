from asyncio import AbstractEventLoop, BufferedProtocol
from collections.abc import Callable
from typing import Any

from ext.arena import Arena
from ext.cache import Cache
from ext.forward import Recipe
from ext.hashkey import HashKey
from ext.proxyline import ProxyPeers
from ext.store import Store
from ext.upstream import Tier

class Site:
    loop: AbstractEventLoop
    arena: Arena
    draining: bool
    sessions: int
    fetchers: set[Any]
    def __init__(self, loop: AbstractEventLoop, arena: Arena) -> None: ...
    @property
    def parts(self) -> tuple[Any, Any]: ...
    def start(self, store: Store | None = None) -> None: ...
    def tick(self) -> None: ...
    def tell_date(self) -> None: ...
    def drain(self) -> None: ...

class Entry:
    def __init__(
        self,
        site: Site,
        make: Callable[[Entry], BufferedProtocol],
        recipe: Recipe,
        *,
        cdn: Tier | None = None,
        elb: Tier | None = None,
        haproxy: Tier | None = None,
        asking: Recipe | None = None,
        own: Recipe | None = None,
        front_ms: int = ...,
        cache: Cache | None = None,
        elb_key: HashKey | None = None,
        haproxy_key: HashKey | None = None,
        answer_ms: int,
        between_ms: int,
        answer_kind: int,
        outer: list[Recipe | None],
    ) -> None: ...
    def expect_proxy(self, peers: ProxyPeers) -> None: ...
    def __call__(self) -> BufferedProtocol: ...
