"""The health of one server as HAProxy counts it: a number, and what it means.

The counter runs from 0 to rise+fall-1. At or above `rise` the server is UP. Results move it by
one, with two jumps: a success that reaches `rise` sets it to the top, a failure that falls below
`rise` sets it to 0. So only consecutive results count: one success wipes all failures, one
failure wipes all successes.

A server that no check has seen starts UP at exactly `rise`: traffic flows at once, the first
success makes it fully UP, and the first failure takes it DOWN without waiting for `fall`.

Pure: nothing here reads a clock or a socket. `edge.health.runner` feeds results in and obeys
`interval_s`.

Source: HAProxy 2.6 configuration manual 5.2 (`rise`, `fall`, `inter`, `fastinter`, `downinter`)
and its measured `check_health` column; the timeline is in tests/health/test_machine.py.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """The counter of one server, and whether workers doubt it."""

    __slots__ = ("_counter", "_failures_answered", "_in_doubt", "thresholds")

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._counter = thresholds.start
        self._in_doubt = False
        self._failures_answered = 0

    @classmethod
    def resumed(cls, thresholds: Thresholds, *, is_up: bool, counter: int) -> HealthMachine:
        """The machine of a server that was checked before this process started; its state is kept.

        The counter is clamped into the range of the state, since a reload may have changed rise
        and fall. An UP server whose counter is below `rise` was never checked and starts as a new
        one.
        """
        machine = cls(thresholds)
        if is_up:
            machine._counter = max(thresholds.rise, min(counter, thresholds.top))
        else:
            machine._counter = max(0, min(counter, thresholds.rise - 1))
        return machine

    @property
    def counter(self) -> int:
        return self._counter

    @property
    def is_up(self) -> bool:
        return self._counter >= self.thresholds.rise

    @property
    def in_doubt(self) -> bool:
        """Workers failed to connect after the last passing check began."""
        return self._in_doubt

    def on_success(self) -> None:
        """One passed check."""
        if self._counter < self.thresholds.top:
            self._counter += 1
        if self._counter >= self.thresholds.rise:
            self._counter = self.thresholds.top

    def on_failure(self) -> None:
        """One failed check."""
        if self._counter > 0:
            self._counter -= 1
        if self._counter < self.thresholds.rise:
            self._counter = 0

    def on_state_seen(self, is_up: bool) -> bool:
        """Adopts a state somebody else wrote: a worker's mark-down, another process's check.

        Returns whether it was news. DOWN costs all health; UP gives what a new server has.
        """
        if is_up == self.is_up:
            return False
        self._counter = self.thresholds.rise if is_up else 0
        return True

    def on_connect_failures_seen(self, streak: int) -> bool:
        """Takes the workers' count of consecutive failed connects; True when doubt begins.

        Failures that a passing check has already answered do not count again (`on_doubt_answered`).
        """
        self._failures_answered = min(self._failures_answered, streak)
        was_in_doubt = self._in_doubt
        self._in_doubt = self.is_up and streak > self._failures_answered
        return self._in_doubt and not was_in_doubt

    def on_doubt_answered(self, streak: int) -> None:
        """A check that began when the count stood at `streak` has passed: it is newer."""
        self._failures_answered = streak
        self._in_doubt = False

    def on_maintenance_left(self) -> None:
        """The operator ended maintenance: the server starts as a new one (`UP 1/3`)."""
        self._counter = self.thresholds.start

    def on_forced(self, is_up: bool) -> None:
        """The operator says what the checks should have found: all health, or none."""
        self._counter = self.thresholds.top if is_up else 0

    def interval_s(self) -> float:
        """Seconds from the end of a check to the start of the next."""
        limits = self.thresholds
        if self._counter == 0:
            return limits.down_interval_s
        if self._counter == limits.top and not self._in_doubt:
            return limits.interval_s
        return limits.fast_interval_s

    def status(self) -> str:
        """HAProxy's status column: `UP`, `UP 2/3`, `DOWN 1/2` or `DOWN`."""
        return status_text(self._counter, self.thresholds.rise, self.thresholds.fall)


def status_text(counter: int, rise: int, fall: int) -> str:
    """HAProxy's status column for a counter.

    UP n/m: n more failures are needed to go DOWN, out of m. DOWN n/m: n of m successes were seen.
    """
    if counter >= rise + fall - 1:
        return "UP"
    if counter >= rise:
        return f"UP {counter - rise + 1}/{fall}"
    if counter > 0:
        return f"DOWN {counter}/{rise}"
    return "DOWN"
