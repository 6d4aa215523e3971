"""Every exchange cut at every place, by either side, with FIN and with RST.

What the cut one gets is the subject of other modules. Here: the worker goes on, its counters return
to zero (a request that is not counted out holds a slot for ever), and the next client is served.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.origin import Close, Origin, Pause, Reset, Stall, answer, chunked_answer
from tests.wire.stand import Stand, is_at_rest, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {connect: 1s, client: 1s, server: 1s, http_request: 1s, tunnel: 1s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1, maxconn: 100}
"""
FIELDS = b" / HTTP/1.1\r\nHost: a\r\n"
REQUESTS = {
    "get": b"GET" + FIELDS + b"\r\n",
    "pipelined": (b"GET" + FIELDS + b"\r\n") * 2,
    "length": b"POST" + FIELDS + b"Content-Length: 20\r\n\r\n" + b"x" * 20,
    "chunked": b"PUT" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    "expect": b"POST" + FIELDS + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "upgrade": b"GET" + FIELDS + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes",
}
SWITCH = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
ANSWERS = {
    "length": answer(b"x" * 20),
    "chunked": chunked_answer(b"abc", b"d", end=b"0\r\nX: y\r\n\r\n"),
    "until close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "hints": b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + answer(b"x"),
    "upgrade": SWITCH + b"bytes",
}
STEP = 3


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def is_well(stand: Stand, node: Origin) -> bool:
    """Nothing runs any more, and a new client is served."""
    stand.edge.wait_status(is_at_rest)
    node.default = [answer(b"well")]
    with stand.client() as client:
        return client.get().body == b"well"


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_client_cuts_its_request(stand: Stand, data: bytes, is_reset: bool) -> None:
    pid = stand.worker_pid()
    steps = [SWITCH, Stall()] if b"upgrade" in data else [answer(b"ok")]
    with stand.node(default=steps) as node:
        for size in range(0, len(data) + STEP, STEP):
            with stand.client() as client:
                client.send(data[:size])
                if is_reset:
                    client.reset()
                    continue
                with contextlib.suppress(OSError):
                    client.half_close()
                    client.read_to_end()
        assert is_well(stand, node)
    assert stand.worker_pid() == pid


@pytest.mark.parametrize("data", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("request_", ["get", "length", "upgrade"])
def test_node_cuts_its_answer(stand: Stand, data: bytes, end: Close | Reset, request_: str) -> None:
    pid = stand.worker_pid()
    with stand.node() as node:
        for size in range(0, len(data) + STEP, STEP):
            node.default = [data[:size], Pause(0), end]
            with stand.client() as client:
                client.send(REQUESTS[request_])
                with contextlib.suppress(OSError):  # the answer's RST may have come already
                    client.half_close()
                    client.read_to_end()
        assert is_well(stand, node)
    assert stand.worker_pid() == pid


@pytest.mark.parametrize("is_reset", [False, True], ids=["close", "RST"])
@pytest.mark.parametrize("data", ANSWERS.values(), ids=ANSWERS.keys())
def test_client_leaves_in_the_answer(stand: Stand, data: bytes, is_reset: bool) -> None:
    pid = stand.worker_pid()
    request = REQUESTS["upgrade" if data.startswith(SWITCH) else "get"]
    with stand.node() as node:
        for size in range(1, len(data) + STEP, STEP):
            gate = node.gate()
            node.default = [data[:size], gate, data[size:]]
            with stand.client() as client:
                count = len(node.requests)
                client.send(request)
                node.wait_requests(count + 1)
                if is_reset:
                    client.reset()
            gate.open()
        assert is_well(stand, node)
    assert stand.worker_pid() == pid
