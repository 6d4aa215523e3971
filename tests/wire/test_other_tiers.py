"""The elb and the cdn alone in front of nodes: where their originals answer otherwise than HAProxy.

A refused connect is 502 at an ALB and 503 at the others, a connect that takes too long 504 at an
ALB, an answer that takes too long 503 at Fastly. With nobody healthy an ALB fails open.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loop_thread import bind_loopback, listen_beside
from tests.origin import Close, Reset, Stall, answer
from tests.wire.stand import Stand, run_stands

pytestmark = pytest.mark.wire

TIER = """
  listen: 127.0.0.1:$port
  timeouts: {connect: 200ms, server: 300ms, client: 1s}
"""
NODE = """
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
CONFIGS = {
    "elb": "elb:" + TIER + "  health_check: {enabled: false}" + NODE,
    "cdn": "cdn:" + TIER + "  default_ttl: 0s" + NODE,
    "haproxy": "haproxy:" + TIER + "  retries: 0\n  health_check: {enabled: false}" + NODE,
    "crowded": "haproxy:\n  max_connections: 2\n  retry_after: 7s\n  health_check: {enabled: false}"
    + TIER
    + NODE,
    "fail open": "elb:"
    + TIER
    + "  health_check: {interval: 50ms, rise: 1, fall: 1, path: /health}"
    + NODE
    + "  - {name: node2, web: 127.0.0.1:$node2}\n",
}
TIERS = ("elb", "cdn", "haproxy")


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands


def status_of(stand: Stand, method: bytes = b"GET") -> int:
    with stand.client() as client:
        client.send(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        return client.read_response(method).status


@pytest.mark.parametrize("tier", TIERS)
def test_served(stands: dict[str, Stand], tier: str) -> None:
    with stands[tier].node() as node:
        assert status_of(stands[tier]) == 200
        assert len(node.requests) == 1


@pytest.mark.parametrize(("tier", "status"), [("elb", 502), ("cdn", 503), ("haproxy", 503)])
def test_refused(stands: dict[str, Stand], tier: str, status: int) -> None:
    assert status_of(stands[tier]) == status


@pytest.mark.parametrize(("tier", "status"), [("elb", 504), ("cdn", 503), ("haproxy", 503)])
def test_blackhole(stands: dict[str, Stand], tier: str, status: int) -> None:
    stand = stands[tier]
    with bind_loopback(stand.ports["node1"]) as bound, listen_beside(bound) as listener:
        listener.listen(0)
        with stand.client("node1"):  # fills the queue: further SYNs are dropped
            assert status_of(stand) == status


@pytest.mark.parametrize(("tier", "status"), [("elb", 504), ("cdn", 503), ("haproxy", 504)])
def test_no_answer_in_time(stands: dict[str, Stand], tier: str, status: int) -> None:
    with stands[tier].node([Stall()]) as node:
        assert status_of(stands[tier]) == status
        assert len(node.requests) == 1


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("tier", TIERS)
def test_state_changing_request_is_never_sent_twice(
    stands: dict[str, Stand], tier: str, end: Close | Reset
) -> None:
    with stands[tier].node([end], [end]) as node:
        assert status_of(stands[tier], b"POST") in (502, 503)
        assert len(node.requests) == 1


@pytest.mark.parametrize("tier", TIERS)
def test_kept_connection_that_dies_is_replaced(stands: dict[str, Stand], tier: str) -> None:
    """Also where the tier has no retries: the node said nothing about this request."""
    script = [[answer(b"one")], [Close()], [answer(b"two")]]
    with stands[tier].node(*script) as node, stands[tier].client() as client:
        assert client.get().body == b"one"
        assert client.get().body == b"two"
        assert [request.connection for request in node.requests] == [0, 0, 1]


def test_pages_are_those_of_the_originals(stands: dict[str, Stand]) -> None:
    pages = {}
    for tier in TIERS:
        with stands[tier].client() as client:
            pages[tier] = client.get()
    assert pages["elb"].values(b"server") == [b"awselb/2.0"]
    assert b"<center><h1>502 Bad Gateway</h1></center>" in pages["elb"].body
    assert pages["haproxy"].body == (
        b"<html><body><h1>503 Service Unavailable</h1>\n"
        b"No server is available to handle this request.\n</body></html>\n"
    )
    assert pages["haproxy"].values(b"cache-control") == [b"no-cache"]
    assert pages["cdn"].status == 503
    for page in pages.values():
        assert page.values(b"content-length") == [b"%d" % len(page.body)]


def test_connections_over_the_limit_are_refused_politely(stands: dict[str, Stand]) -> None:
    stand = stands["crowded"]
    with stand.node():
        with stand.client() as one, stand.client() as two:
            assert one.get().status == two.get().status == 200
            with stand.client() as three:
                response = three.read_response()
                assert response.status == 503
                assert response.values(b"retry-after") == [b"7"]
                assert three.read_to_end() == b""
            assert one.get().status == two.get().status == 200
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["connections_open"] == 0)
        with stand.client() as four:
            assert four.get().status == 200


def test_elb_fails_open(stands: dict[str, Stand]) -> None:
    """With every target unhealthy all of them get traffic; with one healthy only that one."""
    stand = stands["fail open"]
    sick = answer(b"sick", status=b"500 Sick")
    with stand.node(default=[sick]) as one, stand.node(default=[sick], name="node2") as two:
        stand.edge.wait_status(lambda status: usable(status) == {"node1": 0, "node2": 0})
        with stand.client() as client:
            assert [client.get("/x").status for _ in range(4)] == [500] * 4
        asked = [[r.head.target for r in node.requests].count(b"/x") for node in (one, two)]
        assert asked == [2, 2]
        one.default = [answer(b"well")]
        stand.edge.wait_status(lambda status: usable(status) == {"node1": 1, "node2": 0})
        with stand.client() as client:
            assert [client.get("/x").status for _ in range(4)] == [200] * 4


def usable(status: dict) -> dict[str, int]:
    """Which servers are up."""
    servers = status["tiers"][0]["servers"]
    return {server["name"]: int(server["status"].startswith("UP")) for server in servers}
