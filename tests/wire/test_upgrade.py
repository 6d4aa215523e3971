"""Upgrades: after 101 both directions are bytes, and nothing of them is lost or read as HTTP.

RFC 9110 §7.8, RFC 6455 §4. A 101 that nobody asked for would let a node take over the connection.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from tests.harness import Client
from tests.origin import Close, Origin, Receive, Reset, Stall, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {tunnel: 500ms, server: 2s, client: 2s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
WEBSOCKET = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = 5_000_000


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def open_tunnel(client: Client) -> None:
    client.send(WEBSOCKET)
    head, raw = client.read_head()
    assert head.status == 101
    names = {name.lower(): value for name, value in head.headers}
    assert names[b"upgrade"] == b"websocket"
    assert names[b"connection"].lower() == b"upgrade"
    assert names[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert raw.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


def tunnel_bytes(node: Origin, size: int) -> bytes:
    """What the node got behind the head, once it is that many bytes."""
    head = len(node.requests[0].raw_head)
    return node.wait_received(0, head + size)[head:]


def test_request_head_of_an_upgrade(stand: Stand) -> None:
    with stand.node([SWITCH, Stall()]) as node, stand.client() as client:
        open_tunnel(client)
        request = node.requests[0]
        assert request.values(b"upgrade") == [b"websocket"]
        assert [value.lower() for value in request.values(b"connection")] == [b"upgrade"]
        assert request.values(b"sec-websocket-key") == [b"dGhlIHNhbXBsZSBub25jZQ=="]


def test_data_both_ways(stand: Stand) -> None:
    data = GET + b"\x00\xff\r\n"
    script = [SWITCH, b"\x81\x05hello", Receive(len(data)), b"\x81\x05later", Stall()]
    with stand.node(script) as node, stand.client() as client:
        open_tunnel(client)
        assert client.read_exactly(7) == b"\x81\x05hello"
        client.send(data)
        assert client.read_exactly(7) == b"\x81\x05later"
        assert tunnel_bytes(node, len(data)) == data
        assert len(node.requests) == 1


def test_bytes_in_the_segment_of_the_101_are_not_lost(stand: Stand) -> None:
    with stand.node([SWITCH + b"greeting", Stall()]), stand.client() as client:
        open_tunnel(client)
        assert client.read_exactly(8) == b"greeting"


def test_bytes_sent_before_the_101_are_not_lost(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(gate, SWITCH, Stall())
        client.send(WEBSOCKET + b"early")
        node.wait_requests(1)
        client.send(b" bird")
        gate.open()
        assert client.read_head()[0].status == 101
        assert tunnel_bytes(node, 10) == b"early bird"


def test_large_data_both_ways(stand: Stand) -> None:
    data = os.urandom(1 << 16) * (LARGE >> 16)
    with stand.node([SWITCH, data, Stall()]) as node, stand.client() as client:
        open_tunnel(client)
        sender = threading.Thread(target=lambda: client.send(data))
        sender.start()
        assert client.read_exactly(len(data)) == data
        sender.join(10)
        assert tunnel_bytes(node, len(data)) == data


def test_half_close_of_the_client(stand: Stand) -> None:
    """The node still speaks after the client's FIN, and ends when it wants to."""
    with stand.node([SWITCH, Stall()]) as node, stand.client() as client:
        open_tunnel(client)
        client.send(b"bye")
        client.half_close()
        assert node.wait_closed(0).closed_by_peer
        assert tunnel_bytes(node, 3) == b"bye"
        assert client.read_to_end() == b""


def test_end_by_the_node(stand: Stand) -> None:
    with stand.node([SWITCH, b"bye", Close()]), stand.client() as client:
        open_tunnel(client)
        assert client.read_to_end() == b"bye"


def test_reset_by_the_node_is_a_reset(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(SWITCH, gate, Reset())
        open_tunnel(client)
        gate.open()
        with pytest.raises(ConnectionResetError):
            client.read_to_end()


def test_reset_by_the_client_reaches_the_node(stand: Stand) -> None:
    with stand.node([SWITCH, Stall()]) as node:
        client = stand.client()
        open_tunnel(client)
        client.reset()
        assert node.wait_closed(0).closed_by_peer


def test_silent_tunnel_ends_after_its_time(stand: Stand) -> None:
    with stand.node([SWITCH, Stall()]) as node, stand.client() as client:
        open_tunnel(client)
        with contextlib.suppress(ConnectionResetError):
            assert client.read_to_end() == b""
        assert node.wait_closed(0).closed_by_peer


def test_tunnel_lives_while_one_side_speaks(stand: Stand) -> None:
    with stand.node([SWITCH, Stall()]) as node, stand.client() as client:
        open_tunnel(client)
        client.socket.settimeout(0.2)
        for count in range(1, 5):  # 0.8 s, longer than `tunnel`
            client.send(b"x")
            tunnel_bytes(node, count)
            with pytest.raises(TimeoutError):
                client.read_exactly(1)
        client.socket.settimeout(5)
        client.send(b"end")
        assert tunnel_bytes(node, 7) == b"xxxxend"


# -- no upgrade ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"426 Upgrade Required"])
def test_node_that_does_not_upgrade(stand: Stand, status: bytes) -> None:
    with stand.node([answer(b"no", status=status)]) as node, stand.client() as client:
        client.send(WEBSOCKET)
        response = client.read_response()
        assert (response.status, response.body) == (int(status[:3]), b"no")
        assert client.get().status == 200
        assert [request.head.target for request in node.requests] == [b"/chat", b"/"]


def test_request_behind_an_upgrade_that_was_refused(stand: Stand) -> None:
    with stand.node([answer(b"no")]) as node, stand.client() as client:
        client.send(WEBSOCKET + GET)
        assert client.read_response().body == b"no"
        assert client.read_response().body == b"ok"
        assert [request.head.target for request in node.requests] == [b"/chat", b"/"]


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["plain", "Upgrade alone", "Connection alone", "HTTP/1.0"],
)
def test_101_without_being_asked_is_502(stand: Stand, request_: bytes) -> None:
    with stand.node([SWITCH + b"smuggled", Stall()]) as node, stand.client() as client:
        client.send(request_)
        assert client.read_response().status == 502
        assert node.requests[0].values(b"upgrade") == []
        assert node.wait_closed(0).closed_by_peer


def test_upgrade_request_is_not_repeated(stand: Stand) -> None:
    """A node that dies under an upgrade may have opened it."""
    with stand.node([Reset()], [answer(b"again")]) as node, stand.client() as client:
        client.send(WEBSOCKET)
        assert client.read_response().status in (200, 502)
        assert len(node.requests) <= 2
