"""edge.control.web_nodes: which nodes may be added and removed, and what is noted."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from edge.control.admin import serve_admin
from edge.control.guard import Guard
from edge.control.web_nodes import WebNodes, added_node
from edge.registry import Registry
from edge.settings import Settings
from edge.settings.haproxy import Haproxy
from edge.settings.node import Node
from tests.control.conftest import CHAIN, World

BuildWorld = Callable[[str], World]
FILE = Settings(
    haproxy=Haproxy(listen="127.0.0.1:1"),
    nodes=[
        Node(name="node1", web="127.0.0.1:9001"),
        Node(name="node2", web="127.0.0.1:9002"),
        Node(name="core", role="core"),
    ],
)
NEW = {"name": "web3", "web": "127.0.0.1:9003"}

pytestmark = pytest.mark.wire


class Orders:
    """The interface on a socket, with what it has ordered."""

    def __init__(self, world: World, token: str | None = None) -> None:
        self.world = world
        self.reloads = 0
        self.api = WebNodes(FILE, world.arena, self.reload, Guard(token))

    def reload(self) -> None:
        self.reloads += 1

    @property
    def registry(self) -> Registry:
        return Registry.read(self.world.arena.note())

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        async def scenario() -> tuple[int, str]:
            listener = socket.create_server(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
            runner = await serve_admin(self.world.view, listener, self.api)
            data = body if isinstance(body, str) or body is None else json.dumps(body)
            try:
                async with (
                    aiohttp.ClientSession() as client,
                    client.request(method, url, data=data) as answer,
                ):
                    return answer.status, await answer.text()
            finally:
                await runner.cleanup()

        return asyncio.run(scenario())


def test_a_node_is_added_once(world: BuildWorld) -> None:
    orders = Orders(world(CHAIN))
    for _ in range(2):
        assert orders.ask("POST", "/nodes", NEW)[0] == 202
    assert [node.name for node in orders.registry.nodes] == ["web3"]
    assert orders.reloads == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (NEW | {"name": "node1"}, 409, "already"),
        (NEW | {"name": "core"}, 409, "no web traffic"),
        (NEW | {"web": "127.0.0.1:9001"}, 409, "already the address of node1"),
        (NEW | {"web": "nowhere"}, 400, "web: "),
        (NEW | {"weight": 300}, 400, "weight: "),
        (NEW | {"role": "core"}, 400, "fields"),
        ({"name": "web3"}, 400, "web: is missing"),
        ("{", 400, ""),
    ],
)
def test_what_is_refused(world: BuildWorld, body: Any, status: int, words: str) -> None:
    orders = Orders(world(CHAIN))
    found, text = orders.ask("POST", "/nodes", body)
    assert found == status
    assert words in text
    assert orders.registry == Registry()
    assert orders.reloads == 0


def test_nodes_are_removed_down_to_the_last(world: BuildWorld) -> None:
    orders = Orders(world(CHAIN))
    assert orders.ask("DELETE", "/nodes/web9")[0] == 404
    assert orders.ask("DELETE", "/nodes/node1")[0] == 202
    assert orders.registry.removed == ("node1",)
    assert orders.ask("DELETE", "/nodes/node2")[0] == 409
    assert orders.ask("POST", "/nodes", {"name": "node1", "web": "127.0.0.1:9001"})[0] == 202
    assert orders.registry.removed == ()


def test_strangers_order_nothing(world: BuildWorld) -> None:
    orders = Orders(world(CHAIN), token="t")
    assert orders.ask("POST", "/nodes", NEW)[0] == 401
    assert orders.ask("DELETE", "/nodes/node1")[0] == 401
    assert orders.registry == Registry()


def test_fields_of_a_node() -> None:
    added = added_node(NEW | {"zone": "b", "weight": 3})
    assert (added.zone, added.weight, added.haproxy) == ("b", 3, None)
