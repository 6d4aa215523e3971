"""`edge upgrade`: has a running edge replaced by the version that is installed now, and waits.

Through the admin address, as `edge reload`. The supervisor counts what came of it
(`edge.outcomes`), so a version that does not come up is known at once, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edge.admin_client import Pause, Remote, UnreachableError, wait_s
from edge.clock import now
from edge.operate import OperateError, WaitedTooLongError

POLL_S = 0.1


def upgrade(remotes: Sequence[Remote], timeout_s: float, pause: Pause = wait_s) -> Iterator[str]:
    """One line for each edge that is upgraded. OperateError for one that stays as it was,
    WaitedTooLongError for one that is not heard of in time."""
    for remote in remotes:
        before = remote.ask("GET", "/status")
        remote.ask("POST", "/upgrade")
        stop_at = now() + timeout_s
        while (after := _seen(remote)) is None or not _is_upgraded(remote, before, after):
            if now() >= stop_at:
                raise WaitedTooLongError(
                    f"{remote} is not upgraded after {timeout_s:g}s: its log says why"
                )
            pause(POLL_S)
        yield f"{remote}: edge {after.get('version')}, generation {after.get('generation')} serves"


def _is_upgraded(remote: Remote, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Raises OperateError when it has failed. The control process of before may still answer."""
    was, now_ = before.get("orders", {}), after.get("orders", {})
    if now_.get("upgrade_failures", 0) > was.get("upgrade_failures", 0):
        raise OperateError(f"{remote} is not upgraded: {now_.get('failure')}")
    has_new = int(after.get("generation", 0)) > int(before.get("generation", 0))
    return has_new and now_.get("upgrades", 0) > was.get("upgrades", 0)


def _seen(remote: Remote) -> dict[str, Any] | None:
    """None while the address goes from one process to the other."""
    try:
        return remote.ask("GET", "/status")
    except UnreachableError:
        return None
