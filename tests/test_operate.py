"""Draining and rolling out, against scripted answers: what is waited for, and what ends it."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.admin_client import AdminError, Remote, find_remotes
from edge.operate import LOOKS, OperateError, Operator, WaitedTooLongError, run_script
from tests.standin_admin import StandinAdmin, StandinNodes, row

pytestmark = pytest.mark.wire

PLENTY_S = 60.0


class Bench:
    """Some edges with scripted nodes. `script` is what happens at each pause, one after another."""

    def __init__(self) -> None:
        self.admins: list[StandinAdmin] = []
        self.script: Iterator[Callable[[], object]] = iter(())
        self.pauses = 0

    def edge(self, *rows: dict[str, Any]) -> StandinNodes:
        nodes = StandinNodes(list(rows))
        self.admins.append(StandinAdmin(nodes.answer))
        return nodes

    def remotes(self) -> list[Remote]:
        return find_remotes(None, [admin.address for admin in self.admins], None, {})

    def operator(self, *script: Callable[[], object]) -> Operator:
        self.script = iter(script)
        return Operator(self.remotes(), self._pause)

    def _pause(self, seconds: float) -> None:
        assert 0 < seconds < 1
        self.pauses += 1
        next(self.script, lambda: None)()

    def end(self) -> None:
        for admin in self.admins:
            admin.end()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.end()


def setting(target: dict[str, Any], **values: Any) -> Callable[[], object]:
    return lambda: target.update(values)


# -- drain, maint, ready --------------------------------------------------------------------------


def test_drain_orders_and_waits_until_nothing_runs(bench: Bench) -> None:
    busy, target = row("node1", in_flight=3), row("node1", "elb", in_flight=1)
    nodes = bench.edge(busy, target, row("node2", in_flight=9))
    operator = bench.operator(setting(busy, in_flight=0), setting(target, in_flight=0))
    assert list(operator.drain("node1", PLENTY_S)) == [
        "node1: waits for running requests: 3 in haproxy, 1 in elb",
        "node1: drained, no request is running there",
    ]
    assert nodes.orders == [("node1", "drain")]
    assert bench.pauses == 2 + LOOKS - 1


def test_a_request_that_comes_after_the_first_look_counts(bench: Bench) -> None:
    """A worker had picked the node just before it saw the order."""
    server = row("node1")
    bench.edge(server)
    operator = bench.operator(setting(server, in_flight=1), setting(server, in_flight=0))
    lines = list(operator.drain("node1", PLENTY_S))
    assert lines[0] == "node1: waits for running requests: 1 in haproxy"
    assert bench.pauses == 2 + LOOKS - 1


def test_a_drain_that_takes_too_long_says_what_runs_and_leaves_it_drained(bench: Bench) -> None:
    nodes = bench.edge(row("node1", in_flight=2))
    with pytest.raises(WaitedTooLongError) as late:
        list(bench.operator().drain("node1", 1e-9))
    assert str(late.value) == (
        "node1: after 1e-09s it still waits for running requests: 2 in haproxy"
    )
    assert nodes.orders == [("node1", "drain")]


def test_another_order_meanwhile_ends_the_wait(bench: Bench) -> None:
    server = row("node1", in_flight=2)
    bench.edge(server)
    operator = bench.operator(setting(server, admin="ready", in_flight=0))
    with pytest.raises(OperateError) as stop:
        list(operator.drain("node1", PLENTY_S))
    assert str(stop.value).startswith("node1: drain was ordered, but haproxy has it in ready;")


def test_maintenance_is_another_order_and_the_same_wait(bench: Bench) -> None:
    server = row("node1", in_flight=1)
    nodes = bench.edge(server)
    lines = list(bench.operator(setting(server, in_flight=0)).maint("node1", PLENTY_S))
    assert lines[-1] == "node1: in maintenance, no request is running there"
    assert nodes.orders == [("node1", "maint")]


def test_ready_waits_until_every_tier_has_it_up(bench: Bench) -> None:
    down = row("node1", up=False, status="DOWN 1/2")
    new = row("node1", "elb", check_age_s=None)
    free = row("node1", "free", checked=False, check_age_s=None)
    nodes = bench.edge(down, new, free)
    operator = bench.operator(setting(down, up=True), setting(new, check_age_s=0.1))
    assert list(operator.ready("node1", PLENTY_S)) == [
        "node1: waits for haproxy, which has it DOWN 1/2; elb to check it",
        "node1: ready, in service",
    ]
    assert nodes.orders == [("node1", "ready")]


def test_an_unknown_node_is_an_error(bench: Bench) -> None:
    bench.edge(row("node1"))
    with pytest.raises(AdminError, match="no tier here has a server on node 'node2'"):
        list(bench.operator().drain("node2", PLENTY_S))


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "node1?x", "node%31"])
def test_a_name_that_is_none_is_never_sent(bench: Bench, name: str) -> None:
    bench.edge(row("node1"))
    with pytest.raises(OperateError, match="is no name of a node"):
        list(bench.operator().drain(name, PLENTY_S))
    assert bench.admins[0].asked == []


def test_several_edges_are_asked_and_those_without_the_node_do_not_matter(bench: Bench) -> None:
    cdn = bench.edge(row("other"))
    busy = row("node1", in_flight=1)
    first, second = bench.edge(row("node1")), bench.edge(busy)
    lines = list(bench.operator(setting(busy, in_flight=0)).drain("node1", PLENTY_S))
    assert len(lines) == 2
    assert (cdn.orders, first.orders, second.orders) == ([], [("node1", "drain")], first.orders)


def test_an_admin_address_that_is_handed_over_is_waited_for(bench: Bench) -> None:
    nodes = bench.edge(row("node1"))
    admin = bench.admins[0]

    def vanish() -> None:
        # An answer without a status line, as when the process ends within a request.
        admin.answers = lambda method, path: (99, {})

    def come_back() -> None:
        admin.answers = nodes.answer

    lines = list(bench.operator(vanish, come_back).drain("node1", PLENTY_S))
    assert "does not answer as an admin interface" in lines[0]
    assert lines[-1] == "node1: drained, no request is running there"


def test_another_program_at_the_address_is_an_error(bench: Bench) -> None:
    bench.edge(row("node1"))
    bench.admins[0].answers = lambda method, path: (200, {"node": "node1"})
    with pytest.raises(AdminError, match="answers as no edge does"):
        list(bench.operator().drain("node1", PLENTY_S))


# -- rollout --------------------------------------------------------------------------------------


class Cluster:
    """Two nodes of a haproxy; `trace` is what happened to them in order."""

    def __init__(self, bench: Bench, *names: str) -> None:
        self.rows = {name: row(name) for name in names}
        self.nodes = bench.edge(*self.rows.values())
        self.trace: list[tuple[str, str]] = []
        self.nodes.on_order = lambda node, order: self.trace.append((node, order))
        self.statuses = dict.fromkeys(names, 0)
        self.on_run: Callable[[], object] = lambda: None

    def run(self, node: str) -> int:
        self.trace.append((node, "run"))
        self.on_run()
        return self.statuses[node]

    def rollout(
        self, operator: Operator, wanted: list[str] | None = None, health_s_max: float = PLENTY_S
    ) -> list[str]:
        lines = operator.rollout(wanted, self.run, drain_s_max=PLENTY_S, health_s_max=health_s_max)
        return list(lines)

    def states(self) -> list[str]:
        return [server["admin"] for server in self.rows.values()]


def steps(*nodes: str) -> list[tuple[str, str]]:
    return [(node, step) for node in nodes for step in ("drain", "run", "ready")]


def test_a_rollout_takes_one_node_after_the_other(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2", "node3")
    lines = cluster.rollout(bench.operator())
    assert cluster.trace == steps("node1", "node2", "node3")
    assert cluster.states() == ["ready"] * 3
    assert lines[-1] == "done: node1, node2, node3"
    assert "node2 (2 of 3): the command runs" in lines


def test_a_rollout_of_some_in_the_order_that_is_asked_for(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2", "node3")
    cluster.rollout(bench.operator(), ["node3", "node1", "node3"])
    assert cluster.trace == steps("node3", "node1")


def test_a_command_that_fails_stops_it_and_leaves_the_node_drained(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2", "node3")
    cluster.statuses["node2"] = 7
    with pytest.raises(OperateError) as stop:
        cluster.rollout(bench.operator())
    assert str(stop.value).splitlines() == [
        "node2: the command ended with status 7",
        "done: node1; node2 stays drained; not begun: node3",
    ]
    assert not isinstance(stop.value, WaitedTooLongError)
    assert cluster.states() == ["ready", "drain", "ready"]
    assert cluster.trace[-1] == ("node2", "run")


def test_a_check_from_before_the_end_of_the_command_does_not_count(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2")
    server = cluster.rows["node1"]
    server["check_age_s"] = PLENTY_S
    # Pauses: one of the drain, then until the check is new and has been seen twice.
    fresh = [lambda: None, lambda: None, setting(server, check_age_s=0.0)]
    waits: list[int] = []
    cluster.nodes.on_order = lambda node, order: waits.append(bench.pauses)
    lines = cluster.rollout(bench.operator(*fresh), ["node1"])
    assert "node1: waits for haproxy to check it" in lines
    drained_at, ready_at = waits
    assert (drained_at, ready_at) == (0, 3 + LOOKS - 1)


def test_a_node_that_stays_ill_gets_nothing(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2")
    cluster.on_run = setting(cluster.rows["node1"], up=False, status="DOWN")
    with pytest.raises(
        OperateError, match="node1: after 1e-09s it still waits for haproxy, which has it DOWN"
    ):
        cluster.rollout(bench.operator(), health_s_max=1e-9)
    assert cluster.states() == ["drain", "ready"]
    assert ("node1", "ready") not in cluster.nodes.orders


def test_the_last_server_of_a_tier_is_never_taken(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2", "node3")
    cluster.rows["node1"].update(up=False)
    cluster.rows["node3"].update(weight=0)
    with pytest.raises(OperateError) as stop:
        cluster.rollout(bench.operator(), ["node2"])
    assert str(stop.value).splitlines() == [
        "without node2 the tier haproxy would have no server",
        "done: none; not begun: node2",
    ]
    assert cluster.nodes.orders == []


def test_a_node_that_is_out_already_is_not_put_in(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2", "node3")
    cluster.rows["node3"]["admin"] = "maint"
    with pytest.raises(OperateError, match="node3 is in maint already"):
        cluster.rollout(bench.operator())
    assert cluster.trace == []
    cluster.rollout(bench.operator(), ["node1", "node2"])
    assert cluster.states() == ["ready", "ready", "maint"]


def test_an_unknown_node_stops_it_before_it_begins(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2")
    with pytest.raises(OperateError, match="no tier has a server on node 'node7': node1, node2"):
        cluster.rollout(bench.operator(), ["node1", "node7"])
    assert cluster.trace == []


def test_ctrl_c_says_what_is_left(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "node2")

    def interrupt() -> None:
        raise KeyboardInterrupt

    cluster.on_run = interrupt
    with pytest.raises(OperateError) as stop:
        cluster.rollout(bench.operator())
    assert str(stop.value).splitlines() == [
        "interrupted",
        "done: none; node1 stays drained; not begun: node2",
    ]


def test_names_of_an_edge_that_are_none_never_reach_the_shell(bench: Bench) -> None:
    cluster = Cluster(bench, "node1", "$(reboot)")
    with pytest.raises(OperateError, match="is no name of a node"):
        cluster.rollout(bench.operator())
    assert cluster.trace == []


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("test {node} = node1 && test $EDGE_NODE = node1", 0),
        ("echo '{other} {node}' | grep -q '{other} node1'", 0),
        ("exit 9", 9),
        ("kill -9 $$", -9),
        ("no-such-command-at-all 2>/dev/null", 127),
    ],
)
def test_the_command_is_one_of_the_shell(script: str, status: int) -> None:
    assert run_script(script, "node1") == status


def test_lines_are_not_repeated_and_not_too_many(bench: Bench) -> None:
    server = row("node1", in_flight=100)
    bench.edge(server)
    script = [setting(server, in_flight=count) for count in itertools.chain(range(20, -1, -1))]
    lines = list(bench.operator(*script).drain("node1", PLENTY_S))
    assert lines[0].endswith("100 in haproxy")
    assert len(lines) < 10, "21 changes in much less than a second each"
