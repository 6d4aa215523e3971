from asyncio import BufferedProtocol

from ext.hashkey import HashKey
from ext.proxyline import ProxyPeers
from ext.site import Site
from ext.upstream import Tier

class TcpEntry:
    def __init__(
        self, site: Site, tier: Tier, times_ms: dict[str, int], key: HashKey | None = None
    ) -> None: ...
    def expect_proxy(self, peers: ProxyPeers) -> None: ...
    def __call__(self) -> TcpSession: ...

class TcpSession(BufferedProtocol):
    def __init__(self, entry: TcpEntry) -> None: ...
