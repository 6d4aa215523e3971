"""The operator's lines about servers: HAProxy's texts, with the counts that stand in them."""

from __future__ import annotations

from edge.console import say
from edge.control.view import ControlView, TierView
from edge.health.messages import Farm, no_server_text, text_of
from edge.health.server import Kind, StateChange


class HealthLog:
    """Says each change once, and when a tier has lost its last server."""

    def __init__(self, view: ControlView) -> None:
        self._view = view
        self._had_servers = {tier.name: tier.usable_servers > 0 for tier in view.tiers()}

    def say(self, change: StateChange) -> None:
        name, _, server_name = change.key.partition("/")
        tier = self._view.tier(name)
        server = next(each for each in tier.servers if each.name == server_name)
        farm = Farm(
            active=_usable(tier, is_backup=False),
            backup=_usable(tier, is_backup=True),
            sessions=server.counters["in_flight"],
            queued=tier.counters["queued"],
            is_backup=server.is_backup,
        )
        say(text_of(change, farm))
        if change.kind is Kind.RESULT:
            return
        has_servers = farm.active + farm.backup > 0
        if not has_servers and self._had_servers[name]:
            say(no_server_text(name))
        self._had_servers[name] = has_servers


def _usable(tier: TierView, *, is_backup: bool) -> int:
    return sum(each.is_usable for each in tier.servers if each.is_backup is is_backup)
