"""What workers have seen of a server's traffic, as the result of a check: HAProxy's `on-error`.

Workers count (ext/observe.pyx) and take a server down at once where the file says mark-down; all
else is done here, by the process that checks. Source: HAProxy 2.6, src/health.c and its texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from edge.health.checks import CheckStatus, Outcome, Verdict
from ext.observe import Observed

TEXTS: Mapping[Observed, str] = MappingProxyType(
    {
        Observed.L4_OK: "L4 successful connection",
        Observed.L4_ERROR: "L4 unsuccessful connection",
        Observed.HTTP_OK: "Correct http response",
        Observed.HTTP_WRONG_STATUS: "Wrong http response",
        Observed.HTTP_BAD_HEAD: "Invalid http response (headers)",
        Observed.HTTP_BAD_BODY: "Invalid http response",
        Observed.HTTP_READ_TIMEOUT: "Read timeout (http)",
        Observed.HTTP_CLOSED: "Close from server (http)",
    }
)


class OnError(StrEnum):
    """What is done when so many errors came in a row; each also checks sooner."""

    FASTINTER = "fastinter"
    FAIL_CHECK = "fail-check"
    SUDDEN_DEATH = "sudden-death"
    MARK_DOWN = "mark-down"


def outcome_of(view: Mapping[str, Any]) -> Outcome:
    """The errors of a server's state as a failed check, in HAProxy's words."""
    last = TEXTS[Observed(view["last_error"])]
    text = f"Detected {view['errors_counted']} consecutive errors, last one was: {last}"
    return Outcome(Verdict.FAILED, CheckStatus.HANA, 0.0, info=text)
