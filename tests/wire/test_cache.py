"""The cdn tier as a cache, as a client and an origin see it: policy fastly.

Each test has paths of its own, so that nothing of another is stored there. Time is never waited for
where the origin can say instead how old an answer is.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import Client, Response
from tests.origin import Close, Origin, Reset, Stall, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  pop: FRA
  cache: {size: 64MiB, max_object: 2MiB}
  timeouts: {server: 1s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
workers: 2
"""
FRESH = b"Cache-Control: max-age=3600"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge"), workers=2) as stand:
        yield stand


def value(response: Response, name: bytes) -> bytes | None:
    """The only value of a field, or None."""
    values = response.values(name)
    assert len(values) <= 1, values
    return values[0] if values else None


def seen(response: Response) -> tuple[bytes | None, bytes | None]:
    return value(response, b"x-cache"), value(response, b"x-cache-hits")


# -- hits and misses -------------------------------------------------------------------------------


def test_second_request_is_a_hit(stand: Stand) -> None:
    script = answer(b"one", FRESH, b'ETag: "a"', b"Surrogate-Key: k1 k2", b"X-Own: 1")
    with stand.node([script]) as node, stand.client() as client:
        first = client.get("/hit")
        second = client.get("/hit")
    assert len(node.requests) == 1
    assert first.body == second.body == b"one"
    assert seen(first) == (b"MISS", b"0")
    assert seen(second) == (b"HIT", b"1")
    for response in (first, second):
        assert value(response, b"x-own") == b"1"
        assert value(response, b"content-length") == b"3"
        assert value(response, b"via") == b"1.1 varnish"
        assert value(response, b"surrogate-key") is None
        assert value(response, b"x-served-by").startswith(b"cache-fra")  # type: ignore[union-attr]
        assert value(response, b"x-timer").startswith(b"S")  # type: ignore[union-attr]
        assert len(response.values(b"date")) == 1
    assert value(first, b"age") in (None, b"0")
    assert value(second, b"age") == b"0"


def test_hits_are_counted_by_object(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH)]), stand.client() as client:
        hits = [value(client.get("/counted"), b"x-cache-hits") for _ in range(4)]
    assert hits == [b"0", b"1", b"2", b"3"]


def test_host_and_query_make_other_objects(stand: Stand) -> None:
    script = [[answer(b"%d" % i, FRESH)] for i in range(4)]
    with stand.node(*script), stand.client() as client:
        bodies = [
            client.get("/o", host="a.test").body,
            client.get("/o", host="b.test").body,
            client.get("/o?a=1", host="a.test").body,
            client.get("/o?a=2", host="a.test").body,
            client.get("/o", host="A.TEST").body,
            client.get("/o", host="b.test:80").body,
        ]
    assert bodies == [b"0", b"1", b"2", b"3", b"0", b"1"]


def test_chunked_answer_is_stored_with_its_length(stand: Stand) -> None:
    with (
        stand.node([chunked_answer(b"abc", b"defg")], default=[answer(b"no")]) as node,
        stand.client() as client,
    ):
        first = client.get("/chunked")
        second = client.get("/chunked")
    assert first.body == second.body == b"abcdefg"
    assert value(second, b"content-length") == b"7"
    assert len(node.requests) == 1


def test_answer_until_close_is_stored(stand: Stand) -> None:
    script = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nuntil the end"
    with stand.node([script, Close()]) as node, stand.client() as client:
        first = client.get("/until-close")
        second = client.get("/until-close")
    assert first.body == second.body == b"until the end"
    assert len(node.requests) == 1


def test_empty_body_is_stored(stand: Stand) -> None:
    with stand.node([answer(b"", FRESH)]) as node, stand.client() as client:
        assert client.get("/empty").body == b""
        assert seen(client.get("/empty")) == (b"HIT", b"1")
    assert len(node.requests) == 1


def test_answer_that_is_cut_is_not_stored(stand: Stand) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nCache-Control: max-age=60\r\n\r\nhalf"
    with stand.node([half, Reset()], [answer(b"whole one", FRESH)]), stand.client() as client:
        client.send(b"GET /cut HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.read_to_end().endswith(b"half")
        with stand.client() as other:
            assert other.get("/cut").body == b"whole one"


@pytest.mark.parametrize("size", [1, 4000, 4096, 5000, 65536, 131072, 131073, 700_001, 2 << 20])
def test_sizes(stand: Stand, size: int) -> None:
    body = bytes(i * 31 % 251 for i in range(size))
    with stand.node([answer(body, FRESH)]) as node, stand.client() as client:
        for _ in range(3):
            assert client.get(f"/size/{size}").body == body
    assert len(node.requests) == 1


def test_too_large_is_fastlys_503(stand: Stand) -> None:
    with stand.node([answer(b"x" * ((2 << 20) + 1), FRESH)]), stand.client() as client:
        assert client.get("/too-large").status == 503


def test_too_large_without_a_length_still_reaches_its_client(stand: Stand) -> None:
    chunk = bytes(range(256)) * 1024
    with stand.node(default=[chunked_answer(*([chunk] * 12))]) as node, stand.client() as client:
        assert client.get("/too-large-chunked").body == chunk * 12
        assert client.get("/too-large-chunked").body == chunk * 12
    assert len(node.requests) == 2


# -- what is passed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("private", b"Cache-Control: private, max-age=60"),
        ("cookie", b"Set-Cookie: a=b"),
        ("surrogate", b"Surrogate-Control: no-store"),
    ],
)
def test_passed_answers_go_to_the_origin_each_time(stand: Stand, name: str, field: bytes) -> None:
    with stand.node(default=[answer(b"x", field)]) as node, stand.client() as client:
        marks = [seen(client.get(f"/passed/{name}")) for _ in range(3)]
    assert marks == [(b"MISS", b"0")] * 3
    assert len(node.requests) == 3


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"])
def test_other_methods_are_passed(stand: Stand, method: bytes) -> None:
    with stand.node(default=[answer(b"x", FRESH)]) as node, stand.client() as client:
        for _ in range(2):
            client.send(
                method + b" /m HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nhi"
            )
            assert client.read_response(method).body == b"x"
    assert [request.body for request in node.requests] == [b"hi", b"hi"]


def test_head_fetches_the_whole_and_is_answered_from_it(stand: Stand) -> None:
    with stand.node([answer(b"body", FRESH)]) as node, stand.client() as client:
        client.send(b"HEAD /head HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        head = client.read_response(b"HEAD")
        got = client.get("/head")
        client.send(b"HEAD /head HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        again = client.read_response(b"HEAD")
    assert [request.head.method for request in node.requests] == [b"GET"]
    assert (head.body, got.body, again.body) == (b"", b"body", b"")
    assert value(head, b"content-length") == value(again, b"content-length") == b"4"


def test_head_of_something_private(stand: Stand) -> None:
    with stand.node(default=[answer(b"body", b"Cache-Control: private")]), stand.client() as client:
        for _ in range(2):
            client.send(b"HEAD /head-private HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            head = client.read_response(b"HEAD")
            assert (head.status, head.body) == (200, b"")
        assert client.get("/head-private").body == b"body"


# -- conditions and ranges -------------------------------------------------------------------------


def test_conditions_are_answered_from_the_cache(stand: Stand) -> None:
    modified = b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
    with (
        stand.node([answer(b"x", FRESH, b'ETag: "v1"', modified)]) as node,
        stand.client() as client,
    ):
        first = client.get("/conditional", b'If-None-Match: "v1"')
        same = client.get("/conditional", b'If-None-Match: W/"v1"')
        other = client.get("/conditional", b'If-None-Match: "v2"')
        since = client.get("/conditional", b"If-" + modified.replace(b"Last-", b"") + b"")
        dated = client.get("/conditional", b"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT")
    assert [r.status for r in (first, same, other, since, dated)] == [304, 304, 200, 200, 304]
    assert len(node.requests) == 1
    assert not node.requests[0].values(b"if-none-match")
    assert value(same, b"etag") == b'"v1"'
    assert value(same, b"content-length") is None


@pytest.mark.parametrize("name", [b'If-Match: "a"', b"If-Unmodified-Since: x"])
def test_preconditions_are_the_origins(stand: Stand, name: bytes) -> None:
    with (
        stand.node(default=[answer(b"no", status=b"412 Precondition Failed")]) as node,
        stand.client() as client,
    ):
        assert client.get("/precondition", name).status == 412
    assert node.requests[0].values(name.split(b":")[0]) == [name.split(b": ")[1]]


@pytest.mark.parametrize(
    ("range_", "status", "body", "content_range"),
    [
        (b"bytes=0-3", 206, b"0123", b"bytes 0-3/10"),
        (b"bytes=5-", 206, b"56789", b"bytes 5-9/10"),
        (b"bytes=-2", 206, b"89", b"bytes 8-9/10"),
        (b"bytes=20-", 416, b"", b"bytes */10"),
        (b"lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(
    stand: Stand, range_: bytes, status: int, body: bytes, content_range: bytes | None
) -> None:
    path = "/range/" + range_.decode().replace("=", "-")
    with stand.node([answer(b"0123456789", FRESH)]) as node, stand.client() as client:
        for _ in range(2):
            part = client.get(path, b"Range: " + range_)
            assert (part.status, part.body) == (status, body)
            assert value(part, b"content-range") == content_range
        assert client.get(path).body == b"0123456789"
    assert len(node.requests) == 1
    assert not node.requests[0].values(b"range"), "the whole is fetched"


def test_several_ranges_are_multipart(stand: Stand) -> None:
    with (
        stand.node([answer(b"0123456789", FRESH, b"Content-Type: text/x")]),
        stand.client() as client,
    ):
        client.get("/ranges")
        parts = client.get("/ranges", b"Range: bytes=0-1,8-9")
    kind = value(parts, b"content-type")
    assert kind is not None
    assert parts.status == 206
    assert kind.startswith(b"multipart/byteranges; boundary=")
    boundary = kind.split(b"=")[1].strip(b'"')
    pieces = parts.body.split(b"--" + boundary)
    assert len(pieces) == 4
    assert pieces[3] == b"--\r\n"
    assert b"content-type: text/x" in pieces[1].lower()
    assert b"content-range: bytes 0-1/10" in pieces[1].lower()
    assert pieces[1].endswith(b"\r\n\r\n01\r\n")
    assert pieces[2].endswith(b"\r\n\r\n89\r\n")


# -- variants --------------------------------------------------------------------------------------


def test_variants(stand: Stand) -> None:
    vary = b"Vary: X-Kind"
    script = [[answer(b"%d" % i, FRESH, vary)] for i in range(3)]
    with stand.node(*script) as node, stand.client() as client:
        bodies = [
            client.get("/vary", b"X-Kind: a").body,
            client.get("/vary", b"X-Kind: b").body,
            client.get("/vary").body,
            client.get("/vary", b"X-Kind: b").body,
            client.get("/vary", b"X-Kind: a").body,
            client.get("/vary").body,
        ]
    assert bodies == [b"0", b"1", b"2", b"1", b"0", b"2"]
    assert len(node.requests) == 3


def test_accept_encoding_is_normalised(stand: Stand) -> None:
    script = [[answer(b"%d" % i, FRESH, b"Vary: Accept-Encoding")] for i in range(3)]
    with stand.node(*script) as node, stand.client() as client:
        bodies = [
            client.get("/encodings", b"Accept-Encoding: gzip, deflate").body,
            client.get("/encodings", b"Accept-Encoding: gzip;q=1.0").body,
            client.get("/encodings", b"Accept-Encoding: gzip, br").body,
            client.get("/encodings", b"Accept-Encoding: br").body,
            client.get("/encodings", b"Accept-Encoding: identity").body,
            client.get("/encodings").body,
        ]
    assert bodies == [b"0", b"0", b"1", b"1", b"2", b"2"]
    assert [r.values(b"accept-encoding") for r in node.requests] == [[b"gzip"], [b"br"], []]


# -- stale -----------------------------------------------------------------------------------------


def test_stale_is_validated(stand: Stand) -> None:
    stale = b"Cache-Control: max-age=10, stale-if-error=60"
    old = answer(b"old", stale, b"Age: 20", b'ETag: "v1"')
    fresh = b'HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: "v1"\r\n\r\n'
    with stand.node([old], [fresh]) as node, stand.client() as client:
        client.get("/validated")
        second = client.get("/validated")
        third = client.get("/validated")
    assert [second.body, third.body] == [b"old", b"old"]
    assert node.requests[1].values(b"if-none-match") == [b'"v1"']
    assert len(node.requests) == 2
    assert value(third, b"age") == b"0"


def test_stale_is_replaced(stand: Stand) -> None:
    old = answer(b"old", b"Cache-Control: max-age=10, stale-if-error=60", b"Age: 20")
    with stand.node([old], [answer(b"new", FRESH)]) as node, stand.client() as client:
        bodies = [client.get("/replaced").body for _ in range(3)]
    assert bodies == [b"old", b"new", b"new"]
    assert len(node.requests) == 2


def test_stale_while_revalidate_fetches_once_in_the_background(stand: Stand) -> None:
    old = answer(b"old", b"Cache-Control: max-age=10, stale-while-revalidate=60", b"Age: 20")
    with stand.node([old]) as node, stand.client() as client:
        gate = node.gate()
        node.then(gate, answer(b"new", FRESH))
        client.get("/swr")
        during = [client.get("/swr") for _ in range(3)]
        node.wait_requests(2)
        assert [r.body for r in during] == [b"old"] * 3
        assert all(seen(r)[0] == b"HIT" for r in during)
        gate.open()
        stand.edge.wait_status(lambda status: not in_flight(status))
        assert client.get("/swr").body == b"new"
    assert len(node.requests) == 2


def in_flight(status: dict) -> int:  # type: ignore[type-arg]
    return sum(server["in_flight"] for tier in status["tiers"] for server in tier["servers"])


@pytest.mark.parametrize("failure", ["500", "503", "reset", "refused", "timeout"])
def test_stale_if_error(stand: Stand, failure: str) -> None:
    old = answer(b"old", b"Cache-Control: max-age=10, stale-if-error=60", b"Age: 20")
    broken = {
        "500": [answer(b"broken", status=b"500 Oops")],
        "503": [answer(b"broken", status=b"503 Oops")],
        "reset": [Reset()],
        "refused": [],
        "timeout": [Stall()],
    }[failure]
    with stand.node([old], default=broken or [answer()]) as node, stand.client() as client:
        client.get(f"/sie/{failure}")
        if failure == "refused":
            node.stop()
        stale = client.get(f"/sie/{failure}")
        assert (stale.status, stale.body, seen(stale)[0]) == (200, b"old", b"HIT")


def test_error_without_anything_stale(stand: Stand) -> None:
    """Asked once more after a 503, as Fastly's default VCL does; then it is the client's."""
    with (
        stand.node(default=[answer(b"broken", status=b"503 Oops")]) as node,
        stand.client() as client,
    ):
        assert client.get("/broken").status == 503
    assert len(node.requests) == 2


# -- collapsing ------------------------------------------------------------------------------------


def test_many_clients_make_one_request(stand: Stand) -> None:
    body = b"0123456789" * 50_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=60\r\n\r\n" % len(body)
    with stand.node() as node:
        gate, middle = node.gate(), node.gate()
        node._script.append([gate, head + body[:100_000], middle, body[100_000:]])
        clients = [stand.client() for _ in range(60)]
        for client in clients:
            client.send(b"GET /cold HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        node.wait_requests(1)
        stand.edge.wait_status(lambda s: s["tiers"][0]["in_flight"] == len(clients))
        gate.open()
        with ThreadPoolExecutor(len(clients)) as pool:
            heads = list(pool.map(lambda client: client.read_exactly(50_000), clients))
            assert all(body[:1000] in head for head in heads), "followers stream as it arrives"
            middle.open()
            sizes = {head.index(b"\r\n\r\n") + 4 + len(body) - 50_000 for head in heads}
            rests = list(
                pool.map(
                    lambda pair: (
                        pair[1]
                        + pair[0].read_exactly(pair[1].index(b"\r\n\r\n") + 4 + len(body) - 50_000)
                    ),
                    zip(clients, heads, strict=True),
                )
            )
        assert sizes
        assert all(rest.endswith(body) for rest in rests)
        for client in clients:
            client.close()
    assert len(node.requests) == 1


def test_a_thousand_clients_make_one_request(stand: Stand) -> None:
    """Through both workers: whoever comes second waits for the first, wherever that one is."""
    body = bytes(range(256)) * 80
    with stand.node() as node:
        gate = node.gate()
        node.then(gate, answer(body, FRESH))
        clients = [stand.client() for _ in range(1000)]
        for client in clients:
            client.send(b"GET /thousand HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        stand.edge.wait_status(lambda s: s["tiers"][0]["in_flight"] == len(clients))
        assert all(worker["connections"] for worker in stand.edge.status()["workers"])
        gate.open()
        assert all(client.read_response().body == body for client in clients)
        for client in clients:
            client.close()
    assert len(node.requests) == 1


def test_private_answer_releases_the_queue(stand: Stand) -> None:
    with stand.node(default=[answer(b"x", b"Cache-Control: private")]) as node:
        gate = node.gate()
        node.then(gate, answer(b"x", b"Cache-Control: private"))
        clients = [stand.client() for _ in range(20)]
        for client in clients:
            client.send(b"GET /queue HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        node.wait_requests(1)
        stand.edge.wait_status(lambda s: s["tiers"][0]["in_flight"] == len(clients))
        gate.open()
        assert [client.read_response().body for client in clients] == [b"x"] * 20
        for client in clients:
            client.close()
    assert len(node.requests) == 20


def test_fetch_goes_on_when_its_client_leaves(stand: Stand) -> None:
    with stand.node() as node, stand.client() as other:
        gate = node.gate()
        node.then(gate, answer(b"kept", FRESH))
        with stand.client() as client:
            client.send(b"GET /left HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            node.wait_requests(1)
            other.send(b"GET /left HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            stand.edge.wait_status(lambda s: s["tiers"][0]["in_flight"] == 2)
        gate.open()
        assert other.read_response().body == b"kept"
    assert len(node.requests) == 1


def test_followers_share_a_failure(stand: Stand) -> None:
    with stand.node(default=[Reset()]) as node:
        clients = [stand.client() for _ in range(10)]
        gate = node.gate()
        node.then(gate, Reset())
        for client in clients:
            client.send(b"GET /dead HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        node.wait_requests(1)
        stand.edge.wait_status(lambda s: s["tiers"][0]["in_flight"] == len(clients))
        gate.open()
        assert {client.read_response().status for client in clients} == {503}
        for client in clients:
            client.close()
    assert len(node.requests) <= 4, "one fetch and its one retry, and another for who waited"


# -- debugging -------------------------------------------------------------------------------------


def test_fastly_debug(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH, b"Surrogate-Key: p1 c2")]), stand.client() as client:
        client.get("/debug")
        plain = client.get("/debug")
        debug = client.get("/debug", b"Fastly-Debug: 1")
    assert value(plain, b"fastly-debug-path") is None
    assert value(debug, b"surrogate-key") == b"p1 c2"
    assert value(debug, b"fastly-debug-ttl").startswith(b"(H ")  # type: ignore[union-attr]
    assert value(debug, b"fastly-debug-path").startswith(b"(D ")  # type: ignore[union-attr]
    assert value(debug, b"fastly-debug-digest")


def test_http_10_and_close(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH)]), stand.client() as client:
        client.get("/old")
        client.send(b"GET /old HTTP/1.0\r\nHost: shop.example\r\n\r\n")
        assert client.read_to_end().endswith(b"\r\n\r\nx")


def test_pipelined_hits_keep_their_order(stand: Stand) -> None:
    with stand.node([answer(b"a", FRESH)], [answer(b"b", FRESH)]), stand.client() as client:
        client.get("/pipe/a")
        client.get("/pipe/b")
        line = b"GET /pipe/%s HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        client.send(b"".join(line % name for name in (b"a", b"b") * 50))
        bodies = b"".join(client.read_response().body for _ in range(100))
    assert bodies == b"ab" * 50


def test_worker_that_is_killed_takes_nothing_with_it(stand: Stand) -> None:
    with stand.node([answer(b"kept", FRESH)]) as node:
        with stand.client() as client:
            assert client.get("/survives").body == b"kept"
        stand.edge.kill_worker()
        stand.expect("starting it again")
        for _ in range(8):
            with Client(stand.ports["port"]) as client:
                assert client.get("/survives").body == b"kept"
    assert isinstance(node, Origin)
    assert len(node.requests) == 1
