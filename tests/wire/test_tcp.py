"""Listeners of `mode tcp`: bytes as they are, ends as they are, a server for each connection."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.harness import Client
from tests.wire.raw import RawServer, read_exactly, read_to_end, reset
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
tcp:
  - name: one
    listen: 127.0.0.1:$port
    servers: [{name: s1, address: 127.0.0.1:$s1}]
    health_check: {enabled: false}
  - name: two
    listen: 127.0.0.1:$two
    servers: [{name: s1, address: 127.0.0.1:$s1}, {name: s2, address: 127.0.0.1:$s2}]
    balance: leastconn
    health_check: {enabled: false}
  - name: narrow
    listen: 127.0.0.1:$narrow
    servers: [{name: s1, address: 127.0.0.1:$s1, maxconn: 1}]
    timeouts: {queue: 300ms}
    health_check: {enabled: false}
  - name: brief
    listen: 127.0.0.1:$brief
    servers: [{name: s1, address: 127.0.0.1:$s1}]
    timeouts: {client: 60s, server: 60s, tunnel: 500ms}
    health_check: {enabled: false}
  - name: ends
    listen: 127.0.0.1:$ends
    servers: [{name: s1, address: 127.0.0.1:$s1}]
    timeouts: {client_fin: 300ms, server_fin: 300ms}
    health_check: {enabled: false}
  - name: none
    listen: 127.0.0.1:$none
    retries: 0
    servers: [{name: s1, address: 127.0.0.1:$refusing}]
    health_check: {enabled: false}
  - name: again
    listen: 127.0.0.1:$again
    servers: [{name: s1, address: 127.0.0.1:$s1}]
    redispatch: false
    health_check: {enabled: false}
nodes: [{name: n1, role: core}]
"""
BULK_BYTES = 24 << 20
READ_BYTES = 131_072  # ext/limits.pxd: one read, which is what a direction holds


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture
def server(stand: Stand) -> Iterator[RawServer]:
    with RawServer(stand.ports["s1"]) as server:
        yield server


def counters(stand: Stand, tier: str) -> Any:
    found = next(each for each in stand.edge.status()["tiers"] if each["name"] == tier)
    return found["counters"] | {"servers": [each["counters"] for each in found["servers"]]}


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# -- bytes ---------------------------------------------------------------------------------------


def test_the_server_may_speak_first(stand: Stand, server: RawServer) -> None:
    with stand.client() as client:
        connection = server.accept()
        connection.sendall(b"J\x00\x00\x00\n8.0.0")
        assert client.read_exactly(10) == b"J\x00\x00\x00\n8.0.0"
        client.send(b"\x00\xff\r\n\r\n")
        assert read_exactly(connection, 6) == b"\x00\xff\r\n\r\n"


def test_what_is_said_before_the_server_stands_is_kept(stand: Stand) -> None:
    """A whole exchange, FIN included, of a client that does not wait."""
    before = counters(stand, "one")["servers"][0]["connect_errors"]
    with stand.client() as client:
        client.send(b"early bird")
        client.half_close()
        stand.edge.wait_status(
            lambda status: status["tiers"][0]["servers"][0]["counters"]["connect_errors"] > before
        )
        with RawServer(stand.ports["s1"]) as server:  # the next try is within a second
            connection = server.accept()
            assert read_to_end(connection) == b"early bird"
            connection.sendall(b"worm")
            connection.close()
            assert client.read_to_end() == b"worm"


def test_bulk_in_both_directions(stand: Stand, server: RawServer) -> None:
    there = os.urandom(1 << 16) * (BULK_BYTES >> 16)
    back = os.urandom(1 << 16) * (BULK_BYTES >> 16)
    with stand.client() as client:
        connection = server.accept()
        got: dict[str, bytes] = {}
        workers = [
            in_background(lambda: client.send(there)),
            in_background(lambda: connection.sendall(back)),
            in_background(lambda: got.update(there=read_exactly(connection, len(there)))),
        ]
        got["back"] = client.read_exactly(len(back))
        for worker in workers:
            worker.join(30)
        assert hashlib.sha256(got["there"]).digest() == hashlib.sha256(there).digest()
        assert hashlib.sha256(got["back"]).digest() == hashlib.sha256(back).digest()


@pytest.mark.parametrize("is_server_slow", [True, False], ids=["server", "client"])
def test_who_does_not_read_stops_the_other_side(
    stand: Stand, server: RawServer, is_server_slow: bool
) -> None:
    """No more than one read is held, and the kernel's buffers; nothing of it is lost."""
    data = os.urandom(1 << 16) * (BULK_BYTES >> 16)
    with stand.client() as client:
        connection = server.accept()
        source, sink = client.socket, connection
        if not is_server_slow:
            source, sink = connection, client.socket
        worker = psutil.Process(stand.worker_pid())
        before = worker.memory_info().rss
        source.setblocking(False)
        sent = 0
        pause = threading.Event()
        for _ in range(20):  # until nothing moves any more
            try:
                while sent < len(data):
                    sent += source.send(data[sent : sent + 65_536])
            except BlockingIOError:
                pause.wait(0.02)
        assert sent < len(data)
        assert worker.memory_info().rss - before < 8 * READ_BYTES
        source.settimeout(10)
        rest = in_background(lambda: source.sendall(data[sent:]))
        sink.settimeout(10)
        assert read_exactly(sink, len(data)) == data
        rest.join(10)


# -- ends ----------------------------------------------------------------------------------------


def test_half_close_of_the_client(stand: Stand, server: RawServer) -> None:
    with stand.client() as client:
        connection = server.accept()
        client.send(b"that is all")
        client.half_close()
        assert read_to_end(connection) == b"that is all"
        connection.sendall(b"understood")
        connection.close()
        assert client.read_to_end() == b"understood"


def test_half_close_of_the_server(stand: Stand, server: RawServer) -> None:
    with stand.client() as client:
        connection = server.accept()
        connection.sendall(b"that is all")
        connection.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b"that is all"
        client.send(b"understood")
        client.close()
        assert read_to_end(connection) == b"understood"


def test_bytes_held_for_a_slow_reader_come_before_the_fin(stand: Stand, server: RawServer) -> None:
    data = os.urandom(1 << 16) * (BULK_BYTES >> 16)
    with stand.client() as client:
        connection = server.accept()

        def speak() -> None:
            connection.sendall(data)
            connection.close()

        speaker = in_background(speak)
        client.half_close()
        threading.Event().wait(0.1)  # the client reads late; nothing depends on how late
        assert client.read_to_end() == data
        speaker.join(10)


def test_reset_by_the_server_is_a_reset(stand: Stand, server: RawServer) -> None:
    before = counters(stand, "one")["servers"][0]["server_aborts"]
    with stand.client() as client:
        connection = server.accept()
        connection.sendall(b"half an ans")
        assert client.read_exactly(11) == b"half an ans"
        reset(connection)
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    assert counters(stand, "one")["servers"][0]["server_aborts"] == before + 1


def test_reset_by_the_client_is_a_reset(stand: Stand, server: RawServer) -> None:
    client = stand.client()
    connection = server.accept()
    client.send(b"half a quest")
    assert read_exactly(connection, 12) == b"half a quest"
    client.reset()
    with pytest.raises(ConnectionResetError):
        read_to_end(connection)


def test_what_a_server_says_last_is_heard_though_it_resets_what_comes(
    stand: Stand, server: RawServer
) -> None:
    """It closes with unread input: its answer, then a RST for more."""
    with stand.client() as client:
        connection = server.accept()
        connection.sendall(b"ERR too many connections")
        assert client.read_exactly(24) == b"ERR too many connections"
        client.send(b"x")
        connection.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                client.send(b"more")
                client.read_some()


# -- time ----------------------------------------------------------------------------------------


def test_silence_of_both_ends_the_connection(stand: Stand, server: RawServer) -> None:
    with stand.client("brief") as client:
        connection = server.accept()
        for _ in range(4):  # 0.8 s, in one direction only
            threading.Event().wait(0.2)
            connection.sendall(b"x")
        assert client.read_exactly(4) == b"xxxx"
        assert client.read_to_end() == b""
        assert read_to_end(connection) == b""


@pytest.mark.parametrize("is_client_first", [True, False])
def test_half_closed_connections_have_a_time_of_their_own(
    stand: Stand, server: RawServer, is_client_first: bool
) -> None:
    """`client` and `server` are 50 s."""
    with stand.client("ends") as client:
        connection = server.accept()
        first, second = (client.socket, connection)[:: 1 if is_client_first else -1]
        first.shutdown(socket.SHUT_WR)
        assert read_to_end(second) == b""
        assert read_to_end(first) == b""


# -- servers -------------------------------------------------------------------------------------


def test_no_server_closes_the_client(stand: Stand) -> None:
    before = counters(stand, "none")["servers"][0]["connect_errors"]
    with stand.client("none") as client:
        assert client.read_to_end() == b""
    assert counters(stand, "none")["servers"][0]["connect_errors"] == before + 1


def test_refused_connect_goes_to_another_server(stand: Stand) -> None:
    with RawServer(stand.ports["s2"]) as other:
        for _ in range(2):
            with stand.client("two") as client:
                connection = other.accept()
                client.send(b"hello")
                assert read_exactly(connection, 5) == b"hello"
    found = counters(stand, "two")
    assert found["redispatches"] == found["servers"][0]["redispatches"] >= 1


def test_refused_connect_is_tried_again_on_the_same_server(stand: Stand) -> None:
    with stand.client("again") as client:
        stand.edge.wait_status(
            lambda _: counters(stand, "again")["servers"][0]["connect_errors"] > 0
        )
        with RawServer(stand.ports["s1"]) as server:
            connection = server.accept()
            client.send(b"hello")
            assert read_exactly(connection, 5) == b"hello"
    assert counters(stand, "again")["retries"] >= 1


def test_least_connections(stand: Stand, server: RawServer) -> None:
    with RawServer(stand.ports["s2"]) as other:
        clients = [stand.client("two") for _ in range(4)]
        for each in (server, other):
            each.accept()
            each.accept()
        for client in clients:
            client.close()


def test_a_full_server_lets_the_next_wait(stand: Stand, server: RawServer) -> None:
    with stand.client("narrow") as first, stand.client("narrow") as second:
        connection = server.accept()
        second.send(b"next")
        stand.edge.wait_status(lambda _: counters(stand, "narrow")["queued"] == 1)
        first.close()
        assert read_to_end(connection) == b""
        connection.close()
        assert read_exactly(server.accept(), 4) == b"next"


def test_who_waits_too_long_is_closed(stand: Stand, server: RawServer) -> None:
    with stand.client("narrow") as first, stand.client("narrow") as second:
        server.accept()
        assert second.read_to_end() == b""
        assert counters(stand, "narrow")["queue_timeouts"] >= 1
        first.send(b"still here")


def test_a_client_that_leaves_the_queue_is_gone(stand: Stand, server: RawServer) -> None:
    with stand.client("narrow") as first:
        connection = server.accept()
        second = stand.client("narrow")
        stand.edge.wait_status(lambda _: counters(stand, "narrow")["queued"] == 1)
        second.reset()
        stand.edge.wait_status(lambda _: counters(stand, "narrow")["queued"] == 0)
        first.send(b"alive")
        assert read_exactly(connection, 5) == b"alive"


def test_counters(stand: Stand, server: RawServer) -> None:
    before = counters(stand, "one")
    with stand.client() as client:
        connection = server.accept()
        client.send(b"12345")
        assert read_exactly(connection, 5) == b"12345"
        connection.sendall(b"123")
        assert client.read_exactly(3) == b"123"
        connection.close()
        assert client.read_to_end() == b""
    stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 0)
    after = counters(stand, "one")
    gained = {name: after[name] - before[name] for name in ("connections", "bytes_in", "bytes_out")}
    assert gained == {"connections": 1, "bytes_in": 5, "bytes_out": 3}
    names = ("requests", "bytes_in", "bytes_out", "connects")
    old, new = before["servers"][0], after["servers"][0]
    assert [new[name] - old[name] for name in names] == [1, 5, 3, 1]


def test_one_client_one_connection(stand: Stand, server: RawServer) -> None:
    """A connection to a server is never given to the next client."""
    for number in range(3):
        with stand.client() as client:
            connection = server.accept()
            client.send(bytes([number]))
            assert read_exactly(connection, 1) == bytes([number])
        assert read_to_end(connection) == b""


def test_refusing_client(stand: Stand, server: RawServer) -> None:
    """A client that is gone before its server stands leaves nothing behind."""
    for _ in range(20):
        Client(stand.ports["port"]).reset()
