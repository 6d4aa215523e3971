"""edge.control.health_log: the counts in HAProxy's lines, and the last server of a tier."""

from collections.abc import Callable
from typing import cast

import pytest

from edge.control.health_log import HealthLog
from edge.health.checks import CheckStatus, Outcome, Verdict
from edge.health.server import Kind, StateChange
from ext.arena import Arena
from ext.limits import AdminState, ServerState
from tests.control.conftest import CHAIN, CountingArena, World

READY = AdminState.READY


def test_lines_count_what_is_left(
    world: Callable[[str], World], capsys: pytest.CaptureFixture[str]
) -> None:
    made = world(CHAIN)
    counting = cast("Arena", CountingArena(made.arena))
    log = HealthLog(counting, made.plan, made.job.slots)

    def down(name: str) -> list[str]:
        key = f"haproxy@node1/{name}"
        made.arena.set_server(made.slot(key), state=ServerState.DOWN)
        log.say(StateChange(key, Kind.STATE, ServerState.DOWN, READY, READY))
        return capsys.readouterr().err.splitlines()

    sessions, queued = 1000 * made.slot("haproxy@node1/node1") + 2, 1000 * 1 + 5
    assert down("node1") == [
        "edge: Server haproxy@node1/node1 is DOWN. 0 active and 1 backup servers left."
        f" Running on backup. {sessions} sessions active, 0 requeued, {queued} remaining in queue."
    ]
    line, last = down("node2")
    assert line.startswith("edge: Backup Server haproxy@node1/node2 is DOWN. 0 active and 0 backup")
    assert last == "edge: backend haproxy@node1 has no server available!"
    assert len(down("node1")) == 1  # it had none before


def test_a_result_says_nothing_about_the_tier(
    world: Callable[[str], World], capsys: pytest.CaptureFixture[str]
) -> None:
    made = world(CHAIN)
    counting = cast("Arena", CountingArena(made.arena))
    log = HealthLog(counting, made.plan, made.job.slots)
    checks = made.runner.servers["haproxy@node1/node1"]
    for name in ("node1", "node2"):
        made.arena.set_server(made.slot(f"haproxy@node1/{name}"), state=ServerState.DOWN)
    outcome = Outcome(Verdict.FAILED, CheckStatus.L4CON, 0.0, None, "Connection refused")
    log.say(
        StateChange(
            "haproxy@node1/node1",
            Kind.RESULT,
            ServerState.UP,
            READY,
            READY,
            outcome,
            "",
            6,
            checks.spec.thresholds,
        )
    )
    assert capsys.readouterr().err == (
        "edge: Health check for server haproxy@node1/node1 failed, reason: Layer4 connection"
        ' problem, info: "Connection refused", check duration: 0ms, status: 3/5 UP.\n'
    )
