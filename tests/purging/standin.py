"""A store that only writes down what it is asked to purge, and a service with a signed token."""

from dataclasses import dataclass, field
from typing import Any

from edge.purging.target import Target

SERVICE, TOKEN = "SU1Z0isxPaozGVKXdv0eY", "edge-test-token"
KEY = (b"Fastly-Key", TOKEN.encode())
# The signed tokens of the service for two paths, made by another program.
PATH, EXPIRY = b"/women/tops-women.html", 1_700_000_030
SIGNED = b"1700000030_5421d9bef309612a6b8820cf7fc988f57c927aec"
SIGNED_ROOT = b"1700000030_587a317317678ea179ea52e13998a1045fd7a963"
BEFORE, AFTER = EXPIRY - 30.0, EXPIRY + 1.0


@dataclass
class StoreBook:
    """`calls` holds every call as (name, arguments...)."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def purge_keys(self, keys: list[bytes], soft: bool) -> None:
        self.calls.append(("keys", keys, soft))

    def purge_all(self) -> None:
        self.calls.append(("all",))

    def purge_url(self, key: bytes, soft: bool) -> int:
        self.calls.append(("url", key, soft))
        return 1


def readable_key(pop: bytes, host: bytes, path: bytes) -> bytes:
    return b"|".join([pop, host, path])


def target(store: StoreBook, *pops: str) -> Target:
    return Target(store, readable_key, pops or ("FRA",))
