"""edge.control.haproxy.changes: weights as text, and what reaches the arena and the checks."""

from collections.abc import Callable

import pytest

from edge.control.haproxy.changes import CommandError, parse_weight
from ext.limits import AdminState, ServerState
from tests.control.conftest import CHAIN, UNCHECKED
from tests.control.haproxy.conftest import Bench

Build = Callable[[str], Bench]
NAME = "haproxy@node1/node1"


@pytest.mark.parametrize(
    ("text", "initial", "weight"),
    [
        ("0", 3, 0),
        ("256", 3, 256),
        ("+7", 3, 7),
        ("50%", 3, 1),
        ("0%", 3, 0),
        ("200%", 3, 6),
        ("100000%", 3, 256),
    ],
)
def test_weights(text: str, initial: int, weight: int) -> None:
    assert parse_weight(text, initial) == weight


@pytest.mark.parametrize("text", ["", "x", "%", "3x", "257", "-1", "-5%", "5%%", "1e3", "9" * 40])
def test_what_is_no_weight(text: str) -> None:
    with pytest.raises(CommandError):
        parse_weight(text, 3)


def test_a_state_and_a_weight_reach_the_arena_of_that_tier_alone(bench: Build) -> None:
    made = bench(CHAIN)
    arena = made.world.arena
    for word, state in (
        ("drain", AdminState.DRAIN),
        ("maint", AdminState.MAINT),
        ("ready", AdminState.READY),
    ):
        assert made.say(f"set server {NAME} state {word}") == ""
        assert arena.server(made.world.slot(NAME))["admin"] == state
        assert arena.server(made.world.slot("haproxy@node2/node1"))["admin"] == AdminState.READY
    made.say(f"set server {NAME} weight 200%")
    assert arena.server(made.world.slot(NAME))["weight"] == 6
    arena.set_server(made.world.slot(NAME), ramp=8)  # a slow start does not change what was said
    assert made.say(f"get weight {NAME}") == "6 (initial 3)\n"


def test_maintenance_is_noted_however_short_it_is(bench: Build) -> None:
    made = bench(CHAIN)
    checks = made.world.runner.servers[NAME]
    checks.force(ServerState.UP)
    assert checks.status == "UP"
    made.say(f"disable server {NAME}")
    made.say(f"enable server {NAME}")
    assert checks.status == "UP 1/5"  # as a new server
    assert checks.times_down == 1


def test_checks_are_paused_and_resumed(bench: Build) -> None:
    made = bench(CHAIN)
    checks = made.world.runner.servers[NAME]
    made.say(f"disable health {NAME}")
    assert checks.is_paused
    made.say(f"enable health {NAME}")
    assert not checks.is_paused


def test_health_by_word(bench: Build) -> None:
    made = bench(CHAIN)
    arena, slot = made.world.arena, made.world.slot(NAME)
    made.say(f"set server {NAME} health down")
    assert (arena.server(slot)["state"], arena.server(slot)["health"]) == (ServerState.DOWN, 0)
    made.say(f"set server {NAME} health up")
    assert (arena.server(slot)["state"], arena.server(slot)["health"]) == (ServerState.UP, 8)
    made.say(f"set server {NAME} health stopping")
    assert (arena.server(slot)["state"], arena.server(slot)["health"]) == (ServerState.NOLB, 8)
    assert "expects 'up', 'stopping', or 'down'" in made.say(f"set server {NAME} health x")


def test_health_by_word_where_nothing_checks(bench: Build) -> None:
    made = bench(UNCHECKED)
    slot = made.world.slot("haproxy/node1")
    made.say("set server haproxy/node1 health down")
    assert made.world.arena.server(slot)["state"] == ServerState.DOWN
    made.say("set server haproxy/node1 health up")
    assert made.world.arena.server(slot)["state"] == ServerState.UP


@pytest.mark.parametrize(
    ("balance", "is_refused"),
    [
        ("static-rr", True),
        ("uri", True),
        ("uri\n  hash_type: consistent", False),
        ("leastconn", False),
    ],
)
def test_a_static_algorithm_takes_all_or_nothing(
    bench: Build, balance: str, is_refused: bool
) -> None:
    """HAProxy 2.6's words."""
    made = bench(CHAIN.replace("haproxy:\n", f"haproxy:\n  balance: {balance}\n", 1))
    said = made.say(f"set server {NAME} weight 50%").strip()
    assert ("only accepts weights '0%' and '100%'" in said) is is_refused
    for weight, there in (("0", 0), ("3", 3), ("0%", 0), ("100%", 3)):
        assert made.say(f"set server {NAME} weight {weight}") == ""
        assert made.world.arena.server(made.world.slot(NAME))["weight"] == there
