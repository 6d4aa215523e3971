"""Load over edge while a node is killed with SIGKILL and comes back: no request may fail.

    python loadtests/failover.py --seconds 10

Three nodes behind the haproxy tier, closed-loop clients that send GET only (which may be repeated,
RFC 9110 §9.2.2) and notice every answer that is missing, late, cut or not 200. At 30 % of the time
node2 is killed, at 60 % it is started again. Asserted, with exit status 1:

* not one request failed;
* the killed node is DOWN within fall x interval, and from then on gets no request and no connect;
* it answers requests again within rise x interval (+ the check's own time) after it listens again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.clock import now  # noqa: E402  (the path above comes first)
from loadtests.processes import Running  # noqa: E402
from loadtests.side_by_side import free_ports, wait_until_listening  # noqa: E402

CLIENTS = 16
INTERVAL_S, RISE, FALL = 0.3, 2, 3
ANSWER_TIMEOUT_S = 5.0
# The scheduler's and the poll's own lateness on a busy machine.
SLACK_S = 0.5
POLL_S = 0.02
KILLED = "node2"
SYSTEM_CORES, LOAD_CORES = {0}, {1}
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@dataclass
class Ledger:
    """What the clients saw."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    by_node: Counter[str] = field(default_factory=Counter)
    started_at: float = field(default_factory=now)
    slowest_s: float = 0.0
    slowest_at_s: float = 0.0
    is_over: bool = False


async def run_client(port: int, ledger: Ledger) -> None:
    """One client: a request at a time on a kept connection, until the ledger is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not ledger.is_over:
        ledger.requests += 1
        started_at = now()
        try:
            writer.write(REQUEST)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                node = await read_answer(reader)
            ledger.by_node[node] += 1
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            ledger.failures.append(f"after {now() - started_at:.3f} s: {error!r}")
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        taken_s = now() - started_at
        if taken_s > ledger.slowest_s:
            ledger.slowest_s, ledger.slowest_at_s = taken_s, started_at - ledger.started_at
    writer.close()


async def read_answer(reader: asyncio.StreamReader) -> str:
    """Reads one whole answer and returns its node; ValueError when it is not 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if not lines[0].startswith("HTTP/1.1 200 "):
        raise ValueError(lines[0])
    await reader.readexactly(int(fields.get("content-length", "none")))
    return fields.get("x-node", "unnamed")


class Cluster:
    """Three nodes and edge in front of them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        *node_ports, self.port, self.admin_port = free_ports(5)
        self.node_ports = {f"node{n}": port for n, port in enumerate(node_ports, 1)}
        self.nodes = {name: self.start_node(name) for name in self.node_ports}
        self._start_edge()

    def start_node(self, name: str) -> Running:
        """Starts a node and waits until it listens."""
        port = self.node_ports[name]
        command = [sys.executable, str(ROOT / "loadtests" / "counting_node.py"), str(port), name]
        log = self._folder / f"{name}.log"
        running = self._stack.enter_context(Running(name, command, LOAD_CORES, log, ROOT))
        wait_until_listening(running, port)
        return running

    def _start_edge(self) -> None:
        config = self._folder / "edge.yaml"
        check = f"{{interval: {INTERVAL_S}s, rise: {RISE}, fall: {FALL}}}"
        nodes = "".join(
            f"  - {{name: {name}, web: 127.0.0.1:{port}}}\n"
            for name, port in self.node_ports.items()
        )
        config.write_text(
            f"admin: {{listen: 127.0.0.1:{self.admin_port}}}\n"
            f"haproxy: {{listen: 127.0.0.1:{self.port}, health_check: {check}}}\nnodes:\n{nodes}"
        )
        command = [sys.executable, "-m", "edge", "run", str(config), "--workers", "1"]
        log = self._folder / "edge.log"
        edge = self._stack.enter_context(Running("edge", command, SYSTEM_CORES, log, ROOT))
        wait_until_listening(edge, self.port)
        wait_until_listening(edge, self.admin_port)
        # Sockets listen before a worker accepts; an answer says that one does.
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10).close()

    def server(self, name: str) -> Any:
        """The server's object in GET /status."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/status", timeout=5) as r:
            status = json.load(r)
        return next(s for s in status["tiers"][0]["servers"] if s["name"] == name)


async def wait_until(is_reached: Callable[[], bool], timeout_s: float) -> float:
    """Seconds until is_reached() was true, asked in a thread; TimeoutError after `timeout_s`."""
    started_at = now()
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(is_reached):  # noqa: ASYNC110 (happens elsewhere)
            await asyncio.sleep(POLL_S)
    return now() - started_at


def contacts(server: Any) -> tuple[int, int, int]:
    """How often edge turned to that server for traffic."""
    counters = server["counters"]
    return counters["requests"], counters["connects"], counters["connect_errors"]


async def drive(cluster: Cluster, seconds: float, ledger: Ledger) -> list[tuple[str, bool]]:
    """The scenario; returns what was asserted and whether it held."""
    clients = [asyncio.create_task(run_client(cluster.port, ledger)) for _ in range(CLIENTS)]
    await asyncio.sleep(seconds * 0.3)
    cluster.nodes[KILLED].process.kill()
    fall_s = FALL * INTERVAL_S + SLACK_S
    findings = []
    down_s = await wait_until(lambda: cluster.server(KILLED)["status"] == "DOWN", fall_s * 4)
    findings.append((f"DOWN {down_s:.2f} s after the kill (at most {fall_s:.2f})", down_s < fall_s))
    before = contacts(await asyncio.to_thread(cluster.server, KILLED))
    await asyncio.sleep(max(0.1, seconds * 0.3 - down_s))
    after = contacts(await asyncio.to_thread(cluster.server, KILLED))
    findings.append((f"traffic to it while DOWN: {before} -> {after}", before == after))

    await asyncio.to_thread(cluster.start_node, KILLED)
    answered = ledger.by_node[KILLED]
    rise_s = (RISE + 1) * INTERVAL_S + SLACK_S  # the first check may begin an interval later
    back_s = await wait_until(lambda: ledger.by_node[KILLED] > answered, rise_s * 4)
    findings.append((f"answers again after {back_s:.2f} s (at most {rise_s:.2f})", back_s < rise_s))
    await asyncio.sleep(max(0.1, seconds * 0.4 - back_s))
    ledger.is_over = True
    await asyncio.gather(*clients)
    findings.append((f"{len(ledger.failures)} of {ledger.requests} failed", not ledger.failures))
    return findings


def main() -> int:
    """Exit status 1: something that is asserted did not hold."""
    parser = argparse.ArgumentParser(description="kill a node under load")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-failover-") as name, ExitStack() as stack:
        cluster = Cluster(stack, Path(name))
        ledger = Ledger()
        findings = uvloop.run(drive(cluster, options.seconds, ledger))
    lines = [f"{'ok  ' if holds else 'FAIL'} {what}" for what, holds in findings]
    slowest = f"slowest {ledger.slowest_s * 1000:.0f} ms, sent at {ledger.slowest_at_s:.2f} s"
    lines.append(f"     by node {dict(ledger.by_node)}; {slowest}")
    lines += [f"     {failure}" for failure in ledger.failures[:10]]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(not all(holds for _, holds in findings))


if __name__ == "__main__":
    sys.exit(main())
