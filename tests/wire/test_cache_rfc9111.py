"""The cdn tier with policy rfc9111 where it differs from Fastly's; a public suite has the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.origin import Close, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  policy: rfc9111
  default_ttl: 0s
  cache: {size: 64MiB, max_object: 1MiB}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FRESH = b"Cache-Control: max-age=3600"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def test_rfc9111_5_2_2_5_no_store_is_not_stored(stand: Stand) -> None:
    with (
        stand.node(default=[answer(b"x", b"Cache-Control: no-store, max-age=60")]) as node,
        stand.client() as client,
    ):
        client.get("/no-store")
        client.get("/no-store")
    assert len(node.requests) == 2


def test_rfc9111_4_4_unsafe_methods_invalidate(stand: Stand) -> None:
    with (
        stand.node([answer(b"old", FRESH)], [answer(b"done")], [answer(b"new", FRESH)]),
        stand.client() as client,
    ):
        assert client.get("/unsafe").body == b"old"
        assert client.get("/unsafe").body == b"old"
        client.send(b"POST /unsafe HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n")
        assert client.read_response(b"POST").body == b"done"
        assert client.get("/unsafe").body == b"new"


@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
def test_rfc9111_4_4_locations_are_invalidated(stand: Stand, name: bytes) -> None:
    made = answer(b"done", name + b": other?" + name, status=b"201 Created")
    path = f"/made/other?{name.decode()}"
    with (
        stand.node([answer(b"old", FRESH)], [made], [answer(b"new", FRESH)]),
        stand.client() as client,
    ):
        assert client.get(path).body == b"old"
        client.send(b"POST /made/list HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n")
        assert client.read_response(b"POST").status == 201
        assert client.get(path).body == b"new"


def test_rfc9111_4_4_a_failed_unsafe_request_does_not(stand: Stand) -> None:
    with (
        stand.node([answer(b"old", FRESH)], [answer(b"no", status=b"500 No")]),
        stand.client() as client,
    ):
        client.get("/failed")
        client.send(b"DELETE /failed HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.read_response(b"DELETE").status == 500
        assert client.get("/failed").body == b"old"


def test_rfc9111_5_2_1_7_only_if_cached(stand: Stand) -> None:
    with stand.node([answer(b"x", FRESH)]) as node, stand.client() as client:
        assert client.get("/only", b"Cache-Control: only-if-cached").status == 504
        assert not node.requests
        client.get("/only")
        assert client.get("/only", b"Cache-Control: only-if-cached").body == b"x"


def test_rfc9111_3_2_304_updates_the_stored_fields(stand: Stand) -> None:
    old = answer(b"x", b"Cache-Control: max-age=1", b"Age: 10", b'ETag: "a"', b"X-Field: old")
    fields = (b'ETag: "a"', b"X-Field: new", b"Cache-Control: max-age=60")
    update = b"\r\n".join((b"HTTP/1.1 304 Not Modified", *fields, b"", b""))
    with stand.node([old], [update]) as node, stand.client() as client:
        client.get("/updated")
        second = client.get("/updated")
        third = client.get("/updated")
    assert len(node.requests) == 2
    for response in (second, third):
        assert (response.status, response.body) == (200, b"x")
        assert response.values(b"x-field") == [b"new"]


def test_rfc9111_3_5_authorization(stand: Stand) -> None:
    with stand.node(default=[answer(b"x", FRESH)]) as node, stand.client() as client:
        client.get("/auth", b"Authorization: Basic eA==")
        client.get("/auth", b"Authorization: Basic eA==")
    assert len(node.requests) == 2


def test_rfc9111_5_2_1_4_no_cache_asks_the_origin(stand: Stand) -> None:
    with stand.node([answer(b"1", FRESH)], [answer(b"2", FRESH)]), stand.client() as client:
        assert client.get("/no-cache").body == b"1"
        assert client.get("/no-cache", b"Cache-Control: no-cache").body == b"2"
        assert client.get("/no-cache").body == b"2"


def test_a_larger_body_passes(stand: Stand) -> None:
    body = b"x" * (1 << 21)
    with stand.node(default=[answer(body, FRESH)]) as node, stand.client() as client:
        assert client.get("/large").body == body
        assert client.get("/large").body == body
    assert len(node.requests) == 2


def test_head_does_not_become_get(stand: Stand) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=60\r\n\r\n"
    with stand.node([head, Close()]) as node, stand.client() as client:
        client.send(b"HEAD /head HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.read_response(b"HEAD").status == 200
    assert node.requests[0].head.method == b"HEAD"


@pytest.mark.parametrize("field", [b"Vary: X-Kind", b"Surrogate-Key: other"])
def test_rfc9111_4_1_304_that_files_it_elsewhere_is_not_used(stand: Stand, field: bytes) -> None:
    """What selects an object, and what purges it, was taken from the answer that it is."""
    old = answer(b"old", b"Cache-Control: max-age=1", b"Age: 9", b'ETag: "a"')
    other = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n' + field + b"\r\n\r\n"
    path = "/filed/" + field.decode().partition(":")[0]
    with (
        stand.node([old], [other], [answer(b"new", FRESH, field)]) as node,
        stand.client() as client,
    ):
        assert client.get(path).body == b"old"
        assert client.get(path).body == b"new"
    assert [bool(r.values(b"if-none-match")) for r in node.requests] == [False, True, False]


def test_304_that_nobody_asked_for_is_an_error(stand: Stand) -> None:
    """As at Varnish: it says nothing about what the client wants."""
    same = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    with stand.node([same]), stand.client() as client:
        assert client.get("/unasked").status == 503
