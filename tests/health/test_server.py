"""edge.health.server over the real arena: NOLB, agents, slow starts, and who is told what."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.clock import now
from edge.health.agent import AgentProbe
from edge.health.checks import CheckStatus, Outcome, Verdict
from edge.health.machine import Thresholds
from edge.health.server import AgentSpec, CheckSpec, Kind, ServerChecks, StateChange
from edge.health.slowstart import SlowStart
from ext.arena import Arena
from ext.limits import AdminState, ServerState

THRESHOLDS = Thresholds(2, 3, 1_000.0, 1_000.0, 1_000.0)
PASSED = Outcome(Verdict.PASSED, CheckStatus.L7OK, 0.0, 200)
STOPPING = Outcome(Verdict.CONDITIONAL, CheckStatus.L7OKC, 0.0, 404)
FAILED = Outcome(Verdict.FAILED, CheckStatus.L7STS, 0.0, 500, "X")


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


class NextResult:
    """A probe and an agent that say what the test has put there."""

    def __init__(self) -> None:
        self.result = PASSED

    async def run(self, timeout_s: float) -> Outcome:
        return self.result


class Bench:
    """One server, checked by hand."""

    def __init__(
        self,
        arena: Arena,
        *,
        is_checked: bool = True,
        has_agent: bool = False,
        slow_start: SlowStart | None = None,
        says_results: bool = False,
    ) -> None:
        self.arena = arena
        self.slot = arena.server_slot("t/s")
        self.told: list[StateChange] = []
        self.probe = NextResult()
        spec = CheckSpec(
            "t/s",
            self.slot,
            self.probe if is_checked else None,
            1.0,
            THRESHOLDS,
            AgentSpec(AgentProbe("127.0.0.1", 1, b""), 1.0) if has_agent else None,
            slow_start,
            says_results,
        )
        self.checks = ServerChecks(spec, arena, self.told.append)

    def check(self, *results: Outcome) -> None:
        async def scenario() -> None:
            for self.probe.result in results:
                await self.checks._check()

        asyncio.run(scenario())

    def agent_says(self, line: bytes) -> None:
        agent = self.checks.agent
        assert agent is not None
        self.checks._apply_agent(agent, PASSED, line)

    def order(self, admin: AdminState) -> None:
        self.arena.set_server(self.slot, admin=admin)
        self.checks.look()

    def view(self, *names: str) -> tuple[Any, ...]:
        view: Any = self.arena.server(self.slot)
        return tuple(view[name] for name in names)


def test_a_check_that_passes_under_conditions_is_written_as_nolb(arena: Arena) -> None:
    bench = Bench(arena)
    bench.check(PASSED, STOPPING)
    assert bench.view("state", "health", "check_status") == (ServerState.NOLB, 4, "L7OKC")
    assert (bench.checks.status, bench.checks.times_down) == ("NOLB", 0)
    bench.check(FAILED, FAILED, FAILED, STOPPING, PASSED, PASSED)
    assert [change.state for change in bench.told] == [
        ServerState.NOLB,
        ServerState.DOWN,
        ServerState.UP,
    ]


def test_what_an_agent_says_reaches_the_workers(arena: Arena) -> None:
    bench = Bench(arena, has_agent=True)
    bench.arena.set_server(bench.slot, weight=30, file_weight=40)
    bench.agent_says(b"drain 50% maxconn:7")
    assert bench.view("admin", "user_weight", "maxconn") == (AdminState.DRAIN, 20, 7)
    bench.agent_says(b"down # tired")
    assert bench.view("state", "agent_down") == (ServerState.DOWN, True)
    assert [(change.kind, change.state) for change in bench.told] == [
        (Kind.ADMIN, ServerState.UP),
        (Kind.STATE, ServerState.DOWN),
    ]
    assert bench.told[-1].outcome is not None
    assert bench.told[-1].outcome.info == "via agent : down (tired)"


@pytest.mark.parametrize(
    ("line", "info"),
    [
        (b"300%", ""),
        (b"5%x", "agent warns : Trailing garbage in weight string"),
        (b"maxconn:x", "agent warns : maxconn string empty or preceded by garbage"),
        (b"weight:257", "agent warns : Absolute weight can only be between 0 and 256 inclusive."),
    ],
)
def test_numbers_that_are_none_change_nothing(arena: Arena, line: bytes, info: str) -> None:
    bench = Bench(arena, has_agent=True)
    bench.arena.set_server(bench.slot, weight=100, file_weight=100)
    bench.agent_says(line)
    assert bench.checks.agent is not None
    assert bench.checks.agent.last is not None
    assert bench.checks.agent.last.info == info
    assert bench.view("user_weight", "maxconn") == (256 if not info else 100, 0)


def test_a_successor_knows_that_the_agent_holds_the_server_down(arena: Arena) -> None:
    first = Bench(arena, has_agent=True)
    first.check(PASSED)
    first.agent_says(b"down")
    second = Bench(arena, has_agent=True)
    assert second.checks.status == "DOWN (agent)"
    second.check(PASSED)
    assert second.view("state") == (ServerState.DOWN,)
    second.agent_says(b"up")
    assert second.view("state", "agent_down") == (ServerState.UP, False)


def test_an_agent_that_the_file_has_no_more_holds_nothing(arena: Arena) -> None:
    Bench(arena, has_agent=True).agent_says(b"down")
    unchecked = Bench(arena, is_checked=False)
    unchecked.checks.look()
    assert unchecked.view("state") == (ServerState.UP,)


def test_a_worker_does_not_take_an_unchecked_server_down_for_good(arena: Arena) -> None:
    bench = Bench(arena, is_checked=False, has_agent=True)
    arena.set_server(bench.slot, state=ServerState.DOWN, connect_fail_streak=10)
    bench.checks.look()
    assert bench.view("state", "connect_fail_streak") == (ServerState.UP, 0)


def test_ready_and_up_in_one_line_end_maintenance_at_once(arena: Arena) -> None:
    bench = Bench(arena, has_agent=True)
    bench.check(PASSED)
    bench.agent_says(b"down")
    bench.agent_says(b"maint")
    bench.agent_says(b"ready up")
    assert bench.view("state", "admin") == (ServerState.UP, AdminState.READY)


def test_a_check_that_maintenance_has_overtaken_is_forgotten(arena: Arena) -> None:
    bench = Bench(arena)
    bench.check(PASSED)
    bench.arena.set_server(bench.slot, admin=AdminState.MAINT)
    bench.check(FAILED)
    assert bench.view("state", "health") == (ServerState.UP, 4)
    assert bench.checks.last is PASSED


BACK: list[Callable[[Bench], None]] = [
    lambda bench: bench.check(FAILED, FAILED, FAILED, PASSED, PASSED),
    lambda bench: bench.check(PASSED, STOPPING, PASSED),
    lambda bench: (bench.order(AdminState.MAINT), bench.order(AdminState.READY))[0],
    lambda bench: (bench.checks.force(ServerState.DOWN), bench.checks.force(ServerState.UP))[0],
    lambda bench: (bench.agent_says(b"down"), bench.agent_says(b"up"))[0],
]


@pytest.mark.parametrize("come_back", BACK, ids=["down", "nolb", "maint", "word", "agent"])
def test_a_server_that_comes_back_starts_slowly(
    arena: Arena, come_back: Callable[[Bench], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(arena, has_agent=True, slow_start=SlowStart(4.0))
    bench.arena.set_server(bench.slot, weight=100)
    bench.check(PASSED)
    assert bench.view("ramp", "weight") == (0, 100)  # not when it has just been started
    come_back(bench)
    assert bench.view("ramp", "weight", "user_weight") == (1, 7, 100)
    began_at = bench.view("ramp_began_at")[0]
    assert abs(began_at - now()) < 5.0
    found = []
    for elapsed_s in (0.9, 1.0, 2.0, 3.9, 4.0):
        monkeypatch.setattr("edge.health.server.now", lambda at=began_at + elapsed_s: at)
        bench.checks.climb()
        found.append(bench.view("ramp", "weight"))
    assert found == [(1, 7), (5, 32), (9, 57), (13, 82), (0, 100)]


@pytest.mark.parametrize(
    "go", [BACK[0], lambda bench: bench.order(AdminState.MAINT)], ids=["down", "maint"]
)
def test_a_slow_start_ends_with_the_server(arena: Arena, go: Callable[[Bench], None]) -> None:
    bench = Bench(arena, slow_start=SlowStart(4.0))
    bench.checks.begin_slow_start()
    assert bench.view("ramp") == (1,)
    if go is BACK[0]:
        bench.check(FAILED)
    else:
        go(bench)
    assert bench.view("ramp") == (0,)


def test_a_slow_start_needs_a_settled_peer_where_that_is_asked(arena: Arena) -> None:
    has_peer = False
    bench = Bench(arena, slow_start=SlowStart(30.0, lambda: has_peer))
    bench.check(FAILED, PASSED, PASSED)
    assert bench.view("ramp") == (0,)
    has_peer = True
    bench.check(FAILED, FAILED, FAILED, PASSED, PASSED)
    assert bench.view("ramp") == (1,)


def test_results_are_told_in_place_of_reasons(arena: Arena) -> None:
    bench = Bench(arena, says_results=True)
    bench.check(PASSED, PASSED, FAILED, FAILED, FAILED, FAILED)
    told = [(change.kind, change.counter, change.outcome) for change in bench.told]
    assert told == [
        (Kind.RESULT, 4, PASSED),
        (Kind.RESULT, 3, FAILED),
        (Kind.RESULT, 2, FAILED),
        (Kind.RESULT, 0, FAILED),
        (Kind.STATE, 0, None),
    ]


def test_failures_count_while_there_is_health_to_lose(arena: Arena) -> None:
    bench = Bench(arena)
    bench.check(PASSED, FAILED, PASSED, FAILED, FAILED, FAILED, FAILED, PASSED, FAILED)
    assert (bench.checks.failures, bench.checks.times_down) == (5, 1)
