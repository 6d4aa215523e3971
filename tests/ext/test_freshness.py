"""ext.freshness, storing in policy rfc9111: what may be stored and for how long, by section."""

from typing import Any

import pytest

from ext.facts import vary_for_test
from ext.freshness import NoStore, Policy, RulesForTest, Verdict, age_for_test
from ext.limits import Limit
from tests.ext.heads import NOW_MS, NOW_S, answer, date, expires, get, modified

RFC = RulesForTest(Policy.RFC9111, 0)
DELTA_MAX = 2**31
MUST_REVALIDATE, NO_CACHE, IMMUTABLE, HEURISTIC = 1, 2, 4, 8  # FreshnessFlag
ETAG, LAST_MODIFIED, ESI = 16, 32, 128
DAY_S = 86400
IN_2050_S = 2_544_400_878 - NOW_S  # 18 August 2050, 02:01:18


def store(*lines: str, rules: RulesForTest = RFC, asked: bytes | None = None, status: int = 200,
          minor: int = 1, delay_ms: int = 0) -> dict[str, Any]:  # fmt: skip
    """What becomes of an answer with these fields that comes at NOW_MS."""
    head = answer(*lines, status=status, minor=minor)
    return rules.store(get() if asked is None else asked, head, NOW_MS - delay_ms, NOW_MS)


def lifetime(made: dict[str, Any]) -> int | None:
    """The lifetime of what was stored, None when it was not."""
    return made["lifetime_s"] if made["verdict"] == Verdict.STORED else None


# -- §3: may it be stored --------------------------------------------------------------------------


# Explicit freshness makes every final status storable, save partial ones.
@pytest.mark.parametrize(
    "status",
    [200, 201, 202, 203, 204, 205, 299, 300, 301, 302, 303, 305, 307, 308, 399, 400, 401, 403, 404,
     405, 410, 414, 416, 418, 429, 451, 499, 500, 501, 502, 503, 504, 599, 600, 999],
)  # fmt: skip
def test_rfc9111_3_any_final_status_with_explicit_freshness(status: int) -> None:
    for line in ("Cache-Control: max-age=60", "Cache-Control: s-maxage=60", expires(60)):
        assert lifetime(store(line, status=status)) == 60


@pytest.mark.parametrize(
    ("status", "reason"),
    [(206, NoStore.PARTIAL), (304, NoStore.STATUS), (100, NoStore.STATUS), (103, NoStore.STATUS),
     (101, NoStore.STATUS), (199, NoStore.STATUS)],
)  # fmt: skip
def test_rfc9111_3_never_stored_statuses(status: int, reason: NoStore) -> None:
    made = store("Cache-Control: max-age=60, public", status=status)
    assert (made["verdict"], made["reason"]) == (Verdict.NOT_STORED, reason)


def test_rfc9111_3_3_416_to_a_range_is_not_of_the_whole() -> None:
    made = store("Cache-Control: max-age=60", status=416, asked=get("Range: bytes=9-"))
    assert made["reason"] == NoStore.PARTIAL
    assert lifetime(store("Cache-Control: max-age=60", asked=get("Range: bytes=9-"))) == 60


HEURISTIC_STATUSES = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}


def test_rfc9110_15_1_heuristically_cacheable() -> None:
    for status in range(200, 1000):
        assert RFC.cacheable(status) == (status in HEURISTIC_STATUSES)
        made = store(modified(-DAY_S), date(0), status=status)
        if status in HEURISTIC_STATUSES:
            assert lifetime(made) == DAY_S // 10
        else:
            assert made["reason"] == (NoStore.PARTIAL if status == 206 else NoStore.STATUS)


def test_rfc9111_5_2_2_9_public_makes_any_status_heuristically_cacheable() -> None:
    assert lifetime(store("Cache-Control: public", modified(-DAY_S), status=599)) == 8640
    made = store("Cache-Control: public", status=206)
    assert made["reason"] == NoStore.PARTIAL


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Cache-Control: no-store"], NoStore.NO_STORE),
        (["Cache-Control: max-age=60, no-store"], NoStore.NO_STORE),
        (["Cache-Control: no-store, max-age=60", expires(60)], NoStore.NO_STORE),
        (["Cache-Control: max-age=60", "Cache-Control: No-StOrE"], NoStore.NO_STORE),
        (["Cache-Control: no-store, public, s-maxage=60"], NoStore.NO_STORE),
        (["Cache-Control: no-store x, max-age=60"], NoStore.NO_STORE),
        (["Cache-Control: private, max-age=60"], NoStore.PRIVATE),
        (["Cache-Control: PRIVATE, s-maxage=60, public"], NoStore.PRIVATE),
        (['Cache-Control: private="x", max-age=60'], NoStore.PRIVATE),
        (["Cache-Control: max-age=60", "Vary: *"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary: Accept, *"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary: *, Accept"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary: , *"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary:", "Vary: *"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary: Accept", "Vary: *, *"], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", 'Vary: "Accept"'], NoStore.VARY_STAR),
        (["Cache-Control: max-age=60", "Vary: Accept Cookie"], NoStore.VARY_STAR),
        ([], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["Cache-Control: public"], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["Cache-Control: max-age=0"], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["Cache-Control: max-age=60, no-cache"], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["Cache-Control: max-age=60", "Age: 60"], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        ([expires(0), date(0)], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["Pragma: no-cache"], NoStore.NO_FRESHNESS_NO_VALIDATOR),
    ],
)  # fmt: skip
def test_rfc9111_3_not_stored(lines: list[str], reason: NoStore) -> None:
    made = store(*lines)
    assert (made["verdict"], made["reason"]) == (Verdict.NOT_STORED, reason)


@pytest.mark.parametrize(
    "lines",
    [
        ["Cache-Control: max-age=60"],
        ["Cache-Control: max-age=60", "Set-Cookie: a=b"],  # RFC 9111 §7.3
        ["Cache-Control: max-age=60", "Pragma: no-cache"],  # §5.4: no meaning in answers
        ["Cache-Control: max-age=60", "Warning: 110 - stale"],  # §5.5
        ["Cache-Control: max-age=60", "Vary: Accept"],
        ["Cache-Control: max-age=60", "Vary:"],
        ["Cache-Control: max-age=60", "Content-Range: bytes 0-1/2"],
        ["Cache-Control: max-age=60, nothing-to-see-here"],
        ["Cache-Control: max-age=60, x-no-store, no-store-x"],
        ['Cache-Control: max-age=60, x="no-store, private"'],
        ["Cache-Control: no-cache", 'ETag: "a"'],
        ["Cache-Control: no-cache, max-age=60", modified(-60)],
        ["Cache-Control: max-age=0", 'ETag: "a"'],
        ["Cache-Control: max-age=0", modified(-9)],
        ['ETag: "a"'],
        ["Cache-Control: max-age=0, stale-while-revalidate=9"],
        ["Cache-Control: max-age=0, stale-if-error=9"],
    ],
)
def test_rfc9111_3_stored(lines: list[str]) -> None:
    made = store(*lines)
    assert (made["verdict"], made["reason"]) == (Verdict.STORED, NoStore.STORABLE)


@pytest.mark.parametrize(
    "method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "M-SEARCH", "get"]
)
def test_rfc9111_3_only_get_is_understood(method: str) -> None:
    asked = get(method=method)
    assert store("Cache-Control: max-age=60", asked=asked)["reason"] == NoStore.METHOD


@pytest.mark.parametrize(
    ("lines", "good"),
    [
        (["Content-Location: /a?b", "Cache-Control: max-age=60"], True),
        (["Content-Location: http://shop.test/a?b", "Cache-Control: s-maxage=60"], True),
        (["Content-Location: https://shop.test/a?b", expires(60)], True),
        (["Content-Location: HTTP://shop.test/a?b", expires(60)], True),
        (["Content-Location: /a", "Cache-Control: max-age=60"], False),
        (["Content-Location: /a?b#c", "Cache-Control: max-age=60"], False),
        (["Content-Location: http://other.tst/a?b", "Cache-Control: max-age=60"], False),
        (["Content-Location: http://shop.test", "Cache-Control: max-age=60"], False),
        (["Content-Location: ftp://shop.test/a?b", "Cache-Control: max-age=60"], False),
        (["Content-Location: http:/shop.test/a?b", "Cache-Control: max-age=60"], False),
        (["Content-Location:", "Cache-Control: max-age=60"], False),
        (["Content-Location: /a?b", modified(-DAY_S)], False),
        (["Content-Location: /a?b", 'ETag: "a"'], False),
        (["Cache-Control: max-age=60"], False),
    ],
)
def test_rfc9110_9_3_3_post_with_its_own_location(lines: list[str], good: bool) -> None:
    made = store(*lines, asked=get(method="POST", target="/a?b"))
    assert (made["verdict"] == Verdict.STORED) == good
    assert good or made["reason"] == NoStore.METHOD


@pytest.mark.parametrize(
    ("control", "good"),
    [
        ("max-age=60", False),
        ("max-age=60, proxy-revalidate", False),
        ("max-age=60, immutable", False),
        ("max-age=60, public", True),
        ("max-age=60, must-revalidate", True),
        ("s-maxage=60", True),
        ("max-age=60, x-public", False),
        ("max-age=60, public foo", False),
        ("max-age=60, public, private", False),
    ],
)
def test_rfc9111_3_5_authorization(control: str, good: bool) -> None:
    made = store(f"Cache-Control: {control}", asked=get("Authorization: Basic x"))
    assert (made["verdict"] == Verdict.STORED) == good
    if "private" not in control and not good:
        assert made["reason"] == NoStore.AUTHORIZATION


def test_rfc9111_5_2_1_5_request_no_store() -> None:
    for lines in (["Cache-Control: no-store"], ["Cache-Control: a", "Cache-Control: x, NO-STORE"]):
        made = store("Cache-Control: max-age=60, public", asked=get(*lines))
        assert made["reason"] == NoStore.REQUEST_NO_STORE
    for line in ("no-cache", "max-age=0", "only-if-cached", "nothing-to-see-here"):
        made = store("Cache-Control: max-age=60", asked=get(f"Cache-Control: {line}"))
        assert lifetime(made) == 60


@pytest.mark.parametrize(
    ("status", "control", "reason"),
    [
        (200, "max-age=60, no-store, must-understand", NoStore.STORABLE),
        (404, "max-age=60, must-understand, no-store", NoStore.STORABLE),
        (503, "max-age=60, must-understand", NoStore.STORABLE),
        (599, "max-age=60, no-store, must-understand", NoStore.NOT_UNDERSTOOD),
        (299, "max-age=60, must-understand", NoStore.NOT_UNDERSTOOD),
        (418, "max-age=60, must-understand", NoStore.NOT_UNDERSTOOD),
        (999, "max-age=60, must-understand", NoStore.NOT_UNDERSTOOD),
        (206, "max-age=60, must-understand", NoStore.PARTIAL),
        (200, "max-age=60, no-store, must-understand, private", NoStore.PRIVATE),
        (200, "max-age=60, no-store, must-understand x", NoStore.NO_STORE),
    ],
)
def test_rfc9111_5_2_2_3_must_understand(status: int, control: str, reason: NoStore) -> None:
    assert store(f"Cache-Control: {control}", status=status)["reason"] == reason


# -- §4.2.1: the lifetime --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Cache-Control: max-age=3600"], 3600),
        (["Cache-Control: MaX-aGe=3600"], 3600),
        (["Cache-Control: foobar, max-age=3600"], 3600),
        (["Cache-Control: max-age=003600"], 3600),
        (['Cache-Control: max-age="3600"'], 3600),
        (["Cache-Control: max-age=2147483647"], 2147483647),
        (["Cache-Control: max-age=2147483648"], DELTA_MAX),
        (["Cache-Control: max-age=2147483649"], DELTA_MAX),
        (["Cache-Control: max-age=99999999999"], DELTA_MAX),
        (["Cache-Control: s-maxage=3600"], 3600),
        (["Cache-Control: max-age=1, s-maxage=3600"], 3600),
        (["Cache-Control: s-maxage=1, max-age=3600"], 1),
        (["Cache-Control: max-age=3600", "Cache-Control: s-maxage=1"], 1),
        (["Cache-Control: max-age=0, s-maxage=3600", expires(-10)], 3600),
        (["Cache-Control: max-age=3600", expires(-7200), date(0)], 3600),
        (["Cache-Control: max-age=3600", "Expires: 0", date(0)], 3600),
        (["Cache-Control: max-age=10", expires(3600), date(0)], 10),
        (["Cache-Control: max-age=1800, max-age=1"], 1800),
        (["Cache-Control: max-age=1800", "Cache-Control: max-age=1"], 1800),
        (["Cache-Control: max-age=1, max-age=1800"], 1),
        (['Cache-Control: extension="max-age=3600", max-age=1'], 1),
        (["Cache-Control: public", expires(3600), date(0)], 3600),
        ([expires(3600), date(0)], 3600),
        ([expires(3600), date(-60)], 3660),
        ([expires(3600), date(60)], 3540),
        ([expires(3600)], 3600),
        ([expires(3600), "Date: foo"], 3600),
        ([expires(3600), date(0), expires(60)], 3600),
        (["Expires: Fri, 31 Dec 9999 23:59:59 GMT", date(0)], DELTA_MAX),
        (["Expires: Thursday, 18-Aug-50 02:01:18 GMT", date(0)], IN_2050_S),
        (["Expires: Thu Aug 18 02:01:18 2050", date(0)], IN_2050_S),
        (["Expires: THU, 18 AUG 2050 02:01:18 gmt", date(0)], IN_2050_S),
    ],
)
def test_rfc9111_4_2_1_lifetime(lines: list[str], expected: int) -> None:
    assert lifetime(store(*lines)) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["Cache-Control: max-age=-3600"],
        ["Cache-Control: max-age='3600'"],
        ["Cache-Control: max-age=3600.0"],
        ["Cache-Control: max-age=a3600"],
        ["Cache-Control: max-age=3600a"],
        ["Cache-Control: max-age =3600"],
        ["Cache-Control: max-age= 3600"],
        ["Cache-Control: max-age"],
        ["Cache-Control: max-age=x, max-age=3600"],
        ["Cache-Control: s-maxage=x, max-age=3600"],
        ["Cache-Control: max-age=x", expires(3600)],
        ["Cache-Control: max-age=0", expires(3600), date(0)],
        ["Cache-Control: max-age=0", modified(-DAY_S), date(0)],
        ['Cache-Control: max-age=3600, x="'],
        ['Cache-Control: x="', expires(3600)],
        [expires(0), date(0)],
        [expires(-3600), date(0)],
        [expires(300), date(400)],
        ["Expires: 0", date(0)],
        ["Expires: -1", date(0)],
        ["Expires:", date(0)],
        ["Expires: 3600", date(0)],
        ["Expires: Thu, 18 Aug 2050 02:01:18 UTC", date(0)],
        ["Expires: Thu, 18 Aug 2050 02:01:18 AEST", date(0)],
        ["Expires: Thu, 18 Aug 50 02:01:18 GMT", date(0)],
        ["Expires: Thu 18 Aug 2050 02:01:18 GMT", date(0)],
        ["Expires: Thu, 18  Aug  2050 02:01:18 GMT", date(0)],
        ["Expires: Thu, 18-Aug-2050 02:01:18 GMT", date(0)],
        ["Expires: Thu, 18 Aug 2050 02.01.18 GMT", date(0)],
        ["Expires: Thu, 18 Aug 2050 2:01:18 GMT", date(0)],
        ["Expires: 0", expires(3600), date(0)],
        ["Expires: 0", modified(-DAY_S), date(0)],
    ],
)
def test_rfc9111_4_2_1_invalid_or_past_is_stale(lines: list[str]) -> None:
    assert lifetime(store(*lines, 'ETag: "a"')) == 0
    assert store(*lines, 'ETag: "a"')["flags"] & HEURISTIC == 0


@pytest.mark.parametrize(
    ("changed_s", "expected"),
    [(5, 0), (9, 0), (10, 1), (30, 3), (60, 6), (3600, 360), (12 * 3600, 4320), (DAY_S, 8640),
     (10 * DAY_S, DAY_S), (11 * DAY_S, DAY_S), (9999 * DAY_S, DAY_S), (0, 0), (-60, 0)],
)  # fmt: skip
def test_rfc9111_4_2_2_heuristic(changed_s: int, expected: int) -> None:
    made = store(modified(-changed_s), date(0))
    assert lifetime(made) == expected
    assert made["flags"] == HEURISTIC | LAST_MODIFIED


def test_rfc9111_4_2_2_heuristic_counts_from_date() -> None:
    assert lifetime(store(modified(-2000), date(-1000))) == 100
    assert lifetime(store(modified(-2000))) == 200
    assert lifetime(store(modified(-2000), "Date: x")) == 200
    assert store("Last-Modified: x")["reason"] == NoStore.NO_FRESHNESS_NO_VALIDATOR
    assert lifetime(store("Last-Modified: x", 'ETag: "a"')) == 0


def test_rfc9111_4_2_2_a_default_is_for_answers_without_last_modified() -> None:
    rules = RulesForTest(Policy.RFC9111, 100)
    assert lifetime(store(rules=rules)) == 100
    assert lifetime(store('ETag: "a"', rules=rules)) == 100
    assert lifetime(store("Cache-Control: public", status=599, rules=rules)) == 100
    assert lifetime(store(modified(-DAY_S), rules=rules)) == 8640
    assert lifetime(store("Cache-Control: max-age=5", rules=rules)) == 5
    assert lifetime(store("Cache-Control: max-age=x", 'ETag: "a"', rules=rules)) == 0
    assert lifetime(store("Expires: 0", 'ETag: "a"', rules=rules)) == 0
    assert store(status=403, rules=rules)["reason"] == NoStore.STATUS
    none = RulesForTest(Policy.RFC9111, 100, heuristic_percent=0)
    assert lifetime(store(modified(-DAY_S), rules=none)) == 100


# -- §4.2.3: the age -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        ([], 0),
        (["Age: 0"], 0),
        (["Age: 30"], 30),
        (["Age: 0030"], 30),
        (["Age: 2147483647"], 2147483647),
        (["Age: 2147483648"], DELTA_MAX),
        (["Age: 2147483649"], DELTA_MAX),
        (["Age: 99999999999999999999"], DELTA_MAX),
        # §5.1: the first of several; what is no number is ignored
        (["Age: 7200, 0"], 7200),
        (["Age: 0, 7200"], 0),
        (["Age: 7200", "Age: 0"], 7200),
        (["Age: 0", "Age: 7200"], 0),
        (["Age: 3600", "Age: 3600"], 3600),
        (["Age: 3600 , 1"], 3600),
        (["Age: abc"], 0),
        (["Age: -7200"], 0),
        (["Age: +7200"], 0),
        (["Age: 7200.0"], 0),
        (["Age: 7200;foo=bar"], 0),
        (["Age: 7200 s"], 0),
        (['Age: "7200"'], 0),
        (["Age:"], 0),
        (["Age: x, 7200"], 0),
        (["Age: x", "Age: 7200"], 0),
        ([date(-100)], 0),  # apparent_age only for HTTP/1.0
        ([date(100)], 0),
        ([date(100), "Age: 5"], 5),
    ],
)
def test_rfc9111_4_2_3_age(lines: list[str], age: int) -> None:
    made = store("Cache-Control: max-age=99999999999", *lines, 'ETag: "a"')
    assert age_for_test(made, NOW_MS) == age
    assert made["fresh_until_ms"] == NOW_MS - age * 1000 + DELTA_MAX * 1000
    assert age_for_test(made, NOW_MS + 2999) == min(age + 2, DELTA_MAX)


@pytest.mark.parametrize(
    ("lines", "delay_ms", "age_ms"),
    [
        ([], 0, 0),
        ([], 1500, 1500),
        (["Age: 10"], 1500, 11500),
        ([], -5000, 0),  # our clock went back
        ([date(-100)], 1500, 1500),
    ],
)
def test_rfc9111_4_2_3_response_delay(lines: list[str], delay_ms: int, age_ms: int) -> None:
    made = store("Cache-Control: max-age=60", *lines, delay_ms=delay_ms)
    assert NOW_MS - made["born_ms"] == age_ms
    assert made["fresh_until_ms"] == NOW_MS - age_ms + 60_000


@pytest.mark.parametrize(
    ("lines", "age"),
    [([date(-100)], 100), ([date(-100), "Age: 50"], 100), ([date(-100), "Age: 500"], 500),
     ([date(100)], 0), ([], 0), (["Date: x"], 0)],
)  # fmt: skip
def test_rfc9111_4_2_3_apparent_age_for_http_1_0(lines: list[str], age: int) -> None:
    made = store("Cache-Control: max-age=6000", *lines, minor=0)
    assert age_for_test(made, NOW_MS) == age


def test_rfc9111_4_2_1_expires_and_age() -> None:
    """Age counts against Expires minus Date, however wrong the origin's clock is."""
    for skew in (-10, 10):
        made = store(expires(skew + 20), date(skew), "Age: 25", 'ETag: "a"')
        assert made["lifetime_s"] == 20
        assert made["fresh_until_ms"] == NOW_MS - 5000


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "flags"),
    [
        (["Cache-Control: max-age=9"], 0),
        (["Cache-Control: max-age=9", 'ETag: "a"'], ETAG),
        (["Cache-Control: max-age=9", "ETag: a"], ETAG),
        (["Cache-Control: max-age=9", "ETag:"], 0),
        (["Cache-Control: max-age=9", modified(-1)], LAST_MODIFIED),
        (["Cache-Control: max-age=9", "Last-Modified: x"], 0),
        (["Cache-Control: max-age=9", modified(-1), 'ETag: W/"a"'], ETAG | LAST_MODIFIED),
        (["Cache-Control: max-age=9, must-revalidate"], MUST_REVALIDATE),
        (["Cache-Control: max-age=9, proxy-revalidate"], MUST_REVALIDATE),
        (["Cache-Control: s-maxage=9"], MUST_REVALIDATE),
        (["Cache-Control: max-age=9, no-cache", 'ETag: "a"'], NO_CACHE | ETAG),
        (['Cache-Control: max-age=9, no-cache="x"', 'ETag: "a"'], NO_CACHE | ETAG),
        (["Cache-Control: max-age=9, immutable"], IMMUTABLE),
        (["Cache-Control: max-age=9", 'Surrogate-Control: content="ESI/1.0"'], ESI),
    ],
)
def test_rfc9111_5_2_2_flags(lines: list[str], flags: int) -> None:
    assert store(*lines)["flags"] == flags


@pytest.mark.parametrize(
    ("control", "revalidate_s", "error_s"),
    [
        ("max-age=9", 0, 0),
        ("max-age=9, stale-while-revalidate=5", 5, 0),
        ("max-age=9, stale-if-error=6", 0, 6),
        ("max-age=9, stale-while-revalidate=5, stale-if-error=6", 5, 6),
        ("max-age=9, stale-while-revalidate=x", 0, 0),
        ("max-age=9, stale-while-revalidate", 0, 0),
        ("max-age=9, stale-while-revalidate=99999999999", DELTA_MAX, 0),
        ("max-age=9, stale-while-revalidate=5, must-revalidate", 0, 0),
        ("max-age=9, stale-if-error=5, proxy-revalidate", 0, 0),
        ("s-maxage=9, stale-while-revalidate=5, stale-if-error=6", 0, 0),  # §5.2.2.10
    ],
)
def test_rfc5861_stale_windows(control: str, revalidate_s: int, error_s: int) -> None:
    made = store(f"Cache-Control: {control}")
    assert made["stale_while_revalidate_s"] == revalidate_s
    assert made["stale_if_error_s"] == error_s


# -- targeted fields -------------------------------------------------------------------------------

FRESH_CC = ["Cache-Control: max-age=10000", expires(10000), date(0)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["CDN-Cache-Control: max-age=3600"], 3600),
        (["CDN-Cache-Control: max-age=99999999999"], DELTA_MAX),
        (["CDN-Cache-Control: foobar, max-age=3600"], 3600),
        (["CDN-Cache-Control: s-maxage=7, max-age=3600"], 7),
        (["CDN-Cache-Control: max-age=3600", expires(-10000), date(0)], 3600),
        (["CDN-Cache-Control: max-age=3600", "Expires: 0", date(0)], 3600),
        (["CDN-Cache-Control: max-age=3600", "Cache-Control: max-age=1"], 3600),
        (["CDN-Cache-Control: max-age=1", "Cache-Control: max-age=3600"], 1),
        (["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], 60),
        (["CDN-Cache-Control: max-age=60", "Cache-Control: private"], 60),
        (["CDN-Cache-Control: max-age=60", "Surrogate-Control: max-age=5"], 60),
        (["CDN-Cache-Control: max-age=60, max-age=50"], 50),
        (["CDN-Cache-Control: max-age=60", "CDN-Cache-Control: immutable"], 60),
        (["CDN-Cache-Control: max-age=60;x=1"], 60),
        # empty or invalid, and so ignored
        (["CDN-Cache-Control:", *FRESH_CC], 10000),
        (["CDN-Cache-Control: MaX-aGe=3600", *FRESH_CC], 10000),
        (["CDN-Cache-Control: max-age =100", "Cache-Control: max-age=1"], 1),
        (["CDN-Cache-Control: max-age= 100", "Cache-Control: max-age=1"], 1),
        (["CDN-Cache-Control: no-store, &&&", *FRESH_CC], 10000),
        (['CDN-Cache-Control: max-age="5"', *FRESH_CC], 10000),
        (["CDN-Cache-Control: max-age=5.5", *FRESH_CC], 10000),
        (["CDN-Cache-Control: no-store=?0", *FRESH_CC], 10000),
        # valid, but says nothing: the other fields stay out of force
        (["CDN-Cache-Control: foo", *FRESH_CC, 'ETag: "a"'], 0),
        (["CDN-Cache-Control: foo", *FRESH_CC, modified(-100)], 10),
        (["CDN-Cache-Control: max-age=0", *FRESH_CC, 'ETag: "a"'], 0),
        (["CDN-Cache-Control: max-age=3600", "Age: 7200", 'ETag: "a"'], 3600),
    ],
)
def test_rfc9213_2_2_lifetime(lines: list[str], expected: int) -> None:
    assert lifetime(store(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["CDN-Cache-Control: private", *FRESH_CC], NoStore.PRIVATE),
        (['CDN-Cache-Control: private="x", max-age=9', *FRESH_CC], NoStore.PRIVATE),
        (["CDN-Cache-Control: no-store", *FRESH_CC], NoStore.NO_STORE),
        (["CDN-Cache-Control: no-store, max-age=9"], NoStore.NO_STORE),
        (["CDN-Cache-Control: no-cache", *FRESH_CC], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["CDN-Cache-Control: max-age=0", *FRESH_CC], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["CDN-Cache-Control: max-age=9", "Age: 9", *FRESH_CC], NoStore.NO_FRESHNESS_NO_VALIDATOR),
        (["CDN-Cache-Control: max-age=10000, &&&&&", "Cache-Control: no-store"], NoStore.NO_STORE),
        (['CDN-Cache-Control: max-age="10000"', "Cache-Control: no-store"], NoStore.NO_STORE),
        (["CDN-Cache-Control: must-understand, max-age=9", *FRESH_CC], NoStore.STORABLE),
    ],
)
def test_rfc9213_2_2_restrictions(lines: list[str], reason: NoStore) -> None:
    assert store(*lines)["reason"] == reason


def test_rfc9213_2_2_flags_and_windows_are_of_the_targeted_field() -> None:
    made = store("CDN-Cache-Control: max-age=9, stale-while-revalidate=5, immutable",
                 "Cache-Control: must-revalidate, stale-if-error=5", 'ETag: "a"')  # fmt: skip
    assert (made["flags"], made["stale_while_revalidate_s"]) == (ETAG | IMMUTABLE, 5)
    assert made["stale_if_error_s"] == 0
    asked = get("Authorization: x")
    assert store("CDN-Cache-Control: max-age=9, public", asked=asked)["verdict"] == Verdict.STORED
    made = store("CDN-Cache-Control: max-age=9", "Cache-Control: public", asked=asked)
    assert made["reason"] == NoStore.AUTHORIZATION


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Surrogate-Control: max-age=3600"], 3600),
        (["Surrogate-Control: MaX-aGe=3600"], 3600),
        (["Surrogate-Control: max-age=3600", "Cache-Control: max-age=1"], 3600),
        (["Surrogate-Control: max-age=1", "Cache-Control: max-age=3600"], 1),
        (["Surrogate-Control: max-age=60", "Cache-Control: no-store"], 60),
        (["Surrogate-Control: max-age=60", "Expires: 0"], 60),
        (['Surrogate-Control: content="ESI/1.0"', "Cache-Control: max-age=5"], 5),
        (["Surrogate-Control: stale-if-error=5", "Cache-Control: max-age=5"], 5),
        (["Surrogate-Control: max-age=60;other", "Cache-Control: max-age=5"], 5),
        (["Surrogate-Control: no-store", "Cache-Control: max-age=5"], None),
    ],
)
def test_surrogate_control_is_a_targeted_field(lines: list[str], expected: int | None) -> None:
    assert lifetime(store(*lines)) == expected
    off = RulesForTest(Policy.RFC9111, 0, reads_surrogate=0)
    assert store(*lines, rules=off) == store(*lines[1:], rules=off) | {
        "flags": ESI if "ESI" in lines[0] else 0
    }


# -- Vary ------------------------------------------------------------------------------------------

MOST = int(Limit.VARY_NAMES_MAX)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([""], []),
        (["Accept"], [b"Accept"]),
        (["Accept, Cookie"], [b"Accept", b"Cookie"]),
        (["Accept,Cookie ,\tX-A"], [b"Accept", b"Cookie", b"X-A"]),
        (["Accept", "Cookie"], [b"Accept", b"Cookie"]),
        (["Accept, accept, ACCEPT", "aCCEPT"], [b"Accept"]),
        ([", ,Accept,,"], [b"Accept"]),
        (["A-b, A_b, A.b, A!b"], [b"A-b", b"A_b", b"A.b", b"A!b"]),
        (["*"], -1),
        (["Accept, *"], -1),
        (["*, Accept"], -1),
        (["Accept", "*"], -1),
        (["Acc*pt"], -1),
        (["Accept Cookie"], -1),
        (['"Accept"'], -1),
        (["Accept;q=1"], -1),
        (["\xe9"], -1),
        ([", ".join(f"x{n}" for n in range(MOST))], [b"x%d" % n for n in range(MOST)]),
        ([", ".join(["x", "X"] * 99)], [b"x"]),
        ([", ".join(f"x{n}" for n in range(MOST + 1))], -2),
        ([", ".join(f"x{n}" for n in range(99))], -2),
        ([", ".join(f"x{n}" for n in range(99)) + ", *"], -1),
    ],
)  # fmt: skip
def test_rfc9110_12_5_5_vary(lines: list[str], expected: object) -> None:
    head = answer(*(f"Vary: {line}" for line in lines))
    assert vary_for_test(head) == expected
    if expected == -2:
        made = store("Cache-Control: max-age=9", *(f"Vary: {line}" for line in lines))
        assert made["reason"] == NoStore.VARY_TOO_LONG
