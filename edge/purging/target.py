"""The cache as a purge sees it: the store, and how a URL becomes the keys of its objects.

A URL's objects have a key per site (`pop`): with a shield in the same process there are two. The
shield's go first, or the edge could fetch the old answer from it again in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# (site, host, path with query) -> primary key; `ext.cachekey.cache_key`.
KeyOf = Callable[[bytes, bytes, bytes], bytes]


class PurgeStore(Protocol):
    """What purging needs of `ext.store.Store`."""

    def purge_keys(self, keys: list[bytes], soft: bool) -> None: ...

    def purge_all(self) -> None: ...

    def purge_url(self, key: bytes, soft: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Target:
    """One tier's cache. `pops`: its site, and its shield's where it has one."""

    store: PurgeStore
    key_of: KeyOf
    pops: Sequence[str]

    def purge_url(self, host: bytes, path: bytes, *, soft: bool) -> int:
        """All variants of one URL at every site. Returns how many objects there were."""
        keys = [self.key_of(pop.encode(), host, path) for pop in reversed(self.pops)]
        return sum(self.store.purge_url(key, soft) for key in keys)

    def purge_keys(self, keys: list[bytes], *, soft: bool) -> None:
        self.store.purge_keys(keys, soft)

    def purge_all(self) -> None:
        """Always hard, as at Fastly."""
        self.store.purge_all()
