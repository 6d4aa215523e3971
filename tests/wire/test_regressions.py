"""Defects that once were: each test holds one of them down, on the wire.

Most need a moment that ordinary traffic seldom meets, so the tests make it: a client that takes
little because its segments and its buffer are small, a node that drops SYNs, a head in two reads.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from ext.limits import Limit
from tests.harness import CLIENT_TIMEOUT_S, Client
from tests.loop_thread import bind_loopback, listen_beside
from tests.origin import Pause, Stall, answer
from tests.wire.stand import Stand, is_at_rest, run_stand

pytestmark = pytest.mark.wire

CLIENT_S = 0.5
CONNECT_S = 0.2
ONE = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  server_maxconn: 1
  limits: {request_line: 64KiB, header: 64KiB}
  timeouts: {client: 500ms, connect: 100ms, queue: 10s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
PAIR = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  retries: 3
  redispatch: false
  timeouts: {connect: 200ms}
nodes:
  - {name: node1, web: 127.0.0.1:$node1, weight: 256}
  - {name: node2, web: 127.0.0.1:$node2, weight: 1}
"""
CHAIN = """
elb:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
haproxy:
  server_maxconn: 1
  health_check: {enabled: false}
  timeouts: {queue: 100ms}
nodes:
  - {name: node1, zone: a, web: 127.0.0.1:$node1}
  - {name: node2, zone: a, web: 127.0.0.1:$node2}
  - {name: node3, zone: a, web: 127.0.0.1:$node3}
"""
CROWD = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  server_maxconn: 2
  timeouts: {queue: 5s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
WEBSOCKET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
# In one segment to edge, and twice what the kernel takes for a SmallClient that does not read.
HELD = answer(b"x" * 60_000)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(ONE, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(PAIR, tmp_path_factory.mktemp("edge")) as pair:
        yield pair


class SmallClient(Client):
    """Takes little: at most `buffer` bytes wait for it, and with a small `segment` the kernel holds
    little for it on edge's side, too."""

    def __init__(self, port: int, buffer: int = 2048, segment: int = 536) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(CLIENT_TIMEOUT_S)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        if segment:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        self.socket.connect(("127.0.0.1", port))
        self._unread = b""


def counters(stand: Stand) -> Any:
    """Of the first tier."""
    return stand.edge.status()["tiers"][0]["counters"]


def wait_bytes_in(stand: Stand, size: int) -> None:
    """Returns when the first tier has read that many bytes of its clients since it runs."""
    stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["bytes_in"] >= size)


def long_head(path_bytes: int, field_bytes: int) -> bytes:
    line = b"GET /" + b"p" * path_bytes + b" HTTP/1.1\r\n"
    return line + b"Host: a\r\nX-Long: " + b"f" * field_bytes + b"\r\n\r\n"


# -- a client whose request ends while it waits ---------------------------------------------------


@pytest.mark.parametrize(
    ("second", "early"),
    [(GET, 10), (long_head(7_000, 63_500), 68_000)],
    ids=["little of it", "so much of it that reading pauses"],
)
def test_half_a_request_behind_one_that_fails(stand: Stand, second: bytes, early: int) -> None:
    """The second is answered; its other half was once never read, when the first failed."""
    with stand.client() as client:
        client.send(GET + second[:early])
        assert client.read_response().status == 503
        client.send(second[early:])
        assert client.read_response().status == 503


def test_half_close_before_a_connect_fails(stand: Stand) -> None:
    """The connection ends with its 503; it once stayed open for `http_keep_alive`."""
    with stand.client() as client:
        client.send(GET)
        client.half_close()
        assert client.read_response().status == 503
        assert client.read_to_end() == b""


# -- heads in pieces ------------------------------------------------------------------------------


def test_bytes_behind_a_101_that_came_in_two_reads(stand: Stand) -> None:
    """They belong to the client; they were once dropped with the kept first piece of the head."""

    def received(status: Any) -> int:
        count: int = status["tiers"][0]["servers"][0]["counters"]["bytes_out"]
        return count

    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        rest = b"tocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHELLO"
        node.then(b"HTTP/1.1 101 Switching Pro", gate, rest, Stall())
        before = received(stand.edge.status())
        client.send(WEBSOCKET)
        stand.edge.wait_status(lambda status: received(status) > before)
        gate.open()
        assert client.read_head()[0].status == 101
        assert client.read_exactly(5) == b"HELLO"


def test_head_of_70_kb_in_pieces(stand: Stand) -> None:
    """The limits allow it; it once stalled where reading pauses, with nothing to resume it."""
    head = long_head(7_000, 63_500)
    with stand.node() as node, stand.client() as client:
        before = counters(stand)["bytes_in"]
        for start, end in pairwise((0, 40_000, 69_000, len(head))):
            client.send(head[start:end])
            wait_bytes_in(stand, before + end)
        assert client.read_response().status == 200
        assert len(node.requests[0].raw_head) > 70_000


# -- clients that do not read, or slowly ----------------------------------------------------------


def test_closed_connection_of_a_client_that_does_not_read(stand: Stand) -> None:
    """It ends after `client`; one that lingered with unsent bytes once stayed for ever."""
    with stand.node([HELD]) as node, SmallClient(stand.ports["port"]) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nX")
        node.wait_requests(1)
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["connections_open"] == 0)


def test_slow_reader_outlives_client(stand: Stand) -> None:
    """`client` limits silence: who took a little all the time was once cut after it."""
    size = 8_000_000
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    with stand.node([large]), SmallClient(stand.ports["port"], 65_536, segment=0) as client:
        client.send(GET)
        assert client.read_head()[0].status == 200
        pause = threading.Event()
        started = time.monotonic()
        while time.monotonic() - started < 3 * CLIENT_S:
            size -= len(client.read_exactly(5_000))
            pause.wait(0.02)
        client.read_exactly(size)


def test_slow_reader_survives_a_reload(pair: Stand) -> None:
    """A drain gives an idle client a second; once it cut answers that were held for a reader."""
    with pair.node([HELD]) as node, SmallClient(pair.ports["port"]) as client:
        client.send(GET)
        node.wait_requests(1)
        pair.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 0)
        worker = reload(pair)
        with pytest.raises(psutil.TimeoutExpired):
            worker.wait(1.3)
        assert client.read_response().body == b"x" * 60_000
        assert client.read_to_end() == b""
        worker.wait(5)


# -- clients that send more than is asked ---------------------------------------------------------


def test_pipelining_faster_than_answers_is_bounded(stand: Stand) -> None:
    """Each request that started once let one more read in: a client could fill the memory."""
    answered = 50
    flood = memoryview(GET * 500_000)
    sent = 0
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        for _ in range(answered):
            node.then(answer())
        node.then(gate, answer())
        before = counters(stand)["bytes_in"]
        for _ in range(answered):
            sent += send_at_once(client, flood[sent:])
            assert client.read_response().status == 200
        node.wait_requests(answered + 1)
        held = counters(stand)["bytes_in"] - before - answered * len(GET)
        assert held <= Limit.PIPELINE_BYTES_MAX + Limit.READ_BYTES
        client.reset()
        gate.open()
        stand.edge.wait_status(is_at_rest)


def send_at_once(client: Client, data: memoryview) -> int:
    """What the kernel takes without waiting; how much that was."""
    sent = 0
    client.socket.settimeout(0)
    with suppress(BlockingIOError):
        while sent < len(data):
            sent += client.socket.send(data[sent : sent + 1_000_000])
    client.socket.settimeout(CLIENT_TIMEOUT_S)
    return sent


def test_reset_of_a_paused_client_ends_an_endless_answer(stand: Stand) -> None:
    """Who sends too much is not read; its reset was once not noticed while the node went on."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    drips = [step for _ in range(1000) for step in (Pause(0.02), b"1\r\nx\r\n")]
    with stand.node([head, *drips]) as node:
        client = stand.client()
        before = counters(stand)["bytes_in"]
        client.send(GET)
        assert client.read_head()[0].status == 200
        client.send(GET * 10_000)
        wait_bytes_in(stand, before + 2 * Limit.PIPELINE_BYTES_MAX)
        client.reset()
        assert node.wait_closed(0).closed_by_peer
        stand.edge.wait_status(is_at_rest)


# -- queues ---------------------------------------------------------------------------------------


def test_many_bad_bodies_in_a_queue(stand: Stand) -> None:
    """Each one that ended once woke the next inside its own end: enough of them broke the stack."""
    bad = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
    count = 600
    worker = stand.worker_pid()
    with stand.node() as node, stand.client() as first, ExitStack() as stack:
        gate = node.gate()
        node.then(gate, answer(b"late"))
        first.send(GET)
        node.wait_requests(1)
        stack_before = stack_kb(worker)
        clients = [stack.enter_context(stand.client()) for _ in range(count)]
        for client in clients:
            client.send(bad)
        stand.edge.wait_status(lambda s: s["tiers"][0]["counters"]["queued"] == count)
        gate.open()
        assert first.read_response().body == b"late"
        assert {client.read_response().status for client in clients} == {400}
        assert len(node.requests) == 1
        assert stand.edge.workers() == [worker]
        assert stack_kb(worker) - stack_before < 64


def stack_kb(pid: int) -> int:
    """The main thread's stack, which grows and never shrinks."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmStk:"))


def test_gauges_of_two_queues(tmp_path: Path) -> None:
    """A request that left one haproxy's queue for another's once was counted out of both."""
    with run_stand(CHAIN, tmp_path) as chain, ExitStack() as stack:
        for name in ("node1", "node2", "node3"):
            stack.enter_context(chain.node(default=[Pause(0.3), answer()], name=name))
        clients = [stack.enter_context(chain.client()) for _ in range(20)]
        for client in clients:
            client.send(GET * 4)
        for client in clients:
            assert {client.read_response().status for _ in range(4)} <= {200, 503}
            client.close()
        status = chain.edge.wait_status(is_at_rest)
        assert [tier["counters"]["queued"] for tier in status["tiers"]] == [0] * 4


def test_workers_share_the_slots_of_a_server(tmp_path: Path) -> None:
    """No client waits long; one worker once kept all slots while the other's requests starved."""
    seconds = 1.6
    with (
        run_stand(CROWD, tmp_path, workers=2) as crowd,
        crowd.node(default=[Pause(0.001), answer()]),
        ThreadPoolExecutor(16) as pool,
    ):
        stop_at = time.monotonic() + seconds
        slowest = pool.map(lambda _: slowest_answer(crowd, stop_at), range(16))
        assert max(slowest) < seconds / 2


def slowest_answer(stand: Stand, stop_at: float) -> float:
    """Asks again and again; the longest wait in seconds."""
    slowest = 0.0
    with stand.client() as client:
        while (began := time.monotonic()) < stop_at:
            assert client.get().status == 200
            slowest = max(slowest, time.monotonic() - began)
    return slowest


# -- connects -------------------------------------------------------------------------------------


@contextmanager
def blackhole(stand: Stand) -> Iterator[None]:
    """The first node drops SYNs: it listens, and its queue of connections is full."""
    with bind_loopback(stand.ports["node1"]) as bound, listen_beside(bound) as listener:
        listener.listen(0)
        with Client(stand.ports["node1"]):
            yield


def test_connect_that_nobody_waits_for_ends(pair: Stand) -> None:
    """Its descriptor was once held until the kernel gave up, about two minutes later."""
    worker = psutil.Process(pair.worker_pid())
    before = worker.num_fds()
    with blackhole(pair):
        clients = [pair.client() for _ in range(10)]
        for client in clients:
            client.send(GET)
        pair.edge.wait_status(lambda _: worker.num_fds() >= before + 2 * len(clients))
        for client in clients:
            client.reset()
        pair.edge.wait_status(lambda _: worker.num_fds() <= before)


def test_without_redispatch_the_same_server_is_tried(pair: Stand) -> None:
    """After each refused connect the server gets a moment; the other one is never asked."""
    with pair.node(name="node2") as other, pair.client() as client:
        before = retries(pair)
        began = time.monotonic()
        assert client.get().status == 503
        assert time.monotonic() - began > 3 * CONNECT_S * 0.9
        assert [now - then for now, then in zip(retries(pair), before, strict=True)] == [3, 0]
        assert other.connections == []


def retries(stand: Stand) -> list[int]:
    servers = stand.edge.status()["tiers"][0]["servers"]
    return [server["counters"]["retries"] for server in servers]


# -- drains ---------------------------------------------------------------------------------------


def test_drain_waits_for_a_post_whose_client_is_gone(pair: Stand) -> None:
    """Such a POST runs to its end; a reload once cut it, as it counted clients only."""
    with pair.node() as node:
        gate = node.gate()
        node.then(gate, answer())
        client = pair.client()
        client.send(POST)
        node.wait_requests(1)
        client.reset()
        pair.edge.wait_status(lambda s: s["tiers"][0]["counters"]["connections_open"] == 0)
        worker = reload(pair)
        with pytest.raises(psutil.TimeoutExpired):
            worker.wait(0.5)
        gate.open()
        worker.wait(5)


def reload(stand: Stand) -> psutil.Process:
    """Reloads; returns the worker of before, which drains."""
    worker = psutil.Process(stand.worker_pid())
    count = sum("reloaded: generation" in line for line in stand.edge.stderr)
    stand.edge.reload()
    stand.edge.wait_line("reloaded: generation", count=count + 1)
    return worker
