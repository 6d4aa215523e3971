"""The health of one server: its checks, its agent, its slow start, and what it writes of them.

The shared state is the truth. Before a result is applied, whatever was written there meanwhile is
adopted, so a worker's DOWN is never overwritten by a check that began before it. `edge.health.
machine` knows what a result means; here is when something is asked, and who is told.

A server that nothing checks stays as it is: nobody could raise it again. That is UP, unless its
agent or an operator has put it DOWN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from edge.clock import now
from edge.health.agent import AgentProbe, Reply, parse_reply
from edge.health.checks import CheckStatus, Outcome, Probe, Verdict
from edge.health.machine import HealthMachine, Thresholds
from edge.health.observed import OnError, outcome_of
from edge.health.slowstart import SlowStart
from edge.health.weights import parse_maxconn, parse_weight
from ext.limits import AdminState, ServerState

CHANGED_FROM_CLI = "changed from CLI"
SEEN_ELSEWHERE = "as seen by another process"


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
        admin: int | None = None,
        weight: int | None = None,
        health: int | None = None,
        check_status: str | None = None,
        connect_fail_streak: int | None = None,
        checked: bool | None = None,
        ramp: int | None = None,
        ramp_began_at: float | None = None,
        maxconn: int | None = None,
        agent_down: bool | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent, and the time between two questions, which is also the limit of one."""

    probe: AgentProbe
    interval_s: float


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One server and how it is checked. `key` is `tier/server`, `slot` its place in the states.

    `probe`: None, nothing is. `says_results`: each result is told, too (HAProxy: `option
    log-health-checks`).
    """

    key: str
    slot: int
    probe: Probe | None
    timeout_s: float
    thresholds: Thresholds
    agent: AgentSpec | None = None
    slow_start: SlowStart | None = None
    says_results: bool = False
    on_error: OnError | None = None  # what workers' observations lead to; None: they make none


class Kind(Enum):
    """What a line for the operator is about."""

    STATE = "the state has changed"
    ADMIN = "an operator or the agent has ordered something"
    RESULT = "a check has ended, whatever it means"


@dataclass(frozen=True, slots=True)
class StateChange:
    """Something has happened to a server. `outcome` is None when no check decided it; `cause`
    says what did. `admin_before` differs from `admin` when an order came.
    """

    key: str
    kind: Kind
    state: ServerState
    admin: AdminState
    admin_before: AdminState
    outcome: Outcome | None = None
    cause: str = ""
    counter: int = 0
    thresholds: Thresholds | None = None
    is_of_agent: bool = False

    @property
    def is_up(self) -> bool:
        return self.state is ServerState.UP


class AgentChecks:
    """What is known of a server's agent. `is_enabled`: an operator may stop the questions."""

    def __init__(self, spec: AgentSpec) -> None:
        self.spec = spec
        self.probe = spec.probe
        self.last: Outcome | None = None
        self.is_enabled = True


class ServerChecks:
    """One server. `last`: of its checks; `failures`, `times_down`: HAProxy's chkfail, chkdown."""

    def __init__(
        self, spec: CheckSpec, states: States, on_change: Callable[[StateChange], None]
    ) -> None:
        self.spec = spec
        self.agent = AgentChecks(spec.agent) if spec.agent is not None else None
        self.last: Outcome | None = None
        self.last_began_at: float | None = None  # on edge.clock.now()'s clock
        self.failures = 0
        self.times_down = 0
        self.is_paused = False  # by an operator: HAProxy's `disable health`
        self.times_observed = 0  # how often errors came to their limit, as HAProxy's hanafail
        self._error_events = states.server(spec.slot)["error_events"]
        self._states = states
        self._on_change = on_change
        self._machine = _machine_for(spec, states)
        self._wake = asyncio.Event()
        self._is_check_due_now = False
        self._due_at = 0.0
        self._admin = AdminState(states.server(spec.slot)["admin"])
        self._is_climbing = False  # a slow start goes on; another process may have begun it

    @property
    def status(self) -> str:
        """HAProxy's status column."""
        return self._machine.status(self._admin)

    @property
    def has_check(self) -> bool:
        return self.spec.probe is not None

    @property
    def is_checked(self) -> bool:
        """Something checks it now; its agent does not count."""
        return self._machine.is_checked

    @property
    def agent_is_down(self) -> bool:
        return self._machine.agent_is_down

    @property
    def is_running(self) -> bool:
        return self._machine.is_running

    async def run(self, first_delay_s: float) -> None:
        """Checks for ever; the first check begins after `first_delay_s`."""
        self._due_at = now() + first_delay_s
        while True:
            await self._pause()
            if self._admin is not AdminState.MAINT and self.is_checked:
                await self._check()
            self._due_at = now() + self._machine.interval_s()

    async def run_agent(self, first_delay_s: float) -> None:
        """Asks the agent for ever, during maintenance too: it may want to end it."""
        agent = self.agent
        assert agent is not None
        await asyncio.sleep(first_delay_s)
        while True:
            if agent.is_enabled:
                result, line = await agent.probe.run(agent.spec.interval_s)
                if agent.is_enabled:  # else what it says comes too late
                    self._apply_agent(agent, result, line)
            await asyncio.sleep(agent.spec.interval_s)

    def look(self) -> None:
        """Takes note of what others wrote to the shared state since the last look."""
        view = self._states.server(self.spec.slot)
        self._look_at_order(AdminState(view["admin"]))
        self._is_climbing |= view["ramp"] > 0
        is_other = view["state"] != self._machine.state
        is_agents = view["agent_down"] and self._machine.has_agent
        if is_other and not self.is_checked and self._machine.is_running and not is_agents:
            self._states.set_server(
                self.spec.slot, state=self._machine.state, connect_fail_streak=0
            )
            return
        if view["error_events"] != self._error_events:
            self._error_events = view["error_events"]
            self._on_errors(view)
        self._adopt()
        if self._machine.on_connect_failures_seen(view["connect_fail_streak"]):
            self._check_now()

    def _on_errors(self, view: Mapping[str, Any]) -> None:
        """Workers have seen as many errors in a row as `error_limit`: HAProxy's `on-error`."""
        on_error = self.spec.on_error
        if on_error is None or not self.is_checked or self._admin is AdminState.MAINT:
            return
        self.times_observed += 1
        self._due_at = min(self._due_at, now() + self.spec.thresholds.fast_interval_s)
        self._wake.set()
        if on_error is OnError.FASTINTER:
            return
        self.last = outcome_of(view)
        if on_error is OnError.MARK_DOWN:  # the worker has done it, which is adopted
            self.failures += self._machine.is_running
            self._adopt(self.last)
            return
        if on_error is OnError.SUDDEN_DEATH:
            self._machine.on_sudden_death()
        self._apply(self.last, view["connect_fail_streak"])

    def climb(self) -> None:
        """Takes the steps of a slow start that are due."""
        if not self._is_climbing:
            return
        view = self._states.server(self.spec.slot)
        slow_start, ramp = self.spec.slow_start, view["ramp"]
        if ramp and slow_start is not None:
            ramp = slow_start.ramp(now() - view["ramp_began_at"])
        else:
            ramp = 0  # the file may have none any more
        if ramp != view["ramp"]:
            self._states.set_server(self.spec.slot, ramp=ramp)
        self._is_climbing = ramp > 0

    # -- an operator's words -----------------------------------------------------------------------

    def pause(self) -> None:
        """No more checks until `resume`; the state stays as it is."""
        self.is_paused = True
        self._machine.is_checked = False

    def resume(self) -> None:
        """Checks go on, the next at once."""
        if self.is_paused:
            self.is_paused = False
            self._machine.is_checked = self.has_check
            self._check_now()

    def force(self, state: ServerState) -> None:
        """An operator's word in place of a check's; the next check has its own."""
        self._force(lambda machine: machine.on_forced(state))

    def force_agent(self, *, is_up: bool) -> None:
        """An operator's word in place of the agent's."""
        self._force(lambda machine: machine.on_agent_forced(is_up=is_up))

    def enable_agent(self, *, is_enabled: bool) -> None:
        """Whether the agent is asked, and what it has said counts."""
        if self.agent is not None:
            self.agent.is_enabled = is_enabled
            self._machine.has_agent = is_enabled

    def begin_slow_start(self) -> None:
        """As when it had just come back; for who knows other reasons, such as a new target."""
        self._states.set_server(self.spec.slot, **self._slow_start())

    def _force(self, change: Callable[[HealthMachine], None]) -> None:
        before = self._machine.state
        change(self._machine)
        self._write(before, checked=True)
        if self._machine.state is not before:
            self._tell(None, CHANGED_FROM_CLI)

    # -- checks ------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        while not self._is_check_due_now and (left_s := self._due_at - now()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                break
        self._is_check_due_now = False

    def _check_now(self) -> None:
        self._is_check_due_now = True
        self._wake.set()

    async def _check(self) -> None:
        assert self.spec.probe is not None
        view = self._states.server(self.spec.slot)
        streak, probe = view["connect_fail_streak"], self.spec.probe
        began_at = now()
        if view["address"]:  # an operator has moved the server
            probe = probe.at(view["address"], view["port"])
        result = await probe.run(self.spec.timeout_s)
        self.last_began_at = began_at
        self._look_at_order(AdminState(self._states.server(self.spec.slot)["admin"]))
        if self._admin is AdminState.MAINT or not self.is_checked:
            return  # HAProxy, too, keeps nothing of a check that was overtaken
        self.last = result
        self._adopt()
        self._apply(result, streak)

    def _apply(self, result: Outcome, streak: int) -> None:
        machine = self._machine
        before, counter = machine.state, machine.counter
        if result.verdict in (Verdict.PASSED, Verdict.CONDITIONAL):
            machine.on_success(is_conditional=result.verdict is Verdict.CONDITIONAL)
            machine.on_doubt_answered(streak)
        elif result.verdict is Verdict.FAILED:
            self.failures += machine.counter > 0
            machine.on_failure()
        # A server that comes back starts with a clean record, or the next single failed
        # connect would take it down again.
        is_back = before is ServerState.DOWN and machine.is_running
        self._write(
            before,
            check_status=result.status.value,
            checked=True,
            connect_fail_streak=0 if is_back else None,
        )
        if self.spec.says_results and machine.counter != counter:
            self._say_result(result)
        if machine.state is not before:
            self._tell(None if self.spec.says_results else result)

    def _write(self, before: ServerState, **values: Any) -> None:
        """The machine as it is now; a server that is UP again starts slowly."""
        state = self._machine.state
        if state is not before:
            values["state"] = state
            is_back = state is ServerState.UP and self._admin is not AdminState.MAINT
            values |= self._slow_start() if is_back else {"ramp": 0}
        self._states.set_server(
            self.spec.slot,
            health=self._machine.counter,
            agent_down=self._machine.agent_is_down,
            **values,
        )

    def _slow_start(self) -> dict[str, Any]:
        slow_start = self.spec.slow_start
        if slow_start is None or not slow_start.may_begin():
            return {"ramp": 0}
        self._is_climbing = True
        return {"ramp": slow_start.ramp(0.0), "ramp_began_at": now()}

    def _adopt(self, observed: Outcome | None = None) -> None:
        """`observed`: what workers have seen that made them take the server down."""
        view = self._states.server(self.spec.slot)
        is_agents = bool(view["agent_down"])
        if not self._machine.on_state_seen(ServerState(view["state"]), agent_is_down=is_agents):
            return
        streak = view["connect_fail_streak"]
        outcome = observed
        if outcome is None and not self._machine.is_running and streak and not is_agents:
            text = f"Detected {streak} consecutive errors, last one was: "
            text += "L4 unsuccessful connection"
            outcome = self.last = Outcome(Verdict.FAILED, CheckStatus.HANA, 0.0, None, text)
        self._states.set_server(
            self.spec.slot,
            health=self._machine.counter,
            check_status=None if outcome is None else outcome.status.value,
            checked=True,
            ramp=None if self._machine.is_up else 0,
        )
        self._due_at = min(self._due_at, now() + self._machine.interval_s())
        self._wake.set()
        self._tell(outcome, "" if outcome is not None else SEEN_ELSEWHERE)

    def _look_at_order(self, admin: AdminState) -> None:
        before, self._admin = self._admin, admin
        if admin is before:
            return
        if before is AdminState.MAINT:
            self._machine.on_maintenance_left()
            values = self._slow_start() if self._machine.is_up else {}
            self._states.set_server(
                self.spec.slot,
                health=self._machine.counter,
                state=self._machine.state,
                checked=None if self._machine.is_running else False,
                **values,
            )
            self._check_now()
        elif admin is AdminState.MAINT:
            self.times_down += self._machine.is_running  # HAProxy counts it as a change to DOWN
            self._states.set_server(self.spec.slot, ramp=0)
        self._say(Kind.ADMIN, None, "", admin_before=before)

    # -- the agent ---------------------------------------------------------------------------------

    def _apply_agent(self, agent: AgentChecks, result: Outcome, line: bytes | None) -> None:
        if line is None:
            agent.last = result
            return
        reply = parse_reply(line)
        was_down = self._machine.agent_is_down
        if reply.is_up is not None:  # an order to be ready that comes with it obeys it already
            self._machine.agent_is_down = not reply.is_up
        if reply.order is not None:
            self._states.set_server(self.spec.slot, admin=reply.order)
            self._look_at_order(reply.order)
        warning = self._obey_numbers(reply)
        agent.last = result = reply.result(warning, result.duration_s)
        if reply.is_up is None:
            return
        self._adopt()
        before = self._machine.state
        if self._admin is not AdminState.MAINT:  # then it counts when maintenance ends
            self._machine.on_agent_word(is_up=reply.is_up)
        self._write(before)
        if self.spec.says_results and self._machine.agent_is_down is not was_down:
            self._say_result(result, is_of_agent=True)
        if self._machine.state is not before:
            self._tell(None if self.spec.says_results else result)

    def _obey_numbers(self, reply: Reply) -> str:
        """Weight and maxconn; the first thing that is wrong with them."""
        warnings = []
        if reply.weight:
            file_weight = self._states.server(self.spec.slot)["file_weight"]
            try:
                weight = parse_weight(reply.weight, file_weight)
                self._states.set_server(self.spec.slot, weight=weight)
            except ValueError as error:
                warnings.append(str(error))
        if reply.maxconn:
            try:
                self._states.set_server(self.spec.slot, maxconn=parse_maxconn(reply.maxconn))
            except ValueError as error:
                warnings.append(str(error))
        return warnings[0].rstrip("\n") if warnings else ""

    # -- who is told -------------------------------------------------------------------------------

    def _tell(self, outcome: Outcome | None, cause: str = "") -> None:
        self.times_down += not self._machine.is_running
        self._say(Kind.STATE, outcome, cause)

    def _say_result(self, outcome: Outcome, *, is_of_agent: bool = False) -> None:
        self._say(Kind.RESULT, outcome, "", is_of_agent=is_of_agent)

    def _say(
        self,
        kind: Kind,
        outcome: Outcome | None,
        cause: str,
        *,
        admin_before: AdminState | None = None,
        is_of_agent: bool = False,
    ) -> None:
        self._on_change(
            StateChange(
                self.spec.key,
                kind,
                self._machine.state,
                self._admin,
                self._admin if admin_before is None else admin_before,
                outcome,
                cause,
                self._machine.counter,
                self.spec.thresholds,
                is_of_agent,
            )
        )


def _machine_for(spec: CheckSpec, states: States) -> HealthMachine:
    view = states.server(spec.slot)
    is_checked, has_agent = spec.probe is not None, spec.agent is not None
    if not view["checked"] and not (has_agent and view["agent_down"]):
        return HealthMachine(spec.thresholds, is_checked=is_checked, has_agent=has_agent)
    return HealthMachine.resumed(
        spec.thresholds,
        state=ServerState(view["state"]),
        counter=view["health"],
        is_checked=is_checked,
        agent_is_down=bool(view["agent_down"]) if has_agent else None,
    )
