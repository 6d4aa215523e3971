"""One faulty node of two: what the client gets, and how often each node was asked.

Rows are numbered as in the table of server faults that HAProxy was measured with. The rule behind
what is asserted: a request that a server may have seen is repeated only if its method is idempotent
(RFC 9110 §9.2.2) and no byte of an answer has gone to the client; a request that no server has seen
is repeated whatever its method.

`first` is picked first in every test, because its weight is 256 against 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.harness import Client, CutShortError, Response
from tests.loop_thread import bind_loopback, listen_beside
from tests.origin import AtHead, Close, Origin, Pause, Reset, Stall, Steps, answer, chunked_answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONNECT_S = 0.4
CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  balance: roundrobin
  retries: 3
  redispatch: true
  health_check: {enabled: false}
  timeouts: {connect: 400ms, server: 500ms, client: 2s}
nodes:
  - {name: first, web: 127.0.0.1:$node1, weight: 256}
  - {name: second, web: 127.0.0.1:$node2, weight: 1}
"""
SAFE = (b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS")
UNSAFE = (b"POST", b"PATCH")
ALL = SAFE + UNSAFE
GOOD = answer(b"second", b"X-Node: 2")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LENGTH_1000 = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
LARGE = 30_000  # does not fit beside the head into what is held for a retry


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@contextmanager
def farm(
    stand: Stand, *faulty: Steps, on_connect: Steps = ()
) -> Iterator[tuple[Origin, Origin, Client]]:
    """The faulty node (its last entry answers all further requests), a good one, a client."""
    with ExitStack() as stack:
        first = stand.node(*faulty, default=faulty[-1] if faulty else (), on_connect=on_connect)
        stack.enter_context(first)
        second = stack.enter_context(stand.node(default=[GOOD], name="node2"))
        yield first, second, stack.enter_context(stand.client())


def ask(client: Client, method: bytes = b"GET", body: bytes = b"") -> Response:
    """A request and its answer."""
    framing = b"Content-Length: %d\r\n" % len(body) if body else b""
    client.send(method + b" /x HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n" + body)
    return client.read_response(method)


def body_for(method: bytes) -> bytes:
    return b"0123456789" if method in (b"PUT", *UNSAFE) else b""


def is_from_second(response: Response) -> bool:
    return response.status == 200 and response.values(b"x-node") == [b"2"]


# -- connecting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALL)
def test_row_1_refused(stand: Stand, method: bytes) -> None:
    with stand.node(default=[GOOD], name="node2") as second, stand.client() as client:
        before = time.monotonic()
        assert is_from_second(ask(client, method, body_for(method)))
        assert time.monotonic() - before < CONNECT_S, "another server needs no turn-around"
        assert len(second.requests) == 1
        assert second.requests[0].body == body_for(method)


@contextmanager
def blackhole(stand: Stand) -> Iterator[None]:
    """The first node drops SYNs: it listens, and its queue of connections is full."""
    with bind_loopback(stand.ports["node1"]) as bound, listen_beside(bound) as listener:
        listener.listen(0)
        with Client(stand.ports["node1"]):
            yield


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_2_blackhole(stand: Stand, method: bytes) -> None:
    with (
        blackhole(stand),
        stand.node(default=[GOOD], name="node2") as second,
        stand.client() as client,
    ):
        before = time.monotonic()
        assert is_from_second(ask(client, method, body_for(method)))
        assert CONNECT_S * 0.9 < time.monotonic() - before < 3 * CONNECT_S
        assert len(second.requests) == 1


def test_all_nodes_refuse(stand: Stand) -> None:
    with stand.client() as client:
        response = ask(client)
        assert response.status == 503
        assert response.values(b"connection") == []
        with stand.node(default=[GOOD], name="node2"):
            assert ask(client).status == 200


def test_head_of_an_error_page(stand: Stand) -> None:
    """RFC 9110 §9.3.2: an error page answers HEAD without its body, too."""
    with stand.client() as client:
        response = ask(client, b"HEAD")
        assert (response.status, response.body) == (503, b"")
        assert int(response.values(b"content-length")[0]) > 0
        assert ask(client, b"GET").status == 503


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive\r\n"], ids=["", "keep-alive"])
def test_error_page_for_a_10_client(stand: Stand, fields: bytes) -> None:
    with stand.client() as client:
        client.send(b"GET / HTTP/1.0\r\n" + fields + b"\r\n")
        assert client.read_response().status == 503
        if fields:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.read_response().status == 503
        assert client.read_to_end() == b""


# -- no answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["row 3 FIN", "row 4 RST"])
@pytest.mark.parametrize("method", ALL)
def test_rows_3_4_accepts_and_ends(stand: Stand, end: Close | Reset, method: bytes) -> None:
    with farm(stand, on_connect=[end]) as (_, second, client):
        response = ask(client, method, body_for(method))
        if method in SAFE:
            assert is_from_second(response)
            assert len(second.requests) == 1
        else:
            # Whether the connect had failed or the request had gone out is a race on loopback.
            assert response.status == 502 or is_from_second(response)
            assert len(second.requests) == (response.status == 200)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["row 5 FIN", "row 6 RST"])
@pytest.mark.parametrize("method", ALL)
def test_rows_5_6_reads_the_request_and_ends(
    stand: Stand, end: Close | Reset, method: bytes
) -> None:
    with farm(stand, [end]) as (first, second, client):
        response = ask(client, method, body_for(method))
        assert [request.body for request in first.requests] == [body_for(method)]
        if method in SAFE:
            assert is_from_second(response)
            assert [request.body for request in second.requests] == [body_for(method)]
        else:
            assert response.status == 502
            assert response.values(b"connection") == [], "the client's connection is kept"
            assert second.requests == []


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_7_reads_and_never_answers(stand: Stand, method: bytes) -> None:
    with farm(stand, [Stall()]) as (first, second, client):
        assert ask(client, method, body_for(method)).status == 504
        assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("half", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", LENGTH_1000[:-2]])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_8_partial_head(stand: Stand, half: bytes, end: Close | Reset, method: bytes) -> None:
    with farm(stand, [half, Pause(0.02), end]) as (first, second, client):
        response = ask(client, method, body_for(method))
        if method == b"GET":
            assert response.status == 502 or is_from_second(response)
        else:
            assert response.status == 502
            assert second.requests == []
        assert len(first.requests) == 1


@pytest.mark.parametrize(
    "junk",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 80_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["garbage", "bad name", "80 KB head", "two lengths", "another protocol"],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_9_junk(stand: Stand, junk: bytes, method: bytes) -> None:
    with farm(stand, [junk, Close()]) as (first, second, client):
        assert ask(client, method, body_for(method)).status == 502
        assert (len(first.requests), len(second.requests)) == (1, 0)


# -- half an answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        [b"x" * 100, Pause(0.02), Close()],
        [b"x" * 100, Pause(0.02), Reset()],
        [b"x" * 100, Stall()],
    ],
    ids=["row 10 FIN", "row 11 RST", "row 12 stalls"],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_rows_10_to_12_short_body(stand: Stand, rest: Steps, method: bytes) -> None:
    with farm(stand, [LENGTH_1000, *rest]) as (first, second, client):
        with pytest.raises((CutShortError, ConnectionResetError)) as cut:
            ask(client, method, body_for(method))
        if isinstance(cut.value, CutShortError):
            assert cut.value.received.endswith(b"\r\n\r\n" + b"x" * 100)
        assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_13_head_only(stand: Stand, end: Close | Reset, method: bytes) -> None:
    """Cut, or answered by the other node while nothing was sent; never 200 with an empty body."""
    with farm(stand, [LENGTH_1000, end]) as (_, second, client):
        try:
            response = ask(client, method, body_for(method))
        except (CutShortError, ConnectionResetError):
            return
        assert response.status == 502 or (method == b"GET" and is_from_second(response))
        assert len(second.requests) == (response.status == 200)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
def test_row_14_no_last_chunk(stand: Stand, end: Close | Reset) -> None:
    with (
        farm(stand, [chunked_answer(b"hello", end=b""), Pause(0.02), end]) as (first, _, client),
        pytest.raises((CutShortError, ConnectionResetError)),
    ):
        ask(client)
    assert len(first.requests) == 1


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_15_bad_chunk_size_in_the_first_read(stand: Stand, method: bytes) -> None:
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"
    with farm(stand, [bad]) as (first, second, client):
        assert ask(client, method, body_for(method)).status == 502
        assert (len(first.requests), len(second.requests)) == (1, 0)


def test_row_16_until_close(stand: Stand) -> None:
    with farm(stand, [b"HTTP/1.1 200 OK\r\n\r\nhello", Close()]) as (first, _, client):
        response = ask(client)
        assert (response.body, response.head.chunked) == (b"hello", True)
        assert len(first.requests) == 1


def test_row_17_until_close_that_is_reset(stand: Stand) -> None:
    """HAProxy's client cannot tell; ours gets chunks without a last one."""
    steps: Steps = [b"HTTP/1.1 200 OK\r\n\r\nhello", Pause(0.02), Reset()]
    with (
        farm(stand, steps) as (_, _, client),
        pytest.raises((CutShortError, ConnectionResetError)),
    ):
        ask(client)


# -- answers that are passed on -----------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 404, 408, 425, 429, 301, 999])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_rows_18_19_statuses_are_passed_on(stand: Stand, status: int, method: bytes) -> None:
    with farm(stand, [answer(b"mine", status=b"%d Own Words" % status)]) as (first, second, client):
        response = ask(client, method, body_for(method))
        assert (response.status, response.head.reason) == (status, b"Own Words")
        assert response.body == b"mine"
        assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_row_20_continue_then_fin(stand: Stand, method: bytes) -> None:
    with farm(stand, [CONTINUE, Pause(0.02), Close()]) as (first, second, client):
        response = ask(client, method, body_for(method))
        if method == b"GET":
            assert is_from_second(response)
        else:
            assert response.status == 502
            assert second.requests == []
        assert len(first.requests) == 1


def test_row_21_slow_within_the_deadline(stand: Stand) -> None:
    """Deadlines are of silence; the whole takes longer than `server`."""
    drips = [step for _ in range(3) for step in (Pause(0.25), b"x")]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    with farm(stand, [Pause(0.25), head, *drips]) as (first, _, client):
        assert ask(client).body == b"xxx"
        assert len(first.requests) == 1


def test_row_22_early_413(stand: Stand) -> None:
    early = answer(b"too much", status=b"413 Content Too Large")
    with farm(stand, [AtHead(), early, Close()]) as (first, second, client):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 9999)
        response = client.read_response()
        assert (response.status, response.body) == (413, b"too much")
        assert response.values(b"connection") == [b"close"]
        assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_row_23_large_body_is_not_sent_twice(stand: Stand, method: bytes) -> None:
    with farm(stand, [Close()]) as (first, second, client):
        assert ask(client, method, b"x" * LARGE).status == 502
        assert (len(first.requests), len(second.requests)) == (1, 0)


def test_small_put_is_sent_twice_and_whole(stand: Stand) -> None:
    with farm(stand, [Close()]) as (first, second, client):
        assert is_from_second(ask(client, b"PUT", b"x" * 5000))
        assert [request.body for request in first.requests] == [b"x" * 5000]
        assert [request.body for request in second.requests] == [b"x" * 5000]


def test_put_whose_node_dies_before_its_body_has_come(stand: Stand) -> None:
    """The second node gets what came before and what comes after."""
    with farm(stand, [AtHead(), Close()]) as (first, second, client):
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        second.wait_requests(1)
        client.send(b"world")
        assert is_from_second(client.read_response())
        assert second.requests[0].body == b"helloworld"
        assert len(first.requests) == 1


def test_chunked_put_is_repeated_with_its_framing(stand: Stand) -> None:
    with farm(stand, [Close()]) as (_, second, client):
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n")
        assert is_from_second(client.read_response())
        assert (second.requests[0].body, second.requests[0].trailers) == (b"hello", [(b"X", b"y")])


# -- kept connections ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("is_new_client", [False, True], ids=["row 24", "row 25 new client"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_rows_24_25_kept_connection_ends_on_its_second_request(
    stand: Stand, end: Close | Reset, method: bytes, is_new_client: bool
) -> None:
    with farm(stand, [answer(b"one")], [end], [answer(b"again")]) as (first, second, client):
        assert ask(client).body == b"one"
        with stand.client() as other:
            response = ask(other if is_new_client else client, method, body_for(method))
        if method == b"GET":
            assert response.status == 200
            assert len(first.requests) + len(second.requests) == 3
        else:
            assert response.status == 502
            assert len(first.requests) + len(second.requests) == 2


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_one_node_alone_kept_connection_closed_just_before(stand: Stand, method: bytes) -> None:
    """The node closes an idle connection; the next request must not be lost in it."""
    with farm(stand, [answer(b"one")]) as (first, _, client):
        assert ask(client).body == b"one"
        for _ in range(20):
            first.close_connections()
            assert ask(client, method, body_for(method)).status == 200
        assert len(first.requests) == 21


def test_every_kept_connection_is_dead(stand: Stand) -> None:
    """The node restarts: none of its kept connections may cost a request."""
    with farm(stand, [answer(b"one")]) as (first, _, client), ExitStack() as stack:
        others = [stack.enter_context(stand.client()) for _ in range(8)]
        gate = first.gate()
        for _ in others:
            first.then(gate, answer(b"slow"))
        assert ask(client).body == b"one"
        for other in others:
            other.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        first.wait_requests(9)
        gate.open()
        assert all(other.read_response().status == 200 for other in others)
        first.stop()
        first.start()
        for other in (client, *others):
            assert ask(other, b"POST", b"hi").status == 200


# -- never twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "fault",
    [
        [Close()],
        [Reset()],
        [Stall()],
        [b"HTTP/1.1 200 OK\r\n", Close()],
        [b"junk\r\n\r\n", Close()],
        [CONTINUE, Reset()],
        [AtHead(), Close()],
        [AtHead(), Reset()],
    ],
    ids=["FIN", "RST", "silence", "half a head", "junk", "100 and RST", "early FIN", "early RST"],
)
def test_state_changing_request_is_never_sent_twice(
    stand: Stand, method: bytes, fault: Steps
) -> None:
    with farm(stand, fault) as (first, second, client):
        assert ask(client, method, b"0123456789").status in (502, 504)
        assert len(first.requests) == 1
        assert second.connections == []


def test_retries_are_bounded(stand: Stand) -> None:
    """Both nodes die under each request: one attempt and three more, then 502."""
    with (
        stand.node(default=[Close()]) as first,
        stand.node(default=[Close()], name="node2") as second,
        stand.client() as client,
    ):
        assert ask(client).status == 502
        assert len(first.requests) + len(second.requests) == 4
        assert ask(client, b"POST", b"hi").status == 502
        assert len(first.requests) + len(second.requests) == 5


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ([AtHead(), Close()], (502,)),
        ([AtHead(), Reset()], (502,)),
        ([AtHead(), b"junk\r\n\r\n"], (502,)),
        ([AtHead(), answer(b"no", status=b"403 No")], (403,)),
        (None, (503,)),
    ],
    ids=["FIN", "RST", "junk", "403", "refused"],
)
def test_rest_of_a_body_after_an_error_is_never_a_request(
    stand: Stand, fault: Steps | None, statuses: tuple[int, ...]
) -> None:
    evil = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
    with ExitStack() as stack:
        nodes = []
        if fault is not None:
            nodes = [
                stack.enter_context(stand.node(default=fault, name=name))
                for name in ("node1", "node2")
            ]
        client = stack.enter_context(stand.client())
        start = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nx"
        client.send(start % (1 + 2 * len(evil)))
        response = client.read_response()
        assert response.status in statuses
        assert response.values(b"connection") + response.values(b"Connection") != []
        client.send(evil * 2)
        assert client.read_to_end() == b""
        assert all(request.head.method == b"POST" for n in nodes for request in n.requests)
