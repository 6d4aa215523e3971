"""edge beside HAProxy, nginx and Varnish: CPU time per request, and memory per idle connection.

    python loadtests/side_by_side.py --seconds 5 --rounds 3 --assert

The system under test runs on core 0 alone, wrk and the nodes on core 1. Systems take turns, round
by round, so that a slow minute of the machine hits all of them; the median over the rounds counts.
CPU time is that of every process of a system (processes.py says how it is read), divided by the
requests that wrk completed: a figure that, unlike requests per second, does not depend on how fast
wrk or the nodes are. Cache hits count as such when the origin, which counts its requests, has seen
none during the turn, and when the body is right before and after it.

`scale` is the exception: one worker and two on the same cores as wrk, where there are fewer than
four. It therefore also says who was busy, and whether wrk has set the limit.

`--assert` exits with 1 when one of BARS is missed or was not measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.clock import now  # noqa: E402  (the path above comes first)
from loadtests.idle import count_open, hold_idle_connections  # noqa: E402
from loadtests.processes import Running, raise_descriptor_limit, run_wrk  # noqa: E402
from loadtests.systems import (  # noqa: E402
    COUNT_PATH,
    LARGE_BYTES,
    PROGRAM,
    SMALL_BYTES,
    SYSTEMS,
    Place,
    body_of,
    node_command,
    origin_command,
)

WRK_CONNECTIONS = 64
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 10.0
# Of the cores (or threads) that somebody has, from which part on they count as all busy.
BUSY_SHARE = 0.95
BODY_BYTES = {"/1k": SMALL_BYTES, "/100k": LARGE_BYTES}


@dataclass(frozen=True)
class Nodes:
    """What stands behind the systems of a scenario."""

    command: Callable[[Place], list[str]]
    count: int


NODES = Nodes(node_command, 3)
ORIGIN = Nodes(origin_command, 1)


@dataclass(frozen=True)
class Cores:
    """Where a system runs, and where wrk and the nodes do."""

    system: Collection[int]
    load: Collection[int]


APART = Cores({0}, {1})


@dataclass(frozen=True)
class Scenario:
    """One load and the systems that take it: the first is ours, to which others are compared."""

    path: str
    systems: tuple[str, ...]
    nodes: Nodes = NODES


CACHES = ("edge-cdn", "nginx-cache", "nginx-sendfile", "varnish")
SCENARIOS = {
    "proxy-1k": Scenario("/1k", ("edge", "haproxy", "nginx")),
    "proxy-100k": Scenario("/100k", ("edge", "haproxy", "nginx")),
    "chain-1k": Scenario("/1k", ("edge-chain", "edge")),
    "tracked-1k": Scenario("/1k", ("edge-tracked", "edge", "haproxy-tracked")),
    "memory": Scenario("/1k", ("edge", "haproxy", "nginx")),
    "hit-1k": Scenario("/1k", CACHES, ORIGIN),
    "hit-100k": Scenario("/100k", CACHES, ORIGIN),
    "scale": Scenario("/1k", ("edge-cdn-2", "edge-cdn"), ORIGIN),
}


@dataclass(frozen=True)
class Bar:
    """`system` may cost at most `at_most` times what `peer` costs, or bytes without a peer."""

    scenario: str
    system: str
    peer: str
    at_most: float


BARS = (
    Bar("proxy-1k", "edge", "haproxy", 0.95),
    Bar("proxy-100k", "edge", "haproxy", 1.00),
    Bar("chain-1k", "edge-chain", "edge", 1.15),
    Bar("tracked-1k", "edge-tracked", "edge", 1.05),
    Bar("memory", "edge", "", 12 * 1024),
    Bar("hit-1k", "edge-cdn", "nginx-cache", 0.75),
    Bar("hit-1k", "edge-cdn", "nginx-sendfile", 0.75),
    Bar("hit-1k", "edge-cdn", "varnish", 0.45),
    Bar("hit-100k", "edge-cdn", "varnish", 0.90),
)


@dataclass(frozen=True)
class Sample:
    """One turn of one system: CPU microseconds per request, requests per second, busy cores."""

    cpu_us: float
    user_us: float
    requests_per_s: float
    busy_cores: float = 0.0
    wrk_busy_cores: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the report; memory rows have bytes per connection and no times."""

    scenario: str
    system: str
    rounds: int
    cpu_us: float = 0.0
    user_us: float = 0.0
    system_us: float = 0.0
    requests_per_s: float = 0.0
    bytes_per_connection: float = 0.0
    busy_cores: float = 0.0
    wrk_busy_cores: float = 0.0

    @property
    def cost(self) -> float:
        """What bars compare."""
        return self.bytes_per_connection or self.cpu_us


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that the kernel says are free now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_until_listening(running: Running, port: int) -> None:
    """Returns when the port accepts; an error with the program's log when it ends first."""
    stop_at = now() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if running.process.poll() is not None or now() > stop_at:
                raise RuntimeError(f"{running.name}: {running.log.read_text()}") from error
            wait_a_moment(running)
        else:
            return


def wait_a_moment(running: Running) -> None:
    """50 ms, or less when the program ends."""
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(0.05)


@dataclass(frozen=True)
class Stand:
    """What runs: the ports of the nodes, and by name each system with its port."""

    node_ports: tuple[int, ...]
    systems: dict[str, tuple[Running, int]]


@contextmanager
def started(
    names: list[str], folder: Path, nodes: Nodes = NODES, cores: Cores = APART
) -> Iterator[Stand]:
    """The nodes and the named systems, all accepting."""
    with ExitStack() as stack:

        def start(name: str, command: list[str], where: Collection[int], port: int) -> Running:
            log = folder / f"{name}.log"
            running = stack.enter_context(Running(name, command, where, log, ROOT))
            wait_until_listening(running, port)
            return running

        ports = free_ports(nodes.count + len(names))
        node_ports = tuple(ports[: nodes.count])
        for number, port in enumerate(node_ports, 1):
            place = Place(port, (), folder / f"node{number}")
            start(f"node{number}", nodes.command(place), cores.load, port)
        systems = {}
        for name, port in zip(names, ports[nodes.count :], strict=True):
            command = SYSTEMS[name](Place(port, node_ports, folder / name))
            systems[name] = (start(name, command, cores.system, port), port)
        yield Stand(node_ports, systems)


@dataclass(frozen=True)
class Turn:
    """What one turn of a system is: wrk asks for `path` for some seconds."""

    path: str
    seconds: int
    cores: Cores = APART
    threads: int = 1

    def measure(self, stand: Stand, system: str) -> Sample:
        """The CPU time of all the system's processes for what wrk completed."""
        running, port = stand.systems[system]
        url = f"http://127.0.0.1:{port}{self.path}"
        before = running.cpu()
        result = run_wrk(url, self.seconds, WRK_CONNECTIONS, self.cores.load, self.threads)
        used = running.cpu().since(before)
        # wrk does not look at bodies; 2 %: its sum is rounded to 1/100 of a unit.
        is_short = result.read_bytes < 0.98 * result.requests * BODY_BYTES[self.path]
        if result.errors or not result.requests or is_short:
            raise RuntimeError(f"{system}: {result}")
        cpu_us = used.total_ns / 1000 / result.requests
        return Sample(
            cpu_us,
            cpu_us * used.user_share,
            result.requests_per_s,
            used.total_ns / 1e9 / result.seconds,
            result.busy_cores,
        )


class HitTurn(Turn):
    """A turn of a cache, which must answer every request itself, and rightly."""

    def measure(self, stand: Stand, system: str) -> Sample:
        """An error when the origin was asked, or when a body is not the origin's."""
        _, port = stand.systems[system]
        self.check_body(port)  # and fills the cache, the first time
        before = count_requests(stand.node_ports[0])
        sample = super().measure(stand, system)
        self.check_body(port)
        # This question is one itself.
        asked = count_requests(stand.node_ports[0]) - before - 1
        if asked:
            raise RuntimeError(f"{system}: {asked} requests of a turn were no hits")
        return sample

    def check_body(self, port: int) -> None:
        """One GET with wrk's Host; an error when the body is another one."""
        body = get(port, self.path)
        if body != body_of(BODY_BYTES[self.path]):
            raise RuntimeError(f"port {port}: {self.path} has a wrong body of {len(body)} bytes")


def get(port: int, path: str) -> bytes:
    """The body of a 200; any other status is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"port {port}: {answer.status} for {path}")
    return body


def count_requests(origin_port: int) -> int:
    """How many requests the origin has received, this one included."""
    counters = re.search(rb"requests\s+\d+ \d+ (\d+)", get(origin_port, COUNT_PATH))
    if counters is None:
        raise RuntimeError("the origin does not say how many requests it has received")
    return int(counters[1])


def run_cpu_scenario(name: str, systems: list[str], seconds: int, rounds: int) -> list[Row]:
    """All rounds of one scenario; the order of the systems turns by one each round."""
    scenario = SCENARIOS[name]
    kind = HitTurn if scenario.nodes is ORIGIN else Turn
    with temporary_folder() as folder, started(systems, folder, scenario.nodes) as stand:
        samples = take_turns(stand, systems, kind(scenario.path, seconds), rounds)
    return [cpu_row(name, system, samples[system]) for system in systems]


def take_turns(
    stand: Stand, systems: list[str], turn: Turn, rounds: int
) -> dict[str, list[Sample]]:
    """Each system once to warm up (pools, page cache), then once per round."""
    samples: dict[str, list[Sample]] = {system: [] for system in systems}
    for system in systems:
        replace(turn, seconds=1).measure(stand, system)
    for number in range(rounds):
        first = number % len(systems)
        for system in systems[first:] + systems[:first]:
            samples[system].append(turn.measure(stand, system))
    return samples


def run_scale_scenario(systems: list[str], seconds: int, rounds: int) -> list[Row]:
    """Two workers and one, each on two cores."""
    scenario = SCENARIOS["scale"]
    cores = scale_cores(sorted(os.sched_getaffinity(0)))
    turn = HitTurn(scenario.path, seconds, cores, threads=2)
    with temporary_folder() as folder, started(systems, folder, ORIGIN, cores) as stand:
        samples = take_turns(stand, systems, turn, rounds)
    return [cpu_row("scale", system, samples[system]) for system in systems]


def scale_cores(available: list[int]) -> Cores:
    """Two for edge and two for wrk; where there are fewer, they share what there is."""
    if len(available) >= 4:
        return Cores(available[:2], available[2:4])
    return Cores(available[:2], available[:2])


def cpu_row(scenario: str, system: str, samples: list[Sample]) -> Row:
    """The medians of one system's samples."""

    def median(value: Callable[[Sample], float]) -> float:
        return round(statistics.median(value(sample) for sample in samples), 3)

    return Row(
        scenario,
        system,
        len(samples),
        cpu_us=median(lambda sample: sample.cpu_us),
        user_us=median(lambda sample: sample.user_us),
        system_us=median(lambda sample: sample.cpu_us - sample.user_us),
        requests_per_s=median(lambda sample: sample.requests_per_s),
        busy_cores=median(lambda sample: sample.busy_cores),
        wrk_busy_cores=median(lambda sample: sample.wrk_busy_cores),
    )


def run_memory_scenario(systems: list[str], connections: int) -> list[Row]:
    """Growth of resident memory with idle kept connections, each after one request."""
    rows = []
    for system in systems:
        with temporary_folder() as folder, started([system], folder) as stand:
            process, port = stand.systems[system]
            with hold_idle_connections(port, "/1k", WRK_CONNECTIONS):
                before = process.resident_bytes()  # warm, with the connections to the nodes
                with hold_idle_connections(port, "/1k", connections) as held:
                    grown = process.resident_bytes() - before
                    still_open = count_open(held)
            if still_open != connections:
                raise RuntimeError(f"{system}: {still_open} of {connections} kept open")
            rows.append(Row("memory", system, 1, bytes_per_connection=grown / connections))
    return rows


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that workers under another user may read."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def judge(rows: list[Row]) -> list[tuple[str, bool]]:
    """One line per bar, and whether it is kept; a bar that was not measured is not kept."""
    cost = {(row.scenario, row.system): row.cost for row in rows}
    verdicts = []
    for bar in BARS:
        ours = cost.get((bar.scenario, bar.system))
        peer = cost.get((bar.scenario, bar.peer)) if bar.peer else 1.0
        label = f"{bar.scenario}: {bar.system}" + (f" / {bar.peer}" if bar.peer else ", bytes")
        if ours is None or not peer:
            verdicts.append((f"{label}: not measured, bar {bar.at_most:g}", False))
            continue
        value = ours / peer
        kept = value <= bar.at_most
        word = "kept" if kept else "MISSED"
        verdicts.append((f"{label}: {value:.3f}, bar {bar.at_most:g}: {word}", kept))
    return verdicts


def report(rows: list[Row]) -> str:
    """The table, for people."""
    lines = [
        f"{'scenario':<11} {'system':<14} {'rounds':>6} {'CPU us/req':>10} {'user':>7} {'sys':>7}"
        f" {'req/s':>9} {'B/conn':>9} {'1st/it':>8}"
    ]
    for row in rows:
        first = SCENARIOS[row.scenario].systems[0]
        ours = next((r for r in rows if (r.scenario, r.system) == (row.scenario, first)), None)
        ratio = f"{ours.cost / row.cost:8.3f}" if ours and row.cost else f"{'-':>8}"
        lines.append(
            f"{row.scenario:<11} {row.system:<14} {row.rounds:>6} {row.cpu_us:>10.2f}"
            f" {row.user_us:>7.2f} {row.system_us:>7.2f} {row.requests_per_s:>9.0f}"
            f" {row.bytes_per_connection:>9.0f} {ratio}"
        )
    lines += explain_scale(rows, scale_cores(sorted(os.sched_getaffinity(0))))
    lines.append("CPU: nanoseconds of schedstat over all threads of all processes of a system;")
    lines.append("user and sys: that sum, divided as utime to stime (10 ms ticks).")
    return "\n".join(lines)


def explain_scale(rows: list[Row], cores: Cores) -> list[str]:
    """What the second worker brings, and who was busy; nothing when it was not measured."""
    by_system = {row.system: row for row in rows if row.scenario == "scale"}
    one, two = by_system.get("edge-cdn"), by_system.get("edge-cdn-2")
    if one is None or two is None:
        return []
    core_count = len({*cores.system, *cores.load})
    lines = [
        f"scale: 2 workers / 1: {two.requests_per_s / one.requests_per_s:.2f} of the requests per"
        f" second, {two.cpu_us / one.cpu_us:.2f} of the CPU time per request"
    ]
    for row, workers in ((one, 1), (two, 2)):
        if row.busy_cores >= BUSY_SHARE * workers:
            limit = "edge is the limit"
        elif row.wrk_busy_cores >= BUSY_SHARE * len(cores.load):
            limit = "the load generator is the limit"
        elif row.busy_cores + row.wrk_busy_cores >= BUSY_SHARE * core_count:
            limit = "the load generator is the limit: it has what edge lacks"
        else:
            limit = "neither is busy all the time"
        lines.append(
            f"scale: {workers} x worker: edge keeps {row.busy_cores:.2f} and wrk"
            f" {row.wrk_busy_cores:.2f} of {core_count} cores busy: {limit}"
        )
    return lines


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="edge beside HAProxy, nginx and Varnish")
    parser.add_argument("--seconds", type=int, default=5, help="length of one turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones, for memory")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="default: all")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="default: installed")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "side_by_side.json")
    parser.add_argument("--assert", action="store_true", dest="is_asserting")
    return parser.parse_args()


def main() -> int:
    """Exit status 1: --assert was given and a bar was missed."""
    options = parse_options()
    raise_descriptor_limit()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps servers; not in a user's PATH
    present = [
        name
        for name in options.system or SYSTEMS
        if name not in PROGRAM or shutil.which(PROGRAM[name])
    ]
    rows: list[Row] = []
    for name in options.scenario or SCENARIOS:
        systems = [system for system in SCENARIOS[name].systems if system in present]
        if name == "memory":
            rows += run_memory_scenario(systems, options.connections)
        elif name == "scale":
            rows += run_scale_scenario(systems, options.seconds, options.rounds)
        elif systems:
            rows += run_cpu_scenario(name, systems, options.seconds, options.rounds)
    verdicts = judge(rows)
    text = "\n".join([report(rows), *(line for line, _ in verdicts)])
    sys.stdout.write(text + "\n")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    bars = [{"bar": line, "kept": kept} for line, kept in verdicts]
    options.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "bars": bars}))
    return int(options.is_asserting and not all(kept for _, kept in verdicts))


if __name__ == "__main__":
    sys.exit(main())
