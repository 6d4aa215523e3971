"""loadtests.events: a short run in which nothing may be lost, and that its ledgers miss nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.event_census import Census, running_things
from loadtests.event_verdict import Disturbances, Kill, NodeLedger, judge, read_node_ledger
from loadtests.events import Wanted, run_events
from loadtests.ledger_clients import Asked, Failure, Ledger

SHORT = Wanted(seconds=8, reloads=2, upgrades=1, worker_kills=2, node_kills=2, rollouts=1)
GET = Asked(1, "GET", "/pass/1", b"")
PUT = Asked(2, "PUT", "/pass/2", b"two")
POST = Asked(3, "POST", "/pass/3", b"three")
WORKER = Kill("worker", 10.0, 10.1, frozenset({4000}))
NODE = Kill("node1", 20.0, 20.1)
CENSUS = Census(
    Counter(worker=2), Counter({"worker pipe:[N]": 2}), Counter({"worker edge-cache": 2}), 2, ("a",)
)


@pytest.mark.wire
def test_a_short_run_loses_nothing(tmp_path: Path) -> None:
    report = run_events(SHORT, 1, tmp_path)
    assert report.faults == []
    assert report.events == {
        "reload": 2,
        "upgrade": 1,
        "worker kill": 2,
        "node kill": 2,
        "rollout": 1,
    }
    assert report.requests["POST"] > 100
    assert min(report.requests[method] for method in ("GET", "HEAD", "PUT")) > 100


def failure(asked: Asked, status: int = 0, port: int = 4001, at: float = 10.0) -> Failure:
    return Failure(asked, "lost", status, port, at, at + 0.5)


def verdict_of(*failures: Failure, nodes: NodeLedger | None = None) -> tuple[int, int]:
    ledger = Ledger(failures=list(failures))
    verdict = judge(ledger, nodes or NodeLedger(), Disturbances([WORKER], [NODE]))
    assert sum(verdict.excused.values()) + len(verdict.faults) == len(failures)
    return verdict.failed_idempotent, verdict.failed_posts


@pytest.mark.parametrize("asked", [GET, PUT, POST], ids=lambda asked: asked.method)
def test_only_connections_of_the_killed_worker_are_excused(asked: Asked) -> None:
    assert verdict_of(failure(asked, port=4000)) == (0, 0)
    is_post = asked is POST
    assert verdict_of(failure(asked, port=4001)) == (not is_post, is_post)
    # The same port later is another connection.
    assert verdict_of(failure(asked, port=4000, at=11.0)) == (not is_post, is_post)


def test_only_a_502_to_a_post_in_flight_at_a_node_is_excused() -> None:
    assert verdict_of(failure(POST, 502, at=19.8)) == (0, 0)
    assert verdict_of(failure(POST, 0, at=19.8)) == (0, 1), "silence"
    assert verdict_of(failure(POST, 503, at=19.8)) == (0, 1)
    assert verdict_of(failure(POST, 502, at=20.2)) == (0, 1)
    assert verdict_of(failure(PUT, 502, at=19.8)) == (1, 0)


def test_what_ran_twice_is_seen() -> None:
    lines = ["begin POST 3", "whole POST 3 5 ff", "begin POST 3", "begin GET 1", "begin GET 1"]
    clients = Ledger(sent={3: (5, 0xFF)}, posts_done={3})
    assert judge(clients, read_node_ledger(lines[:2]), Disturbances()).faults == ()
    verdict = judge(clients, read_node_ledger(lines), Disturbances())
    assert (verdict.posts_twice, verdict.faults) == (1, ("POST 3 was sent 2 times",))


def test_a_put_may_run_twice_but_only_with_its_own_body() -> None:
    lines = ["begin PUT 2", "cut PUT 2 1", "begin PUT 2", "whole PUT 2 3 ff", "whole PUT 2 3 ff"]
    clients = Ledger(sent={2: (3, 0xFF)})
    nodes = read_node_ledger(lines)
    assert (nodes.cut, nodes.lines) == (1, 5)
    assert judge(clients, nodes, Disturbances()).faults == ()
    wrong = read_node_ledger([*lines, "whole PUT 2 2 ff"])
    assert len(judge(clients, wrong, Disturbances()).faults) == 1


def test_an_answered_post_was_carried_out_once() -> None:
    clients = Ledger(sent={3: (5, 0xFF)}, posts_done={3})
    assert len(judge(clients, read_node_ledger(["begin POST 3"]), Disturbances()).faults) == 1


@pytest.mark.parametrize(
    "after",
    [
        replace(CENSUS, processes=Counter(worker=3)),
        replace(CENSUS, descriptors=Counter({"worker pipe:[N]": 3})),
        replace(CENSUS, mappings=Counter({"worker edge-cache": 2, "worker edge-arena": 1})),
        replace(CENSUS, rows=3),
        replace(CENSUS, slots=("a", "b")),
    ],
)
def test_census_tells_what_has_grown(after: Census) -> None:
    assert list(CENSUS.differences(CENSUS)) == []
    assert len(list(CENSUS.differences(after))) == 1


def test_census_leaves_out_who_is_there_once() -> None:
    guest = replace(CENSUS, descriptors=CENSUS.descriptors + Counter({"control socket:[N]": 1}))
    assert guest.without_guests(CENSUS) == CENSUS.without_guests(guest) == CENSUS
    assert guest.without_guests(guest) == guest


@pytest.mark.parametrize("name", ["in_flight", "connections_open", "connections_idle"])
def test_running_things_of_a_server(name: str) -> None:
    counters = {"connections_open": 0, "connections_idle": 0}
    server = {"name": "n", "in_flight": 0, "counters": counters}
    tier = {
        "name": "t",
        "in_flight": 0,
        "counters": {"queued": 0, "connections_open": 0},
        "servers": [server],
    }
    status = {"tiers": [tier], "cache": {"fills": 0, "leases": 0}}
    assert list(running_things(status)) == []
    if name == "in_flight":
        server["in_flight"] = 1
    else:
        counters[name] = 1
    assert list(running_things(status)) == [f"t/n: {name} 1"]
