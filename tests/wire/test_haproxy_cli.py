"""The CLI beside real HAProxy's: the same commands, the same answers."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.haproxy_pair import WAIT_S_MAX, Pair, Side, run_pair

pytestmark = [pytest.mark.wire, pytest.mark.external]

# Answers that are equal to the letter, in this order: each changes what the next ones see.
SESSION = """
show backend
show servers state nope
show servers conn nope
show errors nope
show sess 0x1
show table
show table x
show cli level
show stat nope 1 1
show stat domain x
set server
set server haproxy
set server haproxy/node1
set server haproxy/node1 bogus
set server haproxy/nope state ready
set server nope/node1 state ready
set server haproxy/node1 state
set server haproxy/node1 state bogus
set server haproxy/node1 weight
set server haproxy/node1 weight 3x
set server haproxy/node1 weight -1
set server haproxy/node1 weight 257
set server haproxy/node1 weight abc
set server haproxy/node1 weight -5%
set server haproxy/node1 weight 50%
get weight haproxy/node1
set server haproxy/node1 weight 200%
get weight haproxy/node1
set server haproxy/node1 weight 100000%
get weight haproxy/node1
set weight haproxy/node1
set weight
set weight haproxy/node1 3
get weight
get weight haproxy
get weight haproxy/nope
get weight nope/x
get weight haproxy/node1
set server haproxy/node1 agent up
set server haproxy/node1 agent-addr 1.2.3.4
set server haproxy/node1 agent-port 5
set server haproxy/node1 agent-send x
set server haproxy/node1 fqdn a.b
set server haproxy/node1 ssl on
enable server
enable server haproxy/nope
enable agent haproxy/node1
disable agent haproxy/node1
disable server haproxy/node1
enable server haproxy/node1
set timeout cli
set timeout x
set timeout cli x
set timeout cli 0
set timeout cli 60
set timeout cli 2m
user
operator
show errors; get weight haproxy/node3
 get  weight   haproxy/node3  more
get weight haproxy\\/node3
user; set weight haproxy/node1 3; show cli level; operator
set server haproxy/node2 state maint
set server haproxy/node1 state drain
""".strip().splitlines()

STAMP = re.compile(r"\[[^]]*\]")
REQUESTS = 12  # whole rounds of 3:1, so that it does not matter where a round begins
COLUMNS, OLDEST_COLUMNS = 128, 103  # HAProxy after 2.6 inserts more behind these
TIMES = "lastchg check_duration lastsess chkfail"
RATES = "rate rate_max req_rate req_rate_max conn_rate conn_rate_max"
TIMING = {*TIMES.split(), *RATES.split()}
# Bytes and connections are those of two different proxies.
OWN = {"bin", "bout", "connect", "reuse", "srv_icur", "used_conn_cur", "ereq"}
USAGE_HEADS = (
    "The following commands are valid at this level:",
    "Unknown command. Please enter one of the following commands only:",
    "Unknown command, but maybe one of the following ones is a better match:",
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("pair"), is_checked=True) as made:
        yield made


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("unchecked"), is_checked=False) as made:
        yield made


def both(pair: Pair, commands: str) -> tuple[str, str]:
    return pair.haproxy.ask(commands), pair.edge.ask(commands)


def same(pair: Pair, commands: str) -> str:
    theirs, ours = both(pair, commands)
    assert STAMP.sub("[]", ours) == STAMP.sub("[]", theirs), commands
    return ours


def stat(side: Side, options: str = "") -> tuple[str, list[dict[str, str]]]:
    """The header line and the rows by column."""
    text = side.ask(f"show stat {options}")
    lines = text.removeprefix("# ").rstrip("\n").splitlines()
    return lines[0], list(csv.DictReader(lines))


def assert_same_rows(pair: Pair, options: str = "") -> None:
    """Where edge has a value HAProxy has the same; where edge has none, it says nothing."""
    (their_head, theirs), (our_head, ours) = stat(pair.haproxy, options), stat(pair.edge, options)
    is_2_6 = pair.haproxy.ask("show version").startswith("2.6")
    common = COLUMNS if is_2_6 else OLDEST_COLUMNS
    assert our_head.split(",")[:common] == their_head.split(",")[:common]
    assert [row["svname"] for row in ours] == [row["svname"] for row in theirs]
    for their_row, our_row in zip(theirs, ours, strict=True):
        if their_row["check_status"].startswith("* "):  # a check is running just now
            their_row["check_status"] = their_row["check_status"].removeprefix("* ")
            their_row["check_code"] = our_row["check_code"]
        for name, value in our_row.items():
            if not value:
                continue
            assert their_row[name] != "", (our_row["svname"], name, value)
            if name not in TIMING | OWN:
                assert value == their_row[name], (our_row["svname"], name)


def assert_same_states(pair: Pair) -> None:
    theirs, ours = pair.haproxy.servers(), pair.edge.servers()
    for name, row in theirs.items():
        row[9] = ours[name][9] = ""  # seconds since the last change
        row[13] = str(int(row[13]) & ~1)  # a check is running just now
        assert ours[name] == row
    assert ours.keys() == theirs.keys()


@pytest.fixture(autouse=True)
def ready(request: pytest.FixtureRequest) -> None:
    """Each test of the checked pair begins with every server up."""
    if "pair" not in request.fixturenames:
        return
    pair: Pair = request.getfixturevalue("pair")
    for name, weight in (("node1", 3), ("node2", 1), ("node3", 1)):
        for side in (pair.haproxy, pair.edge):
            server = f"haproxy/{name}"
            side.ask(f"enable server {server}; enable health {server}")
            side.ask(f"set weight {server} {weight}")
    pair.haproxy.wait_health("4")
    pair.edge.wait_health("4")


def test_a_session_is_answered_as_haproxy_answers_it(pair: Pair) -> None:
    usage = "usage: set server <backend>/<server> "
    for command in SESSION:
        theirs, ours = both(pair, command)
        if theirs.startswith(usage):  # it lists what can be set
            assert ours.startswith(usage)
        else:
            assert STAMP.sub("[]", ours) == STAMP.sub("[]", theirs), command
    for side in (pair.haproxy, pair.edge):
        side.wait_health("4", "node1", "node3")
    assert_same_states(pair)
    assert_same_rows(pair)


def test_rows_ids_and_counters_are_equal_after_the_same_traffic(pair: Pair) -> None:
    for side in (pair.haproxy, pair.edge):
        for _ in range(REQUESTS):
            url = f"http://127.0.0.1:{side.port}/"
            with urllib.request.urlopen(url, timeout=WAIT_S_MAX) as answer:
                assert answer.status == 200
    assert_same_rows(pair)
    _, rows = stat(pair.edge)
    totals = {row["svname"]: int(row["stot"]) for row in rows}
    assert totals["BACKEND"] == REQUESTS
    assert totals["node1"] + totals["node2"] + totals["node3"] == totals["BACKEND"]
    assert totals["node2"] == 0  # a backup


@pytest.mark.parametrize(
    "options",
    ["-1 1 -1", "-1 2 -1", "-1 4 -1", "2 4 2", "2 6 -1", "haproxy 4 3", "3 7 -1", "-1 7 9"],
)
def test_rows_are_selected_as_haproxy_selects_them(pair: Pair, options: str) -> None:
    assert_same_rows(pair, options)


def test_states_hide_rows_and_show_as_haproxy_shows_them(pair: Pair) -> None:
    for command in (
        "set server haproxy/node3 state maint",
        "set server haproxy/node1 state drain",
        "set server haproxy/node2 state drain",
    ):
        same(pair, command)
        assert_same_rows(pair)
        assert_same_rows(pair, "up")
        assert_same_rows(pair, "no-maint")
        assert_same_states(pair)
    _, rows = stat(pair.edge)
    assert [row["status"] for row in rows] == ["OPEN", "DRAIN", "DRAIN", "MAINT", "DOWN"]


def test_paused_checks_show_as_no_check(pair: Pair) -> None:
    same(pair, "disable health haproxy/node1")
    assert_same_rows(pair)
    assert stat(pair.edge, "haproxy 4 1")[1][0]["status"] == "no check"
    same(pair, "enable health haproxy/node1")
    assert_same_rows(pair)


def test_health_is_forced_where_nothing_checks_it(unchecked: Pair) -> None:
    for command in (
        "enable health haproxy/node1",
        "disable health haproxy/node1",
        "set server haproxy/node1 health down",
        "set server haproxy/node2 health down",
        "set server haproxy/node3 health down",
    ):
        same(unchecked, command)
        assert_same_rows(unchecked)
    _, rows = stat(unchecked.edge)
    assert [row["status"] for row in rows] == ["OPEN", "DOWN", "DOWN", "DOWN", "DOWN"]
    for name in ("node1", "node2", "node3"):
        same(unchecked, f"set server haproxy/{name} health up")
    assert_same_rows(unchecked)
    assert stat(unchecked.edge, "haproxy 4 1")[1][0]["status"] == "no check"


def test_typed_and_json_have_haproxys_types(pair: Pair) -> None:
    def typed(text: str) -> set[str]:
        return {line.rpartition(":")[0] for line in text.splitlines() if line}

    def tags(text: str) -> set[str]:
        found = json.loads(text)
        fields = [field for each in found for field in (each if isinstance(each, list) else [each])]
        for field in fields:
            del field["value"]["value"]
        return {json.dumps(field) for field in fields}

    for what in ("stat", "info"):
        theirs, ours = both(pair, f"show {what} typed")
        ours = "\n".join(line for line in ours.splitlines() if ".description." not in line)
        assert len(typed(ours)) > 20
        assert typed(ours) <= typed(theirs)
        theirs, ours = both(pair, f"show {what} json")
        mine = {field for field in tags(ours) if '"description"' not in field}
        assert len(mine) > 20
        assert mine <= tags(theirs)


def test_info_has_haproxys_names_in_its_order(pair: Pair) -> None:
    theirs, ours = both(pair, "show info")
    names = [line.partition(":")[0] for line in theirs.splitlines()]
    mine = [line.partition(":")[0] for line in ours.splitlines()]
    assert mine[0] == "Name"
    assert [name for name in names if name in mine] == [n for n in mine if n != "description"]


@pytest.mark.parametrize("command", ["help", "help show", "", ";", "show", "set", "enable"])
def test_usage_lists_a_part_of_what_haproxy_lists(pair: Pair, command: str) -> None:
    theirs, ours = both(pair, command)
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    assert ours.splitlines()[0] in USAGE_HEADS
    assert ours.splitlines()[-4:] == theirs.splitlines()[-4:]
    starts = {line.partition(":")[0].split("[")[0] for line in theirs.splitlines()}
    assert {line.partition(":")[0].split("[")[0] for line in ours.splitlines()} <= starts


def test_the_prompt_stays_until_quit(pair: Pair) -> None:
    said = ("prompt", "show cli level", "get weight haproxy/node1; user", "set weight x 9", "quit")
    assert same(pair, "\n".join(said)).count("\n> ") == 5


@pytest.mark.parametrize("level", ["user", "operator"])
def test_levels_may_what_haproxy_lets_them(tmp_path: Path, level: str) -> None:
    with run_pair(tmp_path, is_checked=False, level=level) as pair:
        for command in (
            "show cli level",
            "show errors",
            "show sess 0x1",
            "show servers state nope",
            "get weight haproxy/node1",
            "set weight haproxy/node1 3",
            "set server haproxy/node1 state bogus",
            "enable server haproxy/node1",
            "disable health haproxy/node1",
            "disable agent haproxy/node1",
            "set timeout cli 3",
            "show table x",
            "operator",
            "user; show errors; operator",
        ):
            same(pair, command)
        assert_same_rows(pair)


HAPROXYADMIN = """
import sys, warnings
warnings.simplefilter("ignore")
from haproxyadmin import haproxy

proxy = haproxy.HAProxy(socket_file=sys.argv[1])
assert [each.name for each in proxy.frontends()] == ["haproxy"]
(backend,) = proxy.backends()
assert [each.name for each in backend.servers()] == ["node1", "node2", "node3"]
(server,) = proxy.server("node1", backend="haproxy")
weight = lambda: int(server.weight)
shown = (server.status, weight(), server.sid)
assert shown == ("UP", 3, 1), shown
for state, status in (("drain", "DRAIN"), ("maint", "MAINT")):
    assert server.setstate(state) and server.status == status
assert server.setstate("ready") and server.status.startswith("UP")
assert server.setweight(20) and weight() == 20
assert server.setweight("50%") and weight() == 1
assert server.setweight(3) and weight() == 3
assert proxy.command("get weight haproxy/node1")[0][1] == ["3 (initial 3)"]
print(proxy.uptimesec, proxy.totalrequests, proxy.version, server.check_status)
"""


@pytest.mark.parametrize("who", ["haproxy", "edge"])
def test_haproxyadmin_drives_it_unchanged(pair: Pair, who: str) -> None:
    side: Side = getattr(pair, who)
    done = subprocess.run(
        [sys.executable, "-c", HAPROXYADMIN, str(side.socket)],
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("L7OK")
