"""edge.control.haproxy.rates: events per second, without a clock."""

from edge.control.haproxy.rates import Rates


def test_a_rate_is_that_of_the_last_look() -> None:
    rates = Rates()
    assert rates.of("x") is None
    for count, now in ((100, 50.0), (110, 51.0), (150, 53.0), (150, 54.0)):
        rates.look({"x": count}, now)
    found = rates.of("x")
    assert found is not None
    assert (found.rate, found.rate_max, found.last_event_at) == (0, 20, 53.0)


def test_what_was_counted_before_the_first_look_is_no_event() -> None:
    rates = Rates()
    rates.look({"x": 9}, 1.0)
    found = rates.of("x")
    assert found is not None
    assert (found.rate, found.rate_max, found.last_event_at) == (0, 0, None)


def test_a_counter_that_fell_begins_anew() -> None:
    rates = Rates()
    rates.look({"x": 9}, 1.0)
    rates.look({"x": 2}, 2.0)
    found = rates.of("x")
    assert found is not None
    assert (found.rate, found.last_event_at) == (0, None)
    rates.look({"x": 5}, 3.0)
    assert (found.rate, found.rate_max) == (3, 3)


def test_two_looks_at_once_do_no_harm() -> None:
    rates = Rates()
    rates.look({"x": 1}, 1.0)
    rates.look({"x": 4}, 1.0)
    found = rates.of("x")
    assert found is not None
    assert found.rate == 0
