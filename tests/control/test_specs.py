"""From settings to checks: what is asked, how often, and who is not asked at all."""

import asyncio
from collections.abc import Callable

import pytest

from edge.check_rules import Connect, Expect, Send, What
from edge.control.specs import check_specs
from edge.health.checks import TcpProbe, TierProbe
from edge.health.machine import Thresholds
from edge.health.observed import OnError
from edge.health.sequence import SequenceProbe
from edge.health.slowstart import SlowStart
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
    assert node.probe == SequenceProbe(
        "127.0.0.1",
        9001,
        (
            Connect(is_implicit=True),
            Send(b"GET /hc HTTP/1.0\r\nhost: shop.example\r\n\r\n"),
            Expect(What.STATUS, codes=((200, 200), (302, 302))),
        ),
        is_http=True,
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
    (spec,) = check_specs(built.plan, built.job, built.arena)
    assert (spec.key, spec.probe, spec.agent) == ("haproxy/node1", None, None)


RULES = """
haproxy:
  listen: 127.0.0.1:8080
  slowstart: 30s
  health_check: CHECK
nodes:
  - {name: node1, web: 127.0.0.1:9001}
  - {name: node2, web: 127.0.0.1:9002, agent_port: 77}
"""
GET = Send(b"GET / HTTP/1.0\r\n\r\n")
ANY_2XX = Expect(What.STATUS, codes=((200, 299),), step=1)
HAS_OK = Expect(What.STRING, b"OK", step=1)


@pytest.mark.parametrize(
    ("check", "rules", "is_http"),
    [
        ("{http_check: [expect status 200-299]}", (GET, ANY_2XX), True),
        (
            "{path: /hc, http_check: [expect string OK]}",
            (Send(b"GET /hc HTTP/1.0\r\n\r\n"), HAS_OK),
            True,
        ),
        (
            "{expect: '200', http_check: [send uri /x]}",
            (
                Send(b"OPTIONS /x HTTP/1.0\r\n\r\n", step=1),
                Expect(What.STATUS, codes=((200, 200),)),
            ),
            True,
        ),
        (
            "{tcp_check: ['send A', expect string OK]}",
            (Send(b"A", step=1), Expect(What.STRING, b"OK", step=2)),
            False,
        ),
    ],
)
def test_rules_of_the_file(
    world: BuildWorld, check: str, rules: tuple[object, ...], is_http: bool
) -> None:
    built = world(RULES.replace("CHECK", check))
    probe = check_specs(built.plan, built.job, built.arena)[0].probe
    assert isinstance(probe, SequenceProbe)
    assert probe.rules == (Connect(is_implicit=True), *rules)
    assert (probe.is_http, probe.is_running) == (is_http, None)


def test_a_404_stops_a_server_that_runs_only(world: BuildWorld) -> None:
    built = world(RULES.replace("CHECK", "{path: /, disable_on_404: true}"))
    probe = check_specs(built.plan, built.job, built.arena)[0].probe
    assert isinstance(probe, SequenceProbe)
    assert probe.is_running is not None
    for state in ServerState:
        built.arena.set_server(built.slot("haproxy/node1"), state=state)
        assert probe.is_running() is (state is not ServerState.DOWN)


def test_agents_and_slow_starts_of_the_file(world: BuildWorld) -> None:
    agent = '{agent: {port: 76, interval: 3s, send: "hi\\n"}}'
    built = world(RULES.replace("CHECK", agent))
    specs = check_specs(built.plan, built.job, built.arena)
    agents = [spec.agent for spec in specs if spec.agent is not None]
    asked = [(each.probe.host, each.probe.port, each.probe.send) for each in agents]
    assert asked == [("127.0.0.1", 76, b"hi\n"), ("127.0.0.1", 77, b"hi\n")]
    assert {each.interval_s for each in agents} == {3.0}
    assert {spec.slow_start for spec in specs} == {SlowStart(30.0)}


BACKENDS = """
haproxy:
  listen: 127.0.0.1:8080
  slowstart: 30s
  observe: layer4
  backends:
    api: {slowstart: 5s, on_error: mark-down}
    web: {observe: null}
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""


def test_slow_starts_and_passive_health_are_of_the_backend(world: BuildWorld) -> None:
    built = world(BACKENDS)
    specs = check_specs(built.plan, built.job, built.arena)
    assert [(spec.key, spec.slow_start, spec.on_error) for spec in specs] == [
        ("haproxy/node1", SlowStart(30.0), OnError("fail-check")),
        ("api/node1", SlowStart(5.0), OnError("mark-down")),
        ("web/node1", SlowStart(30.0), None),
    ]
