"""The haproxy tiers as HAProxy would list them now: proxies with their ids, servers, states.

Joins the control view, which sums counters, with the plan, which knows what the file said. Every
command takes one snapshot; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.control.view import ControlView, ServerView, TierView, counter_of
from edge.health.server import AgentChecks, ServerChecks
from edge.plan import Plan, ServerPlan, TierPlan
from edge.settings.address import split_address
from edge.settings.balance import is_static
from edge.settings.haproxy import Haproxy
from edge.settings.tcp import Tcp
from ext.arena import Arena
from ext.limits import AdminState, Limit, ServerState

FIRST_PROXY_ID = 2  # HAProxy's first proxy is the one of its own sockets
FIRST_SERVER_ID = 1


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a proxy. `checks`, `agent`: None without one that runs."""

    id: int
    slot: int
    plan: ServerPlan
    view: ServerView
    health: int  # HAProxy's check_health
    host: str  # where it is now: an operator may have moved it
    port: int
    maxconn: int  # as it is now; 0: no limit
    is_static: bool = False  # gets its whole weight or nothing

    @property
    def checks(self) -> ServerChecks | None:
        checks = self.view.checks
        return None if checks is None or checks.is_paused else checks

    @property
    def agent(self) -> AgentChecks | None:
        agent = self.view.agent
        return agent if agent is not None and agent.is_enabled else None

    @property
    def state(self) -> ServerState:
        return self.view.state

    @property
    def is_running(self) -> bool:
        """HAProxy's state: maintenance stops a server, draining does not."""
        return self.state is not ServerState.DOWN and self.view.admin is not AdminState.MAINT

    @property
    def is_usable(self) -> bool:
        return self.view.is_usable


@dataclass(frozen=True, slots=True)
class Proxy:
    """One haproxy tier, as a `listen` section."""

    id: int
    plan: TierPlan
    settings: Haproxy | Tcp
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
    def in_use(self) -> list[Server]:
        """The active servers, else the first backup, or all of them."""
        takes_all = isinstance(self.settings, Haproxy) and self.settings.allbackups
        return self.active or (self.backups if takes_all else self.backups[:1])

    @property
    def weight(self) -> int:
        """Of the servers in use."""
        return sum(each.view.weight for each in self.in_use)

    @property
    def user_weight(self) -> int:
        """The same without what slow starts take away."""
        return sum(each.view.user_weight for each in self.in_use)

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
        names = {tier.name for tier in self._plan.tiers if tier.kind in ("haproxy", "tcp")}
        return sum(listener.tier in names for listener in self._plan.listeners)

    @property
    def maxconn(self) -> int:
        """Client connections that an operator allows in all; 0: as configured."""
        return self._arena.maxconn(-1)

    def _proxies(self) -> Iterator[Proxy]:
        views = {view.name: view for view in self.view.tiers()}
        number = FIRST_PROXY_ID
        for plan in self._plan.tiers:
            if isinstance(plan.settings, (Haproxy, Tcp)):
                view = views[plan.name]
                yield Proxy(number, plan, plan.settings, view, tuple(self._servers(plan, view)))
                number += 1

    def _servers(self, plan: TierPlan, tier: TierView) -> Iterator[Server]:
        rows = zip(plan.servers, tier.servers, strict=True)
        assert isinstance(plan.settings, (Haproxy, Tcp))
        hash_type = plan.settings.hash_type if isinstance(plan.settings, Haproxy) else "map-based"
        is_fixed = is_static(plan.settings.balance, hash_type)
        for number, (server, view) in enumerate(rows, FIRST_SERVER_ID):
            slot = self._slots[server.key]
            state = self._arena.server(slot)
            host, port = split_address(server.address or "-:1")
            yield Server(
                number,
                slot,
                server,
                view,
                counter_of(view.health, state),
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
