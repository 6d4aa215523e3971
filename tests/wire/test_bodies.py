"""Bodies in both directions: framing, trailers, interim answers, and what a cut body looks like.

A body that arrives is byte for byte the one that was sent; a body that does not arrive whole never
looks complete to its reader. Volumes are in test_volumes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faultproxy import TO_CLIENT, TO_TARGET, FaultProxy
from tests.harness import Client, CutShortError
from tests.origin import AtHead, Close, Pause, Reset, Stall, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
BODY = bytes(range(256)) * 2
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EXPECT = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


def with_length(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def with_chunks(body: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


# -- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "body", "is_chunked"),
    [
        (with_length(b""), b"", False),
        (with_length(BODY), BODY, False),
        (with_chunks(BODY, 512), BODY, True),
        (with_chunks(BODY, 100), BODY, True),
        (with_chunks(BODY, 1), BODY, True),
        (with_chunks(b"", 1), b"", True),
    ],
    ids=["empty", "length", "one chunk", "chunks", "chunks of one", "no chunk"],
)
@pytest.mark.parametrize("split_bytes", [0, 1, 7], ids=["whole", "by 1", "by 7"])
def test_request_body(
    stand: Stand, data: bytes, body: bytes, is_chunked: bool, split_bytes: int
) -> None:
    with stand.node() as node, FaultProxy(stand.ports["port"]) as proxy:
        proxy.split(split_bytes, TO_TARGET)
        with Client(proxy.port) as client:
            client.send(data)
            assert client.read_response().status == 200
            request = node.requests[0]
            assert request.body == body
            assert request.head.chunked is is_chunked
            assert request.is_complete


def test_request_body_reaches_a_node_that_reads_in_single_bytes(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        for data in (with_length(BODY), with_chunks(BODY, 50)):
            for at in range(0, len(data), 3):
                client.send(data[at : at + 3])
            assert client.read_response().status == 200
        assert [request.body for request in node.requests] == [BODY, BODY]


def test_request_trailers(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(with_chunks(BODY, 99, b"0\r\nX-Sum: 1\r\nx-more:  two \r\n\r\n"))
        assert client.read_response().status == 200
        assert node.requests[0].body == BODY
        assert node.requests[0].trailers == [(b"X-Sum", b"1"), (b"x-more", b"two")]


def test_rfc9110_6_5_1_framing_fields_do_not_travel_as_trailers(stand: Stand) -> None:
    end = b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: evil\r\nX: y\r\n\r\n"
    with stand.node() as node, stand.client() as client:
        client.send(with_chunks(b"abc", 3, end))
        assert client.read_response().status == 200
        assert node.requests[0].trailers == [(b"X", b"y")]


def test_chunk_extensions_are_not_passed_on(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(CHUNKED + b'3;a=b\r\nabc\r\n2;c="d"\r\nde\r\n0;e\r\n\r\n')
        assert client.read_response().status == 200
        assert node.requests[0].body == b"abcde"
        assert b";" not in node.connections[0].received


def test_request_without_a_body_has_no_framing(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.get()
        for request in node.wait_requests(2):
            assert request.values(b"content-length") + request.values(b"transfer-encoding") == []


def test_get_with_a_body(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert client.read_response().status == 200
        assert node.requests[0].body == b"abc"


@pytest.mark.parametrize(
    "start",
    [POST + b"Content-Length: 100\r\n\r\nabc", CHUNKED + b"64\r\nabc", CHUNKED + b"3\r\nabc\r\n"],
    ids=["length", "in a chunk", "between chunks"],
)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_cut_request_body_never_looks_complete(
    stand: Stand, start: bytes, is_reset: bool
) -> None:
    with stand.node() as node:
        client = stand.client()
        client.send(start)
        node.wait_requests(1)
        if is_reset:
            client.reset()
        else:
            client.half_close()
        assert node.wait_closed(0).closed_by_peer
        assert not node.requests[0].is_complete
        client.close()


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        answer(BODY),
        chunked_answer(BODY),
        chunked_answer(*[bytes((byte,)) for byte in BODY]),
        chunked_answer(),
        UNTIL_CLOSE + BODY,
    ],
    ids=["length", "one chunk", "chunks of one", "no chunk", "until close"],
)
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", OLD], ids=["1.1", "1.0"])
@pytest.mark.parametrize("split_bytes", [0, 1, 7], ids=["whole", "by 1", "by 7"])
def test_answer_body(stand: Stand, data: bytes, start: bytes, split_bytes: int) -> None:
    body = BODY if BODY[:2] in data or b"\r\n1\r\n" in data else b""
    with stand.node([data, Close()], name="node1"), stand.client() as client:
        pieces = [data[at : at + split_bytes] for at in range(0, len(data), split_bytes or 1)]
        del pieces[: len(pieces) if not split_bytes else 0]
        client.send(start)
        response = client.read_response()
        assert response.body == body


def test_answer_trailers(stand: Stand) -> None:
    data = chunked_answer(b"abc", b"de", end=b"0\r\nX-Sum: 1\r\nDigest:  two \r\n\r\n")
    with stand.node([data]) as node, stand.client() as client:
        response = client.get()
        assert response.body == b"abcde"
        assert response.trailers == [(b"X-Sum", b"1"), (b"Digest", b"two")]
        assert client.get().status == 200
        assert len(node.connections) == 1
