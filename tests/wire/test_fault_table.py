"""The table of server faults, row by row, for each method, on three tiers (fault_rows.py).

The ids name all three: `-k row07`, or `-k "row07 and POST and chain"`. In each row the requests
that reach a node are counted and compared with what was sent: none is sent twice that must not be,
none arrives changed or cut; the client's connection serves its next request unless the answer was
cut; and nothing waits longer than the time limit that the row is about.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.harness import CutShortError
from tests.origin import Close, Reset, answer
from tests.wire.fault_rows import (
    CONNECT_S,
    FRESH,
    GOOD,
    MOMENT,
    ROWS,
    Row,
    ask,
    blackhole,
    body_for,
    faulty_pair,
    outcome,
)
from tests.wire.stand import Stand, run_stands

pytestmark = pytest.mark.wire

SLACK_S = 2.0  # a busy machine's scheduling
TIMEOUTS = "timeouts: {connect: 400ms, server: 500ms, client: 3s}"
HAPROXY = f"""
  retries: 3
  redispatch: true
  error_limit: 0
  health_check: {{enabled: false}}
  {TIMEOUTS}
nodes:
  - {{name: node1, web: 127.0.0.1:$node1}}
  - {{name: node2, web: 127.0.0.1:$node2}}
"""
CONFIGS = {
    "haproxy": "haproxy:\n  listen: 127.0.0.1:$port" + HAPROXY,
    "elb": f"""
elb:
  listen: 127.0.0.1:$port
  health_check: {{enabled: false}}
  {TIMEOUTS}
nodes:
  - {{name: node1, web: 127.0.0.1:$node1}}
  - {{name: node2, web: 127.0.0.1:$node2}}
""",
    "chain": "cdn: {listen: 127.0.0.1:$port}\nelb: {health_check: {enabled: false}}\nhaproxy:"
    + HAPROXY,
}
TURNS = {"haproxy": 1, "elb": 1, "chain": 2}  # proxies that take turns in front of the nodes
CASES = [
    pytest.param(tier, row, method, id=f"{row.name.replace(' ', '-')}-{method}-{tier}")
    for row in ROWS
    for tier in CONFIGS
    for method in row.expected(tier)
]


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands


@pytest.fixture(autouse=True)
def all_stay_well(stands: dict[str, Stand]) -> Iterator[None]:
    yield
    for stand in stands.values():
        stand.check()


def nodes_of(stand: Stand) -> tuple[int, int]:
    return stand.ports["node1"], stand.ports["node2"]


@pytest.mark.parametrize(("tier", "row", "method"), CASES)
def test_row(stands: dict[str, Stand], tier: str, row: Row, method: str) -> None:
    stand = stands[tier]
    body = body_for(row, method)
    with (
        faulty_pair(row, stand.ports["port"], nodes_of(stand), TURNS[tier]) as pair,
        stand.client() as client,
    ):
        began_at = time.monotonic()
        response = ask(client, method, body, row.unsent_bytes)
        took_s = time.monotonic() - began_at
        expected = row.expected(tier)[method]
        assert outcome(response, pair, expected) == expected
        assert row.waits_s * 0.9 < took_s < row.waits_s + SLACK_S
        for request in [*(pair.faulty.requests if pair.faulty else ()), *pair.good.requests]:
            assert request.head.method == method.encode() or method == "HEAD"
            assert request.is_complete == (row.unsent_bytes == 0)
            assert body.startswith(request.body) if row.unsent_bytes else request.body == body
        if response is None:
            assert client.read_to_end() == b""
        elif response.values(b"connection") == [b"close"]:
            assert body, "closed, and no body of the request is left unread"
        else:
            if pair.faulty is not None:
                pair.faulty.default, pair.faulty.on_connect = GOOD, ()
            again = ask(client, "GET", b"")
            assert again is not None
            assert again.body == b"good"


def test_row01_needs_no_turn_around(stands: dict[str, Stand]) -> None:
    """HAProxy waits before it tries the same server again, not before another one."""
    stand = stands["haproxy"]
    row = next(row for row in ROWS if row.name.startswith("row01"))
    with faulty_pair(row, stand.ports["port"], nodes_of(stand), 1), stand.client() as client:
        began_at = time.monotonic()
        assert ask(client, "POST", b"x") is not None
        assert time.monotonic() - began_at < CONNECT_S


KEPT = Row("row24", {}, {}, [])


@pytest.mark.parametrize("tier", CONFIGS)
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("is_new", [False, True], ids=["row24", "row25-first-of-a-client"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
def test_rows_24_25_kept_connection(
    stands: dict[str, Stand], tier: str, end: Close | Reset, is_new: bool, method: str
) -> None:
    """A kept connection that the node ends under its second request: HAProxy says nothing at all.

    deviates: an ALB answers 502 here. To repeat once what may be repeated is no second choice of a
    target: the node has only closed a connection that was idle.
    """
    stand = stands[tier]
    with (
        faulty_pair(KEPT, stand.ports["port"], nodes_of(stand), TURNS[tier]) as pair,
        stand.client() as client,
        stand.client() as other,
    ):
        assert pair.faulty is not None
        keeps, loses = answer(b"kept", FRESH), [MOMENT, end]
        # Both nodes have answered at each proxy, and the faulty one's turn has come again.
        turns = 2 * TURNS[tier]
        for node in (pair.faulty, pair.good):
            node.default = [keeps]
        for _ in range(turns):
            assert ask(client, "GET", b"") is not None
        before = sum(pair.counts())
        for node in (pair.faulty, pair.good):
            node.default = GOOD
        pair.faulty.then(*loses)
        body = b"0123456789" if method in ("PUT", "POST") else b""
        response = ask(other if is_new else client, method, body)
        asked = sum(pair.counts()) - before
        assert response is not None
        if method == "POST":
            assert (response.status, asked) == (502, 1)
        else:
            assert (response.status, asked) == (200, 2)


def test_row02_ends_kept_connections(stands: dict[str, Stand]) -> None:
    """Where a connect is not answered, a kept connection is not either: the next request on it
    would wait for the whole answer time, and not be repeated (row 7)."""
    stand = stands["haproxy"]
    with (
        faulty_pair(KEPT, stand.ports["port"], nodes_of(stand), 1) as pair,
        stand.client() as one,
        stand.client() as other,
    ):
        assert pair.faulty is not None
        gate = pair.faulty.gate()
        pair.faulty.then(gate, answer(b"held", FRESH))
        one.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        pair.faulty.wait_requests(1)
        assert other.get("/good").body == b"good"  # the good node's turn
        pair.faulty.refuse()
        with blackhole(pair.faulty.port):
            other.send(b"GET /moved HTTP/1.1\r\nHost: a\r\n\r\n")
            gate.open()
            assert one.read_response().body == b"held"  # its connection is kept now
            assert other.read_response().body == b"good"
            pair.faulty.wait_closed(0, timeout_s=CONNECT_S + SLACK_S)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
def test_a_cut_answer_is_not_kept_by_the_cdn(stands: dict[str, Stand], end: Close | Reset) -> None:
    """Row 10 with an answer that may be stored: the next client gets a whole one."""
    stand = stands["chain"]
    half = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\nhalf"
    steps = [half, MOMENT, end]
    target = f"/cut-{end}"
    with stand.node(default=steps) as one, stand.node(default=steps, name="node2") as two:
        with stand.client() as client, pytest.raises((CutShortError, ConnectionResetError)):
            client.get(target)
        one.default = two.default = GOOD
        with stand.client() as client:
            assert client.get(target).body == b"good"
        assert len(one.requests) + len(two.requests) == 2
