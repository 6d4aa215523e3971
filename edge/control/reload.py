"""`POST /reload` on the admin address: the supervisor reads its file again, as on SIGHUP.

The answer, 202, comes before the work. A reload that has worked is
seen in `/status`, whose generation grows; one that has not is said on the supervisor's stderr, and
whoever asked reads the file first, as `edge reload` does.
"""

from __future__ import annotations

import os
import signal

from aiohttp import web

from edge.control.guard import Guard


class ReloadApi:
    """Hands the order to the supervisor, which is our parent."""

    def __init__(self, supervisor_pid: int, guard: Guard) -> None:
        self._supervisor_pid = supervisor_pid
        self._guard = guard

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/reload", self._reload)

    async def _reload(self, request: web.Request) -> web.Response:
        if denial := self._guard.denial(request):
            return denial
        os.kill(self._supervisor_pid, signal.SIGHUP)
        return web.json_response({"status": "reloading"}, status=202)
