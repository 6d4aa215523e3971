"""What else happens when a server goes down or up: HAProxy's `on-marked-down`, `on-marked-up`.

Only what checks (or workers, for checks) have decided counts: an operator's maintenance lets
running requests end, as HAProxy's does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge.health.server import Kind, StateChange
from edge.plan import Plan, TierPlan
from edge.settings.haproxy import Haproxy
from ext.arena import Arena
from ext.limits import ServerState


class Marks:
    """Tells each change to `say`, and has workers cut what the file wants cut."""

    def __init__(
        self,
        arena: Arena,
        plan: Plan,
        slots: Mapping[str, int],
        say: Callable[[StateChange], None],
    ) -> None:
        self._arena = arena
        self._say = say
        self._slots = slots
        self._tiers = {server.key: tier for tier in plan.tiers for server in tier.servers}

    def on_change(self, change: StateChange) -> None:
        self._say(change)
        if change.kind is not Kind.STATE:
            return
        tier = self._tiers[change.key]
        for key in _cut_by(tier, change):
            self._arena.shut_down_sessions(self._slots[key])


def _cut_by(tier: TierPlan, change: StateChange) -> list[str]:
    """The servers whose running requests end."""
    settings = tier.settings
    if not isinstance(settings, Haproxy):
        return []
    if change.state is ServerState.DOWN:
        return [change.key] if settings.on_marked_down else []
    if not change.is_up:
        return []
    backups = [server.key for server in tier.servers if server.backup]
    return backups if settings.on_marked_up and change.key not in backups else []
