"""`edge drain`, `ready`, `maint` and `rollout`: nodes out of service and back in, waiting for it.

A node is drained when no tier sends it anything new and none has a request at it any more. That is
looked at twice: a worker may have picked the node just before it saw the order, and has not counted
the request yet.

`rollout` takes the nodes one at a time. It gives a node traffic again only when a health check that
began after the command had ended has passed, so an answer from before the restart does not count.
At the first failure it stops, and leaves the node that failed drained: a node that is out of
service harms nobody, half a rollout that goes on does.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.admin_client import (
    AdminError,
    NotThereError,
    Pause,
    Remote,
    UnreachableError,
    wait_s,
)
from edge.clock import now
from edge.errors import EdgeError

POLL_S = 0.1  # two looks are far more apart than a worker needs from picking to counting
LOOKS = 2
SAY_S = 1.0  # at most one line a second about what is waited for
NEVER = float("-inf")
# As the file has them: what an admin interface answers becomes part of a command line.
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class OperateError(EdgeError):
    """The order was not carried out, or not to its end."""


class WaitedTooLongError(OperateError):
    """The order was given, but what it is for has not happened in time."""


@dataclass(frozen=True, slots=True)
class NodeServer:
    """A node as one server of one tier. `check_began_at`: on our clock; NEVER before the first."""

    remote: Remote
    tier: str
    node: str
    name: str
    admin: str
    status: str
    is_up: bool
    weight: int
    in_flight: int
    is_checked: bool
    check_began_at: float

    def is_healthy(self, since: float) -> bool:
        """Whether it is up by a check that began after `since`."""
        return self.is_up and (not self.is_checked or self.check_began_at > since)

    @property
    def takes_requests(self) -> bool:
        return self.is_up and self.admin == "ready" and self.weight > 0


Run = Callable[[str], int]


class Operator:
    """Gives orders to every process in `remotes`. `pause` waits for some seconds."""

    def __init__(self, remotes: Sequence[Remote], pause: Pause = wait_s) -> None:
        self._remotes = remotes
        self._pause = pause

    def drain(self, node: str, timeout_s: float) -> Iterator[str]:
        """Out of service; ends when nothing runs there. Yields what it waits for."""
        self._order(node, "drain")
        yield from self._wait(node, "drain", timeout_s, _what_runs)
        yield f"{node}: drained, no request is running there"

    def maint(self, node: str, timeout_s: float) -> Iterator[str]:
        """As `drain`, and nobody checks its health meanwhile."""
        self._order(node, "maint")
        yield from self._wait(node, "maint", timeout_s, _what_runs)
        yield f"{node}: in maintenance, no request is running there"

    def ready(self, node: str, timeout_s: float) -> Iterator[str]:
        """In service; ends when every tier uses it. Yields what it waits for."""
        self._order(node, "ready")
        yield from self._wait(node, "ready", timeout_s, _what_is_down(NEVER))
        yield f"{node}: ready, in service"

    def rollout(
        self,
        wanted: Sequence[str] | None,
        run: Run,
        *,
        drain_s_max: float,
        health_s_max: float,
    ) -> Iterator[str]:
        """Drain, run, ready, one node at a time. OperateError at the first that fails."""
        names = self._check_nodes(wanted)
        for number, node in enumerate(names):
            step = _Step(node, f"{node} ({number + 1} of {len(names)})")
            try:
                yield from self._renew(step, run, drain_s_max, health_s_max)
            except (EdgeError, KeyboardInterrupt) as error:
                why = str(error) or "interrupted"
                raise OperateError(
                    f"{why}\n{_account(step, names[:number], names[number:])}"
                ) from None
        yield f"done: {', '.join(names)}"

    def _renew(
        self, step: _Step, run: Run, drain_s_max: float, health_s_max: float
    ) -> Iterator[str]:
        node = step.node
        self._refuse_last(node)
        step.is_out = True
        yield from self.drain(node, drain_s_max)
        yield f"{step.title}: the command runs"
        status = run(node)
        if status != 0:
            raise OperateError(f"{node}: the command ended with status {status}")
        ended_at = now()
        yield f"{step.title}: the command has ended well"
        yield from self._wait(node, "drain", health_s_max, _what_is_down(ended_at))
        yield from self.ready(node, health_s_max)
        step.is_out = False

    def _check_nodes(self, wanted: Sequence[str] | None) -> list[str]:
        """The nodes to go through, each known and in service."""
        servers = self._everything()
        known = list(dict.fromkeys(server.node for server in servers))
        names = known if wanted is None else list(dict.fromkeys(wanted))
        for name in names:
            if name not in known:
                raise OperateError(f"no tier has a server on node {name!r}: {', '.join(known)}")
            if NODE_NAME.fullmatch(name) is None:
                raise OperateError(f"{name!r} is no name of a node")
        for server in servers:
            if server.node in names and server.admin != "ready":
                raise OperateError(
                    f"{server.node} is in {server.admin} already:"
                    f" `edge ready {server.node}` first, or leave it out with --nodes"
                )
        return names

    def _refuse_last(self, node: str) -> None:
        """A rollout never takes the last server of a tier away."""
        servers = self._everything()
        for mine in servers:
            others = [each for each in servers if _place(each) == _place(mine)]
            is_needed = not any(each.takes_requests for each in others if each.node != node)
            if mine.node == node and is_needed:
                raise OperateError(f"without {node} the tier {mine.tier} would have no server")

    def _everything(self) -> list[NodeServer]:
        found = []
        for remote in self._remotes:
            asked_at = now()
            answer = remote.ask("GET", "/nodes")
            for each in answer.get("nodes", ()):
                found += _servers_of(remote, each, asked_at)
        return found

    def _order(self, node: str, what: str) -> list[NodeServer]:
        return self._ask("POST", node, f"/{what}")

    def _ask(self, method: str, node: str, what: str = "") -> list[NodeServer]:
        """What the processes that have the node answer. At least one must have it."""
        found: list[NodeServer] = []
        missing = None
        for remote in self._remotes:
            asked_at = now()
            try:
                answer = remote.ask(method, f"/nodes/{_in_path(node)}{what}")
            except NotThereError as error:
                missing = error
                continue
            found += _servers_of(remote, answer, asked_at)
        if not found and missing is not None:
            raise missing
        return found

    def _wait(
        self,
        node: str,
        order: str,
        timeout_s: float,
        waits_for: Callable[[list[NodeServer]], str],
    ) -> Iterator[str]:
        """Until `waits_for` answers nothing, twice in a row. Yields it, when it has changed."""
        stop_at = now() + timeout_s
        said, said_at, quiet = "", NEVER, 0
        while True:
            try:
                servers = self._ask("GET", node)
                _refuse_other_orders(servers, order)
                waited_for = waits_for(servers)
            except UnreachableError as error:  # a reload, perhaps
                waited_for = str(error)
            quiet = 0 if waited_for else quiet + 1
            if quiet == LOOKS:
                return
            if waited_for and now() >= stop_at:
                raise WaitedTooLongError(
                    f"{node}: after {timeout_s:g}s it still waits for {waited_for}"
                )
            if waited_for not in ("", said) and now() - said_at >= SAY_S:
                said, said_at = waited_for, now()
                yield f"{node}: waits for {waited_for}"
            self._pause(POLL_S)


def run_script(script: str, node: str) -> int:
    """The shell's exit status. The name is safe in a command line: `NODE_NAME` has been held."""
    environment = os.environ | {"EDGE_NODE": node}
    command = ["/bin/sh", "-c", script.replace("{node}", node)]
    return subprocess.run(command, env=environment, check=False).returncode


@dataclass(slots=True)
class _Step:
    """One node of a rollout. `is_out`: it was drained and is not back."""

    node: str
    title: str
    is_out: bool = False


def _account(step: _Step, done: Sequence[str], left: Sequence[str]) -> str:
    """What has become of each node of a rollout that stopped."""
    words = [f"done: {', '.join(done) or 'none'}"]
    if step.is_out:
        words.append(f"{step.node} stays drained")
        left = left[1:]
    return "; ".join([*words, f"not begun: {', '.join(left) or 'none'}"])


def _refuse_other_orders(servers: list[NodeServer], order: str) -> None:
    """Another operator, or a tier that a reload has made while the order was given."""
    for server in servers:
        if server.admin != order:
            raise OperateError(
                f"{server.node}: {order} was ordered, but {server.tier} has it in {server.admin};"
                " somebody else has ordered that"
            )


def _what_runs(servers: list[NodeServer]) -> str:
    busy = [f"{each.in_flight} in {each.tier}" for each in servers if each.in_flight]
    return f"running requests: {', '.join(busy)}" if busy else ""


def _what_is_down(since: float) -> Callable[[list[NodeServer]], str]:
    def look(servers: list[NodeServer]) -> str:
        down = [
            f"{each.tier}, which has it {each.status}"
            if not each.is_up
            else f"{each.tier} to check it"
            for each in servers
            if not each.is_healthy(since)
        ]
        return "; ".join(down)

    return look


def _place(server: NodeServer) -> tuple[Remote, str]:
    return server.remote, server.tier


def _in_path(node: str) -> str:
    if NODE_NAME.fullmatch(node) is None:
        raise OperateError(f"{node!r} is no name of a node: letters, digits, dots, - or _")
    return node


def _servers_of(remote: Remote, answer: dict[str, Any], asked_at: float) -> list[NodeServer]:
    """One node's answer. AdminError when it is of another program."""
    try:
        return [
            NodeServer(
                remote=remote,
                tier=each["tier"],
                node=answer["node"],
                name=each["name"],
                admin=each["admin"],
                status=each["status"],
                is_up=each["up"],
                weight=each["weight"],
                in_flight=each["in_flight"],
                is_checked=each["checked"],
                # It began no earlier than this, since the answer was made after the question.
                check_began_at=NEVER
                if each["check_age_s"] is None
                else asked_at - each["check_age_s"],
            )
            for each in answer["servers"]
        ]
    except (KeyError, TypeError) as error:
        raise AdminError(f"{remote} answers as no edge does: {error!r}") from None
