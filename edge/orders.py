"""What one reading of the configuration file asks the supervisor to do, and nothing more.

The supervisor opens sockets and starts processes; it needs addresses, names and numbers, not the
meaning of the settings. This module takes them from the settings and the plan.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from edge.clock import wall
from edge.listen import Address
from edge.plan import build_plan, starts_up
from edge.registry import Registry
from edge.settings import Settings, load
from edge.settings.address import split_address
from edge.settings.cdn import Cdn
from edge.stick_tables import TableOptions, table_orders


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """One server of one tier. `target` is its address, or the tier behind it.

    `node`: the machine it stands on, or None when it is a whole tier.
    """

    key: str
    target: str
    weight: int
    node: str | None = None
    starts_up: bool = True  # before its first check


@dataclass(frozen=True, slots=True)
class Orders:
    """One reading of the file. `settings` is their JSON, `listeners` are (tier, address)."""

    settings: dict[str, Any]
    tier: str | None
    workers: int
    drain_s: float
    tiers: tuple[str, ...]
    servers: tuple[ServerOrder, ...]
    listeners: tuple[tuple[str, Address], ...]
    admin: Address | None
    stats: tuple[str | Address, ...] = ()  # where HAProxy's CLI is: a path, an address
    cache_bytes: int | None = None  # None: no cdn in this process
    tables: dict[str, TableOptions] = field(default_factory=dict)  # stick tables, by name

    def addresses(self) -> tuple[Address, ...]:
        """Each address that tiers listen on, once."""
        return tuple(dict.fromkeys(address for _, address in self.listeners))


def read_orders(path: str, tier: str | None, workers: int | None, note: bytes = b"") -> Orders:
    """Reads the file. EdgeError says what is wrong with it, or that the tier is not in it.
    `note`: of the arena, with what was changed at run time.

    `tier` limits the process to one tier, `workers` overrides the file; without either the file's
    number counts, and without that one worker per processor this process may run on.
    """
    return orders_of(Registry.read(note).apply(load(path), wall()), tier, workers)


def orders_of(settings: Settings, tier: str | None, workers: int | None) -> Orders:
    """The orders of settings that are already read."""
    plan = build_plan(settings, tier)
    has_haproxy = any(tier_plan.kind == "haproxy" for tier_plan in plan.tiers)
    return Orders(
        # What the file says and no more: a backend's keys that it has not are the haproxy tier's.
        settings=json.loads(settings.model_dump_json(exclude_unset=True)),
        tier=tier,
        workers=workers or settings.workers or len(os.sched_getaffinity(0)),
        drain_s=settings.drain_s,
        tiers=tuple(tier_plan.name for tier_plan in plan.tiers),
        servers=tuple(
            ServerOrder(
                server.key,
                server.address or server.next_tier or "",
                server.weight,
                server.node,
                starts_up(tier_plan),
            )
            for tier_plan in plan.tiers
            for server in tier_plan.servers
        ),
        listeners=tuple(
            (listener.tier, (listener.host, listener.port)) for listener in plan.listeners
        ),
        admin=None if settings.admin is None else split_address(settings.admin.listen),
        stats=_stats_places(settings) if has_haproxy else (),
        cache_bytes=next(
            (
                tier_plan.settings.cache.size_bytes
                for tier_plan in plan.tiers
                if isinstance(tier_plan.settings, Cdn)
            ),
            None,
        ),
        tables=table_orders(plan),
    )


def _stats_places(settings: Settings) -> tuple[str | Address, ...]:
    stats = None if settings.haproxy is None else settings.haproxy.stats
    if stats is None:
        return ()
    addresses = () if stats.listen is None else (split_address(stats.listen),)
    return (*(() if stats.socket is None else (stats.socket,)), *addresses)
