"""Deadlines and ends on the client's side: slow heads, slow bodies, idle and half-closed clients.

The rows of the table of client faults: what a load balancer of the cluster does with each. The
deadlines in the file are short; a hang ends in the test client's own deadline.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.origin import Pause, Stall, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {client: 300ms, server: 500ms, http_request: 200ms, http_keep_alive: 300ms,
             tunnel: 300ms}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


# -- heads --------------------------------------------------------------------------------------


def test_silent_client_is_let_go(stand: Stand) -> None:
    """408 or a silent close: browsers open connections in advance and never use them."""
    with stand.node() as node, stand.client() as client:
        data = client.read_to_end()
        assert data == b"" or data.startswith(b"HTTP/1.1 408 ")
        assert node.connections == []


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHo", GET[:-2]])
def test_rfc9110_15_5_9_slow_head(stand: Stand, start: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(start)
        response = client.read_response()
        assert response.status == 408
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert node.connections == []


def test_dripping_head_has_one_deadline_in_all(stand: Stand) -> None:
    """More bytes do not extend it: one byte a moment would hold a connection for ever."""
    with stand.node(), stand.client() as client:
        before = time.monotonic()
        client.socket.settimeout(0.05)
        for byte in GET * 10:
            try:
                client.send(bytes((byte,)) if byte not in b"\r\n" else b"x")
                if client.read_some():
                    break
            except TimeoutError:
                continue
        else:
            pytest.fail("no answer to an endless head")
        assert 0.15 < time.monotonic() - before < 5


def test_slow_second_head_on_a_kept_connection(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        assert client.get().status == 200
        client.send(GET[:10])
        assert client.read_response().status == 408
        assert client.read_to_end() == b""


def test_slow_head_behind_a_pipelined_request(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        client.send(GET + GET[:10])
        assert client.read_response().status == 200
        assert client.read_response().status == 408


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_half_a_head_then_fin(stand: Stand, start: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(start)
        client.half_close()
        response = client.read_response()
        assert response.status == 400
        assert client.read_to_end() == b""
        assert node.connections == []


def test_rst_in_a_head_is_counted_and_nothing_else(stand: Stand) -> None:
    with stand.node() as node:
        client = stand.client()
        client.send(GET[:10])
        client.reset()
        with stand.client() as other:
            assert other.get().status == 200
        assert len(node.requests) == 1


def test_connection_without_a_byte_then_fin(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.half_close()
        assert client.read_to_end() == b""
        assert node.connections == []


# -- idle ---------------------------------------------------------------------------------------


def test_idle_connection_is_closed_in_silence(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        assert client.get().status == 200
        assert client.read_to_end() == b""


def test_keep_alive_starts_anew_with_each_request(stand: Stand) -> None:
    with stand.node(default=[Pause(0.15), answer(b"x")]) as node, stand.client() as client:
        for _ in range(4):
            assert client.get().status == 200
        assert len(node.connections) == 1


# -- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [POST, POST + b"abc", CHUNKED + b"5\r\nab", CHUNKED + b"2\r\nab\r\n"],
    ids=["nothing of it", "a part", "in a chunk", "between chunks"],
)
def test_slow_body(stand: Stand, data: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(data)
        response = client.read_response()
        assert response.status == 408
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert node.wait_closed(0).closed_by_peer
        assert not node.requests[0].is_complete


def test_slow_body_within_the_deadline(stand: Stand) -> None:
    """The deadline is one of silence: the whole may take longer."""
    with stand.node() as node, stand.client() as client:
        client.send(POST)
        client.socket.settimeout(0.1)
        for _ in range(5):
            client.send(b"x" * 20)
            try:
                assert client.read_response().status == 200
            except TimeoutError:
                continue
        client.socket.settimeout(5)
        assert node.wait_requests(1)[0].body == b"x" * 100


# -- clients that go ----------------------------------------------------------------------------


def test_half_close_after_a_request_is_legal(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        client.half_close()
        node.wait_requests(1)
        gate.open()
        assert client.read_response().body == b"late"
        assert client.read_to_end() == b""


def test_half_close_after_two_pipelined_requests(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        client.send(GET * 2)
        client.half_close()
        assert [client.read_response().body for _ in range(2)] == [b"ok", b"ok"]
        assert client.read_to_end() == b""


def test_reset_while_waiting_aborts_the_node_request(stand: Stand) -> None:
    with stand.node([Stall()]) as node:
        client = stand.client()
        client.send(GET)
        node.wait_requests(1)
        client.reset()
        assert node.wait_closed(0).closed_by_peer


def test_reset_while_waiting_lets_a_post_run(stand: Stand) -> None:
    """Half of an order would be worse than one whose answer nobody reads."""
    with stand.node([Stall()]) as node:
        client = stand.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        node.wait_requests(1)
        client.reset()
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["connections_open"] == 0)
        with stand.client() as other:  # what edge did about the reset has come before this
            assert other.get().status == 200
        assert not node.connections[0].closed_by_peer


def test_reset_in_the_answer_aborts_the_node_request(stand: Stand) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
    with stand.node([half, Stall()]) as node:
        client = stand.client()
        client.send(GET)
        assert client.read_head()[0].status == 200
        client.reset()
        assert node.wait_closed(0).closed_by_peer


def test_client_that_does_not_read_is_let_go(stand: Stand) -> None:
    """After `client` without progress the connection is cut, and the node's with it."""
    size = 100_000_000
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    pieces = [b"x" * 100_000] * (size // 100_000)
    with stand.node([large, *pieces]) as node, stand.client() as client:
        client.send(GET)
        node.wait_requests(1)
        assert node.wait_closed(0).closed_by_peer
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := client.read_some():
                received += len(data)
        assert received < size


# -- nodes that are slow ------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_node_that_never_answers(stand: Stand, method: bytes) -> None:
    with stand.node([Stall()]) as node, stand.client() as client:
        client.send(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert client.read_response().status == 504
        assert node.wait_closed(0).closed_by_peer
        assert client.get().status == 200
        assert [request.head.method for request in node.requests] == [method, b"GET"]


def test_node_that_drips_within_the_deadline(stand: Stand) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    drips = [step for _ in range(4) for step in (Pause(0.2), b"x")]
    with stand.node([Pause(0.2), head, *drips]), stand.client() as client:
        assert client.get().body == b"xxxx"


def test_node_that_stands_still_in_a_body(stand: Stand) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
    with stand.node([half, Stall()]) as node, stand.client() as client:
        client.send(GET)
        assert client.read_to_end().endswith(b"\r\n\r\nhalf")
        assert node.wait_closed(0).closed_by_peer
