"""The `tcp` rows, and the PROXY protocol's keys of every tier: what is right, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edge.settings import Haproxy, Settings, Tcp
from edge.settings.conflicts import find_conflicts
from edge.settings.document import path_text

ROW: dict[str, Any] = {"name": "mysql", "listen": "127.0.0.1:3307", "node_port": 3306}
NODE = {"name": "n1", "role": "core", "host": "10.0.0.1"}


def conflicts(tcp: list[Any], **more: Any) -> list[tuple[str, str]]:
    values = {"tcp": tcp, "nodes": [NODE]} | more
    return [(path_text(path), text) for path, text in find_conflicts(values)]


def test_a_row_alone_is_a_configuration() -> None:
    assert conflicts([ROW]) == []
    settings = Settings.model_validate({"tcp": [ROW], "nodes": [NODE]})
    assert settings.tcp[0].timeouts.client_s == 50.0
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"node_port": None}, "tcp[0]", "needs servers: give `node_port`"),
        ({"servers": [{"name": "a", "address": "h:1"}]}, "tcp[0]", "needs servers"),
        ({"name": "elb"}, "tcp[0].name", "elb is the name of a tier of HTTP"),
        ({"accept_proxy_from": ["::/0"]}, "tcp[0].accept_proxy_from", "changes nothing without"),
        (
            {"node_port": None, "servers": 2 * [{"name": "a", "address": "h:1"}]},
            "tcp[0].servers[1].name",
            "'a' is a server above already",
        ),
    ],
)
def test_rows_that_conflict(changes: dict[str, Any], path: str, text: str) -> None:
    found = conflicts([ROW | changes])
    assert [each for each, _ in found] == [path]
    assert found[0][1].startswith(text)


def test_names_and_addresses_are_unique() -> None:
    other = ROW | {"listen": "127.0.0.1:3308"}
    assert conflicts([ROW, other]) == [
        ("tcp[1].name", "'mysql' is the name of tcp[0]; names are unique")
    ]
    assert conflicts([ROW, ROW | {"name": "other"}]) == [
        ("tcp[1].listen", "127.0.0.1:3307 is already the address of tcp[0].listen")
    ]


def test_node_port_needs_to_know_where_the_nodes_are() -> None:
    found = conflicts([ROW], nodes=[{"name": "n1", "role": "core"}])
    assert found == [("tcp[0].node_port", "the node n1 has no address: give it `host`")]
    found = conflicts([ROW], nodes=[{"name": "n1", "role": "web", "web": "127.0.0.1:1"}])
    assert found == [("tcp[0].node_port", "no node runs services: the role of each is web")]


def test_core_nodes_alone_do_for_tcp_and_not_for_http() -> None:
    assert conflicts([ROW], haproxy={"listen": "127.0.0.1:80"}) == [
        ("nodes", "every node is a core node: one at least must take web traffic")
    ]


def test_networks_of_a_tier_without_accept_proxy() -> None:
    found = conflicts([ROW], elb={"accept_proxy_from": ["10.0.0.0/8"]}, nodes=[NODE | {"web": 1}])
    assert ("elb.accept_proxy_from", "changes nothing without `accept_proxy: true`") in found


@pytest.mark.parametrize(
    ("network", "kept"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.1", "10.0.0.1/32"), ("2001:DB8::/32", "2001:db8::/32")],
)
def test_networks(network: str, kept: str) -> None:
    haproxy = Haproxy.model_validate({"accept_proxy": True, "accept_proxy_from": [network]})
    assert haproxy.accept_proxy_from == [kept]


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "lan", "", 10, None])
def test_what_is_no_network(network: object) -> None:
    with pytest.raises(ValueError, match=r"must be a network such as|valid string"):
        Haproxy.model_validate({"accept_proxy": True, "accept_proxy_from": [network]})


@pytest.mark.parametrize(
    "changes",
    [
        {"accept_proxy_from": [], "accept_proxy": True},
        {"send_proxy": "v3"},
        {"send_proxy": True},
        {"node_port": 0},
        {"servers": []},
        {"balance": "uri"},
        {"name": "a/b"},
        {"name": "a@b"},
        {"timeouts": {"http_request": 1}},
        {"forwarded": {}},
    ],
)
def test_values_that_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Tcp.model_validate(ROW | changes)
