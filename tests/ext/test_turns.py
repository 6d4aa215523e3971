"""ext.turns: HAProxy's order of round robin, also while weights and states change."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.arena import Arena
from tests.ext.arena_memory import ArenaMemory
from tests.ext.farms import GOLDEN, Farm, text


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("roundrobin.")])
def test_roundrobin_has_haproxys_order(arena: Arena, name: str) -> None:
    weights = [int(weight) for weight in name.partition(".")[2].split("-")]
    golden = GOLDEN[name]
    assert text(Farm(arena, "roundrobin", weights).picks(len(golden))) == golden


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.lists(st.integers(1, 256), min_size=1, max_size=8))
def test_roundrobin_gives_each_its_weight_in_every_round(weights: list[int]) -> None:
    """A round is as many picks as the weights' sum; no round is worse than the first."""
    arena = Arena.create()
    farm = Farm(arena, "roundrobin", weights)
    for _ in range(3):
        counts = Counter(farm.picks(sum(weights)))
        assert all(abs(counts[index] - weight) <= 1 for index, weight in enumerate(weights))


def test_roundrobin_is_smooth(arena: Arena) -> None:
    """A weight of 5 in 20 never waits longer than 6 turns: its requests do not come in bursts."""
    picks = Farm(arena, "roundrobin", (5, 5, 10)).picks(400)
    for server in (0, 1):
        places = [at for at, pick in enumerate(picks) if pick == server]
        assert {b - a for a, b in itertools.pairwise(places)} <= {3, 4, 5, 6}


def test_full_server_has_no_burst_afterwards(arena: Arena, memory: ArenaMemory) -> None:
    """Turns missed while full are lost: a server just out of trouble is not flooded."""
    farm = Farm(arena, "roundrobin", (1, 1), maxconn=4)
    farm.picks(10)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 4)
    assert set(farm.picks(101)) == {1}
    memory.set_server(farm.row, farm.slots[0], "in_flight", 0)
    picks = farm.picks(20)
    assert abs(picks.count(0) - picks.count(1)) <= 4


def test_weight_that_changes_counts_at_once_and_the_order_goes_on(arena: Arena) -> None:
    farm = Farm(arena, "roundrobin", (1, 1))
    farm.picks(7)
    farm.weigh(1, 3)
    assert Counter(farm.picks(40))[1] in (29, 30, 31)


def test_a_change_does_not_start_the_order_anew(arena: Arena) -> None:
    """Equal servers: whoever had the last turn does not get the next one, because a third one's
    weight has changed; else slow starts would send a burst to the first server."""
    farm = Farm(arena, "roundrobin", (100, 100, 100))
    last = None
    counts: Counter[int] = Counter()
    for step in range(1, 100):
        farm.weigh(2, step)
        pick = farm.pick()
        assert pick != last or pick == 2
        last = pick
        counts[pick] += 1
    assert abs(counts[0] - counts[1]) <= 3


def test_server_that_comes_back_gets_no_burst(arena: Arena) -> None:
    farm = Farm(arena, "roundrobin", (1, 1, 1, 1))
    farm.picks(10)
    farm.down(2)
    farm.picks(400)
    farm.up(2)
    assert max(Counter(farm.picks(40)).values()) <= 11
