"""ext.timers: a deadline fires once, never early, and at most one tick late."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.limits import Limit
from ext.timers import WheelForTest

TICK = int(Limit.TICK_MS)
TURN = 1024 * TICK  # WHEEL_SLOTS ticks; later deadlines are looked at once a turn
START = 1_000_000


def latest(due_ms: int) -> int:
    """The time by which a deadline has fired: the end of its tick."""
    return (due_ms // TICK + 1) * TICK


@pytest.mark.parametrize("start", [START, START + 7, START + TICK - 1])
@pytest.mark.parametrize(
    "after_ms", [1, 5, TICK - 1, TICK, TICK + 1, 1000, TURN - TICK, TURN, TURN + 1, 3 * TURN + 5]
)
def test_deadline_is_never_early_and_at_most_a_tick_late(start: int, after_ms: int) -> None:
    wheel = WheelForTest(start)
    due = start + after_ms
    wheel.arm(1, due)
    now = start
    while now < due:
        assert wheel.advance(now) == []
        now += 3
    assert wheel.advance(due - 1) == []
    fired = [now for now in range(due, due + TICK + 1) if wheel.advance(now)]
    assert len(fired) == 1
    assert wheel.advance(due + 10 * TURN) == []


def test_deadline_in_the_past_fires_at_the_next_tick() -> None:
    wheel = WheelForTest(START)
    wheel.arm(1, START - 500)
    wheel.arm(2, 1)
    assert sorted(wheel.advance(START + TICK)) == [1, 2]


def test_pushing_back() -> None:
    """The wheel still looks at the old time; nothing happens then."""
    wheel = WheelForTest(START)
    wheel.arm(1, START + 100)
    wheel.arm(1, START + 5000)
    assert wheel.advance(START + 4999) == []
    assert wheel.advance(START + 5000 + TICK) == [1]


def test_pulling_forward() -> None:
    wheel = WheelForTest(START)
    wheel.arm(1, START + 5000)
    wheel.arm(1, START + 100)
    assert wheel.advance(START + 99) == []
    assert wheel.advance(START + 100 + TICK) == [1]
    assert wheel.advance(START + 2 * TURN) == []


def test_cancelled_deadline_does_not_fire() -> None:
    wheel = WheelForTest(START)
    wheel.arm(1, START + 100)
    wheel.arm(2, START + 100)
    wheel.cancel(1)
    assert wheel.advance(START + 2 * TURN) == [2]


def test_deadline_can_be_set_again_after_it_was_cancelled_or_fired() -> None:
    wheel = WheelForTest(START)
    wheel.arm(1, START + 100)
    wheel.cancel(1)
    wheel.arm(1, START + 200)
    assert wheel.advance(START + 199) == []
    assert wheel.advance(START + 200 + TICK) == [1]
    wheel.arm(1, START + 400)
    wheel.arm(1, START + 300)
    assert wheel.advance(START + 300 + TICK) == [1]


def test_equal_deadlines_fire_in_the_order_they_were_set() -> None:
    wheel = WheelForTest(START)
    for key in range(100):
        wheel.arm(key, START + 50)
    assert wheel.advance(START + 50 + TICK) == list(range(100))


def test_wheel_is_empty_when_all_have_fired_or_were_cancelled() -> None:
    """`armed` counts what is linked: cancelled timers leave at their visit."""
    wheel = WheelForTest(START)
    for key in range(50):
        wheel.arm(key, START + 10 * key)
        wheel.arm(key, START + 10 * key + 700)
    assert wheel.armed == 50
    for key in range(0, 50, 2):
        wheel.cancel(key)
    assert len(wheel.advance(START + 10_000)) == 25
    assert wheel.armed == 0


def test_a_stall_longer_than_a_turn_fires_everything_due() -> None:
    wheel = WheelForTest(START)
    dues = [START + 1, START + TURN - 1, START + TURN + 1, START + 5 * TURN, START + 9 * TURN]
    for key, due in enumerate(dues):
        wheel.arm(key, due)
    assert sorted(wheel.advance(START + 6 * TURN)) == [0, 1, 2, 3]
    assert wheel.advance(START + 9 * TURN - 1) == []
    assert wheel.advance(START + 9 * TURN + TICK) == [4]


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 5), st.integers(-TICK, 2 * TURN)),
        st.tuples(st.just("arm"), st.integers(0, 5), st.integers(0, 5 * TICK)),
        st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(0, 4 * TICK)),
        st.tuples(st.just("wait"), st.just(0), st.integers(0, TURN + TURN // 2)),
    ),
    max_size=25,
)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(COMMANDS)
def test_wheel_agrees_with_a_dict_of_deadlines(commands: list[tuple[str, int, int]]) -> None:
    wheel = WheelForTest(START)
    known: set[int] = set()
    due: dict[int, int] = {}
    now = START
    for command, key, value in [*commands, ("wait", 0, 3 * TURN)]:
        if command == "arm":
            wheel.arm(key, now + value)
            known.add(key)
            due[key] = now + value
        elif command == "cancel" and key in known:
            wheel.cancel(key)
            due.pop(key, None)
        elif command == "wait":
            # Deadlines in the past are of the next tick.
            must = {k for k, at in due.items() if max(latest(at), latest(now)) <= now + value}
            now += value
            may = {k for k, at in due.items() if at <= now}
            fired = wheel.advance(now)
            assert len(fired) == len(set(fired))
            assert must <= set(fired) <= may
            for k in fired:
                del due[k]
    assert due == {}
    assert wheel.armed == 0


def test_a_failing_timer_does_not_take_the_others_of_its_tick_along() -> None:
    wheel = WheelForTest(1000)
    failure = RuntimeError("on_timer failed")
    wheel.arm(1, 1100)
    wheel.arm(failure, 1100)
    wheel.arm(2, 1100)
    wheel.arm(3, 5000)
    with pytest.raises(RuntimeError, match="on_timer failed"):
        wheel.advance(2000)
    assert wheel.advance(2000) == [2]
    assert wheel.advance(6000) == [3]
    assert wheel.armed == 0
