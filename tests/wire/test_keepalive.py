"""Connections that serve many requests: pipelining, keep-alive on both sides, reuse of a node's.

What must never happen: an answer that belongs to another request (RFC 9112 §9.3, §11.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.origin import Close, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n%s\r\n"
STALE = answer(b"of nobody")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


# -- the client's connection --------------------------------------------------------------------


def test_rfc9112_9_3_2_three_requests_in_one_segment(stand: Stand) -> None:
    with stand.node([answer(b"1")], [answer(b"2")], [answer(b"3")]) as node:
        with stand.client() as client:
            client.send(GET % b"1" + GET % b"2" + GET % b"3")
            assert [client.read_response().body for _ in range(3)] == [b"1", b"2", b"3"]
        assert [request.head.target for request in node.requests] == [b"/1", b"/2", b"/3"]


def test_pipelined_bodies_are_told_apart(stand: Stand) -> None:
    chunked = (
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nGET\r\n0\r\nX: y\r\n\r\n"
    )
    with stand.node() as node, stand.client() as client:
        client.send(POST % (b"1", 5, b"GET /") + chunked + POST % (b"3", 0, b"") + GET % b"4")
        assert [client.read_response().status for _ in range(4)] == [200] * 4
        bodies = [(request.head.target, request.body) for request in node.requests]
        assert bodies == [(b"/1", b"GET /"), (b"/2", b"GET"), (b"/3", b""), (b"/4", b"")]


def test_pipelined_request_waits_for_the_answer_before_it(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(gate, answer(b"slow"))
        node.then(answer(b"fast"))
        client.send(GET % b"slow" + GET % b"fast")
        node.wait_requests(1)
        gate.open()
        assert client.read_response().body == b"slow"
        assert client.read_response().body == b"fast"
        assert [request.head.target for request in node.requests] == [b"/slow", b"/fast"]


def test_hundred_pipelined_requests(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"".join(GET % b"%d" % number for number in range(100)))
        assert [client.read_response().status for _ in range(100)] == [200] * 100
        targets = [request.head.target for request in node.requests]
        assert targets == [b"/%d" % number for number in range(100)]


def test_requests_split_over_two_segments(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        data = GET % b"1" + POST % (b"2", 4, b"body") + GET % b"3"
        for at in range(0, len(data), 7):
            client.send(data[at : at + 7])
        assert [client.read_response().status for _ in range(3)] == [200] * 3
        assert node.requests[1].body == b"body"


def test_rfc9112_2_2_empty_line_before_a_request(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(POST % (b"1", 2, b"hi") + b"\r\n" + GET % b"2")
        assert [client.read_response().status for _ in range(2)] == [200, 200]
        assert len(node.requests) == 2


def test_rfc9112_9_6_connection_close_is_the_last(stand: Stand) -> None:
    last = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with stand.node() as node, stand.client() as client:
        client.send(last + GET % b"2")
        response = client.read_response()
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert [request.head.target for request in node.requests] == [b"/1"]


def test_rfc9112_9_3_http10_closes(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        client.send(OLD % b"")
        response = client.read_response()
        assert (response.status, response.body) == (200, b"ok")
        assert client.read_to_end() == b""


def test_rfc9112_9_3_http10_keep_alive(stand: Stand) -> None:
    with stand.node(), stand.client() as client:
        for _ in range(3):
            client.send(OLD % b"Connection: keep-alive\r\n")
            response = client.read_response()
            assert [value.lower() for value in response.values(b"connection")] == [b"keep-alive"]
        client.send(OLD % b"")
        assert client.read_response().status == 200
        assert client.read_to_end() == b""


def test_http10_keep_alive_with_a_body_of_unknown_length_closes(stand: Stand) -> None:
    with stand.node([chunked_answer(b"ab", b"c")]), stand.client() as client:
        client.send(OLD % b"Connection: keep-alive\r\n")
        response = client.read_response()
        assert response.body == b"abc"
        assert response.values(b"transfer-encoding") == []
        assert response.values(b"connection") == [b"close"]


def test_node_closing_does_not_close_the_client(stand: Stand) -> None:
    with (
        stand.node([answer(b"1", b"Connection: close"), Close()]) as node,
        stand.client() as client,
    ):
        first = client.get()
        assert (first.body, first.values(b"connection")) == (b"1", [])
        assert client.get().body == b"ok"
        assert len(node.connections) == 2


# -- messages without a body --------------------------------------------------------------------


def test_rfc9110_9_3_2_head_keeps_the_length(stand: Stand) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
    with stand.node([head], [head]) as node, stand.client() as client:
        client.send(HEAD + HEAD + GET % b"")
        for _ in range(2):
            response = client.read_response(b"HEAD")
            assert (response.body, response.values(b"content-length")) == (b"", [b"12345"])
        assert client.read_response().body == b"ok"
        assert len(node.connections) == 1


def test_head_of_a_chunked_answer(stand: Stand) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with stand.node([head]) as node, stand.client() as client:
        client.send(HEAD + GET % b"")
        assert client.read_response(b"HEAD").body == b""
        assert client.read_response().body == b"ok"
        assert len(node.connections) == 1


def test_rfc9110_15_4_5_304_has_no_body(stand: Stand) -> None:
    not_modified = b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n'
    with stand.node([not_modified]) as node, stand.client() as client:
        response = client.get()
        assert (response.status, response.body) == (304, b"")
        assert response.values(b"etag") == [b'"x"']
        assert client.get().body == b"ok"
        assert len(node.connections) == 1


def test_rfc9110_15_3_5_204_has_no_body(stand: Stand) -> None:
    with stand.node([b"HTTP/1.1 204 No Content\r\n\r\n"]) as node, stand.client() as client:
        response = client.get()
        assert (response.status, response.body) == (204, b"")
        # RFC 9110 §8.6, RFC 9112 §6.1: neither may be sent with 204.
        assert response.values(b"content-length") + response.values(b"transfer-encoding") == []
        assert client.get().body == b"ok"
        assert len(node.connections) == 1


def test_empty_body_by_length(stand: Stand) -> None:
    with stand.node([answer(b"")]) as node, stand.client() as client:
        response = client.get()
        assert (response.body, response.values(b"content-length")) == (b"", [b"0"])
        assert client.get().body == b"ok"
        assert len(node.connections) == 1


# -- targets ------------------------------------------------------------------------------------


def test_rfc9112_3_2_4_options_asterisk(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 200
        assert node.requests[0].raw_head.startswith(b"OPTIONS * HTTP/1.1\r\n")


def test_rfc9112_3_2_2_absolute_form(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"GET http://b.example:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
        assert client.read_response().status == 200
        request = node.requests[0]
        assert request.head.target == b"/x?y"
        assert request.values(b"host") == [b"b.example:81"]


def test_absolute_form_without_a_path(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"GET http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n")
        client.send(b"OPTIONS http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n")
        assert [client.read_response().status for _ in range(2)] == [200, 200]
        assert [request.head.target for request in node.requests] == [b"/", b"*"]


# -- the node's connections ---------------------------------------------------------------------


def test_one_node_connection_serves_many_requests_and_clients(stand: Stand) -> None:
    with stand.node() as node:
        for _ in range(5):
            with stand.client() as client:
                for _ in range(5):
                    assert client.get().status == 200
        assert len(node.requests) == 25
        assert len(node.connections) == 1


def test_two_requests_at_once_take_two_connections(stand: Stand) -> None:
    with stand.node() as node, stand.client() as one, stand.client() as two:
        gate = node.gate()
        node.then(gate, answer(b"1"))
        one.send(GET % b"1")
        node.wait_requests(1)
        assert two.get("/2").body == b"ok"
        gate.open()
        assert one.read_response().body == b"1"
        assert len(node.connections) == 2
        assert one.get().status == 200
        assert len(node.connections) == 2


@pytest.mark.parametrize(
    ("surplus", "first"),
    [
        (answer(b"1") + STALE, b"1"),
        (answer(b"") + STALE, b""),
        (b"HTTP/1.1 204 x\r\n\r\n" + STALE, b""),
        (b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\nhello", b""),
        (chunked_answer(b"1") + STALE, b"1"),
        (chunked_answer(b"1") + b"\r\n", b"1"),
        (answer(b"1") + b"\0", b"1"),
    ],
    ids=["length", "empty", "204", "304", "chunked", "empty line", "one byte"],
)
def test_surplus_is_never_the_next_answer(stand: Stand, surplus: bytes, first: bytes) -> None:
    with stand.node([surplus]) as node, stand.client() as client:
        assert client.get().body == first
        assert client.get().body == b"ok"
        assert node.wait_closed(0).closed_by_peer
        assert [request.connection for request in node.requests] == [0, 1]


def test_body_of_a_head_answer_is_never_the_next_answer(stand: Stand) -> None:
    with stand.node([answer(b"HTTP/1.1 200 stale\r\n\r\n")]) as node, stand.client() as client:
        client.send(HEAD)
        assert client.read_response(b"HEAD").status == 200
        assert client.get().body == b"ok"
        assert node.wait_closed(0).closed_by_peer


def test_bytes_on_an_idle_connection_end_it(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(answer(b"1"), gate, STALE)
        assert client.get().body == b"1"
        gate.open()
        assert node.wait_closed(0).closed_by_peer
        assert client.get().body == b"ok"
        assert [request.connection for request in node.requests] == [0, 1]


@pytest.mark.parametrize("request_", [GET % b"", POST % (b"", 2, b"hi")], ids=["GET", "POST"])
def test_kept_connection_that_the_node_closed_is_not_used(stand: Stand, request_: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        assert client.get().status == 200
        node.close_connections()
        client.send(request_)
        assert client.read_response().status == 200
        assert [request.connection for request in node.requests] == [0, 1]


@pytest.mark.parametrize(
    ("first", "connections"),
    [
        (answer(b"1", b"Connection: close"), 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1", 1),
    ],
    ids=["close", "HTTP/1.0", "HTTP/1.0 keep-alive"],
)
def test_node_connection_is_kept_if_the_node_says_so(
    stand: Stand, first: bytes, connections: int
) -> None:
    with stand.node([first]) as node, stand.client() as client:
        assert client.get().body == b"1"
        assert client.get().body == b"ok"
        assert len(node.connections) == connections
