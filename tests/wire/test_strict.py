"""Malformed requests on a real socket: the status, a closed connection, a node that saw nothing.

The parser's own tables are asked too: what it refuses must be refused by the whole program, on a
connection that then ends (RFC 9112 §9.6), since what follows cannot be told apart any more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ext.http1_cases import REQUEST_CASES, Case, Refuse
from tests.ext.http1_chunked_cases import CHUNKED_CASES
from tests.ext.http1_response_cases import RESPONSE_CASES
from tests.harness import Client
from tests.origin import Close, Origin, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  limits: {body: 1000}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
LINE_BYTES_MAX = 8192
HEAD_BYTES_MAX = 16384
FIELDS_MAX = 100
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"

MALFORMED = {
    "no version": b"GET /\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare CR": GET + b"X: a\rb\r\n\r\n",
    "NUL": GET + b"X: a\x00b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: b\r\n\r\n",
    "bad Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "user in the target": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before the colon": GET + b"Content-Length : 5\r\n\r\nhello",
    "obs-fold": GET + b"X: a\r\n b\r\n\r\n",
    "CL.TE": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "CL twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "CL list": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "CL with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "CL overflow": POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "fragment": b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in the target": b"GET /\x0bx HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def saw_only_good(node: Origin, stand: Stand) -> bool:
    """Whether a good request after all others is the only thing that the node has ever got."""
    with stand.client() as client:
        assert client.get("/good").status == 200
    received = b"".join(bytes(connection.received) for connection in node.connections)
    return received.startswith(b"GET /good ") and received.count(b"\r\n\r\n") == 1


def refusal_of(client: Client, data: bytes) -> int:
    """Status of the one answer to `data`; asserts that the connection ends after it."""
    client.send(data)
    response = client.read_response()
    assert [value.lower() for value in response.values(b"connection")] == [b"close"]
    assert client.read_to_end() == b""
    return response.status


# -- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request(stand: Stand, data: bytes) -> None:
    with stand.node() as node:
        with stand.client() as client:
            assert refusal_of(client, data + GOOD) == 400
        assert saw_only_good(node, stand)


def test_malformed_request_behind_a_good_one(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(GOOD)
        assert client.read_response().status == 200
        assert refusal_of(client, MALFORMED["CL.TE"] + GOOD) == 400
        assert len(node.requests) == 1


def test_malformed_request_pipelined_behind_a_good_one(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(GOOD + MALFORMED["bare LF"] + GOOD)
        assert client.read_response().status == 200
        assert client.read_response().status == 400
        assert client.read_to_end() == b""
        assert len(node.requests) == 1


def test_everything_the_parser_refuses(stand: Stand) -> None:
    """Each row of tests/ext/http1_cases.py that ends in a refusal with the usual limits."""
    rows = [case for case in REQUEST_CASES if isinstance(case.expect, Refuse) and not case.limits]
    assert len(rows) > 200
    wrong = []
    with stand.node() as node:
        for case in rows:
            with stand.client() as client:
                status = refusal_of(client, case.data)
                if status != refusal_status(case):
                    wrong.append((case.name, status))
        assert not wrong
        assert saw_only_good(node, stand)


def refusal_status(case: Case) -> int:
    assert isinstance(case.expect, Refuse)
    return case.expect.status


@pytest.mark.parametrize("minor", [b"1.1", b"1.0"])
def test_connect_is_405(stand: Stand, minor: bytes) -> None:
    with stand.node() as node:
        with stand.client() as client:
            data = b"CONNECT a:443 HTTP/" + minor + b"\r\nHost: a:443\r\n\r\n"
            assert refusal_of(client, data + b"\x16\x03\x01") == 405
        assert saw_only_good(node, stand)


# -- limits -------------------------------------------------------------------------------------


def line_of(size: int) -> bytes:
    """A GET whose request line has that many bytes."""
    return b"GET /" + b"x" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(size: int) -> bytes:
    """A GET whose field lines have that many bytes with their CRLFs."""
    return GET + b"X: " + b"x" * (size - len(b"Host: a\r\nX: \r\n")) + b"\r\n\r\n"


def fields_of(count: int) -> bytes:
    """A GET with that many field lines."""
    return GET + b"X: y\r\n" * (count - 1) + b"\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (line_of(LINE_BYTES_MAX + 1), 414),
        (b"GET /" + b"x" * 100_000, 414),
        (head_of(HEAD_BYTES_MAX + 1), 431),
        (GET + b"X: " + b"x" * 100_000, 431),
        (fields_of(FIELDS_MAX + 1), 431),
        (b"X" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (POST + b"Content-Length: 1001\r\n\r\n", 413),
        (POST + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413),
        (POST + b"Content-Length: 9223372036854775807\r\n\r\n" + b"x" * 5000, 413),
    ],
    ids=[
        "line", "endless line", "fields", "endless field", "count", "method", "length", "expect",
        "huge length",
    ],
)  # fmt: skip
def test_over_a_limit(stand: Stand, data: bytes, status: int) -> None:
    with stand.node() as node:
        with stand.client() as client:
            assert refusal_of(client, data) == status
        assert saw_only_good(node, stand)


@pytest.mark.parametrize(
    "data",
    [
        line_of(LINE_BYTES_MAX),
        head_of(HEAD_BYTES_MAX),
        fields_of(FIELDS_MAX),
        POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000,
        CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n",
    ],
    ids=["line", "fields", "count", "length", "chunks"],
)
def test_just_within_a_limit(stand: Stand, data: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(data)
        assert client.read_response().status == 200
        assert client.get().status == 200
        assert len(node.requests) == 2


def test_chunked_body_over_the_limit(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        node.wait_requests(1)
        assert refusal_of(client, b"1\r\nx\r\n0\r\n\r\n") == 413
        assert node.wait_closed(0).closed_by_peer
        assert not node.requests[0].is_complete


# -- bodies -------------------------------------------------------------------------------------


def test_every_bad_chunked_body(stand: Stand) -> None:
    """Each refused row of tests/ext/http1_chunked_cases.py: the node never sees a whole request."""
    rows = [case for case in CHUNKED_CASES if isinstance(case.expect, Refuse) and not case.limits]
    assert len(rows) > 50
    wrong = []
    with stand.node() as node:
        for case in rows:
            with stand.client() as client:
                client.send(CHUNKED + case.data)
                client.half_close()
                data = client.read_to_end()
                if data.count(b"HTTP/1.1") != 1 or b" 400 " not in data.partition(b"\r\n")[0]:
                    wrong.append((case.name, data))
        assert not any(request.is_complete for request in node.requests)
    assert not wrong


@pytest.mark.parametrize(
    "bad",
    [b"x\r\n", b"5\r\nhello0\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"1;" + b"x" * 300 + b"\r\na\r\n"],
    ids=["size", "end of data", "trailer", "extension"],
)
def test_bad_chunk_after_good_ones(stand: Stand, bad: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(CHUNKED + b"4\r\ngood\r\n")
        node.wait_requests(1)
        assert refusal_of(client, bad + GOOD) == 400
        assert node.wait_closed(0).closed_by_peer
        assert not node.requests[0].is_complete
        assert len(node.requests) == 1


# -- answers ------------------------------------------------------------------------------------


def test_every_answer_the_parser_refuses(stand: Stand) -> None:
    """Each refused row of tests/ext/http1_response_cases.py is a 502, and its connection ends."""
    rows = [case for case in RESPONSE_CASES if isinstance(case.expect, Refuse)]
    rows = [case for case in rows if not case.limits.keys() - {"request_method"}]
    assert len(rows) > 80
    wrong = []
    with stand.node() as node, stand.client() as client:
        for number, case in enumerate(rows):
            method = case.limits.get("request_method", b"GET")
            node.then(case.data, Close())
            client.send(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            response = client.read_response(method)
            if response.status != 502:
                wrong.append((case.name, response.status))
            assert len(node.requests) == number + 1, f"{case.name} was retried"
    assert not wrong


def test_502_keeps_the_client_connection(stand: Stand) -> None:
    with stand.node([b"garbage\r\n\r\n"]) as node, stand.client() as client:
        response = client.get()
        assert response.status == 502
        assert response.values(b"connection") == []
        assert client.get().status == 200
        assert len(node.connections) == 2


def test_100_answers_after_garbage_are_not_confused(stand: Stand) -> None:
    """A bad answer takes its connection with it: nothing of it can meet the next request."""
    script = []
    for number in range(50):
        script += [[b"HTTP/9.9 200 x\r\n\r\n" + answer(b"evil")], [answer(b"%d" % number)]]
    with stand.node(*script), stand.client() as client:
        for number in range(50):
            assert client.get().status == 502
            assert client.get().body == b"%d" % number
