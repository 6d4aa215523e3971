"""edge.health.slowstart: HAProxy's ramp, and AWS's condition."""

import pytest

from edge.health.slowstart import SlowStart, throttle_percent


@pytest.mark.parametrize(
    ("duration_s", "ramps"),
    [(2, [1, 9, 0, 0]), (3, [1, 6, 11, 0]), (1, [1, 0]), (30, [1, 1, 2, 2, 3])],
)
def test_the_ramp_goes_by_whole_seconds(duration_s: float, ramps: list[int]) -> None:
    slow = SlowStart(duration_s)
    assert [slow.ramp(second) for second in range(len(ramps))] == ramps
    assert [slow.ramp(second + 0.9) for second in range(len(ramps))] == ramps


def test_it_ends_and_a_clock_that_goes_back_ends_it() -> None:
    assert SlowStart(900).ramp(840) == 15
    assert SlowStart(900).ramp(900) == SlowStart(900).ramp(-1) == 0
    assert all(0 <= SlowStart(37).ramp(second) < 16 for second in range(40))


@pytest.mark.parametrize(
    ("weight", "ramp", "percent"), [(100, 1, 6), (100, 9, 56), (1, 1, 7), (1, 8, 50), (0, 3, 100)]
)
def test_the_column_is_haproxys(weight: int, ramp: int, percent: int) -> None:
    assert throttle_percent(weight, ramp) == percent


def test_it_may_ask_first() -> None:
    assert SlowStart(30).may_begin()
    assert SlowStart(30, lambda: True).may_begin()
    assert not SlowStart(30, lambda: False).may_begin()
