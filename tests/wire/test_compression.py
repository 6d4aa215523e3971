"""Compression at the edge: once, of text, for clients that ask for it."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import brotli
import pytest

from tests.harness import Response
from tests.origin import Close, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  cache: {size: 64MiB, max_object: 512KiB}
  compression: {min_size: 100B}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FRESH = b"Cache-Control: max-age=3600"
HTML = b"Content-Type: text/html; charset=UTF-8"
BODY = b"".join(b"<li>product %d</li>\n" % (i * 7919 % 1000) for i in range(20_000))
SMALL = BODY[:3000]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def opened(response: Response) -> bytes:
    """The body without its coding."""
    coding = response.values(b"content-encoding")
    if not coding:
        return response.body
    body: bytes = {b"gzip": gzip.decompress, b"br": brotli.decompress}[coding[0]](response.body)
    return body


@pytest.mark.parametrize("body", [SMALL, BODY], ids=["small", "large"])
def test_each_coding_is_made_once(stand: Stand, body: bytes) -> None:
    path = f"/once/{len(body)}"
    with (
        stand.node(default=[answer(body, FRESH, HTML, b'ETag: "v1"')]) as node,
        stand.client() as client,
    ):
        for accept, coding in ((b"gzip", [b"gzip"]), (b"gzip, br", [b"br"]), (b"x", [])):
            for _ in range(2):
                response = client.get(path, b"Accept-Encoding: " + accept)
                assert response.values(b"content-encoding") == coding
                assert response.values(b"vary") == [b"Accept-Encoding"]
                assert response.values(b"etag") == [b'W/"v1"' if coding else b'"v1"']
                assert opened(response) == body
                assert not coding or len(response.body) < len(body) / 2
    assert len(node.requests) == 3


def test_chunked_and_until_close(stand: Stand) -> None:
    pieces = [BODY[at : at + 30_000] for at in range(0, len(BODY), 30_000)]
    ends = b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nCache-Control: max-age=60\r\n\r\n"
    chunked = chunked_answer(*pieces).replace(b"\r\n\r\n", b"\r\n" + HTML + b"\r\n\r\n", 1)
    with stand.node([chunked], [ends, *pieces, Close()]), stand.client() as client:
        for path in ("/chunked", "/until-close"):
            for _ in range(2):
                assert opened(client.get(path, b"Accept-Encoding: gzip")) == BODY


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("image", (b"Content-Type: image/png",)),
        ("coded", (HTML, b"Content-Encoding: gzip")),
        ("no-transform", (HTML, b"Cache-Control: no-transform")),
    ],
)
def test_never_twice_and_never_what_must_not(
    stand: Stand, name: str, fields: tuple[bytes, ...]
) -> None:
    with stand.node(default=[answer(SMALL, FRESH, *fields)]), stand.client() as client:
        response = client.get(f"/left/{name}", b"Accept-Encoding: gzip")
    assert response.body == SMALL
    assert not response.values(b"vary")


def test_short_ones_are_left_alone(stand: Stand) -> None:
    with stand.node([answer(b"x" * 99, FRESH, HTML)]), stand.client() as client:
        assert client.get("/short", b"Accept-Encoding: gzip").body == b"x" * 99


def test_extension_decides_too(stand: Stand) -> None:
    with stand.node(default=[answer(SMALL, FRESH)]), stand.client() as client:
        response = client.get("/a.css?v=1", b"Accept-Encoding: gzip")
    assert response.values(b"content-encoding") == [b"gzip"]


def test_304_of_a_compressed_answer(stand: Stand) -> None:
    stale = b"Cache-Control: max-age=1, stale-if-error=60"
    old = answer(SMALL, HTML, stale, b"Age: 9", b'ETag: "v1"')
    same = b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nCache-Control: max-age=60\r\n\r\n'
    with stand.node([old], [same]) as node, stand.client() as client:
        for _ in range(3):
            assert opened(client.get("/304", b"Accept-Encoding: gzip")) == SMALL
    assert len(node.requests) == 2
    assert node.requests[1].values(b"if-none-match") == [b'"v1"']


@pytest.mark.parametrize("coding", [b"gzip", b"br"])
def test_more_than_the_cache_keeps_still_reaches_its_client(stand: Stand, coding: bytes) -> None:
    """Random bytes do not become shorter: the object ends at max_object, the answer does not."""
    body = random.Random(7).randbytes(1_200_000)
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    chunked = chunked_answer(*pieces).replace(b"\r\n\r\n", b"\r\n" + HTML + b"\r\n\r\n", 1)
    with stand.node(default=[chunked]) as node, stand.client() as client:
        for _ in range(2):
            response = client.get("/more/" + coding.decode(), b"Accept-Encoding: " + coding)
            assert response.values(b"content-encoding") == [coding]
            assert opened(response) == body
    assert len(node.requests) == 2
