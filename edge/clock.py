"""The two clocks of the Python side; nothing else in edge/ asks the system for the time.

Called by everything that measures, backs off or stamps. Decisions (health machines, back-off,
plans) take `now` as an argument instead, so that a test can run an hour in a millisecond; only the
code that drives them calls `now()`. tests/test_tidy.py holds the rule.

Invariants: `now` never goes back and has no relation to the calendar; `wall` may jump when an
administrator or NTP sets the clock, so no duration is ever computed from it. The data path in ext/
reads the clock once per loop tick by itself.

Source: clock_gettime(2), CLOCK_MONOTONIC and CLOCK_REALTIME. Both clocks are the same in every
process of the machine, so values may travel through the arena.
"""

import time


def now() -> float:
    """Seconds on the monotonic clock, for durations and deadlines."""
    return time.monotonic()


def wall() -> float:
    """Seconds since 1970-01-01 UTC, for what people and other programs read."""
    return time.time()
