"""The nodes on the admin address: what each gets, and taking it out and back in.

    GET  /nodes                  every node with its servers
    GET  /nodes/{node}           one
    POST /nodes/{node}/drain     no new requests; running ones end, health checks go on
    POST /nodes/{node}/maint     the same without health checks
    POST /nodes/{node}/ready     back in

A node is a server in several tiers: a target of the elb, and a server of every HAProxy. One order
is for all of them. The states are the arena's: workers see one at their next request, and it stays
over reloads and a control process that is started again. `edge.control.guard` says who may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from edge.console import say
from edge.control.guard import Guard, refusal
from edge.control.view import ControlView, ServerView
from ext.arena import Arena
from ext.limits import AdminState

ORDERS = {"ready": AdminState.READY, "drain": AdminState.DRAIN, "maint": AdminState.MAINT}

Nodes = dict[str, list[tuple[str, ServerView]]]  # the servers of each with their tiers


class NodeApi:
    """Orders of an operator for whole nodes. `slots`: of servers by key."""

    def __init__(
        self, arena: Arena, view: ControlView, slots: dict[str, int], guard: Guard
    ) -> None:
        self._arena = arena
        self._view = view
        self._slots = slots
        self._guard = guard

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/nodes", self._get_all)
        router.add_get("/nodes/{node}", self._get_one)
        for name, state in ORDERS.items():
            router.add_post(f"/nodes/{{node}}/{name}", self._order(state))

    async def _get_all(self, _request: web.Request) -> web.Response:
        found = nodes_of(self._view)
        return web.json_response({"nodes": [node_json(name, found) for name in found]})

    async def _get_one(self, request: web.Request) -> web.Response:
        return self._answer(request.match_info["node"])

    def _order(self, state: AdminState) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def obey(request: web.Request) -> web.Response:
            if denial := self._guard.denial(request):
                return denial
            node = request.match_info["node"]
            servers = [server for _, server in nodes_of(self._view).get(node, [])]
            changed = [server for server in servers if server.admin is not state]
            for server in changed:
                self._arena.set_server(self._slots[server.key], admin=state)
            if changed:
                say(f"node {node} is {state.name}: ordered by {request.remote}")
            return self._answer(node)

        return obey

    def _answer(self, node: str) -> web.Response:
        found = nodes_of(self._view)
        if node not in found:
            known = ", ".join(found) or "none"
            return refusal(404, f"no tier here has a server on node {node!r}; nodes: {known}")
        return web.json_response(node_json(node, found))


def nodes_of(view: ControlView) -> Nodes:
    """The nodes that tiers of this process have servers on, in the order of the file."""
    found: Nodes = {}
    for tier in view.tiers():
        for server in tier.servers:
            if server.node is not None:
                found.setdefault(server.node, []).append((tier.name, server))
    return found


def node_json(node: str, found: Nodes) -> dict[str, Any]:
    return {"node": node, "servers": [_server_json(*each) for each in found[node]]}


def _server_json(tier: str, server: ServerView) -> dict[str, Any]:
    age_s = server.check_age_s
    return {
        "tier": tier,
        "name": server.name,
        "admin": server.admin.name.lower(),
        "status": server.status,
        "up": server.is_up,
        "weight": server.weight,
        "in_flight": server.counters["in_flight"],
        "checked": server.checks is not None and not server.checks.is_paused,
        "check_age_s": None if age_s is None else round(age_s, 3),
    }
