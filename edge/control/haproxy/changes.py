"""What an operator may change at a server: state, weight, health, checks; with HAProxy's errors.

States and weights go to the arena, so every worker has them at its next request. As in HAProxy a
reload brings the weights of the file back; unlike there, a drained server stays drained.
"""

from __future__ import annotations

import re

from edge.control.haproxy.snapshot import Proxy, Server, find_proxy
from edge.health.runner import HealthRunner
from ext.arena import Arena
from ext.limits import AdminState

WEIGHT_MAX = 256
STATES = {"ready": AdminState.READY, "drain": AdminState.DRAIN, "maint": AdminState.MAINT}
HEALTHS = {"up": True, "down": False}
LEADING_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class CommandError(Exception):
    """The text for who gave the command, with its line end."""


class Changes:
    """The writer of operators' words."""

    def __init__(self, arena: Arena, health: HealthRunner) -> None:
        self._arena = arena
        self._health = health

    def set_state(self, server: Server, state: AdminState) -> None:
        self._arena.set_server(server.slot, admin=state)
        if server.view.checks is not None:
            server.view.checks.look()  # maintenance has begun or ended, however short it is

    def set_weight(self, server: Server, text: str) -> None:
        weight = parse_weight(text, server.plan.weight)
        if server.is_static and weight not in (0, server.plan.weight):
            raise CommandError(
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
            )
        self._arena.set_server(server.slot, weight=weight)

    def set_health(self, server: Server, *, is_up: bool) -> None:
        """What a check would have found; the next check may find otherwise."""
        if server.view.checks is None:
            self._health.force_unchecked(server.slot, is_up=is_up)
        else:
            server.view.checks.force(is_up=is_up)

    def pause_checks(self, server: Server) -> None:
        if server.view.checks is not None:
            server.view.checks.pause()

    def resume_checks(self, server: Server) -> None:
        if server.view.checks is None:
            raise CommandError("Health check was not configured on this server, cannot enable.\n")
        server.view.checks.resume()


def parse_weight(text: str, initial: int) -> int:
    """0 to 256, or a percentage of the file's weight; CommandError in HAProxy's words."""
    if not text:
        raise CommandError("Require <weight> or <weight%>.\n")
    number = LEADING_NUMBER.match(text)
    if number is None:
        raise CommandError("Empty weight string empty or preceded by garbage")
    value, rest = int(number[0]), text[number.end() :]
    if rest == "%":
        if value < 0:
            raise CommandError("Relative weight must be positive.\n")
        return min(initial * value // 100, WEIGHT_MAX)
    if not 0 <= value <= WEIGHT_MAX:
        raise CommandError("Absolute weight can only be between 0 and 256 inclusive.\n")
    if rest:
        raise CommandError("Trailing garbage in weight string")
    return value


def find_server(proxies: list[Proxy], text: str) -> Server:
    """The server of `backend/server`; CommandError in HAProxy's words."""
    backend, slash, name = text.partition("/")
    if not slash:
        raise CommandError("Require 'backend/server'.\n")
    proxy = find_proxy(proxies, backend)
    if proxy is None:
        raise CommandError("No such backend.\n")
    server = proxy.server(name)
    if server is None:
        raise CommandError("No such server.\n")
    return server
