"""loadtests.pauses: who pauses, for how long, and because of whom."""

from __future__ import annotations

import os
import threading

import pytest

from edge.clock import now
from loadtests.pauses import Ask, CoreClock, Longest, NoCore, Pause, Prober, longest_between

CORE = min(os.sched_getaffinity(0))


def test_longest_between() -> None:
    pauses = [Pause(1.0, 1.125, 0.0), Pause(2.0, 2.5, 0.4375), Pause(3.0, 3.25, 0.0)]
    assert longest_between(pauses, 0.0, 0.9) == Longest(0.0, 0.0)
    assert longest_between(pauses, 1.05, 1.06) == Longest(0.125, 0.125)
    assert longest_between(pauses, 2.4, 2.9) == Longest(0.5, 0.0625)
    assert longest_between(pauses, 0.0, 9.0) == Longest(0.5, 0.25)
    assert str(Longest(0.0125, 0.0004)) == "0.40 ms (with the scheduler's: 12.50 ms)"
    assert str(Longest(0.02, 0.0)) == "below 0.1 ms (with the scheduler's: 20.00 ms)"


def test_waiting_for_somebody_without_a_core() -> None:
    pauses = [Pause(1.0, 1.25, 0.0), Pause(2.0, 2.125, 0.0)]
    other = NoCore()
    other.close()
    other.times = [(0.5, 1.1)]
    assert longest_between(pauses, 0.0, 9.0, other) == Longest(0.25, 0.125)
    other.times = [(0.5, 0.9), (1.5, 1.9), (2.2, 2.3)]
    assert longest_between(pauses, 0.0, 9.0, other) == Longest(0.25, 0.25)


def test_times_without_a_core_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 3, 3, 4])
    monkeypatch.setattr(CoreClock, "no_core_ns", lambda _: next(counts))
    no_core = NoCore()
    with no_core.watch():
        pass
    assert no_core.times == []
    with no_core.watch():
        pass
    [(began_at, ended_at)] = no_core.times
    assert began_at <= ended_at <= now()
    no_core.close()


def test_prober_sees_a_wait() -> None:
    """Every hundredth answer comes 5 ms late, while the prober sleeps."""

    def make_ask() -> Ask:
        never = threading.Event()

        def ask(number: int) -> None:
            if number % 100 == 0:
                never.wait(0.005)

        return ask

    began_at = now()
    with Prober(make_ask, CORE) as prober:
        threading.Event().wait(0.05)
        count, pauses = prober.stop()
    late = [pause for pause in pauses if pause.taken_s >= 0.005]
    assert len(late) >= (count + 99) // 100 >= 1
    assert longest_between(pauses, began_at, now()).caused_s >= 0.004  # asleep, not without a core


def test_prober_takes_the_schedulers_part_off() -> None:
    """Two on one core that never wait: each is without it while the other one has it."""

    def make_ask() -> Ask:
        return lambda number: None

    with Prober(make_ask, CORE) as first, Prober(make_ask, CORE) as second:
        threading.Event().wait(0.3)
        pauses = first.stop()[1]
        second.stop()
    longest = max(pauses, key=lambda pause: pause.taken_s)
    assert longest.taken_s > 0.0005
    assert longest.caused_s < longest.taken_s / 2


def test_an_error_of_the_prober_is_one_here(capfd: pytest.CaptureFixture[str]) -> None:
    def make_ask() -> Ask:
        raise ValueError("nobody there")

    with pytest.raises(RuntimeError, match="the prober has ended"), Prober(make_ask, CORE):
        pass
    assert "nobody there" in capfd.readouterr().err
