"""A control process's world without the process: settings, plan, arena, checks that do not run."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from edge.clock import wall
from edge.control.cache import CACHE_ROWS, PURGE_ROWS, CountingStore
from edge.control.specs import check_specs
from edge.control.view import ControlView
from edge.health.runner import HealthRunner
from edge.job import NO_FD, Job, ListenerJob
from edge.plan import Plan, build_plan
from edge.settings import load
from ext.arena import SERVER_COUNTERS, TIER_COUNTERS, Arena

CHAIN = """
admin: {listen: 127.0.0.1:9180}
elb:
  listen: 127.0.0.1:8081
haproxy:
  health_check: {path: /hc, expect: "200,302", host: shop.example, interval: 3s, rise: 4, fall: 5}
nodes:
  - {name: node1, web: 127.0.0.1:9001, weight: 3}
  - {name: node2, web: 127.0.0.1:9002, backup: true}
"""
SHOP = """
admin: {listen: 127.0.0.1:9180}
cdn: {listen: 127.0.0.1:8080}
haproxy: {}
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""
UNCHECKED = """
haproxy:
  listen: 127.0.0.1:8080
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""


class CountingArena:
    """The real arena, but with counters of known values, since only a worker can write them.

    Counter number i of a slot s is `1000 * s + i + 1`.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def __getattr__(self, name: str) -> Any:
        return getattr(self._arena, name)

    def server_counters(self, slot: int) -> Mapping[str, int]:
        return {name: 1000 * slot + i for i, (name, _, _) in enumerate(SERVER_COUNTERS, 1)}

    def tier_counters(self, slot: int) -> Mapping[str, int]:
        return {name: 1000 * slot + i for i, (name, _, _) in enumerate(TIER_COUNTERS, 1)}

    def tier_latency(self, slot: int) -> tuple[tuple[int, ...], list[int], int]:
        return (100, 2_500, 1_000_000), [1, 2, 3, 4], 7_500_000


class CountedStore:
    """A cache with counters of known values: the numbers of the rows, from 1."""

    def stats(self) -> Mapping[str, Any]:
        names = [row.name for row in CACHE_ROWS] + list(PURGE_ROWS.values())
        return {name: number for number, name in enumerate(names, 1)}


@dataclass(frozen=True)
class World:
    arena: Arena
    plan: Plan
    job: Job
    runner: HealthRunner
    view: ControlView

    def slot(self, key: str) -> int:
        return self.job.slots["servers"][key]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    arenas: list[Arena] = []

    def build(text: str, store: CountingStore | None = None) -> World:
        file = tmp_path / "edge.yaml"
        file.write_text(text)
        settings = load(str(file))
        plan = build_plan(settings, None)
        arena = Arena.create()
        arenas.append(arena)
        servers = [server for tier in plan.tiers for server in tier.servers]
        job = Job(
            settings={},
            tier=None,
            arena_fd=arena.fd,
            row=None,
            ready_fd=NO_FD,
            generation=7,
            started_at=wall() - 100,
            supervisor_pid=os.getpid(),
            listeners=[
                ListenerJob(each.tier, each.host, each.port, NO_FD) for each in plan.listeners
            ],
            slots={
                "tiers": {tier.name: arena.tier_slot(tier.name) for tier in plan.tiers},
                "servers": {server.key: arena.server_slot(server.key) for server in servers},
            },
        )
        for server in servers:
            arena.set_server(
                job.slots["servers"][server.key], weight=server.weight, file_weight=server.weight
            )
        runner = HealthRunner(arena, check_specs(plan, job, arena), lambda _: None)
        counting = cast("Arena", CountingArena(arena))
        view = ControlView(counting, plan, job, runner.servers, store)
        return World(arena, plan, job, runner, view)

    yield build
    for arena in arenas:
        os.close(arena.fd)
