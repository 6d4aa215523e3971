"""ext.freshness on generated answers and requests: laws that hold for all of them.

The generators take field lines that mean something to a cache, good and damaged ones, in any order.
Derandomised, so that a run in CI says the same twice.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.freshness import (
    DISCONNECTED_FOR_TEST,
    NoStore,
    Policy,
    Reuse,
    RulesForTest,
    Verdict,
    age_for_test,
    remaining_for_test,
    soft_purge_for_test,
)
from tests.ext.heads import NOW_MS, answer, date, expires, get, modified

bounded = settings(max_examples=500, derandomize=True, deadline=None, database=None)
RULES = [
    RulesForTest(Policy.RFC9111, 0),
    RulesForTest(Policy.RFC9111, 3600, disconnected_s=50),
    RulesForTest(Policy.FASTLY, 0),
    RulesForTest(Policy.FASTLY, 3600, passes_no_store=1),
]
# How much an answer costs the origin: what an object turns into as time goes by never gets cheaper.
RANK = {
    Reuse.FRESH: 0, Reuse.STALE: 1, Reuse.STALE_WHILE_REVALIDATE: 2, Reuse.PASS: 3,
    Reuse.REVALIDATE: 3, Reuse.MISS: 3, Reuse.GATEWAY_TIMEOUT: 3,
}  # fmt: skip

DIRECTIVES = st.lists(
    st.sampled_from(
        ["max-age=60", "max-age=0", "max-age=5", "max-age=x", "s-maxage=30", "s-maxage=0", "public",
         "private", "no-store", "no-cache", 'no-cache="x"', "must-revalidate", "proxy-revalidate",
         "immutable", "must-understand", "stale-while-revalidate=20", "stale-if-error=40",
         "max-age=99999999999", "x", 'y="no-store"', 'z="', "", "=", "max-age", "min-fresh=20",
         "max-stale", "max-stale=15", "only-if-cached", "max-age=10"]
    ),
    max_size=4,
).map(", ".join)  # fmt: skip
CONTROL = st.tuples(
    st.sampled_from(
        ["Cache-Control", "Cache-Control", "Surrogate-Control", "CDN-Cache-Control", "Pragma"]
    ),
    DIRECTIVES,
).map(": ".join)
OTHERS = st.sampled_from(
    [date(0), date(-100), date(50), "Date: x", expires(0), expires(70), expires(-70), "Expires: 0",
     modified(-1000), modified(5), "Last-Modified: x", 'ETag: "a"', 'ETag: W/"a"', "ETag:",
     "Age: 10", "Age: 99999999999", "Age: x", "Vary: a", "Vary: *", "Set-Cookie: a=b",
     "Content-Location: /", 'Surrogate-Control: content="ESI/1.0"', "Warning: 110 - x"]
)  # fmt: skip
LINES = st.lists(st.one_of(CONTROL, OTHERS), max_size=6)
STATUSES = st.sampled_from([200, 200, 200, 203, 206, 301, 302, 404, 416, 500, 503, 599, 103])
ASKED = st.builds(
    lambda lines, method: get(*lines, method=method),
    st.lists(
        st.one_of(
            DIRECTIVES.map("Cache-Control: {}".format),
            st.sampled_from(["Authorization: x", "Pragma: no-cache", "Range: bytes=0-1"]),
        ),
        max_size=2,
    ),
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "X"]),
)
TIMES = st.lists(st.integers(-10_000, 200_000), min_size=2, max_size=6).map(sorted)


@bounded
@given(st.sampled_from(RULES), LINES, STATUSES, ASKED, TIMES)
def test_a_verdict_is_whole(
    rules: RulesForTest, lines: list[str], status: int, asked: bytes, times: list[int]
) -> None:
    made = rules.store(asked, answer(*lines, status=status), NOW_MS - 300, NOW_MS)
    assert (made["verdict"] == Verdict.STORED) == (made["reason"] == NoStore.STORABLE)
    assert 0 <= made["lifetime_s"] <= 2**31
    if made["verdict"] != Verdict.NOT_STORED:
        assert made["born_ms"] <= NOW_MS
        for time_ms in times:
            assert 0 <= age_for_test(made, NOW_MS + time_ms) <= 2**31


@bounded
@given(st.sampled_from(RULES), LINES, ASKED, TIMES)
def test_time_never_makes_an_object_fresher(
    rules: RulesForTest, lines: list[str], asked: bytes, times: list[int]
) -> None:
    made = rules.store(get(), answer(*lines), NOW_MS, NOW_MS)
    if made["verdict"] == Verdict.NOT_STORED:
        return
    ages = [age_for_test(made, NOW_MS + t) for t in times]
    ranks = [RANK[rules.reuse(made, asked, NOW_MS + t)] for t in times]
    errors = [rules.stale_on_error(made, asked, 503, NOW_MS + t) for t in times]
    assert ages == sorted(ages)
    assert ranks == sorted(ranks)
    assert errors == sorted(errors, reverse=True)
    left = [remaining_for_test(made, NOW_MS + t) for t in times]
    assert left == sorted(left, reverse=True)


@bounded
@given(st.sampled_from(RULES), LINES, ASKED, TIMES)
def test_a_soft_purge_never_makes_an_object_fresher(
    rules: RulesForTest, lines: list[str], asked: bytes, times: list[int]
) -> None:
    made = rules.store(get(), answer(*lines), NOW_MS, NOW_MS)
    if made["verdict"] != Verdict.STORED:
        return
    purged = soft_purge_for_test(made, NOW_MS + times[0])
    for time in times:
        now_ms = NOW_MS + time
        assert RANK[rules.reuse(purged, asked, now_ms)] >= RANK[rules.reuse(made, asked, now_ms)]
        assert rules.reuse(purged, get(), now_ms) != Reuse.FRESH
        assert age_for_test(purged, now_ms) == age_for_test(made, now_ms)


RESTRICTIVE = ["no-store", "no-cache", "private", "must-revalidate", "max-age=0"]


@bounded
@given(LINES, st.sampled_from(RESTRICTIVE), ASKED, TIMES)
def test_rfc9111_4_2_1_a_restriction_never_gives_more(
    lines: list[str], word: str, asked: bytes, times: list[int]
) -> None:
    """Add one restriction in front of all other directives: nothing is served more cheaply."""
    rules = RULES[0]
    plain = [line for line in lines if not line.startswith(("Surrogate", "CDN", "Expires"))]
    if any("must-understand" in line for line in plain) and word == "no-store":
        return
    one = rules.store(asked, answer(*plain), NOW_MS, NOW_MS)
    two = rules.store(asked, answer(f"Cache-Control: {word}", *plain), NOW_MS, NOW_MS)
    if two["verdict"] == Verdict.NOT_STORED:
        return
    allowed = one["reason"] in (NoStore.STORABLE, NoStore.NO_FRESHNESS_NO_VALIDATOR)
    assert allowed or word in ("must-revalidate", "max-age=0")
    if one["verdict"] == Verdict.STORED:
        for time in times:
            ranks = [RANK[rules.reuse(made, get(), NOW_MS + time)] for made in (one, two)]
            assert ranks[0] <= ranks[1]


@bounded
@given(st.sampled_from(RULES), LINES, LINES, ASKED)
def test_a_304_that_says_the_same_renews(
    rules: RulesForTest, lines: list[str], more: list[str], asked: bytes
) -> None:
    """All of the answer's own fields again: what is stored then is as if it had come anew."""
    whole = rules.store(asked, answer(*lines), NOW_MS - 300, NOW_MS)
    again = rules.refresh(asked, answer(*lines), answer(*lines, status=304), NOW_MS - 300, NOW_MS)
    assert whole == again
    rules.refresh(asked, answer(*lines), answer(*more, status=304), NOW_MS - 300, NOW_MS)


@bounded
@given(
    st.sampled_from(RULES), LINES, st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53),
    st.integers(-(2**53), 2**53), st.sampled_from([DISCONNECTED_FOR_TEST, 500, 503, 200]),
)  # fmt: skip
def test_any_time(
    rules: RulesForTest, lines: list[str], requested: int, now: int, later: int, status: int
) -> None:
    made: dict[str, Any] = rules.store(get(), answer(*lines), requested, now)
    rules.reuse(made, get(), later)
    rules.stale_on_error(made, get(), status, later)
    assert 0 <= age_for_test(made, later) <= 2**31


NAMES = ["Cache-Control", "Expires", "Date", "Age", "Vary", "ETag", "Last-Modified",
         "Surrogate-Control", "CDN-Cache-Control", "Set-Cookie", "Pragma"]  # fmt: skip
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))


@bounded
@given(st.sampled_from(RULES), st.lists(st.tuples(st.sampled_from(NAMES), TEXT), max_size=5))
def test_any_field_values(rules: RulesForTest, values: list[tuple[str, str]]) -> None:
    lines = [": ".join(value) for value in values]
    made = rules.store(get(), answer(*lines), NOW_MS, NOW_MS)
    assert rules.reuse(made, get(*lines), NOW_MS) in Reuse
    rules.refresh(get(*lines), answer(*lines), answer(*lines[1:], status=304), NOW_MS, NOW_MS)


@pytest.mark.parametrize("rules", RULES, ids=range(len(RULES)))
def test_the_generators_reach_every_verdict(rules: RulesForTest) -> None:
    seen: set[Verdict] = set()

    @bounded
    @given(LINES, STATUSES, ASKED)
    def look(lines: list[str], status: int, asked: bytes) -> None:
        made = rules.store(asked, answer(*lines, status=status), NOW_MS, NOW_MS)
        seen.add(made["verdict"])

    look()
    assert Verdict.STORED in seen and Verdict.NOT_STORED in seen
