"""Sweeping: step by step while there is work, now and then while there is none."""

import asyncio

import pytest

from edge.control.sweep import LOOK_S, PAUSE_S, STEP_US, sweep_for_ever


class EnoughError(Exception):
    """Ends the sweeping, which has no end of its own."""


class Dust:
    """A store with so many steps of work."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.budgets_us: list[int] = []

    def sweep(self, budget_us: int) -> bool:
        self.budgets_us.append(budget_us)
        self.steps -= 1
        return self.steps > 0


def test_it_pauses_briefly_while_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses_s: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)
        if len(pauses_s) == 5:
            raise EnoughError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    store = Dust(steps=3)
    with pytest.raises(EnoughError):
        asyncio.run(sweep_for_ever(store))
    assert pauses_s == [PAUSE_S, PAUSE_S, LOOK_S, LOOK_S, LOOK_S]
    assert store.budgets_us == [STEP_US] * 5


def test_it_leaves_time_for_others() -> None:
    assert STEP_US / 1_000_000 < PAUSE_S
    assert LOOK_S < 1  # "memory is back within seconds"
