"""edge.balancing: a tier's settings as its balancer and its key."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from edge.balancing import make_balancer, make_key
from edge.plan import ServerPlan, TierPlan, build_plan
from edge.settings import Elb, Haproxy, Node, Settings
from ext.arena import Arena
from ext.balance import BALANCERS
from ext.farm import Balancer
from ext.limits import ServerState

NODES = [Node(name=f"node{number}", web=f"127.0.0.1:{number}") for number in range(1, 4)]


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def balancer(arena: Arena, kind: Any, settings: Any, **server: Any) -> tuple[Balancer, list[int]]:
    servers = tuple(
        ServerPlan(node.name, f"t/{node.name}", node.web, None, **server) for node in NODES
    )
    slots = [arena.server_slot(server.key) for server in servers]
    rows = [(slot, 0, server.backup) for slot, server in zip(slots, servers, strict=True)]
    plan = TierPlan("t", kind, settings, servers, 80)
    return make_balancer(arena, arena.claim_row(1), rows, plan), slots


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Haproxy(), "roundrobin"),
        (Haproxy(balance="first"), "first"),
        (Haproxy(balance="random(3)"), "random"),
        (Haproxy(balance="uri depth 2"), "map-based"),
        (Haproxy(balance="hdr(Host)", hash_type="consistent djb2"), "consistent"),
        (Elb(), "roundrobin"),
        (Elb(balance="least_outstanding_requests"), "leastconn"),
        (Elb(balance="weighted_random"), "random"),
        (Elb(balance="source"), "consistent"),
    ],
    ids=str,
)
def test_every_setting_has_its_algorithm(arena: Arena, settings: Any, kind: str) -> None:
    made, _ = balancer(arena, "elb" if isinstance(settings, Elb) else "haproxy", settings)
    assert type(made) is BALANCERS[kind]


def test_an_elb_fails_open_and_a_haproxy_closed(arena: Arena) -> None:
    for kind, settings, picked in (("elb", Elb(), True), ("haproxy", Haproxy(), False)):
        made, slots = balancer(arena, kind, settings)
        for slot in slots:
            arena.set_server(slot, state=ServerState.DOWN)
        assert (made.pick_for_test() >= 0) is picked


def test_backups_as_the_file_says(arena: Arena) -> None:
    for allbackups, count in ((False, 1), (True, 3)):
        made, _ = balancer(arena, "haproxy", Haproxy(allbackups=allbackups), backup=True)
        assert len({made.pick_for_test() for _ in range(9)}) == count


def test_a_weight_of_run_time_is_not_the_file_s(arena: Arena) -> None:
    """A static algorithm keeps to the file, also when it is made after an operator's order."""
    slot = arena.server_slot("t/node1")
    arena.set_server(slot, weight=200)
    made, _ = balancer(arena, "haproxy", Haproxy(balance="static-rr"), weight=1)
    assert [made.pick_for_test() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def chain(**tiers: Any) -> list[TierPlan]:
    plan = build_plan(Settings(nodes=NODES, **tiers), None)
    by_kind = {tier.kind: tier for tier in reversed(plan.tiers)}
    return [by_kind[kind] for kind in ("elb", "haproxy") if kind in by_kind]


def hashed(key: Any, target: str) -> int | None:
    assert key is not None
    found: int | None = key.of_request_for_test(
        f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), b"1.2.3.4"
    )
    return found


def test_keys_follow_the_settings() -> None:
    tiers = chain(haproxy=Haproxy(listen="127.0.0.1:80", balance="uri depth 1"))
    key = make_key(tiers, "haproxy")
    assert hashed(key, "/a/b") == hashed(key, "/a/c") != hashed(key, "/b/c")
    assert make_key(tiers, "elb") is None
    assert make_key(chain(haproxy=Haproxy(listen="127.0.0.1:80")), "haproxy") is None


def test_behind_a_tier_a_target_is_a_path() -> None:
    """Who stands in front sends on the path alone, and that is what HAProxy would hash."""
    settings = Haproxy(balance="uri", listen="127.0.0.1:81")
    alone = make_key(chain(haproxy=settings), "haproxy")
    assert hashed(alone, "http://a/x") != hashed(alone, "/x")
    behind = make_key(chain(haproxy=settings, elb=Elb(listen="127.0.0.1:80")), "haproxy")
    assert hashed(behind, "http://a/x") == hashed(behind, "/x")
