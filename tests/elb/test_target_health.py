"""edge.elb.target_health: the table of states and reasons."""

from typing import Any

import pytest

from edge.elb.target_health import HEALTHY, STATES, Facts, target_health

BAD = {"is_registered": False, "is_zone_enabled": False, "is_deregistering": True,
       "is_stopped": True, "is_served": False, "has_checks": False, "is_checked": False,
       "is_up": False}  # fmt: skip
ORDER = [
    ("unused", "Target.NotRegistered"),
    ("unused", "Target.NotInUse"),
    ("draining", "Target.DeregistrationInProgress"),
    ("unused", "Target.InvalidState"),
    ("initial", "Elb.RegistrationInProgress"),
    ("unavailable", "Target.HealthCheckDisabled"),
    ("initial", "Elb.InitialHealthChecking"),
    ("unhealthy", "Target.FailedHealthChecks"),
]


def test_the_first_that_holds_decides() -> None:
    facts: dict[str, Any] = dict(BAD)
    for name, expected in zip(BAD, ORDER, strict=True):
        found = target_health(Facts(**facts))
        assert (found.state, found.reason) == expected
        assert found.description
        del facts[name]
    assert target_health(Facts(**facts)) == HEALTHY


@pytest.mark.parametrize(
    ("status", "code", "reason", "description"),
    [
        ("L7STS", 503, "Target.ResponseCodeMismatch",
         "Health checks failed with these codes: [503]"),
        ("L7STS", None, "Target.ResponseCodeMismatch", "Health checks failed"),
        ("L4TOUT", None, "Target.Timeout", "Request timed out"),
        ("L7TOUT", None, "Target.Timeout", "Request timed out"),
        ("L4CON", None, "Target.FailedHealthChecks", "Health checks failed"),
        ("L7RSP", None, "Target.FailedHealthChecks", "Health checks failed"),
        ("SOCKERR", None, "Elb.InternalError", "Health checks failed due to an internal error"),
    ],
)  # fmt: skip
def test_reasons_of_unhealthy(status: str, code: int | None, reason: str, description: str) -> None:
    found = target_health(Facts(is_up=False, check_status=status, code=code))
    assert (found.state, found.reason, found.description) == ("unhealthy", reason, description)


def test_states_are_awss() -> None:
    assert {state for state, _ in ORDER} | {"healthy"} == set(STATES)
