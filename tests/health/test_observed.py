"""edge.health.observed: HAProxy's texts, and what each on-error does to the counter."""

import pytest

from edge.health.checks import CheckStatus, Verdict
from edge.health.machine import HealthMachine, Thresholds
from edge.health.observed import TEXTS, outcome_of
from ext.observe import Observed


def test_every_sign_has_a_text() -> None:
    assert set(TEXTS) == set(Observed)


def test_the_outcome_is_haproxys() -> None:
    view = {"errors_counted": 5, "last_error": int(Observed.HTTP_WRONG_STATUS)}
    outcome = outcome_of(view)
    assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.HANA)
    assert outcome.info == "Detected 5 consecutive errors, last one was: Wrong http response"


@pytest.mark.parametrize(
    ("failures_before", "counter", "after_one_more"), [(0, 2, 0), (1, 2, 0), (2, 0, 0)]
)
def test_sudden_death_is_one_failure_before_the_end(
    failures_before: int, counter: int, after_one_more: int
) -> None:
    """rise 2, fall 3: 4 is the top, 2 the last that is UP."""
    machine = HealthMachine(Thresholds(2, 3, 1.0, 1.0, 1.0))
    machine.on_success()
    for _ in range(failures_before):
        machine.on_failure()
    machine.on_sudden_death()
    machine.on_failure()
    assert machine.counter == (counter if failures_before < 2 else 0)
    machine.on_failure()
    assert machine.counter == after_one_more
