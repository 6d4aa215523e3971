"""Shielding: a second pass through the cdn as another site, with its own objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Client, Response
from tests.origin import answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  pop: FRA
  shield: IAD
  sites: [{pop: LON, listen: 127.0.0.1:$london}]
  cache: {size: 64MiB}
  service: {id: SU1Z0isxPaozGVKXdv0eY, tokens: [edge-test-token]}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FRESH = b"Cache-Control: max-age=3600"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def marks(response: Response) -> tuple[list[bytes], list[bytes]]:
    return response.values(b"x-cache"), response.values(b"x-cache-hits")


def purge(client: Client, path: str, *fields: bytes) -> Response:
    start = f"PURGE {path} HTTP/1.1\r\nHost: shop.example".encode()
    client.send(b"\r\n".join((start, b"Fastly-Key: edge-test-token", *fields, b"", b"")))
    return client.read_response(b"PURGE")


def test_both_sites_are_seen(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH)]) as node, stand.client() as client:
        first = client.get("/both")
        second = client.get("/both")
    assert len(node.requests) == 1
    assert marks(first) == ([b"MISS, MISS"], [b"0, 0"])
    assert marks(second) == ([b"MISS, HIT"], [b"0, 1"])
    for response in (first, second):
        shield, edge = response.values(b"x-served-by")[0].split(b", ")
        assert shield.endswith(b"-IAD")
        assert edge.endswith(b"-FRA")
        assert len(response.values(b"x-timer")) == 1


def test_another_site_finds_it_at_the_shield(stand: Stand) -> None:
    with (
        stand.node([answer(b"x", FRESH)]) as node,
        stand.client() as client,
        stand.client("london") as london,
    ):
        client.get("/another")
        first = london.get("/another")
        second = london.get("/another")
    assert len(node.requests) == 1
    assert marks(first) == ([b"HIT, MISS"], [b"1, 0"])
    assert marks(second) == ([b"HIT, HIT"], [b"1, 1"])
    assert first.values(b"x-served-by")[0].endswith(b"-LON")


def test_surrogate_keys_stay_inside(stand: Stand) -> None:
    script = answer(b"x", FRESH, b"Surrogate-Key: a b", b"Surrogate-Control: max-age=60")
    with stand.node([script]), stand.client() as client:
        for _ in range(2):
            response = client.get("/keys")
            assert not response.values(b"surrogate-key")
            assert not response.values(b"surrogate-control")


def test_purge_reaches_every_site(stand: Stand) -> None:
    with (
        stand.node([answer(b"old", FRESH)], [answer(b"new", FRESH)]) as node,
        stand.client() as client,
        stand.client("london") as london,
    ):
        assert client.get("/purged").body == b"old"
        assert london.get("/purged").body == b"old"
        assert purge(client, "/purged").status == 200
        assert client.get("/purged").body == b"new"
        assert london.get("/purged").body == b"new"
    assert len(node.requests) == 2


def test_pass_passes_both_sites(stand: Stand) -> None:
    with (
        stand.node(default=[answer(b"x", b"Cache-Control: private")]) as node,
        stand.client() as client,
    ):
        for _ in range(2):
            assert marks(client.get("/private")) == ([b"MISS, MISS"], [b"0, 0"])
    assert len(node.requests) == 2


def test_shield_does_not_answer_stale(stand: Stand) -> None:
    """After a soft purge the edge serves stale, and what it fetches meanwhile is fresh."""
    swr = b"Cache-Control: max-age=3600, stale-while-revalidate=600"
    with (
        stand.node([answer(b"old", swr)], [answer(b"new", swr)]) as node,
        stand.client() as client,
    ):
        client.get("/soft")
        assert purge(client, "/soft", b"Fastly-Soft-Purge: 1").status == 200
        assert client.get("/soft").body == b"old"
        node.wait_requests(2)
        stand.edge.wait_status(
            lambda status: all(
                server["in_flight"] == 0 for tier in status["tiers"] for server in tier["servers"]
            )
        )
        assert client.get("/soft").body == b"new"
    assert len(node.requests) == 2


def test_origin_sees_one_client(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH)]) as node, stand.client() as client:
        client.get("/client")
    request = node.requests[0]
    assert request.values(b"fastly-client-ip") == [b"127.0.0.1"]
    assert request.values(b"host") == [b"shop.example"]


def test_large_bodies_pass_the_hop(stand: Stand) -> None:
    body = bytes(range(256)) * 8000
    with stand.node([answer(body, FRESH)]) as node, stand.client() as client:
        assert client.get("/large").body == body
        assert client.get("/large").body == body
    assert len(node.requests) == 1
