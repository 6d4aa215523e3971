"""When each server is checked, and what is written to the shared states.

One task per server, so a server never has two checks at once; one more task looks at the shared
states every `POLL_S` for what others wrote there: failed connects that workers counted, a DOWN
that a worker set, a state that another process's checks set (two generations overlap during a
reload), an operator's maintenance.

The shared state is the truth. Before a result is applied, whatever was written there meanwhile is
adopted, so a worker's DOWN is never overwritten by a check that began before it.

Servers without a check are always UP: nobody could raise them again. The same holds while an
operator has paused the checks of one, unless the operator has put it DOWN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.clock import now
from edge.health.checks import CheckStatus, Outcome, Probe, Verdict
from edge.health.machine import HealthMachine, Thresholds
from ext.limits import AdminState, ServerState

# Half of the 100 ms within which a failed connect must lead to a check.
POLL_S = 0.05
# First checks are spread over this at most: long enough to part them, short enough that a dead
# server is found soon after the start even when checks are minutes apart.
STAGGER_S_MAX = 1.0


class States(Protocol):
    """The server states all processes share; `ext.arena.Arena` in production."""

    @property
    def news(self) -> int: ...

    def server(self, slot: int) -> Mapping[str, Any]: ...

    def set_server(
        self,
        slot: int,
        *,
        state: int | None = None,
        health: int | None = None,
        check_status: str | None = None,
        connect_fail_streak: int | None = None,
        checked: bool | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One server and how it is checked. `key` is `tier/server`, `slot` its place in the states."""

    key: str
    slot: int
    probe: Probe
    timeout_s: float
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class StateChange:
    """A server went UP or DOWN. `outcome` is None when somebody else decided it."""

    key: str
    is_up: bool
    outcome: Outcome | None


class ServerChecks:
    """The checks of one server."""

    def __init__(
        self, spec: CheckSpec, states: States, on_change: Callable[[StateChange], None]
    ) -> None:
        self.spec = spec
        self.last: Outcome | None = None
        self.last_began_at: float | None = None  # on edge.clock.now()'s clock
        self.failures = 0  # failed checks while UP, as HAProxy's chkfail
        self.times_down = 0  # changes from UP to DOWN or maintenance, as HAProxy's chkdown
        self.is_paused = False  # by an operator: HAProxy's `disable health`
        self._states = states
        self._on_change = on_change
        self._machine = _machine_for(spec, states)
        self._wake = asyncio.Event()
        self._is_check_due_now = False
        self._due_at = 0.0
        self._was_in_maintenance = states.server(spec.slot)["admin"] == AdminState.MAINT

    @property
    def status(self) -> str:
        return self._machine.status()

    async def run(self, first_delay_s: float) -> None:
        """Checks for ever; the first check begins after `first_delay_s`."""
        self._due_at = now() + first_delay_s
        while True:
            await self._pause()
            if not self._was_in_maintenance and not self.is_paused:
                await self._check()
            self._due_at = now() + self._machine.interval_s()

    def look(self) -> None:
        """Takes note of what others wrote to the shared state since the last look."""
        view = self._states.server(self.spec.slot)
        self._look_at_maintenance(view["admin"] == AdminState.MAINT)
        if self.is_paused and self._machine.is_up and view["state"] != ServerState.UP:
            self._states.set_server(self.spec.slot, state=ServerState.UP, connect_fail_streak=0)
            return
        self._adopt(view["state"] == ServerState.UP)
        if self._machine.on_connect_failures_seen(view["connect_fail_streak"]):
            self._is_check_due_now = True
            self._wake.set()

    def pause(self) -> None:
        """No more checks until `resume`; the state stays as it is."""
        self.is_paused = True

    def resume(self) -> None:
        """Checks go on, the next at once."""
        if self.is_paused:
            self.is_paused = False
            self._is_check_due_now = True
            self._wake.set()

    def force(self, *, is_up: bool) -> None:
        """An operator's word in place of a check's; the next check has its own."""
        self._machine.on_forced(is_up)
        self._states.set_server(
            self.spec.slot, state=_state(is_up), health=self._machine.counter, checked=True
        )

    async def _pause(self) -> None:
        while not self._is_check_due_now and (left_s := self._due_at - now()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                break
        self._is_check_due_now = False

    async def _check(self) -> None:
        streak = self._states.server(self.spec.slot)["connect_fail_streak"]
        began_at = now()
        self.last = await self.spec.probe.run(self.spec.timeout_s)
        self.last_began_at = began_at
        self._adopt(self._states.server(self.spec.slot)["state"] == ServerState.UP)
        self._apply(self.last, streak)

    def _apply(self, outcome: Outcome, streak: int) -> None:
        machine = self._machine
        was_up = machine.is_up
        if outcome.verdict is Verdict.PASSED:
            machine.on_success()
            machine.on_doubt_answered(streak)
        elif outcome.verdict is Verdict.FAILED:
            self.failures += was_up
            machine.on_failure()
        changed = machine.is_up != was_up
        self._states.set_server(
            self.spec.slot,
            health=machine.counter,
            check_status=outcome.status.value,
            checked=True,
            # A server that comes back starts with a clean record, or the next single failed
            # connect would take it down again.
            connect_fail_streak=0 if changed and machine.is_up else None,
            state=_state(machine.is_up) if changed else None,
        )
        if changed:
            self._tell(outcome)

    def _adopt(self, is_up: bool) -> None:
        if not self._machine.on_state_seen(is_up):
            return
        status = None if is_up else CheckStatus.HANA.value
        self._states.set_server(
            self.spec.slot, health=self._machine.counter, check_status=status, checked=True
        )
        self._due_at = min(self._due_at, now() + self._machine.interval_s())
        self._wake.set()
        self._tell(None)

    def _look_at_maintenance(self, is_in_maintenance: bool) -> None:
        if self._was_in_maintenance and not is_in_maintenance:
            self._machine.on_maintenance_left()
            self._states.set_server(
                self.spec.slot,
                health=self._machine.counter,
                state=_state(self._machine.is_up),
                checked=None if self._machine.is_up else False,
            )
            self._is_check_due_now = True
            self._wake.set()
        elif is_in_maintenance and not self._was_in_maintenance:
            self.times_down += self._machine.is_up  # HAProxy counts it as a change to DOWN
        self._was_in_maintenance = is_in_maintenance

    def _tell(self, outcome: Outcome | None) -> None:
        is_up = self._machine.is_up
        self.times_down += not is_up
        self._on_change(StateChange(self.spec.key, is_up, outcome))


class HealthRunner:
    """All checks of one process. `run()` until it is cancelled."""

    def __init__(
        self,
        states: States,
        specs: Sequence[CheckSpec],
        unchecked_slots: Iterable[int],
        on_change: Callable[[StateChange], None],
    ) -> None:
        self.servers = {spec.key: ServerChecks(spec, states, on_change) for spec in specs}
        self._states = states
        self._unchecked_slots = tuple(unchecked_slots)
        self._held_down: set[int] = set()  # unchecked servers that an operator has put DOWN

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_for_ever())
            for server, delay_s in zip(self.servers.values(), self._first_delays(), strict=True):
                tasks.create_task(server.run(delay_s))

    def force_unchecked(self, slot: int, *, is_up: bool) -> None:
        """An operator's word on a server that nothing checks; it holds while this process lives."""
        (self._held_down.discard if is_up else self._held_down.add)(slot)
        self._states.set_server(slot, state=_state(is_up), connect_fail_streak=0)

    def _first_delays(self) -> list[float]:
        """Seconds to the first check of each server: evenly spread over at most an interval."""
        intervals = [server.spec.thresholds.interval_s for server in self.servers.values()]
        if not intervals:
            return []
        span_s = min(*intervals, STAGGER_S_MAX)
        return [span_s * index / len(intervals) for index in range(len(intervals))]

    async def _look_for_ever(self) -> None:
        seen = None
        while True:
            if (news := self._states.news) != seen:  # one load, while nothing happens
                seen = news
                self._look()
            await asyncio.sleep(POLL_S)

    def _look(self) -> None:
        for server in self.servers.values():
            server.look()
        for slot in self._unchecked_slots:
            is_down = self._states.server(slot)["state"] != ServerState.UP
            if is_down and slot not in self._held_down:
                self._states.set_server(slot, state=ServerState.UP, connect_fail_streak=0)


def _machine_for(spec: CheckSpec, states: States) -> HealthMachine:
    view = states.server(spec.slot)
    if not view["checked"]:
        return HealthMachine(spec.thresholds)
    return HealthMachine.resumed(
        spec.thresholds, is_up=view["state"] == ServerState.UP, counter=view["health"]
    )


def _state(is_up: bool) -> ServerState:
    return ServerState.UP if is_up else ServerState.DOWN
