"""The operator's lines about servers: HAProxy's texts, with the counts that stand in them.

A thousand servers may go down at once, so a line costs a few microseconds per server of its tier.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.console import say
from edge.health.messages import Farm, no_server_text, text_of
from edge.health.server import Kind, StateChange
from edge.plan import Plan, TierPlan
from ext.arena import Arena


class HealthLog:
    """Says each change once, and when a tier has lost its last server. `slots`: a job's."""

    def __init__(self, arena: Arena, plan: Plan, slots: Mapping[str, Mapping[str, int]]) -> None:
        self._arena = arena
        self._tiers = {tier.name: _Tier(arena, tier, slots) for tier in plan.tiers}

    def say(self, change: StateChange) -> None:
        name, _, _ = change.key.partition("/")
        tier = self._tiers[name]
        farm = tier.farm(change.key)
        say(text_of(change, farm))
        if change.kind is Kind.RESULT:
            return
        has_servers = farm.active + farm.backup > 0
        if not has_servers and tier.had_servers:
            say(no_server_text(name))
        tier.had_servers = has_servers


class _Tier:
    """The slots of one tier's servers. `had_servers`: usable ones, at the last change."""

    def __init__(
        self, arena: Arena, plan: TierPlan, slots: Mapping[str, Mapping[str, int]]
    ) -> None:
        self._arena = arena
        self._slot = slots["tiers"][plan.name]
        self._slots = {server.key: slots["servers"][server.key] for server in plan.servers}
        self._backups = frozenset(server.key for server in plan.servers if server.backup)
        self._active_slots = [s for key, s in self._slots.items() if key not in self._backups]
        self._backup_slots = [s for key, s in self._slots.items() if key in self._backups]
        self.had_servers = arena.count_usable(self._slots.values()) > 0

    def farm(self, key: str) -> Farm:
        return Farm(
            active=self._arena.count_usable(self._active_slots),
            backup=self._arena.count_usable(self._backup_slots),
            sessions=self._arena.server_counters(self._slots[key])["in_flight"],
            queued=self._arena.tier_counters(self._slot)["queued"],
            is_backup=key in self._backups,
        )
