"""What outlives a generation: here an operator's orders for nodes, and sockets of systemd."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge.activation import Activation
from edge.handover import ResourcesRecord, SocketRecord
from edge.listen import ListenError
from edge.orders import Orders, ServerOrder
from edge.resources import Resources, restore_states, states_of
from ext.arena import Arena
from ext.limits import AdminState, ServerState

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
    let_go(made)


def let_go(resources: Resources) -> None:
    """Closes every socket."""
    nowhere = replace(ORDERS, listeners=(), admin=None)
    resources.equip(nowhere, 9)
    resources.accept(nowhere)


class Crew:
    """One generation that serves."""

    def __init__(self, resources: Resources, orders: Orders, generation: int = 1) -> None:
        outfit = resources.equip(orders, generation)
        resources.accept(orders)
        self.arena: Arena = outfit.arena
        self.tables = outfit.tables
        self._slots = outfit.slots["servers"]

    def order(self, key: str, state: AdminState) -> None:
        self.arena.set_server(self._slots[key], admin=state)

    def slot(self, key: str) -> int:
        return self._slots[key]

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


# -- the hand-over to another version -------------------------------------------------------------


def inherited(record: ResourcesRecord) -> ResourcesRecord:
    """The record as the next program has it, which here is the same process: with copies."""

    def copies(sockets: SocketRecord) -> SocketRecord:
        return replace(sockets, fds=[os.dup(fd) for fd in sockets.fds])

    return replace(
        record,
        memory={name: os.dup(fd) for name, fd in record.memory.items()},
        listening=[copies(each) for each in record.listening],
        stats=[copies(each) for each in record.stats],
        admin=None if record.admin is None else copies(record.admin),
        activation=[os.dup(fd) for fd in record.activation],
    )


KEY = bytes([127, 0, 0, 1])
TABLE = {
    "key_type": "ip",
    "size": 100,
    "key_bytes": 4,
    "expire_ms": 1000,
    "nopurge": False,
    "store": (("gpc0", 0), ("http_req_rate", 10_000)),
}
WITH_ALL = replace(
    ORDERS, admin=("127.0.0.1", 0), cache_bytes=2**22, tables={"clients@node1": TABLE}
)


def test_everything_is_taken_over(resources: Resources) -> None:
    crew = Crew(resources, WITH_ALL)
    crew.order("haproxy@node1/node1", AdminState.DRAIN)
    assert crew.tables["clients@node1"].set(KEY, {"gpc0": 3})
    resources.outcomes.upgraded()
    before = resources.hand_over()
    after = Resources(record=inherited(before))
    assert after.losses == []
    assert after.admin_address() == resources.admin_address()
    assert after.outcomes.read().upgrades == 1
    found = after.hand_over()
    assert found.data == before.data
    assert found.memory.keys() == before.memory.keys()
    outfit = after.equip(WITH_ALL, 2)
    with socket.socket(fileno=os.dup(before.listening[0].fds[0])) as listener:
        assert outfit.listeners[0][0].port == listener.getsockname()[1]
    server = outfit.arena.server(outfit.slots["servers"]["haproxy@node1/node1"])
    assert server["admin"] == AdminState.DRAIN
    crew.arena.set_server(0, connect_fail_streak=7)
    assert outfit.arena.server(0)["connect_fail_streak"] == 7, "the same memory"
    assert outfit.cache is not None
    table = outfit.tables["clients@node1"]
    assert [(key, data["gpc0"]) for key, *_, data in table.entries()] == [(KEY, 3)]
    assert after.memory_before == (outfit.arena, [table, outfit.cache])
    after.accept(WITH_ALL)
    let_go(after)


def test_memory_that_this_version_does_not_know_is_closed(resources: Resources) -> None:
    Crew(resources, ORDERS)
    record = inherited(resources.hand_over())
    unknown = os.memfd_create("of-a-later-version")
    record.memory["of-a-later-version"] = unknown
    let_go(Resources(record=record))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(unknown)


def of_another_layout(fd: int) -> int:
    """A copy of shared memory whose head says another version."""
    changed = os.memfd_create("test")
    os.ftruncate(changed, os.fstat(fd).st_size)
    os.pwrite(changed, os.pread(fd, 4096, 0), 0)
    os.pwrite(changed, (99).to_bytes(8, "little"), 8)
    return changed


def test_servers_keep_their_states_in_an_arena_of_another_layout(resources: Resources) -> None:
    crew = Crew(resources, WITH_ALL)
    crew.order("haproxy@node1/node1", AdminState.MAINT)
    crew.arena.set_server(1, state=ServerState.DOWN, weight=7, health=2, check_status="L4CON")
    record = inherited(resources.hand_over())
    record.memory["arena"] = of_another_layout(record.memory["arena"])
    after = Resources(record=record)
    assert [line.partition(":")[0] for line in after.losses] == [
        "the stick table clients@node1 begins empty",
        "the cache begins empty",
        "counters begin at zero",
    ]
    assert after.memory_before == (None, [])
    outfit = after.equip(WITH_ALL, 2)
    first, second = (outfit.arena.server(slot) for slot in outfit.slots["servers"].values())
    assert first["admin"] == AdminState.MAINT
    assert (second["state"], second["health"]) == (ServerState.DOWN, 2)
    assert second["check_status"] == "L4CON"
    let_go(after)


def test_a_cache_of_another_layout_costs_the_cache_only(resources: Resources) -> None:
    Crew(resources, WITH_ALL)
    record = inherited(resources.hand_over())
    record.memory["cache"] = of_another_layout(record.memory["cache"])
    after = Resources(record=record)
    assert len(after.losses) == 1
    arena, others = after.memory_before
    assert arena is not None
    assert len(others) == 1, "the stick table"
    assert after.equip(WITH_ALL, 2).cache is not None, "an empty one"
    let_go(after)


def test_a_cache_that_is_replaced_or_not_wanted_lets_its_memory_go(resources: Resources) -> None:
    Crew(resources, WITH_ALL)
    first = resources.hand_over().memory["cache"]
    resources.equip(replace(WITH_ALL, cache_bytes=2**23), 2)
    second = resources.hand_over().memory["cache"]
    resources.undo()
    assert resources.hand_over().memory["cache"] == first
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(second)
    Crew(resources, ORDERS, 3)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(first)


def test_an_address_that_is_taken_is_found_without_listening(resources: Resources) -> None:
    Crew(resources, ORDERS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[:2]
        for orders in (replace(ORDERS, admin=taken), replace(ORDERS, listeners=(("t", taken),))):
            with pytest.raises(ListenError, match="another process uses this port"):
                resources.refuse_taken(orders)
    resources.refuse_taken(ORDERS)


def test_a_weight_of_an_operator_stays_until_the_file_gives_another(resources: Resources) -> None:
    key, other = (server.key for server in ORDERS.servers)

    def weights(orders: Orders) -> list[tuple[int, int]]:
        crew = Crew(resources, orders)
        views = [crew.arena.server(crew.slot(name)) for name in (key, other)]
        return [(view["user_weight"], view["file_weight"]) for view in views]

    crew = Crew(resources, ORDERS)
    crew.arena.set_server(crew.slot(key), weight=77)
    crew.arena.set_server(crew.slot(other), weight=0)
    assert weights(ORDERS) == [(77, 1), (0, 1)]
    changed = replace(ORDERS, servers=(replace(ORDERS.servers[0], weight=5), ORDERS.servers[1]))
    assert weights(changed) == [(5, 5), (0, 1)]


def test_a_generation_that_does_not_come_up_changes_no_weight(resources: Resources) -> None:
    crew = Crew(resources, ORDERS)
    slot = crew.slot(ORDERS.servers[0].key)
    crew.arena.set_server(slot, weight=77)
    heavier = replace(ORDERS, servers=(replace(ORDERS.servers[0], weight=5),))
    resources.equip(heavier, 2)
    resources.undo()
    assert crew.arena.server(slot)["user_weight"] == 77


def test_what_was_set_at_run_time_goes_with_the_server(resources: Resources) -> None:
    crew = Crew(resources, ORDERS)
    slot = crew.slot(ORDERS.servers[1].key)
    crew.arena.set_server(slot, weight=9, maxconn=3, ramp=4, agent_down=True)
    Crew(resources, replace(ORDERS, servers=ORDERS.servers[:1]))
    view = Crew(resources, ORDERS).arena.server(slot)
    found = (view["user_weight"], view["maxconn"], view["ramp"], view["agent_down"])
    assert found == (1, 0, 0, False)


def test_what_an_operator_has_set_is_kept_in_an_arena_of_another_layout(
    resources: Resources,
) -> None:
    crew = Crew(resources, ORDERS)
    slot = crew.slot(ORDERS.servers[0].key)
    crew.arena.set_server(slot, weight=77, ramp=4, ramp_began_at=5.0, maxconn=3, agent_down=True)
    states = states_of(crew.arena)
    made = Arena.create()
    try:
        restore_states(made, states)
        assert states_of(made) == states
        view = made.server(made.server_slot(ORDERS.servers[0].key))
        assert (view["user_weight"], view["file_weight"], view["ramp"]) == (77, 1, 4)
    finally:
        os.close(made.fd)
