"""One look at everything: arena, plan and checks joined per tier and server.

Status and metrics read only this. Reads no sockets and changes nothing. Each call looks anew; a
look costs one pass over the arena's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge import __version__
from edge.clock import now
from edge.control.cache import CountingStore
from edge.elb.target_health import TargetHealth
from edge.health.machine import status_text
from edge.health.server import AgentChecks, ServerChecks
from edge.health.slowstart import throttle_percent
from edge.job import GENERATION_ARGUMENT, Job
from edge.outcomes import OutcomePage, Outcomes
from edge.plan import Plan, ServerPlan, TierPlan
from ext.arena import Arena
from ext.limits import AdminState, ServerState


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server now. `since` (unix s): last change of state; `health`: everything about it.

    `checks`, `agent`: None without a check, an agent. `check_age_s`: since the last check that has
    ended began; None before the first. `weight` is the effective one, `throttle` its per cent of
    the user's in a slow start, else None. `maxconn`: set at run time; 0: as configured.
    `target_health`: of a target of the elb, in its words; None of any other server.
    """

    name: str
    key: str
    node: str | None
    target: str
    status: str
    is_up: bool
    state_class: str
    state: ServerState
    admin: AdminState
    weight: int
    user_weight: int
    throttle: int | None
    maxconn: int
    is_backup: bool
    check_status: str
    since: float
    counters: Mapping[str, int]
    health: ServerChecks
    checks: ServerChecks | None
    agent: AgentChecks | None
    check_age_s: float | None
    target_health: TargetHealth | None = None

    @property
    def is_usable(self) -> bool:
        """It would take a new request."""
        return self.is_up and self.admin is AdminState.READY and self.weight > 0


@dataclass(frozen=True, slots=True)
class TierView:
    """One tier now. `latency`: upper bounds in us, count per bucket and for the rest, sum in us.

    `in_dns`: of an elb's zone, whether clients would be told its address; None of any other tier.
    """

    name: str
    kind: str
    next_tier: str | None
    usable_servers: int
    servers: list[ServerView]
    counters: Mapping[str, int]
    latency: tuple[tuple[int, ...], list[int], int]
    in_dns: bool | None = None


class TargetStates(Protocol):
    """What the elb's part of control knows of its targets (`edge.control.elb.targets`)."""

    def health_by_key(self) -> Mapping[str, TargetHealth]: ...

    def in_dns(self, tier: str, healthy: int) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker. `generation` is None when its command line cannot be read."""

    row: int
    pid: int
    generation: int | None
    started_at: float
    connections: int


class ControlView:
    """What the admin API can see. `store` is None where no tier has a cache."""

    def __init__(
        self,
        arena: Arena,
        plan: Plan,
        job: Job,
        checks: Mapping[str, ServerChecks],
        store: CountingStore | None = None,
    ) -> None:
        self.version = __version__
        self.generation = job.generation
        self.started_at = job.started_at
        self.listeners = job.listeners
        self.supervisor_pid = job.supervisor_pid
        self._outcomes = None if job.outcomes_fd is None else OutcomePage(job.outcomes_fd)
        self._arena = arena
        self._plan = plan
        self._slots = job.slots
        self._checks = checks
        self._store = store
        self.targets: TargetStates | None = None  # of the elb, where there is one

    def orders(self) -> Outcomes:
        """What came of reloads and upgrades."""
        return Outcomes() if self._outcomes is None else self._outcomes.read()

    def tiers(self) -> list[TierView]:
        health = {} if self.targets is None else self.targets.health_by_key()
        return [self._tier(plan, health) for plan in self._plan.tiers]

    def cache(self) -> Mapping[str, Any] | None:
        """What the store counts, or None without one."""
        return None if self._store is None else self._store.stats()

    def workers(self) -> list[WorkerView]:
        """The rows whose worker lives; one under the supervisor's pid waits for its worker."""
        return [
            WorkerView(
                row=row["row"],
                pid=row["pid"],
                generation=_generation_of(row["pid"]),
                started_at=row["started_at"],
                connections=row["connections"],
            )
            for row in self._arena.rows()
            if row["pid"] != self.supervisor_pid
        ]

    def _tier(self, plan: TierPlan, targets: Mapping[str, TargetHealth]) -> TierView:
        slot = self._slots["tiers"][plan.name]
        keys = [server.key for server in plan.servers]
        usable = usable_servers(self._arena, self._slots["servers"], keys)
        return TierView(
            name=plan.name,
            kind=plan.kind,
            next_tier=plan.next_tier,
            usable_servers=usable,
            servers=[self._server(server, targets.get(server.key)) for server in plan.servers],
            counters=self._arena.tier_counters(slot),
            latency=self._arena.tier_latency(slot),
            in_dns=None if self.targets is None else self.targets.in_dns(plan.name, usable),
        )

    def _server(self, plan: ServerPlan, target: TargetHealth | None) -> ServerView:
        slot = self._slots["servers"][plan.key]
        state = self._arena.server(slot)
        health = self._checks[plan.key]
        checks = health if health.has_check else None
        status = _status(health, state)
        is_throttled = state["ramp"] and state["admin"] == AdminState.READY
        return ServerView(
            name=plan.name,
            key=plan.key,
            node=plan.node,
            target=plan.address or plan.next_tier or "",
            status=status,
            is_up=state["state"] == ServerState.UP,
            state_class=status if status == "no check" else status.split()[0],
            state=ServerState(state["state"]),
            admin=AdminState(state["admin"]),
            weight=state["weight"],
            user_weight=state["user_weight"],
            throttle=throttle_percent(state["user_weight"], state["ramp"])
            if is_throttled
            else None,
            maxconn=state["maxconn"],
            is_backup=plan.backup,
            check_status=state["check_status"],
            since=state["changed_at"],
            counters=self._arena.server_counters(slot),
            health=health,
            checks=checks,
            agent=health.agent,
            check_age_s=_age_s(checks),
            target_health=target,
        )


def usable_servers(arena: Arena, slots: Mapping[str, int], keys: list[str]) -> int:
    """How many of the servers would take a new request, HAProxy's `nbsrv`."""
    return arena.count_usable([slots[key] for key in keys])


def counter_of(health: ServerChecks, state: Mapping[str, Any]) -> int:
    """HAProxy's check_health; the arena's is 0 while no check has been."""
    rise = health.spec.thresholds.rise
    if state["state"] != ServerState.DOWN:
        return max(int(state["health"]), rise)
    is_agents = health.agent is not None and state["agent_down"]
    return int(state["health"]) if is_agents else min(int(state["health"]), rise - 1)


def _status(health: ServerChecks, state: Mapping[str, Any]) -> str:
    return status_text(
        ServerState(state["state"]),
        AdminState(state["admin"]),
        counter_of(health, state),
        health.spec.thresholds,
        is_checked=health.is_checked,
        has_agent=health.agent is not None and health.agent.is_enabled,
        agent_is_down=bool(state["agent_down"]),
    )


def _age_s(checks: ServerChecks | None) -> float | None:
    if checks is None or checks.last_began_at is None:
        return None
    return now() - checks.last_began_at


def _generation_of(pid: int) -> int | None:
    """The generation the supervisor wrote on the worker's command line."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = GENERATION_ARGUMENT.encode()
    for argument in arguments:
        if argument.startswith(prefix) and argument[len(prefix) :].isdigit():
            return int(argument[len(prefix) :])
    return None
