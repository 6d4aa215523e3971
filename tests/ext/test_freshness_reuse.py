"""ext.freshness, policy rfc9111, once something is stored: reuse, errors, 304, invalidation."""

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
    remaining_for_test,
    soft_purge_for_test,
)
from tests.ext.heads import NOW_MS, NOW_S, answer, date, expires, get, modified

RFC = RulesForTest(Policy.RFC9111, 0)
FASTLY = RulesForTest(Policy.FASTLY, 3600)
FRESH, STALE, SWR = Reuse.FRESH, Reuse.STALE, Reuse.STALE_WHILE_REVALIDATE
ASK, MISS, TIMEOUT = Reuse.REVALIDATE, Reuse.MISS, Reuse.GATEWAY_TIMEOUT
TAG = 'ETag: "a"'


def stored(control: str, *lines: str, rules: RulesForTest = RFC) -> dict[str, Any]:
    """The object of an answer with this Cache-Control that came at NOW_MS."""
    made = rules.store(get(), answer(f"Cache-Control: {control}", *lines), NOW_MS, NOW_MS)
    assert made["verdict"] == Verdict.STORED, made["reason"]
    return made


def reuse(made: dict[str, Any] | None, seconds: float, *lines: str,
          rules: RulesForTest = RFC) -> Reuse:  # fmt: skip
    return rules.reuse(made, get(*lines), NOW_MS + round(seconds * 1000))


# -- §4: without directives in the request ---------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "lines", "seconds", "expected"),
    [
        ("max-age=60", [TAG], 0, FRESH),
        ("max-age=60", [TAG], 59.999, FRESH),
        ("max-age=60", [TAG], 60, ASK),
        ("max-age=60", [modified(-9)], 60, ASK),
        ("max-age=60", [], 59.999, FRESH),
        ("max-age=60", [], 60, MISS),
        ("max-age=60", ["Age: 30"], 29.999, FRESH),
        ("max-age=60", ["Age: 30"], 30, MISS),
        ("max-age=0", [TAG], 0, ASK),
        ("no-cache", [TAG], 0, ASK),
        ("no-cache, max-age=60", [TAG], 0, ASK),
        ("No-CaChE, max-age=60", [modified(-9)], 1, ASK),
        ("max-age=60, must-revalidate", [TAG], 59, FRESH),
        ("max-age=60, must-revalidate", [TAG], 60, ASK),
        ("max-age=60, must-revalidate", [], 60, MISS),
        ("max-age=60, immutable", [TAG], 61, ASK),
        ("max-age=60, stale-while-revalidate=30", [], 59.999, FRESH),
        ("max-age=60, stale-while-revalidate=30", [], 60, SWR),
        ("max-age=60, stale-while-revalidate=30", [TAG], 89.999, SWR),
        ("max-age=60, stale-while-revalidate=30", [TAG], 90, ASK),
        ("max-age=60, stale-while-revalidate=30", [], 90, MISS),
        ("max-age=60, stale-while-revalidate=30, must-revalidate", [TAG], 60, ASK),
        ("max-age=60, stale-while-revalidate=30, proxy-revalidate", [TAG], 60, ASK),
        ("s-maxage=60, stale-while-revalidate=30", [TAG], 60, ASK),
        ("max-age=60, stale-while-revalidate=30, no-cache", [TAG], 60, ASK),
        ("max-age=60, stale-if-error=30", [TAG], 60, ASK),
        ("max-age=0, stale-while-revalidate=30", [], 0, SWR),
    ],
)
def test_rfc9111_4_reuse(control: str, lines: list[str], seconds: float, expected: Reuse) -> None:
    assert reuse(stored(control, *lines), seconds) == expected


# -- §5.2.1: what the request says -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "control", "lines", "seconds", "expected"),
    [
        # §5.2.1.1 max-age
        ("max-age=0", "max-age=60", [TAG], 3, ASK),
        ("max-age=0", "max-age=60", [], 3, MISS),
        ("max-age=0", "max-age=60", [], 0.001, MISS),
        ("max-age=0", "max-age=60", [], 0, FRESH),
        ("max-age=1", "max-age=60", [TAG], 3, ASK),
        ("max-age=3", "max-age=60", [TAG], 3, FRESH),
        ("max-age=3", "max-age=60", [TAG], 3.001, ASK),
        ("MAX-AGE=1", "max-age=60", [TAG], 3, ASK),
        ("max-age=600", "max-age=3600", ["Age: 1800", TAG], 0, ASK),
        ("max-age=99", "max-age=60", [TAG], 60, ASK),
        ("max-age=99", "max-age=60, stale-while-revalidate=99", [TAG], 60, ASK),
        ("max-age=x", "max-age=60", [TAG], 3, ASK),
        ("max-age=99, max-age=1", "max-age=60", [TAG], 3, FRESH),
        # §5.2.1.2 max-stale
        ("max-stale=1000", "max-age=2", [], 5, STALE),
        ("max-stale=1000", "max-age=1500", ["Age: 2000", TAG], 0, STALE),
        ("max-stale=3", "max-age=2", [], 5, STALE),
        ("max-stale=3", "max-age=2", [], 5.001, MISS),
        ("max-stale", "max-age=2", [], 10**9, STALE),
        ("max-stale=x", "max-age=2", [], 5, MISS),
        ("max-stale=1000", "max-age=2", [], 1, FRESH),
        ("max-stale=1000", "max-age=2, must-revalidate", [TAG], 5, ASK),
        ("max-stale=1000", "max-age=2, proxy-revalidate", [TAG], 5, ASK),
        ("max-stale=1000", "s-maxage=2", [TAG], 5, ASK),
        ("max-stale=1000", "max-age=2, no-cache", [TAG], 5, ASK),
        ("max-stale=1000, max-age=9", "max-age=2", [TAG], 5, STALE),
        ("max-stale=1000, max-age=4", "max-age=2", [TAG], 5, ASK),
        ("max-stale=1000, min-fresh=1", "max-age=2", [TAG], 5, ASK),
        ("max-stale=1", "max-age=2, stale-while-revalidate=9", [TAG], 5, SWR),
        # §5.2.1.3 min-fresh
        ("min-fresh=2000", "max-age=1500", [TAG], 0, ASK),
        ("min-fresh=1000", "max-age=1500", ["Age: 1000", TAG], 0, ASK),
        ("min-fresh=50", "max-age=60", [TAG], 10, FRESH),
        ("min-fresh=50", "max-age=60", [TAG], 10.001, ASK),
        ("min-fresh=0", "max-age=60, stale-while-revalidate=9", [TAG], 60, ASK),
        ("min-fresh=50, max-age=5", "max-age=60", [TAG], 10, ASK),
        # §5.2.1.4 no-cache
        ("no-cache", "max-age=60", [TAG], 0, ASK),
        ("No-Cache", "max-age=60", [modified(-9)], 0, ASK),
        ("no-cache", "max-age=60", [], 0, MISS),
        ("no-cache, max-stale", "max-age=2", [TAG], 5, ASK),
        ("no-cache", "max-age=2, stale-while-revalidate=9", [TAG], 5, ASK),
        # §5.2.1.5 no-store does not concern what is already stored
        ("no-store", "max-age=60", [TAG], 0, FRESH),
        # §5.2.1.7 only-if-cached
        ("only-if-cached", "max-age=60", [], 0, FRESH),
        ("only-if-cached", "max-age=60", [TAG], 60, TIMEOUT),
        ("only-if-cached", "max-age=60", [], 60, TIMEOUT),
        ("only-if-cached", "no-cache", [TAG], 0, TIMEOUT),
        ("only-if-cached, max-stale", "max-age=60", [], 99, STALE),
        ("only-if-cached, max-age=0", "max-age=60", [TAG], 5, TIMEOUT),
        ("only-if-cached", "max-age=60, stale-while-revalidate=9", [], 65, SWR),
        # unknown
        ("nothing-to-see-here", "max-age=60", [TAG], 0, FRESH),
        ("stale-while-revalidate=9", "max-age=60", [TAG], 60, ASK),
        ('x="no-cache"', "max-age=60", [TAG], 0, FRESH),
    ],
)
def test_rfc9111_5_2_1_request_directives(
    asked: str, control: str, lines: list[str], seconds: float, expected: Reuse
) -> None:
    assert reuse(stored(control, *lines), seconds, f"Cache-Control: {asked}") == expected


def test_rfc9111_5_2_1_7_only_if_cached_with_nothing_stored() -> None:
    assert reuse(None, 0, "Cache-Control: only-if-cached") == TIMEOUT
    assert reuse(None, 0) == MISS
    assert reuse(None, 0, "Cache-Control: only-if-cached", rules=FASTLY) == MISS


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Pragma: no-cache"], ASK),
        (["Pragma: NO-CACHE"], ASK),
        (["Pragma: foo"], FRESH),
        (["Pragma: no-cache, foo"], FRESH),
        (["Pragma: no-cache", "Cache-Control: max-age=60"], FRESH),
        (["Pragma: no-cache", "Cache-Control: nothing-to-see-here"], FRESH),
        (["Pragma: no-cache", "Cache-Control:"], FRESH),
    ],
)
def test_rfc9111_5_4_pragma(lines: list[str], expected: Reuse) -> None:
    assert reuse(stored("max-age=60", TAG), 5, *lines) == expected


@pytest.mark.parametrize(
    ("asked", "seconds", "expected"),
    [("max-age=0", 5, FRESH), ("max-age=0", 60, ASK), ("no-cache", 5, ASK),
     ("max-age=0, min-fresh=59", 5, ASK)],
)  # fmt: skip
def test_rfc8246_2_1_immutable(asked: str, seconds: float, expected: Reuse) -> None:
    made = stored("max-age=60, immutable", TAG)
    assert reuse(made, seconds, f"Cache-Control: {asked}") == expected


def test_cap_of_the_stale_window() -> None:
    """At a shield nothing is served stale: the edge's background fetch must get it fresh."""
    made = stored("max-age=60, stale-while-revalidate=30", TAG)
    shield = RulesForTest(Policy.RFC9111, 0, stale_while_revalidate_max_s=0)
    assert reuse(made, 60, rules=shield) == ASK
    capped = RulesForTest(Policy.RFC9111, 0, stale_while_revalidate_max_s=10)
    assert [reuse(made, s, rules=capped) for s in (69.999, 70)] == [SWR, ASK]


# -- §4.2.3, §5.1: the age that is sent ------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "seconds", "age"),
    [([], 0, 0), ([], 0.999, 0), ([], 1, 1), ([], 61.5, 61), (["Age: 30"], 2.9, 32),
     (["Age: 99999999999"], 5, 2**31), ([], -5, 0), ([], 10**10, 2**31)],
)  # fmt: skip
def test_rfc9111_5_1_age_sent(lines: list[str], seconds: float, age: int) -> None:
    made = stored("max-age=60", *lines, TAG)
    assert age_for_test(made, NOW_MS + round(seconds * 1000)) == age


# -- errors ----------------------------------------------------------------------------------------

ANY = [500, 502, 503, 504, DISCONNECTED_FOR_TEST]


def serves(made: dict[str, Any], seconds: float, status: int, *lines: str,
           rules: RulesForTest = RFC) -> bool:  # fmt: skip
    return rules.stale_on_error(made, get(*lines), status, NOW_MS + round(seconds * 1000))


@pytest.mark.parametrize(
    ("control", "asked", "seconds", "expected"),
    [
        ("max-age=2, stale-if-error=60", [], 5, True),
        ("max-age=2, stale-if-error=60", [], 61.999, True),
        ("max-age=2, stale-if-error=60", [], 62, False),
        ("max-age=2", [], 5, False),
        ("max-age=2, stale-while-revalidate=60", [], 5, False),
        ("max-age=60", ["Cache-Control: max-age=0"], 5, True),  # it is fresh
        ("max-age=2, stale-if-error=60, must-revalidate", [], 5, False),
        ("max-age=2, stale-if-error=60, proxy-revalidate", [], 5, False),
        ("s-maxage=2, stale-if-error=60", [], 5, False),
        ("max-age=2, stale-if-error=60, no-cache", [], 1, False),
        ("max-age=2, stale-if-error=60", ["Cache-Control: no-cache"], 5, False),
        ("max-age=2, stale-if-error=60", ["Cache-Control: no-cache"], 1, False),
        ("max-age=2", ["Cache-Control: stale-if-error=60"], 5, True),
        ("max-age=2", ["Cache-Control: stale-if-error=2"], 5, False),
        ("max-age=2, stale-if-error=1", ["Cache-Control: stale-if-error=60"], 5, True),
        ("max-age=2, must-revalidate", ["Cache-Control: stale-if-error=60"], 5, False),
    ],
)
def test_rfc5861_4_stale_if_error(
    control: str, asked: list[str], seconds: float, expected: bool
) -> None:
    made = stored(control, TAG)
    assert [serves(made, seconds, status, *asked) for status in ANY] == [expected] * 5


@pytest.mark.parametrize("status", [200, 304, 400, 404, 429, 499, 501, 505, 599])
def test_rfc5861_4_only_these_errors(status: int) -> None:
    made = stored("max-age=2, stale-if-error=60", TAG)
    assert not serves(made, 5, status)


def test_rfc9111_4_2_4_disconnected() -> None:
    rules = RulesForTest(Policy.RFC9111, 0, disconnected_s=100)
    made = stored("max-age=2")
    assert serves(made, 101.9, DISCONNECTED_FOR_TEST, rules=rules)
    assert not serves(made, 102, DISCONNECTED_FOR_TEST, rules=rules)
    assert not serves(made, 5, 503, rules=rules)
    for control in ("max-age=2, must-revalidate", "s-maxage=2", "no-cache"):
        made = stored(control, TAG)
        assert not serves(made, 5, DISCONNECTED_FOR_TEST, rules=rules)
    assert rules.store(get(), answer("Cache-Control: max-age=0"), NOW_MS, NOW_MS)["verdict"]


def test_cap_of_the_error_window() -> None:
    rules = RulesForTest(Policy.RFC9111, 0, stale_if_error_max_s=10)
    made = stored("max-age=2, stale-if-error=60")
    assert serves(made, 11.9, 503, rules=rules)
    assert not serves(made, 12, 503, rules=rules)


# -- soft purge ------------------------------------------------------------------------------------


def test_soft_purge_starts_the_windows() -> None:
    made = stored("max-age=60, stale-while-revalidate=30, stale-if-error=90", TAG)
    purged = soft_purge_for_test(made, NOW_MS + 10_000)
    assert reuse(made, 39) == FRESH
    assert [reuse(purged, s) for s in (9.999, 10, 39.999, 40)] == [FRESH, SWR, SWR, ASK]
    assert [serves(purged, s, 503) for s in (40, 99.999, 100)] == [True, True, False]
    assert age_for_test(purged, NOW_MS + 20_000) == 20
    again = soft_purge_for_test(purged, NOW_MS + 20_000)
    assert remaining_for_test(again, NOW_MS + 20_000) == -10_000


# -- §4.3.4: validation ----------------------------------------------------------------------------

LATER_MS = NOW_MS + 100_000


def refresh(old: list[str], new: list[str], rules: RulesForTest = RFC,
            asked: bytes | None = None) -> dict[str, Any]:  # fmt: skip
    request = get() if asked is None else asked
    fresh = answer(*new, status=304)
    return rules.refresh(request, answer(*old), fresh, LATER_MS - 500, LATER_MS)


@pytest.mark.parametrize(
    ("old", "new", "lifetime_s", "age_ms"),
    [
        (["Cache-Control: max-age=60", TAG], [TAG], 60, 500),
        (["Cache-Control: max-age=60", TAG], [], 60, 500),
        (["Cache-Control: max-age=60", TAG], ["Cache-Control: max-age=5"], 5, 500),
        (["Cache-Control: max-age=60, s-maxage=9", TAG], ["Cache-Control: max-age=5"], 5, 500),
        (["Cache-Control: max-age=60", "Age: 50", TAG], [], 60, 500),
        (["Cache-Control: max-age=60", TAG], ["Age: 7"], 60, 7500),
        ([expires(60), date(0), TAG], [expires(300), date(100)], 200, 500),
        ([expires(300), date(0), TAG], [date(100)], 200, 500),
        ([expires(60), date(0), TAG], [date(100)], 0, 500),
        (["Cache-Control: max-age=60", TAG], [expires(9999), date(100)], 60, 500),
        (["CDN-Cache-Control: max-age=7", TAG], ["Cache-Control: max-age=5"], 7, 500),
        (["Cache-Control: max-age=7", TAG], ["CDN-Cache-Control: max-age=5"], 5, 500),
        (["CDN-Cache-Control: max-age=7", TAG], ["CDN-Cache-Control: max-age=5"], 5, 500),
        ([modified(-1000), date(0)], [date(100)], 110, 500),
        ([modified(-1000), date(0)], [modified(-900), date(100)], 100, 500),
    ],
)  # fmt: skip
def test_rfc9111_4_3_4_freshness_after_a_304(
    old: list[str], new: list[str], lifetime_s: int, age_ms: int
) -> None:
    made = refresh(old, new)
    assert (made["verdict"], made["lifetime_s"]) == (Verdict.STORED, lifetime_s)
    assert made["born_ms"] == LATER_MS - age_ms
    assert made["fresh_until_ms"] == made["born_ms"] + lifetime_s * 1000


@pytest.mark.parametrize(
    ("old", "new", "flags"),
    [
        ([TAG, "Cache-Control: max-age=9"], [], 16),
        ([TAG, modified(-9), "Cache-Control: max-age=9"], [TAG], 48),
        ([TAG, "Cache-Control: max-age=9"], [modified(-9)], 48),
        ([TAG, "Cache-Control: max-age=9, must-revalidate"], ["Cache-Control: max-age=9"], 16),
        ([TAG, "Cache-Control: max-age=9"], ["Cache-Control: no-cache"], 18),
    ],
)
def test_rfc9111_4_3_4_flags_after_a_304(old: list[str], new: list[str], flags: int) -> None:
    assert refresh(old, new)["flags"] == flags


@pytest.mark.parametrize(
    ("old", "new", "asked", "reason"),
    [
        (["Cache-Control: max-age=9", TAG], ["Cache-Control: no-store"], [], NoStore.NO_STORE),
        (["Cache-Control: max-age=9", TAG], ["Cache-Control: private"], [], NoStore.PRIVATE),
        (["Cache-Control: max-age=9", TAG], ["Vary: *"], [], NoStore.VARY_STAR),
        (["Cache-Control: max-age=9", TAG, "Vary: *"], ["Vary: A"], [], NoStore.STORABLE),
        (["Cache-Control: max-age=9", TAG], [], ["Authorization: x"], NoStore.AUTHORIZATION),
        (["Cache-Control: max-age=9", TAG], [], ["Cache-Control: no-store"],
         NoStore.REQUEST_NO_STORE),
        (["Cache-Control: max-age=9, private", TAG], ["Cache-Control: max-age=9"], [],
         NoStore.STORABLE),
    ],
)  # fmt: skip
def test_rfc9111_4_3_4_not_kept_after_a_304(
    old: list[str], new: list[str], asked: list[str], reason: NoStore
) -> None:
    assert refresh(old, new, asked=get(*asked))["reason"] == reason


NEW_FIELDS = [
    "Cache-Control: max-age=9", "Date: x", "ETag: \"b\"", "Expires: x", "X-A: 1", "Set-Cookie: a=b",
    "Content-Type: a/b", "Content-Location: /x", "Content-Security-Policy: x", "Last-Modified: x",
    "Vary: A", "Via: 1.1 x", "Surrogate-Key: a",
]  # fmt: skip
OWN_FIELDS = [
    "Content-Length: 0", "Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Connection: x",
    "X: 1", "Keep-Alive: 5", "Proxy-Connection: x", "TE: x", "Trailer: x", "Upgrade: h2c",
    "Proxy-Authenticate: x", "Proxy-Authorization: x",
]  # fmt: skip


def test_rfc9111_3_2_which_fields_a_304_updates() -> None:
    head = answer(*NEW_FIELDS, *OWN_FIELDS, status=304)
    assert RFC.updates(head) == [line.split(":")[0].encode() for line in NEW_FIELDS]
    assert FASTLY.updates(head) == []


# -- §4.4: invalidation ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "CONNECT", "x"])
def test_rfc9111_4_4_unsafe_and_unknown_methods_invalidate(method: str) -> None:
    for status in (200, 201, 204, 226, 299, 301, 303, 304, 399):
        assert RFC.invalidates(method.encode(), status)
        assert not FASTLY.invalidates(method.encode(), status)
    for status in (100, 400, 404, 409, 500, 503, 599, 999):
        assert not RFC.invalidates(method.encode(), status)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_rfc9111_4_4_safe_methods_do_not(method: str) -> None:
    assert not any(RFC.invalidates(method.encode(), status) for status in range(100, 600))


def test_now_is_what_the_rows_say() -> None:
    assert date(0) == "Date: Thu, 28 May 2026 20:26:40 GMT"
    assert NOW_S * 1000 == NOW_MS
