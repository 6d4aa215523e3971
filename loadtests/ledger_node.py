"""A node that writes down every request before it answers, so that SIGKILL loses no line.

    python loadtests/ledger_node.py PORT NAME LEDGER [HOST]

The ledger is one file, to which all nodes append one line per event, each with one write(2): what
is written stays when the process is killed. Lines, with the request's own id from its target:

    begin METHOD ID            a head has come
    whole METHOD ID SIZE CRC   the body, too: only now is the request carried out
    cut METHOD ID SIZE         the connection ended inside the body

Targets: /cached/ID may be kept for CACHED_S and is the same on every node; /pass/ID may not be
kept; /health is not written down. Bodies name the id, and for a request with a body its CRC, so
that who asked knows that the answer is his and that all of his body came. An answer is one write,
because a node that is killed within an answer costs that answer whatever is in front of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from typing import cast

import uvloop

# Long enough that a kill finds requests in flight, short beside the time between two kills.
ANSWER_DELAY_S = 0.003
CACHED_S = 1
FILLER = b"." * 1024
BACKLOG = 1024


def body_for(target: bytes, received: bytes) -> bytes:
    """The answer's body; whoever asked can compute it, too."""
    return b"%s %08x %s" % (target, zlib.crc32(received), FILLER)


class Ledger:
    """The file that all nodes append to."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


class Node(asyncio.Protocol):
    """One connection from edge: one request at a time, with Content-Length or without a body."""

    ledger: Ledger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self.received = bytearray()
        self.head: tuple[str, str, int] | None = None  # method, target, length of its body

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.head is None:
            head, end, rest = bytes(self.received).partition(b"\r\n\r\n")
            if not end:
                return
            self.head = self._begin(head.decode("latin-1"))
            self.received = bytearray(rest)
        method, target, size = self.head
        if len(self.received) >= size:
            body = bytes(self.received[:size])
            del self.received[:size]
            self.head = None
            self._whole(method, target, body)

    def connection_lost(self, error: Exception | None) -> None:
        if self.head is not None:
            method, target, _ = self.head
            self.ledger.write(f"cut {method} {id_of(target)} {len(self.received)}")

    def _begin(self, head: str) -> tuple[str, str, int]:
        line, *fields = head.split("\r\n")
        method, target, _ = line.split(" ")
        size = 0
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() == "content-length":
                size = int(value)
        if target != "/health":
            self.ledger.write(f"begin {method} {id_of(target)}")
        return method, target, size

    def _whole(self, method: str, target: str, body: bytes) -> None:
        if target == "/health":
            self._answer(method, b"ok", "no-store")
            return
        self.ledger.write(f"whole {method} {id_of(target)} {len(body)} {zlib.crc32(body):08x}")
        control = f"max-age={CACHED_S}" if target.startswith("/cached/") else "no-store"
        answer = body_for(target.encode(), body)
        asyncio.get_running_loop().call_later(ANSWER_DELAY_S, self._answer, method, answer, control)

    def _answer(self, method: str, body: bytes, control: str) -> None:
        if self.transport.is_closing():
            return
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nCache-Control: {control}\r\n\r\n"
        self.transport.write(head.encode() + (b"" if method == "HEAD" else body))


def id_of(target: str) -> str:
    """The last part of the path."""
    return target.rpartition("/")[2]


async def serve(port: int, host: str) -> None:
    """Until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Node, host, port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    Node.ledger = Ledger(sys.argv[3])
    uvloop.run(serve(int(sys.argv[1]), (*sys.argv, "127.0.0.1")[4]))
