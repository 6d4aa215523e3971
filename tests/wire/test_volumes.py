"""Large bodies: they arrive unchanged, and a peer that stands still costs the worker no memory.

The nodes here are plain sockets in a thread: the scriptable origin keeps every byte it gets.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ext.reference_http1 import ChunkedReader
from tests.harness import Client
from tests.loop_thread import bind_loopback, listen_beside
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
MIB = 1 << 20
PIECE = bytes(range(251)) * 4178  # a little over 1 MiB, and no power of two
PIECES = 20
DIGEST = hashlib.sha256(PIECE * PIECES).hexdigest()
SIZE = len(PIECE) * PIECES
LARGE = 100 * MIB
# Kernel buffers grow to several MB each, and there are four on the way.
HELD_IN_KERNEL_MAX = 48 * MIB
RSS_GROWTH_MAX = 8 * MIB
STALL_S = 0.3
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

Serve = Callable[[socket.socket, bytes], None]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@contextmanager
def raw_node(stand: Stand, serve: Serve) -> Iterator[None]:
    """A node that takes one connection, reads a head and calls serve(connection, its tail)."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            with listener.accept()[0] as connection:
                connection.settimeout(10)
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                serve(connection, data.partition(b"\r\n\r\n")[2])
        except (OSError, AssertionError) as failure:
            failures.append(failure)

    with bind_loopback(stand.ports["node1"]) as bound, listen_beside(bound) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join(20)
        assert not thread.is_alive()
        assert not failures, failures


def digest_of(client: Client, is_chunked: bool) -> tuple[str, int]:
    """Digest and size of the rest of the answer, up to FIN."""
    reader = ChunkedReader()
    digest, size = hashlib.sha256(), 0
    while data := client.read_some():
        if is_chunked:
            _, data = reader.feed(data)
        digest.update(data)
        size += len(data)
    assert reader.done or not is_chunked
    return digest.hexdigest(), size


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


# -- unchanged ----------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
def test_large_answer(stand: Stand, framing: str) -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        if framing == "length":
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % SIZE + PIECE * PIECES)
        elif framing == "chunked":
            connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(PIECES):
                connection.sendall(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendall(OK + b"\r\n" + PIECE * PIECES)

    with raw_node(stand, serve), stand.client() as client:
        client.send(GET)
        head, _ = client.read_head()
        assert head.chunked is (framing != "length")
        assert digest_of(client, head.chunked) == (DIGEST, SIZE)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_request(stand: Stand, framing: str) -> None:
    digest = hashlib.sha256()

    def serve(connection: socket.socket, data: bytes) -> None:
        reader = ChunkedReader()
        size = 0
        while not (reader.done if framing == "chunked" else size == SIZE):
            data = data or connection.recv(1 << 18)
            assert data, "cut"
            if framing == "chunked":
                _, data = reader.feed(data)
            digest.update(data)
            size += len(data)
            data = b""
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with raw_node(stand, serve), stand.client() as client:
        if framing == "length":
            client.send(POST + b"Content-Length: %d\r\n\r\n" % SIZE + PIECE * PIECES)
        else:
            client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(PIECES):
                client.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
            client.send(b"0\r\n\r\n")
        assert client.read_response().status == 200
    assert digest.hexdigest() == DIGEST


def test_large_bodies_both_ways_at_once(stand: Stand) -> None:
    """An echo: neither direction may wait for the other to end."""

    def serve(connection: socket.socket, data: bytes) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % SIZE)
        left = SIZE
        while left:
            data = data or connection.recv(65536)
            assert data, "cut"
            connection.sendall(data)
            left -= len(data)
            data = b""

    with raw_node(stand, serve), stand.client() as client:
        start = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % SIZE
        sender = threading.Thread(target=lambda: client.send(start + PIECE * PIECES))
        sender.start()
        head, _ = client.read_head()
        assert digest_of(client, head.chunked) == (DIGEST, SIZE)
        sender.join(10)


# -- back-pressure --------------------------------------------------------------------------------


def send_until_it_stalls(connection: socket.socket, left: int) -> int:
    """Sends until the kernel has taken nothing for STALL_S; how many of `left` bytes remain."""
    connection.settimeout(STALL_S)
    try:
        while left:
            left -= connection.send(PIECE[:left])
    except TimeoutError:
        pass
    connection.settimeout(10)
    return left


def test_slow_client_of_a_large_answer(stand: Stand) -> None:
    stalled = threading.Event()
    unsent = [LARGE]

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % LARGE)
        unsent[0] = left = send_until_it_stalls(connection, LARGE)
        stalled.set()
        while left:
            left -= connection.send(PIECE[:left])

    pid = stand.worker_pid()
    before = rss_bytes(pid)
    with raw_node(stand, serve), stand.client() as client:
        client.send(GET)
        assert stalled.wait(10)
        assert LARGE - unsent[0] < HELD_IN_KERNEL_MAX, "edge reads what nobody takes from it"
        assert rss_bytes(pid) - before < RSS_GROWTH_MAX
        head, _ = client.read_head()
        assert digest_of(client, head.chunked)[1] == LARGE
        assert rss_bytes(pid) - before < RSS_GROWTH_MAX


def test_slow_node_of_a_large_request(stand: Stand) -> None:
    go = threading.Event()

    def serve(connection: socket.socket, data: bytes) -> None:
        assert go.wait(10)
        left = LARGE - len(data)
        while left:
            data = connection.recv(1 << 18)
            assert data, "cut"
            left -= len(data)
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    pid = stand.worker_pid()
    before = rss_bytes(pid)
    with raw_node(stand, serve), stand.client() as client:
        client.send(POST + b"Content-Length: %d\r\n\r\n" % LARGE)
        left = send_until_it_stalls(client.socket, LARGE)
        assert LARGE - left < HELD_IN_KERNEL_MAX, "edge reads what nobody takes from it"
        assert rss_bytes(pid) - before < RSS_GROWTH_MAX
        go.set()
        while left:
            left -= client.socket.send(PIECE[:left])
        assert client.read_response().status == 200
        assert rss_bytes(pid) - before < RSS_GROWTH_MAX


def test_client_that_pipelines_and_never_reads(stand: Stand) -> None:
    """Requests that come faster than their answers go stay in the kernel."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 4000 + b"\r\n\r\n"
    body = answer_of(1 << 16)
    pid = stand.worker_pid()
    with stand.node(default=[body]), stand.client() as client:
        assert client.get().status == 200
        before = rss_bytes(pid)
        client.socket.settimeout(STALL_S)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < HELD_IN_KERNEL_MAX:
                sent += client.socket.send(request)
        assert rss_bytes(pid) - before < RSS_GROWTH_MAX


def answer_of(size: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
