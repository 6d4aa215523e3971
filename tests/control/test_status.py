"""GET /status: its shape, and HAProxy's words for a server's state."""

import os
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from edge.clock import wall
from edge.control.status import build_status, status_json
from ext.limits import AdminState, ServerState
from tests.control.conftest import CHAIN, UNCHECKED, World

BuildWorld = Callable[[str], World]
KEY = "haproxy@node1/node1"


def server_of(built: World, key: str) -> dict[str, Any]:
    tier_name, name = key.split("/")
    status = build_status(built.view, wall())
    tier = next(tier for tier in status["tiers"] if tier["name"] == tier_name)
    found: dict[str, Any] = next(each for each in tier["servers"] if each["name"] == name)
    return found


def test_the_whole_chain_is_shown(world: BuildWorld) -> None:
    built = world(CHAIN)
    status = orjson.loads(status_json(built.view))
    assert [tier["name"] for tier in status["tiers"]] == ["elb", "haproxy@node1", "haproxy@node2"]
    assert [tier["kind"] for tier in status["tiers"]] == ["elb", "haproxy", "haproxy"]
    assert status["listeners"] == [{"tier": "elb", "host": "127.0.0.1", "port": 8081}]
    assert status["generation"] == 7
    assert 100 <= status["uptime_s"] < 200
    elb = status["tiers"][0]
    assert [server["target"] for server in elb["servers"]] == ["haproxy@node1", "haproxy@node2"]
    assert elb["usable_servers"] == 2
    assert elb["counters"]["connections"] == 1
    assert elb["in_flight"] == 4
    node1, node2 = status["tiers"][1]["servers"]
    assert (node1["target"], node1["weight"], node1["backup"]) == ("127.0.0.1:9001", 3, False)
    assert node2["backup"] is True
    assert [server["node"] for server in elb["servers"]] == ["node1", "node2"]
    assert node1["check"]["age_s"] is None, "no check has run"
    assert node1["counters"]["requests"] == 1000 * built.slot(KEY) + 1
    assert node1["in_flight"] == 1000 * built.slot(KEY) + 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "UP 1/5"),
        ({"health": 8, "checked": True}, "UP"),
        ({"health": 6, "checked": True}, "UP 3/5"),
        ({"state": ServerState.DOWN, "health": 0}, "DOWN"),
        ({"state": ServerState.DOWN, "health": 2}, "DOWN 2/4"),
        # A worker's mark-down that control has not adopted yet, and a health it left behind:
        ({"state": ServerState.DOWN, "health": 8}, "DOWN 3/4"),
        ({"health": 8, "admin": AdminState.DRAIN}, "DRAIN"),
        ({"health": 5, "admin": AdminState.DRAIN}, "DRAIN 2/5"),
        ({"state": ServerState.DOWN, "admin": AdminState.DRAIN}, "DOWN"),
        ({"health": 8, "admin": AdminState.MAINT}, "MAINT"),
    ],
)
def test_status_words_are_haproxys(world: BuildWorld, state: dict[str, Any], expected: str) -> None:
    built = world(CHAIN)
    built.arena.set_server(built.slot(KEY), **state)
    assert server_of(built, KEY)["status"] == expected


def test_a_server_without_check_says_so(world: BuildWorld) -> None:
    built = world(UNCHECKED)
    server = server_of(built, "haproxy/node1")
    assert (server["status"], server["check"]) == ("no check", None)


def test_usable_servers_follow_the_states(world: BuildWorld) -> None:
    built = world(CHAIN)
    built.arena.set_server(built.slot(KEY), admin=AdminState.DRAIN)
    tiers = build_status(built.view, wall())["tiers"]
    assert [tier["usable_servers"] for tier in tiers] == [2, 1, 2]


def test_since_is_the_last_change_of_state(world: BuildWorld) -> None:
    built = world(CHAIN)
    before = wall()
    built.arena.set_server(built.slot(KEY), state=ServerState.DOWN)
    server = server_of(built, KEY)
    assert before <= server["since"] <= wall()
    assert 0 <= server["since_s"] < 5


def test_workers_are_the_rows_that_are_not_waiting_for_a_pid(world: BuildWorld) -> None:
    built = world(CHAIN)
    built.arena.claim_row(os.getpid())  # the supervisor's own, until the worker has a pid
    row = built.arena.claim_row(1)
    workers = build_status(built.view, wall())["workers"]
    assert [(worker["pid"], worker["row"]) for worker in workers] == [(1, row)]
    assert workers[0]["connections"] == 0
