"""ext.store: what a request finds, what it leases, and how answers of one URL differ."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ext.limits import Limit
from ext.store import Store
from ext.store_for_test import OBJECT_COST_BYTES
from tests.ext.stores import HOUR_MS, NOW_MS, UNIT_BYTES, Cache, Worker, request_of, response_of

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
VARY = response_of(b"Vary: Color")


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    made.check()
    made.close()


@pytest.fixture
def worker(cache: Cache) -> Worker:
    return cache.workers[0]


# -- the memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [-1, 0, 65_535, 1 << 45])
def test_size_is_bounded(size: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Store.create(size)


@pytest.mark.parametrize(
    ("size", "shards"), [(1, 1), (64, 1), (127, 1), (128, 2), (300, 4), (10_000, 64)]
)
def test_memory_is_cut_into_a_power_of_two_of_shards(size: int, shards: int) -> None:
    """64 MiB each or more, and all of it is there: their tables take little more than 1 %."""
    cache = Cache(size * MIB, workers=0)
    memory = Path(f"/proc/self/fd/{cache.store.fd}").stat()
    stats = cache.stats()
    assert stats["size_bytes"] == size * MIB
    assert 0.985 * size * MIB < stats["body_bytes"] < size * MIB
    assert memory.st_blocks * 512 < 200_000 + shards * 40_000, "unused memory is touched"
    cache.close()


def test_attach_refuses_what_is_no_cache() -> None:
    fd = os.memfd_create("short")
    try:
        for size in (0, 4096, 64 * MIB):
            os.ftruncate(fd, size)
            with pytest.raises(ValueError, match="not a cache of this version"):
                Store.attach(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("row", [-2, Limit.ROWS_MAX])
def test_rows_are_bounded(cache: Cache, row: int) -> None:
    with pytest.raises(ValueError, match="is not one of 128"):
        Store.attach(cache.store.fd, -1, row)
    with pytest.raises(ValueError, match="is not one of 128"):
        cache.store.sweep_row(row)


CHILD = """
import sys
from tests.ext.stores import Worker
worker = Worker(int(sys.argv[1]), -1, 7)
print(worker.get(b"/a"), worker.has(b"/b"))
worker.put(b"/b", b"from the child")
"""


def test_another_process_has_the_same_memory(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"from the parent")
    assert os.get_inheritable(cache.store.fd)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(cache.store.fd)],
        pass_fds=[cache.store.fd],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("b'from the parent' False\n", "")
    assert worker.get(b"/b") == b"from the child"


def test_an_object_costs_at_most_200_bytes_besides_what_is_stored(cache: Cache) -> None:
    """Its struct and its share of the tables, with 1 KiB of body, 300 bytes of head, two keys."""
    object_bytes = 13 * UNIT_BYTES
    stats = cache.stats()
    share = (stats["size_bytes"] - stats["body_bytes"]) / stats["body_bytes"]
    assert OBJECT_COST_BYTES <= 184
    assert OBJECT_COST_BYTES + share * object_bytes <= 200


@pytest.mark.parametrize("is_known", [True, False], ids=["length-known", "length-unknown"])
@pytest.mark.parametrize("size", [0, 1, 500, 1024, 3000, 50_000, 300_000])
def test_an_object_takes_little_more_than_its_bytes(
    cache: Cache, worker: Worker, size: int, is_known: bool
) -> None:
    head = response_of(b"Surrogate-Key: a b", b"X: " + b"x" * 260)
    worker.put(b"/a" * 20, b"b" * size, head=head, length=size if is_known else -1)
    exact = OBJECT_COST_BYTES + 40 + 2 * 8 + len(head) + size
    runs = 1 if is_known or size <= 3000 else 3 + size // 100_000
    assert cache.stats()["used_bytes"] - exact < runs * UNIT_BYTES
    handle = worker.object(b"/a" * 20)
    assert len(worker.c.parts(handle)) <= runs
    worker.c.release(handle)


# -- find ------------------------------------------------------------------------------------------


def test_nothing_is_found_at_first(worker: Worker) -> None:
    found = worker.find(b"/a")
    assert (found["object"], found["busy"], found["busy_state"]) == (0, 0, None)


def test_what_was_stored_is_found(cache: Cache, worker: Worker) -> None:
    head = response_of(b"Content-Type: text/html", b"Surrogate-Key: a")
    worker.put(
        b"/a", b"hello", head=head, visible_size=40, coding=2,
        born_ms=5, stale_while_revalidate_s=6, stale_if_error_s=7, flags=1,
    )  # fmt: skip
    other = cache.workers[1]
    found = other.find(b"/a")
    freshness = {
        "born_ms": 5,
        "fresh_until_ms": NOW_MS + HOUR_MS,
        "stale_while_revalidate_s": 6,
        "stale_if_error_s": 7,
        "flags": 1,
    }
    assert found["freshness"] == freshness
    assert found["hits"] == 0
    assert other.c.freshness(found["object"]) == freshness
    assert other.c.head(found["object"]) == {
        "head": head,
        "visible_size": 40,
        "status": 200,
        "coding": 2,
    }
    assert other.c.see(found["object"]) == {
        "state": "whole",
        "failure": 0,
        "filled": 5,
        "length": 5,
        "hits": 0,
    }
    assert other.c.body(found["object"]) == b"hello"
    other.c.release(found["object"])


def test_keys_are_compared_whole(worker: Worker) -> None:
    keys = [b"/", b"/a", b"/a/", b"/A", b"/a\0", b"/" + b"a" * 60_000, b"/" + b"a" * 60_001]
    for number, key in enumerate(keys):
        worker.put(key, b"%d" % number)
    assert [worker.get(key) for key in keys] == [b"%d" % i for i in range(len(keys))]
    assert worker.get(b"/b") is None


def test_many_keys_in_few_buckets(worker: Worker) -> None:
    for number in range(3000):
        worker.put(b"/%d" % number, b"%d" % number)
    assert all(worker.get(b"/%d" % number) == b"%d" % number for number in range(3000))


def test_objects_of_any_age_are_found(worker: Worker) -> None:
    worker.put(b"/a", b"old", fresh_until_ms=1)
    assert worker.get(b"/a") == b"old"


def test_the_newest_wins(worker: Worker) -> None:
    worker.put(b"/a", b"1")
    worker.put(b"/a", b"2")
    assert worker.get(b"/a") == b"2"


def test_head_is_copied_into_room_that_fits(worker: Worker) -> None:
    head = response_of(b"X: y")
    worker.put(b"/a", b"", head=head)
    handle = worker.object(b"/a")
    assert worker.c.head(handle, len(head) - 1) == len(head)
    assert worker.c.head(handle, len(head))["head"] == head
    worker.c.release(handle)


def test_hits_are_counted(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"")
    for number in range(5):
        found = cache.workers[number % 2].find(b"/a")
        assert found["hits"] == number
        cache.workers[number % 2].c.count_hit(found["object"])
        cache.workers[number % 2].c.release(found["object"])
    handle = worker.object(b"/a")
    assert worker.c.see(handle)["hits"] == 5
    worker.c.release(handle)


# -- the body --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [True, False], ids=["length-known", "length-unknown"])
@pytest.mark.parametrize("size", [0, 1, 3700, 3950, 4096, 131_072, 1_048_576, 1_048_577, 3_500_000])
def test_body_is_what_was_put_in(worker: Worker, size: int, is_known: bool) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    worker.put(b"/a", body[:size], length=size if is_known else -1)
    assert worker.get(b"/a") == body[:size]


def test_parts_of_a_body(worker: Worker) -> None:
    body = os.urandom(300_000)
    worker.put(b"/a", body, length=-1)
    handle = worker.object(b"/a")
    whole = worker.c.parts(handle)
    assert b"".join(whole) == body
    assert 2 < len(whole) < 20
    for at in (0, 1, 3000, 4096, 131_071, 131_072, 299_999):
        for most in (1, 100, 200_000):
            assert b"".join(worker.c.parts(handle, at, most)) == body[at : at + most]
    assert worker.c.parts(handle, 0, 300_000, 1) == whole[:1]
    assert worker.c.parts(handle, len(whole[0]) - 1, 300_000, 2) == [whole[0][-1:], whole[1]]
    assert worker.c.parts(handle, 0, 300_000, 0) == []
    assert worker.c.parts(handle, 300_000) == []
    assert worker.c.parts(handle, 1 << 60) == []
    worker.c.release(handle)


def test_body_in_many_small_pieces(cache: Cache, worker: Worker) -> None:
    """Memory in pieces: every other object is held, so that what is evicted leaves holes. Extents
    go beyond those in the struct, and beyond a table of them."""
    held = []
    number = 0
    while cache.stats()["evictions"] == 0:
        worker.put(b"/%d" % number, b"x" * 700)
        if number % 2:
            held.append(worker.object(b"/%d" % number))
        number += 1
    body = os.urandom(1_000_000)
    worker.put(b"/big", body)
    handle = worker.object(b"/big")
    assert len(worker.c.parts(handle)) == 64
    assert worker.c.body(handle) == body
    cache.check()
    for lease in [*held, handle]:
        worker.c.release(lease)
    cache.store.purge_all()
    cache.sweep()
    assert cache.check()["free"] == cache.check()["units"]


# -- variants --------------------------------------------------------------------------------------


def test_variants_are_kept_apart(worker: Worker) -> None:
    for color in (b"red", b"blue"):
        worker.put(b"/a", color, b"Color: " + color, head=VARY)
    assert worker.get(b"/a", b"Color: red") == b"red"
    assert worker.get(b"/a", b"COLOR:  blue ") == b"blue"
    assert worker.get(b"/a", b"Color: green") is None
    assert worker.get(b"/a") is None
    assert worker.get(b"/a", b"Color:") is None


def test_a_new_answer_replaces_its_variant_only(cache: Cache, worker: Worker) -> None:
    for number, color in enumerate((b"red", b"blue", b"red")):
        worker.put(b"/a", b"%d" % number, b"Color: " + color, head=VARY)
    assert worker.get(b"/a", b"Color: red") == b"2"
    assert worker.get(b"/a", b"Color: blue") == b"1"
    assert cache.stats()["objects"] == 2


def test_vary_may_change(worker: Worker) -> None:
    """Each answer is selected by its own Vary; the newest that suits wins."""
    worker.put(b"/a", b"any")
    worker.put(b"/a", b"red", b"Color: red", head=VARY)
    worker.put(b"/a", b"large", b"Color: blue", b"Size: L", head=response_of(b"Vary: Size"))
    assert worker.get(b"/a", b"Color: red") == b"red"
    assert worker.get(b"/a", b"Color: red", b"Size: L") == b"large"
    assert worker.get(b"/a", b"Color: green") == b"any"
    worker.put(b"/a", b"all", b"Color: violet")
    assert worker.get(b"/a", b"Color: red", b"Size: L") == b"all"


def test_many_variants_of_several_lists(worker: Worker) -> None:
    for number in range(20):
        worker.put(b"/a", b"c%d" % number, b"Color: %d" % number, head=VARY)
        worker.put(
            b"/a", b"s%d" % number, b"Size: %d" % number, head=response_of(b"Vary: Size, Shape")
        )
    assert worker.get(b"/a", b"Color: 7") == b"c7"
    assert worker.get(b"/a", b"Size: 11") == b"s11"
    assert worker.get(b"/a", b"Size: 11", b"Shape: round") is None


def test_encoding_stands_for_the_field(worker: Worker) -> None:
    c, request = worker.c, request_of(b"Accept-Encoding: gzip, br")
    for encoding in (b"gzip", b""):
        found = c.find(request, b"/a", NOW_MS, encoding)
        begun, fill = c.begin(request, b"/a", found["changes"], NOW_MS, encoding)
        assert begun == "lead"
        opened = c.open(
            fill, request, b"/a", response_of(), encoding=encoding, vary_encoding=True, length=0
        )
        assert (opened, c.finish(fill)) == ("ok", "ok")
        c.release(fill)
    objects = [
        c.find(request, b"/a", NOW_MS, encoding)["object"]
        for encoding in (b"gzip", b"", b"br", b"gzip")
    ]
    assert objects[0] == objects[3]
    assert objects[2] == 0
    assert objects[0] != objects[1]
    for handle in objects:
        c.release(handle)


def test_variants_are_bounded(cache: Cache, worker: Worker) -> None:
    """Fastly's limit; the oldest leaves."""
    for number in range(Limit.VARIANTS_MAX + 3):
        worker.put(b"/a", b"%d" % number, b"Color: %d" % number, head=VARY)
    present = [worker.has(b"/a", b"Color: %d" % i) for i in range(Limit.VARIANTS_MAX + 3)]
    assert present == [False] * 3 + [True] * Limit.VARIANTS_MAX
    assert cache.stats()["objects"] == Limit.VARIANTS_MAX


def test_an_answer_that_varies_on_everything_is_not_shared(worker: Worker) -> None:
    fill = worker.lead(b"/a")
    assert worker.open(fill, b"/a", head=response_of(b"Vary: *")) == "purged"
    worker.c.abandon(fill, "alone")
    worker.c.release(fill)


# -- leases ----------------------------------------------------------------------------------------


def test_what_is_leased_outlives_the_index(cache: Cache, worker: Worker) -> None:
    body = os.urandom(10_000)
    worker.put(b"/a", body)
    handle = worker.object(b"/a")
    other = cache.workers[1].object(b"/a")
    worker.put(b"/a", b"new")
    for number in range(2000):  # more than fits
        worker.put(b"/%d" % number, b"x" * 4000)
    assert worker.c.body(handle) == body
    dead = cache.check()["dead"]
    assert dead == -(-(len(body) + OBJECT_COST_BYTES + 8 + 19) // UNIT_BYTES)
    worker.c.release(handle)
    assert cache.check()["dead"] == dead
    cache.workers[1].c.release(other)
    assert cache.check()["dead"] == 0


def test_leases_are_counted(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"x")
    handle = worker.object(b"/a")
    assert worker.object(b"/a") == handle
    worker.c.share(handle)
    assert cache.stats()["row_leases"] == {0: 1, 1: 0}
    cache.store.purge_url(b"/a")
    for _ in range(2):
        worker.c.release(handle)
        assert cache.check()["dead"] > 0
    worker.c.release(handle)
    assert (cache.check()["dead"], cache.stats()["leases"]) == (0, 0)
    worker.c.release(handle)  # not leased: nothing happens
    worker.c.release(0)


def test_a_full_lease_table_finds_and_begins_nothing() -> None:
    cache = Cache(64 * MIB)
    worker = cache.workers[0]
    handles: list[int] = []
    begun = "lead"
    while begun == "lead":
        begun, fill = worker.begin(b"/%d" % len(handles))
        if begun == "lead":
            worker.open(fill, b"", length=0)
            handles.append(fill)
    assert (begun, len(handles)) == ("no room", Limit.LEASES_MAX - 1)
    assert not worker.has(b"/0")
    cache.workers[1].put(b"/a", b"x")
    assert not worker.has(b"/a")
    worker.c.release(handles.pop())
    assert worker.has(b"/a")
    for handle in handles:
        worker.c.release(handle)
    assert cache.check()["dead"] == 0
    cache.close()


def test_a_process_without_a_row_may_not_lease(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"x")
    control = Worker(cache.store.fd, -1, -1)
    assert not control.has(b"/a")
    assert control.begin(b"/b") == ("no room", 0)


# -- how it is written ---------------------------------------------------------------------------


def test_enums_are_those_of_the_interface() -> None:
    """What callers get by cimport from ext.store is defined where the struct is."""
    interface = (ROOT / "ext" / "store.pxd").read_text()
    assert re.search(r"cimport State, BUSY, FILLING, WHOLE, ALONE, FAILED", interface)
