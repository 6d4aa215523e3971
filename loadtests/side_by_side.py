"""edge beside HAProxy and nginx: CPU time per request, and memory per idle connection.

    python loadtests/side_by_side.py --seconds 5 --rounds 3 --assert

The system under test runs on core 0 alone, wrk and the three nodes on core 1. Systems take turns,
round by round, so that a slow minute of the machine hits all of them; the median over the rounds
counts. CPU time is that of every process of a system (processes.py says how it is read), divided by
the requests that wrk completed: a figure that, unlike requests per second, does not depend on how
fast wrk or the nodes are. `--assert` exits with 1 when one of BARS is missed or was not measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.clock import now  # noqa: E402  (the path above comes first)
from loadtests.idle import count_open, hold_idle_connections  # noqa: E402
from loadtests.processes import Running, raise_descriptor_limit, run_wrk  # noqa: E402
from loadtests.systems import PROGRAM, SYSTEMS, Place, node_command  # noqa: E402

SYSTEM_CORE, LOAD_CORE = 0, 1
WRK_CONNECTIONS = 64
NODES = 3
START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Scenario:
    """One load and the systems that take it."""

    path: str
    systems: tuple[str, ...]


SCENARIOS = {
    "proxy-1k": Scenario("/1k", ("edge", "haproxy", "nginx")),
    "proxy-100k": Scenario("/100k", ("edge", "haproxy", "nginx")),
    "chain-1k": Scenario("/1k", ("edge-chain", "edge")),
    "memory": Scenario("/1k", ("edge", "haproxy", "nginx")),
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
    Bar("memory", "edge", "", 12 * 1024),
)


@dataclass(frozen=True)
class Sample:
    """One turn of one system: CPU microseconds per request, requests per second."""

    cpu_us: float
    user_us: float
    requests_per_s: float


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


@contextmanager
def started(names: list[str], folder: Path) -> Iterator[dict[str, tuple[Running, int]]]:
    """The nodes and the named systems, all accepting; by name: (running, port)."""
    with ExitStack() as stack:

        def start(name: str, command: list[str], core: int, port: int) -> Running:
            log = folder / f"{name}.log"
            running = stack.enter_context(Running(name, command, core, log, ROOT))
            wait_until_listening(running, port)
            return running

        ports = free_ports(NODES + len(names))
        node_ports = tuple(ports[:NODES])
        for number, port in enumerate(node_ports, 1):
            place = Place(port, (), folder / f"node{number}")
            start(f"node{number}", node_command(place), LOAD_CORE, port)
        systems = {}
        for name, port in zip(names, ports[NODES:], strict=True):
            command = SYSTEMS[name](Place(port, node_ports, folder / name))
            systems[name] = (start(name, command, SYSTEM_CORE, port), port)
        yield systems


def measure_cpu(running: Running, url: str, seconds: int) -> Sample:
    """One turn: the CPU time of all its processes for what wrk completed."""
    before = running.cpu()
    result = run_wrk(url, seconds, WRK_CONNECTIONS, LOAD_CORE)
    used = running.cpu().since(before)
    if result.errors or not result.requests:
        raise RuntimeError(f"{running.name}: {result}")
    cpu_us = used.total_ns / 1000 / result.requests
    return Sample(cpu_us, cpu_us * used.user_share, result.requests_per_s)


def run_cpu_scenario(name: str, systems: list[str], seconds: int, rounds: int) -> list[Row]:
    """All rounds of one scenario; the order of the systems turns by one each round."""
    path = SCENARIOS[name].path
    samples: dict[str, list[Sample]] = {system: [] for system in systems}
    with temporary_folder() as folder, started(systems, folder) as running:
        for process, port in running.values():
            measure_cpu(process, f"http://127.0.0.1:{port}{path}", 1)  # warm: pools, page cache
        for turn in range(rounds):
            first = turn % len(systems)
            for system in systems[first:] + systems[:first]:
                process, port = running[system]
                url = f"http://127.0.0.1:{port}{path}"
                samples[system].append(measure_cpu(process, url, seconds))
    return [cpu_row(name, system, samples[system]) for system in systems]


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
    )


def run_memory_scenario(systems: list[str], connections: int) -> list[Row]:
    """Growth of resident memory with idle kept connections, each after one request."""
    rows = []
    for system in systems:
        with temporary_folder() as folder, started([system], folder) as running:
            process, port = running[system]
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
        f"{'scenario':<11} {'system':<11} {'rounds':>6} {'CPU us/req':>10} {'user':>7} {'sys':>7}"
        f" {'req/s':>9} {'B/conn':>9} {'edge/it':>8}"
    ]
    for row in rows:
        ours = next((r for r in rows if (r.scenario, r.system) == (row.scenario, "edge")), None)
        ratio = f"{ours.cost / row.cost:8.3f}" if ours and row.cost else f"{'-':>8}"
        lines.append(
            f"{row.scenario:<11} {row.system:<11} {row.rounds:>6} {row.cpu_us:>10.2f}"
            f" {row.user_us:>7.2f} {row.system_us:>7.2f} {row.requests_per_s:>9.0f}"
            f" {row.bytes_per_connection:>9.0f} {ratio}"
        )
    lines.append("CPU: nanoseconds of schedstat over all threads of all processes of a system;")
    lines.append("user and sys: that sum, divided as utime to stime (10 ms ticks).")
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="edge beside HAProxy and nginx")
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
