"""`edge node add` and `edge node remove`: web nodes that come and go while edge runs.

Adding waits until every tier has the node up by a check. Removing drains the node first, so no
request is lost, and then waits for the processes that do not know it any more. What was added stays
until `edge run` ends; a node that shall stay longer belongs in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edge.admin_client import NotThereError, Pause, Remote, UnreachableError, wait_s
from edge.clock import now
from edge.operate import Operator, WaitedTooLongError

POLL_S = 0.1


def add(
    remotes: Sequence[Remote], fields: Mapping[str, Any], timeout_s: float, pause: Pause = wait_s
) -> Iterator[str]:
    """Adds it everywhere and waits. Yields what is waited for."""
    node = str(fields["name"])
    stop_at = now() + timeout_s
    for remote in remotes:
        remote.ask("POST", "/nodes", fields)
    yield f"{node}: added, new processes start"
    for remote in remotes:
        _wait(remote, node, stop_at, pause, is_there=True)
    yield from Operator(remotes, pause).ready(node, max(POLL_S, stop_at - now()))


def remove(
    remotes: Sequence[Remote], node: str, timeout_s: float, pause: Pause = wait_s
) -> Iterator[str]:
    """Drains it everywhere, then removes it and waits. Yields what is waited for."""
    yield from Operator(remotes, pause).drain(node, timeout_s)
    stop_at = now() + timeout_s
    for remote in remotes:
        with suppress(NotThereError):  # a first asking whose answer was lost
            remote.ask("DELETE", f"/nodes/{node}")
    for remote in remotes:
        _wait(remote, node, stop_at, pause, is_there=False)
    yield f"{node}: removed"


def _wait(remote: Remote, node: str, stop_at: float, pause: Pause, *, is_there: bool) -> None:
    while _knows(remote, node) is not is_there:
        if now() >= stop_at:
            word = "does not know" if is_there else "still has"
            raise WaitedTooLongError(f"{remote} {word} {node}: its log says why")
        pause(POLL_S)


def _knows(remote: Remote, node: str) -> bool | None:
    """None while the address goes from one process to the other."""
    try:
        remote.ask("GET", f"/nodes/{node}")
    except NotThereError:
        return False
    except UnreachableError:
        return None
    return True
