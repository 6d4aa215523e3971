"""What an operator says to the checks: pause, resume, and health by word."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from edge.health.runner import HealthRunner
from ext.arena import Arena
from ext.limits import AdminState, ServerState
from tests.health.test_runner import FAR, NEAR, Bench, ScriptedProbe, unchecked


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def test_paused_checks_do_not_run_and_resumed_ones_run_at_once(arena: Arena) -> None:
    async def scenario() -> None:
        probe = ScriptedProbe(True)
        bench = Bench(arena, probe, FAR)
        checks = bench.runner.servers["t/s"]
        checks.pause()
        running = asyncio.create_task(checks.run(0.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert probe.started_at == []
        checks.resume()
        await probe.next_run()
        running.cancel()

    asyncio.run(scenario())


def test_a_paused_server_that_a_worker_marks_down_is_raised_again(arena: Arena) -> None:
    bench = Bench(arena, ScriptedProbe(True), NEAR)
    checks = bench.runner.servers["t/s"]
    checks.pause()
    arena.set_server(bench.slot, state=ServerState.DOWN, connect_fail_streak=10)
    checks.look()
    assert arena.server(bench.slot)["state"] == ServerState.UP
    assert arena.server(bench.slot)["connect_fail_streak"] == 0


def test_a_word_stands_where_checks_are_paused(arena: Arena) -> None:
    bench = Bench(arena, ScriptedProbe(True), NEAR)
    checks = bench.runner.servers["t/s"]
    checks.pause()
    checks.force(ServerState.DOWN)
    checks.look()
    assert arena.server(bench.slot)["state"] == ServerState.DOWN
    checks.force(ServerState.UP)
    assert (arena.server(bench.slot)["state"], checks.status) == (ServerState.UP, "no check")


def test_an_unchecked_server_is_held_down_by_a_word_only(arena: Arena) -> None:
    slot = arena.server_slot("t/u")
    runner = HealthRunner(arena, [unchecked("t/u", slot)], lambda _: None)
    checks = runner.servers["t/u"]
    arena.set_server(slot, state=ServerState.DOWN)
    runner._look()
    assert arena.server(slot)["state"] == ServerState.UP
    checks.force(ServerState.DOWN)
    runner._look()
    assert arena.server(slot)["state"] == ServerState.DOWN
    checks.force(ServerState.UP)
    assert arena.server(slot)["state"] == ServerState.UP


def test_maintenance_is_a_change_to_down_once(arena: Arena) -> None:
    bench = Bench(arena, ScriptedProbe(True), NEAR)
    checks = bench.runner.servers["t/s"]
    arena.set_server(bench.slot, admin=AdminState.MAINT)
    checks.look()
    checks.look()
    assert checks.times_down == 1
    successor = Bench(arena, ScriptedProbe(True), NEAR).runner.servers["t/s"]
    successor.look()
    assert successor.times_down == 0  # it was in maintenance before
