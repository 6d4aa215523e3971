"""edge.control.haproxy.commands: words, levels, the session's own commands."""

from collections.abc import Callable

import pytest

from edge.control.haproxy.commands import Client, Level, split_words
from ext.limits import AdminState
from tests.control.conftest import CHAIN, SHOP
from tests.control.haproxy.conftest import Bench

Build = Callable[[str], Bench]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  show \t stat  ", ["show", "stat"]),
        (r"a\ b c\\d", ["a b", r"c\d"]),
        ("end\\", ["end"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize(
    "line",
    [
        "set server haproxy@node1/node1 state drain",
        "set weight haproxy@node1/node1 9",
        "disable server haproxy@node1/node1",
        "disable health haproxy@node1/node1",
    ],
)
def test_only_admin_changes_anything(bench: Build, line: str) -> None:
    made = bench(CHAIN)
    slot = made.world.slot("haproxy@node1/node1")
    before = made.world.arena.server(slot)
    for level in (Level.USER, Level.OPERATOR):
        assert made.say(line, level) == "Permission denied\n"
    assert made.world.arena.server(slot) == before
    assert not made.world.runner.servers["haproxy@node1/node1"].is_paused
    assert made.say(line) == ""


def test_a_level_is_lowered_and_never_raised(bench: Build) -> None:
    made = bench(CHAIN)
    client = Client(Level.ADMIN)
    assert made.commands.answer(client, "user") == ""
    assert made.commands.answer(client, "show cli level") == "user\n"
    assert made.commands.answer(client, "operator") == "Permission denied\n"
    assert client.level is Level.USER


def test_users_see_no_addresses(bench: Build) -> None:
    made = bench(CHAIN)
    assert "127.0.0.1:9001" in made.say("show stat", Level.OPERATOR)
    assert "127.0.0.1:9001" not in made.say("show stat", Level.USER)


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("2m", 120), ("1500ms", 1.5)])
def test_timeouts(bench: Build, text: str, seconds: float) -> None:
    client = Client(Level.USER)
    assert bench(CHAIN).commands.answer(client, f"set timeout cli {text}") == ""
    assert client.timeout_s == seconds


@pytest.mark.parametrize(
    "line", ["set maxconn nobody 5", "show env", "show map", "clear counters", "x"]
)
def test_what_is_not_there_is_unknown(bench: Build, line: str) -> None:
    made = bench(SHOP)
    answer = made.say(line)
    assert answer.startswith("Unknown command, but maybe one of the following ones is a better")
    assert answer.endswith("  quit                                    : disconnect\n")


def test_help_narrows(bench: Build) -> None:
    made = bench(SHOP)
    lines = made.say("help show servers").splitlines()
    assert [line.split(":")[0].split("[")[0].strip() for line in lines[1:-3]] == [
        "show servers conn",
        "show servers state",
    ]


def test_states_of_every_tier_or_one(bench: Build) -> None:
    made = bench(CHAIN)
    made.world.arena.set_server(made.world.slot("haproxy@node2/node1"), admin=AdminState.MAINT)
    text = made.say("show servers state")
    rows = [line.split(" ") for line in text.splitlines()[2:]]
    assert [row[1:4:2] + row[5:7] for row in rows] == [
        ["haproxy@node1", "node1", "2", "0"],
        ["haproxy@node1", "node2", "2", "0"],
        ["haproxy@node2", "node1", "0", "1"],
        ["haproxy@node2", "node2", "2", "0"],
    ]
    assert len(made.say("show servers state haproxy@node2").splitlines()) == 4


def test_info_counts_requests_once(bench: Build) -> None:
    """Of the haproxy tiers only: the elb in front has counted the same requests."""
    made = bench(CHAIN)
    info = dict(line.split(": ", 1) for line in made.say("show info").splitlines())
    slots = made.world.job.slots["tiers"]
    expected = sum(1000 * slots[name] + 3 for name in ("haproxy@node1", "haproxy@node2"))
    assert int(info["CumReq"]) == expected
    assert info["Name"] == "HAProxy"
    assert info["Version"].startswith("2.6-edge")
    assert info["Uptime"].startswith("0d 0h01m4")
