"""One request to an admin API of these interfaces, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

import aiohttp

from edge.control.admin import Interface, serve_admin
from tests.control.conftest import World


def ask(
    world: World,
    interface: Interface,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any, Mapping[str, str]]:
    """Status, JSON and fields of the answer."""

    async def scenario() -> tuple[int, Any, Mapping[str, str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        runner = await serve_admin(world.view, listener, interface)
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.request(method, url, headers=headers) as answer,
            ):
                text = await answer.text()
                is_json = answer.content_type == "application/json"
                return answer.status, json.loads(text) if is_json else text, answer.headers
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())
