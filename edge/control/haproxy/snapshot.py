"""The haproxy tiers as HAProxy would list them now: proxies with their ids, servers, states.

Joins the control view, which sums counters, with the plan, which knows what the file said. Every
command takes one snapshot; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.control.view import ControlView, ServerView, TierView
from edge.health.runner import ServerChecks
from edge.plan import Plan, ServerPlan, TierPlan
from edge.settings.address import split_address
from edge.settings.balance import is_static
from edge.settings.haproxy import Haproxy
from ext.arena import Arena
from ext.limits import AdminState, Limit, ServerState

FIRST_PROXY_ID = 2  # HAProxy's first proxy is the one of its own sockets
FIRST_SERVER_ID = 1


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a proxy. `checks` is None without a check that runs."""

    id: int
    slot: int
    plan: ServerPlan
    view: ServerView
    is_up: bool
    health: int
    host: str  # where it is now: an operator may have moved it
    port: int
    maxconn: int  # as it is now; 0: no limit
    is_static: bool = False  # gets its whole weight or nothing

    @property
    def checks(self) -> ServerChecks | None:
        checks = self.view.checks
        return None if checks is None or checks.is_paused else checks

    @property
    def is_running(self) -> bool:
        """HAProxy's state: maintenance stops a server, draining does not."""
        return self.is_up and self.view.admin is not AdminState.MAINT

    @property
    def is_usable(self) -> bool:
        return self.is_up and self.view.admin is AdminState.READY and self.view.weight > 0


@dataclass(frozen=True, slots=True)
class Proxy:
    """One haproxy tier, as a `listen` section."""

    id: int
    plan: TierPlan
    settings: Haproxy
    view: TierView
    servers: tuple[Server, ...]

    @property
    def name(self) -> str:
        return self.plan.name

    def total(self, *counters: str) -> int:
        """The sum of these counters over the servers."""
        return sum(server.view.counters[name] for server in self.servers for name in counters)

    @property
    def active(self) -> list[Server]:
        return [each for each in self.servers if each.is_usable and not each.plan.backup]

    @property
    def backups(self) -> list[Server]:
        return [each for each in self.servers if each.is_usable and each.plan.backup]

    @property
    def weight(self) -> int:
        """Of the servers in use: the active ones, else the first backup, or all of them."""
        backups = self.backups if self.settings.allbackups else self.backups[:1]
        return sum(each.view.weight for each in self.active or backups)

    def server(self, name: str) -> Server | None:
        return next((each for each in self.servers if each.plan.name == name), None)


class Snapshots:
    """Takes snapshots. `slots` are the arena's server slots by key."""

    def __init__(
        self, view: ControlView, plan: Plan, arena: Arena, slots: Mapping[str, int]
    ) -> None:
        self.view = view
        self._plan = plan
        self._arena = arena
        self._slots = slots

    def proxies(self) -> list[Proxy]:
        return list(self._proxies())

    @property
    def listener_count(self) -> int:
        names = {tier.name for tier in self._plan.tiers if tier.kind == "haproxy"}
        return sum(listener.tier in names for listener in self._plan.listeners)

    @property
    def maxconn(self) -> int:
        """Client connections that an operator allows in all; 0: as configured."""
        return self._arena.maxconn(-1)

    def _proxies(self) -> Iterator[Proxy]:
        views = {view.name: view for view in self.view.tiers()}
        number = FIRST_PROXY_ID
        for plan in self._plan.tiers:
            if isinstance(plan.settings, Haproxy):
                view = views[plan.name]
                yield Proxy(number, plan, plan.settings, view, tuple(self._servers(plan, view)))
                number += 1

    def _servers(self, plan: TierPlan, tier: TierView) -> Iterator[Server]:
        rows = zip(plan.servers, tier.servers, strict=True)
        assert isinstance(plan.settings, Haproxy)
        is_fixed = is_static(plan.settings.balance, plan.settings.hash_type)
        for number, (server, view) in enumerate(rows, FIRST_SERVER_ID):
            slot = self._slots[server.key]
            state = self._arena.server(slot)
            is_up = state["state"] == ServerState.UP
            host, port = split_address(server.address or "-:1")
            yield Server(
                number,
                slot,
                server,
                view,
                is_up,
                state["health"],
                state["address"] or host,
                state["port"] or port,
                limit_of(server.maxconn, state["maxconn"]),
                is_fixed,
            )


def limit_of(configured: int, given: int) -> int:
    """A server's maxconn, from that of the file and what the arena says instead."""
    return 0 if given == Limit.MAXCONN_NONE else given or configured


def find_proxy(proxies: list[Proxy], name: str) -> Proxy | None:
    return next((proxy for proxy in proxies if proxy.name == name), None)
