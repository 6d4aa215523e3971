"""Defects of the cache that once were: each test holds one of them down, on the wire.

Most were found by tests/fuzz/fuzz_cache.py or by reading as an attacker would. Each test has paths
of its own.
"""

from __future__ import annotations

import gzip
import http.client
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import Client, CutShortError
from tests.origin import Gate, Origin, Pause, Stall, Step, answer, chunked_answer
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
SHIELDED = """
cdn:
  listen: 127.0.0.1:$port
  shield: IAD
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
IMPATIENT = """
cdn:
  listen: 127.0.0.1:$port
  cache: {size: 8MiB, max_object: 64KiB}
  timeouts: {between_bytes: 300ms}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
TINY = """
cdn:
  listen: 127.0.0.1:$port
  cache: {size: 1MiB, max_object: 1MiB}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
CHECKED = """
cdn:
  listen: 127.0.0.1:$port
  health_check: {enabled: true, interval: 100ms, fall: 1, rise: 1}
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


@pytest.fixture(scope="module")
def shielded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(SHIELDED, tmp_path_factory.mktemp("edge")) as shielded:
        yield shielded


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(IMPATIENT, tmp_path_factory.mktemp("edge")) as impatient:
        yield impatient


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(TINY, tmp_path_factory.mktemp("edge")) as tiny:
        yield tiny


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CHECKED, tmp_path_factory.mktemp("edge")) as checked:
        yield checked


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


def bytes_read(status: Any) -> int:
    """Of what the servers have answered, since edge runs."""
    servers = status["tiers"][0]["servers"]
    return sum(server["counters"]["bytes_out"] for server in servers)


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


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"Fastly-Client-IP"])
def test_what_varies_by_the_clients_address_is_not_shared(stand: Stand, name: bytes) -> None:
    """The address is in no field of the client's request, so all clients once had one variant."""
    vary = b"Vary: " + name
    with stand.node([answer(b"one", FRESH, vary)], [answer(b"two", FRESH, vary)]) as node:
        for source, body in (("127.0.0.1", b"one"), ("127.0.0.2", b"two")):
            with stand.client(source=source) as client:
                assert client.get(f"/address/{name.decode()}").body == body
    seen = [request.values(name)[0] for request in node.requests]
    assert seen == [b"127.0.0.1", b"127.0.0.2"]


@pytest.mark.parametrize("control", ["no-store", "private", "max-age=0"])
def test_what_the_shield_passes_keeps_its_surrogate_control(shielded: Stand, control: str) -> None:
    """The shield once took the field out of what it did not store itself, as for a client: so the
    edge gave to everybody what was for one."""
    field = b"Surrogate-Control: " + control.encode()
    script = [[answer(b"%d" % number, field)] for number in range(3)]
    with shielded.node(*script), shielded.client() as client:
        answers = [client.get(f"/surrogate/{control}") for _ in range(3)]
    assert [answered.body for answered in answers] == [b"0", b"1", b"2"]
    assert not any(answered.values(b"surrogate-control") for answered in answers)


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
    """It is no answer at all: what is stale stands in for it where that is allowed."""
    same = b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=3600\r\n\r\n"
    with (
        stand.node([answer(b"old", *STALE)], [same], [answer(b"new", FRESH)]) as node,
        stand.client() as client,
    ):
        assert client.get("/unasked").body == b"old"
        assert client.get("/unasked").body == b"old"
        assert client.get("/unasked").body == b"new"
    assert not node.requests[1].values(b"if-none-match")
    assert len(node.requests) == 3


def test_stale_while_no_server_can_be_asked(checked: Stand) -> None:
    """The background fetch ends at once, and with it the request's head that it holds; the answer
    was made from that (a sanitizer build sees it; the head must be longer than a block)."""
    fields = (b"Cache-Control: max-age=10, stale-while-revalidate=60", b"Age: 20", b'ETag: "1"')
    with checked.node(default=[answer(b"old", *fields)]):
        checked.edge.wait_status(lambda status: server_status(status) == "UP")
        with checked.client() as client:
            assert client.get("/stale").body == b"old"
    checked.edge.wait_status(lambda status: server_status(status) == "DOWN")
    with checked.client() as client:
        long = b"X-Long: " + b"l" * 20_000
        assert client.get("/stale", long, b'If-None-Match: "1"').status == 304
        assert client.get("/stale", long).body == b"old"


def server_status(status: Any) -> str:
    first: str = status["tiers"][0]["servers"][0]["status"]
    return first


# -- what the origin is asked ----------------------------------------------------------------------


def test_rfc9111_accept_encoding_is_forwarded(strict: Stand) -> None:
    with strict.node(default=[answer(b"x", FRESH)]) as node, strict.client() as client:
        client.get("/accept", b"Accept-Encoding: gzip;q=0.5, br")
    assert node.requests[0].values(b"accept-encoding") == [b"gzip;q=0.5, br"]


# -- what is behind an answer, and how it ends -----------------------------------------------------


def test_bytes_behind_a_304_end_the_connection(stand: Stand) -> None:
    """They were dropped and their connection kept: had more come, it would have been an answer."""
    same = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=60\r\n\r\n'
    with (
        stand.node([answer(b"old", *STALE, b'ETag: "1"')], [same + b"HTTP/1.1 2"]) as node,
        stand.client() as client,
    ):
        assert client.get("/behind").body == b"old"
        assert client.get("/behind").body == b"old"
        assert client.get("/behind/next").body == b"ok"
    assert [request.connection for request in node.requests] == [0, 0, 1]


def test_trailers_in_two_reads_of_a_body_that_is_too_long(stand: Stand) -> None:
    """The first half of them was lost when the leader took the answer back from the cache."""
    body = b"x" * (MAX_OBJECT_BYTES + 1)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n"
    with stand.node() as node, stand.client() as client:
        first, second = node.gate(), node.gate()
        rest = b"\r\n%x\r\n%s\r\n0\r\nX-Trailer" % (len(body), body)
        node.then(head, first, rest, second, b": 1\r\n\r\n")
        before = bytes_read(stand.edge.status())
        client.send(b"GET /trailers HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        for gate, size in ((first, len(head)), (second, len(head + rest))):
            stand.edge.wait_status(lambda status, end=before + size: bytes_read(status) == end)
            gate.open()
        assert client.read_response().body == body


def test_too_long_when_compressed(stand: Stand) -> None:
    """Its client gets the whole of it; it once ended the worker."""
    body = random.Random(1).randbytes(3 * MAX_OBJECT_BYTES)
    pieces = [body[at : at + 4000] for at in range(0, len(body), 4000)]
    text = b"\r\nCache-Control: max-age=60\r\nContent-Type: text/plain\r\n\r\n"
    long = chunked_answer(*pieces).replace(b"\r\n\r\n", text, 1)
    with stand.node([long]), stand.client() as client:
        response = client.get("/long", b"Accept-Encoding: gzip")
        assert gzip.decompress(response.body) == body
    with stand.node(), stand.client() as client:
        assert client.get("/long/next").body == b"ok"
    stand.check()


def test_parts_are_no_longer_than_one_read(strict: Stand) -> None:
    """A multipart answer is made in memory, where a client that does not read leaves it."""
    body = bytes(range(251)) * 1200
    with strict.node([answer(body, FRESH)]), strict.client() as client:
        client.get("/parts")
        short = client.get("/parts", b"Range: bytes=0-9,50000-99999")
        long = client.get("/parts", b"Range: bytes=0-99999,100001-200000")
    assert short.status == 206
    assert long.status == 200
    assert long.body == body


def test_a_body_that_is_too_long_and_stalls_is_cut_in_time(impatient: Stand) -> None:
    """Each move of any object that somebody read gave the stalled server more time."""
    piece = b"7530\r\n" + b"x" * 30_000 + b"\r\n"
    drip: list[Step] = [step for _ in range(12) for step in (b"1\r\nx\r\n", Pause(0.1))]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n"
    with impatient.node() as node:
        node.then(head, Pause(0.05), piece, Pause(0.05), piece, piece, Stall())
        node.then(head, *drip, b"0\r\n\r\n")
        with begin(impatient, "/stalled") as stalled:
            stalled.read_head()
            with begin(impatient, "/dripping") as dripping:
                dripping.read_head()
                with pytest.raises(CutShortError):
                    stalled.read_exactly(1_000_000)
                # The other one has gone on all the while, and still does.
                assert not dripping.read_some().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("range_", "part"),
    [
        (b"bytes=0-", slice(0, None)),
        (b"bytes=300000-699999", slice(300_000, 700_000)),
        (b"bytes=699990-", slice(699_990, None)),
        (b"bytes=5-10", slice(5, 11)),
    ],
)
def test_a_part_of_what_finds_no_room(tiny: Stand, range_: bytes, part: slice) -> None:
    """While something else takes up the cache. The answer was cut at its beginning."""
    body = bytes(range(250)) * 2800
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 600001\r\nCache-Control: max-age=60\r\n\r\n"
    with tiny.node() as node:
        gate = node.gate()
        node.then(half + b"x" * 600_000, gate, b"y")
        node.then(answer(body, FRESH))
        with begin(tiny, f"/room/{part.start}") as other, tiny.client() as client:
            other.read_head()
            other.read_exactly(600_000)
            got = client.get(f"/part/{part.start}", b"Range: " + range_)
            assert (got.status, got.body) == (206, body[part])
            gate.open()
            assert other.read_exactly(1) == b"y"
    assert len(node.requests) == 2
