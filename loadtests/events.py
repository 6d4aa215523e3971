"""Ten minutes' worth of events in a minute and a half of load, and nothing may be lost.

    python loadtests/events.py --assert
    python loadtests/events.py --seconds 12 --reloads 2 --upgrades 0 --worker-kills 1 --node-kills 2

The whole chain (cdn, elb, haproxy) in two workers before three nodes. Clients of
loadtests/ledger_clients.py first find out what the machine can do (edge, nodes and clients share
its cores), then send half of that, while three lanes of events run at the same time:

* the supervisor's: reloads (SIGHUP), and among them upgrades in place (SIGUSR2);
* the workers': SIGKILL to one that has clients, of whichever generation;
* the nodes': SIGKILL, a while without it, a new start; in the middle `edge rollout` over all.

Afterwards, when kept connections have aged: the verdict of the ledgers (event_verdict.py), the
census against the one before the load (event_census.py), and edge's log without a traceback.
`--assert` exits with 1 when there is a fault. Which worker and node is hit is drawn with --seed;
when exactly it is hit the machine decides, so a run cannot be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.clock import now  # noqa: E402  (the path above comes first)
from loadtests.event_census import (  # noqa: E402
    Census,
    cache_faults,
    running_things,
    take_census,
)
from loadtests.event_cluster import Cluster, EventError  # noqa: E402
from loadtests.event_verdict import Disturbances, Kill, judge, read_node_ledger  # noqa: E402
from loadtests.ledger_clients import Ledger, Pool  # noqa: E402

CLIENTS = 32
CALIBRATION_S = 3.0
LOAD_SHARE = 0.5
SECONDS_MAX = 90.0
# A killed node stays away: shorter than its checks need to notice, and longer.
AWAY_S = (0.1, 0.6, 1.5)
# Kept connections to nodes are closed after 4 s, in ticks; and sweeps take their time.
REST_S_MAX = 15.0
# Not in step with the health checks of the configuration.
CENSUSES, CENSUS_PAUSE_S = 5, 0.13
FAULTS_SHOWN = 20
TROUBLE = ("Traceback", "Exception", "Assertion", "still has connections")


@dataclass(frozen=True)
class Wanted:
    """How many of each event, within how many seconds of load."""

    seconds: float
    reloads: int
    upgrades: int
    worker_kills: int
    node_kills: int
    rollouts: int


@dataclass
class Report:
    """Of one run; `events` counts what has really happened."""

    wanted: Wanted
    saturation_per_s: float = 0.0
    load_per_s: float = 0.0
    load_s: float = 0.0
    done_per_s: float = 0.0  # less than the load where the machine had too little left for it
    events: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    slowest_ms: float = 0.0
    failed_idempotent: int = 0
    failed_posts: int = 0
    posts_twice: int = 0
    excused: dict[str, int] = field(default_factory=dict)
    bodies_cut_at_nodes: int = 0
    faults: list[str] = field(default_factory=list)


class Chaos:
    """One run on a cluster."""

    def __init__(self, cluster: Cluster, wanted: Wanted, seed: int) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._seed = seed
        self._began_at = 0.0
        self._disturbances = Disturbances()
        self._ledger = Ledger()
        self.report = Report(wanted)

    async def run(self) -> None:
        """The whole program; everything that it finds is in `report`."""
        await self._cluster.wait_all_up()
        before = await self._rest()
        self.report.saturation_per_s = round(await self._calibrate(), 1)
        self.report.load_per_s = round(LOAD_SHARE * self.report.saturation_per_s, 1)
        await self._disturb()
        try:
            after = await self._rest()
        except EventError as error:
            self.report.faults.append(f"not at rest afterwards: {error}")
        else:
            self.report.faults += before.differences(after)
        self.report.faults += cache_faults(self._cluster)
        self._conclude()

    async def _rest(self) -> Census:
        """The census, once nothing is under way any more and the cache is swept."""
        await self._cluster.wait_status(
            lambda status: not any(running_things(status)), "nothing under way"
        )
        stop_at = now() + REST_S_MAX
        while now() < stop_at:
            faults = [*cache_faults(self._cluster)]
            workers = len(self._cluster.workers())
            if not faults and workers == self._cluster.workers_wanted:
                break
            await asyncio.sleep(0.2)
        census = take_census(self._cluster)
        for _ in range(CENSUSES):
            await asyncio.sleep(CENSUS_PAUSE_S)
            census = census.without_guests(take_census(self._cluster))
        return census

    async def _calibrate(self) -> float:
        """Requests a second of clients that never wait."""
        ledger = Ledger()
        pool = Pool(self._cluster.port, CLIENTS, ledger, 0.0, self._seed)
        running = asyncio.create_task(pool.run())
        await asyncio.sleep(CALIBRATION_S)
        pool.stop()
        await running
        self.report.faults += [f"before any event: {failure}" for failure in ledger.failures]
        # Its writes are in the nodes' ledger, too: numbers go on where these end.
        self._ledger.next_number = ledger.next_number
        self._ledger.sent.update(ledger.sent)
        return ledger.requests / CALIBRATION_S

    async def _disturb(self) -> None:
        pool = Pool(
            self._cluster.port, CLIENTS, self._ledger, self.report.load_per_s, self._seed + 1
        )
        self._began_at = now()
        running = asyncio.create_task(pool.run())
        await asyncio.gather(self._crews(), self._workers(), self._nodes())
        await asyncio.sleep(self._began_at + self.report.wanted.seconds - now())
        pool.stop()
        await running
        self.report.load_s = now() - self._began_at

    # -- lanes ------------------------------------------------------------------------------------

    async def _crews(self) -> None:
        wanted = self.report.wanted
        count = wanted.reloads + wanted.upgrades
        upgrades = {round((at + 0.5) * count / wanted.upgrades) for at in range(wanted.upgrades)}
        for number in range(count):
            await self._until(number, count)
            if number in upgrades:
                await self._event("upgrade", self._cluster.upgrade())
            else:
                await self._event("reload", self._cluster.reload())

    async def _workers(self) -> None:
        count = self.report.wanted.worker_kills
        for number in range(count):
            await self._until(number, count)
            await self._event("worker kill", self._kill_worker(number))

    async def _kill_worker(self, number: int) -> None:
        began_at = now()
        ports = await self._cluster.kill_worker(self._chance.choice)
        kill = Kill(f"worker {number}", began_at, now(), frozenset(ports))
        self._disturbances.workers.append(kill)

    async def _nodes(self) -> None:
        wanted = self.report.wanted
        count = wanted.node_kills + wanted.rollouts
        rollouts = {(at + 1) * count // (wanted.rollouts + 1) for at in range(wanted.rollouts)}
        for number in range(count):
            await self._until(number, count)
            if number in rollouts:
                await self._event("rollout", self._cluster.rollout())
            else:
                await self._event("node kill", self._renew_node(number))

    async def _renew_node(self, number: int) -> None:
        name = self._chance.choice(sorted(self._cluster.node_ports))
        began_at = now()
        await self._cluster.kill_node(name)
        self._disturbances.nodes.append(Kill(name, began_at, now()))
        await asyncio.sleep(AWAY_S[number % len(AWAY_S)])
        await self._cluster.start_node(name)
        await self._cluster.wait_all_up()

    async def _until(self, number: int, count: int) -> None:
        """The lane's number-th of `count` events has its time; at once if that is over."""
        due = self._began_at + self.report.wanted.seconds * (number + 0.5) / (count + 0.5)
        await asyncio.sleep(max(0.0, due - now()))

    async def _event(self, name: str, event: Coroutine[Any, Any, None]) -> None:
        began_at = now()
        try:
            await event
        except EventError as error:
            self.report.faults.append(f"{name}: {error}")
            return
        self.report.events[name] = self.report.events.get(name, 0) + 1
        took_s, at_s = now() - began_at, began_at - self._began_at
        sys.stderr.write(f"{at_s:6.2f} s: {name}, took {took_s:.2f} s\n")

    # -- the end ----------------------------------------------------------------------------------

    def _conclude(self) -> None:
        report, ledger = self.report, self._ledger
        nodes = read_node_ledger(self._cluster.ledger_path.read_text().splitlines())
        verdict = judge(ledger, nodes, self._disturbances)
        report.requests = {**ledger.done, "all": ledger.requests}
        report.done_per_s = round(ledger.requests / report.load_s, 1)
        report.connections = ledger.connections
        report.slowest_ms = round(ledger.slowest_s * 1000, 1)
        report.failed_idempotent = verdict.failed_idempotent
        report.failed_posts = verdict.failed_posts
        report.posts_twice = verdict.posts_twice
        report.excused = dict(verdict.excused)
        report.bodies_cut_at_nodes = nodes.cut
        report.faults += verdict.faults
        if report.load_s > SECONDS_MAX:
            report.faults.append(f"the events took {report.load_s:.0f} s of load")
        wanted = report.wanted
        for name, count in (
            ("reload", wanted.reloads),
            ("upgrade", wanted.upgrades),
            ("worker kill", wanted.worker_kills),
            ("node kill", wanted.node_kills),
            ("rollout", wanted.rollouts),
        ):
            done = report.events.get(name, 0)
            if done != count:
                report.faults.append(f"{name}: {done} of {count}")
        log = self._cluster.log.read_text(errors="replace").splitlines()
        report.faults += [f"log: {line}" for line in log if any(word in line for word in TROUBLE)]


def run_events(wanted: Wanted, seed: int, folder: Path) -> Report:
    """One run in that folder."""
    with ExitStack() as stack:
        cluster = Cluster(stack, folder, workers=2)
        chaos = Chaos(cluster, wanted, seed)
        uvloop.run(chaos.run())
        return chaos.report


def parse_options() -> argparse.Namespace:
    """The command line; the defaults are the whole program."""
    parser = argparse.ArgumentParser(description="events under load: nothing may be lost")
    parser.add_argument("--seconds", type=float, default=80.0, help="of load, at least")
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--upgrades", type=int, default=3)
    parser.add_argument("--worker-kills", type=int, default=10)
    parser.add_argument("--node-kills", type=int, default=10)
    parser.add_argument("--rollouts", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for logs and the nodes' ledger")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "events.json")
    parser.add_argument("--assert", action="store_true", dest="is_asserting")
    return parser.parse_args()


def main() -> int:
    """Exit status 1: --assert was given and there was a fault."""
    options = parse_options()
    wanted = Wanted(
        options.seconds,
        options.reloads,
        options.upgrades,
        options.worker_kills,
        options.node_kills,
        options.rollouts,
    )
    with tempfile.TemporaryDirectory(prefix="edge-events-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        report = run_events(wanted, options.seed, folder)
    shown = asdict(report) | {"fault_count": len(report.faults)}
    shown["faults"] = report.faults[:FAULTS_SHOWN]
    text = json.dumps(shown, indent=2)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text)
    sys.stdout.write(f"{text}\n")
    return int(options.is_asserting and bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
