"""Adding and removing web nodes while edge runs: the machines of a scaled architecture.

    POST   /nodes           {"name": "web4", "web": "10.0.0.4:80", "zone": "a", "weight": 1}
    DELETE /nodes/{node}    out of every tier; drain it first (`edge node remove` does)

Both answer 202 before the work: a new generation of processes takes over without losing a request.
What was added or removed is laid over the file until `edge run` ends (`edge.registry`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from edge.console import say
from edge.control.guard import Guard, refusal
from edge.registry import AddedNode, Registry
from edge.settings import Settings
from edge.settings.node import Node
from ext.arena import Arena

FIELDS = ("name", "web", "zone", "weight", "haproxy")


class WebNodes:
    """The routes. `settings`: of the generation that this control process belongs to."""

    def __init__(
        self, settings: Settings, arena: Arena, reload: Callable[[], None], guard: Guard
    ) -> None:
        self._settings = settings
        self._arena = arena
        self._reload = reload
        self._guard = guard

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/nodes", self._add)
        router.add_delete("/nodes/{node}", self._remove)

    async def _add(self, request: web.Request) -> web.Response:
        if denial := self._guard.denial(request):
            return denial
        try:
            fields = orjson.loads(await request.read())
            added = added_node(fields)
        except (orjson.JSONDecodeError, ValueError) as error:
            return refusal(400, str(error))
        registry = Registry.read(self._arena.note())
        if registry.added(added.name) == added:  # asked again: it is on its way
            return web.json_response({"status": "reloading"}, status=202)
        if problem := self._conflict(added, registry):
            return refusal(409, problem)
        return self._order(registry.with_node(added), f"node {added.name} is added", request)

    async def _remove(self, request: web.Request) -> web.Response:
        if denial := self._guard.denial(request):
            return denial
        name = request.match_info["node"]
        registry = Registry.read(self._arena.note())
        names = self._names(registry)
        if name not in names:
            return refusal(404, f"there is no web node {name!r}; nodes: {', '.join(names)}")
        if len(names) == 1:
            return refusal(409, f"{name} is the last web node")
        return self._order(registry.without_node(name), f"node {name} is removed", request)

    def _names(self, registry: Registry) -> list[str]:
        """The web nodes with what was ordered since this generation began."""
        names = [node.name for node in self._settings.web_nodes]
        names += [node.name for node in registry.nodes]
        return [name for name in dict.fromkeys(names) if name not in registry.removed]

    def _conflict(self, added: AddedNode, registry: Registry) -> str | None:
        if added.name in self._names(registry):
            return f"there is a node {added.name!r} already"
        if any(n.name == added.name and not n.serves_web for n in self._settings.nodes):
            return f"{added.name!r} is a node of the file that gets no web traffic"
        taken = {node.web: node.name for node in self._settings.nodes}
        taken |= {node.web: node.name for node in registry.nodes}
        owner = taken.get(added.web)
        if owner is not None and owner not in registry.removed:
            return f"{added.web} is already the address of {owner}"
        return None

    def _order(self, registry: Registry, what: str, request: web.Request) -> web.Response:
        try:
            self._arena.set_note(registry.write())
        except ValueError as error:
            return refusal(409, str(error))
        say(f"{what}: ordered by {request.remote}")
        self._reload()
        return web.json_response({"status": "reloading"}, status=202)


def added_node(fields: Any) -> AddedNode:
    """ValueError says what is wrong with a request's body."""
    if not isinstance(fields, dict) or fields.keys() - set(FIELDS):
        raise ValueError(f"a node has the fields {', '.join(FIELDS)}")
    if not isinstance(fields.get("web"), str):
        raise ValueError("web: is missing: the address of the node's web server")
    try:
        node = Node.model_validate({**fields, "role": "web"})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return AddedNode(
        name=node.name,
        web=node.web_address,
        zone=node.zone,
        weight=node.weight,
        haproxy=node.haproxy,
    )
