"""What rules and backends have to do with servers: queues by priority, retries, limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.origin import answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  nodes: [node1]
  http_request:
    - set-priority-class req.hdr(x-class)
    - disable-l7-retry if { path /once }
    - return status 200 content-type text/plain lf-string "%[queue(api)]" if { path /queue }
  use_backend: ["api if { req.hdr(x-backend) api }"]
  backends:
    api: {nodes: [node2], server_maxconn: 1, retry_on: [503], retry_unsafe: true}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
"""
API = b"X-Backend: api"
BUSY = (answer(b"no", status=b"503 Service Unavailable"),)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def test_the_lowest_class_goes_first_in_a_backends_queue(stand: Stand) -> None:
    with stand.node(name="node2") as node, ExitStack() as stack:
        gate = node.gate()
        node.then(gate, answer())
        asked = [("/busy", 0), ("/late", 5), ("/plain", 0), ("/urgent", -5)]
        clients = [stack.enter_context(stand.client()) for _ in asked]
        for number, (client, (path, priority)) in enumerate(zip(clients, asked, strict=True)):
            head = (
                f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Backend: api\r\nX-Class: {priority}\r\n\r\n"
            )
            client.send(head.encode())
            if number == 0:
                node.wait_requests(1)
            stand.edge.wait_status(lambda status, n=number: queued(status) == n)
        with stand.client() as client:
            assert client.get("/queue").body == b"3"
        gate.open()
        assert [client.read_response().status for client in clients] == [200] * 4
        targets = [request.head.target for request in node.requests]
        assert targets == [b"/busy", b"/urgent", b"/plain", b"/late"]


def queued(status: dict[str, list[dict[str, dict[str, int]]]]) -> int:
    return sum(tier["counters"]["queued"] for tier in status["tiers"])


def test_a_backend_has_its_own_limit_and_its_frontend_none(stand: Stand) -> None:
    with stand.node() as node, ExitStack() as stack:
        gates = [node.gate() for _ in range(2)]
        for gate in gates:
            node.then(gate, answer())
        clients = [stack.enter_context(stand.client()) for _ in range(2)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        node.wait_requests(2)
        for gate in gates:
            gate.open()
        assert [client.read_response().status for client in clients] == [200, 200]


@pytest.mark.parametrize(
    ("path", "header", "status", "requests"),
    [("/", API, 200, 2), ("/once", API, 503, 1), ("/", b"X-A: 1", 503, 1)],
)
def test_a_status_is_retried_where_the_backend_and_its_rules_say(
    stand: Stand, path: str, header: bytes, status: int, requests: int
) -> None:
    name = "node2" if header == API else "node1"
    with stand.node(BUSY, name=name) as node, stand.client() as client:
        assert client.get(path, header).status == status
        assert len(node.requests) == requests
