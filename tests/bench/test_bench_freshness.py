"""How long the cache's decisions take; test_bench_ext.py says what such times are worth.

Each time includes the parsing of the heads that the decision reads, and a dict or two for the
result. What has to be subtracted are `test_parse_answer_only` and `test_parse_request_only`.
"""

from typing import Any

import pytest

from ext.cachecontrol import directives_for_test, surrogate_for_test
from ext.conditions import condition_for_test, range_for_test, ranges_for_test
from ext.dates import parse_for_test
from ext.facts import vary_for_test
from ext.freshness import (
    Policy,
    Reuse,
    RulesForTest,
    Verdict,
    age_for_test,
    soft_purge_for_test,
)
from tests.bench.test_bench_ext import ANSWER, REQUEST, Benchmark

pytestmark = pytest.mark.bench

DATE_S = 1_704_067_200  # of ANSWER
NOW_MS = DATE_S * 1000 + 20
ASKED = NOW_MS - 20
ETAG = b'W/"65a1b2c3-400"'
# Magento's page with what conditions need, and as an origin behind Fastly sends it.
STORED = ANSWER.replace(
    b"\r\n\r\n",
    b"\r\nETag: %s\r\nLast-Modified: Sun, 31 Dec 2023 23:00:00 GMT"
    b"\r\nSurrogate-Control: max-age=86400, stale-while-revalidate=60, stale-if-error=3600"
    b"\r\nContent-Length: 1024\r\n\r\n" % ETAG,
).replace(b"Transfer-Encoding: chunked\r\n", b"")
FRESH_304 = b"\r\n".join(
    [
        b"HTTP/1.1 304 Not Modified",
        b"Date: Mon, 01 Jan 2024 01:00:00 GMT",
        b"Cache-Control: max-age=86400, public",
        b"ETag: " + ETAG,
        b"\r\n",
    ]
)
CONDITIONAL = REQUEST.replace(b"\r\n\r\n", b'\r\nIf-None-Match: "a", %s, "b"\r\n\r\n' % ETAG)
RANGED = REQUEST.replace(b"\r\n\r\n", b"\r\nRange: bytes=0-99,200-299,-100\r\n\r\n")
NOT_MODIFIED = 1  # Condition in ext/conditions.pxd
POLICIES = pytest.mark.parametrize("policy", list(Policy), ids=lambda policy: policy.name.lower())


@pytest.fixture
def stored() -> dict[str, Any]:
    made = RulesForTest(Policy.FASTLY, 3600).store(REQUEST, STORED, ASKED, NOW_MS)
    assert made["verdict"] == Verdict.STORED
    return made


def test_parse_answer_only(benchmark: Benchmark) -> None:
    """Fastly's policy takes no field from a 304: nothing but parsing is left."""
    assert benchmark(RulesForTest(Policy.FASTLY, 3600).updates, STORED) == []


def test_parse_request_only(benchmark: Benchmark) -> None:
    """Without an object there is nothing to decide."""
    assert benchmark(RulesForTest(Policy.FASTLY, 3600).reuse, None, REQUEST, NOW_MS) == Reuse.MISS


@POLICIES
def test_decide_store(benchmark: Benchmark, policy: Policy) -> None:
    rules = RulesForTest(policy, 3600)
    made = benchmark(rules.store, REQUEST, STORED, ASKED, NOW_MS)
    assert made["verdict"] == Verdict.STORED


@POLICIES
def test_decide_refresh(benchmark: Benchmark, policy: Policy) -> None:
    rules = RulesForTest(policy, 3600)
    made = benchmark(rules.refresh, REQUEST, STORED, FRESH_304, ASKED, NOW_MS)
    assert made["verdict"] == Verdict.STORED


@POLICIES
def test_decide_reuse(benchmark: Benchmark, policy: Policy, stored: dict[str, Any]) -> None:
    """What every hit pays; REQUEST has a Cookie and `max-age=0`, which Fastly does not read."""
    rules = RulesForTest(policy, 3600)
    expected = Reuse.FRESH if policy == Policy.FASTLY else Reuse.REVALIDATE
    assert benchmark(rules.reuse, stored, REQUEST, NOW_MS + 1000) == expected


def test_may_serve_stale_on_error(benchmark: Benchmark, stored: dict[str, Any]) -> None:
    rules = RulesForTest(Policy.FASTLY, 3600)
    late_ms = NOW_MS + 86_400_000 + 1000
    assert benchmark(rules.stale_on_error, stored, REQUEST, 503, late_ms)


def test_decide_invalidation(benchmark: Benchmark) -> None:
    rules = RulesForTest(Policy.RFC9111, 0)
    assert benchmark(rules.invalidates, b"POST", 200)


def test_age(benchmark: Benchmark, stored: dict[str, Any]) -> None:
    assert benchmark(age_for_test, stored, NOW_MS + 5000) >= 5


def test_soft_purge(benchmark: Benchmark, stored: dict[str, Any]) -> None:
    assert benchmark(soft_purge_for_test, stored, NOW_MS)["fresh_until_ms"] <= NOW_MS


def test_condition_not_modified(benchmark: Benchmark) -> None:
    assert benchmark(condition_for_test, CONDITIONAL, STORED) == NOT_MODIFIED


def test_ranges(benchmark: Benchmark) -> None:
    """Of a whole request, If-Range and all."""
    assert len(benchmark(ranges_for_test, RANGED, STORED, 1024)) == 3


def test_range(benchmark: Benchmark) -> None:
    assert benchmark(range_for_test, b"bytes=0-99,200-299,-100", 1024)


def test_vary_names(benchmark: Benchmark) -> None:
    assert benchmark(vary_for_test, STORED) == [b"Accept-Encoding"]


def test_directives(benchmark: Benchmark) -> None:
    """Cache-Control as Magento writes it."""
    assert benchmark(directives_for_test, b"max-age=86400, public, s-maxage=86400")


def test_surrogate_control(benchmark: Benchmark) -> None:
    assert benchmark(surrogate_for_test, b"max-age=86400, stale-if-error=3600")


def test_http_date(benchmark: Benchmark) -> None:
    assert benchmark(parse_for_test, b"Mon, 01 Jan 2024 00:00:00 GMT") == DATE_S
