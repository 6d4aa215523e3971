"""edge.control.haproxy.tables: the words of `show|set|clear table`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from edge.control.haproxy.changes import CommandError
from edge.control.haproxy.tables import Tables, key_text
from ext.sticktable import StickTable

STORE = [("gpc0", 0), ("gpt0", 0), ("http_req_rate", 10_000)]


@pytest.fixture
def made() -> Iterator[dict[str, StickTable]]:
    made = {
        "clients": StickTable.create("ip", 100, expire_ms=30_000, store=STORE),
        "names": StickTable.create("string", 3, key_bytes=8),
        "numbers": StickTable.create("integer", 2, nopurge=True, store=STORE),
    }
    yield made
    for table in made.values():
        os.close(table.fd)


@pytest.fixture
def tables(made: dict[str, StickTable]) -> Tables:
    return Tables(made)


def run(tables: Tables, line: str, *, is_privileged: bool = True) -> str:
    """The answer, with what differs from run to run as X."""
    action, *words = line.split()
    try:
        if action == "show":
            text = tables.show(words, is_privileged=is_privileged)
        else:
            text = {"set": tables.set, "clear": tables.clear}[action](words)
    except CommandError as error:
        text = str(error)
    return re.sub(r"exp=[1-9][0-9]*", "exp=X", re.sub(r"0x[0-9a-f]+", "0xX", text))


HEAD = "# table: clients, type: ip, size:100, used:{}\n"
ENTRY = "0xX: key={} use=0 exp=X gpt0={} gpc0={} http_req_rate(10000)={}\n"


def test_the_last_table_of_the_file_comes_first(tables: Tables) -> None:
    assert run(tables, "show") == (
        "# table: numbers, type: integer, size:2, used:0\n"
        "# table: names, type: string, size:3, used:0\n"
        "# table: clients, type: ip, size:100, used:0\n"
    )


def test_entries_are_set_shown_and_cleared(tables: Tables) -> None:
    assert run(tables, "set clients key 10.0.0.2 data.gpc0 7 data.gpt0 1") == ""
    assert run(tables, "set clients key 10.0.0.1 data.http_req_rate 5") == ""
    first, second = ENTRY.format("10.0.0.1", 0, 0, 5), ENTRY.format("10.0.0.2", 1, 7, 0)
    assert run(tables, "show clients") == HEAD.format(2) + first + second
    assert run(tables, "show clients key 10.0.0.2") == HEAD.format(2) + second
    assert run(tables, "show clients data.gpc0 gt 3") == HEAD.format(2) + second
    assert run(tables, "show clients data.gpc0 gt 3 data.gpt0 gt 3") == HEAD.format(2)
    assert run(tables, "clear clients key 10.0.0.9") == ""
    assert run(tables, "clear clients data.gpc0 lt 7") == ""
    assert run(tables, "show clients") == HEAD.format(1) + second
    assert run(tables, "clear clients") == ""
    assert run(tables, "show clients") == HEAD.format(0)


@pytest.mark.parametrize(
    ("op", "matches"),
    [("eq", "0"), ("ne", "1"), ("le", "01"), ("ge", "0"), ("lt", "1"), ("gt", "")],
)
def test_filters_compare(tables: Tables, op: str, matches: str) -> None:
    run(tables, "set clients key 0.0.0.0 data.gpc0 5")
    run(tables, "set clients key 0.0.0.1 data.gpc0 4")
    shown = run(tables, f"show clients data.gpc0 {op} 5")
    assert "".join(re.findall(r"key=0\.0\.0\.(.)", shown)) == matches


def test_counters_wrap_at_32_bits(tables: Tables) -> None:
    run(tables, "set clients key 1.1.1.1 data.gpc0 -1")
    assert "gpc0=4294967295" in run(tables, "show clients")


def test_who_may_not_see_entries(tables: Tables) -> None:
    run(tables, "set clients key 1.1.1.1")
    shown = run(tables, "show clients", is_privileged=False)
    assert shown == HEAD.format(1) + "# contents not dumped due to insufficient privileges\n"


def test_an_entry_in_use_stays(tables: Tables, made: dict[str, StickTable]) -> None:
    worker = StickTable.attach(made["clients"].fd, 0)
    handle = worker.track_for_test(bytes([1, 1, 1, 1]))
    assert run(tables, "clear clients key 1.1.1.1") == "Entry currently in use, cannot remove\n"
    assert run(tables, "clear clients") == ""
    assert "use=1" in run(tables, "show clients")
    worker.untrack_for_test(handle)
    assert run(tables, "clear clients key 1.1.1.1") == ""
    assert run(tables, "show clients") == HEAD.format(0)


def test_a_full_table_without_purge_takes_no_more(tables: Tables) -> None:
    assert [run(tables, f"set numbers key {number}") for number in (1, 2, 3)] == [
        "",
        "",
        "Unable to allocate a new entry\n",
    ]
    assert "key=2 use=0 exp=0 " in run(tables, "show numbers")


ONE_OF = '"eq", "ne", "le", "ge", "lt", "gt"'
SHOW = 'Optional argument only supports "data.<store_data_type>" <operator> <value> and key <key>\n'
CLEAR = (
    'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>\n'
)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("show nope", "No such table\n"),
        ("set nope", "No such table\n"),
        ("set nope key 1", "No such table\n"),
        ("clear nope", "No such table\n"),
        ("show clients foo", SHOW),
        ("show clients key", "Key value expected\n"),
        ("show clients key bad", ""),
        ("show clients key 9.9.9.9", ""),
        ("show clients data.nope gt 3", "Filter entry #1: Unknown data type\n"),
        (
            "show clients data.http_req_cnt gt 3",
            "Filter entry #1: Data type not stored in this table\n",
        ),
        (
            "show clients data.gpc0 gt 3 data.gpc0 foo 3",
            f"Filter entry #2: Require and operator among {ONE_OF}\n",
        ),
        ("show clients data.gpc0", f"Filter entry #1: Require and operator among {ONE_OF}\n"),
        (
            "show clients data.gpc0 gt",
            "Filter entry #1: Require a valid integer value to compare against\n",
        ),
        (
            "show clients" + " data.gpc0 gt 3" * 5,
            "Detected extra data in filter, 16th word of input, after '3'\n",
        ),
        ("clear", CLEAR),
        ("clear clients foo", CLEAR),
        ("clear clients key", "Key value expected\n"),
        ("clear clients key bad", ""),
        ("set", ""),
        ("set clients", ""),
        (
            "set clients foo",
            "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n",
        ),
        (
            "set clients data.gpc0 gt 3",
            'content-based lookup is only supported with the "show" and "clear" actions\n',
        ),
        ("set clients key bad", "Invalid key\n"),
        ("set numbers key -5", "Invalid key\n"),
        ("set numbers key 4294967296", "Invalid key\n"),
        ("set clients key 1.1.1.1 data.nope 7", "Unknown data type\n"),
        ("set clients key 1.1.1.1 data.gpc0", "Require a valid integer value to store\n"),
        ("set clients key 1.1.1.1 data.gpc0 5x", "Require a valid integer value to store\n"),
        ("set clients key 1.1.1.1 gpc0 5", '"data.<type>" followed by a value expected\n'),
        ("set clients key 1.1.1.1 data.gpc1 5", "Data type not stored in this table\n"),
    ],
)
def test_what_is_wrong_is_said_in_haproxys_words(tables: Tables, line: str, answer: str) -> None:
    assert run(tables, line) == answer
    assert run(tables, "show clients") == HEAD.format(0)


@pytest.mark.parametrize(
    ("key_type", "key", "text"),
    [
        ("ip", bytes([10, 0, 0, 1]), "10.0.0.1"),
        ("ipv6", bytes(15) + b"\x01", "::1"),
        ("integer", b"\0\0\1\0", "256"),
        ("string", b"a b\\c\n", r"a\ b\\c\x0a"),
        ("binary", b"\0\xff", "00FF"),
    ],
)
def test_keys_as_they_are_printed(key_type: str, key: bytes, text: str) -> None:
    assert key_text(key_type, key) == text
