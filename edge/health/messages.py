"""What the operator reads when a server changes: the lines of HAProxy, which monitoring looks for.

Pure. Source: HAProxy 2.6, server.c (srv_append_status, srv_update_status), check.c
(set_server_check_status).
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.health.checks import CheckStatus, Outcome, Verdict
from edge.health.server import Kind, StateChange
from ext.limits import AdminState, ServerState

MS_PER_S = 1000
# HAProxy's texts of the codes; column `check_desc`, too. INI is a server that no check has seen.
CHECK_TEXTS = {
    CheckStatus.INI: "Initializing",
    CheckStatus.CHECKED: "No status change",
    CheckStatus.HANA: "Health analyze",
    CheckStatus.SOCKERR: "Socket error",
    CheckStatus.L4OK: "Layer4 check passed",
    CheckStatus.L4TOUT: "Layer4 timeout",
    CheckStatus.L4CON: "Layer4 connection problem",
    CheckStatus.L6OK: "Layer6 check passed",
    CheckStatus.L6TOUT: "Layer6 timeout",
    CheckStatus.L6RSP: "Layer6 invalid response",
    CheckStatus.L7OK: "Layer7 check passed",
    CheckStatus.L7OKC: "Layer7 check conditionally passed",
    CheckStatus.L7TOUT: "Layer7 timeout",
    CheckStatus.L7RSP: "Layer7 invalid response",
    CheckStatus.L7STS: "Layer7 wrong status",
}


@dataclass(frozen=True, slots=True)
class Farm:
    """The server's backend after the change. `sessions`: at this server; `queued`: at the tier."""

    active: int
    backup: int
    sessions: int
    queued: int
    is_backup: bool = False


def text_of(change: StateChange, farm: Farm) -> str:
    """The line, as `Server haproxy/node1 is DOWN, reason: ...`."""
    if change.kind is Kind.RESULT:
        return _result_text(change, farm)
    name = f"{'Backup ' if farm.is_backup else ''}Server {change.key}"
    if change.kind is Kind.ADMIN:
        return f"{name} {_order_text(change, farm)}."
    state = {ServerState.UP: "UP", ServerState.DOWN: "DOWN", ServerState.NOLB: "stopping"}
    return f"{name} is {state[change.state]}{_why(change)}{_rest(change, farm)}."


def no_server_text(backend: str) -> str:
    """When the last usable server of a backend has gone."""
    return f"backend {backend} has no server available!"


def _why(change: StateChange) -> str:
    if change.outcome is not None:
        return _status_text(change.outcome)
    return f", {change.cause}" if change.cause else ""


def _status_text(outcome: Outcome) -> str:
    text = f", reason: {CHECK_TEXTS[outcome.status]}"
    if outcome.code is not None:
        text += f", code: {outcome.code}"
    if outcome.info:
        text += f', info: "{_printable(outcome.info)}"'
    if outcome.status is not CheckStatus.HANA:  # it was no check
        text += f", check duration: {int(outcome.duration_s * MS_PER_S)}ms"
    return text


def _printable(text: str) -> str:
    """What a server sent may not end the line, or write to a terminal (chunk_asciiencode)."""
    return "".join(
        char if 32 <= ord(char) < 127 and char != '"' else f"<{ord(char):02X}>" for char in text
    )


def _rest(change: StateChange, farm: Farm) -> str:
    # Requests wait in the tier's queue, not in a server's: nothing is ever moved.
    on_backup = " Running on backup." if farm.backup and not farm.active else ""
    servers = f". {farm.active} active and {farm.backup} backup servers"
    if change.state is ServerState.DOWN or change.admin is AdminState.MAINT:
        counts = f"{farm.sessions} sessions active, 0 requeued, {farm.queued} remaining in queue"
        return f"{servers} left.{on_backup} {counts}"
    return f"{servers} online.{on_backup} 0 sessions requeued, {farm.queued} total in queue"


def _order_text(change: StateChange, farm: Farm) -> str:
    state = "DOWN" if change.state is ServerState.DOWN else "UP"
    if change.admin_before is AdminState.MAINT:
        mode = "DRAIN" if change.admin is AdminState.DRAIN else "READY"
        return f"is {state}/{mode} (leaving forced maintenance)"
    if change.admin is AdminState.MAINT:
        if state == "DOWN":
            return "was DOWN and now enters maintenance"
        return f"is going DOWN for maintenance{_rest(change, farm)}"
    if change.admin is AdminState.DRAIN:
        return f"enters drain state{_rest(change, farm)}"
    return f"is {state} (leaving forced drain)"


def _result_text(change: StateChange, farm: Farm) -> str:
    """One line per result that moved the health: `option log-health-checks`."""
    outcome, thresholds = change.outcome, change.thresholds
    assert outcome is not None
    assert thresholds is not None
    what = "Agent" if change.is_of_agent else "Health"
    conditionally = "conditionally " if outcome.verdict is Verdict.CONDITIONAL else ""
    passed = outcome.verdict in (Verdict.PASSED, Verdict.CONDITIONAL)
    server = f"{'backup ' if farm.is_backup else ''}server {change.key}"
    result = f"{conditionally}{'succeeded' if passed else 'failed'}"
    return f"{what} check for {server} {result}{_status_text(outcome)}, status: {_health(change)}."


def _health(change: StateChange) -> str:
    """`2/3 UP`, of the checks; of an agent there is one word only."""
    if change.is_of_agent:
        assert change.outcome is not None
        return "1/1 UP" if change.outcome.verdict is Verdict.PASSED else "0/1 DOWN"
    assert change.thresholds is not None
    rise, fall, counter = change.thresholds.rise, change.thresholds.fall, change.counter
    if counter >= rise:
        return f"{counter - rise + 1}/{fall} UP"
    return f"{counter}/{rise} DOWN"
