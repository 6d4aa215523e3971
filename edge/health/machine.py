"""The health of one server as HAProxy counts it: a number, what an agent says, and what follows.

The counter runs from 0 to rise+fall-1. At or above `rise` the server is UP. Results move it by
one, with two jumps: a success that reaches `rise` sets it to the top, a failure that falls below
`rise` sets it to 0. So only consecutive results count: one success wipes all failures, one
failure wipes all successes.

A server that no check has seen starts UP at exactly `rise`: traffic flows at once, the first
success makes it fully UP, and the first failure takes it DOWN without waiting for `fall`.

From both follows the state. DOWN is what a failed check with no health left, or the agent, says; UP
is what a passing one says when the other has nothing against it; NOLB (HAProxy's "stopping": for
persistent traffic only) is what a check says that passes under conditions. Only a check ends NOLB.
Where nothing checks (no check, or an operator has paused it), the agent alone decides.

Pure: nothing here reads a clock or a socket. `edge.health.runner` feeds results in and obeys
`interval_s`.

Source: HAProxy 2.6 configuration manual 5.2 (`rise`, `fall`, `inter`, `fastinter`, `downinter`)
its measured `check_health` column, and check.c (check_notify_success and its neighbours); the
timeline is in tests/health/test_machine.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from ext.limits import AdminState, ServerState


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a server changes its state, and how long to wait between two checks.

    `fast_interval_s` is for a server whose state is being decided, `down_interval_s` for one that
    is surely DOWN. `starts_up`: before its first check; else that one alone brings it up, as it
    brings a new target of an elb.
    """

    rise: int
    fall: int
    interval_s: float
    fast_interval_s: float
    down_interval_s: float
    starts_up: bool = True

    @property
    def start(self) -> int:
        """The counter of a server that no check has seen."""
        return self.rise if self.starts_up else self.rise - 1

    @property
    def top(self) -> int:
        """The counter of a server that is fully UP."""
        return self.rise + self.fall - 1


class HealthMachine:
    """The counter of one server, its state, and whether workers doubt it.

    `is_checked`: checks run; `has_agent`: an agent is asked. An operator may switch both.
    """

    __slots__ = (
        "_counter",
        "_failures_answered",
        "_in_doubt",
        "_state",
        "agent_is_down",
        "has_agent",
        "is_checked",
        "thresholds",
    )

    def __init__(
        self, thresholds: Thresholds, *, is_checked: bool = True, has_agent: bool = False
    ) -> None:
        self.thresholds = thresholds
        self.is_checked = is_checked
        self.has_agent = has_agent
        self.agent_is_down = False
        self._counter = thresholds.start
        self._state = ServerState.UP if self._may_run else ServerState.DOWN
        self._in_doubt = False
        self._failures_answered = 0

    @classmethod
    def resumed(
        cls,
        thresholds: Thresholds,
        *,
        state: ServerState,
        counter: int,
        is_checked: bool = True,
        agent_is_down: bool | None = None,
    ) -> HealthMachine:
        """The machine of a server that was looked at before this process started.

        The counter is clamped into the range of the state, since a reload may have changed rise
        and fall; an UP server whose counter is below `rise` was never checked and starts as a new
        one. `agent_is_down` is None without an agent. Without a check and without an agent that
        holds it down the server is UP.
        """
        machine = cls(thresholds, is_checked=is_checked, has_agent=agent_is_down is not None)
        machine.agent_is_down = bool(agent_is_down)
        is_down = state is ServerState.DOWN
        if is_down and not agent_is_down:
            machine._counter = max(0, min(counter, thresholds.rise - 1))
        elif is_down:
            machine._counter = max(0, min(counter, thresholds.top))
        else:
            machine._counter = max(thresholds.rise, min(counter, thresholds.top))
        if is_checked or agent_is_down:
            machine._state = state
        return machine

    @property
    def counter(self) -> int:
        return self._counter

    @property
    def state(self) -> ServerState:
        return self._state

    @property
    def is_up(self) -> bool:
        return self._state is ServerState.UP

    @property
    def is_running(self) -> bool:
        """It answers, if only for those who are there already."""
        return self._state is not ServerState.DOWN

    @property
    def in_doubt(self) -> bool:
        """Workers failed to connect after the last passing check began."""
        return self._in_doubt

    @property
    def _may_run(self) -> bool:
        """Neither the checks nor the agent have anything against it."""
        is_sound = not self.is_checked or self._counter >= self.thresholds.rise
        return is_sound and not (self.has_agent and self.agent_is_down)

    def on_success(self, *, is_conditional: bool = False) -> None:
        """One passed check."""
        if self._counter < self.thresholds.top:
            self._counter += 1
        if self._counter >= self.thresholds.rise:
            self._counter = self.thresholds.top
        if self._may_run:
            self._state = ServerState.NOLB if is_conditional else ServerState.UP

    def on_failure(self) -> None:
        """One failed check."""
        if self._counter > 0:
            self._counter -= 1
        if self._counter < self.thresholds.rise:
            self._counter = 0
        if self._counter == 0:
            self._state = ServerState.DOWN

    def on_sudden_death(self) -> None:
        """The next failure but one is fatal: HAProxy's `on-error sudden-death`, before it counts
        one."""
        self._counter = min(self._counter, self.thresholds.rise + 1)

    def on_agent_word(self, *, is_up: bool) -> None:
        """The agent has said `up`, or one of its words for down."""
        self.agent_is_down = not is_up
        if not is_up:
            self._state = ServerState.DOWN
        elif self._may_run and self._state is ServerState.DOWN:
            self._state = ServerState.UP

    def on_state_seen(self, state: ServerState, *, agent_is_down: bool = False) -> bool:
        """Adopts a state somebody else wrote: a worker's mark-down, another process's check.

        Returns whether it was news. DOWN costs all health unless it is an agent's; the others give
        what a new server has.
        """
        if state is self._state:
            return False
        self._state = state
        self.agent_is_down = self.has_agent and agent_is_down
        if state is not ServerState.DOWN:
            self._counter = max(self._counter, self.thresholds.rise)
        elif not self.agent_is_down:
            self._counter = 0
        return True

    def on_connect_failures_seen(self, streak: int) -> bool:
        """Takes the workers' count of consecutive failed connects; True when doubt begins.

        Failures that a passing check has already answered do not count again (`on_doubt_answered`).
        """
        self._failures_answered = min(self._failures_answered, streak)
        was_in_doubt = self._in_doubt
        self._in_doubt = self.is_running and streak > self._failures_answered
        return self._in_doubt and not was_in_doubt

    def on_doubt_answered(self, streak: int) -> None:
        """A check that began when the count stood at `streak` has passed: it is newer."""
        self._failures_answered = streak
        self._in_doubt = False

    def on_maintenance_left(self) -> None:
        """The operator ended maintenance: the server starts as a new one (`UP 1/3`)."""
        self._counter = self.thresholds.start
        self._state = ServerState.UP if self._may_run else ServerState.DOWN

    def on_forced(self, state: ServerState) -> None:
        """The operator says what the checks should have found: all health, or none."""
        self._counter = 0 if state is ServerState.DOWN else self.thresholds.top
        self._state = state

    def on_agent_forced(self, *, is_up: bool) -> None:
        """The operator says what the agent should have said; unlike its word, it is obeyed."""
        self.agent_is_down = not is_up
        if not is_up:
            self._state = ServerState.DOWN
        elif self._state is not ServerState.UP:
            self._state = ServerState.UP

    def interval_s(self) -> float:
        """Seconds from the end of a check to the start of the next."""
        limits = self.thresholds
        if self._counter == 0:
            return limits.down_interval_s
        if self._counter == limits.top and not self._in_doubt:
            return limits.interval_s
        return limits.fast_interval_s

    def status(self, admin: AdminState = AdminState.READY) -> str:
        """HAProxy's status column."""
        return status_text(
            self._state,
            admin,
            self._counter,
            self.thresholds,
            is_checked=self.is_checked,
            has_agent=self.has_agent,
            agent_is_down=self.agent_is_down,
        )


def status_text(
    state: ServerState,
    admin: AdminState,
    counter: int,
    thresholds: Thresholds,
    *,
    is_checked: bool = True,
    has_agent: bool = False,
    agent_is_down: bool = False,
) -> str:
    """HAProxy's status column, management guide 9.1 (column 17).

    UP n/m: n more failures are needed to go DOWN, out of m. DOWN n/m: n of m successes were seen.
    """
    if admin is AdminState.MAINT:
        return "MAINT"
    rise, fall = thresholds.rise, thresholds.fall
    is_whole = not is_checked or counter >= thresholds.top
    left = "" if is_whole else f" {counter - rise + 1}/{fall}"
    if state is ServerState.NOLB:
        return f"NOLB{left}"
    if state is ServerState.UP:
        if admin is AdminState.DRAIN:
            return "DRAIN (agent)" if has_agent else f"DRAIN{left}"
        return f"UP{left}" if is_checked else "no check"
    if has_agent and agent_is_down:
        return "DOWN (agent)"
    is_rising = counter > 0 if is_checked else has_agent
    return f"DOWN {counter}/{rise}" if is_rising else "DOWN"
