"""ext.sticktable: entries, rates, room, and what dying workers leave behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ext.sticktable import DATA_NAMES, StickTable, rate_for_test

ROOT = Path(__file__).parents[2]
ALL = [(name, 10_000 if name.endswith("_rate") else 0) for name in DATA_NAMES]


MADE: list[int] = []


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """Closes what `make` has made."""
    yield
    while MADE:
        os.close(MADE.pop())


def make(size: int = 8, **options: Any) -> StickTable:
    options = {"key_type": "string", "store": ALL} | options
    table = StickTable.create(size=size, **options)
    MADE.append(table.fd)
    return table


def worker(table: StickTable, row: int = 0) -> StickTable:
    return StickTable.attach(table.fd, row)


def keys(table: StickTable) -> list[bytes]:
    return [key for key, *_ in table.entries()]


def data(table: StickTable, key: bytes) -> dict[str, int]:
    return next(data for found, _, _, _, data in table.entries() if found == key)


def test_a_request_is_counted_while_and_after_it_is_tracked() -> None:
    table = make()
    w = worker(table)
    first, second = w.track_for_test(b"a"), w.track_for_test(b"a")
    assert w.value_for_test(first, "conn_cur") == 2
    w.untrack_for_test(first)
    w.untrack_for_test(second)
    counted = data(table, b"a")
    assert counted["conn_cur"] == 0
    assert counted["conn_cnt"] == counted["conn_rate"] == 2
    assert counted["http_req_cnt"] == counted["http_req_rate"] == 2
    assert counted["gpc0"] == counted["sess_cnt"] == 0


def test_what_is_not_stored_is_zero_and_stays_so() -> None:
    table = make(store=[("gpc0", 0)])
    w = worker(table)
    handle = w.track_for_test(b"a")
    assert w.add_for_test(handle, "gpc1", 3) == 0
    assert w.value_for_test(handle, "http_req_rate") == 0
    assert w.add_for_test(handle, "gpc0", 3) == 3
    assert data(table, b"a") == {"gpc0": 3}


def test_values_are_put_and_rates_added_to() -> None:
    table = make()
    w = worker(table)
    handle = w.track_for_test(b"a")
    w.put_for_test(handle, "server_id", 7)
    assert w.add_for_test(handle, "gpc0_rate", 2) == 2
    assert data(table, b"a")["server_id"] == 7


@pytest.mark.parametrize(
    ("status", "errors", "failures"),
    [(200, 0, 0), (399, 0, 0), (400, 1, 0), (499, 1, 0), (500, 0, 1), (501, 0, 0), (505, 0, 0)],
)
def test_an_answer_counts(status: int, errors: int, failures: int) -> None:
    table = make()
    w = worker(table)
    w.count_answer_for_test(w.track_for_test(b"a"), status, 10, 20)
    counted = data(table, b"a")
    assert (counted["http_err_cnt"], counted["http_err_rate"]) == (errors, errors)
    assert (counted["http_fail_cnt"], counted["http_fail_rate"]) == (failures, failures)
    assert (counted["bytes_in_cnt"], counted["bytes_out_cnt"]) == (10, 20)
    assert (counted["bytes_in_rate"], counted["bytes_out_rate"]) == (10, 20)


@pytest.mark.parametrize(
    ("events", "now", "rate"),
    [
        ([], 50_000, 0),
        ([(50_000, 1)], 50_000, 1),
        ([(50_000, 10)], 50_999, 10),
        ([(50_000, 10)], 51_500, 5),  # half of it is still in view
        ([(50_000, 10)], 52_000, 0),
        ([(50_000, 1)], 51_900, 1),  # one event does not flicker
        ([(50_000, 10), (51_000, 4)], 51_500, 9),
        ([(50_000, 10), (51_999, 4)], 51_999, 4),
        ([(50_000, 10), (53_000, 4)], 53_000, 4),  # a silent period in between
        ([(50_000, 10), (51_200, 4)], 52_100, 3),  # periods begin where the last one ended
    ],
)
def test_rates(events: list[tuple[int, int]], now: int, rate: int) -> None:
    assert rate_for_test(events, 1000, now) == rate


@pytest.mark.parametrize(
    ("key_type", "given", "kept"),
    [
        ("ip", bytes([10, 0, 0, 1]), bytes([10, 0, 0, 1])),
        ("ip", bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1]), bytes([10, 0, 0, 1])),
        ("ip", bytes(15) + b"\x01", None),
        ("ip", b"", None),
        ("ipv6", bytes([10, 0, 0, 1]), bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1])),
        ("ipv6", bytes(15) + b"\x01", bytes(15) + b"\x01"),
        ("ipv6", bytes(5), None),
        ("integer", b"\0\0\0\x11", b"\0\0\0\x11"),
        ("integer", b"17", None),
        ("string", b"longer-than-eight", b"longer-t"),
        ("string", b"", None),
        ("binary", b"\0\xff", b"\0\xff"),
    ],
)
def test_keys(key_type: str, given: bytes, kept: bytes | None) -> None:
    table = make(key_type=key_type, key_bytes=8)
    w = worker(table)
    handle = w.track_for_test(given)
    assert keys(table) == ([] if kept is None else [kept])
    assert bool(handle) == (kept is not None)
    assert (w.look_up_for_test(given, "http_req_cnt") == 1) == (kept is not None)


def test_a_full_table_forgets_who_was_used_longest_ago() -> None:
    table = make(size=3)
    w = worker(table)
    for key in (b"a", b"b", b"c", b"a", b"d"):
        w.untrack_for_test(w.track_for_test(key))
    assert keys(table) == [b"a", b"c", b"d"]
    assert table.used() == 3


def test_who_is_held_does_not_give_way() -> None:
    table = make(size=2)
    w = worker(table)
    held = w.track_for_test(b"a")
    for key in (b"b", b"c", b"d"):
        w.untrack_for_test(w.track_for_test(key))
    assert keys(table) == [b"a", b"d"]
    other = w.track_for_test(b"d")
    assert w.track_for_test(b"e") == 0
    w.untrack_for_test(held)
    assert w.track_for_test(b"e")
    assert keys(table) == [b"d", b"e"]
    w.untrack_for_test(other)


def test_nopurge_keeps_what_is_there() -> None:
    table = make(size=2, nopurge=True)
    w = worker(table)
    assert [bool(w.track_for_test(key)) for key in (b"a", b"b", b"c", b"a")] == [
        True,
        True,
        False,
        True,
    ]
    assert table.set(b"z", {}) is False


def test_what_has_expired_is_not_there() -> None:
    table = make(expire_ms=30)
    w = worker(table)
    w.untrack_for_test(w.track_for_test(b"a"))
    held = w.track_for_test(b"b")
    until = time.monotonic() + 5
    while w.look_up_for_test(b"a", "conn_cnt") is not None:
        assert time.monotonic() < until
    assert keys(table) == [b"b"]
    assert table.used() == 1
    w.untrack_for_test(held)
    again = w.track_for_test(b"a")
    assert w.value_for_test(again, "http_req_cnt") == 1


def test_a_table_without_expiry_tells_no_time_to_live() -> None:
    table = make()
    assert table.set(b"a", {"gpc0": 4}) is True
    assert [(key, refs, left) for key, _, refs, left, _ in table.entries()] == [(b"a", 0, None)]
    assert data(table, b"a")["gpc0"] == 4


def test_set_makes_and_changes_and_clear_forgets() -> None:
    table = make(expire_ms=60_000)
    assert table.set(b"a", {"gpc0": 4, "http_req_rate": 9}) is True
    assert table.set(b"a", {"gpt0": 5}) is True
    changed = data(table, b"a")
    assert (changed["gpc0"], changed["gpt0"], changed["http_req_rate"]) == (4, 5, 9)
    assert table.clear(b"nobody") is True
    assert table.clear(b"a") is True
    assert table.entries() == []


def test_clear_leaves_who_is_held() -> None:
    table = make()
    w = worker(table)
    handle = w.track_for_test(b"a")
    assert table.clear(b"a") is False
    w.untrack_for_test(handle)
    assert table.clear(b"a") is True


def test_set_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="nope"):
        make().set(b"a", {"nope": 1})


def test_entries_come_in_the_order_of_their_keys() -> None:
    table = make(size=300)
    names = [b"%d" % number for number in range(300)]
    for name in random.Random(1).sample(names, len(names)):
        table.set(name, {})
    assert keys(table) == sorted(names)


@pytest.mark.parametrize("size", [1, 7, 2048, 5000, 100_001])
def test_a_table_holds_as_many_as_it_says(size: int) -> None:
    table = make(size=size, store=[("gpc0", 0)])
    for number in range(size * 2):
        table.set(b"%d" % number, {})
    assert table.used() == size


def test_description_tells_what_it_was_made_of() -> None:
    made = make(key_type="ip", size=5, expire_ms=9, nopurge=True, store=[("gpc0_rate", 3)])
    assert made.description == StickTable.attach(made.fd).description
    assert made.description == {
        "key_type": "ip",
        "size": 5,
        "key_bytes": 4,
        "expire_ms": 9,
        "nopurge": True,
        "store": [("gpc0_rate", 3)],
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"key_type": "float"}, "'float'"),
        ({"size": 0}, "0 entries"),
        ({"size": 16_777_217}, "16777216"),
        ({"key_bytes": 0}, "keys of 0 bytes"),
        ({"key_bytes": 1025}, "1024"),
        ({"store": [("gpc0", 5)]}, "gpc0: a rate has a period"),
        ({"store": [("gpc0_rate", 0)]}, "gpc0_rate: a rate has a period"),
        ({"store": [("gpc9", 0)]}, "gpc9"),
    ],
)
def test_what_cannot_be_made(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make(**options)


def test_attach_refuses_what_is_no_table() -> None:
    fd = os.memfd_create("not-a-table")
    try:
        with pytest.raises(ValueError, match="not a stick table"):
            StickTable.attach(fd)
        os.ftruncate(fd, 2**26)
        with pytest.raises(ValueError, match="not a stick table"):
            StickTable.attach(fd)
    finally:
        os.close(fd)


def test_without_a_row_nothing_is_tracked() -> None:
    table = make()
    assert table.track_for_test(b"a") == 0
    assert table.value_for_test(0, "gpc0") == 0
    table.untrack_for_test(0)


def test_what_a_dead_worker_held_is_given_back() -> None:
    table = make()
    gone, stays = worker(table, 3), worker(table, 4)
    for _ in range(5):
        gone.track_for_test(b"a")
    stays.track_for_test(b"a")
    table.sweep_row(3)
    assert [(key, refs) for key, _, refs, _, _ in table.entries()] == [(b"a", 1)]
    assert data(table, b"a")["conn_cur"] == 1
    table.sweep_row(3)
    assert data(table, b"a")["conn_cur"] == 1


DIE_INSIDE = """
import os, signal, sys
from ext.sticktable import StickTable
table = StickTable.attach(int(sys.argv[1]), 6)
table.track_for_test(b"mine")
table.enter_for_test(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_shard_whose_lock_died_is_emptied() -> None:
    table = make()
    w = worker(table)
    old = w.track_for_test(b"a")
    process = run(DIE_INSIDE, table)
    assert process.communicate() == (b"", None)
    assert process.returncode == -signal.SIGKILL
    assert table.entries() == []
    assert w.value_for_test(old, "conn_cur") == 0
    table.sweep_row(6)
    new = w.track_for_test(b"b")
    w.untrack_for_test(old)  # the same place in memory, another entry
    assert w.value_for_test(new, "conn_cur") == 1
    assert table.used() == 1


BUSY = """
import random, sys
from ext.sticktable import StickTable
row, seed = int(sys.argv[2]), int(sys.argv[3])
table = StickTable.attach(int(sys.argv[1]), row)
chance = random.Random(seed)
held = []
print("ready", flush=True)
while True:
    if held and chance.random() < 0.5:
        table.untrack_for_test(held.pop(chance.randrange(len(held))))
    elif len(held) < 20:
        handle = table.track_for_test(b"%d" % chance.randrange(40))
        if handle:
            table.add_for_test(handle, "gpc0", 1)
            held.append(handle)
"""


def run(program: str, table: StickTable, *arguments: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(table.fd), *map(str, arguments)],
        cwd=ROOT,
        pass_fds=[table.fd],
        stdout=subprocess.PIPE,
    )


def test_workers_die_anywhere_and_the_books_add_up() -> None:
    table = make(size=30)
    chance = random.Random(7)
    rows = (0, 1, 2)
    children = {row: run(BUSY, table, row, row) for row in rows}
    for child in children.values():
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for death in range(30):
        row = chance.choice(rows)
        until = time.monotonic() + chance.random() * 0.005
        while time.monotonic() < until:
            pass  # somewhere in the middle of it
        end(children[row])
        table.sweep_row(row)
        children[row] = run(BUSY, table, row, 100 + death)
        assert children[row].stdout.readline() == b"ready\n"  # type: ignore[union-attr]
    for row, child in children.items():
        end(child)
        table.sweep_row(row)
    entries = table.entries()
    assert [refs for _, _, refs, _, _ in entries] == [0] * len(entries)
    assert [data["conn_cur"] for _, _, _, _, data in entries] == [0] * len(entries)
    assert len(entries) == table.used() <= 30
    w = worker(table, 9)
    assert all(w.track_for_test(b"new %d" % number) for number in range(30))
    assert table.used() == 30


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
