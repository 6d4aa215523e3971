"""edge.health.messages: HAProxy's lines; most are compared with it in tests/wire."""

import pytest

from edge.health.checks import CheckStatus, Outcome, Verdict
from edge.health.messages import CHECK_TEXTS, Farm, no_server_text, text_of
from edge.health.server import Kind, StateChange
from ext.limits import AdminState, ServerState

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
FARM = Farm(active=2, backup=1, sessions=3, queued=4)
LEFT = "2 active and 1 backup servers left. 3 sessions active, 0 requeued, 4 remaining in queue."
ONLINE = "2 active and 1 backup servers online. 0 sessions requeued, 4 total in queue."


def test_every_code_has_its_text() -> None:
    assert set(CHECK_TEXTS) == set(CheckStatus)


@pytest.mark.parametrize(
    ("state", "outcome", "cause", "text"),
    [
        (
            ServerState.DOWN,
            Outcome(Verdict.FAILED, CheckStatus.L7STS, 0.0129, 503, "no"),
            "",
            'is DOWN, reason: Layer7 wrong status, code: 503, info: "no", check duration: 12ms. '
            + LEFT,
        ),
        (
            ServerState.UP,
            Outcome(Verdict.PASSED, CheckStatus.L4OK, 0.0),
            "",
            "is UP, reason: Layer4 check passed, check duration: 0ms. " + ONLINE,
        ),
        (ServerState.NOLB, None, "changed from CLI", "is stopping, changed from CLI. " + ONLINE),
        (ServerState.DOWN, None, "", "is DOWN. " + LEFT),
    ],
)
def test_a_state(state: ServerState, outcome: Outcome | None, cause: str, text: str) -> None:
    change = StateChange("b/s", Kind.STATE, state, READY, READY, outcome, cause)
    assert text_of(change, FARM) == f"Server b/s {text}"


@pytest.mark.parametrize(
    ("state", "before", "after", "text"),
    [
        (ServerState.UP, READY, MAINT, f"is going DOWN for maintenance. {LEFT}"),
        (ServerState.DOWN, READY, MAINT, "was DOWN and now enters maintenance."),
        (ServerState.UP, MAINT, READY, "is UP/READY (leaving forced maintenance)."),
        (ServerState.DOWN, MAINT, DRAIN, "is DOWN/DRAIN (leaving forced maintenance)."),
        (ServerState.UP, READY, DRAIN, f"enters drain state. {ONLINE}"),
        (ServerState.DOWN, DRAIN, READY, "is DOWN (leaving forced drain)."),
    ],
)
def test_an_order(state: ServerState, before: AdminState, after: AdminState, text: str) -> None:
    change = StateChange("b/s", Kind.ADMIN, state, after, before)
    assert text_of(change, FARM) == f"Server b/s {text}"


def test_backups_are_named_and_running_on_them_too() -> None:
    change = StateChange("b/s", Kind.STATE, ServerState.UP, READY, READY)
    text = text_of(change, Farm(0, 1, 0, 0, is_backup=True))
    assert text.startswith("Backup Server b/s is UP. 0 active and 1 backup servers online. Running")


def test_what_a_server_sent_does_not_end_the_line() -> None:
    outcome = Outcome(Verdict.FAILED, CheckStatus.L7STS, 0.0, 500, 'a\n\x1b[0m"b\u00e9')
    change = StateChange("b/s", Kind.STATE, ServerState.DOWN, READY, READY, outcome)
    assert 'info: "a<0A><1B>[0m<22>b<E9>"' in text_of(change, FARM)


def test_the_last_server() -> None:
    assert no_server_text("haproxy") == "backend haproxy has no server available!"
