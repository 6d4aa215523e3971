"""The admin API over HTTP: `/status`, `/metrics`, `/health`, and the interfaces beside them:
nodes, reload, Fastly's purges, HAProxy's page.

It listens on an address of its own, never on one that carries traffic. Reading needs no token, as
Prometheus expects. What changes state has the guard of the interface it belongs to: purges need a
token of the cdn's service (`edge.control.fastly`), HAProxy's page needs `admin.token`, nodes and
reload are for its holder or this machine (`edge.control.guard`).
"""

from __future__ import annotations

import socket
from typing import Protocol

from aiohttp import web

from edge.control.metrics import CONTENT_TYPE, exposition
from edge.control.status import status_json
from edge.control.view import ControlView

VIEW: web.AppKey[ControlView] = web.AppKey("view", ControlView)

# For what takes no body: what a client sends anyway is not collected. Purges read theirs apart.
BODY_BYTES_MAX = 1024
SHUTDOWN_S_MAX = 2.0


class Interface(Protocol):
    """A part of the admin API with routes of its own."""

    def add_to(self, router: web.UrlDispatcher) -> None: ...


async def get_status(request: web.Request) -> web.Response:
    body = status_json(request.app[VIEW])
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def get_metrics(request: web.Request) -> web.Response:
    body = exposition(request.app[VIEW])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


async def get_health(_request: web.Request) -> web.Response:
    """200 while the control process answers; it says nothing about the servers."""
    return web.json_response({"status": "ok"})


def build_app(view: ControlView, *interfaces: Interface | None) -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[VIEW] = view
    app.router.add_get("/status", get_status)
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/health", get_health)
    for interface in interfaces:
        if interface is not None:
            interface.add_to(app.router)
    return app


async def serve_admin(
    view: ControlView, listener: socket.socket, *interfaces: Interface | None
) -> web.AppRunner:
    """Answers on a socket that listens already; `cleanup()` of the result ends it.

    Closing the socket here leaves the supervisor's copy open, so a successor goes on with the
    same queue.
    """
    runner = web.AppRunner(
        build_app(view, *interfaces),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_S_MAX,
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner
