"""ext.balance: HAProxy's orders, who is usable, limits, and the statistics of hash and random.

The golden sequences were measured on HAProxy 2.6.12 and 2.8.25, which agree: the server that
answered each of 34 requests sent one after another to a fresh process.
"""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.arena import Arena
from ext.balance import BALANCERS, Balancer
from ext.limits import AdminState, ServerState
from tests.ext.arena_memory import ArenaMemory

FULL, NONE = -1, -2  # Picked in ext/balance.pxd

# Weights -> the server of each request; measured on HAProxy 2.6.12 and 2.8.25.
GOLDEN_ROUNDROBIN = {
    (1, 1, 1): "0120120120120120120120120120120120",
    (3, 2, 1): "0102010102010102010102010102010102",
    (5, 1, 1): "0001002000100200010020001002000100",
    (10, 5, 1): "0010010201001001001001020100100100",
    (100, 50, 25): "0010201001020100102010010201001020",
    (256, 1, 1): "0000000000000000000000000000000000",
}
GOLDEN_LEASTCONN = {
    (1, 1, 1): "0120120120120120120120120120120120",
    (3, 2, 1): "0120120120120120120120120120120120",
}
HASHES = ["source", "uri"]
EVERY_KIND = ["roundrobin", "leastconn", "source", "random"]


class Farm:
    """One tier's servers in an arena, and a balancer over them."""

    def __init__(
        self,
        arena: Arena,
        kind: str,
        weights: Sequence[int],
        *,
        names: Sequence[str] = (),
        maxconn: int = 0,
        backups: Sequence[int] = (),
        fail_open: bool = False,
    ) -> None:
        self.arena = arena
        self.names = list(names or (f"tier/node{index}" for index in range(len(weights))))
        self.slots = [arena.server_slot(name) for name in self.names]
        for slot, weight in zip(self.slots, weights, strict=True):
            arena.set_server(slot, weight=weight)
        rows = [(slot, maxconn, index in backups) for index, slot in enumerate(self.slots)]
        self.row = arena.claim_row(1)
        self.balancer: Balancer = BALANCERS[kind](arena, self.row, rows, fail_open=fail_open)

    def pick(self, key: int = 0, tried: tuple[int, ...] = ()) -> int:
        return self.balancer.pick_for_test(key, tried)

    def picks(self, count: int) -> list[int]:
        return [self.pick() for _ in range(count)]

    def down(self, *indexes: int) -> None:
        for index in indexes:
            self.arena.set_server(self.slots[index], state=ServerState.DOWN)

    def up(self, *indexes: int) -> None:
        for index in indexes:
            self.arena.set_server(self.slots[index], state=ServerState.UP)

    def by_key(self, keys: Sequence[int]) -> list[str]:
        """The name of the server of each key."""
        return [self.names[self.pick(key)] for key in keys]


def text(picks: Sequence[int]) -> str:
    return "".join(map(str, picks))


# -- HAProxy's orders ---------------------------------------------------------------------------


@pytest.mark.parametrize("weights", GOLDEN_ROUNDROBIN, ids=str)
def test_roundrobin_has_haproxys_order(arena: Arena, weights: tuple[int, ...]) -> None:
    golden = GOLDEN_ROUNDROBIN[weights]
    assert text(Farm(arena, "roundrobin", weights).picks(len(golden))) == golden


@pytest.mark.parametrize("weights", GOLDEN_LEASTCONN, ids=str)
def test_leastconn_has_haproxys_order_when_idle(arena: Arena, weights: tuple[int, ...]) -> None:
    """Idle servers rotate, whatever their weights."""
    golden = GOLDEN_LEASTCONN[weights]
    assert text(Farm(arena, "leastconn", weights).picks(len(golden))) == golden


def test_both_names_of_an_algorithm_are_one() -> None:
    assert BALANCERS["round_robin"] is BALANCERS["roundrobin"]
    assert BALANCERS["least_outstanding_requests"] is BALANCERS["leastconn"]
    assert BALANCERS["weighted_random"] is BALANCERS["random"]
    assert BALANCERS["uri"] is BALANCERS["source"]
    assert len({BALANCERS[kind] for kind in EVERY_KIND}) == len(EVERY_KIND)


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
    keys = [key * 2**56 for key in range(256)]
    assert {farm.pick(key) for key in keys} == {0, 1, 2}
    arena.set_server(farm.slots[1], **change)  # type: ignore[arg-type]
    assert {farm.pick(key) for key in keys} == {0, 2}
    assert farm.balancer.usable == 2
    arena.set_server(farm.slots[1], state=ServerState.UP, admin=AdminState.READY, weight=1)
    assert {farm.pick(key) for key in keys} == {0, 1, 2}
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


def test_weight_changes_take_effect(arena: Arena) -> None:
    farm = Farm(arena, "roundrobin", (1, 1))
    farm.picks(7)
    arena.set_server(farm.slots[1], weight=3)
    assert Counter(farm.picks(40)) == {0: 10, 1: 30}


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
    keys = [key * 2**56 for key in range(256)]
    assert {farm.pick(key) for key in keys} == {0, 2}
    farm.down(0)
    assert {farm.pick(key) for key in keys} == {2}
    farm.down(2)
    assert {farm.pick(key) for key in keys} == {1}
    farm.down(1)
    assert {farm.pick(key) for key in keys} == {3}
    farm.up(2)
    assert {farm.pick(key) for key in keys} == {2}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_fail_open_serves_from_all_when_none_is_healthy(arena: Arena, kind: str) -> None:
    """An ALB sends to every registered target then; who was taken out by hand stays out."""
    farm = Farm(arena, kind, (1, 1, 1, 1), fail_open=True)
    keys = [key * 2**56 for key in range(256)]
    farm.down(0, 1, 2)
    assert {farm.pick(key) for key in keys} == {3}
    farm.down(3)
    assert {farm.pick(key) for key in keys} == {0, 1, 2, 3}
    arena.set_server(farm.slots[0], admin=AdminState.DRAIN)
    arena.set_server(farm.slots[1], weight=0)
    assert {farm.pick(key) for key in keys} == {2, 3}
    farm.up(2)
    assert {farm.pick(key) for key in keys} == {2}


# -- limits and tried servers -------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_full_server_is_passed_over(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1), maxconn=4)
    keys = [key * 2**56 for key in range(256)]
    memory.set_server(farm.row, farm.slots[1], "in_flight", 3)
    assert 1 in {farm.pick(key) for key in keys} or kind == "leastconn"
    memory.set_server(farm.row, farm.slots[1], "in_flight", 4)
    assert {farm.pick(key) for key in keys} == {0, 2}
    for index in (0, 2):
        memory.set_server(farm.row, farm.slots[index], "in_flight", 9)
    assert {farm.pick(key) for key in keys} == {FULL}
    memory.set_server(farm.row, farm.slots[1], "in_flight", 3)
    assert {farm.pick(key) for key in keys} == {1}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_full_counts_the_requests_of_all_workers(
    arena: Arena, memory: ArenaMemory, kind: str
) -> None:
    farm = Farm(arena, kind, (1, 1), maxconn=10)
    others = [arena.claim_row(pid) for pid in (2, 3)]
    for row, count in zip([farm.row, *others], (3, 3, 4), strict=True):
        memory.set_server(row, farm.slots[0], "in_flight", count)
    assert {farm.pick(key * 2**57) for key in range(128)} == {1}
    arena.release_row(others[0])  # a worker was killed: what it had is gone
    memory.set_server(farm.row, farm.slots[1], "in_flight", 10)
    assert {farm.pick(key * 2**57) for key in range(128)} == {0}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_without_maxconn_nobody_is_full(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1,))
    memory.set_server(farm.row, farm.slots[0], "in_flight", 1_000_000)
    assert farm.pick() == 0


def test_full_server_has_no_burst_afterwards(arena: Arena, memory: ArenaMemory) -> None:
    """Turns missed while full are lost: a server just out of trouble is not flooded."""
    farm = Farm(arena, "roundrobin", (1, 1), maxconn=4)
    farm.picks(10)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 4)
    assert set(farm.picks(101)) == {1}
    memory.set_server(farm.row, farm.slots[0], "in_flight", 0)
    picks = farm.picks(20)
    assert abs(picks.count(0) - picks.count(1)) <= 4


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_tried_servers_are_passed_over_while_another_is_usable(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1, 1))
    keys = [key * 2**56 for key in range(256)]
    assert {farm.pick(key, (1,)) for key in keys} == {0, 2}
    assert {farm.pick(key, (1, 0)) for key in keys} == {2}
    assert {farm.pick(key, (1, 0, 2)) for key in keys} == {0, 1, 2}
    farm.down(2)
    assert {farm.pick(key, (1,)) for key in keys} == {0}
    assert {farm.pick(key, (0, 1)) for key in keys} == {0, 1}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_tried_is_better_than_full(arena: Arena, memory: ArenaMemory, kind: str) -> None:
    farm = Farm(arena, kind, (1, 1), maxconn=1)
    memory.set_server(farm.row, farm.slots[0], "in_flight", 1)
    assert farm.pick(tried=(1,)) == 1
    memory.set_server(farm.row, farm.slots[1], "in_flight", 1)
    assert farm.pick(tried=(1,)) == FULL


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


# -- consistent hashing -------------------------------------------------------------------------

KEYS = [(number * 0x9E3779B97F4A7C15) % 2**64 for number in range(20_000)]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_lost_server_moves_only_its_own_keys(arena: Arena, count: int) -> None:
    farm = Farm(arena, "uri", [1] * count)
    before = farm.by_key(KEYS)
    farm.down(1)
    after = farm.by_key(KEYS)
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert {a for a, _ in moved} == {farm.names[1]}
    assert len(moved) == before.count(farm.names[1])
    assert len(moved) <= (1 / count + 0.02) * len(KEYS)
    if count > 2:  # its keys are shared by all that are left
        assert len({b for _, b in moved}) == count - 1
    farm.up(1)
    assert farm.by_key(KEYS) == before


@pytest.mark.parametrize("way", ["weight", "admin"])
def test_drained_server_moves_only_its_own_keys(arena: Arena, way: str) -> None:
    farm = Farm(arena, "uri", [2, 2, 2])
    before = farm.by_key(KEYS[:4000])
    change = {"weight": 0} if way == "weight" else {"admin": int(AdminState.DRAIN)}
    arena.set_server(farm.slots[2], **change)  # type: ignore[arg-type]
    after = farm.by_key(KEYS[:4000])
    assert {a for a, b in zip(before, after, strict=True) if a != b} == {farm.names[2]}


def test_server_taken_out_of_the_file_moves_only_its_own_keys(arena: Arena) -> None:
    """A reload makes a new ring from the servers that are left: their points stay."""
    names = [f"haproxy/web{number}" for number in range(6)]
    whole = Farm(arena, "source", [1] * 6, names=names)
    less = Farm(arena, "source", [1] * 5, names=names[:2] + names[3:])
    pairs = list(zip(whole.by_key(KEYS), less.by_key(KEYS), strict=True))
    assert {a for a, b in pairs if a != b} == {names[2]}
    assert sum(a != b for a, b in pairs) <= (1 / 6 + 0.02) * len(KEYS)


def test_ring_is_the_same_in_every_arena(arena: Arena) -> None:
    """Workers and machines agree: slots, rows and the order of the file do not matter."""
    names = [f"haproxy/web{number}" for number in range(5)]
    weights = [1, 2, 3, 4, 5]
    one = Farm(arena, "uri", weights, names=names)
    other = Arena.create()
    for number in range(10):
        other.server_slot(f"something/else{number}")
    two = Farm(other, "uri", weights[::-1], names=names[::-1])
    assert one.by_key(KEYS[:2000]) == two.by_key(KEYS[:2000])


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize(
    "weights", [(1, 1, 1), (3, 2, 1), (9, 1), (100, 50, 25), (256, 128), (1,) * 20], ids=str
)
def test_share_of_keys_follows_the_weight(
    arena: Arena, kind: str, weights: tuple[int, ...]
) -> None:
    farm = Farm(arena, kind, weights)
    counts = Counter(farm.pick(key) for key in KEYS)
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert counts[index] / len(KEYS) == pytest.approx(share, rel=0.3, abs=0.03), counts


def test_same_key_same_server(arena: Arena) -> None:
    farm = Farm(arena, "source", [1] * 50)
    for key in KEYS[:50]:
        assert len({farm.pick(key) for _ in range(5)}) == 1


def test_ring_is_closed(arena: Arena) -> None:
    """Behind the last point comes the first one: the largest key has a server, the smallest's."""
    farm = Farm(arena, "uri", [1, 1, 1])
    assert farm.pick(2**64 - 1) == farm.pick(0)


def test_weight_that_changes_moves_keys_only_to_or_from_that_server(arena: Arena) -> None:
    farm = Farm(arena, "uri", [4, 4, 4])
    before = farm.by_key(KEYS)
    arena.set_server(farm.slots[0], weight=5)
    moved = [(a, b) for a, b in zip(before, farm.by_key(KEYS), strict=True) if a != b]
    assert moved
    assert {b for _, b in moved} == {farm.names[0]}


def test_full_server_lends_its_keys_to_the_next_on_the_ring(
    arena: Arena, memory: ArenaMemory
) -> None:
    farm = Farm(arena, "uri", [1] * 4, maxconn=2)
    before = farm.by_key(KEYS[:2000])
    memory.set_server(farm.row, farm.slots[3], "in_flight", 2)
    full = farm.by_key(KEYS[:2000])
    farm.down(3)
    assert full == farm.by_key(KEYS[:2000])
    assert {a for a, b in zip(before, full, strict=True) if a != b} == {farm.names[3]}


# -- random of two ------------------------------------------------------------------------------
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


# -- many servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_thousand_servers(arena: Arena, kind: str) -> None:
    farm = Farm(arena, kind, [1] * 1000)
    farm.down(*range(0, 1000, 2))
    picks = {farm.pick(key) for key in KEYS[:2000]}
    assert len(picks) > (400 if kind in ("source", "random") else 499)
    assert all(pick % 2 for pick in picks)
