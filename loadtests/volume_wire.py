"""The cache's volume test over real connections: fills, purges a key, and keeps asking meanwhile.

Called by cache_volume.py, with fewer objects than in the store itself: here every object comes from
an origin (nginx, whose answers carry `Surrogate-Key`) through a worker, and the purge through the
admin API. The origin counts its requests, so it is known of every answer whether it was a hit; and
each body names its path, so it is known whose it is.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvloop

from edge.clock import now
from loadtests.idle import open_connection
from loadtests.pauses import Ask, Longest, Prober, longest_between
from loadtests.processes import Running
from loadtests.side_by_side import (
    ROOT,
    count_requests,
    free_ports,
    temporary_folder,
    wait_until_listening,
)
from loadtests.systems import COUNT_PATH, nginx_command, nginx_http, nginx_main

SERVICE, TOKEN, KEY = "SU1Z0isxPaozGVKXdv0eY", "volume-test", "tagged"
BODY_BYTES = 1024
VISITORS = 32
# Of a number of objects that is too large to ask for them all again.
SAMPLE = 2000
BASELINE_S = 1.0
LOOK_S = 0.02
BACK_TIMEOUT_S = 60.0
VISIT_TIMEOUT_S = 600.0
# Of the memory of the purged objects, what must be free to say that it is back.
BACK_SHARE = 0.98
# Of memory for each object: twice what it takes, so that none is evicted.
ROOM_BYTES = 4096
SIZE_MIB_MIN = 64


@dataclass(frozen=True)
class Volume:
    """How many objects, and how many of them carry the key that is purged."""

    objects: int
    tagged: int

    def path(self, number: int) -> str:
        """Of that object; the tagged ones come first."""
        return f"/tagged/{number}" if number < self.tagged else f"/plain/{number}"

    def paths(self, numbers: range) -> Iterator[str]:
        """Of some objects, SAMPLE at most, evenly spread."""
        return (self.path(number) for number in numbers[:: max(1, len(numbers) // SAMPLE)])

    @property
    def tagged_numbers(self) -> range:
        """The objects that the purge is for."""
        return range(self.tagged)

    @property
    def plain_numbers(self) -> range:
        """The others."""
        return range(self.tagged, self.objects)


@dataclass(frozen=True)
class Ports:
    """Of 127.0.0.1."""

    origin: int
    edge: int
    admin: int


def body_of_path(path: str) -> bytes:
    """What the origin answers: it names the path, and has BODY_BYTES."""
    return path.encode().ljust(BODY_BYTES, b".")


def origin_command(port: int, folder: Path) -> list[str]:
    """nginx that answers any path, those under /tagged/ with the key, and counts."""
    locations = "".join(
        # The number's digits are part of the length, so each length has a location of its own.
        f'    location ~ "^/{kind}/[0-9]{{{digits}}}$" {{'
        f' return 200 "$uri{"." * (BODY_BYTES - len(kind) - 2 - digits)}"; }}\n'
        for kind in ("tagged", "plain")
        for digits in range(1, 8)
    )
    text = (
        nginx_main(folder)
        + f'http {{\n  map $uri $key {{ default "page"; ~^/tagged/ "page {KEY}"; }}\n'
        + nginx_http(folder)
        + f"  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n"
        '    add_header Cache-Control "public, max-age=86400";\n'
        "    add_header Surrogate-Key $key;\n"
        f"    location = {COUNT_PATH} {{ stub_status; }}\n{locations}  }}\n}}\n"
    )
    return nginx_command(folder, text)


def edge_command(ports: Ports, volume: Volume, folder: Path) -> list[str]:
    """edge's cdn tier alone, with room for all objects."""
    size_mib = max(SIZE_MIB_MIN, volume.objects * ROOM_BYTES // 2**20)
    config = folder / "edge.yaml"
    config.write_text(
        f"admin: {{listen: 127.0.0.1:{ports.admin}}}\n"
        f"cdn:\n  listen: 127.0.0.1:{ports.edge}\n  cache: {{size: {size_mib}MiB}}\n"
        f"  service: {{id: {SERVICE}, tokens: [{TOKEN}]}}\n"
        f"nodes:\n  - {{name: origin, web: 127.0.0.1:{ports.origin}}}\n"
    )
    return [sys.executable, "-m", "edge", "run", str(config), "--workers", "1"]


class Cluster:
    """The origin and edge in front of it, both on any core."""

    def __init__(self, stack: ExitStack, volume: Volume) -> None:
        folder = stack.enter_context(temporary_folder())
        self.ports = Ports(*free_ports(3))
        cores = os.sched_getaffinity(0)

        def start(name: str, command: list[str], port: int) -> None:
            running = Running(name, command, cores, folder / f"{name}.log", ROOT)
            wait_until_listening(stack.enter_context(running), port)

        origin = self.ports.origin
        start("origin", origin_command(origin, folder / "origin"), origin)
        start("edge", edge_command(self.ports, volume, folder), self.ports.edge)
        self._admin = http.client.HTTPConnection("127.0.0.1", self.ports.admin, timeout=10)
        stack.enter_context(closing(self._admin))

    def cache(self) -> dict[str, Any]:
        """The cache's section of GET /status."""
        section: dict[str, Any] = self._ask_admin("GET", "/status")["cache"]
        return section

    def purge(self) -> float:
        """Purges KEY; seconds until the answer."""
        began_at = now()
        answer = self._ask_admin("POST", f"/service/{SERVICE}/purge/{KEY}")
        taken_s = now() - began_at
        if answer.get("status") != "ok":
            raise RuntimeError(f"the purge failed: {answer}")
        return taken_s

    def _ask_admin(self, method: str, path: str) -> Any:
        self._admin.request(method, path, headers={"Fastly-Key": TOKEN})
        answer = self._admin.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {body!r}")
        return json.loads(body)

    def visit(self, paths: Iterable[str]) -> int:
        """Asks for all of them, checks every body; how many the origin was asked for."""
        before = count_requests(self.ports.origin)
        uvloop.run(visit_all(self.ports.edge, iter(paths)))
        return count_requests(self.ports.origin) - before - 1


class Visitor(asyncio.Protocol):
    """Asks for the next path as soon as it has the answer to the one before."""

    def __init__(self, paths: Iterator[str], is_done: asyncio.Future[None]) -> None:
        self._paths = paths
        self._is_done = is_done
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._ask()

    def _ask(self) -> None:
        self._path = next(self._paths, "")
        if self._path:
            self._transport.write(request_for(self._path))
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not is_whole(self._received):
            return
        received, self._received = self._received, b""
        try:
            check_answer(received, self._path)
        except RuntimeError as error:
            self._is_done.set_exception(error)
            self._transport.abort()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_done.done():
            return
        if self._path:
            self._is_done.set_exception(RuntimeError(f"closed within {self._path}: {error}"))
        else:
            self._is_done.set_result(None)


async def visit_all(port: int, paths: Iterator[str]) -> None:
    """VISITORS at once, until there are no paths left; the first error ends it."""
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(VISITORS)]
    for end in ends:
        await loop.create_connection(partial(Visitor, paths, end), "127.0.0.1", port)
    async with asyncio.timeout(VISIT_TIMEOUT_S):
        await asyncio.gather(*ends)


def request_for(path: str) -> bytes:
    """The request of all who ask here; one Host, or objects would not be the same."""
    return f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()


def is_whole(received: bytes) -> bool:
    """Is the answer's body, of BODY_BYTES, all there?"""
    end = received.find(b"\r\n\r\n")
    return end >= 0 and len(received) >= end + 4 + BODY_BYTES


def check_answer(received: bytes, path: str) -> None:
    """An error when it is not the 200 with the body of that path."""
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or body != body_of_path(path):
        raise RuntimeError(f"{path}: {head!r} {body[:40]!r}")


def make_ask(port: int, volume: Volume) -> Callable[[], Ask]:
    """For a Prober: GET of one plain object after the other, on one connection."""

    def connect() -> Ask:
        connection = open_connection(port, "127.0.0.1")
        numbers = volume.plain_numbers

        def ask(count: int) -> None:
            path = volume.path(numbers[count * 7919 % len(numbers)])
            connection.sendall(request_for(path))
            check_answer(receive_whole(connection), path)

        return ask

    return connect


def receive_whole(connection: socket.socket) -> bytes:
    """One answer; ConnectionError when it ends before."""
    received = b""
    while not is_whole(received):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {received!r}")
        received += data
    return received


@dataclass(frozen=True)
class Result:
    """What was measured; over the wire, a pause may be that of a worker without a core."""

    objects: int
    purged: int
    bytes_per_object: float
    index_bytes: float | None  # None: over the wire it is not known how long heads are
    purge_ms: float
    back_s: float
    quiet: Longest  # before the purge
    purging: Longest  # from it until the memory is back


def measure_wire(volume: Volume) -> Result:
    """The whole scenario; RuntimeError when an answer was wrong, or not from where it should be."""
    with ExitStack() as stack:
        cluster = Cluster(stack, volume)
        empty_bytes = cluster.cache()["used_bytes"]
        fetched = cluster.visit(volume.path(number) for number in range(volume.objects))
        expect("fetched to fill", fetched, volume.objects)
        full_bytes = cluster.cache()["used_bytes"]
        each_bytes = (full_bytes - empty_bytes) / volume.objects
        expect("fetched again", cluster.visit(volume.paths(range(volume.objects))), 0)
        aim_bytes = full_bytes - BACK_SHARE * volume.tagged * each_bytes
        core = max(os.sched_getaffinity(0))
        with Prober(make_ask(cluster.ports.edge, volume), core) as prober:
            began_at = now()
            threading.Event().wait(BASELINE_S)
            purged_at = now()
            purge_s = cluster.purge()
            wait_until_at_most(lambda: cluster.cache()["used_bytes"], aim_bytes)
            back_at = now()
            _, pauses = prober.stop()
        sample = list(volume.paths(volume.tagged_numbers))
        expect("purged and fetched", cluster.visit(sample), len(sample))
        expect("not purged, fetched", cluster.visit(volume.paths(volume.plain_numbers)), 0)
    return Result(
        volume.objects,
        volume.tagged,
        each_bytes,
        None,
        purge_s * 1000,
        back_at - purged_at,
        longest_between(pauses, began_at, purged_at),
        longest_between(pauses, purged_at, back_at),
    )


def expect(what: str, got: int, expected: int) -> None:
    """An error that says what differs."""
    if got != expected:
        raise RuntimeError(f"objects {what}: {got}, expected {expected}")


def wait_until_at_most(value: Callable[[], float], most: float) -> None:
    """Asks every LOOK_S; TimeoutError after BACK_TIMEOUT_S."""
    stop_at = now() + BACK_TIMEOUT_S
    while (got := value()) > most:
        if now() > stop_at:
            raise TimeoutError(f"{got:.0f} bytes in use after {BACK_TIMEOUT_S:g} s, not {most:.0f}")
        threading.Event().wait(LOOK_S)
