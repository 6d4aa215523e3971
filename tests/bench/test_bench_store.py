"""How long the store takes for a request: `pytest -m bench tests/bench`. Not in the default run.

Each round asks for a thousand keys in C, so the times are those of the data path times a thousand:
key, find, count, release; or with begin, open, append and finish where something is stored.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ext.stores import Cache, Worker, request_of, response_of

pytestmark = pytest.mark.bench

Benchmark = Callable[..., Any]

COUNT = 1000
KEY_BYTES, BODY_BYTES = 40, 1024
REQUEST = request_of(b"Accept-Encoding: gzip", b"User-Agent: x", b"Accept: */*", b"Cookie: a=b")
FIELDS = [b"Surrogate-Key: text store", b"X: " + b"x" * 200]
PLAIN = response_of(*FIELDS)
VARIES = response_of(b"Vary: Accept-Encoding", *FIELDS)


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache(256 << 20)
    yield made
    made.close()


def replay(worker: Worker, numbers: array[int], response: bytes = PLAIN) -> int:
    return worker.c.replay(REQUEST, response, numbers, BODY_BYTES, KEY_BYTES)


@pytest.mark.parametrize("response", [PLAIN, VARIES], ids=["plain", "vary"])
def test_lookups_of_a_few_keys(benchmark: Benchmark, cache: Cache, response: bytes) -> None:
    worker = cache.workers[0]
    numbers = array("I", [number % 50 for number in range(COUNT)])
    replay(worker, numbers, response)
    assert benchmark(replay, worker, numbers, response) == COUNT


def test_lookups_of_many_keys(benchmark: Benchmark, cache: Cache) -> None:
    """100,000 objects: what is asked for is in no cache of the processor."""
    worker = cache.workers[0]
    chance = random.Random(1)
    replay(worker, array("I", range(100_000)))
    rounds = iter([array("I", chance.choices(range(100_000), k=COUNT)) for _ in range(50)] * 10_000)
    assert benchmark(lambda: replay(worker, next(rounds))) == COUNT


@pytest.mark.parametrize("is_full", [False, True], ids=["room", "full"])
def test_insert(benchmark: Benchmark, is_full: bool) -> None:
    """With and without evicting as many."""
    cache = Cache((16 if is_full else 1024) << 20)
    worker = cache.workers[0]
    first = iter(range(0, 1 << 31, COUNT))
    if is_full:
        for _ in range(20):
            start = next(first)
            replay(worker, array("I", range(start, start + COUNT)))

    def insert() -> int:
        start = next(first)
        return replay(worker, array("I", range(start, start + COUNT)))

    assert benchmark.pedantic(insert, rounds=300) == 0  # type: ignore[attr-defined]
    assert (cache.stats()["evictions"] > 0) == is_full
    cache.close()


def test_purge_of_a_key(benchmark: Benchmark, cache: Cache) -> None:
    """It tags 100,000 objects, which makes no difference."""
    worker = cache.workers[0]
    replay(worker, array("I", range(100_000)))
    benchmark(cache.store.purge_keys, [b"text"])
    assert cache.stats()["objects"] == 100_000


def test_sweep_of_a_purge(benchmark: Benchmark, cache: Cache) -> None:
    """All 10,000 objects are looked at, and go."""
    worker = cache.workers[0]

    def fill() -> None:
        replay(worker, array("I", range(10_000)))
        cache.store.purge_keys([b"text"])

    benchmark.pedantic(cache.sweep, setup=fill, rounds=30)  # type: ignore[attr-defined]
    assert cache.stats()["objects"] == 0
