"""loadtests.pauses: who pauses, for how long, and because of whom."""

from __future__ import annotations

import os
import threading

import pytest

from edge.clock import now
from loadtests.pauses import Ask, Longest, Pause, Prober, longest_between

CORE = min(os.sched_getaffinity(0))


def test_longest_between() -> None:
    pauses = [Pause(1.0, 1.1, False), Pause(2.0, 2.5, True), Pause(3.0, 3.2, False)]
    assert longest_between(pauses, 0.0, 0.9) == Longest(0.0, 0.0)
    assert longest_between(pauses, 2.4, 2.9) == Longest(0.5, 0.0)
    assert longest_between(pauses, 1.05, 1.06).waiting_s == pytest.approx(0.1)
    assert longest_between(pauses, 0.0, 9.0).waiting_s == pytest.approx(0.2)
    assert str(Longest(0.0125, 0.0004)) == "0.40 ms (with preempted ones 12.50 ms)"


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
    assert longest_between(pauses, began_at, now()).waiting_s >= 0.005


def test_prober_tells_preemption_from_waiting() -> None:
    """Two on one core that both never wait: the kernel has to take it from one of them."""

    def make_ask() -> Ask:
        return lambda number: None

    with Prober(make_ask, CORE) as first, Prober(make_ask, CORE) as second:
        threading.Event().wait(0.3)
        pauses = first.stop()[1]
        second.stop()
    longest = longest_between(pauses, 0.0, now())
    assert longest.any_s > 0.0005
    assert longest.waiting_s < longest.any_s


def test_an_error_of_the_prober_is_one_here(capfd: pytest.CaptureFixture[str]) -> None:
    def make_ask() -> Ask:
        raise ValueError("nobody there")

    with pytest.raises(RuntimeError, match="the prober has ended"), Prober(make_ask, CORE):
        pass
    assert "nobody there" in capfd.readouterr().err
