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
from edge.health.checks import count_usable
from edge.health.machine import status_text
from edge.health.runner import ServerChecks
from edge.job import GENERATION_ARGUMENT, Job
from edge.outcomes import OutcomePage, Outcomes
from edge.plan import Plan, ServerPlan, TierPlan
from ext.arena import Arena
from ext.limits import AdminState, ServerState


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server now. `since` (unix s): last change of state; `checks`: None without a check.

    `check_age_s`: since the last check that has ended began; None before the first. `health`: of a
    target of the elb, in its words; None of any other server.
    """

    name: str
    key: str
    node: str | None
    target: str
    status: str
    is_up: bool
    state_class: str
    admin: AdminState
    weight: int
    is_backup: bool
    check_status: str
    since: float
    counters: Mapping[str, int]
    checks: ServerChecks | None
    check_age_s: float | None
    health: TargetHealth | None = None


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

    def _tier(self, plan: TierPlan, health: Mapping[str, TargetHealth]) -> TierView:
        slot = self._slots["tiers"][plan.name]
        keys = [server.key for server in plan.servers]
        usable = usable_servers(self._arena, self._slots["servers"], keys)
        return TierView(
            name=plan.name,
            kind=plan.kind,
            next_tier=plan.next_tier,
            usable_servers=usable,
            servers=[self._server(server, health.get(server.key)) for server in plan.servers],
            counters=self._arena.tier_counters(slot),
            latency=self._arena.tier_latency(slot),
            in_dns=None if self.targets is None else self.targets.in_dns(plan.name, usable),
        )

    def _server(self, plan: ServerPlan, health: TargetHealth | None) -> ServerView:
        slot = self._slots["servers"][plan.key]
        state = self._arena.server(slot)
        checks = self._checks.get(plan.key)
        is_up, admin = state["state"] == ServerState.UP, AdminState(state["admin"])
        status = _status(checks, is_up=is_up, admin=admin, health=state["health"])
        return ServerView(
            name=plan.name,
            key=plan.key,
            node=plan.node,
            target=plan.address or plan.next_tier or "",
            status=status,
            is_up=is_up,
            state_class=status if status == "no check" else status.split()[0],
            admin=admin,
            weight=state["weight"],
            is_backup=plan.backup,
            check_status=state["check_status"],
            since=state["changed_at"],
            counters=self._arena.server_counters(slot),
            checks=checks,
            check_age_s=_age_s(checks),
            health=health,
        )


def usable_servers(arena: Arena, slots: Mapping[str, int], keys: list[str]) -> int:
    """How many of the servers would take a new request, HAProxy's `nbsrv`."""
    states = [arena.server(slots[key]) for key in keys]
    return count_usable(
        [
            (
                state["state"] == ServerState.UP,
                state["admin"] == AdminState.READY,
                state["weight"],
            )
            for state in states
        ]
    )


def _status(checks: ServerChecks | None, *, is_up: bool, admin: AdminState, health: int) -> str:
    """HAProxy's status column, management guide 9.1 (column 17)."""
    if admin is AdminState.MAINT:
        return "MAINT"
    if checks is None or checks.is_paused:
        if not is_up:
            return "DOWN"
        return "DRAIN" if admin is AdminState.DRAIN else "no check"
    rise, fall = checks.spec.thresholds.rise, checks.spec.thresholds.fall
    if is_up:
        # Below `rise` only before the first check: the state of a new server.
        text = status_text(max(health, rise), rise, fall)
    else:
        text = status_text(min(health, rise - 1), rise, fall)
    return text.replace("UP", "DRAIN", 1) if admin is AdminState.DRAIN else text


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
