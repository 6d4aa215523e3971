"""A server below any protocol: the test itself accepts, reads and writes, with plain sockets."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from tests.loop_thread import LINGER_RESET

WAIT_S_MAX = 10.0
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


class RawServer:
    """Listens on a port that the test holds (`Stand.ports`)."""

    def __init__(self, port: int) -> None:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", port))
        self._listening.listen()
        self._listening.settimeout(WAIT_S_MAX)
        self._accepted: list[socket.socket] = []

    def __enter__(self) -> RawServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def accept(self) -> socket.socket:
        """The next connection; closed with this server."""
        connection, _ = self._listening.accept()
        connection.settimeout(WAIT_S_MAX)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted.append(connection)
        return connection

    def close(self) -> None:
        """Refuses connections, and ends those that there are."""
        self._listening.close()
        for connection in self._accepted:
            connection.close()


def read_exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = connection.recv(size - len(received))
        assert data, f"only {received!r}"
        received += data
    return received


def read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += read_exactly(connection, 1)
    return received


def read_to_end(connection: socket.socket) -> bytes:
    """Everything up to the FIN; ConnectionResetError on RST."""
    received = b""
    while data := connection.recv(65_536):
        received += data
    return received


def read_header(connection: socket.socket) -> bytes:
    """One PROXY header of either version."""
    start = read_exactly(connection, 6)
    if start == b"PROXY ":
        return start + read_until(connection, b"\r\n")
    fixed = start + read_exactly(connection, 10)
    assert fixed.startswith(SIGNATURE)
    return fixed + read_exactly(connection, struct.unpack("!H", fixed[14:])[0])


def reset(connection: socket.socket) -> None:
    """RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    connection.close()
