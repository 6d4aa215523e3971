"""Opens many kept connections, sends one request on each, and holds them idle."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# A source address has about 28,000 ports towards one listener (ip_local_port_range).
CONNECTIONS_PER_SOURCE = 20_000
TIMEOUT_S = 10.0
# ip(7); the constant is not in Python's socket module.
IP_BIND_ADDRESS_NO_PORT = 24


@contextmanager
def hold_idle_connections(port: int, path: str, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections to 127.0.0.1:`port`, each after one complete answer with a length."""
    request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()
    connections = []
    with ExitStack() as stack:
        for number in range(count):
            source = f"127.0.0.{1 + number // CONNECTIONS_PER_SOURCE}"
            connection = stack.enter_context(open_connection(port, source))
            connection.sendall(request)
            read_answer(connection)
            connections.append(connection)
        yield connections


def open_connection(port: int, source: str) -> socket.socket:
    """A connection from any port of `source` that is free towards this listener."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    # Closed with RST: thousands of ports in TIME_WAIT would starve the next run.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.settimeout(TIMEOUT_S)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def count_open(connections: list[socket.socket]) -> int:
    """How many of them the other side has not closed; a measurement without them means nothing."""
    count = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            count += 1
        except ConnectionError:
            continue
    return count


def read_answer(connection: socket.socket) -> None:
    """Reads one answer with Content-Length; anything else is an error."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0] + b" ":
        raise RuntimeError(f"not 200: {head!r}")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += receive(connection)


def receive(connection: socket.socket) -> bytes:
    """Some bytes; ConnectionError at the end of file."""
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed within an answer")
    return data
