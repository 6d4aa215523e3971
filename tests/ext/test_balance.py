"""ext.balance: the names, and the algorithms that compare loads or draw."""

from collections import Counter

import pytest

from ext.arena import Arena
from ext.balance import BALANCERS
from tests.ext.arena_memory import ArenaMemory
from tests.ext.farms import EVERY_KIND, FULL, GOLDEN, Farm, text


def test_both_names_of_an_algorithm_are_one() -> None:
    assert BALANCERS["round_robin"] is BALANCERS["roundrobin"]
    assert BALANCERS["least_outstanding_requests"] is BALANCERS["leastconn"]
    assert BALANCERS["weighted_random"] is BALANCERS["random"]
    assert len({BALANCERS[kind] for kind in EVERY_KIND}) == len(EVERY_KIND)


# -- first --------------------------------------------------------------------------------------


def test_first_fills_one_server_after_another(arena: Arena) -> None:
    farm = Farm(arena, "first", (1, 5, 9), maxconn=2)
    picks = []
    for _ in range(7):
        picks.append(farm.pick())
        if picks[-1] >= 0:
            farm.balancer.take_for_test(picks[-1])
    assert picks == [0, 0, 1, 1, 2, 2, FULL]
    farm.balancer.take_for_test(1, -1)
    assert farm.pick() == 1


# -- least connections --------------------------------------------------------------------------


def test_leastconn_takes_the_least_loaded(arena: Arena, memory: ArenaMemory) -> None:
    farm = Farm(arena, "leastconn", (1, 1, 1))
    for index, count in enumerate((3, 1, 2)):
        memory.set_server(farm.row, farm.slots[index], "in_flight", count)
    assert farm.picks(3) == [1, 1, 1]
    memory.set_server(farm.row, farm.slots[1], "in_flight", 2)
    assert set(farm.picks(4)) == {1, 2}  # equals take turns
    memory.set_server(farm.row, farm.slots[0], "in_flight", 0)
    assert farm.picks(3) == [0, 0, 0]


def test_leastconn_reads_the_requests_of_all_workers(arena: Arena, memory: ArenaMemory) -> None:
    farm = Farm(arena, "leastconn", (1, 1))
    other = arena.claim_row(2)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 2)
    memory.set_server(other, farm.slots[1], "in_flight", 3)
    assert farm.picks(3) == [0, 0, 0]
    memory.set_server(other, farm.slots[0], "in_flight", 2)
    assert farm.picks(3) == [1, 1, 1]


@pytest.mark.parametrize(
    ("weights", "loads", "chosen"),
    [
        # (load + 1) x 256 / weight: the load that the next request would make, by weight
        ((3, 1), (1, 1), 0),
        ((3, 1), (4, 1), 0),
        ((3, 1), (6, 1), 1),
        ((256, 1), (100, 1), 0),
        ((1, 256), (0, 1), 0),  # idle comes first
    ],
)
def test_leastconn_weighs_the_load(
    arena: Arena,
    memory: ArenaMemory,
    weights: tuple[int, int],
    loads: tuple[int, int],
    chosen: int,
) -> None:
    farm = Farm(arena, "leastconn", weights)
    for slot, load in zip(farm.slots, loads, strict=True):
        memory.set_server(farm.row, slot, "in_flight", load)
    assert farm.picks(2) == [chosen, chosen]


def test_leastconn_shares_long_requests_by_weight(arena: Arena, memory: ArenaMemory) -> None:
    farm = Farm(arena, "leastconn", (3, 2, 1))
    loads = [0, 0, 0]
    for _ in range(120):
        index = farm.pick()
        loads[index] += 1
        memory.set_server(farm.row, farm.slots[index], "in_flight", loads[index])
    assert loads == pytest.approx([60, 40, 20], abs=1)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("leastconn.")])
def test_leastconn_has_haproxys_order_when_idle(arena: Arena, name: str) -> None:
    """Idle servers rotate, whatever their weights; so they do when each request has ended."""
    weights = [int(weight) for weight in name.partition(".")[2].split("-")]
    golden = GOLDEN[name]
    assert text(Farm(arena, "leastconn", weights).picks(len(golden))) == golden
    farm = Farm(arena, "leastconn", weights, names=("a", "b", "c"))
    picks = []
    for _ in golden:
        picks.append(farm.pick())
        farm.balancer.take_for_test(picks[-1])
        farm.balancer.take_for_test(picks[-1], -1)
    assert text(picks) == golden


def test_equals_go_in_the_order_in_which_their_loads_changed(arena: Arena) -> None:
    """As in HAProxy's tree: who has just become idle is behind those who have been for longer."""
    farm = Farm(arena, "leastconn", (1, 1, 1, 1))
    farm.picks(4)
    for index in (2, 0, 3, 1):
        farm.balancer.take_for_test(index)
    for index in (3, 1, 0, 2):
        farm.balancer.take_for_test(index, -1)
    assert farm.picks(8) == [3, 1, 0, 2, 3, 1, 0, 2]


def test_leastconn_of_its_own_worker_is_exact_in_a_large_farm(arena: Arena) -> None:
    """500 requests that stay, then 500 more: no server gets a second one before all have one."""
    farm = Farm(arena, "leastconn", [1] * 500)
    for _ in range(2):
        counts: Counter[int] = Counter()
        for _ in range(500):
            index = farm.pick()
            farm.balancer.take_for_test(index)
            counts[index] += 1
        assert set(counts.values()) == {1}


def test_leastconn_never_picks_what_others_have_filled(arena: Arena, memory: ArenaMemory) -> None:
    """A pick is verified: what this worker had not seen yet counts before it is taken."""
    farm = Farm(arena, "leastconn", [1] * 300)
    other = arena.claim_row(2)
    farm.picks(10)
    for slot in farm.slots[:299]:
        memory.set_server(other, slot, "in_flight", 5)
    assert farm.picks(3) == [299] * 3


def test_leastconn_finds_what_others_have_left(arena: Arena, memory: ArenaMemory) -> None:
    """At the latest when the sweep has been around: 300 servers, 2 rows, 12 servers a pick."""
    farm = Farm(arena, "leastconn", [1] * 300)
    other = arena.claim_row(2)
    for slot in farm.slots:
        memory.set_server(other, slot, "in_flight", 5)
    farm.picks(60)
    memory.set_server(other, farm.slots[77], "in_flight", 0)
    picks = farm.picks(300 // 12 + 2)
    assert 77 in picks
    assert set(picks[picks.index(77) :]) == {77}


# -- random ----------------------------------------------------------------------------------
# Six standard deviations wide: a right balancer fails once in 10^8 runs.


def spread(count: int, share: float) -> float:
    return float(6 * (count * share * (1 - share)) ** 0.5)


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 2, 1), (1, 256), (0, 5, 5)], ids=str)
def test_random_draws_by_weight(arena: Arena, weights: tuple[int, ...]) -> None:
    picks = 6000
    counts = Counter(Farm(arena, "random", weights).picks(picks))
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(counts[index] - picks * share) <= spread(picks, share), counts


def test_random_takes_the_less_loaded_of_two(arena: Arena, memory: ArenaMemory) -> None:
    """The loaded one of two servers is taken only when both draws hit it: a quarter."""
    farm = Farm(arena, "random", (1, 1))
    memory.set_server(farm.row, farm.slots[0], "in_flight", 10)
    counts = Counter(farm.picks(6000))
    assert abs(counts[0] - 1500) <= spread(6000, 0.25), counts


def test_random_weighs_the_load(arena: Arena, memory: ArenaMemory) -> None:
    """10 requests at weight 10 are less than 2 at weight 1."""
    farm = Farm(arena, "random", (10, 1))
    for slot, load in zip(farm.slots, (10, 2), strict=True):
        memory.set_server(farm.row, slot, "in_flight", load)
    share = (1 / 11) ** 2
    counts = Counter(farm.picks(6000))
    assert abs(counts[1] - 6000 * share) <= spread(6000, share), counts


def test_random_differs_between_workers(arena: Arena) -> None:
    """Equal seeds would send the requests of all workers to the same servers at once."""
    names = [f"t/n{number}" for number in range(100)]
    farms = [Farm(arena, "random", [1] * 100, names=names) for _ in range(2)]
    assert farms[0].picks(20) != farms[1].picks(20)


@pytest.mark.parametrize(("draws", "times"), [(1, 1), (3, 3), (5, 5)])
def test_random_takes_the_least_loaded_of_its_draws(
    arena: Arena, memory: ArenaMemory, draws: int, times: int
) -> None:
    """The loaded one of two is taken only when every draw hits it."""
    farm = Farm(arena, "random", (1, 1), draws=draws)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 10)
    counts = Counter(farm.picks(6000))
    share = 0.5**times
    assert abs(counts[0] - 6000 * share) <= spread(6000, share), counts


def test_random_of_many_draws_by_weight(arena: Arena) -> None:
    """The draw is a search in sums: the first, the last and those without weight among them."""
    weights = [0, 5, 0, 0, 10, *([1] * 60), 25, 0]
    counts = Counter(Farm(arena, "random", weights, draws=1).picks(20_000))
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(counts[index] - 20_000 * share) <= spread(20_000, share) + 1, index
