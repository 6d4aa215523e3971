"""The health machine against what HAProxy 2.6 was measured to do.

Measured with `inter 400ms fastinter 200ms rise 2 fall 3`: status, check_health, and the pause
before the next check.
"""

import pytest

from edge.health.machine import HealthMachine, Thresholds
from ext.limits import AdminState, ServerState

THRESHOLDS = Thresholds(rise=2, fall=3, interval_s=0.4, fast_interval_s=0.2, down_interval_s=0.8)
OK, FAIL = True, False


def machine() -> HealthMachine:
    return HealthMachine(THRESHOLDS)


def feed(target: HealthMachine, *results: bool) -> HealthMachine:
    for passed in results:
        if passed:
            target.on_success()
        else:
            target.on_failure()
    return target


# (results fed so far, status, counter, seconds to the next check)
MEASURED = [
    ([OK], "UP", 4, 0.4),
    ([OK, FAIL], "UP 2/3", 3, 0.2),
    ([OK, FAIL, FAIL], "UP 1/3", 2, 0.2),
    ([OK, FAIL, FAIL, FAIL], "DOWN", 0, 0.8),
    ([OK, FAIL, FAIL, FAIL, OK], "DOWN 1/2", 1, 0.2),
    ([OK, FAIL, FAIL, FAIL, OK, OK], "UP", 4, 0.4),
    # one success wipes all failures: "one failure... then ok"
    ([OK, FAIL, FAIL, OK], "UP", 4, 0.4),
    # and one failure all successes
    ([FAIL, OK, FAIL], "DOWN", 0, 0.8),
    # flapping 1 ok / 2 fail with fall 3 never goes DOWN
    ([OK, *[FAIL, FAIL, OK] * 20, FAIL, FAIL], "UP 1/3", 2, 0.2),
]


@pytest.mark.parametrize(("results", "status", "counter", "interval_s"), MEASURED)
def test_measured_timeline(
    results: list[bool], status: str, counter: int, interval_s: float
) -> None:
    subject = feed(machine(), *results)
    assert (subject.status(), subject.counter, subject.interval_s()) == (
        status,
        counter,
        interval_s,
    )


def test_a_new_server_is_up_before_its_first_check() -> None:
    subject = machine()
    assert (subject.is_up, subject.counter, subject.status()) == (True, 2, "UP 1/3")
    assert subject.interval_s() == 0.2


def test_the_first_failing_check_takes_a_new_server_down() -> None:
    subject = feed(machine(), FAIL)
    assert (subject.is_up, subject.counter) == (False, 0)


@pytest.mark.parametrize(("rise", "fall"), [(1, 1), (1, 5), (5, 1), (10, 10)])
def test_rise_and_fall_count_consecutive_results(rise: int, fall: int) -> None:
    subject = HealthMachine(Thresholds(rise, fall, 2.0, 1.0, 3.0))
    feed(subject, OK)
    feed(subject, *[FAIL] * (fall - 1))
    assert subject.is_up
    feed(subject, FAIL)
    assert not subject.is_up
    feed(subject, *[OK] * (rise - 1))
    assert not subject.is_up
    feed(subject, OK)
    assert (subject.is_up, subject.counter) == (True, rise + fall - 1)


def test_the_counter_never_leaves_its_range() -> None:
    subject = feed(machine(), *[OK] * 50)
    assert subject.counter == 4
    assert feed(subject, *[FAIL] * 50).counter == 0


@pytest.mark.parametrize(
    ("is_up", "counter", "resumed"),
    [(True, 4, 4), (True, 3, 3), (True, 99, 4), (True, 0, 2), (False, 0, 0), (False, 9, 1)],
)
def test_a_resumed_machine_keeps_the_state_and_clamps_the_counter(
    is_up: bool, counter: int, resumed: int
) -> None:
    subject = HealthMachine.resumed(
        THRESHOLDS, state=ServerState.UP if is_up else ServerState.DOWN, counter=counter
    )
    assert (subject.is_up, subject.counter) == (is_up, resumed)


def test_a_down_set_by_a_worker_costs_all_health() -> None:
    subject = feed(machine(), OK)
    assert subject.on_state_seen(ServerState.DOWN)
    assert (subject.counter, subject.status(), subject.interval_s()) == (0, "DOWN", 0.8)
    assert not subject.on_state_seen(ServerState.DOWN)


def test_an_up_set_by_another_process_makes_a_new_server() -> None:
    subject = feed(machine(), FAIL)
    assert subject.on_state_seen(ServerState.UP)
    assert subject.status() == "UP 1/3"


def test_failed_connects_put_a_server_in_doubt_once() -> None:
    subject = feed(machine(), OK)
    assert not subject.on_connect_failures_seen(0)
    assert subject.interval_s() == 0.4
    assert subject.on_connect_failures_seen(1)
    assert subject.interval_s() == 0.2
    assert not subject.on_connect_failures_seen(2)
    assert subject.in_doubt


def test_a_passed_check_answers_the_failures_before_it_and_not_those_after() -> None:
    subject = feed(machine(), OK)
    subject.on_connect_failures_seen(3)
    subject.on_doubt_answered(3)
    assert not subject.on_connect_failures_seen(3)
    assert not subject.in_doubt
    assert subject.on_connect_failures_seen(4)


def test_a_good_connect_ends_the_doubt_and_the_next_failure_starts_it_again() -> None:
    subject = feed(machine(), OK)
    subject.on_connect_failures_seen(3)
    subject.on_doubt_answered(3)
    assert not subject.on_connect_failures_seen(0)
    assert subject.on_connect_failures_seen(1)


def test_a_server_that_is_down_is_not_in_doubt() -> None:
    subject = feed(machine(), FAIL)
    assert not subject.on_connect_failures_seen(5)
    assert subject.interval_s() == 0.8


def test_maintenance_ends_with_a_new_server() -> None:
    subject = feed(machine(), FAIL)
    subject.on_maintenance_left()
    assert subject.status() == "UP 1/3"


def test_a_server_of_fall_one_knows_no_transition() -> None:
    subject = HealthMachine(Thresholds(2, 1, 0.4, 0.2, 0.8))
    found = [feed(subject, result).status() for result in (FAIL, OK, OK)]
    assert found == ["DOWN", "DOWN 1/2", "UP"]


# -- NOLB: a check that passes under conditions ----------------------------------------------------


def test_a_check_that_passes_under_conditions_stops_a_server_and_the_next_ends_it() -> None:
    subject = feed(machine(), OK)
    subject.on_success(is_conditional=True)
    assert (subject.state, subject.status(), subject.is_running) == (ServerState.NOLB, "NOLB", True)
    assert subject.interval_s() == 0.4
    assert feed(subject, FAIL).status() == "NOLB 2/3"
    assert feed(subject, OK).status() == "UP"


def test_a_stopped_server_that_fails_goes_down() -> None:
    subject = feed(machine(), OK)
    subject.on_success(is_conditional=True)
    assert feed(subject, FAIL, FAIL, FAIL).status() == "DOWN"


def test_nolb_set_by_another_process_is_adopted() -> None:
    subject = feed(machine(), FAIL)
    assert subject.on_state_seen(ServerState.NOLB)
    assert subject.status() == "NOLB 1/3"


# -- the agent -------------------------------------------------------------------------------------


def with_agent(*, is_checked: bool = True) -> HealthMachine:
    return HealthMachine(THRESHOLDS, is_checked=is_checked, has_agent=True)


def test_only_the_agent_ends_what_it_has_said() -> None:
    subject = feed(with_agent(), OK)
    subject.on_agent_word(is_up=False)
    assert subject.status() == "DOWN (agent)"
    assert feed(subject, OK, OK, OK).status() == "DOWN (agent)"
    subject.on_agent_word(is_up=True)
    assert subject.status() == "UP"


def test_an_agent_does_not_end_what_checks_have_found() -> None:
    subject = feed(with_agent(), FAIL)
    subject.on_agent_word(is_up=True)
    assert subject.status() == "DOWN"
    subject.on_agent_word(is_up=False)
    assert feed(subject, OK, OK).status() == "DOWN (agent)"
    subject.on_agent_word(is_up=True)
    assert subject.status() == "UP"


def test_an_agent_does_not_end_nolb() -> None:
    subject = feed(with_agent(), OK)
    subject.on_success(is_conditional=True)
    subject.on_agent_word(is_up=True)
    assert subject.status() == "NOLB"


def test_where_nothing_checks_the_agent_decides_alone() -> None:
    subject = with_agent(is_checked=False)
    assert subject.status() == "no check"
    subject.on_agent_word(is_up=False)
    assert (subject.status(), subject.is_running) == ("DOWN (agent)", False)
    subject.on_agent_word(is_up=True)
    assert subject.status() == "no check"


def test_an_agent_that_is_not_asked_any_more_does_not_count() -> None:
    subject = feed(with_agent(), OK)
    subject.on_agent_word(is_up=False)
    subject.has_agent = False
    assert subject.status() == "DOWN 4/2"  # as HAProxy shows it
    assert feed(subject, OK).status() == "UP"


def test_maintenance_does_not_end_what_the_agent_has_said() -> None:
    subject = feed(with_agent(), OK)
    subject.on_agent_word(is_up=False)
    subject.on_maintenance_left()
    assert subject.status() == "DOWN (agent)"


def test_a_word_for_the_agent_is_obeyed_whatever_checks_have_found() -> None:
    subject = feed(with_agent(), FAIL)
    subject.on_agent_forced(is_up=True)
    assert subject.is_up
    subject.on_agent_forced(is_up=False)
    assert (subject.is_up, subject.agent_is_down) == (False, True)


@pytest.mark.parametrize(
    ("agent_is_down", "counter", "resumed", "status"),
    [(True, 4, 4, "DOWN (agent)"), (False, 4, 1, "DOWN 1/2"), (None, 4, 1, "DOWN 1/2")],
)
def test_what_an_agent_has_said_outlives_a_process(
    agent_is_down: bool | None, counter: int, resumed: int, status: str
) -> None:
    subject = HealthMachine.resumed(
        THRESHOLDS, state=ServerState.DOWN, counter=counter, agent_is_down=agent_is_down
    )
    assert (subject.counter, subject.status()) == (resumed, status)


def test_nobody_holds_an_unchecked_server_down_over_a_reload_but_its_agent() -> None:
    for agent_is_down, is_up in ((None, True), (False, True), (True, False)):
        subject = HealthMachine.resumed(
            THRESHOLDS,
            state=ServerState.DOWN,
            counter=0,
            is_checked=False,
            agent_is_down=agent_is_down,
        )
        assert subject.is_up is is_up


# -- the status column -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "is_checked", "has_agent", "admin", "status"),
    [
        ([OK], True, False, AdminState.DRAIN, "DRAIN"),
        ([OK, FAIL], True, False, AdminState.DRAIN, "DRAIN 2/3"),
        ([OK, FAIL], True, True, AdminState.DRAIN, "DRAIN (agent)"),
        ([FAIL], True, False, AdminState.DRAIN, "DOWN"),
        ([FAIL], True, False, AdminState.MAINT, "MAINT"),
        ([], False, False, AdminState.READY, "no check"),
        ([], False, False, AdminState.DRAIN, "DRAIN"),
    ],
)
def test_orders_show_in_the_status(
    results: list[bool], is_checked: bool, has_agent: bool, admin: AdminState, status: str
) -> None:
    subject = HealthMachine(THRESHOLDS, is_checked=is_checked, has_agent=has_agent)
    assert feed(subject, *results).status(admin) == status
