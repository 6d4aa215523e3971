"""The origin of the fuzzed site: answers every resource in its way, and fails where it may.

Each full answer is a version of the model. How an answer is written (in pieces, with an interim
answer before it, cut, stalled, as nonsense) is drawn from the seed, the resource and how often it
was asked for. A resource that is not faulty is always answered well, however oddly.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from contextlib import suppress
from time import monotonic

from tests.ext.reference_http1 import ChunkedReader, ParseError, RequestHead, parse_request
from tests.fuzz.cache_model import Model, Version
from tests.fuzz.cache_world import Resource
from tests.loop_thread import LoopThread, bind_loopback, listen_beside, reset

READ_BYTES = 65536
HEADER_BYTES_MAX = 1 << 17
STALL_S = 30.0  # longer than edge waits
# A surplus that comes after its connection serves the next request cannot be told from its answer.
# So it is made to come with what is before it: in one write, and less than what edge reads at once.
SURPLUS_BYTES_MAX = 50_000
REASONS = {200: b"OK", 304: b"Not Modified", 404: b"Not Found", 500: b"Oops", 503: b"Busy"}
# A whole answer in its own right: what is behind an answer must never be read as the next one.
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Serial: 0\r\n\r\nevil"
FAULTS = (
    "500", "503", "reset", "close", "half head", "nonsense", "cut", "cut", "stall", "stall body",
    "bad chunk", "surplus", "partial", "not modified", "many interims",
)  # fmt: skip

Action = bytes | float | str  # to write, to wait for, or "reset", "close"


class CacheOrigin:
    """Listens on `port` until `close`. `strays`: requests that nobody has sent."""

    def __init__(self, model: Model, resources: list[Resource], seed: int, port: int) -> None:
        self.strays: list[str] = []
        self.counts: Counter[str] = Counter()
        self._model = model
        self._resources = {(r.host, r.path): r for r in resources}
        self._seed = seed
        self._asked: Counter[int] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = LoopThread("origin")
        self._bound = bind_loopback(port)
        self._server = self._thread.run(
            asyncio.start_server(self._on_connection, sock=listen_beside(self._bound))
        )

    def close(self) -> None:
        """Ends everything and frees the port."""
        self._thread.call(self._server.close)
        self._thread.call(self._reset_all)
        self._thread.stop()
        self._bound.close()

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            reset(writer)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                rest: bytes | None = b""
                while rest is not None:
                    rest = await self._serve(rest, reader, writer)
        except ParseError as error:
            self.strays.append(f"{error}")
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(
        self, received: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """One request; what came behind it, or None when the connection is over."""
        while (
            head := parse_request(received, header_bytes=HEADER_BYTES_MAX, header_count=1000)
        ) is None:
            more = await reader.read(READ_BYTES)
            if not more:
                return None
            received += more
        at = monotonic()
        rest = await self._read_body(head, received[head.size :], reader)
        if rest is None:
            return None
        for action in self._plan(head, at):
            if isinstance(action, bytes):
                writer.write(action)
                await writer.drain()
            elif isinstance(action, float):
                await asyncio.sleep(action)
            elif action == "reset":
                reset(writer)
                return None
            else:
                return None
        return rest

    async def _read_body(
        self, head: RequestHead, rest: bytes, reader: asyncio.StreamReader
    ) -> bytes | None:
        """What came behind the request's body."""
        chunks = ChunkedReader()
        left = max(0, head.content_length)
        while not (chunks.done if head.chunked else len(rest) >= left):
            if head.chunked and rest:
                used, _ = chunks.feed(rest)
                rest = rest[used:]
                continue
            more = await reader.read(READ_BYTES)
            if not more:
                return None
            rest += more
        return rest if head.chunked else rest[left:]

    # -- what is answered ---------------------------------------------------------------------

    def _plan(self, head: RequestHead, at: float) -> list[Action]:
        fields = {name.lower(): value for name, value in head.headers}
        resource = self._resources.get((head.host.lower(), head.target))
        ask = int(fields.get(b"x-ask", b"0"))
        if resource is None or ask == 0:
            self.strays.append(f"{head.method!r} {head.host!r}{head.target!r}")
            return ["close"]
        self._asked[resource.number] += 1
        count = self._asked[resource.number]
        chance = random.Random(f"{self._seed}/{resource.number}/{count}")
        vary = () if resource.is_fickle and chance.random() < 0.5 else resource.vary
        values = {name: fields.get(name) for name in vary}
        known = self._known(resource, fields, values)
        if known is not None and chance.random() < 0.7:
            self.counts["304"] += 1
            self._model.note_renewal(known, ask, monotonic())
            return [self._head(known, vary, 304)]
        fault = ""
        if resource.is_faulty and chance.random() < 0.4:
            fault = chance.choice(FAULTS)
        self.counts[fault or "good"] += 1
        if fault:
            self._model.tell(resource, at, f"fetch by {ask} fails: {fault}")
        if fault in ("500", "503", "reset", "close", "half head", "nonsense", "stall"):
            return self._failed(fault)
        version = self._model.note_version(resource, head.method, ask, values, at)
        return self._answer(version, vary, fault, chance)

    def _known(
        self, resource: Resource, fields: dict[bytes, bytes], values: dict[bytes, bytes | None]
    ) -> Version | None:
        """The version that the request has already, if it is one for such requests."""
        etag = fields.get(b"if-none-match", b"").removeprefix(b"W/").strip(b'"')
        version = self._model.versions.get(int(etag)) if etag.isdigit() else None
        if version is None or version.resource is not resource or version.method == b"POST":
            return None
        if not (resource.is_shared and resource.has_etag):
            return None
        return version if version.values == values else None

    def _failed(self, fault: str) -> list[Action]:
        if fault in ("500", "503"):
            return [
                b"HTTP/1.1 %s %s\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\noops"
                % (fault.encode(), REASONS[int(fault)])
            ]
        if fault == "half head":
            return [b"HTTP/1.1 200 OK\r\nContent-Le", "reset"]
        if fault == "nonsense":
            return [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"]
        return [STALL_S] if fault == "stall" else [fault]

    def _head(self, version: Version, vary: tuple[bytes, ...], status: int) -> bytes:
        resource = version.resource
        lines = [b"HTTP/1.1 %d %s" % (status, REASONS[status]), *resource.control]
        lines.append(b"X-Serial: %d" % version.serial)
        if resource.has_etag:
            lines.append(b"ETag: " + version.etag)
        if resource.is_text:
            lines.append(b"Content-Type: text/plain")
        if vary:
            lines.append(b"Vary: " + b", ".join(vary))
        if resource.keys:
            lines.append(b"Surrogate-Key: " + b" ".join(resource.keys))
        if status != 304 and resource.framing == "length":
            lines.append(b"Content-Length: %d" % resource.size)
        elif status != 304 and resource.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        elif status != 304:
            lines.append(b"Connection: close")
        return b"\r\n".join((*lines, b"", b""))

    def _answer(
        self, version: Version, vary: tuple[bytes, ...], fault: str, chance: random.Random
    ) -> list[Action]:
        """The version as it goes over the wire."""
        resource = version.resource
        head = self._head(version, vary, resource.status)
        body = b"" if version.method == b"HEAD" else version.body()
        actions: list[Action] = []
        if fault == "many interims":
            actions += [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] * 40
        elif chance.random() < 0.1:
            actions.append(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        if fault in ("cut", "stall body", "bad chunk") and is_head_all(version):
            fault = ""
        if fault == "surplus" and resource.size > SURPLUS_BYTES_MAX:
            fault = ""
        if fault == "partial" and resource.size:
            part = b"206 Part\r\nContent-Range: bytes 0-%d/%d" % (resource.size - 1, resource.size)
            head = head.replace(b"200 OK", part, 1)
        if fault == "not modified":
            self._model.note_renewal(version, version.ask, monotonic())
            return [self._head(version, vary, 304)]
        if chance.random() < 0.2:
            actions.append(chance.choice((0.01, 0.05, 0.3)))
        pieces = [head, *self._pieces(version, body, fault, chance)]
        if fault in ("", "surplus", "partial", "many interims"):
            version.is_whole = True  # before it is written: edge may be quick
        if fault == "surplus" or chance.random() < 0.3:  # in as few segments as possible
            return [*actions, *_joined(pieces)]
        return [*actions, *pieces]

    def _pieces(
        self, version: Version, body: bytes, fault: str, chance: random.Random
    ) -> list[Action]:
        resource = version.resource
        pause = chance.choice((0.0, 0.0, 0.0, 0.005, 0.02))
        step = max(1, len(body) // chance.choice((1, 1, 2, 5)) + 1)
        cuts = [body[at : at + step] for at in range(0, len(body), step)]
        if fault in ("cut", "stall body", "bad chunk"):
            cuts = cuts[: chance.randrange(max(1, len(cuts)))]
        actions: list[Action] = []
        for cut in cuts:
            chunked = resource.framing == "chunked" and version.method != b"HEAD"
            actions.append(b"%x\r\n%s\r\n" % (len(cut), cut) if chunked else cut)
            if pause:
                actions.append(pause)
        if fault == "cut":
            # A FIN would be the right end of a body without a length.
            end = "reset" if resource.framing == "close" else chance.choice(("reset", "close"))
            return [*actions, end]
        if fault == "stall body":
            return [*actions, STALL_S, "reset"]
        if fault == "bad chunk":
            return [*actions, b"zz\r\n" if resource.framing == "chunked" else b"", "reset"]
        if resource.framing == "chunked" and version.method != b"HEAD":
            actions.append(chance.choice((b"0\r\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n")))
        if resource.framing == "close":
            return [*actions, "close"]
        return [*actions, SMUGGLED] if fault == "surplus" else actions


def is_head_all(version: Version) -> bool:
    """Is its answer over with its head? What came later would be about the next one."""
    resource = version.resource
    return version.method == b"HEAD" or (resource.framing == "length" and resource.size == 0)


def _joined(actions: list[Action]) -> list[Action]:
    """Neighbouring bytes as one."""
    joined: list[Action] = []
    for action in actions:
        if isinstance(action, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += action
        elif not isinstance(action, float):
            joined.append(action)
    return joined
