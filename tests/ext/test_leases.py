"""ext.leases: what one process holds, counted in private and listed in shared memory."""

import random
from collections import Counter

from ext.leases import LeasesForTest
from ext.limits import Limit

SLOTS = 32_768  # ext/leases.pxd


def place_of(handle: int) -> int:
    return (handle * 2_654_435_761 & 0xFFFF_FFFF) >> 17


def test_only_the_first_and_the_last_lease_are_seen_by_others() -> None:
    leases = LeasesForTest()
    leases.note(7)
    leases.note(7)
    leases.note(9)
    assert leases.shared() == [7, 9]
    assert (leases.count(7), leases.count(9), leases.count(8)) == (2, 1, 0)
    leases.forget(7)
    assert (leases.shared(), leases.used(), leases.count(7)) == ([9], 1, 0)


def test_what_is_not_held_can_be_forgotten() -> None:
    leases = LeasesForTest()
    leases.forget(7)
    assert leases.shared() == []


def test_room_is_bounded_and_comes_back() -> None:
    leases = LeasesForTest()
    for handle in range(1, Limit.LEASES_MAX + 1):
        assert leases.has_room(1)
        leases.note(handle)
    assert not leases.has_room(1)
    assert leases.used() == Limit.LEASES_MAX
    leases.forget(17)
    assert leases.has_room(1)
    assert not leases.has_room(2)
    leases.note(10**6)
    assert leases.count(10**6) == 1
    assert not leases.has_room(1)


def test_as_a_counter() -> None:
    """Handles that fall on few places of the table, at its end and its start, in random order."""
    seed = 20260
    print("seed", seed)
    chance = random.Random(seed)
    places = [*range(SLOTS - 6, SLOTS), *range(6), 500, 501]
    handles = [handle for handle in range(1, 200_000) if place_of(handle) in places]
    assert len(handles) > 60
    leases, model = LeasesForTest(), Counter[int]()
    for _ in range(20_000):
        handle = chance.choice(handles)
        if chance.random() < 0.5:
            leases.note(handle)
            model[handle] += 1
        else:
            leases.forget(handle)
            model.pop(handle, None)
        probe = chance.choice(handles)
        assert leases.count(probe) == model[probe]
    assert leases.shared() == sorted(+model)
