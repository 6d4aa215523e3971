"""The scriptable origin plays its script and records what it got; the raw client reads strictly."""

from __future__ import annotations

import pytest

from tests.harness import Client, CutShortError
from tests.origin import AtHead, Close, Origin, Pause, Reset, Stall, answer, chunked_answer

pytestmark = pytest.mark.wire

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"


def test_script_in_order_then_default() -> None:
    with Origin([answer(b"1")], [answer(b"2", status=b"404 x")]) as origin:
        with Client(origin.port) as client:
            assert [client.get().body for _ in range(3)] == [b"1", b"2", b"ok"]
        assert [request.connection for request in origin.requests] == [0, 0, 0]
        assert len(origin.wait_connections(1)) == 1
        assert origin.wait_closed(0).closed_by_peer


def test_records_every_byte_and_the_body() -> None:
    data = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"
    with Origin() as origin, Client(origin.port) as client:
        client.send(data + body)
        assert client.read_response().status == 200
        request = origin.wait_requests(1)[0]
        assert (request.raw_head, request.body, request.trailers) == (data, b"abc", [(b"X", b"y")])
        assert request.is_complete
        assert request.values(b"host") == [b"a"]
        assert bytes(origin.connections[0].received) == data + body


def test_pipelined_requests_are_told_apart() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    with Origin() as origin, Client(origin.port) as client:
        client.send(data * 3)
        assert [client.read_response().body for _ in range(3)] == [b"ok"] * 3
        assert [request.body for request in origin.requests] == [b"hi"] * 3


@pytest.mark.parametrize(
    ("end", "error"),
    [(Close(), CutShortError), (Reset(), ConnectionResetError)],
    ids=["close", "reset"],
)
def test_half_an_answer(end: Close | Reset, error: type[Exception]) -> None:
    with (
        Origin([HALF, Pause(0.02), end]) as origin,
        Client(origin.port) as client,
        pytest.raises(error),
    ):
        client.get()


def test_stall_ends_when_the_client_closes() -> None:
    with Origin([Stall()]) as origin:
        with Client(origin.port) as client:
            client.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.get()
        assert origin.wait_closed(0).closed_by_peer


def test_gate_holds_the_answer_back() -> None:
    with Origin() as origin, Client(origin.port) as client:
        gate = origin.gate()
        origin.then(HALF, gate, b"-done")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_head()[0].status == 200
        assert client.read_exactly(4) == b"half"
        gate.open()
        assert client.read_exactly(5) == b"-done"


def test_answer_before_the_body() -> None:
    early = answer(b"too much", status=b"413 x")
    with Origin([AtHead(), early, Close()]) as origin, Client(origin.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        assert client.read_response().status == 413
        assert not origin.requests[0].is_complete


def test_on_connect_before_anything_is_read() -> None:
    with Origin(on_connect=[Reset()]) as origin:
        # The reset may come while the client still connects.
        with pytest.raises(ConnectionResetError), Client(origin.port) as client:
            client.read_to_end()
        assert origin.requests == []


def test_stop_and_start_on_the_same_port() -> None:
    with Origin() as origin:
        with Client(origin.port) as client:
            assert client.get().status == 200
            origin.stop()
            with pytest.raises(ConnectionResetError):
                client.read_to_end()
        with pytest.raises(ConnectionRefusedError):
            Client(origin.port)
        origin.start()
        with Client(origin.port) as client:
            assert client.get().status == 200


def test_close_connections_sends_fin() -> None:
    with Origin() as origin, Client(origin.port) as client:
        assert client.get().status == 200
        origin.close_connections()
        assert client.read_to_end() == b""


def test_malformed_requests_fail_the_with() -> None:
    with (
        pytest.raises(AssertionError, match="RFC 9112"),
        Origin() as origin,
        Client(origin.port) as client,
    ):
        client.send(b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_to_end() == b""


def test_client_reads_chunks_trailers_and_until_close() -> None:
    until_close = b"HTTP/1.1 200 OK\r\n\r\nabc"
    trailers = b"0\r\nX: y\r\n\r\n"
    with Origin(
        [b"HTTP/1.1 103 Early\r\n\r\n", chunked_answer(b"ab", b"c", end=trailers)],
        [chunked_answer(b"ab", end=b""), Close()],
        [until_close, Close()],
    ) as origin:
        with Client(origin.port) as client:
            response = client.get()
            assert (response.body, response.trailers) == (b"abc", [(b"X", b"y")])
            with pytest.raises(CutShortError):
                client.get()
        with Client(origin.port) as client:
            assert client.get().body == b"abc"


def test_client_half_close_and_reset() -> None:
    with Origin() as origin:
        client = Client(origin.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.half_close()
        assert client.read_response().body == b"ok"
        client.close()
        Client(origin.port).reset()
        origin.wait_connections(2)
        assert origin.wait_closed(1).closed_by_peer
