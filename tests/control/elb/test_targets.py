"""edge.control.elb.targets and keeper: orders for targets, and what follows in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.control.elb.keeper import ElbKeeper
from edge.control.elb.targets import Asked, Targets
from edge.control.elb.xml import ApiError
from edge.elb.anomaly import LOOKS_BAD
from edge.registry import Registry
from edge.settings import Settings
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.node import Node
from edge.settings.target_group import TargetGroup
from ext.limits import AdminState, ServerState
from tests.control.conftest import CHAIN, World

BuildWorld = Callable[[str], World]
NODES = [
    Node(name="node1", web="127.0.0.1:9001"),
    Node(name="node2", web="127.0.0.1:9002"),
    Node(name="node3", web="127.0.0.1:9003"),
]
THREE = CHAIN.rstrip() + "\n  - {name: node3, web: 127.0.0.1:9003}\n"
KEYS = [f"elb/haproxy@node{number}" for number in (1, 2, 3)]


class Clock:
    now = 1_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr("edge.control.elb.targets.wall", lambda: made.now)
    yield made


class Elbs:
    """Targets of a world, and the orders they give."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.reloads = 0
        self.cuts: list[int] = []
        elb = Elb(listen="127.0.0.1:8081", **settings)
        file = Settings(elb=elb, haproxy=Haproxy(), nodes=NODES)
        self.targets = Targets(
            world.arena, world.plan, file, world.job.slots["servers"], {}, self.reload
        )

    def reload(self) -> None:
        self.reloads += 1

    def expire(self) -> None:
        self.targets.expire(self.cuts.append)

    def states(self) -> dict[str, str]:
        return {target.id: target.health.state for target in self.targets.all()}

    def admin(self, key: str) -> int:
        return self.world.arena.server(self.world.slot(key))["admin"]


def test_states_are_those_of_the_arena(world: BuildWorld) -> None:
    elbs = Elbs(world(THREE))
    arena = elbs.world.arena
    slots = [elbs.world.slot(key) for key in KEYS]
    arena.set_server(slots[0], state=ServerState.DOWN)
    arena.set_server(slots[1], state=ServerState.DOWN, checked=True, check_status="L7STS")
    arena.set_server(slots[2], admin=AdminState.MAINT)
    assert elbs.states() == {"node1": "initial", "node2": "unhealthy", "node3": "unused"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Asked("node2"), "node2"),
        (Asked("haproxy@node2"), "node2"),
        (Asked("127.0.0.1", 9002), "node2"),
        (Asked("node2", 9002), "node2"),
        (Asked("node2", 9001), None),
        (Asked("127.0.0.1", 1), None),
    ],
)
def test_targets_are_found(world: BuildWorld, asked: Asked, found: str | None) -> None:
    target = Elbs(world(THREE)).targets.asked(asked)
    assert (None if target is None else target.id) == found


def test_deregistering_and_coming_back(world: BuildWorld, clock: Clock) -> None:
    elbs = Elbs(world(THREE))
    elbs.targets.deregister([Asked("node1"), Asked("never-there")])
    assert elbs.states()["node1"] == "draining"
    assert elbs.admin(KEYS[0]) == AdminState.DRAIN
    assert elbs.admin("haproxy@node2/node1") == AdminState.READY, "of the group alone"
    clock.now += 299
    elbs.targets.deregister([Asked("node1")])
    assert elbs.targets.registry.deregistered == {"node1": 1_300.0}, "the delay runs on"
    clock.now += 1
    assert elbs.states()["node1"] == "unused"
    assert [target.id for target in elbs.targets.registered()] == ["node2", "node3"]
    elbs.targets.register([Asked("node1")])
    assert elbs.admin(KEYS[0]) == AdminState.READY
    assert elbs.targets.registry == Registry()
    assert elbs.reloads == 0


def test_what_still_runs_is_cut_at_the_end_of_the_delay(world: BuildWorld, clock: Clock) -> None:
    group = TargetGroup(deregistration_delay_timeout_seconds=5)
    elbs = Elbs(world(THREE), target_group=group)
    elbs.targets.deregister([Asked("node1")])
    running: set[int] = {elbs.world.slot(KEYS[0])}
    real = elbs.world.arena

    class Busy:
        def server_counters(self, slot: int) -> dict[str, int]:
            return {"in_flight": int(slot in running)}

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    elbs.targets._arena = Busy()  # type: ignore[assignment]
    elbs.expire()
    assert elbs.cuts == []
    clock.now += 5
    elbs.expire()
    assert elbs.cuts == [elbs.world.slot(KEYS[0])]
    running.clear()
    elbs.expire()
    assert len(elbs.cuts) == 1


def test_an_operator_who_takes_it_in_registers_it(world: BuildWorld) -> None:
    elbs = Elbs(world(THREE))
    elbs.targets.deregister([Asked("node1")])
    elbs.world.arena.set_server(elbs.world.slot(KEYS[0]), admin=AdminState.READY)
    elbs.expire()
    assert elbs.targets.registry == Registry()


def test_a_new_target_is_noted_and_brings_a_generation(world: BuildWorld) -> None:
    elbs = Elbs(world(THREE))
    elbs.targets.register([Asked("192.0.2.4", 80, "a"), Asked("2001:db8::4", 80)])
    assert elbs.reloads == 1
    assert [(node.name, node.web, node.target_id) for node in elbs.targets.registry.nodes] == [
        ("ip-192-0-2-4-80", "192.0.2.4:80", "192.0.2.4"),
        ("ip-2001-db8--4-80", "[2001:db8::4]:80", "2001:db8::4"),
    ]
    assert elbs.states()["192.0.2.4"] == "initial"


def test_all_or_none(world: BuildWorld) -> None:
    elbs = Elbs(world(THREE))
    with pytest.raises(ApiError):
        elbs.targets.register([Asked("192.0.2.4", 80), Asked("nowhere")])
    assert elbs.targets.registry == Registry()
    assert elbs.reloads == 0


def test_weights_follow_anomalies(world: BuildWorld) -> None:
    group = TargetGroup(load_balancing_algorithm_anomaly_mitigation=True)
    elbs = Elbs(world(THREE), balance="weighted_random", target_group=group)
    requests = {key: [0, 0] for key in KEYS}
    arena = elbs.world.arena

    class Counted:
        def server_counters(self, slot: int) -> dict[str, int]:
            key = next(key for key in KEYS if elbs.world.slot(key) == slot)
            total, failed = requests[key]
            return {"requests": total, "responses_5xx": failed, "connect_errors": 0,
                    "response_errors": 0}  # fmt: skip

        def __getattr__(self, name: str) -> Any:
            return getattr(arena, name)

    keeper = ElbKeeper(elbs.targets, Counted())  # type: ignore[arg-type]
    keeper.look()
    for _ in range(LOOKS_BAD):
        for key in KEYS:
            requests[key][0] += 100
        requests[KEYS[1]][1] += 50
        keeper.look()
    assert keeper.trends()[KEYS[1]].result == "anomalous"
    weights = [arena.server(elbs.world.slot(key))["weight"] for key in KEYS]
    assert weights == [100, 50, 100]
