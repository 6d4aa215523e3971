"""The cache in front of the balancers, fused: what a cdn makes of what they answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.origin import answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn: {listen: 127.0.0.1:$port, cache: {size: 64MiB}}
elb: {health_check: {enabled: false}}
haproxy: {health_check: {interval: 50ms, rise: 1, fall: 1}, retries: 0}
nodes:
  - {name: node1, zone: a, web: 127.0.0.1:$node1, haproxy: 127.0.0.1:$haproxy1}
  - {name: node2, zone: b, web: 127.0.0.1:$node2, haproxy: 127.0.0.1:$haproxy2}
"""
FRESH = b"Cache-Control: max-age=3600"
STALE = (b"Cache-Control: max-age=10, stale-if-error=600", b"Age: 20")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def wait_nodes(stand: Stand, status: str) -> None:
    """Until every HAProxy sees both nodes so."""
    stand.edge.wait_status(
        lambda seen: all(
            server["status"].startswith(status)
            for tier in seen["tiers"]
            if tier["kind"] == "haproxy"
            for server in tier["servers"]
        )
    )


def test_hits_touch_no_balancer(stand: Stand) -> None:
    with stand.node(default=[answer(b"x", FRESH)]), stand.node(name="node2"):
        wait_nodes(stand, "UP")
        with stand.client() as client:
            client.get("/hit")
            before = stand.edge.status()["tiers"][1]["counters"]["requests"]
            assert [client.get("/hit").values(b"x-cache") for _ in range(5)] == [[b"HIT"]] * 5
        assert stand.edge.status()["tiers"][1]["counters"]["requests"] == before


def test_stale_while_all_nodes_are_down(stand: Stand) -> None:
    with (
        stand.node(default=[answer(b"old", *STALE)]) as first,
        stand.node(name="node2", default=[answer(b"old", *STALE)]) as second,
    ):
        wait_nodes(stand, "UP")
        with stand.client() as client:
            assert client.get("/down").body == b"old"
            first.stop()
            second.stop()
            wait_nodes(stand, "DOWN")
            stale = client.get("/down")
            assert (stale.status, stale.body) == (200, b"old")
            assert stale.values(b"x-cache") == [b"HIT"]
            assert client.get("/down/cold").status == 503


def test_origin_error_is_asked_for_once_more(stand: Stand) -> None:
    """As Fastly's default VCL restarts after a 500 or 503."""
    with (
        stand.node(default=[answer(b"no", status=b"503 No")]) as first,
        stand.node(name="node2", default=[answer(b"no", status=b"503 No")]) as second,
    ):
        wait_nodes(stand, "UP")
        with stand.client() as client:
            assert client.get("/error").status == 503
        assert len(first.requests) + len(second.requests) == 2
