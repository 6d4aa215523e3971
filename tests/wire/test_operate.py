"""Nodes out of service and back in, on a running edge: what is lost (nothing), and what stays.

The nodes play AnswerTarget, so every answer is known to belong to its request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge.admin_client import find_remotes
from edge.cli import main
from edge.operate import Operator
from tests.harness import Edge, run_edge
from tests.origin import AnswerTarget, Origin, answer
from tests.wire.load import run_load
from tests.wire.stand import Stand, run_stand, with_ports

pytestmark = pytest.mark.wire

CONFIG = """
elb:
  listen: 127.0.0.1:$port
  health_check: {interval: 100ms, rise: 2, fall: 2}
haproxy:
  health_check: {interval: 100ms, rise: 2, fall: 2}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
TOKEN = "open-sesame"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
NAMES = ("node1", "node2", "node3")
LATE = 3


class Nodes:
    """The three nodes, each of which can be restarted."""

    def __init__(self, fresh: Stand, stack: ExitStack) -> None:
        self.origins = {
            name: stack.enter_context(fresh.node(name=name, default=[AnswerTarget()]))
            for name in NAMES
        }

    def requests(self, name: str) -> int:
        return len(self.origins[name].requests)

    def restart(self, name: str) -> None:
        """Whatever runs there is lost."""
        self.origins[name].stop()
        self.origins[name].start()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path, workers=2) as made:
        yield made


def is_settled(status: Any) -> bool:
    """Every server is fully up, by checks."""
    servers = [server for tier in status["tiers"] for server in tier["servers"]]
    return all(server["status"] == "UP" for server in servers)


@pytest.fixture
def nodes(fresh: Stand) -> Iterator[Nodes]:
    with ExitStack() as stack:
        made = Nodes(fresh, stack)
        fresh.edge.wait_status(is_settled)
        yield made


def order(fresh: Stand, *words: str) -> int:
    """Runs `edge WORDS` against this one."""
    return main([*words, "--admin", fresh.edge.admin])


def states(fresh: Stand) -> dict[str, set[str]]:
    return wanted(fresh.edge)


def wanted(edge: Edge) -> dict[str, set[str]]:
    """What the tiers want of each node."""
    found: dict[str, set[str]] = {}
    for tier in edge.wait_status(lambda _: True)["tiers"]:
        for server in tier["servers"]:
            found.setdefault(server["node"], set()).add(server["admin"])
    return found


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_drained_node_gets_nothing_and_nothing_is_lost(
    fresh: Stand, nodes: Nodes, method: bytes
) -> None:
    with run_load(fresh.ports["port"], clients=8, method=method) as load:
        load.wait_done(60)
        assert order(fresh, "drain", "node1") == 0
        before = nodes.requests("node1")
        assert before > 0
        load.wait_done(100)
        assert nodes.requests("node1") == before
        assert order(fresh, "ready", "node1") == 0
        load.wait_done(60)
        assert nodes.requests("node1") > before
    assert states(fresh) == {name: {"ready"} for name in NAMES}


def test_drain_waits_for_the_running_request(
    fresh: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh.node(name="node1") as node, fresh.client() as client:
        fresh.edge.wait_status(is_usable_at("node1"))
        for name in ("node2", "node3"):  # nobody is there: that takes no time
            assert order(fresh, "drain", name) == 0
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        node.wait_requests(1)
        assert order(fresh, "drain", "node1", "--timeout", "0.3") == LATE
        said = capsys.readouterr()
        assert "node1: waits for running requests: 1 in elb, 1 in haproxy@" in said.out
        assert "node1: after 0.3s it still waits for running requests: 1 in elb" in said.err
        codes: list[int] = []
        drain = threading.Thread(target=lambda: codes.append(order(fresh, "drain", "node1")))
        drain.start()
        gate.open()
        assert client.read_response().body == b"late"
        drain.join(20)
        assert codes == [0]


def is_usable_at(name: str) -> Any:
    """Whether all tiers have it up, by a check."""

    def look(status: Any) -> bool:
        servers = [server for tier in status["tiers"] for server in tier["servers"]]
        return all(server["status"] == "UP" for server in servers if server["name"] == name)

    return look


def test_an_order_survives_reload_and_control(fresh: Stand, nodes: Nodes) -> None:
    assert order(fresh, "drain", "node2") == 0
    assert main(["reload", str(fresh.edge.config_path)]) == 0
    assert states(fresh)["node2"] == {"drain"}
    control = fresh.edge.children("edge.control")[-1]
    control.kill()
    fresh.expect("starting it again")
    fresh.edge.wait_status(lambda status: status["pids"]["control"] != control.pid)
    assert states(fresh) == {"node1": {"ready"}, "node2": {"drain"}, "node3": {"ready"}}
    with fresh.client() as client:
        for number in range(9):
            assert client.get(f"/{number}").status == 200
    assert nodes.requests("node2") == 0
    assert order(fresh, "ready", "node2") == 0


def test_a_node_that_the_file_adds_is_used_after_a_reload(fresh: Stand, nodes: Nodes) -> None:
    text = fresh.edge.config_path.read_text()
    with Origin(default=[AnswerTarget()]) as fourth, run_load(fresh.ports["port"]) as load:
        line = f"  - {{name: node3, web: 127.0.0.1:{fresh.ports['node3']}}}\n"
        added = f"  - {{name: node4, web: 127.0.0.1:{fourth.port}}}\n"
        assert order(fresh, "drain", "node1") == 0
        before = nodes.requests("node1")
        fresh.edge.config_path.write_text(text.replace(line, line + added))
        assert main(["reload", str(fresh.edge.config_path)]) == 0
        fourth.wait_requests(1)
        load.wait_done(60)
        # The HAProxy that came with node4 has the drained node as a server of its own.
        assert nodes.requests("node1") == before
        assert states(fresh)["node1"] == {"drain"}
        assert order(fresh, "ready", "node1") == 0
        fresh.edge.config_path.write_text(text)
        assert main(["reload", str(fresh.edge.config_path)]) == 0
        load.wait_done(60)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_rollout_under_load_loses_no_request(fresh: Stand, nodes: Nodes, method: bytes) -> None:
    """Each node is killed and started anew, with its connections; clients notice nothing."""
    operator = Operator(find_remotes(None, [fresh.edge.admin], None, {}))
    restarted: list[tuple[str, int]] = []

    with run_load(fresh.ports["port"], clients=8, method=method) as load:
        load.wait_done(60)

        def run(name: str) -> int:
            before = nodes.requests(name)
            load.wait_done(30)
            assert nodes.requests(name) == before, "it was drained"
            nodes.restart(name)
            restarted.append((name, before))
            return 0

        lines = list(operator.rollout(None, run, drain_s_max=20, health_s_max=20))
        load.wait_done(60)
    assert [name for name, _ in restarted] == list(NAMES)
    assert all(count > 0 for _, count in restarted), "each had requests before"
    assert all(nodes.requests(name) > count for name, count in restarted), "and has them again"
    assert lines[-1] == "done: node1, node2, node3"


def test_a_rollout_that_fails_leaves_a_cluster_that_serves(fresh: Stand, nodes: Nodes) -> None:
    command = f"test {{node}} != node2 || touch {fresh.edge.config_path}.failed && exit 1"
    with run_load(fresh.ports["port"]) as load:
        load.wait_done(20)
        assert order(fresh, "rollout", "--command", command, "--nodes", "node2,node3") == 1
        before = nodes.requests("node2")
        load.wait_done(60)
        assert nodes.requests("node2") == before
    assert states(fresh) == {"node1": {"ready"}, "node2": {"drain"}, "node3": {"ready"}}


def test_the_token_of_the_file_guards_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_ADMIN_TOKEN", raising=False)
    text = CONFIG + f"admin: {{listen: 127.0.0.1:$control, token: {TOKEN}}}\n"
    with with_ports(text) as (config, ports), run_edge(config, tmp_path) as guarded:
        admin = guarded.admin
        assert admin == f"127.0.0.1:{ports['control']}"
        for words in (["drain", "node1"], ["reload"]):
            assert main([*words, "--admin", admin]) == 1
            assert main([*words, "--admin", admin, "--token", "wrong"]) == 1
        assert wanted(guarded)["node1"] == {"ready"}
        assert main(["drain", "node1", "--config", str(guarded.config_path)]) == 0
        assert wanted(guarded)["node1"] == {"drain"}


def test_a_node_is_added_and_removed_while_requests_run(
    fresh: Stand, nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scaled architecture: a web node more, and gone again; nobody loses an answer."""
    with (
        with_ports("$web4") as (_, ports),
        Origin(default=[AnswerTarget()], port=ports["web4"]) as extra,
        run_load(fresh.ports["port"], clients=8) as load,
    ):
        web = f"127.0.0.1:{ports['web4']}"
        assert order(fresh, "node", "add", "web4", "--web", web) == 0
        load.wait_done(100)
        assert extra.requests, "it has its share"
        assert order(fresh, "node", "remove", "web4") == 0
        seen = len(extra.requests)
        load.wait_done(100)
        assert len(extra.requests) == seen
    assert "web4: removed" in capsys.readouterr().out
    assert set(states(fresh)) == set(NAMES)
