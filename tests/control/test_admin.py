"""The admin API on a real socket."""

import asyncio
import socket
from collections.abc import Callable

import aiohttp
import pytest

from edge.control.admin import serve_admin
from tests.control.conftest import CHAIN, World

pytestmark = pytest.mark.wire

BuildWorld = Callable[[str], World]


def ask(world: World, method: str, path: str) -> tuple[int, str, str]:
    """Status, media type and body of one answer."""

    async def scenario() -> tuple[int, str, str]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        runner = await serve_admin(world.view, listener)
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.request(method, f"http://127.0.0.1:{port}{path}") as answer,
            ):
                return answer.status, answer.content_type, await answer.text()
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def test_status_is_json(world: BuildWorld) -> None:
    status, media_type, body = ask(world(CHAIN), "GET", "/status")
    assert (status, media_type) == (200, "application/json")
    assert '"haproxy@node2"' in body


def test_metrics_are_prometheus_text(world: BuildWorld) -> None:
    status, media_type, body = ask(world(CHAIN), "GET", "/metrics")
    assert (status, media_type) == (200, "text/plain")
    assert 'haproxy_server_weight{proxy="haproxy@node1",server="node1"} 3.0' in body


def test_health_is_200(world: BuildWorld) -> None:
    assert ask(world(CHAIN), "GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/status", 405), ("DELETE", "/metrics", 405), ("GET", "/", 404), ("GET", "/x", 404)],
)
def test_nothing_else_is_there(world: BuildWorld, method: str, path: str, status: int) -> None:
    assert ask(world(CHAIN), method, path)[0] == status
