"""The table of what clients do wrong, row by row, on three tiers; ids as in `-k "client05"`.

Single rows have more cases in test_timeouts.py, test_bodies.py and test_cuts.py. Here each one is
asked of the haproxy tier alone, of the elb alone, and of the whole chain, where the cdn is who the
client speaks to. In each the node must see a request either whole or visibly cut, never one that
was cut and looks whole; and the next client is served.

deviates from HAProxy: a silent connection is closed without a word (there: 408), because browsers
open them in advance; a body that stalls is 408 (there: 504, or 400 from 2.8 on).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.origin import AnswerTarget, Origin, Stall, answer
from tests.wire.stand import Stand, is_at_rest, run_stands

pytestmark = pytest.mark.wire

HEAD_S, CLIENT_S = 0.4, 0.5
SLACK_S = 2.0
TIMEOUTS = "timeouts: {client: 500ms, http_request: 400ms, http_keep_alive: 400ms}"
TIER = f"health_check: {{enabled: false}}\n  {TIMEOUTS}\n"
NODES = "nodes:\n  - {name: node1, web: 127.0.0.1:$node1}\n"
LISTEN = "  listen: 127.0.0.1:$port\n  "
CONFIGS = {
    "haproxy": f"haproxy:\n{LISTEN}{TIER}{NODES}",
    "elb": f"elb:\n{LISTEN}{TIER}{NODES}",
    "chain": f"cdn:\n{LISTEN}{TIMEOUTS}\nelb:\n  {TIER}haproxy:\n  {TIER}{NODES}",
}
GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = {
    "length": POST + b"x" * 50,
    "within a chunk": CHUNKED + b"64\r\n" + b"x" * 50,
    "between chunks": CHUNKED + b"3\r\nabc\r\n",
    "before the last CRLF": CHUNKED + b"3\r\nabc\r\n0\r\n",
}


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands


@pytest.fixture(params=CONFIGS)
def tier(stands: dict[str, Stand], request: pytest.FixtureRequest) -> Iterator[Stand]:
    stand = stands[request.param]
    yield stand
    stand.check()
    stand.edge.wait_status(is_at_rest)
    with stand.node(default=[AnswerTarget()]), stand.client() as client:
        assert client.get("/well").body == b"/well"


@pytest.fixture
def node(tier: Stand) -> Iterator[Origin]:
    with tier.node(default=[AnswerTarget()]) as node:
        yield node


def test_client01_connects_and_is_silent(tier: Stand, node: Origin) -> None:
    began_at = time.monotonic()
    with tier.client() as client:
        assert client.read_to_end() == b""
    assert HEAD_S * 0.9 < time.monotonic() - began_at < HEAD_S + SLACK_S
    assert node.connections == []


def test_client02_drips_its_head(tier: Stand, node: Origin) -> None:
    """408 at one deadline for the whole head."""
    began_at = time.monotonic()
    with tier.client() as client:
        client.socket.settimeout(HEAD_S / 8)
        received = b""
        with contextlib.suppress(ConnectionError):
            while not received and time.monotonic() - began_at < HEAD_S + SLACK_S:
                client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    received = client.read_some()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert HEAD_S * 0.9 < time.monotonic() - began_at < HEAD_S + SLACK_S
    assert node.connections == []


@pytest.mark.parametrize("half", [b"G", GET[:20], GET[:-2]])
def test_client03_half_a_head_then_fin(tier: Stand, node: Origin, half: bytes) -> None:
    with tier.client() as client:
        client.send(half)
        client.half_close()
        assert client.read_response().status == 400
        assert client.read_to_end() == b""
    assert node.connections == []


def test_client04_half_a_head_then_rst(tier: Stand, node: Origin) -> None:
    with tier.client() as client:
        client.send(GET[:20])
        client.reset()
    tier.edge.wait_status(is_at_rest)
    assert node.connections == []


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_client05_body_stalls(tier: Stand, node: Origin, data: bytes) -> None:
    with tier.client() as client:
        client.send(data)
        response = client.read_response()
        assert response.status == 408
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
    tier.edge.wait_status(is_at_rest)
    assert not any(request.is_complete for request in node.requests)


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_client06_body_is_cut(tier: Stand, node: Origin, data: bytes, is_reset: bool) -> None:
    with tier.client() as client:
        client.send(data)
        node.wait_requests(1)
        if is_reset:
            client.reset()
        else:
            client.half_close()
        assert node.wait_closed(0).closed_by_peer
    assert [request.is_complete for request in node.requests] == [False]


@pytest.mark.parametrize("is_post", [False, True], ids=["GET", "POST"])
def test_client07_half_close_after_the_request(tier: Stand, node: Origin, is_post: bool) -> None:
    """Legal: the whole request is there (RFC 9112 §9.6)."""
    data = POST + b"x" * 100 if is_post else GET % 7
    with tier.client() as client:
        client.send(data)
        client.half_close()
        assert client.read_response().body == (b"/" if is_post else b"/7")
        assert client.read_to_end() == b""
    assert node.requests[0].is_complete


def test_client08_get_then_rst_while_waiting(
    stands: dict[str, Stand], tier: Stand, node: Origin
) -> None:
    """Nobody needs the answer, unless the cdn fetches it for its cache."""
    gate = node.gate()
    is_fetch = tier is stands["chain"]
    node.then(*([gate, answer(b"late")] if is_fetch else [Stall()]))
    with tier.client() as client:
        client.send(GET % 8)
        node.wait_requests(1)
        client.reset()
    if not is_fetch:
        assert node.wait_closed(0).closed_by_peer
        return
    gate.open()
    with tier.client() as client:
        client.send(GET % 8)
        assert client.read_response().body == b"late"
    assert len(node.requests) == 1


def test_client08_post_then_rst_while_waiting(tier: Stand, node: Origin) -> None:
    """It runs to its end: half of an order would be worse than one whose answer nobody reads."""
    gate = node.gate()
    node.then(gate, answer(b"done"))
    with tier.client() as client:
        client.send(POST + b"x" * 100)
        node.wait_requests(1)
        client.reset()
    tier.edge.wait_status(lambda s: s["tiers"][0]["counters"]["connections_open"] == 0)
    assert not node.connections[0].closed_by_peer
    gate.open()
    tier.edge.wait_status(is_at_rest)
    assert [request.is_complete for request in node.requests] == [True]


def test_client09_idle_connection(tier: Stand, node: Origin) -> None:
    with tier.client() as client:
        assert client.get("/9").body == b"/9"
        began_at = time.monotonic()
        assert client.read_to_end() == b""
    assert HEAD_S * 0.9 < time.monotonic() - began_at < HEAD_S + SLACK_S
    assert len(node.requests) == 1


def test_client10_pipelines(tier: Stand, node: Origin) -> None:
    post = POST.replace(b" / ", b" /post ") + b"x" * 100
    with tier.client() as client:
        client.send(GET % 10 + post + GET % 11)
        assert [client.read_response().body for _ in range(3)] == [b"/10", b"/post", b"/11"]
    assert all(request.is_complete for request in node.requests)


def test_client11_does_not_read(tier: Stand, node: Origin) -> None:
    """Cut when nothing has moved for `client`; what is held for it meanwhile is bounded."""
    size, piece = 200_000_000, 100_000
    head = b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: %d\r\n\r\n" % size
    node.default = [head, *[b"x" * piece] * (size // piece)]
    began_at = time.monotonic()
    with tier.client() as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        node.wait_requests(1)
        assert node.wait_closed(0).closed_by_peer
        assert time.monotonic() - began_at > CLIENT_S * 0.9
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := client.read_some():
                received += len(data)
        assert received < size
