"""How long the head of a hit takes: `pytest -m bench tests/bench`. Not in the default run.

Each round builds it a thousand times, so the Python call around counts for nothing: the figures are
microseconds a thousand, nanoseconds each.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ext.deliver import DeliveryForTest, Marks, stored_for_test
from tests.bench.test_bench_ext import ANSWER

pytestmark = pytest.mark.bench

TIMES = 1000
HIT = {
    "framing": 1, "length": 1024, "age_s": 23, "mark": 1, "hits": 7, "elapsed_ms": 1,
    "started_us": 1_700_000_000_000_123,
}  # fmt: skip
INNER = b"X-Served-By: cache-iad1-IAD\r\nX-Cache: MISS\r\nX-Cache-Hits: 0\r\nVia: 1.1 varnish\r\n"


@pytest.mark.parametrize(
    ("extra", "delivery"),
    [
        (b"", {}),
        (b"Surrogate-Key: c20 p101 p102 store text\r\n", {}),
        (INNER, {}),
        (b"Surrogate-Key: c20 p101 p102 store text\r\n", {"debug": True}),
        (b"", {"form": 1}),
        (b"", {"form": 2, "range": (0, 1023), "total": 4096}),
    ],
    ids=["plain", "surrogate", "shielded", "debug", "not_modified", "part"],
)
def test_deliver_a_hit(
    benchmark: Callable[..., Any], extra: bytes, delivery: dict[str, Any]
) -> None:
    stored = stored_for_test(ANSWER[:-2] + extra + b"\r\n")
    assert stored is not None
    marks = Marks("cache-fra12345-FRA", "FRA")
    made = DeliveryForTest(*stored, HIT | delivery, marks, b"1.1 varnish")
    benchmark(made.repeat, TIMES)
    assert b"X-Cache" in bytes(made)
