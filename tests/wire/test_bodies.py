"""Bodies in both directions: framing, trailers, interim answers, and what a cut body looks like.

A body that arrives is byte for byte the one that was sent; a body that does not arrive whole never
looks complete to its reader. Volumes are in test_volumes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EXPECT = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


def pieces(data: bytes, size: int | None) -> list[bytes]:
    """`data` in pieces of that size; None: in one."""
    step = size or len(data) or 1
    return [data[at : at + step] for at in range(0, len(data), step)]


def with_length(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def with_chunks(body: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    chunks = (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces(body, size))
    return CHUNKED + b"".join(chunks) + end


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
@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
def test_request_body(
    stand: Stand, data: bytes, body: bytes, is_chunked: bool, size: int | None
) -> None:
    with stand.node() as node, stand.client() as client:
        for piece in pieces(data, size):
            client.send(piece)
        assert client.read_response().status == 200
        request = node.requests[0]
        assert (request.body, request.is_complete) == (body, True)
        assert request.head.chunked is is_chunked


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
def test_cut_request_body_never_looks_complete(stand: Stand, start: bytes, is_reset: bool) -> None:
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
    ("data", "body"),
    [
        (answer(BODY), BODY),
        (chunked_answer(BODY), BODY),
        (chunked_answer(*pieces(BODY, 1)), BODY),
        (chunked_answer(), b""),
        (UNTIL_CLOSE + BODY, BODY),
        (UNTIL_CLOSE, b""),
    ],
    ids=["length", "one chunk", "chunks of one", "no chunk", "until close", "until close, empty"],
)
@pytest.mark.parametrize("start", [GET, OLD], ids=["1.1", "1.0"])
@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
def test_answer_body(
    stand: Stand, data: bytes, body: bytes, start: bytes, size: int | None
) -> None:
    steps = [step for piece in pieces(data, size) for step in (piece, Pause(0))]
    with stand.node([*steps, Close()]), stand.client() as client:
        client.send(start)
        response = client.read_response()
        assert (response.status, response.body) == (200, body)
        # RFC 9112 §6.1: a 1.0 client does not know chunks; it gets a length or the close.
        assert not (start == OLD and response.head.chunked)
        assert response.head.body != 3 or client.read_to_end() == b""


def test_answer_trailers(stand: Stand) -> None:
    data = chunked_answer(b"abc", b"de", end=b"0\r\nX-Sum: 1\r\nDigest:  two \r\n\r\n")
    with stand.node([data]) as node, stand.client() as client:
        response = client.get()
        assert response.body == b"abcde"
        assert response.trailers == [(b"X-Sum", b"1"), (b"Digest", b"two")]
        assert client.get().status == 200
        assert len(node.connections) == 1


def test_rfc9110_6_5_1_framing_fields_of_an_answer_do_not_travel_as_trailers(stand: Stand) -> None:
    end = b"0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nX: y\r\n\r\n"
    with stand.node([chunked_answer(b"abc", end=end)]), stand.client() as client:
        assert client.get().trailers == [(b"X", b"y")]


def test_trailers_do_not_reach_a_10_client(stand: Stand) -> None:
    data = chunked_answer(b"abc", end=b"0\r\nX: y\r\n\r\n")
    with stand.node([data]), stand.client() as client:
        client.send(OLD)
        assert client.read_response().body == b"abc"


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        chunked_answer(b"half", end=b""),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        chunked_answer(b"half", end=b"0\r\n"),
        chunked_answer(b"half", end=b"0\r\nX: y\r\n"),
    ],
    ids=["length", "between chunks", "in a chunk", "before the end", "in the trailers"],
)
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
def test_cut_answer_is_visibly_cut(stand: Stand, half: bytes, end: Close | Reset) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(half, gate, end)
        client.send(GET)
        assert client.read_head()[0].status == 200
        gate.open()
        rest = client.read_to_end()
        assert b"half" in rest
        assert not rest.endswith(b"0\r\n\r\n")


def test_until_close_answer_that_is_reset_has_no_last_chunk(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(UNTIL_CLOSE + b"half", gate, Reset())
        client.send(GET)
        assert client.read_head()[0].chunked
        assert client.read_exactly(9) == b"4\r\nhalf\r\n"
        gate.open()
        assert client.read_to_end() == b""


@pytest.mark.parametrize(
    "half",
    [chunked_answer(b"half", end=b""), UNTIL_CLOSE + b"half"],
    ids=["chunked", "until close"],
)
def test_cut_answer_without_a_length_ends_in_rst_for_a_10_client(stand: Stand, half: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(half, gate, Reset())
        client.send(OLD)
        assert client.read_head()[0].status == 200
        assert client.read_exactly(4) == b"half"
        gate.open()
        with pytest.raises(ConnectionResetError):  # a FIN would mean: complete
            client.read_to_end()


def test_bad_chunk_after_good_ones_is_visibly_cut(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(chunked_answer(b"good", end=b""), gate, b"x\r\nbad\r\n0\r\n\r\n")
        client.send(GET)
        assert client.read_head()[0].status == 200
        gate.open()
        assert client.read_to_end() == b"4\r\ngood\r\n"
        assert node.wait_closed(0).closed_by_peer


# -- interim answers ------------------------------------------------------------------------------


def test_rfc9110_10_1_1_continue_comes_before_the_body(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(AtHead(), CONTINUE, gate, answer(b"thanks"))
        client.send(EXPECT)
        assert client.read_head()[0].status == 100
        assert node.requests[0].values(b"expect") == [b"100-continue"]
        client.send(b"hello")
        gate.open()
        assert client.read_response().body == b"thanks"
        node.wait_requests(1)
        assert client.get().status == 200
        assert node.requests[0].body == b"hello"


def test_expectation_that_is_not_met(stand: Stand) -> None:
    refusal = answer(b"no", status=b"417 Expectation Failed")
    with stand.node([AtHead(), refusal, Stall()]) as node, stand.client() as client:
        client.send(EXPECT)
        response = client.read_response()
        assert (response.status, response.body) == (417, b"no")
        # The body may still come or not: nothing after it could be told apart.
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert node.wait_closed(0).closed_by_peer


def test_client_that_does_not_wait_for_continue(stand: Stand) -> None:
    with stand.node([CONTINUE, answer(b"thanks")]) as node, stand.client() as client:
        client.send(EXPECT + b"hello")
        assert client.read_response().body == b"thanks"
        assert node.requests[0].body == b"hello"
        assert client.get().status == 200


def test_rfc8297_early_hints_are_passed_on(stand: Stand) -> None:
    with stand.node([HINTS * 3, answer(b"page")]) as node, stand.client() as client:
        client.send(GET)
        for _ in range(3):
            head, raw = client.read_head()
            assert head.status == 103
            assert b"Link: </a.css>; rel=preload\r\n" in raw
        assert client.read_response().body == b"page"
        assert client.get().status == 200
        assert len(node.connections) == 1


def test_rfc9110_15_2_no_interim_answer_for_a_10_client(stand: Stand) -> None:
    with stand.node([HINTS, CONTINUE, answer(b"page")]), stand.client() as client:
        client.send(OLD)
        assert client.read_head()[0].status == 200


def test_endless_interim_answers_end_in_502(stand: Stand) -> None:
    with stand.node([HINTS * 1000, answer(b"page")]) as node, stand.client() as client:
        client.send(GET)
        assert client.read_response().status == 502
        assert node.wait_closed(0).closed_by_peer


# -- answers that come early ------------------------------------------------------------------


def test_early_413_during_an_upload(stand: Stand) -> None:
    early = answer(b"too much", status=b"413 Content Too Large")
    start = POST + b"Content-Length: 1000000000\r\n\r\n"
    with stand.node([AtHead(), early, Stall()]) as node, stand.client() as client:
        client.send(start + b"x" * 1000)
        response = client.read_response()
        assert (response.status, response.body) == (413, b"too much")
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert node.wait_closed(0).closed_by_peer


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"404 Not Found"])
def test_rest_of_a_body_after_an_early_answer_is_never_a_request(
    stand: Stand, status: bytes
) -> None:
    """The upload may go on or the connection may end; RFC 9112 §9.3 leaves no third way."""
    early = answer(b"early", status=status)
    with stand.node([AtHead(), early]) as node, stand.client() as client:
        client.send(POST + b"Content-Length: %d\r\n\r\nhello" % (5 + 2 * len(EVIL)))
        response = client.read_response()
        assert response.body == b"early"
        client.send(EVIL * 2)
        client.half_close()
        assert client.read_to_end() == b""
        assert [request.head.target for request in node.requests] == [b"/"]


def test_node_that_closes_after_an_early_answer(stand: Stand) -> None:
    early = answer(b"too much", b"Connection: close", status=b"413 Content Too Large")
    with stand.node([AtHead(), early, Close()]), stand.client() as client:
        client.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        response = client.read_response()
        assert (response.status, response.body) == (413, b"too much")
