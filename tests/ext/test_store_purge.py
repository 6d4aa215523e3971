"""ext.store: purges by key, by URL, of everything; fills that a purge overtakes; the sweep."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ext.purgelog import PurgeLogForTest
from tests.ext.stores import NOW_MS, O_PASS, O_SOFT_PURGED, Cache, Worker, response_of

PURGE_KEYS_MAX = 32_768  # ext/purgelog.pxd
LATER_MS = NOW_MS + 5000
VARY = response_of(b"Vary: Color", b"Surrogate-Key: k")


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    assert made.check()["orphaned"] == 0
    made.close()


@pytest.fixture
def worker(cache: Cache) -> Worker:
    return cache.workers[0]


@pytest.fixture
def other(cache: Cache) -> Worker:
    return cache.workers[1]


def tagged(*keys: bytes) -> bytes:
    return response_of(b"Surrogate-Key: " + b" ".join(keys))


def freshness(worker: Worker, key: bytes) -> dict[str, int]:
    handle = worker.object(key)
    found = worker.c.freshness(handle)
    worker.c.release(handle)
    return found


# -- by key ----------------------------------------------------------------------------------------


def test_a_key_takes_all_that_it_tags(cache: Cache, worker: Worker, other: Worker) -> None:
    worker.put(b"/a", b"", head=tagged(b"p1", b"all"))
    worker.put(b"/b", b"", head=tagged(b"p2", b"all"))
    worker.put(b"/c", b"")
    cache.store.purge_keys([b"p1"])
    assert [other.has(key) for key in (b"/a", b"/b", b"/c")] == [False, True, True]
    cache.store.purge_keys([b"nothing", b"all"])
    assert [worker.has(key) for key in (b"/a", b"/b", b"/c")] == [False, False, True]
    cache.store.purge_keys([])
    assert worker.has(b"/c")
    assert cache.stats()["key_purges"] == 3


def test_what_is_stored_afterwards_stays(cache: Cache, worker: Worker) -> None:
    for _ in range(3):
        cache.store.purge_keys([b"k"])
        worker.put(b"/a", b"", head=tagged(b"k"))
        assert worker.has(b"/a")
    cache.sweep()
    assert worker.has(b"/a")


def test_a_purge_reaches_every_key_of_a_batch(cache: Cache, worker: Worker) -> None:
    """More than are purged under one lock."""
    count = 600
    for number in range(count):
        worker.put(b"/%d" % number, b"", head=tagged(b"k%d" % number))
    cache.store.purge_keys([b"k%d" % number for number in range(count)])
    assert not any(worker.has(b"/%d" % number) for number in range(count))
    assert cache.stats()["key_purges"] == count


def test_a_soft_purge_makes_stale_since_then(cache: Cache, worker: Worker) -> None:
    """Not since somebody asks: the window of stale-while-revalidate begins at the purge."""
    worker.put(b"/a", b"x", head=tagged(b"k"))
    worker.put(b"/b", b"x", head=tagged(b"k"), fresh_until_ms=NOW_MS + 10)
    worker.put(b"/c", b"x")
    cache.store.purge_keys([b"k"], soft=True, now_ms=LATER_MS)
    assert freshness(worker, b"/a")["fresh_until_ms"] == LATER_MS
    assert freshness(worker, b"/a")["flags"] == O_SOFT_PURGED
    assert freshness(worker, b"/b")["fresh_until_ms"] == NOW_MS + 10
    assert freshness(worker, b"/c")["fresh_until_ms"] > LATER_MS
    assert worker.get(b"/a") == b"x"


def test_soft_and_hard_purges_add_up(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"", head=tagged(b"k", b"l"))
    cache.store.purge_keys([b"k"], soft=True, now_ms=LATER_MS)
    cache.store.purge_keys([b"l"], soft=True, now_ms=LATER_MS - 1)
    assert freshness(worker, b"/a")["fresh_until_ms"] == LATER_MS - 1
    cache.store.purge_keys([b"l"])
    assert not worker.has(b"/a")


@pytest.mark.parametrize("keys", ["k", [1], ["text"], None])
def test_keys_are_a_list_of_bytes(cache: Cache, keys: object) -> None:
    with pytest.raises(TypeError):
        cache.store.purge_keys(keys)  # type: ignore[arg-type]


# -- of everything, by URL -------------------------------------------------------------------------


def test_everything_goes_at_once(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"", head=tagged(b"k"))
    worker.put(b"/b", b"")
    fill = worker.lead(b"/c")
    worker.c.mark_pass(fill, fresh_until_ms=NOW_MS + 1000)
    worker.c.release(fill)
    cache.store.purge_all()
    assert not any(worker.has(key) for key in (b"/a", b"/b", b"/c"))
    assert (cache.stats()["all_purges"], cache.stats()["objects"]) == (1, 0)
    worker.put(b"/a", b"")
    assert worker.has(b"/a")


def test_a_url_takes_its_variants(cache: Cache, worker: Worker) -> None:
    for color in (b"red", b"blue"):
        worker.put(b"/a", b"", b"Color: " + color, head=VARY)
    worker.put(b"/b", b"")
    assert cache.store.purge_url(b"/a") == 2
    assert cache.store.purge_url(b"/a") == 0
    assert not worker.has(b"/a", b"Color: red")
    assert worker.has(b"/b")
    assert cache.stats()["url_purges"] == 2


def test_a_url_is_purged_softly(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"x")
    assert cache.store.purge_url(b"/a", soft=True, now_ms=LATER_MS) == 1
    assert freshness(worker, b"/a")["fresh_until_ms"] == LATER_MS
    assert freshness(worker, b"/a")["flags"] == O_SOFT_PURGED


def test_a_soft_purge_ends_a_marker(cache: Cache, worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.c.mark_pass(fill, fresh_until_ms=NOW_MS + 1000)
    worker.c.release(fill)
    assert freshness(worker, b"/a")["flags"] & O_PASS
    cache.store.purge_url(b"/a", soft=True, now_ms=NOW_MS)
    assert not worker.has(b"/a")


def test_what_is_read_goes_on(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"x" * 5000, head=tagged(b"k"))
    handle = worker.object(b"/a")
    cache.store.purge_keys([b"k"])
    assert not worker.has(b"/a")
    assert worker.c.body(handle) == b"x" * 5000
    worker.c.release(handle)
    assert cache.check()["free"] == cache.check()["units"]


# -- a purge during a fetch ------------------------------------------------------------------------

PURGES = ["key", "all", "url"]


def purge(cache: Cache, how: str, soft: bool = False) -> None:
    if how == "key":
        cache.store.purge_keys([b"k"], soft, LATER_MS)
    elif how == "all":
        cache.store.purge_all()
    else:
        cache.store.purge_url(b"/a", soft, LATER_MS)


@pytest.mark.parametrize("how", PURGES)
@pytest.mark.parametrize("is_swept", [False, True])
def test_a_purge_before_the_head_is_there(
    cache: Cache, worker: Worker, how: str, is_swept: bool
) -> None:
    """What the origin answers may be older than the purge, whatever is purged next or swept."""
    fill = worker.lead(b"/a")
    purge(cache, how)
    for number in range(3):
        cache.store.purge_keys([b"x%d" % number])
        if is_swept:
            cache.sweep()
    assert worker.open(fill, b"/a", head=tagged(b"j", b"k")) == "purged"
    worker.c.abandon(fill, "alone")
    worker.c.release(fill)
    assert cache.check()["live"] == 0


@pytest.mark.parametrize("how", PURGES)
@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("is_asked", [False, True])
def test_a_purge_while_the_body_comes(
    cache: Cache, worker: Worker, other: Worker, how: str, is_swept: bool, is_asked: bool
) -> None:
    """Who came before it gets all of it; nobody joins any more; it is not stored."""
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    worker.open(fill, b"/a", head=tagged(b"k"), length=6)
    worker.c.append(fill, b"bef")
    purge(cache, how)
    if is_swept:
        cache.sweep()
    if is_asked:
        assert other.find(b"/a")["busy"] == 0
    assert worker.c.append(fill, b"ore") == "ok"
    assert worker.c.finish(fill) == "purged"
    assert (other.state(fill), other.c.body(fill)) == ("whole", b"before")
    assert not other.has(b"/a")
    worker.c.release(fill)
    other.c.release(fill)
    assert cache.check()["free"] == cache.check()["units"]


@pytest.mark.parametrize("how", ["all", "url"])
def test_nobody_joins_a_fetch_that_is_older_than_a_purge(
    cache: Cache, worker: Worker, other: Worker, how: str
) -> None:
    fill = worker.lead(b"/a")
    purge(cache, how)
    begun, second = other.begin(b"/a")
    assert (begun, second != fill) == ("lead", True)
    worker.c.abandon(fill)
    worker.c.release(fill)
    other.c.release(second)


def test_a_key_purge_lets_requests_join_what_has_no_keys_yet(
    cache: Cache, worker: Worker, other: Worker
) -> None:
    fill = worker.lead(b"/a")
    cache.store.purge_keys([b"k"])
    assert other.begin(b"/a") == ("join", fill)
    assert worker.open(fill, b"/a", head=tagged(b"l")) == "ok"
    worker.c.finish(fill)
    other.c.release(fill)
    worker.c.release(fill)
    assert worker.has(b"/a")


@pytest.mark.parametrize("when", ["busy", "filling"])
@pytest.mark.parametrize("is_swept", [False, True])
def test_a_soft_purge_during_a_fetch(
    cache: Cache, worker: Worker, when: str, is_swept: bool
) -> None:
    fill = worker.lead(b"/a")
    if when == "busy":
        purge(cache, "key", soft=True)
    worker.open(fill, b"/a", head=tagged(b"k"))
    if when == "filling":
        purge(cache, "key", soft=True)
    if is_swept:
        cache.sweep()
    assert worker.c.finish(fill) == "ok"
    worker.c.release(fill)
    assert freshness(worker, b"/a")["fresh_until_ms"] == LATER_MS
    assert freshness(worker, b"/a")["flags"] == O_SOFT_PURGED


@pytest.mark.parametrize("how", PURGES)
def test_a_marker_of_a_fetch_that_was_purged(cache: Cache, worker: Worker, how: str) -> None:
    fill = worker.lead(b"/a")
    purge(cache, how)
    worker.c.mark_pass(fill, fresh_until_ms=NOW_MS + 1000)
    assert worker.state(fill) == ("whole" if how == "key" else "alone")
    worker.c.release(fill)
    assert worker.has(b"/a") == (how == "key")


@pytest.mark.parametrize("how", PURGES)
def test_a_purged_object_is_not_renewed(cache: Cache, worker: Worker, how: str) -> None:
    worker.put(b"/a", b"", head=tagged(b"k"))
    prior = worker.object(b"/a")
    fill = worker.lead(b"/a")
    purge(cache, how)
    assert worker.c.refresh(fill, prior, fresh_until_ms=NOW_MS + 10**6) == "purged"
    worker.c.release(fill)
    worker.c.release(prior)
    assert not worker.has(b"/a")


@pytest.mark.parametrize("how", ["key", "url"])
@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("is_swept", [False, True])
def test_a_soft_purge_after_the_origin_was_asked(
    cache: Cache, worker: Worker, how: str, is_asked: bool, is_swept: bool
) -> None:
    """The 304 may be older; it must not make the object fresh, though it was stale already."""
    worker.put(b"/a", b"", head=tagged(b"k"), fresh_until_ms=NOW_MS - 10)
    prior = worker.object(b"/a")
    fill = worker.lead(b"/a")
    purge(cache, how, soft=True)
    if is_asked:
        worker.has(b"/a")
    if is_swept:
        cache.sweep()
    renewed = worker.c.refresh(fill, prior, fresh_until_ms=LATER_MS + 10**6, now_ms=LATER_MS)
    assert renewed == "ok"
    assert worker.c.freshness(prior)["fresh_until_ms"] == LATER_MS
    assert worker.c.freshness(prior)["flags"] & O_SOFT_PURGED
    worker.c.release(fill)
    worker.c.release(prior)


# -- the sweep -------------------------------------------------------------------------------------


def test_nothing_to_sweep(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"")
    assert cache.store.sweep(1000) is False


def test_a_sweep_gives_the_memory_back(cache: Cache, worker: Worker) -> None:
    for number in range(1000):
        key = b"odd" if number % 2 else b"even"
        worker.put(b"/%d" % number, b"x" * 1000, head=tagged(key))
    used = cache.stats()["used_bytes"]
    cache.store.purge_keys([b"odd"])
    assert cache.stats()["objects"] == 1000
    assert cache.store.sweep(0) is True
    slices = 1
    while cache.store.sweep(0):
        slices += 1
    assert slices > 10
    assert cache.stats()["objects"] == 500
    assert cache.stats()["used_bytes"] == used / 2
    assert all(worker.has(b"/%d" % number) for number in range(0, 1000, 2))


def test_a_sweep_trims_the_log(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"", head=tagged(b"k"))
    cache.store.purge_keys([b"k%d" % number for number in range(100)])
    assert cache.stats()["logged_keys"] == 100
    cache.sweep()
    assert cache.stats()["logged_keys"] == 0
    cache.store.purge_keys([b"k"])
    assert not worker.has(b"/a")
    cache.sweep()
    assert cache.stats()["logged_keys"] == 0


def test_a_fetch_keeps_what_was_purged_since_it_began(
    cache: Cache, worker: Worker, other: Worker
) -> None:
    cache.store.purge_keys([b"before"])
    fill = worker.lead(b"/a")
    cache.store.purge_keys([b"k", b"l"])
    cache.sweep()
    assert cache.stats()["logged_keys"] == 2
    cache.store.purge_keys([b"m"])
    cache.sweep()
    assert cache.stats()["logged_keys"] == 3
    worker.open(fill, b"/a", head=tagged(b"z"))
    cache.store.purge_keys([b"n"])
    cache.sweep()
    assert cache.stats()["logged_keys"] == 0
    worker.c.finish(fill)
    worker.c.release(fill)
    assert other.has(b"/a")


def test_a_full_log_is_swept_by_who_purges(cache: Cache, worker: Worker) -> None:
    """Nothing that was purged stays, nothing else goes; a fetch without keys cannot hold it up."""
    worker.put(b"/first", b"", head=tagged(b"k0"))
    worker.put(b"/last", b"", head=tagged(b"k%d" % PURGE_KEYS_MAX))
    worker.put(b"/other", b"", head=tagged(b"other"))
    fill = worker.lead(b"/a")
    cache.store.purge_keys([b"k%d" % number for number in range(PURGE_KEYS_MAX)])
    assert cache.stats()["logged_keys"] == PURGE_KEYS_MAX
    assert worker.find(b"/a")["busy"] == fill
    worker.c.release(fill)
    cache.store.purge_keys([b"k%d" % PURGE_KEYS_MAX])
    assert cache.stats()["logged_keys"] == 1
    assert [worker.has(key) for key in (b"/first", b"/last", b"/other")] == [False, False, True]
    assert worker.open(fill, b"/a", head=tagged(b"k5")) == "purged"
    worker.c.abandon(fill, "alone")
    worker.c.release(fill)


def test_a_key_of_many_objects_is_purged_at_once() -> None:
    """The call takes no longer than for one: an entry in the log, whose cost is measured apart."""
    cache = Cache(64 << 20)
    worker = cache.workers[0]
    count = 20_000
    worker.c.replay(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tagged(b"k"), numbers(count), 1000)
    log = PurgeLogForTest()
    started = time.perf_counter()
    log.purge(1)
    alone_s = time.perf_counter() - started
    started = time.perf_counter()
    cache.store.purge_keys([b"k"])
    taken_s = time.perf_counter() - started
    assert taken_s < max(0.005, 100 * alone_s)
    assert cache.stats()["objects"] == count
    assert worker.c.replay(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tagged(), numbers(10), 1) == 0
    cache.sweep()
    assert cache.stats()["objects"] == 10
    cache.close()


def numbers(count: int) -> memoryview:
    return memoryview(b"".join(n.to_bytes(4, "little") for n in range(count))).cast("I")
