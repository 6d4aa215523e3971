"""A farm in three availability zones, and the ways in which a zone is lost.

The nodes are processes (loadtests/ledger_node.py), so that they can be killed and stopped; the load
is that of loadtests/ledger_clients.py, with a ledger on both sides.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.event_verdict import NodeLedger, read_node_ledger
from loadtests.ledger_clients import Ledger, Pool
from tests.harness import ROOT, Edge, run_edge
from tests.loop_thread import LoopThread, bind_loopback
from tests.wire.fault_rows import blackhole

CONNECT_S, SERVER_S = 0.4, 1.0
# Detection by checks: two failed ones, 0.2 s apart, of which each may take 0.2 s.
CONFIG = """
cdn: {{listen: '127.0.0.1:{port}'}}
elb: {{health_check: {{interval: 200ms, rise: 2, fall: 2}}}}
haproxy:
  timeouts: {{connect: 400ms, server: 1s}}
  health_check: {{path: /health, interval: 200ms, timeout: 200ms, rise: 2, fall: 2}}
nodes:
{nodes}
"""
ZONES = {"node1": "a", "node2": "a", "node3": "b", "node4": "b", "node5": "c", "node6": "c"}
LOST = "b"
CLIENTS, PER_S = 48, 400.0
START_S_MAX = 10.0


@dataclass
class Node:
    """One node; `inside`: the network namespace that it runs in."""

    name: str
    host: str
    port: int
    ledger: Path
    inside: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "loadtests.ledger_node"]
        command += [str(self.port), self.name, str(self.ledger), self.host]
        if self.inside:
            command = ["ip", "netns", "exec", self.inside, *command]
        self.process = subprocess.Popen(command, cwd=ROOT)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, also to one that is stopped; returns when it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_S_MAX)
            self.process = None


@dataclass
class Farm:
    """A running edge, its nodes, and what its clients see."""

    edge: Edge
    port: int
    nodes: list[Node]
    ledger_path: Path
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def lost(self) -> list[Node]:
        """The nodes of the zone that is lost."""
        return [node for node in self.nodes if ZONES[node.name] == LOST]

    def wait_zone(self, *, is_up: bool) -> float:
        """Until every haproxy has the zone's nodes so; when that was seen."""
        names = {node.name for node in self.lost}
        self.edge.wait_status(
            lambda status: all(
                server["status"].startswith("UP") == is_up
                for tier in status["tiers"]
                if tier["kind"] == "haproxy"
                for server in tier["servers"]
                if server["name"] in names
            )
        )
        return time.monotonic()

    def wait_requests(self, more: int) -> None:
        """Until clients have had so many more answers."""
        aim = self.ledger.requests + more
        stop_at = time.monotonic() + START_S_MAX
        pause = threading.Event()
        while self.ledger.requests < aim:
            assert time.monotonic() < stop_at, "the load stands still"
            pause.wait(0.02)

    def asked(self) -> int:
        """Requests that were sent to the zone's nodes so far."""
        names = {node.name for node in self.lost}
        status: Any = self.edge.status()
        return sum(
            server["counters"]["requests"]
            for tier in status["tiers"]
            if tier["kind"] == "haproxy"
            for server in tier["servers"]
            if server["name"] in names
        )

    def wait_asked(self, more: int) -> None:
        """Until the zone's nodes have got so many more requests: it takes part again."""
        aim = self.asked() + more
        self.edge.wait_status(lambda _: self.asked() >= aim)

    def node_ledger(self) -> NodeLedger:
        return read_node_ledger(self.ledger_path.read_text().splitlines())


@contextmanager
def run_farm(folder: Path, host: str = "127.0.0.1", inside: str = "") -> Iterator[Farm]:
    """Edge and its nodes under load; those of the zone that is lost are at `host`, in `inside`."""
    ledger_path = folder / "nodes.ledger"
    with ExitStack() as stack:
        ports = [stack.enter_context(bind_loopback()).getsockname()[1] for _ in range(7)]
        nodes = [
            Node(name, host, port, ledger_path, inside)
            if zone == LOST
            else Node(name, "127.0.0.1", port, ledger_path)
            for (name, zone), port in zip(ZONES.items(), ports[1:], strict=True)
        ]
        for node in nodes:
            node.start()
            stack.callback(node.kill)
        rows = "\n".join(
            f"  - {{name: {node.name}, zone: {ZONES[node.name]}, web: '{node.host}:{node.port}'}}"
            for node in nodes
        )
        config = CONFIG.format(port=ports[0], nodes=rows)
        edge = stack.enter_context(run_edge(config, folder, workers=2))
        farm = Farm(edge, ports[0], nodes, ledger_path)
        edge.wait_status(
            lambda status: all(
                server["status"].startswith(("UP", "no check"))
                and (server["check"] is None or server["check"]["age_s"] is not None)
                for tier in status["tiers"]
                for server in tier["servers"]
            )
        )
        farm.wait_zone(is_up=True)
        stack.enter_context(run_clients(farm))
        yield farm


@contextmanager
def run_clients(farm: Farm) -> Iterator[None]:
    """The load, of which some is there before the body of the `with` begins."""
    thread = LoopThread("clients")
    pool = Pool(farm.port, CLIENTS, farm.ledger, PER_S, 1)
    running: Future[None] = asyncio.run_coroutine_threadsafe(pool.run(), thread.loop)
    try:
        farm.wait_requests(200)
        yield
    finally:
        pool.stop()
        running.result(START_S_MAX)
        thread.stop()


@contextmanager
def unreachable(nodes: list[Node]) -> Iterator[None]:
    """Killed, and connects to their addresses are not answered."""
    with ExitStack() as stack:
        for node in nodes:
            node.kill()
        for node in nodes:
            stack.enter_context(blackhole(node.port))
        yield
    for node in nodes:
        node.start()


# -- a network of its own -----------------------------------------------------------------------

_numbers = itertools.count()


def has_rights() -> bool:
    """Namespaces and links are root's to make, with iproute2."""
    return shutil.which("ip") is not None and os.geteuid() == 0


def may_make_networks() -> bool:
    """Does the kernel let root do so? In some containers it does not."""
    name = f"edge-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    return made.returncode == 0


@dataclass(frozen=True)
class Network:
    """A namespace with one address, and a link to it. 198.18.0.0/15 is for tests (RFC 2544)."""

    name: str
    near: str
    far: str

    def lose(self) -> None:
        """Nothing comes back any more, of new connections or old ones: no answer, no error."""
        self._inside("route", "add", "blackhole", self.near)

    def find(self) -> None:
        """As before."""
        self._inside("route", "delete", "blackhole", self.near)

    def _inside(self, *arguments: str) -> None:
        run_ip("-n", self.name, *arguments)


def run_ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def run_network() -> Iterator[Network]:
    number = os.getpid() % 16_000 * 4 + next(_numbers) % 2 * 65_536
    first = (198 << 24) + (18 << 16) + number
    near, far = (".".join(str(b) for b in (first + n).to_bytes(4, "big")) for n in (1, 2))
    name, link = f"edge-zone-{os.getpid()}", f"ez{os.getpid() % 10_000_000}"
    run_ip("netns", "add", name)
    try:
        run_ip("link", "add", link, "type", "veth", "peer", "name", "zone", "netns", name)
        run_ip("address", "add", f"{near}/30", "dev", link)
        run_ip("link", "set", link, "up")
        run_ip("-n", name, "address", "add", f"{far}/30", "dev", "zone")
        run_ip("-n", name, "link", "set", "zone", "up")
        yield Network(name, near, far)
    finally:
        run_ip("netns", "delete", name)
