"""Defects of the cache that once were: each test holds one of them down, on the wire.

Most were found by tests/fuzz/fuzz_cache.py or by reading as an attacker would. Each test has paths
of its own.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from tests.harness import Client, Response
from tests.origin import Gate, Origin, Pause, Step, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

SERVICE, TOKEN = "SU1Z0isxPaozGVKXdv0eY", "edge-test-token"
MAX_OBJECT_BYTES = 64 * 1024
FASTLY = f"""
cdn:
  listen: 127.0.0.1:$port
  cache: {{size: 8MiB, max_object: {MAX_OBJECT_BYTES}}}
  service: {{id: {SERVICE}, tokens: [{TOKEN}]}}
  timeouts: {{server: 3s}}
nodes:
  - {{name: node1, web: 127.0.0.1:$node1}}
"""
RFC9111 = """
cdn:
  listen: 127.0.0.1:$port
  policy: rfc9111
  default_ttl: 0s
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FRESH = b"Cache-Control: max-age=3600"
# Stale when it arrives, and kept for when the origin fails.
STALE = (b"Cache-Control: max-age=10, stale-if-error=60", b"Age: 20")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(FASTLY, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(RFC9111, tmp_path_factory.mktemp("edge")) as strict:
        yield strict


def purge_key(stand: Stand, key: str, is_soft: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stand.ports["admin"], timeout=5)
    fields = {"Fastly-Key": TOKEN} | ({"Fastly-Soft-Purge": "1"} if is_soft else {})
    connection.request("POST", f"/service/{SERVICE}/purge/{key}", headers=fields)
    assert connection.getresponse().status == 200
    connection.close()


def begin(stand: Stand, target: str, *fields: bytes) -> Client:
    """A new connection on which a GET was sent."""
    client = stand.client()
    line = f"GET {target} HTTP/1.1\r\nHost: shop.example".encode()
    client.send(b"\r\n".join((line, *fields, b"", b"")))
    return client


def wait_in_flight(stand: Stand, count: int) -> None:
    stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == count)


def halves(node: Origin, *fields: bytes) -> Gate:
    """The next answer comes with half a body; the rest when the gate opens."""
    gate = node.gate()
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: 8", *fields, b"", b""))
    node.then(head + b"old:", gate, b"full")
    return gate


# -- whose answer it is ----------------------------------------------------------------------------


def test_a_field_of_the_hop_selects_nothing(stand: Stand) -> None:
    """What Connection names is not forwarded, but once selected the variant all the same: anyone
    could store the page of those without a field as the page of those who have it."""
    vary = b"Vary: X-Kind"
    with (
        stand.node([answer(b"of none", FRESH, vary)], [answer(b"of a", FRESH, vary)]) as node,
        stand.client() as client,
    ):
        poison = client.get("/hop", b"X-Kind: a", b"Connection: X-Kind")
        assert poison.body == b"of none"
        assert not node.requests[0].values(b"x-kind")
        assert client.get("/hop", b"X-Kind: a").body == b"of a"
        assert client.get("/hop").body == b"of none"
    assert len(node.requests) == 2


# -- how fresh it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["expired", "purged softly"])
def test_what_is_still_arriving_gets_old_too(stand: Stand, why: str) -> None:
    """A body that arrives slowly was once handed to everybody for as long as it took."""
    fields = STALE if why == "expired" else (FRESH, b"Surrogate-Key: slow")
    path = "/slow/" + why.replace(" ", "-")
    with stand.node() as node:
        gate = halves(node, *fields)
        node.then(answer(b"new", FRESH))
        with begin(stand, path) as first:
            first.read_head()
            purge_key(stand, "slow", is_soft=True)
            with stand.client() as second:
                assert second.get(path).body == b"new"
            gate.open()
            assert first.read_exactly(8) == b"old:full"
    assert len(node.requests) == 2


def test_rfc9111_5_2_2_4_no_cache_while_it_arrives(strict: Stand) -> None:
    with strict.node() as node:
        gate = halves(node, b"Cache-Control: no-cache", b'ETag: "1"')
        node.then(answer(b"new", b"Cache-Control: no-cache"))
        with begin(strict, "/no-cache") as first:
            first.read_head()
            with strict.client() as second:
                assert second.get("/no-cache").body == b"new"
            gate.open()
            assert first.read_exactly(8) == b"old:full"
    assert len(node.requests) == 2


def test_soft_purge_while_it_is_fetched(stand: Stand) -> None:
    """Who comes after the purge must not get what was asked for before it."""
    with stand.node() as node:
        gate = node.gate()
        node.then(gate, answer(b"before", FRESH, b"Surrogate-Key: soft"))
        node.then(answer(b"behind", FRESH))
        with begin(stand, "/soft") as first:
            node.wait_requests(1)
            purge_key(stand, "soft", is_soft=True)
            with begin(stand, "/soft") as second:
                wait_in_flight(stand, 2)
                gate.open()
                assert first.read_response().body == b"before"
                assert second.read_response().body == b"behind"
    assert len(node.requests) == 2


def test_304_to_a_question_without_condition_renews_nothing(stand: Stand) -> None:
    same = b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=3600\r\n\r\n"
    with stand.node([answer(b"old", *STALE)], [same], [answer(b"new", FRESH)]) as node:
        with stand.client() as client:
            assert client.get("/unasked").body == b"old"
            assert not client.get("/unasked").body
            assert client.get("/unasked").body == b"new"
    assert not node.requests[1].values(b"if-none-match")
    assert len(node.requests) == 3


# -- what the origin is asked ----------------------------------------------------------------------


def test_rfc9111_accept_encoding_is_forwarded(strict: Stand) -> None:
    with strict.node(default=[answer(b"x", FRESH)]) as node, strict.client() as client:
        client.get("/accept", b"Accept-Encoding: gzip;q=0.5, br")
    assert node.requests[0].values(b"accept-encoding") == [b"gzip;q=0.5, br"]
