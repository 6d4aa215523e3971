"""Workers come and go: a killed one, a reload, a drain. No request is lost that need not be.

The load is small and closed-loop; every answer is checked to belong to its request.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import Client
from tests.loop_thread import bind_loopback
from tests.origin import AnswerTarget, Origin, answer
from tests.wire.load import Load, run_load
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
drain: 5s
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
WORKERS = 2


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """For tests after which edge is as it was."""
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge"), WORKERS) as stand:
        yield stand


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stand]:
    """An edge of this test's own: it ends, or gets another file."""
    with run_stand(CONFIG, tmp_path, WORKERS) as fresh:
        yield fresh


def echo(stand: Stand) -> Origin:
    return stand.node(default=[AnswerTarget()])


def worker_of(client: Client, stand: Stand) -> int:
    """The process that holds the other end of this connection."""
    port = client.socket.getsockname()[1]
    for process in stand.edge.children("edge.worker"):
        if any(link.raddr and link.raddr.port == port for link in process.net_connections("tcp")):
            return process.pid
    raise AssertionError(f"no worker has the connection from port {port}")


# -- kill -9 ------------------------------------------------------------------------------------


def test_killed_worker_costs_its_own_connections_only(stand: Stand) -> None:
    with echo(stand), ExitStack() as stack:
        clients = [stack.enter_context(stand.client()) for _ in range(16)]
        for client in clients:
            assert client.get("/a").body == b"/a"
        before = stand.edge.workers()
        holders = [worker_of(client, stand) for client in clients]
        assert set(holders) == set(before), "the kernel spreads connections"
        assert stand.edge.kill_worker() == before[0]
        for client, holder in zip(clients, holders, strict=True):
            if holder == before[0]:
                assert ends(client)
            else:
                assert client.get("/b").body == b"/b"
        # Connections that come now, also to the dead one's socket, are served.
        for number in range(16):
            with stand.client() as client:
                assert client.get(f"/{number}").body == b"/%d" % number
        stand.edge.wait_status(lambda _: len(stand.edge.workers()) == WORKERS)
        assert before[1] in stand.edge.workers()
        stand.expect("starting it again")


def ends(client: Client) -> bool:
    """Whether the connection is over, by FIN or RST."""
    try:
        return client.read_to_end() == b""
    except ConnectionResetError:
        return True


def test_killed_worker_leaves_no_request_in_flight(stand: Stand) -> None:
    """The counters of a dead worker's running requests do not stay."""
    with stand.node() as node, ExitStack() as stack:
        gate = node.gate()
        clients = [stack.enter_context(stand.client()) for _ in range(16)]
        for _ in clients:
            node.then(gate, answer(b"late"))
        for client in clients:
            client.send(GET)
        node.wait_requests(len(clients))
        stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == len(clients))
        holders = [worker_of(client, stand) for client in clients]
        killed = stand.edge.kill_worker()
        others = sum(holder != killed for holder in holders)
        stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == others)
        gate.open()
        for client, holder in zip(clients, holders, strict=True):
            if holder != killed:
                assert client.read_response().body == b"late"
        stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 0)
        stand.expect("starting it again")


# -- reload -------------------------------------------------------------------------------------


def reload(stand: Stand, config_text: str | None = None) -> None:
    """Reloads, and waits until the workers of before are gone."""
    before = set(stand.edge.workers())
    stand.edge.reload(config_text)
    stand.edge.wait_status(lambda _: not before & set(stand.edge.workers()))


@pytest.mark.parametrize(
    ("method", "is_new_each"),
    [(b"GET", False), (b"POST", False), (b"GET", True)],
    ids=["GET", "POST", "new connections"],
)
def test_reload_under_load_loses_nothing(stand: Stand, method: bytes, is_new_each: bool) -> None:
    with (
        echo(stand) as node,
        run_load(stand.ports["port"], method=method, is_new_each=is_new_each) as load,
    ):
        load.wait_done(20)
        reload(stand)
        load.wait_done(20)
        load.stop()
        targets = [request.head.target for request in node.requests]
        assert len(targets) == len(set(targets)) == load.done, "none was sent twice"


def test_reload_twice_in_a_row(stand: Stand) -> None:
    """The second comes while the first is under way; the newest file wins, nothing is lost."""
    with echo(stand), run_load(stand.ports["port"]) as load:
        load.wait_done(20)
        stand.edge.reload()
        reload(stand)
        load.wait_done(20)


def test_reload_takes_the_new_file(fresh: Stand) -> None:
    with echo(fresh), Origin(default=[answer(b"new node")]) as other:
        with fresh.client() as client:
            assert client.get("/x").body == b"/x"
        text = fresh.edge.config_path.read_text()
        reload(fresh, text.replace(f":{fresh.ports['node1']}", f":{other.port}"))
        with fresh.client() as client:
            assert client.get("/x").body == b"new node"


def reload_in_vain(stand: Stand, config_text: str) -> None:
    """Reloads a file that is refused; afterwards the good one is in its place again."""
    path = stand.edge.config_path
    good = path.read_text()
    count = sum("not reloaded" in line for line in stand.edge.stderr)
    stand.edge.reload(config_text)
    stand.edge.wait_line("not reloaded", count=count + 1)
    path.write_text(good)


def test_bad_file_on_reload_keeps_the_old_one(stand: Stand) -> None:
    with echo(stand), stand.client() as client:
        assert client.get("/a").body == b"/a"
        before = stand.edge.workers()
        reload_in_vain(stand, "haproxy: {listen: nowhere}\nnodes: []\n")
        assert any("haproxy.listen" in line for line in stand.edge.stderr)
        assert client.get("/b").body == b"/b", "the old workers go on, with their connections"
        assert stand.edge.workers() == before
        with stand.client() as other:
            assert other.get("/c").body == b"/c"


def test_port_in_use_on_reload_keeps_the_old_one(stand: Stand) -> None:
    with echo(stand), Origin() as somebody, stand.client() as client:
        assert client.get("/a").body == b"/a"
        text = stand.edge.config_path.read_text()
        reload_in_vain(stand, text.replace(f":{stand.ports['port']}", f":{somebody.port}"))
        assert client.get("/b").body == b"/b"


def test_reload_lets_a_running_request_end(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        node.wait_requests(1)
        holder = worker_of(client, stand)
        before = set(stand.edge.workers())
        stand.edge.reload()
        stand.edge.wait_status(lambda _: before & set(stand.edge.workers()) == {holder})
        gate.open()
        response = client.read_response()
        assert response.body == b"late"
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        stand.edge.wait_status(lambda _: not before & set(stand.edge.workers()))


def test_reload_to_another_port(fresh: Stand) -> None:
    with echo(fresh), bind_loopback() as bound:
        port = bound.getsockname()[1]
        text = fresh.edge.config_path.read_text()
        fresh.edge.reload(text.replace(f":{fresh.ports['port']}", f":{port}"))
        fresh.edge.wait_line("generation 2 serves")
        with Client(port) as client:
            assert client.get("/x").body == b"/x"


# -- drain --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_drain_under_load_loses_nothing(fresh: Stand, method: bytes) -> None:
    with echo(fresh) as node:
        load = Load(fresh.ports["port"], 4, method, is_new_each=False)
        load.start()
        load.wait_done(50)
        load.end_when_refused()
        assert fresh.edge.stop() == 0
        load.join()
        assert not load.failures
        targets = [request.head.target for request in node.requests]
        assert len(targets) == len(set(targets)) == load.done, "what a node got was answered"


def test_drain_ends_a_running_request_and_idle_connections(fresh: Stand) -> None:
    with fresh.node() as node, fresh.client() as idle, fresh.client() as client:
        assert idle.get().status == 200
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        node.wait_requests(2)
        fresh.edge.process.send_signal(signal.SIGTERM)
        assert idle.read_to_end() == b""
        gate.open()
        response = client.read_response()
        assert response.body == b"late"
        assert response.values(b"connection") == [b"close"]
        assert client.read_to_end() == b""
        assert fresh.edge.process.wait(10) == 0
