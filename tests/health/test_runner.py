"""The runner over the real arena and scripted probes: who writes what, and how soon."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from edge.clock import now
from edge.health.checks import CheckStatus, Outcome, Probe, Verdict
from edge.health.machine import Thresholds
from edge.health.runner import HealthRunner
from edge.health.server import CheckSpec, StateChange
from ext.arena import Arena
from ext.limits import AdminState, ServerState

REACTION_S_MAX = 0.1
# Far longer than any test: a check that happens within a test was not due by its interval.
NEVER_S = 1_000.0
FAR = Thresholds(
    rise=2, fall=3, interval_s=NEVER_S, fast_interval_s=NEVER_S, down_interval_s=NEVER_S
)
NEAR = Thresholds(rise=2, fall=3, interval_s=0.01, fast_interval_s=0.01, down_interval_s=0.01)


def unchecked(key: str, slot: int) -> CheckSpec:
    """A server that nothing looks at."""
    return CheckSpec(key, slot, None, 1.0, NEAR)


class ScriptedProbe:
    """Answers with the next of `results`, the last one for ever; counts and watches for overlap."""

    def __init__(self, *results: bool | None) -> None:
        self.results = list(results)
        self.started_at: list[float] = []
        self.running = 0
        self.ran = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def at(self, host: str, port: int) -> Probe:
        return self

    async def run(self, timeout_s: float) -> Outcome:
        self.started_at.append(now())
        self.running += 1
        assert self.running == 1, "two checks of one server at once"
        self.ran.set()
        await self.gate.wait()
        self.running -= 1
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if result is None:
            return Outcome(Verdict.NO_RESULT, CheckStatus.SOCKERR, 0.0)
        if result:
            return Outcome(Verdict.PASSED, CheckStatus.L4OK, 0.0)
        return Outcome(Verdict.FAILED, CheckStatus.L4CON, 0.0)

    async def next_run(self) -> float:
        """When the next check begins."""
        self.ran.clear()
        await self.ran.wait()
        return self.started_at[-1]


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


class Bench:
    """One server `t/s` under test and what was told about it."""

    def __init__(self, arena: Arena, probe: ScriptedProbe, thresholds: Thresholds) -> None:
        self.arena = arena
        self.slot = arena.server_slot("t/s")
        self.probe = probe
        self.changes: list[StateChange] = []
        self.changed = asyncio.Event()
        spec = CheckSpec("t/s", self.slot, probe, 1.0, thresholds)
        self.runner = HealthRunner(arena, [spec], self.on_change)

    def on_change(self, change: StateChange) -> None:
        self.changes.append(change)
        self.changed.set()

    @property
    def is_up(self) -> bool:
        return self.arena.server(self.slot)["state"] == ServerState.UP

    async def next_change(self) -> StateChange:
        self.changed.clear()
        await self.changed.wait()
        return self.changes[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.run())
        try:
            async with asyncio.timeout(5.0):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_dead_server_goes_down_at_its_first_check_and_is_checked_on(arena: Arena) -> None:
    async def scenario() -> None:
        bench = Bench(arena, ScriptedProbe(False, True, True), NEAR)
        assert bench.is_up
        async with bench.running():
            assert not (await bench.next_change()).is_up
            view = arena.server(bench.slot)
            assert (view["health"], view["check_status"], view["checked"]) == (0, "L4CON", True)
            assert (await bench.next_change()).is_up
            assert arena.server(bench.slot)["health"] == 4
        checks = bench.runner.servers["t/s"]
        assert (checks.failures, checks.times_down, checks.status) == (1, 1, "UP")

    asyncio.run(scenario())


def test_when_the_last_check_began_is_known_once_it_has_ended(arena: Arena) -> None:
    async def scenario() -> None:
        bench = Bench(arena, ScriptedProbe(False), FAR)
        checks = bench.runner.servers["t/s"]
        bench.probe.gate.clear()
        async with bench.running():
            began_at = await bench.probe.next_run()
            assert checks.last_began_at is None
            bench.probe.gate.set()
            await bench.next_change()
            assert checks.last_began_at is not None
            assert checks.last_began_at <= began_at < checks.last_began_at + REACTION_S_MAX

    asyncio.run(scenario())


def test_a_failed_connect_of_a_worker_leads_to_a_check_within_100_ms(arena: Arena) -> None:
    async def scenario() -> None:
        bench = Bench(arena, ScriptedProbe(True), FAR)
        async with bench.running():
            await bench.probe.next_run()
            reported_at = now()
            arena.set_server(bench.slot, connect_fail_streak=1)
            assert await bench.probe.next_run() - reported_at < REACTION_S_MAX

    asyncio.run(scenario())


def test_a_server_in_doubt_is_checked_at_the_fast_interval(arena: Arena) -> None:
    async def scenario() -> None:
        thresholds = Thresholds(1, 3, NEVER_S, 0.01, NEVER_S)
        bench = Bench(arena, ScriptedProbe(True, None, None, None, True), thresholds)
        async with bench.running():
            await bench.probe.next_run()
            arena.set_server(bench.slot, connect_fail_streak=1)
            for _ in range(3):
                await bench.probe.next_run()
        assert bench.is_up

    asyncio.run(scenario())


def test_a_down_set_by_a_worker_is_adopted_and_needs_rise_checks_to_end(arena: Arena) -> None:
    async def scenario() -> None:
        bench = Bench(arena, ScriptedProbe(True), NEAR)
        async with bench.running():
            await bench.probe.next_run()
            bench.probe.gate.clear()
            await bench.probe.next_run()
            # While a check is under way that will pass:
            arena.set_server(bench.slot, state=ServerState.DOWN, connect_fail_streak=10)
            change = await bench.next_change()
            assert not change.is_up
            assert change.outcome is not None
            assert change.outcome.info.startswith("Detected 10 consecutive errors")
            view = arena.server(bench.slot)
            assert (view["health"], view["check_status"]) == (0, "HANA")
            bench.probe.gate.set()
            runs = len(bench.probe.started_at)
            assert (await bench.next_change()).is_up
            # The check that ran over the mark-down and one more: rise is 2.
            assert len(bench.probe.started_at) - runs == 1
            assert arena.server(bench.slot)["connect_fail_streak"] == 0

    asyncio.run(scenario())


def test_a_state_from_before_is_resumed(arena: Arena) -> None:
    async def scenario() -> None:
        slot = arena.server_slot("t/s")
        arena.set_server(slot, state=ServerState.DOWN, health=1, checked=True)
        bench = Bench(arena, ScriptedProbe(True), FAR)
        assert bench.runner.servers["t/s"].status == "DOWN 1/2"
        async with bench.running():
            assert (await bench.next_change()).is_up
        assert len(bench.probe.started_at) == 1

    asyncio.run(scenario())


def test_no_result_changes_nothing(arena: Arena) -> None:
    async def scenario() -> None:
        bench = Bench(arena, ScriptedProbe(None), NEAR)
        async with bench.running():
            for _ in range(5):
                await bench.probe.next_run()
        assert bench.is_up
        assert bench.changes == []
        assert bench.runner.servers["t/s"].status == "UP 1/3"

    asyncio.run(scenario())


def test_maintenance_pauses_checks_and_its_end_checks_at_once(arena: Arena) -> None:
    async def scenario() -> None:
        slot = arena.server_slot("t/s")
        arena.set_server(slot, admin=AdminState.MAINT)
        bench = Bench(arena, ScriptedProbe(False), FAR)
        async with bench.running():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3 * REACTION_S_MAX):
                    await bench.probe.next_run()
            arena.set_server(slot, admin=AdminState.READY)
            async with asyncio.timeout(2 * REACTION_S_MAX):
                await bench.next_change()
        assert not bench.is_up

    asyncio.run(scenario())


class WatchedStates:
    """The arena, and an event for each write."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.written = asyncio.Event()

    @property
    def news(self) -> int:
        return self.arena.news

    def server(self, slot: int) -> Mapping[str, Any]:
        return self.arena.server(slot)

    def set_server(self, slot: int, **values: Any) -> None:
        self.arena.set_server(slot, **values)
        self.written.set()


def test_a_server_without_check_is_always_up(arena: Arena) -> None:
    async def scenario() -> None:
        slot = arena.server_slot("t/free")
        arena.set_server(slot, state=ServerState.DOWN, connect_fail_streak=10)
        states = WatchedStates(arena)
        task = asyncio.create_task(
            HealthRunner(states, [unchecked("t/free", slot)], lambda _: None).run()
        )
        async with asyncio.timeout(1.0):
            await states.written.wait()
        view = arena.server(slot)
        assert (view["state"], view["connect_fail_streak"]) == (ServerState.UP, 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_first_checks_are_staggered(arena: Arena) -> None:
    async def scenario() -> None:
        probes = [ScriptedProbe(True) for _ in range(4)]
        span = Thresholds(2, 3, 0.2, 0.2, 0.2)
        specs = [
            CheckSpec(f"t/{n}", arena.server_slot(f"t/{n}"), probe, 1.0, span)
            for n, probe in enumerate(probes)
        ]
        task = asyncio.create_task(HealthRunner(arena, specs, lambda _: None).run())
        await asyncio.gather(*(probe.next_run() for probe in probes))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        firsts = [probe.started_at[0] for probe in probes]
        gaps = [after - before for before, after in pairwise(firsts)]
        assert all(0.02 < gap < 0.15 for gap in gaps), gaps

    asyncio.run(scenario())
