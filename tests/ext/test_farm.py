"""ext.farm: who is usable, and limits, for every algorithm."""

from collections import Counter

import pytest

from ext.arena import Arena
from ext.limits import AdminState, ServerState
from tests.ext.arena_memory import ArenaMemory
from tests.ext.farms import EVERY_KIND, FULL, KEYS, NONE, SPREADING, Farm, expected

# -- who is usable ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    "change",
    [
        {"state": ServerState.DOWN},
        {"admin": AdminState.DRAIN},
        {"admin": AdminState.MAINT},
        {"weight": 0},
    ],
    ids=str,
)
def test_unusable_server_gets_nothing_until_it_is_back(
    arena: Arena, kind: str, change: dict[str, int]
) -> None:
    farm = Farm(arena, kind, (1, 1, 1))
    assert farm.used() == expected(kind, {0, 1, 2})
    arena.set_server(farm.slots[1], **change)  # type: ignore[arg-type]
    assert farm.used() == expected(kind, {0, 2})
    assert farm.balancer.usable == 2
    arena.set_server(farm.slots[1], state=ServerState.UP, admin=AdminState.READY, weight=1)
    assert farm.used() == expected(kind, {0, 1, 2})
    assert farm.balancer.usable == 3


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_no_usable_server(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1))
    farm.down(0, 1, 2)
    assert farm.pick() == NONE
    assert farm.pick(tried=(1,)) == NONE
    assert farm.balancer.usable == 0
    farm.up(2)
    assert farm.pick() == 2


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_no_server_at_all(arena: Arena, kind: str) -> None:
    assert Farm(arena, kind, ()).pick() == NONE


def test_states_are_read_when_the_epoch_has_moved(arena: Arena, memory: ArenaMemory) -> None:
    """An unchanged farm costs one load a pick, so a state without a new epoch is not seen."""
    farm = Farm(arena, "roundrobin", (1, 1))
    farm.picks(2)
    memory.set_state_quietly(farm.slots[0], ServerState.DOWN)
    assert Counter(farm.picks(10)) == {0: 5, 1: 5}
    arena.set_server(farm.slots[1], weight=1)
    assert set(farm.picks(10)) == {1}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_backup_takes_part_only_when_no_other_is_usable(arena: Arena, kind: str) -> None:
    """As HAProxy without `allbackups`: the first usable backup alone."""
    farm = Farm(arena, kind, (1, 1, 1, 1), backups=(1, 3))
    assert farm.used() == expected(kind, {0, 2})
    farm.down(0)
    assert farm.used() == {2}
    farm.down(2)
    assert farm.used() == {1}
    farm.down(1)
    assert farm.used() == {3}
    farm.up(2)
    assert farm.used() == {2}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_all_backups_serve_when_told(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1, 1), backups=(1, 3), all_backups=True)
    assert farm.used() == expected(kind, {0, 2})
    farm.down(0, 2)
    assert farm.used() == expected(kind, {1, 3})
    farm.down(3)
    assert farm.used() == {1}
    farm.up(2)
    assert farm.used() == {2}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_backup_has_limits_too(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1), backups=(1,), maxconn=1)
    farm.down(0)
    memory.set_server(farm.row, farm.slots[1], "in_flight", 1)
    assert farm.used() == {FULL}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_fail_open_serves_from_all_when_none_is_healthy(arena: Arena, kind: str) -> None:
    """An ALB sends to every registered target then; who was taken out by hand stays out."""
    farm = Farm(arena, kind, (1, 1, 1, 1), fail_open=True)
    farm.down(0, 1, 2)
    assert farm.used() == {3}
    farm.down(3)
    assert farm.used() == expected(kind, {0, 1, 2, 3})
    arena.set_server(farm.slots[0], admin=AdminState.DRAIN)
    arena.set_server(farm.slots[1], weight=0)
    assert farm.used() == expected(kind, {2, 3})
    farm.up(2)
    assert farm.used() == {2}


# -- limits and tried servers -------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_full_server_is_passed_over(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1), maxconn=4)
    memory.set_server(farm.row, farm.slots[1], "in_flight", 3)
    assert 1 in farm.used() or kind in ("leastconn", "first")
    memory.set_server(farm.row, farm.slots[1], "in_flight", 4)
    assert farm.used() == expected(kind, {0, 2})
    for index in (0, 2):
        memory.set_server(farm.row, farm.slots[index], "in_flight", 9)
    assert farm.used() == {FULL}
    memory.set_server(farm.row, farm.slots[1], "in_flight", 3)
    assert farm.used() == {1}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_full_counts_the_requests_of_all_workers(
    arena: Arena, memory: ArenaMemory, kind: str
) -> None:
    farm = Farm(arena, kind, (1, 1), maxconn=10)
    others = [arena.claim_row(pid) for pid in (2, 3)]
    for row, count in zip([farm.row, *others], (3, 3, 4), strict=True):
        memory.set_server(row, farm.slots[0], "in_flight", count)
    assert farm.used() == {1}
    arena.release_row(others[0])  # a worker was killed: what it had is gone
    memory.set_server(farm.row, farm.slots[1], "in_flight", 10)
    assert farm.used() == {0}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_without_maxconn_nobody_is_full(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1,))
    memory.set_server(farm.row, farm.slots[0], "in_flight", 1_000_000)
    assert farm.pick() == 0


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_tried_servers_are_passed_over_while_another_is_usable(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1))
    assert farm.used((1,)) == expected(kind, {0, 2})
    assert farm.used((1, 0)) == {2}
    assert farm.used((1, 0, 2)) == expected(kind, {0, 1, 2})
    farm.down(2)
    assert farm.used((1,)) == {0}
    assert farm.used((0, 1)) == expected(kind, {0, 1})


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_tried_is_better_than_full(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1), maxconn=1)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 1)
    assert farm.pick(tried=(1,)) == 1
    memory.set_server(farm.row, farm.slots[1], "in_flight", 1)
    assert farm.pick(tried=(1,)) == FULL


# -- many servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPREADING)
def test_a_thousand_servers(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, [1] * 1000)
    farm.down(*range(0, 1000, 2))
    picks = {farm.pick(key) for key in KEYS[:2000]}
    assert len(picks) > (400 if kind in ("map-based", "consistent", "random") else 499)
    assert all(pick % 2 for pick in picks)


# -- slow start, and what is set at run time ---------------------------------------------------


@pytest.mark.parametrize("kind", ["roundrobin", "random"])
def test_a_slow_start_has_steps_for_a_weight_of_one(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1))
    arena.set_server(farm.slots[0], ramp=4)
    found = Counter(farm.picks(3_600))
    tolerance = 2 if kind == "roundrobin" else 250  # of two draws the less loaded: all are idle
    assert abs(found[0] - 3_600 * 4 / (4 + 16 + 16)) <= tolerance
    arena.set_server(farm.slots[0], ramp=0)
    assert abs(Counter(farm.picks(3_600))[0] - 1_200) <= tolerance


def test_a_slow_start_takes_part_in_what_is_least_connections(
    arena: Arena, memory: ArenaMemory
) -> None:
    farm = Farm(arena, "leastconn", (1, 1))
    arena.set_server(farm.slots[0], ramp=4)  # a quarter of the other
    for load_of_the_other, first in ((2, 1), (9, 0)):
        memory.set_server(farm.row, farm.slots[0], "in_flight", 1)
        memory.set_server(farm.row, farm.slots[1], "in_flight", load_of_the_other)
        assert farm.pick() == first


def test_a_slow_start_does_not_move_the_keys_of_others(arena: Arena) -> None:
    farm = Farm(arena, "consistent", (2, 2, 2))
    before = farm.by_key()
    arena.set_server(farm.slots[0], ramp=8)
    during = farm.by_key()
    first = farm.names[0]
    assert all(a == b for a, b in zip(before, during, strict=True) if a != first)
    assert 0.3 < during.count(first) / before.count(first) < 0.7


def test_an_agents_limit_and_that_of_a_slow_start_are_kept(
    arena: Arena, memory: ArenaMemory
) -> None:
    farm = Farm(arena, "roundrobin", (1,), maxconn=8)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 2)
    for change, picked in (({"maxconn": 2}, FULL), ({"maxconn": 0}, 0), ({"ramp": 4}, FULL)):
        arena.set_server(farm.slots[0], **change)
        assert farm.pick() == picked
    arena.set_server(farm.slots[0], ramp=5)  # five of sixteen parts of 8 are 2.5
    assert farm.pick() == FULL
    arena.set_server(farm.slots[0], ramp=6)
    assert farm.pick() == 0


def test_a_server_for_its_regulars_gets_nothing_new(arena: Arena) -> None:
    farm = Farm(arena, "roundrobin", (1, 1))
    arena.set_server(farm.slots[0], state=ServerState.NOLB)
    assert set(farm.picks(4)) == {1}
    farm.down(1)
    assert farm.pick() == NONE
