"""Limits of servers, their queues, and which kept connection a request may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.harness import Client
from tests.origin import Origin, answer
from tests.wire.stand import Stand, run_stands

pytestmark = pytest.mark.wire

TIER = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {connect: 400ms, queue: 5s}
"""
ONE = """
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
CONFIGS = {
    "minconn": TIER
    + """  fullconn: 4
nodes:
  - {name: node1, web: 127.0.0.1:$node1, maxconn: 2, minconn: 1}
""",
    "maxqueue": TIER
    + """  redispatch: false
nodes:
  - {name: node1, web: 127.0.0.1:$node1, maxconn: 1, maxqueue: 1}
""",
    **{f"reuse {name}": TIER + f"  http_reuse: {name}\n" + ONE
       for name in ("never", "safe", "aggressive", "always")},
    "no pool": TIER + "  pool_purge_delay: 0s\n" + ONE,
    "purge": TIER + "  pool_purge_delay: 100ms\n" + ONE,
}  # fmt: skip
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands
        for stand in stands.values():
            stand.check()


def say(client: Client, request: bytes) -> int:
    client.send(request)
    return client.read_response().status


def server(status: Any) -> Any:
    return status["tiers"][0]["servers"][0]["counters"]


def test_minconn_grows_to_maxconn_at_fullconn(stands: dict[str, Stand]) -> None:
    stand = stands["minconn"]
    with stand.node() as node, ExitStack() as stack:
        gates = [node.gate() for _ in range(4)]
        for gate in gates:
            node.then(gate, answer())
        clients = [stack.enter_context(stand.client()) for _ in range(4)]
        for count, client in enumerate(clients[:3], 1):
            client.send(GET)
            stand.edge.wait_status(lambda s, n=count: s["tiers"][0]["in_flight"] == n)
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["queued"] == 2)
        assert len(node.requests) == 1
        clients[3].send(GET)  # the tier is full: 2 at once
        node.wait_requests(2)
        for gate in gates:
            gate.open()
        assert [client.read_response().status for client in clients] == [200] * 4


def test_who_belongs_to_a_server_waits_for_it_up_to_maxqueue(stands: dict[str, Stand]) -> None:
    """Without redispatch a retry belongs to its server: one waits there, the next one may not."""
    stand = stands["maxqueue"]
    with ExitStack() as stack:
        retrying = [stack.enter_context(stand.client()) for _ in range(2)]
        for client in retrying:
            client.send(GET)  # refused: nothing listens
        stand.edge.wait_status(lambda s: server(s)["connect_errors"] >= 2)
        node = stack.enter_context(stand.node())
        gate = node.gate()
        node.then(gate, answer(b"first"))
        busy = stack.enter_context(stand.client())
        busy.send(GET)
        node.wait_requests(1)
        stand.edge.wait_status(lambda s: server(s)["queued"] == 1)
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["responses_5xx"] == 1)
        gate.open()
        assert busy.read_response().body == b"first"
        assert sorted(client.read_response().status for client in retrying) == [200, 503]
        stand.edge.wait_status(lambda s: server(s)["queued"] == 0)


def used(node: Origin, first: bytes, request: bytes, *, again: bool, stand: Stand) -> list[int]:
    """The server connections of: client 1 says `first` (twice if `again`), client 2 says
    `request` twice."""
    with stand.client() as one, stand.client() as two:
        for _ in range(2 if again else 1):
            assert say(one, first) == 200
        for _ in range(2):
            assert say(two, request) == 200
        assert say(one, GET) == 200
    return [request.connection for request in node.requests]


@pytest.mark.parametrize(
    ("name", "request_", "again", "connections"),
    [
        ("never", GET, False, [0, 1, 1, 0]),
        ("never", POST, True, [0, 0, 1, 1, 0]),
        ("safe", GET, False, [0, 0, 0, 0]),
        ("safe", POST, True, [0, 0, 1, 1, 1]),
        ("aggressive", GET, False, [0, 0, 0, 0]),
        ("aggressive", POST, False, [0, 1, 1, 1]),
        ("aggressive", POST, True, [0, 0, 0, 0, 0]),
        ("always", GET, False, [0, 0, 0, 0]),
        ("always", POST, False, [0, 0, 0, 0]),
    ],
)
def test_http_reuse(
    stands: dict[str, Stand], name: str, request_: bytes, again: bool, connections: list[int]
) -> None:
    stand = stands[f"reuse {name}"]
    with stand.node() as node:
        assert used(node, GET, request_, again=again, stand=stand) == connections


def test_a_pool_of_nothing(stands: dict[str, Stand]) -> None:
    stand = stands["no pool"]
    with stand.node() as node, stand.client() as client:
        assert [say(client, GET) for _ in range(3)] == [200] * 3
        assert [request.connection for request in node.requests] == [0, 1, 2]


def test_purge_closes_what_is_not_needed_before_its_time(stands: dict[str, Stand]) -> None:
    """Half of the surplus each 100 ms; by age a connection would end after 4 s."""
    stand = stands["purge"]
    with stand.node() as node, ExitStack() as stack:
        gate = node.gate()
        clients = [stack.enter_context(stand.client()) for _ in range(4)]
        for client in clients:
            node.then(gate, answer())
            client.send(GET)
        node.wait_requests(4)
        gate.open()
        assert [client.read_response().status for client in clients] == [200] * 4
        for connection in range(4):
            node.wait_closed(connection, 3.0)
