"""The admin API over HTTP: `GET /status`, `GET /metrics`, `GET /health`, and Fastly's purges.

It listens on an address of its own, never on one that carries traffic. Reading needs no token, as
Prometheus expects. What changes state has the guard of the interface it belongs to: purges need a
token of the cdn's service (`edge.control.fastly`); `admin.token` guards nothing so far.
"""

from __future__ import annotations

import socket

from aiohttp import web

from edge.control.fastly import PurgeApi
from edge.control.metrics import CONTENT_TYPE, exposition
from edge.control.status import status_json
from edge.control.view import ControlView

VIEW: web.AppKey[ControlView] = web.AppKey("view", ControlView)

# For what takes no body: what a client sends anyway is not collected. Purges read theirs apart.
BODY_BYTES_MAX = 1024
SHUTDOWN_S_MAX = 2.0


async def get_status(request: web.Request) -> web.Response:
    body = status_json(request.app[VIEW])
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def get_metrics(request: web.Request) -> web.Response:
    body = exposition(request.app[VIEW])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


async def get_health(_request: web.Request) -> web.Response:
    """200 while the control process answers; it says nothing about the servers."""
    return web.json_response({"status": "ok"})


def build_app(view: ControlView, purges: PurgeApi | None = None) -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[VIEW] = view
    app.router.add_get("/status", get_status)
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/health", get_health)
    if purges is not None:
        purges.add_to(app.router)
    return app


async def serve_admin(
    view: ControlView, listener: socket.socket, purges: PurgeApi | None = None
) -> web.AppRunner:
    """Answers on a socket that listens already; `cleanup()` of the result ends it.

    Closing the socket here leaves the supervisor's copy open, so a successor goes on with the
    same queue.
    """
    runner = web.AppRunner(
        build_app(view, purges),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_S_MAX,
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner
