"""ext.store: how an answer gets into the store while others wait for it, and how it is renewed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.ext.stores import HOUR_MS, NOW_MS, O_PASS, Cache, Worker, request_of, response_of

VARY = response_of(b"Vary: Color")
PASS = {"fresh_until_ms": NOW_MS + 1000}


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


# -- leading and joining ---------------------------------------------------------------------------


def test_one_leads_and_the_others_join(cache: Cache, worker: Worker, other: Worker) -> None:
    found = other.find(b"/a")
    fill = worker.lead(b"/a")
    assert other.c.begin(request_of(), b"/a", found["changes"]) == ("again", 0)
    found = other.find(b"/a")
    assert (found["object"], found["busy"], found["busy_state"]) == (0, fill, "busy")
    assert other.c.begin(request_of(), b"/a", found["changes"]) == ("join", fill)
    assert worker.begin(b"/a") == ("join", fill)
    assert cache.stats()["row_leases"] == {0: 1, 1: 1}
    assert cache.stats()["fills"] == 1
    worker.c.abandon(fill)
    for who in (worker, worker, other, other):
        who.c.release(fill)
    assert cache.stats()["leases"] == 0


@pytest.mark.parametrize("what", ["begin", "open", "finish", "abandon", "pass", "drop", "discard"])
def test_a_change_is_noticed(worker: Worker, other: Worker, what: str) -> None:
    """Whoever has looked before it must look again."""
    worker.put(b"/z", b"")
    fill = worker.lead(b"/a")
    if what == "finish":
        worker.open(fill, b"/a")
    changes = other.find(b"/b")["changes"]
    if what == "begin":
        worker.c.release(worker.lead(b"/c"))
    elif what == "open":
        worker.open(fill, b"/a")
    elif what == "finish":
        worker.c.finish(fill)
    elif what == "abandon":
        worker.c.abandon(fill)
    elif what == "pass":
        worker.c.mark_pass(fill)
    elif what == "drop":
        worker.c.drop_key(b"/z")
    else:
        handle = worker.object(b"/z")
        worker.c.discard(handle)
        worker.c.release(handle)
    assert other.c.begin(request_of(), b"/b", changes) == ("again", 0)
    worker.c.release(fill)


def test_a_leader_is_joined_by_all_while_nothing_is_known(worker: Worker, other: Worker) -> None:
    fill = worker.lead(b"/a", b"Color: red")
    assert other.begin(b"/a", b"Color: blue") == ("join", fill)
    worker.c.release(fill)
    other.c.release(fill)


def test_a_leader_is_joined_by_its_variant_when_a_vary_is_known(
    worker: Worker, other: Worker
) -> None:
    worker.put(b"/a", b"", b"Color: green", head=VARY)
    red = worker.lead(b"/a", b"Color: red")
    begun, blue = other.begin(b"/a", b"Color: blue")
    assert begun == "lead"
    assert other.begin(b"/a", b"Color: red") == ("join", red)
    assert worker.find(b"/a", b"Color: blue")["busy"] == blue
    assert worker.find(b"/a", b"Color: violet")["busy"] == 0
    for who, handles in ((worker, (red, blue)), (other, (blue, red))):
        for handle in handles:
            who.c.release(handle)


def test_an_open_fill_is_joined_by_its_variant(worker: Worker, other: Worker) -> None:
    fill = worker.lead(b"/a", b"Color: red")
    assert worker.open(fill, b"/a", b"Color: red", head=VARY) == "ok"
    found = other.find(b"/a", b"Color: red")
    assert (found["busy"], found["busy_state"]) == (fill, "filling")
    assert other.find(b"/a", b"Color: blue")["busy"] == 0
    assert other.begin(b"/a", b"Color: blue")[0] == "lead"
    worker.c.release(fill)
    for handle in (fill, other.find(b"/a", b"Color: blue")["busy"]):
        other.c.release(handle)


def test_a_stored_answer_and_a_fetch_are_both_found(worker: Worker, other: Worker) -> None:
    worker.put(b"/a", b"old", fresh_until_ms=1)
    fill = worker.lead(b"/a")
    found = other.find(b"/a")
    assert other.c.body(found["object"]) == b"old"
    assert found["busy"] == fill
    worker.open(fill, b"/a", length=3)
    worker.c.append(fill, b"new")
    assert other.get(b"/a") == b"old"
    worker.c.finish(fill)
    assert other.get(b"/a") == b"new"
    for handle in (found["object"], fill):
        other.c.release(handle)
    other.c.release(fill)
    worker.c.release(fill)


# -- following -------------------------------------------------------------------------------------


def test_a_body_is_read_while_it_comes(worker: Worker, other: Worker) -> None:
    body = os.urandom(700_000)
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    assert other.c.see(fill) == {
        "state": "busy", "failure": 0, "filled": 0, "length": -1, "hits": 0,
    }  # fmt: skip
    worker.open(fill, b"/a", length=-1)
    assert other.c.see(fill)["state"] == "filling"
    read = b""
    for at in range(0, len(body), 33_333):
        worker.c.append(fill, body[at : at + 33_333])
        while more := b"".join(other.c.parts(fill, len(read))):
            read += more
        assert read == body[: at + 33_333]
        assert other.c.see(fill)["filled"] == len(read)
    worker.c.finish(fill)
    assert other.c.see(fill) == {
        "state": "whole", "failure": 0, "filled": len(body), "length": len(body), "hits": 0,
    }  # fmt: skip
    assert other.c.body(fill) == body
    worker.c.release(fill)
    other.c.release(fill)


def test_the_length_is_known_from_the_start(worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.open(fill, b"/a", length=10)
    assert worker.c.see(fill)["length"] == 10
    worker.c.release(fill)


def test_who_follows_is_woken_by_each_move(cache: Cache, worker: Worker, other: Worker) -> None:
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    assert not cache.is_woken()
    other.c.follow(fill)
    assert not cache.is_woken()
    worker.open(fill, b"/a")
    assert cache.is_woken()
    for _ in range(2):
        worker.c.append(fill, b"x")
        assert cache.is_woken()
    worker.c.finish(fill)
    assert cache.is_woken()
    worker.c.drop_key(b"/a")
    assert cache.is_woken()
    worker.c.release(fill)
    other.c.release(fill)
    assert not cache.is_woken()


@pytest.mark.parametrize("how", ["abandon", "pass", "drop", "discard", "refresh", "row"])
def test_who_follows_is_woken_by_an_end(
    cache: Cache, worker: Worker, other: Worker, how: str
) -> None:
    worker.put(b"/a", b"")
    prior = worker.object(b"/a")
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    other.c.follow(fill)
    if how == "abandon":
        worker.c.abandon(fill)
    elif how == "pass":
        worker.c.mark_pass(fill, **PASS)
    elif how == "drop":
        worker.c.drop_key(b"/a")
    elif how == "discard":
        worker.c.discard(fill)
    elif how == "refresh":
        worker.c.refresh(fill, prior)
    else:
        cache.store.sweep_row(0)
    assert cache.is_woken()
    other.c.release(fill)
    if how != "row":
        worker.c.release(fill)
        worker.c.release(prior)


def test_nobody_is_woken_without_a_follower(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"x")
    worker.c.drop_key(b"/a")
    assert not cache.is_woken()


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(("state", "failure"), [("failed", 0), ("failed", 503), ("alone", 0)])
def test_a_fill_that_ends_without_an_object(
    cache: Cache, worker: Worker, other: Worker, state: str, failure: int, is_open: bool
) -> None:
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    if is_open:
        worker.open(fill, b"/a")
        worker.c.append(fill, b"half")
    worker.c.abandon(fill, state, failure)
    seen = other.c.see(fill)
    assert (seen["state"], seen["failure"]) == (state, failure)
    assert (other.find(b"/a")["busy"], cache.stats()["fills"]) == (0, 0)
    assert other.begin(b"/a")[0] == "lead"
    other.c.release(fill)
    worker.c.release(fill)
    other.c.release(other.find(b"/a")["busy"])
    other.c.release(other.find(b"/a")["busy"])


def test_a_body_that_is_too_short_is_not_stored(worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.open(fill, b"/a", length=10)
    worker.c.append(fill, b"123456789")
    assert worker.c.finish(fill) == "short"
    assert worker.state(fill) == "filling"
    assert not worker.has(b"/a")
    worker.c.abandon(fill, "failed", 502)
    worker.c.release(fill)


def test_a_body_that_is_too_long_is_not_taken(worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.open(fill, b"/a", length=10)
    assert worker.c.append(fill, b"12345678901") == "short"
    assert worker.c.see(fill)["filled"] == 0
    assert worker.c.append(fill, b"1234567890") == "ok"
    assert worker.c.append(fill, b"1") == "short"
    assert worker.c.append(fill, b"") == "ok"
    assert worker.c.finish(fill) == "ok"
    worker.c.release(fill)
    assert worker.get(b"/a") == b"1234567890"


def test_a_body_that_can_never_fit_is_refused_at_once(worker: Worker) -> None:
    fill = worker.lead(b"/a")
    assert worker.open(fill, b"/a", length=5 << 20) == "full"
    worker.c.abandon(fill, "alone")
    worker.c.release(fill)


def test_a_body_that_turns_out_too_long(cache: Cache, worker: Worker, other: Worker) -> None:
    """What was taken before is there for who reads it; of what was not, nothing."""
    worker.put(b"/small", b"x" * 1000)
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    worker.open(fill, b"/a", length=-1)
    stored, sent = "ok", 0
    while stored == "ok":
        stored = worker.c.append(fill, b"y" * 100_000)
        sent += 100_000
    assert stored == "full"
    filled = other.c.see(fill)["filled"]
    assert filled == sent - 100_000
    assert filled > 4_000_000
    assert other.c.body(fill) == b"y" * filled
    assert not worker.has(b"/small")
    worker.c.abandon(fill, "alone")
    worker.c.release(fill)
    other.c.release(fill)
    assert cache.check()["free"] == cache.check()["units"]


@pytest.mark.parametrize("size", [0, 1000, 300_000])
def test_what_was_taken_can_be_the_whole(cache: Cache, worker: Worker, size: int) -> None:
    """An append that failed half-way leaves nothing behind."""
    fill = worker.lead(b"/a")
    worker.open(fill, b"/a", length=-1)
    assert worker.c.append(fill, b"x" * size) == "ok"
    assert worker.c.append(fill, b"y" * 5_000_000) == "full"
    assert worker.c.finish(fill) == "ok"
    worker.c.release(fill)
    assert worker.get(b"/a") == b"x" * size
    assert cache.check()["live"] <= 8 + size // 128


def test_there_is_no_room_while_everything_is_in_use(cache: Cache, worker: Worker) -> None:
    fills: list[int] = []
    while True:
        begun, fill = worker.begin(b"/%d" % len(fills))
        if begun != "lead":
            break
        fills.append(fill)
    assert begun == "no room"
    assert cache.check()["free"] < 2
    for fill in fills:
        worker.c.release(fill)
    worker.put(b"/a", b"x" * 100_000)


def test_a_fill_that_is_forgotten_fails(cache: Cache, worker: Worker, other: Worker) -> None:
    """Its leader has given its last lease back without a word."""
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    other.c.release(fill)
    other.begin(b"/a")
    assert other.state(fill) == "busy"
    worker.c.release(fill)
    assert other.state(fill) == "failed"
    other.c.release(fill)
    assert cache.check()["live"] == 0


def test_what_comes_after_the_end_is_refused(worker: Worker, other: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.c.abandon(fill)
    assert worker.open(fill, b"/a") == "lost"
    assert worker.c.append(fill, b"x") == "lost"
    assert worker.c.finish(fill) == "lost"
    worker.c.mark_pass(fill)
    worker.c.abandon(fill, "alone")
    assert worker.state(fill) == "failed"
    worker.c.release(fill)


# -- hit for pass ----------------------------------------------------------------------------------


def test_a_marker_is_found_by_all_variants(cache: Cache, worker: Worker, other: Worker) -> None:
    worker.put(b"/a", b"", b"Color: red", head=VARY)
    worker.put(b"/a", b"", b"Color: blue", head=VARY)
    fill = worker.lead(b"/a", b"Color: green")
    other.begin(b"/a", b"Color: green")
    worker.c.mark_pass(fill, **PASS)
    assert other.state(fill) == "whole"
    assert other.c.freshness(fill)["flags"] == O_PASS
    for color in (b"red", b"blue", b"violet"):
        found = other.find(b"/a", b"Color: " + color)
        assert (found["object"], found["freshness"]["flags"]) == (fill, O_PASS)
        other.c.release(fill)
    stats = cache.stats()
    assert (stats["objects"], stats["pass_markers"], stats["fills"]) == (0, 1, 0)
    worker.c.release(fill)
    other.c.release(fill)
    assert cache.check()["live"] == 2


def test_a_marker_ends(cache: Cache, worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.c.mark_pass(fill, **PASS)
    worker.c.release(fill)
    assert worker.has(b"/a", now_ms=NOW_MS + 999)
    assert not worker.has(b"/a", now_ms=NOW_MS + 1000)
    assert (cache.stats()["pass_markers"], cache.check()["live"]) == (0, 0)


def test_an_answer_replaces_a_marker(cache: Cache, worker: Worker) -> None:
    fill = worker.lead(b"/a")
    worker.c.mark_pass(fill, **PASS)
    worker.c.release(fill)
    worker.put(b"/a", b"x")
    assert worker.get(b"/a") == b"x"
    assert cache.stats()["pass_markers"] == 0


def test_an_open_fill_becomes_no_marker(worker: Worker, other: Worker) -> None:
    """Who reads its body must not take what is there for all of it."""
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    worker.open(fill, b"/a")
    worker.c.append(fill, b"half")
    worker.c.mark_pass(fill, **PASS)
    assert other.state(fill) == "alone"
    assert not other.has(b"/a")
    worker.c.release(fill)
    other.c.release(fill)


# -- renewing --------------------------------------------------------------------------------------


def test_a_304_renews_an_object(cache: Cache, worker: Worker, other: Worker) -> None:
    worker.put(b"/a", b"body", fresh_until_ms=1)
    prior = worker.object(b"/a")
    fill = worker.lead(b"/a")
    other.begin(b"/a")
    assert worker.c.refresh(fill, prior, fresh_until_ms=NOW_MS + 7, flags=2) == "ok"
    seen = other.c.see(fill)
    assert (seen["state"], seen["failure"]) == ("failed", 0)
    found = other.find(b"/a")
    assert (found["object"], found["busy"]) == (prior, 0)
    assert (found["freshness"]["fresh_until_ms"], found["freshness"]["flags"]) == (NOW_MS + 7, 2)
    assert cache.stats()["fills"] == 0
    for who, handle in ((worker, fill), (worker, prior), (other, fill), (other, prior)):
        who.c.release(handle)
    assert worker.get(b"/a") == b"body"


@pytest.mark.parametrize("size", [0, 100, 60_000])
def test_a_304_replaces_the_head(cache: Cache, worker: Worker, size: int) -> None:
    """And keeps body, variant and surrogate keys; as often as it comes."""
    head = response_of(b"Vary: Color", b"Surrogate-Key: k")
    worker.put(b"/a", b"body" * 500, b"Color: red", head=head)
    before = cache.check()["free"]
    for number in range(3):
        new = response_of(b"X: %d" % number, b"Y: " + b"y" * size)
        prior = worker.object(b"/a", b"Color: red")
        fill = worker.lead(b"/a", b"Color: red")
        worker.c.refresh(fill, prior, new, visible_size=5, fresh_until_ms=NOW_MS + number)
        worker.c.release(fill)
        stored = worker.c.head(prior)
        assert (stored["head"], stored["visible_size"], stored["status"]) == (new, 5, 200)
        worker.c.release(prior)
        assert worker.get(b"/a", b"Color: red") == b"body" * 500
        assert not worker.has(b"/a", b"Color: blue")
    used = before - cache.check()["free"]
    assert used == -(-(16 + 8 + len(b"color:red\n") + len(new)) // 128)
    cache.store.purge_keys([b"k"])
    assert not worker.has(b"/a", b"Color: red")
    assert cache.check()["live"] == 0


def test_a_renewed_object_is_the_newest(worker: Worker) -> None:
    worker.put(b"/a", b"any")
    worker.put(b"/a", b"red", b"Color: red", head=VARY)
    prior = worker.object(b"/a", b"Color: blue")
    fill = worker.lead(b"/a", b"Color: blue")
    worker.c.refresh(fill, prior)
    worker.c.release(fill)
    worker.c.release(prior)
    assert worker.get(b"/a", b"Color: red") == b"any"


def test_what_has_left_is_not_renewed(worker: Worker, other: Worker) -> None:
    worker.put(b"/a", b"old")
    prior = worker.object(b"/a")
    fill = worker.lead(b"/a")
    other.put(b"/b", b"")
    worker.c.discard(prior)
    assert worker.c.refresh(fill, prior, response_of(b"X: y")) == "purged"
    assert worker.state(fill) == "failed"
    assert not other.has(b"/a")
    worker.c.release(fill)
    worker.c.release(prior)


def test_a_head_that_finds_no_room_leaves_the_old_one(cache: Cache, worker: Worker) -> None:
    head = response_of(b"X: old")
    worker.put(b"/a", b"", head=head, fresh_until_ms=1)
    prior = worker.object(b"/a")
    refresh = worker.lead(b"/a")
    big = worker.lead(b"/big")
    worker.open(big, b"/big", length=-1)
    while worker.c.append(big, b"x" * 1000) == "ok":
        pass
    new = response_of(b"Y: " + b"y" * 10_000)
    assert worker.c.refresh(refresh, prior, new, fresh_until_ms=NOW_MS + HOUR_MS) == "ok"
    assert worker.c.head(prior)["head"] == head
    assert worker.c.freshness(prior)["fresh_until_ms"] == NOW_MS + HOUR_MS
    for handle in (prior, refresh, big):
        worker.c.release(handle)
    assert cache.check()["dead"] == 0


# -- leaving ---------------------------------------------------------------------------------------


def test_discard_takes_one_object_out(cache: Cache, worker: Worker) -> None:
    for color in (b"red", b"blue"):
        worker.put(b"/a", color, b"Color: " + color, head=VARY)
    red = worker.object(b"/a", b"Color: red")
    worker.c.discard(red)
    worker.c.discard(red)
    assert not worker.has(b"/a", b"Color: red")
    assert worker.has(b"/a", b"Color: blue")
    assert worker.c.body(red) == b"red"
    worker.c.release(red)
    assert cache.stats()["objects"] == 1


def test_drop_key_takes_all_variants_out(cache: Cache, worker: Worker, other: Worker) -> None:
    for color in (b"red", b"blue"):
        worker.put(b"/a", color, b"Color: " + color, head=VARY)
    worker.put(b"/b", b"b")
    busy, filling = worker.lead(b"/a", b"Color: 1"), worker.lead(b"/a", b"Color: 2")
    worker.open(filling, b"/a", b"Color: 2", head=VARY, length=4)
    assert other.begin(b"/a", b"Color: 2") == ("join", filling)
    assert other.c.drop_key(b"/a") == 4
    assert other.c.drop_key(b"/a") == 0
    for color in (b"red", b"blue", b"1", b"2"):
        found = other.find(b"/a", b"Color: " + color)
        assert (found["object"], found["busy"]) == (0, 0)
    assert worker.get(b"/b") == b"b"
    assert worker.open(busy, b"/a", b"Color: 1") == "purged"
    assert worker.c.append(filling, b"body") == "ok"
    assert worker.c.finish(filling) == "purged"
    assert (other.state(filling), other.c.body(filling)) == ("whole", b"body")
    assert not other.has(b"/a", b"Color: 2")
    worker.c.abandon(busy, "alone")
    for who, handle in ((worker, busy), (worker, filling), (other, filling)):
        who.c.release(handle)
    stats = cache.stats()
    assert (stats["objects"], stats["fills"], cache.check()["dead"]) == (1, 0, 0)
