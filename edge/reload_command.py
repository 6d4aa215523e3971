"""`edge reload`: has a running edge read its file again, and waits until new processes serve.

Through the admin address, so it needs no process id and no signal. A file that edge refuses, or a
generation that does not come up, is said in edge's own log; here it is a wait that ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.admin_client import Pause, Remote, UnreachableError, wait_s
from edge.clock import now
from edge.operate import WaitedTooLongError

POLL_S = 0.1


def reload(remotes: Sequence[Remote], timeout_s: float, pause: Pause = wait_s) -> Iterator[str]:
    """One line for each edge that has reloaded. WaitedTooLongError for one that has not."""
    for remote in remotes:
        before = generation_of(remote)
        remote.ask("POST", "/reload")
        stop_at = now() + timeout_s
        while (generation := _seen(remote)) is None or generation <= before:
            if now() >= stop_at:
                raise WaitedTooLongError(
                    f"{remote} has not reloaded after {timeout_s:g}s: its log says why"
                )
            pause(POLL_S)
        yield f"{remote}: generation {generation} serves"


def generation_of(remote: Remote) -> int:
    return int(remote.ask("GET", "/status").get("generation", 0))


def _seen(remote: Remote) -> int | None:
    """None while the address goes from one process to the other."""
    try:
        return generation_of(remote)
    except UnreachableError:
        return None
