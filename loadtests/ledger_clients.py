"""Clients that know what they asked, what came, and on which connection: half of a ledger.

Each client sends one request after the other on a kept connection, and takes a new one after some.
Requests are numbered; an answer must be whole, 200, and name its own request and body. With a pace
the load is open: a request has its time, and a late one is sent at once, so that a pause of the
server does not make the load smaller. What failed is kept with the connection's port, so that it
can be told afterwards whether that was a connection of a process that was killed.

A client behaves as RFC 9112 §9.3.1 has it: after `Connection: close` it takes a new connection, and
it does not use one whose FIN has come already. It repeats nothing.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field

from edge.clock import now
from loadtests.ledger_node import body_for

# Far more than any time limit of the configuration that is tested.
ANSWER_S_MAX = 15.0
# Cacheable targets: few enough that most requests find one stored, while each expires in a second.
CACHED_TARGETS = 200
# How many requests a connection lives; one in the mean of three is new for a single request.
KEPT_MAX = 60
# Bodies: most fit beside the head into what is held for a retry, some do not (row 23).
SMALL_BYTES, LARGE_BYTES = 700, 40_000
LARGE_SHARE = 0.1
MIX = {"cached": 0.35, "GET": 0.25, "HEAD": 0.1, "PUT": 0.1, "POST": 0.2}


@dataclass(frozen=True)
class Asked:
    """One request. `number` is its id, with which the nodes write it down."""

    number: int
    method: str
    target: str
    body: bytes

    def message(self) -> bytes:
        """As sent."""
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        head = f"{self.method} {self.target} HTTP/1.1\r\nHost: shop.example\r\n{length}\r\n"
        return head.encode() + self.body


@dataclass(frozen=True)
class Failure:
    """A request that did not get its whole answer with 200."""

    asked: Asked
    why: str
    status: int  # 0: no whole answer came
    port: int  # of the client's side; 0: it could not connect
    sent_at: float
    ended_at: float

    def __str__(self) -> str:
        took_ms = (self.ended_at - self.sent_at) * 1000
        what = f"{self.asked.method} {self.asked.target} {len(self.asked.body)} B"
        return f"at {self.sent_at:.3f} port {self.port} {what}: {self.why} after {took_ms:.0f} ms"


@dataclass
class Ledger:
    """What all clients have seen."""

    done: Counter[str] = field(default_factory=Counter)  # by method, answered well
    posts_done: set[int] = field(default_factory=set)
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)  # PUT, POST: size and CRC
    failures: list[Failure] = field(default_factory=list)
    slowest_s: float = 0.0
    connections: int = 0
    next_number: int = 0

    @property
    def requests(self) -> int:
        return sum(self.done.values()) + len(self.failures)


class BadAnswerError(Exception):
    """A whole answer that is not the right one."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


class Pool:
    """The clients. `run` until `stop` is called; `per_s`: requests a second of all, 0: no pace."""

    def __init__(self, port: int, clients: int, ledger: Ledger, per_s: float, seed: int) -> None:
        self._port = port
        self._count = clients
        self._ledger = ledger
        self._every_s = clients / per_s if per_s else 0.0
        self._seed = seed
        self._is_over = False

    def stop(self) -> None:
        """Each client ends after its running request."""
        self._is_over = True

    async def run(self) -> None:
        """Until stopped."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._count):
                tasks.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        chance = random.Random(self._seed * 1000 + number)
        due = now() + self._every_s * chance.random()
        while not self._is_over:
            client = Client(self._port, self._ledger, chance)
            left = chance.choice((1, chance.randrange(2, KEPT_MAX), KEPT_MAX))
            try:
                while left and not self._is_over and not client.is_over:
                    left -= 1
                    await asyncio.sleep(max(0.0, due - now()))
                    if client.is_over:
                        break
                    due = max(due + self._every_s, now() - self._every_s)
                    await client.ask()
            finally:
                client.close()


class Client:
    """One connection of a client; made at its first request."""

    def __init__(self, port: int, ledger: Ledger, chance: random.Random) -> None:
        self._server_port = port
        self._ledger = ledger
        self._chance = chance
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._port = 0
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Not to be used again: said by an answer, by a FIN, or after a failure."""
        return self._is_over or (self._reader is not None and self._reader.at_eof())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def ask(self) -> None:
        """One request, whose end is in the ledger."""
        asked = self._make()
        sent_at = now()
        status = 0
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await self._connect()
                await self._exchange(asked)
        except (OSError, EOFError, LookupError, ValueError, BadAnswerError) as error:
            self._is_over = True
            if isinstance(error, BadAnswerError):
                status = error.status
            self._ledger.failures.append(
                Failure(asked, repr(error), status, self._port, sent_at, now())
            )
            return
        self._ledger.done[asked.method] += 1
        if asked.method == "POST":
            self._ledger.posts_done.add(asked.number)
        self._ledger.slowest_s = max(self._ledger.slowest_s, now() - sent_at)

    def _make(self) -> Asked:
        number = self._ledger.next_number
        self._ledger.next_number += 1
        (kind,) = self._chance.choices(list(MIX), list(MIX.values()))
        if kind == "cached":
            return Asked(number, "GET", f"/cached/{self._chance.randrange(CACHED_TARGETS)}", b"")
        body = b""
        if kind in ("PUT", "POST"):
            is_large = kind == "POST" and self._chance.random() < LARGE_SHARE
            body = self._chance.randbytes(LARGE_BYTES if is_large else SMALL_BYTES)
            self._ledger.sent[number] = (len(body), zlib.crc32(body))
        return Asked(number, kind, f"/pass/{number}", body)

    async def _connect(self) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._server_port
            )
            self._port = self._writer.get_extra_info("sockname")[1]
            self._ledger.connections += 1

    async def _exchange(self, asked: Asked) -> None:
        assert self._writer is not None
        assert self._reader is not None
        self._writer.write(asked.message())
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines[1:])}
        self._is_over = fields.get("connection") == "close"
        body = b"" if asked.method == "HEAD" else await self._read_body(fields)
        if status != 200:
            raise BadAnswerError(f"{lines[0]} {body[:60]!r}", status)
        if asked.method != "HEAD" and body != body_for(asked.target.encode(), asked.body):
            raise BadAnswerError(f"an answer to something else: {body[:60]!r}", status)

    async def _read_body(self, fields: dict[str, str]) -> bytes:
        assert self._reader is not None
        if fields.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(fields["content-length"]))
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body
