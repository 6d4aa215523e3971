"""Nodes that die and come back under a small load: what clients lose, and what ran twice.

GET: nothing is lost. POST: what was in flight on a node that is killed is answered 502, never with
silence, and no POST runs twice (RFC 9110 §9.2.2: whether it ran cannot be known).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.origin import AnswerTarget, Origin
from tests.wire.load import Load, run_load
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {interval: 50ms, rise: 1, fall: 2}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
NAMES = ("node1", "node2", "node3")
ROUNDS = 2
REQUESTS = 60  # between two events, over all clients


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture
def nodes(stand: Stand) -> Iterator[list[Origin]]:
    origins = [stand.node(default=[AnswerTarget()], name=name) for name in NAMES]
    wait_all_up(stand)
    yield origins
    for origin in origins:
        origin.close()
        assert not origin.errors


def wait_all_up(stand: Stand) -> None:
    stand.edge.wait_status(
        lambda status: all(s["status"].startswith("UP") for s in status["tiers"][0]["servers"])
    )


def kill_each(stand: Stand, nodes: list[Origin], load: Load) -> None:
    """Kills and starts one node after the other, under the load."""
    load.wait_done(REQUESTS)
    for node in nodes * ROUNDS:
        node.stop()
        load.wait_done(REQUESTS)
        node.start()
        wait_all_up(stand)
        load.wait_done(REQUESTS)


@pytest.mark.parametrize("is_new_each", [False, True], ids=["kept", "new connections"])
def test_killed_nodes_fail_no_get(stand: Stand, nodes: list[Origin], is_new_each: bool) -> None:
    with run_load(stand.ports["port"], is_new_each=is_new_each) as load:
        kill_each(stand, nodes, load)
        assert load.refused == 0


def test_killed_nodes_run_no_post_twice(stand: Stand, nodes: list[Origin]) -> None:
    with run_load(stand.ports["port"], method=b"POST", may_be=frozenset({502})) as load:
        kill_each(stand, nodes, load)
        load.stop()
        runs = Counter(request.head.target for node in nodes for request in node.requests)
        assert max(runs.values()) == 1
        kills = len(nodes) * ROUNDS
        assert load.refused <= 4 * kills, "at most one for each client and kill"
        assert load.done <= len(runs) <= load.done + load.refused


def test_nodes_that_close_their_idle_connections_fail_nothing(
    stand: Stand, nodes: list[Origin]
) -> None:
    """A node's keep-alive time is over, again and again; POST too must not notice."""
    with stand.client() as client:
        for number in range(30):
            nodes[number % 3].close_connections()
            client.send(b"POST /p%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" % number)
            assert client.read_response().body == b"/p%d" % number


def test_failed_connects_take_a_node_out_at_once(stand: Stand, nodes: list[Origin]) -> None:
    """Passive health: the first refused connects are noticed before the next check would."""
    nodes[0].stop()
    with stand.client() as client:
        for number in range(30):
            assert client.get(f"/{number}").body == b"/%d" % number
        stand.edge.wait_status(
            lambda status: not status["tiers"][0]["servers"][0]["status"].startswith("UP")
        )
        asked = len(nodes[1].requests) + len(nodes[2].requests)
        assert asked == 30
    nodes[0].start()
    wait_all_up(stand)
