"""edge.layer4: the numbers that the relay takes, from the settings' words."""

from __future__ import annotations

from typing import Any

import pytest

from edge.layer4 import PROXY_VERSIONS, proxy_peers, tcp_tier_options, tcp_times_ms
from edge.plan import CheckPlan, ListenerPlan, build_plan, tier_names
from edge.settings import Elb, Node, Settings, Tcp
from edge.settings.tier import Tier
from ext.proxyline import parse_for_test

NODES = [
    Node(name="n1", role="core", host="10.0.0.1"),
    Node(name="n2", web="10.0.0.2:80", haproxy="10.9.9.9:80", weight=3),
    Node(name="n3", web="10.0.0.3:80", role="web"),
    Node(name="n4", web="[2001:db8::4]:80", backup=True),
]


def row(**changes: Any) -> Tcp:
    return Tcp.model_validate({"name": "db", "listen": "127.0.0.1:3307"} | changes)


def test_times() -> None:
    timeouts: dict[str, Any] = {"client": "20s", "server": "30s"}
    settings = row(timeouts=timeouts)
    assert tcp_times_ms(settings) == {
        "header": 20_000,
        "silence": 20_000,
        "client_fin": 0,
        "server_fin": 0,
    }
    more = {"client_hs": "3s", "tunnel": "1h", "client_fin": "1s", "server_fin": "500ms"}
    assert tcp_times_ms(row(timeouts=timeouts | more)) == {
        "header": 3_000,
        "silence": 3_600_000,
        "client_fin": 1_000,
        "server_fin": 500,
    }


def test_tier_options() -> None:
    options = tcp_tier_options(row(error_limit=7, max_connections=0), 99)
    assert (options["error_limit"], options["connections_max"], options["idle_max"]) == (7, 99, 0)
    assert options["timeouts_ms"]["queue"] == options["timeouts_ms"]["connect"] == 5_000
    unchecked = row(error_limit=7, max_connections=5, health_check={"enabled": False})
    options = tcp_tier_options(unchecked, 99)
    assert (options["error_limit"], options["connections_max"]) == (0, 5)


def test_every_version_has_its_number() -> None:
    names = Tier.model_fields["send_proxy"].annotation
    assert set(PROXY_VERSIONS) == set(names.__args__)  # type: ignore[union-attr]
    assert parse_for_test(b"PROXY UNKNOWN\r\n") == (15, None, None)


@pytest.mark.parametrize(
    ("settings", "address", "expected"),
    [
        (row(), "10.0.0.1", None),
        (row(accept_proxy=True), "10.0.0.1", True),
        (row(accept_proxy=True, accept_proxy_from=["10.0.0.0/8"]), "10.0.0.1", True),
        (row(accept_proxy=True, accept_proxy_from=["10.0.0.0/8"]), "11.0.0.1", False),
        (Elb(accept_proxy=True), "11.0.0.1", True),
    ],
)
def test_peers(settings: Tcp | Elb, address: str, expected: bool | None) -> None:
    peers = proxy_peers(settings)
    assert (None if peers is None else peers.covers_for_test(address)) is expected


# -- the plan ------------------------------------------------------------------------------------


def test_plan_of_a_port_of_every_node_that_runs_services() -> None:
    settings = Settings(tcp=[row(node_port=3306, send_proxy="v2")], nodes=NODES)
    plan = build_plan(settings, None)
    (tier,) = plan.tiers
    assert (tier.name, tier.kind, tier.port) == ("db", "tcp", 3307)
    assert [(s.key, s.address, s.weight, s.backup, s.node) for s in tier.servers] == [
        ("db/n1", "10.0.0.1:3306", 1, False, "n1"),
        ("db/n2", "10.0.0.2:3306", 3, False, "n2"),
        ("db/n4", "[2001:db8::4]:3306", 1, True, "n4"),
    ]
    assert plan.listeners == (ListenerPlan("db", "127.0.0.1", 3307),)
    assert plan.checks[0] == CheckPlan(
        "db/n1", "tcp", "10.0.0.1:3306", None, tier.settings.health_check, "v2"
    )


def test_plan_of_servers() -> None:
    servers = [
        {"name": "n1", "address": "10.1.1.1:6379", "maxconn": 5},
        {"name": "spare", "address": "10.1.1.2:6379", "weight": 2, "backup": True},
    ]
    settings = Settings(tcp=[row(servers=servers, server_maxconn=9)], nodes=NODES)
    (tier,) = build_plan(settings, None).tiers
    assert [(s.name, s.address, s.weight, s.backup, s.maxconn, s.node) for s in tier.servers] == [
        ("n1", "10.1.1.1:6379", 1, False, 5, "n1"),
        ("spare", "10.1.1.2:6379", 2, True, 9, None),
    ]


def test_plan_of_one_listener_or_of_the_rest() -> None:
    settings = Settings(
        elb=Elb(listen="127.0.0.1:80"),
        tcp=[row(node_port=1), row(name="redis", listen="127.0.0.1:3308", node_port=2)],
        nodes=NODES,
    )
    assert tier_names(settings) == ["elb", "db", "redis"]
    assert [tier.name for tier in build_plan(settings, None).tiers] == ["elb", "db", "redis"]
    assert [tier.name for tier in build_plan(settings, "redis").tiers] == ["redis"]
    assert [tier.name for tier in build_plan(settings, "elb").tiers] == ["elb"]
