"""What happens to a farm of three nodes, row by row; `-k "farm13"`.

Rows that are not here stand where their subject is: killed nodes in test_farm.py, lost zones and a
node that vanishes in test_zones.py, drain, maint and rollout in test_operate.py, reloads in
test_workers.py, backups, queues and nobody up in test_balance_wire.py, fail-open in
test_other_tiers.py, everything at once in test_events.py.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.origin import AnswerTarget, Close, Steps, answer
from tests.wire.load import run_load
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

TIMEOUTS = "timeouts: {connect: 400ms, server: 2s}"
CHECK = "health_check: {path: /health, interval: 50ms, timeout: 2s, rise: 2, fall: 3}"
NODES = """
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
CONFIG = f"haproxy:\n  listen: 127.0.0.1:$port\n  {TIMEOUTS}\n  {CHECK}\n{NODES}"
NAMES = ("node1", "node2", "node3")
REQUESTS = 60  # between two events, over all clients
WELL = answer(b"well")
ILL = answer(b"ill", status=b"500 Ill")


class Node:
    """A node whose health check and pages are told apart by their target."""

    def __init__(self, stand: Stand, name: str) -> None:
        self.name = name
        self.checks: Iterator[bytes] = itertools.repeat(WELL)
        self.pages: Steps = [AnswerTarget()]
        self.origin = stand.node(name=name)
        self.origin.answer_by = self._steps

    def _steps(self, target: bytes) -> Steps:
        return [next(self.checks)] if target == b"/health" else self.pages

    def pages_asked(self) -> int:
        return sum(request.head.target != b"/health" for request in self.origin.requests)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture
def nodes(stand: Stand) -> Iterator[list[Node]]:
    nodes = [Node(stand, name) for name in NAMES]
    wait_health(stand, nodes, is_up=True)
    yield nodes
    for node in nodes:
        node.origin.close()
        assert not node.origin.errors


def servers_of(status: Any, nodes: Sequence[Node]) -> list[Any]:
    names = {node.name for node in nodes}
    return [each for each in status["tiers"][0]["servers"] if each["name"] in names]


def wait_health(stand: Stand, nodes: Sequence[Node], *, is_up: bool) -> None:
    stand.edge.wait_status(
        lambda status: all(
            each["status"].startswith("UP" if is_up else "DOWN")
            for each in servers_of(status, nodes)
        )
    )


def test_farm01_all_down_then_farm02_one_returns(stand: Stand, nodes: list[Node]) -> None:
    """503 at once and the connection is kept; the one that returns serves what comes next on it."""
    for node in nodes:
        node.checks = itertools.repeat(ILL)
    wait_health(stand, nodes, is_up=False)
    with stand.client() as client:
        refused = client.get("/down")
        assert refused.status == 503
        assert refused.values(b"connection") == []
        nodes[1].checks = itertools.repeat(WELL)
        wait_health(stand, nodes[1:2], is_up=True)
        assert client.get("/up").body == b"/up"
    assert [node.pages_asked() for node in nodes] == [0, 1, 0]


def test_farm03_flapping_is_never_down(stand: Stand, nodes: list[Node]) -> None:
    """One success wipes two failures: `fall` counts those in a row."""
    first = nodes[0]

    def failures(status: Any) -> int:
        (server,) = servers_of(status, [first])
        assert server["check"]["times_down"] == before["check"]["times_down"]
        count: int = server["check"]["failures"]
        return count

    (before,) = servers_of(stand.edge.status(), [first])
    first.checks = itertools.cycle((WELL, ILL, ILL))
    stand.edge.wait_status(lambda status: failures(status) > before["check"]["failures"] + 12)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_farm08_node_fails_its_check_before_it_stops(
    stand: Stand, nodes: list[Node], method: bytes
) -> None:
    with run_load(stand.ports["port"], method=method) as load:
        load.wait_done(REQUESTS)
        for node in nodes:
            node.checks = itertools.repeat(ILL)
            wait_health(stand, [node], is_up=False)
            stand.edge.wait_status(
                lambda status, node=node: servers_of(status, [node])[0]["in_flight"] == 0
            )
            node.origin.stop()
            load.wait_done(REQUESTS)
            node.origin.start()
            node.checks = itertools.repeat(WELL)
            wait_health(stand, [node], is_up=True)
        load.wait_done(REQUESTS)
        assert load.refused == 0


# A connection that the kernel has taken in the node's name, and that the node never accepts, is
# reset behind the request. Nothing tells that from a request that was done, so a POST is 502
# then: at most one of each client and stop. No GET may fail.
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("is_new_each", [False, True], ids=["kept", "new connections"])
def test_farm09_node_stops_listening_and_ends_what_runs(
    stand: Stand, nodes: list[Node], method: bytes, is_new_each: bool
) -> None:
    """Nobody is told: not by a check, not by an order."""
    may_be: frozenset[int] = frozenset({502} if method == b"POST" else ())
    with run_load(
        stand.ports["port"], method=method, is_new_each=is_new_each, may_be=may_be
    ) as load:
        load.wait_done(REQUESTS)
        for node in nodes:
            node.pages = [AnswerTarget(is_last=True), Close()]
            node.origin.refuse()
            load.wait_done(REQUESTS)
            node.pages = [AnswerTarget()]
            node.origin.start()
            wait_health(stand, [node], is_up=True)
            load.wait_done(REQUESTS)
        clients = 4  # of run_load
        assert load.refused <= (clients * len(nodes) if method == b"POST" else 0)


def test_farm13_reload_with_a_dead_node(stand: Stand, nodes: list[Node]) -> None:
    """Its state is kept: HAProxy without a state file sends it every third request for a while."""
    dead = nodes[0]
    dead.origin.stop()
    wait_health(stand, [dead], is_up=False)

    def contacts() -> tuple[int, int]:
        (server,) = servers_of(stand.edge.status(), [dead])
        return server["counters"]["requests"], server["counters"]["connect_errors"]

    before = contacts()
    with run_load(stand.ports["port"], method=b"POST") as load:
        generation = stand.edge.status()["generation"]
        for more in (1, 2):
            stand.edge.reload()
            stand.edge.wait_status(lambda s, more=more: s["generation"] == generation + more)
            load.wait_done(REQUESTS)
    assert contacts() == before
    dead.origin.start()
    wait_health(stand, nodes, is_up=True)


def test_farm18_one_proxy_cannot_use_a_node_that_others_can(tmp_path: Path) -> None:
    """Each haproxy has its own opinion: who comes through it avoids the node, others use it."""
    path = tmp_path / "cli"
    config = (
        "elb:\n  listen: 127.0.0.1:$port\n  health_check: {enabled: false}\n"
        "haproxy:\n  health_check: {enabled: false}\n"
        f"  stats: {{socket: {path}, level: admin}}\n{NODES}"
    )
    with (
        run_stand(config, tmp_path) as stand,
        stand.node(default=[AnswerTarget()]) as one,
        stand.node(default=[AnswerTarget()], name="node2") as two,
        stand.node(default=[AnswerTarget()], name="node3") as three,
        stand.client() as client,
    ):
        with socket.socket(socket.AF_UNIX) as cli:
            cli.connect(str(path))
            cli.sendall(b"set server haproxy@node1/node2 state maint\n")
            assert cli.recv(100) == b"\n"
        count = 36
        for number in range(count):
            assert client.get(f"/{number}").body == b"/%d" % number
        assert len(two.requests) == 2 * count // 9
        assert len(one.requests) + len(three.requests) == count - 2 * count // 9
