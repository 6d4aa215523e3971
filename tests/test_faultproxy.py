"""Each command of the fault proxy does to a connection what it says."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.faultproxy import TO_TARGET, FaultProxy
from tests.harness import Client, CutShortError
from tests.origin import Origin, answer

pytestmark = pytest.mark.wire

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(default=[answer(b"x" * 1000)]) as node:
        yield node


@pytest.fixture
def proxy(origin: Origin) -> Iterator[FaultProxy]:
    with FaultProxy(origin.port) as proxy:
        yield proxy


def test_no_faults(proxy: FaultProxy) -> None:
    with Client(proxy.port) as client:
        assert client.get().body == b"x" * 1000
        assert client.get().body == b"x" * 1000
    assert proxy.connections == 1


def test_split_to_target(proxy: FaultProxy, origin: Origin) -> None:
    proxy.split(1, TO_TARGET)
    with Client(proxy.port) as client:
        assert client.get().status == 200
    assert proxy.bytes_sent[TO_TARGET] == len(origin.connections[0].received)


def test_split_to_client_arrives_in_pieces(proxy: FaultProxy) -> None:
    proxy.split(10)
    proxy.throttle(2000)
    with Client(proxy.port) as client:
        client.send(REQUEST)
        assert len(client.socket.recv(65536)) <= 100


def test_delay(proxy: FaultProxy) -> None:
    proxy.delay(0.2)
    with Client(proxy.port) as client:
        before = time.monotonic()
        assert client.get().status == 200
        assert time.monotonic() - before >= 0.2


def test_throttle(proxy: FaultProxy) -> None:
    proxy.throttle(5000)
    with Client(proxy.port) as client:
        before = time.monotonic()
        assert client.get().status == 200
        assert time.monotonic() - before >= 0.15


def test_cut_after_bytes(proxy: FaultProxy) -> None:
    proxy.cut(100)
    with Client(proxy.port) as client:
        client.send(REQUEST)
        assert len(client.read_to_end()) == 100


def test_cut_within_a_request(proxy: FaultProxy, origin: Origin) -> None:
    proxy.cut(10, TO_TARGET)
    with Client(proxy.port) as client:
        client.send(REQUEST)
        with pytest.raises(CutShortError):
            client.read_response()
    origin.wait_connections(1)
    assert bytes(origin.wait_closed(0).received) == REQUEST[:10]


def test_reset_after_bytes(proxy: FaultProxy) -> None:
    proxy.reset(after_bytes=100)
    with Client(proxy.port) as client:
        client.send(REQUEST)
        with pytest.raises(ConnectionResetError):
            client.read_to_end()


def test_reset_at_once(proxy: FaultProxy, origin: Origin) -> None:
    proxy.reset(direction=TO_TARGET)
    with Client(proxy.port) as client:
        client.send(REQUEST)
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    assert origin.requests == []


def test_blackhole_accepts_and_never_answers(proxy: FaultProxy, origin: Origin) -> None:
    proxy.blackhole()
    with Client(proxy.port) as client:
        client.socket.settimeout(0.2)
        client.send(REQUEST)
        with pytest.raises(TimeoutError):
            client.read_response()
    assert origin.requests == []
    proxy.clear()
    with Client(proxy.port) as client:
        assert client.get().status == 200


def test_refuse_and_accept_on_the_same_port(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        Client(proxy.port)
    proxy.accept()
    with Client(proxy.port) as client:
        assert client.get().status == 200


def test_refuse_leaves_running_connections(proxy: FaultProxy) -> None:
    with Client(proxy.port) as client:
        assert client.get().status == 200
        proxy.refuse()
        assert client.get().status == 200


def test_cut_all_and_reset_all(proxy: FaultProxy) -> None:
    with Client(proxy.port) as cut:
        assert cut.get().status == 200
        proxy.cut_all()
        assert cut.read_to_end() == b""
    with Client(proxy.port) as reset:
        assert reset.get().status == 200
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            reset.read_to_end()


def test_wait_connections(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)):
        proxy.wait_connections(1)
    with pytest.raises(AssertionError):
        proxy.wait_connections(2, timeout_s=0.01)


def test_target_that_refuses_resets_the_client(proxy: FaultProxy, origin: Origin) -> None:
    origin.stop()
    with pytest.raises(ConnectionResetError), Client(proxy.port) as client:
        client.send(REQUEST)
        client.read_to_end()
