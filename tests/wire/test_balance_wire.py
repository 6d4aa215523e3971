"""Which node a request goes to: algorithms, weights, backup, maxconn and its queue, nobody left.

The orders themselves are tested on the balancers; here it is that requests follow them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.harness import Client, Response
from tests.origin import Origin, answer
from tests.wire.stand import Stand, run_stands

pytestmark = pytest.mark.wire

NODES = ("node1", "node2", "node3")
THREE = """
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
TIER = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {connect: 200ms, queue: 300ms, http_request: 2s}
"""
CONFIGS = {
    "roundrobin": TIER + THREE,
    "weights": TIER
    + """
nodes:
  - {name: node1, web: 127.0.0.1:$node1, weight: 3}
  - {name: node2, web: 127.0.0.1:$node2, weight: 2}
  - {name: node3, web: 127.0.0.1:$node3, weight: 1}
""",
    "leastconn": TIER + "  balance: leastconn\n" + THREE,
    "source": TIER + "  balance: source\n" + THREE,
    "uri": TIER + "  balance: uri\n" + THREE,
    "random": TIER + "  balance: random\n" + THREE,
    "maxconn": TIER
    + """  retry_after: 7s
nodes:
  - {name: node1, web: 127.0.0.1:$node1, maxconn: 1}
  - {name: node2, web: 127.0.0.1:$node2, maxconn: 1}
""",
    "same server": TIER
    + """  redispatch: false
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
""",
    "backup": """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {interval: 50ms, rise: 1, fall: 1}
  retry_after: 7s
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3, backup: true}
""",
}


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands
        for stand in stands.values():
            stand.check()


@contextmanager
def farm(stand: Stand, names: Sequence[str] = NODES) -> Iterator[list[Origin]]:
    """An origin on each of these nodes; it answers with its name."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(stand.node(default=[answer(name.encode())], name=name))
            for name in names
        ]


def picks(client: Client, count: int, target: str = "/") -> list[str]:
    """The names of the nodes that answered so many requests."""
    return [client.get(target).body.decode() for _ in range(count)]


# -- algorithms ---------------------------------------------------------------------------------


def test_roundrobin(stands: dict[str, Stand]) -> None:
    stand = stands["roundrobin"]
    with farm(stand), stand.client() as one, stand.client() as two:
        assert picks(one, 6) == [*NODES, *NODES]
        assert [picks(client, 1)[0] for client in (one, two, one, two)] == [*NODES, "node1"]


def test_weights_3_2_1_in_haproxys_order(stands: dict[str, Stand]) -> None:
    stand = stands["weights"]
    with farm(stand), stand.client() as client:
        order = ["node1", "node2", "node1", "node3", "node1", "node2"]
        assert picks(client, 12) == order * 2


def test_leastconn_avoids_the_busy(stands: dict[str, Stand]) -> None:
    stand = stands["leastconn"]
    with farm(stand) as nodes, ExitStack() as stack:
        gates = []
        busy = []
        for node in nodes[:2]:
            gates.append(node.gate())
            node.then(gates[-1], answer(b"slow"))
        # Idle servers take turns, so two requests at once occupy two of the three.
        for count in (1, 2):
            client = stack.enter_context(stand.client())
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            nodes[count - 1].wait_requests(1)
            busy.append(client)
        client = stack.enter_context(stand.client())
        assert picks(client, 5) == ["node3"] * 5
        for gate in gates:
            gate.open()
        assert [waiting.read_response().body for waiting in busy] == [b"slow"] * 2
        assert set(picks(client, 3)) == set(NODES)


def test_source_keeps_a_client_on_its_node(stands: dict[str, Stand]) -> None:
    stand = stands["source"]
    used = set()
    with farm(stand):
        for number in range(1, 31):
            with (
                stand.client(source=f"127.0.9.{number}") as one,
                stand.client(source=f"127.0.9.{number}") as two,
            ):
                names = {*picks(one, 3, "/a"), *picks(two, 3, "/b")}
                assert len(names) == 1
                used |= names
    assert used == set(NODES)


def test_uri_keeps_a_path_on_its_node(stands: dict[str, Stand]) -> None:
    stand = stands["uri"]
    with farm(stand), stand.client() as one, stand.client(source="127.0.9.9") as two:
        homes = {f"/p{number}": picks(one, 1, f"/p{number}")[0] for number in range(30)}
        assert set(homes.values()) == set(NODES)
        for path, home in homes.items():
            assert picks(two, 2, path) == [home, home]
            assert picks(two, 1, path + "?q=1") == [home], "the query is no part of the key"


def test_uri_moves_only_the_paths_of_a_lost_node(stands: dict[str, Stand]) -> None:
    stand = stands["uri"]
    with farm(stand) as nodes, stand.client() as client:
        homes = {f"/p{number}": picks(client, 1, f"/p{number}")[0] for number in range(30)}
        nodes[0].stop()
        for path, home in homes.items():
            now = picks(client, 1, path)[0]
            assert now == home if home != "node1" else now in ("node2", "node3")


def test_random_uses_all(stands: dict[str, Stand]) -> None:
    stand = stands["random"]
    with farm(stand), stand.client() as client:
        counts = Counter(picks(client, 150))
    # Of two draws the less busy wins; all idle, that is the first: 50 each, six sigma wide.
    assert set(counts) == set(NODES)
    assert all(15 < count < 85 for count in counts.values()), counts


# -- maxconn and the queue ----------------------------------------------------------------------


def start_slow(stand: Stand, nodes: list[Origin], stack: ExitStack) -> tuple[list[Client], list]:
    """Both nodes of the farm with maxconn 1 are busy; the clients, and the gates that end it."""
    gates = []
    for node in nodes:
        gates.append(node.gate())
        node.then(gates[-1], answer(b"slow"))
    clients = [stack.enter_context(stand.client()) for _ in nodes]
    for client in clients:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    for node in nodes:
        node.wait_requests(1)
    return clients, gates


def test_maxconn_queues_and_goes_on(stands: dict[str, Stand]) -> None:
    stand = stands["maxconn"]
    with farm(stand, NODES[:2]) as nodes, ExitStack() as stack:
        busy, gates = start_slow(stand, nodes, stack)
        waiting = stack.enter_context(stand.client())
        waiting.send(b"GET /queued HTTP/1.1\r\nHost: a\r\n\r\n")
        stand.edge.wait_status(lambda status: queued_in(status) == 1)
        gates[0].open()
        assert waiting.read_response().body in (b"node1", b"slow")
        gates[1].open()
        assert all(client.read_response().status == 200 for client in busy)
        assert max(len(node.requests) for node in nodes) == 2


def queued_in(status: object) -> int:
    """Requests that wait for a slot, from the status document."""
    found = [value for key, value in flat(status) if key == "queued"]
    assert found, status
    return sum(found)


def flat(value: object) -> Iterator[tuple[str, int]]:
    """Every number of a JSON document with its key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, int):
                yield key, inner
            else:
                yield from flat(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from flat(inner)


def test_queue_timeout_is_503_with_retry_after(stands: dict[str, Stand]) -> None:
    stand = stands["maxconn"]
    with farm(stand, NODES[:2]) as nodes, ExitStack() as stack:
        busy, gates = start_slow(stand, nodes, stack)
        waiting = stack.enter_context(stand.client())
        response = waiting.get("/queued")
        assert response.status == 503
        assert response.values(b"retry-after") == [b"7"]
        assert response.values(b"connection") == [], "the client may try again on its connection"
        for gate in gates:
            gate.open()
        assert all(client.read_response().status == 200 for client in busy)
        assert waiting.get("/again").status == 200
        assert all(request.head.target != b"/queued" for n in nodes for request in n.requests)


def test_client_that_leaves_the_queue_leaves_no_trace(stands: dict[str, Stand]) -> None:
    stand = stands["maxconn"]
    with farm(stand, NODES[:2]) as nodes, ExitStack() as stack:
        busy, gates = start_slow(stand, nodes, stack)
        leaving = stand.client()
        leaving.send(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
        stand.edge.wait_status(lambda status: queued_in(status) == 1)
        leaving.reset()
        stand.edge.wait_status(lambda status: queued_in(status) == 0)
        for gate in gates:
            gate.open()
        assert all(client.read_response().status == 200 for client in busy)
        assert set(picks(busy[0], 4)) == {"node1", "node2"}
        assert all(request.head.target != b"/left" for n in nodes for request in n.requests)


def test_queued_requests_are_served_in_order(stands: dict[str, Stand]) -> None:
    stand = stands["maxconn"]
    with farm(stand, NODES[:2]) as nodes, ExitStack() as stack:
        busy, gates = start_slow(stand, nodes, stack)
        queue = [stack.enter_context(stand.client()) for _ in range(5)]
        for number, client in enumerate(queue):
            client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            stand.edge.wait_status(lambda status, n=number: queued_in(status) == n + 1, 2)
        gates[0].open()
        assert all(client.read_response().status == 200 for client in queue)
        targets = [request.head.target for request in nodes[0].requests]
        gates[1].open()
        assert all(client.read_response().status == 200 for client in busy)
        assert targets == [b"/slow", b"/0", b"/1", b"/2", b"/3", b"/4"]


def test_queued_upload_arrives_whole(stands: dict[str, Stand]) -> None:
    """Its body waits in the kernel and in one read, and then comes in order."""
    stand = stands["maxconn"]
    body = bytes(range(251)) * 2000
    with farm(stand, NODES[:2]) as nodes, ExitStack() as stack:
        busy, gates = start_slow(stand, nodes, stack)
        waiting = stack.enter_context(stand.client())
        waiting.send(b"PUT /q HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        sender = threading.Thread(target=waiting.send, args=(body,))
        sender.start()
        stand.edge.wait_status(lambda status: queued_in(status) == 1)
        for gate in gates:
            gate.open()
        assert waiting.read_response().status == 200
        sender.join(5)
        assert all(client.read_response().status == 200 for client in busy)
        arrived = [r.body for node in nodes for r in node.requests if r.head.target == b"/q"]
        assert arrived == [body]


# -- the same server again ----------------------------------------------------------------------


def test_refused_without_redispatch_waits_for_the_server(stands: dict[str, Stand]) -> None:
    """The server comes back within the turn-arounds: the request is served, POST too."""
    stand = stands["same server"]
    with stand.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        stand.edge.wait_status(lambda status: total_in(status, "connect_errors") > 0)
        with farm(stand, NODES[:1]) as nodes:
            assert client.read_response().status == 200
            assert nodes[0].requests[0].body == b"hi"


def total_in(status: object, key: str) -> int:
    """Sum of a counter over a status document."""
    return sum(value for name, value in flat(status) if name == key)


def test_refused_three_times_is_503(stands: dict[str, Stand]) -> None:
    stand = stands["same server"]
    before = total_in(stand.edge.status(), "connect_errors")
    with stand.client() as client:
        response = client.get()
        assert response.status == 503
        assert total_in(stand.edge.status(), "connect_errors") - before == 4


# -- who is up ----------------------------------------------------------------------------------


def state_of(stand: Stand, states: dict[str, str]) -> None:
    """Waits until the servers have these states."""

    def is_reached(status: dict) -> bool:
        now = {
            server["name"]: server["status"].partition(" ")[0]
            for tier in status["tiers"]
            for server in tier["servers"]
        }
        return all(now[name] == state for name, state in states.items())

    stand.edge.wait_status(is_reached)


def test_backup_only_when_all_active_are_down(stands: dict[str, Stand]) -> None:
    stand = stands["backup"]
    with farm(stand) as nodes, stand.client() as client:
        state_of(stand, dict.fromkeys(NODES, "UP"))
        assert set(picks(client, 6)) == {"node1", "node2"}
        nodes[0].stop()
        state_of(stand, {"node1": "DOWN"})
        assert set(picks(client, 6)) == {"node2"}
        nodes[1].stop()
        state_of(stand, {"node2": "DOWN"})
        assert set(picks(client, 6)) == {"node3"}
        nodes[0].start()
        state_of(stand, {"node1": "UP"})
        assert set(picks(client, 6)) == {"node1"}


def test_nobody_up_is_503_at_once_with_retry_after(stands: dict[str, Stand]) -> None:
    stand = stands["backup"]
    state_of(stand, dict.fromkeys(NODES, "DOWN"))
    with stand.client() as client:
        responses: list[Response] = [client.get() for _ in range(3)]
        assert [response.status for response in responses] == [503] * 3
        assert responses[0].values(b"retry-after") == [b"7"]
        assert responses[0].body.startswith(b"<html><body><h1>503 Service Unavailable</h1>")
        with farm(stand):
            state_of(stand, {"node1": "UP"})
            assert client.get().status == 200
