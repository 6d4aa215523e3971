"""ext.freshness in policy fastly: as Fastly documents it, with every difference from the RFC."""

from typing import Any

import pytest

from ext.freshness import (
    DISCONNECTED_FOR_TEST,
    NoStore,
    Policy,
    Reuse,
    RulesForTest,
    Verdict,
    age_for_test,
    soft_purge_for_test,
)
from tests.ext.heads import NOW_MS, answer, date, expires, get, modified

FASTLY = RulesForTest(Policy.FASTLY, 3600)
NEWER = RulesForTest(Policy.FASTLY, 3600, passes_no_store=1)
FRESH, SWR, ASK, MISS, PASS = (
    Reuse.FRESH, Reuse.STALE_WHILE_REVALIDATE, Reuse.REVALIDATE, Reuse.MISS, Reuse.PASS,
)  # fmt: skip
TAG = 'ETag: "a"'
DELTA_MAX = 2**31
CACHEABLE = {200, 203, 300, 301, 302, 404, 410}
MAGENTO = (
    "Cache-Control: max-age=86400, public, s-maxage=86400, stale-while-revalidate=86400,"
    " stale-if-error=86400"
)


def store(*lines: str, rules: RulesForTest = FASTLY, asked: bytes | None = None,
          status: int = 200) -> dict[str, Any]:  # fmt: skip
    head = answer(*lines, status=status)
    return rules.store(get() if asked is None else asked, head, NOW_MS - 700, NOW_MS)


def ttl_ms(made: dict[str, Any]) -> int:
    """How long an object or a marker is used from now on."""
    return int(made["fresh_until_ms"]) - NOW_MS


# -- storing ---------------------------------------------------------------------------------------


def test_statuses() -> None:
    for status in range(200, 1000):
        assert FASTLY.cacheable(status) == (status in CACHEABLE)
        made = store("Cache-Control: max-age=60", status=status)
        if status in CACHEABLE:
            assert made["verdict"] == Verdict.STORED
        else:  # not even a marker: it would keep what comes next from being stored
            reason = NoStore.PARTIAL if status == 206 else NoStore.STATUS
            assert (made["verdict"], made["reason"]) == (Verdict.NOT_STORED, reason)


@pytest.mark.parametrize(
    ("lines", "ttl_s", "age_s"),
    [
        # Surrogate-Control max-age, s-maxage, max-age, Expires, default
        (["Surrogate-Control: max-age=60", "Cache-Control: max-age=5, s-maxage=6"], 60, 0),
        (["Surrogate-Control: max-age=1", "Cache-Control: max-age=500", expires(900)], 1, 0),
        (["Surrogate-Control: stale-if-error=60", "Cache-Control: max-age=5"], 5, 0),
        (['Surrogate-Control: content="ESI/1.0"', "Cache-Control: max-age=5"], 5, 0),
        (["Cache-Control: max-age=5, s-maxage=6", expires(900)], 6, 0),
        (["Cache-Control: max-age=5", expires(900)], 5, 0),
        ([expires(900), date(0)], 900, 0),
        ([expires(900)], 900, 0),
        ([], 3600, 0),
        (["Cache-Control: public"], 3600, 0),
        ([modified(-(10**7)), date(0)], 3600, 0),  # nothing is guessed
        (["Cache-Control: max-age=99999999999"], DELTA_MAX, 0),
        (["Expires: Fri, 31 Dec 9999 23:59:59 GMT"], DELTA_MAX, 0),
        # minus Age, except for Expires and the default
        (["Cache-Control: max-age=30", "Age: 10"], 20, 10),
        (["Surrogate-Control: max-age=30", "Age: 10"], 20, 10),
        (["Cache-Control: s-maxage=30", "Age: 10, 5"], 20, 10),
        (["Cache-Control: max-age=30", "Age: x"], 30, 0),
        ([expires(30), date(0), "Age: 10"], 30, 0),
        ([expires(30), date(-10), "Age: 25"], 30, 0),
        ([expires(20), date(10), "Age: 15"], 20, 0),
        ([expires(300), date(400)], 300, 0),
        (["Age: 10"], 3600, 10),
        # what Fastly does not look at
        (["CDN-Cache-Control: max-age=5", "Cache-Control: max-age=60"], 60, 0),
        (["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"], 60, 0),
        (["CDN-Cache-Control: private"], 3600, 0),
        (["Cache-Control: no-cache, max-age=60"], 60, 0),
        (["Cache-Control: no-cache"], 3600, 0),
        (["Cache-Control: no-store, max-age=60"], 60, 0),
        (["Cache-Control: no-store"], 3600, 0),
        (["Cache-Control: max-age=60, must-understand"], 60, 0),
        (["Cache-Control: max-age=60", "Pragma: no-cache"], 60, 0),
    ],
)
def test_ttl(lines: list[str], ttl_s: int, age_s: int) -> None:
    made = store(*lines)
    assert (made["verdict"], made["reason"]) == (Verdict.STORED, NoStore.STORABLE)
    assert (ttl_ms(made), age_for_test(made, NOW_MS)) == (ttl_s * 1000, age_s)


def test_example_of_the_documentation() -> None:
    """max-age=30 with Age 10: eight seconds later the age is 18 and 12 seconds are left."""
    made = store("Cache-Control: max-age=30", "Age: 10")
    assert age_for_test(made, NOW_MS + 8000) == 18
    assert made["fresh_until_ms"] - (NOW_MS + 8000) == 12_000


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Cache-Control: max-age=0"], NoStore.NOT_FRESH),
        (["Cache-Control: max-age=0", TAG], NoStore.NOT_FRESH),
        (["Cache-Control: max-age=x"], NoStore.NOT_FRESH),
        (["Cache-Control: max-age=10", "Age: 10"], NoStore.NOT_FRESH),
        (["Expires: 0"], NoStore.NOT_FRESH),
        ([expires(0)], NoStore.NOT_FRESH),
        ([expires(-60), date(-90)], NoStore.NOT_FRESH),
        (["Cache-Control: max-age=60", "Vary: *"], NoStore.VARY_STAR),
    ],
)
def test_not_stored(lines: list[str], reason: NoStore) -> None:
    made = store(*lines)
    assert (made["verdict"], made["reason"]) == (Verdict.NOT_STORED, reason)


def test_a_default_ttl_of_0() -> None:
    rules = RulesForTest(Policy.FASTLY, 0)
    assert store(TAG, modified(-9), rules=rules)["reason"] == NoStore.NOT_FRESH
    assert store("Cache-Control: max-age=5", rules=rules)["verdict"] == Verdict.STORED


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PURGE", "OPTIONS"])
def test_methods(method: str) -> None:
    asked = get(method=method)
    lines = ["Cache-Control: max-age=60", "Content-Location: /"]
    assert store(*lines, asked=asked)["reason"] == NoStore.METHOD


@pytest.mark.parametrize(
    "line",
    ["Authorization: Basic x", "Cache-Control: no-store", "Cache-Control: no-cache",
     "Pragma: no-cache", "Cookie: a=b", "Range: bytes=0-1"],
)  # fmt: skip
def test_the_request_does_not_matter(line: str) -> None:
    made = store("Cache-Control: max-age=60", asked=get(line))
    assert (made["verdict"], ttl_ms(made)) == (Verdict.STORED, 60_000)


# -- hit-for-pass ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "reason", "ttl_s"),
    [
        (["Set-Cookie: a=b"], NoStore.SET_COOKIE, 120),
        (["Set-Cookie: a=b", MAGENTO], NoStore.SET_COOKIE, 86400),
        (["Set-Cookie: a=b", "Cache-Control: max-age=60"], NoStore.SET_COOKIE, 120),
        (["Set-Cookie: a=b", "Cache-Control: max-age=121"], NoStore.SET_COOKIE, 121),
        (["Set-Cookie: a=b", "Surrogate-Control: max-age=500"], NoStore.SET_COOKIE, 500),
        (["Set-Cookie:", expires(500)], NoStore.SET_COOKIE, 500),
        (["Set-Cookie: a=b", "Expires: 0"], NoStore.SET_COOKIE, 120),
        (["Cache-Control: private"], NoStore.PRIVATE, 120),
        (["Cache-Control: PRIVATE, max-age=600"], NoStore.PRIVATE, 600),
        (["Cache-Control: private, max-age=600", "Age: 100"], NoStore.PRIVATE, 500),
        (['Cache-Control: private="x"'], NoStore.PRIVATE, 120),
        (["Cache-Control: private", "Surrogate-Control: max-age=600"], NoStore.PRIVATE, 600),
        (["Surrogate-Control: private"], NoStore.PRIVATE, 120),
        (["Surrogate-Control: no-store", "Cache-Control: max-age=9"], NoStore.NO_STORE, 120),
        (["Cache-Control: private", "Set-Cookie: a=b"], NoStore.SET_COOKIE, 120),
        (["Cache-Control: private", "Vary: *"], NoStore.PRIVATE, 120),
    ],
)
def test_hit_for_pass(lines: list[str], reason: NoStore, ttl_s: int) -> None:
    made = store(*lines)
    assert (made["verdict"], made["reason"]) == (Verdict.HIT_FOR_PASS, reason)
    assert ttl_ms(made) == ttl_s * 1000
    for seconds, expected in ((0, PASS), (ttl_s - 0.001, PASS), (ttl_s, MISS), (10**6, MISS)):
        assert FASTLY.reuse(made, get(), NOW_MS + round(seconds * 1000)) == expected
    assert not FASTLY.stale_on_error(made, get(), 503, NOW_MS)


def test_no_store_is_passed_by_newer_boilerplate() -> None:
    for lines in (["Cache-Control: no-store"], ["Cache-Control: max-age=60, no-store"]):
        assert store(*lines)["verdict"] == Verdict.STORED
        made = store(*lines, rules=NEWER)
        assert (made["verdict"], made["reason"]) == (Verdict.HIT_FOR_PASS, NoStore.NO_STORE)
    assert store("Cache-Control: no-cache", rules=NEWER)["verdict"] == Verdict.STORED


def test_a_status_that_is_not_cacheable_leaves_no_marker() -> None:
    for status in (201, 307, 403, 429, 500, 503):
        made = store("Set-Cookie: a=b", "Cache-Control: private", status=status)
        assert made["verdict"] == Verdict.NOT_STORED


def test_least_time_of_a_marker() -> None:
    rules = RulesForTest(Policy.FASTLY, 3600, pass_s=7)
    assert ttl_ms(store("Cache-Control: private", rules=rules)) == 7000


# -- reuse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "seconds", "expected"),
    [
        (["Cache-Control: max-age=60"], 59.999, FRESH),
        (["Cache-Control: max-age=60"], 60, MISS),
        (["Cache-Control: max-age=60", TAG], 60, ASK),
        (["Cache-Control: max-age=60", modified(-9)], 60, ASK),
        (["Cache-Control: max-age=60, must-revalidate", TAG], 60, ASK),
        (["Cache-Control: no-cache, max-age=60", TAG], 59, FRESH),
        (["Cache-Control: max-age=60, stale-while-revalidate=30"], 89.999, SWR),
        (["Cache-Control: max-age=60, stale-while-revalidate=30"], 90, MISS),
        (["Cache-Control: s-maxage=60, stale-while-revalidate=30"], 60, SWR),
        (["Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=30"], 60, SWR),
        (["Cache-Control: max-age=0, stale-while-revalidate=30"], 0, SWR),
        (["Surrogate-Control: stale-while-revalidate=9",
          "Cache-Control: max-age=60, stale-while-revalidate=30"], 69, MISS),
        (["Surrogate-Control: max-age=60",
          "Cache-Control: max-age=5, stale-while-revalidate=30"], 89, SWR),
        (["Surrogate-Control: max-age=60, stale-while-revalidate=30"], 89, SWR),
        (["Cache-Control: max-age=60, stale-if-error=30"], 60, MISS),
        ([MAGENTO], 86400 * 2 - 1, SWR),
        ([expires(60), "Cache-Control: stale-while-revalidate=30"], 89, SWR),
        (["Cache-Control: stale-while-revalidate=30"], 3629, SWR),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "asked",
    [None, "no-cache", "max-age=0", "no-store", "only-if-cached", "max-stale", "min-fresh=9999999"],
)
def test_reuse_whatever_the_request_says(
    lines: list[str], seconds: float, expected: Reuse, asked: str | None
) -> None:
    request = get() if asked is None else get(f"Cache-Control: {asked}", "Pragma: no-cache")
    assert FASTLY.reuse(store(*lines), request, NOW_MS + round(seconds * 1000)) == expected


def test_shield_serves_nothing_stale() -> None:
    shield = RulesForTest(Policy.FASTLY, 3600, stale_while_revalidate_max_s=0)
    made = soft_purge_for_test(store(MAGENTO, TAG), NOW_MS + 5000)
    assert FASTLY.reuse(made, get(), NOW_MS + 6000) == SWR
    assert shield.reuse(made, get(), NOW_MS + 6000) == ASK


def test_soft_purge_without_windows_asks_the_origin() -> None:
    purged = soft_purge_for_test(store("Cache-Control: max-age=9999", TAG), NOW_MS + 5000)
    assert FASTLY.reuse(purged, get(), NOW_MS + 5000) == ASK
    purged = soft_purge_for_test(store("Cache-Control: max-age=9999"), NOW_MS + 5000)
    assert FASTLY.reuse(purged, get(), NOW_MS + 5000) == MISS


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "seconds", "expected"),
    [
        ("max-age=2, stale-if-error=60", 1, True),
        ("max-age=2, stale-if-error=60", 61.999, True),
        ("max-age=2, stale-if-error=60", 62, False),
        ("max-age=2, stale-while-revalidate=60", 61.999, True),
        ("max-age=2, stale-while-revalidate=60", 62, False),
        ("max-age=2, stale-while-revalidate=5, stale-if-error=60", 61, True),
        ("max-age=2, must-revalidate, stale-if-error=60", 5, True),
        ("s-maxage=2, stale-if-error=60", 5, True),
        ("no-cache, max-age=2, stale-if-error=60", 5, True),
        ("max-age=2", 5, False),
    ],
)
def test_stale_on_error(control: str, seconds: float, expected: bool) -> None:
    made = store(f"Cache-Control: {control}", TAG)
    for status in (DISCONNECTED_FOR_TEST, 500, 501, 502, 503, 504, 520, 599):
        for request in (get(), get("Cache-Control: no-cache")):
            now_ms = NOW_MS + round(seconds * 1000)
            assert FASTLY.stale_on_error(made, request, status, now_ms) == expected
    for status in (200, 404, 429, 499, 600):
        assert not FASTLY.stale_on_error(made, get(), status, NOW_MS)


def test_caps_of_the_windows() -> None:
    rules = RulesForTest(Policy.FASTLY, 0, stale_if_error_max_s=9, stale_while_revalidate_max_s=0)
    made = store("Cache-Control: max-age=2, stale-while-revalidate=60, stale-if-error=60")
    assert rules.stale_on_error(made, get(), 503, NOW_MS + 10_999)
    assert not rules.stale_on_error(made, get(), 503, NOW_MS + 11_000)


# -- after a 304 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "ttl_s", "age_s"),
    [
        (["Cache-Control: max-age=60", "Age: 50", TAG], [TAG], 60, 0),
        (["Cache-Control: max-age=60", TAG], ["Cache-Control: max-age=9"], 9, 0),
        (["Cache-Control: max-age=60", TAG], ["Age: 10"], 50, 10),
        (["Surrogate-Control: max-age=60", TAG], ["Cache-Control: max-age=9"], 60, 0),
        ([TAG], [], 3600, 0),
        ([expires(60), date(0), TAG], [expires(400), date(100)], 300, 0),
    ],
)
def test_a_304_renews_ttl_and_age(old: list[str], new: list[str], ttl_s: int, age_s: int) -> None:
    later_ms = NOW_MS + 100_000
    fresh = answer(*new, status=304)
    made = FASTLY.refresh(get(), answer(*old), fresh, later_ms - 500, later_ms)
    assert made["verdict"] == Verdict.STORED
    assert made["fresh_until_ms"] - later_ms == ttl_s * 1000
    assert age_for_test(made, later_ms) == age_s
