"""What outlives a generation: here an operator's orders for nodes, and sockets of systemd."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge.activation import Activation
from edge.orders import Orders, ServerOrder
from edge.resources import Resources
from ext.arena import Arena
from ext.limits import AdminState

pytestmark = pytest.mark.wire

ORDERS = Orders(
    settings={},
    tier=None,
    workers=1,
    drain_s=1.0,
    tiers=("haproxy@node1",),
    servers=(
        ServerOrder("haproxy@node1/node1", "127.0.0.1:1", 1, "node1"),
        ServerOrder("haproxy@node1/node2", "127.0.0.1:2", 1, "node2"),
    ),
    listeners=(("haproxy@node1", ("127.0.0.1", 0)),),
    admin=None,
)
MORE = ServerOrder("haproxy@node2/node1", "127.0.0.1:1", 1, "node1")


@pytest.fixture
def resources() -> Iterator[Resources]:
    made = Resources()
    yield made
    made.stop_listening()


class Crew:
    """One generation that serves."""

    def __init__(self, resources: Resources, orders: Orders, generation: int = 1) -> None:
        outfit = resources.equip(orders, generation)
        resources.accept(orders)
        self.arena: Arena = outfit.arena
        self._slots = outfit.slots["servers"]

    def order(self, key: str, state: AdminState) -> None:
        self.arena.set_server(self._slots[key], admin=state)

    def states(self) -> dict[str, AdminState]:
        return {
            key: AdminState(self.arena.server(slot)["admin"]) for key, slot in self._slots.items()
        }


def test_an_order_is_kept_by_a_reload(resources: Resources) -> None:
    Crew(resources, ORDERS).order("haproxy@node1/node1", AdminState.DRAIN)
    moved = ServerOrder("haproxy@node1/node1", "127.0.0.1:9", 1, "node1")
    states = Crew(resources, replace(ORDERS, servers=(moved, ORDERS.servers[1]))).states()
    assert states["haproxy@node1/node1"] is AdminState.DRAIN
    assert states["haproxy@node1/node2"] is AdminState.READY


def test_what_one_tier_thinks_of_a_node_is_its_own(resources: Resources) -> None:
    orders = replace(ORDERS, servers=(*ORDERS.servers, MORE))
    Crew(resources, orders).order("haproxy@node1/node1", AdminState.DRAIN)
    states = Crew(resources, orders).states()
    assert states["haproxy@node1/node1"] is AdminState.DRAIN
    assert states["haproxy@node2/node1"] is AdminState.READY


def test_a_tier_that_a_reload_adds_obeys_the_order_for_a_node(resources: Resources) -> None:
    Crew(resources, ORDERS).order("haproxy@node1/node1", AdminState.MAINT)
    states = Crew(resources, replace(ORDERS, servers=(*ORDERS.servers, MORE))).states()
    assert states["haproxy@node2/node1"] is AdminState.MAINT


def test_whole_tiers_as_servers_are_no_node(resources: Resources) -> None:
    tiers = (ServerOrder("cdn/elb", "elb", 1), ServerOrder("cdn@IAD/elb", "elb", 1))
    Crew(resources, replace(ORDERS, servers=tiers[:1])).order("cdn/elb", AdminState.DRAIN)
    states = Crew(resources, replace(ORDERS, servers=tiers)).states()
    assert states["cdn@IAD/elb"] is AdminState.READY


def test_a_node_that_was_removed_and_comes_again_is_ready(resources: Resources) -> None:
    Crew(resources, ORDERS).order("haproxy@node1/node2", AdminState.DRAIN)
    Crew(resources, replace(ORDERS, servers=ORDERS.servers[:1]))
    assert Crew(resources, ORDERS).states()["haproxy@node1/node2"] is AdminState.READY


def test_a_socket_of_systemd_that_nothing_uses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as used,
        socket.create_server(("127.0.0.1", 0)) as admin,
        socket.create_server(("127.0.0.1", 0)) as idle,
    ):
        resources = Resources(Activation([used, admin, idle]))
        orders = replace(
            ORDERS,
            listeners=(("haproxy@node1", used.getsockname()),),
            admin=admin.getsockname(),
        )
        outfit = resources.equip(orders, 1)
        resources.accept(orders)
        port = idle.getsockname()[1]
        assert capsys.readouterr().err == (
            f"edge: systemd listens on 127.0.0.1:{port}, which no tier of the file does\n"
        )
        assert outfit.admin_fd is not None
        with socket.fromfd(outfit.admin_fd, socket.AF_INET, socket.SOCK_STREAM) as taken:
            assert taken.getsockname() == admin.getsockname()
        without = replace(orders, admin=None)
        resources.equip(without, 2)
        resources.accept(without)  # closes the admin address
        resources.stop_listening()
