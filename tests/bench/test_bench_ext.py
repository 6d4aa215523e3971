"""How long the parts of a request take: `pytest -m bench tests/bench`. Not in the default run.

The Python call around each C function is part of the time (about 50 ns), as are the objects that
the facades make; so these compare commits and say nothing about a request in the data path, which
makes none.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ext.arena import Arena
from ext.balance import BALANCERS
from ext.forward import Recipe, request_for_test, response_for_test
from ext.http1 import parse_request, parse_response

pytestmark = pytest.mark.bench

Benchmark = Callable[..., Any]

# What a browser sends for a page of a shop, and what Magento answers.
REQUEST = b"\r\n".join(
    [
        b"GET /women/tops-women.html?color=50&product_list_order=price HTTP/1.1",
        b"Host: shop.example",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        b"Accept-Language: en-US,en;q=0.5",
        b"Accept-Encoding: gzip, deflate, br",
        b"Referer: https://shop.example/women.html",
        b"Connection: keep-alive",
        b"Cookie: PHPSESSID=0123456789abcdef0123456789; form_key=ABCDEFGHIJKLMNOP; mage-cache=1",
        b"Upgrade-Insecure-Requests: 1",
        b"Cache-Control: max-age=0",
        b"\r\n",
    ]
)
ANSWER = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Server: nginx",
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT",
        b"Content-Type: text/html; charset=UTF-8",
        b"Transfer-Encoding: chunked",
        b"Connection: keep-alive",
        b"Vary: Accept-Encoding",
        b"Cache-Control: max-age=86400, public, s-maxage=86400",
        b"X-Magento-Tags: cat_c_20 cat_c_p_20 cat_p_1554 cat_p_1570 cat_p_1586 cms_b_5 store",
        b"X-Frame-Options: SAMEORIGIN",
        b"\r\n",
    ]
)
PICKED = [
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "random",
    "map-based",
    "consistent",
]
PICKS = 1000
CHUNKED, SAY_NOTHING = 2, 0  # ext/forward.pxd
HOP = {
    "x_forwarded_for": "append",
    "x_forwarded_proto": "set",
    "x_forwarded_host": "set",
    "x_forwarded_port": "set",
    "forwarded": False,
    "via": "edge",
    "port": 8080,
    "date": True,
}


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def test_parse_request(benchmark: Benchmark) -> None:
    head = benchmark(parse_request, REQUEST)
    assert head is not None
    assert head.size == len(REQUEST)


def test_parse_response(benchmark: Benchmark) -> None:
    head = benchmark(parse_response, ANSWER)
    assert head is not None
    assert head.size == len(ANSWER)


@pytest.mark.parametrize("tiers", [1, 3])
def test_build_request(benchmark: Benchmark, tiers: int) -> None:
    """Parsing included, without the Python objects that test_parse_request makes."""
    made = benchmark(request_for_test, REQUEST, Recipe([HOP] * tiers))
    assert made.startswith(b"GET /women/tops-women.html?")


def test_build_response(benchmark: Benchmark) -> None:
    made = benchmark(response_for_test, ANSWER, Recipe([HOP]), CHUNKED, SAY_NOTHING)
    assert made.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("servers", "most_ns"), [(3, 100), (1000, 300)])
@pytest.mark.parametrize("weights", ["equal", "3-2-1"])
@pytest.mark.parametrize("kind", PICKED)
def test_pick(
    benchmark: Benchmark, arena: Arena, kind: str, weights: str, servers: int, most_ns: int
) -> None:
    """A thousand picks a call, so that the call from Python does not count; four workers' rows.
    leastconn: each pick is taken and given back, which moves the server twice."""
    rows = [(arena.server_slot(f"tier/node{number}"), 0, False) for number in range(servers)]
    if weights != "equal":
        for number, (slot, _, _) in enumerate(rows):
            arena.set_server(slot, weight=3 - number % 3)
    row, *_ = [arena.claim_row(pid) for pid in range(1, 5)]
    balancer = BALANCERS[kind](arena, row, rows)
    picked = benchmark(balancer.picks_for_test, PICKS, 7, with_load=kind == "leastconn")
    assert 0 <= picked < servers
    assert benchmark.stats.stats.min / PICKS * 1e9 < most_ns


@pytest.mark.parametrize("servers", [3, 1000])
@pytest.mark.parametrize("kind", ["roundrobin", "leastconn", "map-based", "consistent"])
def test_pick_after_a_change(benchmark: Benchmark, arena: Arena, kind: str, servers: int) -> None:
    """The first pick after a server's weight has changed: states are read, maps are made."""
    rows = [(arena.server_slot(f"tier/node{number}"), 0, False) for number in range(servers)]
    balancer = BALANCERS[kind](arena, arena.claim_row(1), rows)
    weights = iter(range(10**9))

    def change_and_pick() -> int:
        arena.set_server(rows[0][0], weight=1 + next(weights) % 2)
        return balancer.pick_for_test(1)

    assert 0 <= benchmark(change_and_pick) < servers
