"""edge.control.haproxy.runtime: when there is something to serve, and under which names."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.control.haproxy.runtime import look_for_ever, make_commands, serve_cli, socket_text
from tests.control.conftest import SHOP, World
from tests.control.haproxy.conftest import Bench

ELB = """
elb: {listen: 127.0.0.1:8080}
nodes: [{name: node1, web: 127.0.0.1:9001}]
"""


def test_without_a_haproxy_tier_there_are_no_commands(world: Callable[[str], World]) -> None:
    made = world(ELB)
    assert make_commands(made.view, made.plan, made.arena, made.job) is None


def test_without_sockets_there_is_no_cli(bench: Callable[[str], Bench]) -> None:
    made = bench(SHOP)
    assert asyncio.run(serve_cli(made.commands, made.world.plan, made.world.job)) is None


def test_looking_feeds_the_rates(bench: Callable[[str], Bench]) -> None:
    made = bench(SHOP)

    async def scenario() -> None:
        looking = asyncio.create_task(look_for_ever(made.commands))
        await asyncio.sleep(0)
        looking.cancel()

    assert made.commands.rates.of("haproxy/node1") is None
    asyncio.run(scenario())
    for name in ("haproxy/node1", "haproxy requests", "haproxy connections"):
        assert made.commands.rates.of(name) is not None


@pytest.mark.wire
def test_names_of_sockets(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind(str(tmp_path / "made-as"))
        assert socket_text(unix, "/run/cli") == "unix@/run/cli"
        assert socket_text(tcp, None) == f"ipv4@127.0.0.1:{tcp.getsockname()[1]}"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp6:
        assert socket_text(tcp6, None) == f"ipv6@[::1]:{tcp6.getsockname()[1]}"
