"""An admin interface with scripted answers, for the commands that ask one.

`answers` is a function from method and path to status and JSON; `asked` is what came, with the
Authorization field of each.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answers = Callable[[str, str], tuple[int, Any]]


class StandinAdmin:
    """Listens on a port of the kernel until `end`."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                owner.asked.append((self.command, self.path, self.headers.get("Authorization")))
                status, found = owner.answers(self.command, self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_any  # noqa: N815 - the base class looks for these names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


class StandinNodes:
    """What an edge answers about nodes. Each row is one server; orders change `admin`.

    `on_order(node, order)` runs after each order.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.orders: list[tuple[str, str]] = []
        self.on_order: Callable[[str, str], object] = lambda node, order: None

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        _, what, *rest = path.split("/")
        if what != "nodes":
            return 404, {}
        if not rest:
            names = list(dict.fromkeys(row["node"] for row in self.rows))
            return 200, {"nodes": [self._node(name) for name in names]}
        if not any(row["node"] == rest[0] for row in self.rows):
            return 404, {"error": f"no tier here has a server on node {rest[0]!r}"}
        if method == "POST":
            self.orders.append((rest[0], rest[1]))
            for row in self.rows:
                if row["node"] == rest[0]:
                    row["admin"] = rest[1]
            self.on_order(rest[0], rest[1])
        return 200, self._node(rest[0])

    def _node(self, name: str) -> dict[str, Any]:
        servers = [row for row in self.rows if row["node"] == name]
        return {"node": name, "servers": servers}


def row(node: str, tier: str = "haproxy", **changes: Any) -> dict[str, Any]:
    """A server that is up, idle and was checked just now."""
    server: dict[str, Any] = {
        "node": node,
        "tier": tier,
        "name": node,
        "admin": "ready",
        "status": "UP",
        "up": True,
        "weight": 1,
        "in_flight": 0,
        "checked": True,
        "check_age_s": 0.0,
    }
    return server | changes
