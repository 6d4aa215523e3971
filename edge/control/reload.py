"""`POST /reload` on the admin address: the supervisor reads its file again, as on SIGHUP. `POST
/upgrade`: it is replaced by the version that is installed now, as on SIGUSR2.

The answer, 202, comes before the work. What came of it is seen in `/status`: the generation grows,
and `orders` counts what worked and what failed, with the last reason (`edge.outcomes`).
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
        router.add_post("/upgrade", self._upgrade)

    async def _reload(self, request: web.Request) -> web.Response:
        return self._pass_on(request, signal.SIGHUP, "reloading")

    async def _upgrade(self, request: web.Request) -> web.Response:
        return self._pass_on(request, signal.SIGUSR2, "upgrading")

    def _pass_on(self, request: web.Request, order: signal.Signals, word: str) -> web.Response:
        if denial := self._guard.denial(request):
            return denial
        os.kill(self._supervisor_pid, order)
        return web.json_response({"status": word}, status=202)


def order_reload(supervisor_pid: int) -> None:
    """A new generation, from the file and what was changed at run time."""
    os.kill(supervisor_pid, signal.SIGHUP)
