"""A tier's servers in an arena with a balancer over them, and what HAProxy chose."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ext.arena import Arena
from ext.balance import BALANCERS
from ext.farm import Balancer
from ext.limits import ServerState

FULL, NONE = -1, -2  # Picked in ext/farm.pxd

# Measured on HAProxy 2.6.12 and 2.8.25, which agree: the server that answered each of 34 or 24
# requests sent one after another to a fresh process. The names: algorithm, `w321` where the
# weights are 3, 2 and 1, and the weights or the hash-type.
GOLDEN: dict[str, str] = json.loads(
    (Path(__file__).parent / "data" / "haproxy_choices.json").read_text()
)
EVERY_KIND = [
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "random",
    "map-based",
    "consistent",
]
# Those that give every server something when all have room.
SPREADING = [kind for kind in EVERY_KIND if kind != "first"]
KEYS = [(number * 2_654_435_769) % 2**32 for number in range(1, 20_001)]
SPREAD_KEYS = KEYS[:256]


class Farm:
    """One tier's servers in an arena, and a balancer over them."""

    def __init__(
        self,
        arena: Arena,
        kind: str,
        weights: Sequence[int],
        /,
        *,
        names: Sequence[str] = (),
        maxconn: int = 0,
        backups: Sequence[int] = (),
        **options: Any,
    ) -> None:
        self.arena = arena
        self.names = list(names or (f"tier/node{index}" for index in range(len(weights))))
        self.slots = [arena.server_slot(name) for name in self.names]
        for slot, weight in zip(self.slots, weights, strict=True):
            arena.set_server(slot, weight=weight)
        rows = [(slot, maxconn, index in backups) for index, slot in enumerate(self.slots)]
        self.row = arena.claim_row(1)
        self.balancer: Balancer = BALANCERS[kind](arena, self.row, rows, **options)

    def pick(self, key: int | None = None, tried: tuple[int, ...] = ()) -> int:
        return self.balancer.pick_for_test(key, tried)

    def picks(self, count: int) -> list[int]:
        return [self.pick() for _ in range(count)]

    def used(self, tried: tuple[int, ...] = ()) -> set[int]:
        """Every server that one of many requests goes to."""
        return {self.pick(key, tried) for key in SPREAD_KEYS}

    def down(self, *indexes: int) -> None:
        for index in indexes:
            self.arena.set_server(self.slots[index], state=ServerState.DOWN)

    def up(self, *indexes: int) -> None:
        for index in indexes:
            self.arena.set_server(self.slots[index], state=ServerState.UP)

    def weigh(self, index: int, weight: int) -> None:
        self.arena.set_server(self.slots[index], weight=weight)

    def by_key(self, keys: Sequence[int] = KEYS) -> list[str]:
        """The name of the server of each key."""
        return [self.names[self.pick(key)] for key in keys]


def text(picks: Sequence[int]) -> str:
    return "".join(map(str, picks))


def expected(kind: str, servers: set[int]) -> set[int]:
    """The servers used of those that may be: `first` uses one while it has room."""
    return {min(servers)} if kind == "first" else servers
