"""ext.eviction: hit ratios against the published algorithm, scans, sizes, leases."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

import pytest

from tests.ext.reference_s3fifo import hits_of
from tests.ext.stores import Cache, Worker, request_of, response_of

MIB = 1 << 20
SIZE_BYTES = 1300  # of a body: 12 units with the head
REQUEST, RESPONSE = request_of(), response_of()


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    made.check()
    made.close()


def zipf(chance: random.Random, objects: int, alpha: float, requests: int) -> array[int]:
    weights = [1 / rank**alpha for rank in range(1, objects + 1)]
    return array("I", chance.choices(range(objects), weights, k=requests))


def replay(worker: Worker, trace: array[int]) -> int:
    return worker.c.replay(REQUEST, RESPONSE, trace, SIZE_BYTES)


@pytest.mark.parametrize("alpha", [0.8, 1.0])
def test_hit_ratio_is_that_of_the_published_algorithm(alpha: float) -> None:
    """A million requests, a cache of a tenth of the objects: within 1 %."""
    seed = 1
    print("seed", seed)
    cache = Cache(16 * MIB)
    trace = zipf(random.Random(seed), 100_000, alpha, 1_000_000)
    hits = replay(cache.workers[0], trace)
    capacity = cache.stats()["objects"]
    assert 9_000 < capacity < 11_000
    expected = hits_of(trace, capacity)
    assert expected > 400_000
    assert abs(hits - expected) < 0.01 * expected
    cache.check()
    cache.close()


def test_what_is_asked_for_often_survives_a_scan(cache: Cache) -> None:
    """Ten times the cache is asked for once; a FIFO or an LRU would lose everything."""
    worker = cache.workers[0]
    hot = array("I", range(1000))
    replay(worker, hot)
    for _ in range(3):
        assert replay(worker, hot) == 1000
    assert replay(worker, array("I", range(10_000, 40_000))) == 0
    assert replay(worker, hot) == 1000


def test_what_was_asked_for_once_goes_first(cache: Cache) -> None:
    worker = cache.workers[0]
    replay(worker, array("I", range(500)))
    replay(worker, array("I", range(1000, 20_000)))
    assert replay(worker, array("I", range(500))) == 0


@pytest.mark.parametrize(("hits", "stays"), [(1, False), (2, True)])
def test_two_hits_bring_an_object_into_the_main_queue(cache: Cache, hits: int, stays: bool) -> None:
    worker = cache.workers[0]
    some = array("I", range(100))
    for _ in range(1 + hits):
        replay(worker, some)
    replay(worker, array("I", range(1000, 20_000)))
    assert replay(worker, some) == (100 if stays else 0)


def test_what_is_hot_gives_way_when_all_is_hot(cache: Cache) -> None:
    """Every object was asked for often: the oldest loses its merits and leaves."""
    worker = cache.workers[0]
    numbers = array("I", range(2000))
    for _ in range(5):
        replay(worker, numbers)
    assert cache.stats()["evictions"] == 0
    begun = "lead"
    fills: list[int] = []
    while begun == "lead" and cache.stats()["evictions"] < 10:
        begun, fill = worker.begin(b"/%d" % len(fills))
        fills.append(fill)
    assert begun == "lead"
    for fill in fills:
        worker.c.release(fill)


def test_who_comes_back_soon_stays(cache: Cache) -> None:
    """A ghost is enough: after one more fetch it is in the main queue, and a scan passes by."""
    worker = cache.workers[0]
    replay(worker, array("I", range(2000)))  # fills the main queue a little, by ghosts
    replay(worker, array("I", range(10_000, 13_000)))
    back = array("I", range(1000, 1100))
    missed = 100 - replay(worker, back)
    assert missed == 100
    replay(worker, array("I", range(20_000, 21_000)))
    assert replay(worker, back) > 90


def test_counts_are_bytes_not_objects(cache: Cache) -> None:
    """One large object needs the room of many small ones, and the rest of them stay."""
    worker = cache.workers[0]
    for number in range(2000):
        worker.put(b"/%d" % number, b"x" * 1000)
    before = cache.stats()
    assert before["evictions"] == 0
    worker.put(b"/big", b"x" * 2_000_000)
    after = cache.stats()
    assert worker.get(b"/big") == b"x" * 2_000_000
    assert 0 < after["evicted_bytes"] < 2_200_000
    assert before["objects"] - after["objects"] + 1 == after["evictions"]
    assert after["objects"] > 600


def test_memory_is_used_to_the_end(cache: Cache) -> None:
    """Objects of all sizes, evicted and stored for long: little is lost to fragments."""
    chance = random.Random(5)
    worker = cache.workers[0]
    least = 1.0
    for number in range(6000):
        size = int(chance.lognormvariate(7.5, 1.5))
        is_known = chance.random() < 0.5
        worker.put(b"/%d" % number, b"x" * min(size, 400_000), length=-1 if not is_known else
                   min(size, 400_000))  # fmt: skip
        if number > 2000:
            stats = cache.stats()
            least = min(least, stats["used_bytes"] / stats["body_bytes"])
    assert least > 0.85
    assert cache.stats()["evictions"] > 1000


def test_what_is_leased_is_passed_over(cache: Cache) -> None:
    worker = cache.workers[0]
    leased = []
    for number in range(50):
        worker.put(b"/%d" % number, b"%d" % number)
        leased.append(worker.object(b"/%d" % number))
    replay(worker, array("I", range(30_000)))
    assert [worker.get(b"/%d" % number) for number in range(50)] == [b"%d" % i for i in range(50)]
    for handle in leased:
        worker.c.release(handle)
    replay(worker, array("I", range(30_000, 60_000)))
    assert [worker.has(b"/%d" % number) for number in range(50)] == [False] * 50


def test_markers_are_evicted_too(cache: Cache) -> None:
    worker = cache.workers[0]
    for number in range(40_000):
        fill = worker.lead(b"/%d" % number)
        worker.c.mark_pass(fill, fresh_until_ms=1 << 60)
        worker.c.release(fill)
    stats = cache.stats()
    assert 10_000 < stats["pass_markers"] < 40_000
    assert stats["pass_markers"] + stats["evictions"] == 40_000
