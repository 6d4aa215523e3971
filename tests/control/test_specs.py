"""From settings to checks: what is asked, how often, and who is not asked at all."""

import asyncio
from collections.abc import Callable

from edge.control.specs import check_specs, unchecked_slots
from edge.health.checks import HttpProbe, TcpProbe, TierProbe
from edge.health.machine import Thresholds
from ext.limits import ServerState
from tests.control.conftest import CHAIN, UNCHECKED, World

BuildWorld = Callable[[str], World]


def test_every_server_of_the_chain_has_its_own_check(world: BuildWorld) -> None:
    built = world(CHAIN)
    specs = {spec.key: spec for spec in check_specs(built.plan, built.job, built.arena)}
    assert set(specs) == {
        "elb/haproxy@node1",
        "elb/haproxy@node2",
        "haproxy@node1/node1",
        "haproxy@node1/node2",
        "haproxy@node2/node1",
        "haproxy@node2/node2",
    }
    node = specs["haproxy@node2/node1"]
    assert node.probe == HttpProbe(
        "127.0.0.1",
        9001,
        b"GET /hc HTTP/1.0\r\nHost: shop.example\r\n\r\n",
        ((200, 200), (302, 302)),
    )
    assert node.thresholds == Thresholds(4, 5, 3.0, 3.0, 3.0)
    assert node.timeout_s == 3.0
    assert node.slot == built.slot("haproxy@node2/node1")


def test_a_check_without_path_is_a_connect(world: BuildWorld) -> None:
    text = CHAIN.replace("path: /hc, ", "").replace("host: shop.example, ", "")
    built = world(text.replace('expect: "200,302", ', "timeout: 500ms, fast_interval: 1s, "))
    spec = next(
        spec
        for spec in check_specs(built.plan, built.job, built.arena)
        if spec.key == "haproxy@node1/node2"
    )
    assert spec.probe == TcpProbe("127.0.0.1", 9002)
    assert spec.timeout_s == 0.5
    assert spec.thresholds == Thresholds(4, 5, 3.0, 1.0, 3.0)


def test_a_target_is_up_while_its_haproxy_has_a_usable_server(world: BuildWorld) -> None:
    built = world(CHAIN)
    probe = next(
        spec.probe
        for spec in check_specs(built.plan, built.job, built.arena)
        if spec.key == "elb/haproxy@node2"
    )
    assert isinstance(probe, TierProbe)

    def codes() -> int | None:
        return asyncio.run(probe.run(1.0)).code

    assert codes() == 200
    built.arena.set_server(built.slot("haproxy@node2/node1"), state=ServerState.DOWN)
    # The other haproxy's opinion does not matter.
    built.arena.set_server(built.slot("haproxy@node1/node1"), state=ServerState.DOWN)
    built.arena.set_server(built.slot("haproxy@node1/node2"), state=ServerState.DOWN)
    assert codes() == 200
    built.arena.set_server(built.slot("haproxy@node2/node2"), state=ServerState.DOWN)
    assert codes() == 503


def test_a_disabled_check_leaves_its_servers_unchecked(world: BuildWorld) -> None:
    built = world(UNCHECKED)
    assert check_specs(built.plan, built.job, built.arena) == []
    assert unchecked_slots(built.plan, built.job) == [built.slot("haproxy/node1")]
