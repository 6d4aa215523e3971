"""Orders for nodes: which servers they reach, what the answers say, what they leave alone."""

from collections.abc import Callable

import pytest

from edge.control.guard import Guard
from edge.control.nodes import NodeApi, nodes_of
from ext.limits import AdminState, ServerState
from tests.control.asking import ask
from tests.control.conftest import CHAIN, SHOP, World

BuildWorld = Callable[[str], World]
NODE1 = ("elb/haproxy@node1", "haproxy@node1/node1", "haproxy@node2/node1")
NODE2 = ("elb/haproxy@node2", "haproxy@node1/node2", "haproxy@node2/node2")
SHIELDED = SHOP.replace("8080}", "8080, shield: IAD}").replace("haproxy: {}\n", "")


def api(world: World, token: str | None = None) -> NodeApi:
    return NodeApi(world.arena, world.view, world.job.slots["servers"], Guard(token))


def states(world: World, keys: tuple[str, ...]) -> list[AdminState]:
    return [AdminState(world.arena.server(world.slot(key))["admin"]) for key in keys]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("order", "state"),
    [("drain", AdminState.DRAIN), ("maint", AdminState.MAINT), ("ready", AdminState.READY)],
)
def test_an_order_is_for_every_tier_that_has_the_node(
    world: BuildWorld, order: str, state: AdminState
) -> None:
    built = world(CHAIN)
    before = AdminState.READY if state is AdminState.DRAIN else AdminState.DRAIN
    for key in (*NODE1, *NODE2):
        built.arena.set_server(built.slot(key), admin=before)
    epoch = built.arena.epoch
    status, answer, _ = ask(built, api(built), "POST", f"/nodes/node1/{order}")
    assert status == 200
    assert states(built, NODE1) == [state] * 3
    assert states(built, NODE2) == [before] * 3
    assert built.arena.epoch > epoch, "workers look again"
    assert answer["node"] == "node1"
    assert [(server["tier"], server["name"], server["admin"]) for server in answer["servers"]] == [
        ("elb", "haproxy@node1", order),
        ("haproxy@node1", "node1", order),
        ("haproxy@node2", "node1", order),
    ]


@pytest.mark.wire
def test_an_order_is_said_once(world: BuildWorld, capsys: pytest.CaptureFixture[str]) -> None:
    built = world(CHAIN)
    for _ in range(2):
        assert ask(built, api(built), "POST", "/nodes/node2/drain")[0] == 200
    assert capsys.readouterr().err == "edge: node node2 is DRAIN: ordered by 127.0.0.1\n"


@pytest.mark.wire
def test_a_node_that_is_not_there_is_404_and_says_which_are(world: BuildWorld) -> None:
    built = world(CHAIN)
    for method, path in (("POST", "/nodes/node9/drain"), ("GET", "/nodes/node9")):
        status, answer, _ = ask(built, api(built), method, path)
        assert status == 404
        assert answer["error"].endswith("on node 'node9'; nodes: node1, node2")


@pytest.mark.wire
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nodes/node1/drain", 405),
        ("DELETE", "/nodes/node1", 405),
        ("POST", "/nodes/node1/explode", 404),
    ],
)
def test_nothing_else_can_be_ordered(
    world: BuildWorld, method: str, path: str, status: int
) -> None:
    built = world(CHAIN)
    assert ask(built, api(built), method, path)[0] == status
    assert states(built, NODE1) == [AdminState.READY] * 3


@pytest.mark.wire
def test_everything_is_listed_with_what_who_waits_needs(world: BuildWorld) -> None:
    built = world(CHAIN)
    slot = built.slot("haproxy@node2/node1")
    built.arena.set_server(slot, state=ServerState.DOWN, admin=AdminState.DRAIN)
    status, answer, _ = ask(built, api(built), "GET", "/nodes")
    assert status == 200
    assert [node["node"] for node in answer["nodes"]] == ["node1", "node2"]
    assert answer["nodes"][0]["servers"][2] == {
        "tier": "haproxy@node2",
        "name": "node1",
        "admin": "drain",
        "status": "DOWN",
        "up": False,
        "weight": 3,
        "in_flight": 1000 * slot + 2,
        "checked": True,
        "check_age_s": None,
    }


def test_a_cdn_in_front_of_nodes_has_them_and_its_shield_is_none(world: BuildWorld) -> None:
    found = nodes_of(world(SHIELDED).view)
    assert {node: [tier for tier, _ in servers] for node, servers in found.items()} == {
        "node1": ["cdn@IAD"]
    }
