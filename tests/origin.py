"""A scriptable raw HTTP/1.1 origin: records every byte it gets and answers bytes it was told to.

    half = b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhalf"
    with Origin([answer(b"one")], [half, Reset()]) as node:
        ...                                   # first request: "one"; second: half a body, then RST
        assert node.requests[0].head.target == b"/"

A script is one list of steps per request, in the order in which requests arrive over all
connections; when it is used up, `default` answers. A step is bytes to send, or one of the classes
below. Requests are read by the strict reference parser: what edge sends must be well-formed, or
`errors` is not empty and leaving the `with` fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from tests.ext.reference_http1 import ChunkedReader, ParseError, RequestHead, parse_request
from tests.loop_thread import LoopThread, bind_loopback, listen_beside, reset

READ_BYTES = 65536
HEADER_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True)
class Close:
    """FIN, after what was sent."""


@dataclass(frozen=True)
class Reset:
    """RST."""


@dataclass(frozen=True)
class Stall:
    """Nothing more on this connection until the peer closes it."""


@dataclass(frozen=True)
class AtHead:
    """First in a list: answer when the head has come, without waiting for the body."""


@dataclass(frozen=True)
class Receive:
    """Read that many bytes behind the request, whatever they mean (a tunnel)."""

    size: int


@dataclass(frozen=True)
class AnswerTarget:
    """A complete answer whose body is the request's target: it proves whose answer it is.

    `is_last`: it says that the connection will be closed, and the next step should do so.
    """

    is_last: bool = False

    def to(self, target: bytes) -> bytes:
        """The answer to a request for that."""
        return answer(target, *((b"Connection: close",) if self.is_last else ()))


class Gate:
    """A step that waits until the test calls `open`; made by Origin.gate()."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.event = asyncio.Event()

    def open(self) -> None:
        """Lets the connection that waits here go on."""
        self._loop.call_soon_threadsafe(self.event.set)


Step = bytes | Pause | Close | Reset | Stall | AtHead | Receive | AnswerTarget | Gate
Steps = Sequence[Step]


@dataclass
class Request:
    """One request as it came: the parsed head, the decoded body, and on which connection."""

    connection: int
    head: RequestHead
    raw_head: bytes
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of that name, in order."""
        return [value for key, value in self.head.headers if key.lower() == name.lower()]


@dataclass
class Connection:
    """Every byte of one connection, and how it ended."""

    received: bytearray = field(default_factory=bytearray)
    closed_by_peer: bool = False


def answer(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A complete answer with Content-Length."""
    lines = (b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields)
    return b"\r\n".join((*lines, b"", body))


def chunked_answer(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A complete chunked answer; `end` may be b"" (never ends) or hold trailers."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


DEFAULT: Steps = (answer(),)


class Origin:
    """Listens on its own port or `port`; `on_connect` is played before anything is read."""

    def __init__(
        self, *script: Steps, default: Steps = DEFAULT, on_connect: Steps = (), port: int = 0
    ) -> None:
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.errors: list[str] = []
        self.default = default
        self.on_connect = on_connect
        self.answer_by: Callable[[bytes], Steps] | None = None  # by target; before the script
        self._script = list(script)
        self._changed = threading.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = LoopThread("origin")
        self._bound = bind_loopback(port)
        self._server: asyncio.Server | None = None
        self.port: int = self._bound.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def __enter__(self) -> Origin:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self.close()
        assert kind is not None or not self.errors, self.errors

    # -- commands -----------------------------------------------------------------------------

    def start(self) -> None:
        """Listen (again) on the same port."""
        self._thread.run(self._listen())

    def stop(self) -> None:
        """As if the process were killed: connecting is refused, connections are reset."""
        self._thread.run(self._stop_listening())
        self._thread.call(lambda: [reset(writer) for writer in self._writers])

    def refuse(self) -> None:
        """Connecting is refused from now on; connections stay."""
        self._thread.run(self._stop_listening())

    def close_connections(self) -> None:
        """FIN on every open connection, as an origin does when its keep-alive time is over."""
        self._thread.call(lambda: [writer.close() for writer in self._writers])

    def gate(self) -> Gate:
        """A new step that holds an answer back until the test opens it."""
        return self._thread.call(lambda: Gate(self._thread.loop))

    def then(self, *steps: Step) -> None:
        """One more entry at the end of the script."""
        self._thread.call(lambda: self._script.append(steps))

    def wait_requests(self, count: int, timeout_s: float = 5.0) -> list[Request]:
        """The requests, once at least `count` heads have come."""
        self._wait(lambda: len(self.requests) >= count, timeout_s, f"{count} requests")
        return self.requests

    def wait_connections(self, count: int, timeout_s: float = 5.0) -> list[Connection]:
        """The connections, once at least `count` have been accepted."""
        self._wait(lambda: len(self.connections) >= count, timeout_s, f"{count} connections")
        return self.connections

    def wait_received(self, connection: int, size: int, timeout_s: float = 5.0) -> bytes:
        """What that connection has got, once it is that many bytes (during Receive or Stall)."""
        received = self.connections[connection].received
        self._wait(lambda: len(received) >= size, timeout_s, f"{size} bytes")
        return bytes(received)

    def wait_closed(self, connection: int, timeout_s: float = 5.0) -> Connection:
        """That connection, once the peer has closed or reset it."""
        closed = self.connections[connection]
        self._wait(lambda: closed.closed_by_peer, timeout_s, f"the end of {connection}")
        return closed

    def close(self) -> None:
        """Ends everything and frees the port."""
        self.stop()
        self._thread.run(self._let_start())  # connections that were accepted a moment ago
        self.stop()
        self._thread.stop()
        self._bound.close()

    def _wait(self, is_reached: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            reached = self._changed.wait_for(is_reached, timeout_s)
        assert reached, f"origin waited in vain for {what}: {self.requests}"

    # -- in the loop's thread -----------------------------------------------------------------

    async def _listen(self) -> None:
        if self._server is None:
            listening = listen_beside(self._bound)
            self._server = await asyncio.start_server(self._on_connection, sock=listening)

    async def _let_start(self) -> None:
        """From accept to the first line of _on_connection it takes a few turns of the loop."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            # asyncio 3.11 leaks a connection whose acceptance is under way when its server closes.
            for listening in self._server.sockets:
                self._thread.loop.remove_reader(listening.fileno())
            await self._let_start()
            self._server.close()
            self._server = None

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.add(writer)
        number = len(self.connections)
        wire = _Wire(reader, Connection())
        self._note(lambda: self.connections.append(wire.connection))
        try:
            if await self._play(self.on_connect, wire, writer):
                while await self._serve(number, wire, writer):
                    pass
        except ParseError as error:
            self.errors.append(f"{error} in {bytes(wire.connection.received)!r}")
        except OSError:
            self._note(lambda: setattr(wire.connection, "closed_by_peer", True))
        except asyncio.CancelledError:
            pass  # the origin is closed while a gate is; asyncio 3.11 would log it as an error
        finally:
            if wire.is_at_end:
                self._note(lambda: setattr(wire.connection, "closed_by_peer", True))
            self._writers.discard(writer)
            writer.close()

    def _note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    async def _serve(self, number: int, wire: _Wire, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is over."""
        start = wire.at
        head = await wire.read_head()
        if head is None:
            return False
        request = Request(number, head, bytes(wire.connection.received[start : wire.at]))
        self._note(lambda: self.requests.append(request))
        if self.answer_by is not None:
            steps = self.answer_by(head.target)
        else:
            steps = self._script.pop(0) if self._script else self.default
        if steps and isinstance(steps[0], AtHead):
            steps = steps[1:]
        elif not await self._read_body(request, wire):
            return False
        steps = [s.to(head.target) if isinstance(s, AnswerTarget) else s for s in steps]
        if not await self._play(steps, wire, writer):
            return False
        return request.is_complete or await self._read_body(request, wire)

    async def _read_body(self, request: Request, wire: _Wire) -> bool:
        async for piece in wire.read_body(request):
            request.body += piece
        self._note(lambda: None)
        return request.is_complete

    async def _play(self, steps: Steps, wire: _Wire, writer: asyncio.StreamWriter) -> bool:
        """Plays the steps; False when one of them ended the connection."""
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Gate):
                await step.event.wait()
            elif isinstance(step, Receive):
                if not await self._receive(step.size, wire):
                    return False
            elif isinstance(step, Stall):
                while await wire.read():
                    self._note(lambda: None)
                return False
            elif isinstance(step, Close):
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return False
            else:
                assert isinstance(step, Reset), step
                reset(writer)
                return False
        return True

    async def _receive(self, size: int, wire: _Wire) -> bool:
        end = wire.at + size
        while len(wire.connection.received) < end:
            if not await wire.read():
                return False
            self._note(lambda: None)
        wire.at = end
        return True


class _Wire:
    """The reading side of one connection: `received` grows, `at` is where the next message is."""

    def __init__(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        self._reader = reader
        self.connection = connection
        self.at = 0
        self.is_at_end = False

    async def read(self) -> bool:
        """Waits for more bytes; False at the end of file."""
        data = await self._reader.read(READ_BYTES)
        self.connection.received += data
        self.is_at_end = not data
        return bool(data)

    async def read_head(self) -> RequestHead | None:
        """The next request's head; None when the peer closed instead."""
        while True:
            data = bytes(self.connection.received[self.at :])
            head = parse_request(data, header_bytes=HEADER_BYTES_MAX, header_count=1000)
            if head is not None:
                self.at += head.size
                return head
            if not await self.read():
                return None

    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body in decoded pieces; sets is_complete when its end has come."""
        chunks = ChunkedReader(extension_bytes=READ_BYTES, trailer_bytes=READ_BYTES)
        left = max(0, request.head.content_length)
        while not (chunks.done if request.head.chunked else left == 0):
            data = bytes(self.connection.received[self.at :])
            if not data and not await self.read():
                return
            if request.head.chunked:
                consumed, piece = chunks.feed(data)
            else:
                piece = data[:left]
                consumed = len(piece)
                left -= consumed
            self.at += consumed
            yield piece
        request.trailers = chunks.trailers
        request.is_complete = True
