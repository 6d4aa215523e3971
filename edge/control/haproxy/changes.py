"""What an operator may change at a server: state, weight, health, checks; with HAProxy's errors.

States and weights go to the arena, so every worker has them at its next request.

deviates: what HAProxy keeps over a reload in a state file only, states and weights, is kept without
one, until the file gives the server another weight.
"""

from __future__ import annotations

from ipaddress import ip_address

from edge.control.haproxy.snapshot import Proxy, Server, find_proxy
from edge.health import weights
from ext.arena import Arena
from ext.limits import AdminState, ServerState

PORT_MAX = 65_535
STATES = {"ready": AdminState.READY, "drain": AdminState.DRAIN, "maint": AdminState.MAINT}
HEALTHS = {"up": ServerState.UP, "stopping": ServerState.NOLB, "down": ServerState.DOWN}
NO_AGENT = "agent checks are not enabled on this server"


class CommandError(Exception):
    """The text for who gave the command, with its line end."""


class Changes:
    """The writer of operators' words."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def set_state(self, server: Server, state: AdminState) -> None:
        self._arena.set_server(server.slot, admin=state)
        server.view.health.look()  # maintenance has begun or ended, however short it is

    def set_weight(self, server: Server, text: str) -> None:
        weight = parse_weight(text, server.plan.weight)
        if server.is_static and weight not in (0, server.plan.weight):
            raise CommandError(
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
            )
        self._arena.set_server(server.slot, weight=weight)

    def set_health(self, server: Server, state: ServerState) -> None:
        """What a check would have found; the next check may find otherwise."""
        server.view.health.force(state)

    def set_agent(self, server: Server, word: str) -> None:
        """What the agent would have said; it may say otherwise soon."""
        if server.agent is None:
            raise CommandError(f"{NO_AGENT}.\n")
        if word not in ("up", "down"):
            raise CommandError("'set server <srv> agent' expects 'up' or 'down'.\n")
        server.view.health.force_agent(is_up=word == "up")

    def set_agent_send(self, server: Server, text: str) -> None:
        if server.agent is None:
            raise CommandError(f"{NO_AGENT}.\n")
        server.agent.probe.send = text.encode()

    def set_agent_address(self, server: Server, host: str | None, port: str | None) -> None:
        """Where the agent is asked from now on; None: as it is."""
        if server.agent is None:
            raise CommandError(NO_AGENT)
        if host is not None:
            try:
                ip_address(host)
            except ValueError:
                raise CommandError(f"invalid addr '{host}'") from None
        if port is not None and not (port.isascii() and port.isdigit()):
            raise CommandError("provided port is not an integer")
        if port is not None and int(port) > PORT_MAX:
            raise CommandError("provided port is invalid")
        probe = server.agent.probe
        probe.host = host or probe.host
        probe.port = int(port) if port is not None else probe.port

    def enable_agent(self, server: Server, *, is_enabled: bool) -> None:
        if server.view.agent is None and is_enabled:
            raise CommandError("Agent was not configured on this server, cannot enable.\n")
        server.view.health.enable_agent(is_enabled=is_enabled)

    def pause_checks(self, server: Server) -> None:
        if server.view.checks is not None:
            server.view.checks.pause()

    def resume_checks(self, server: Server) -> None:
        if server.view.checks is None:
            raise CommandError("Health check was not configured on this server, cannot enable.\n")
        server.view.checks.resume()


def parse_weight(text: str, initial: int) -> int:
    """0 to 256, or a percentage of the file's weight; CommandError in HAProxy's words."""
    try:
        return weights.parse_weight(text, initial)
    except ValueError as error:
        raise CommandError(str(error)) from None


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
