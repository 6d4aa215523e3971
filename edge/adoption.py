"""Children that an earlier program of this process has started, before an upgrade replaced it.

They are children of ours still, for the process is the same: signals reach them, and we collect
their exit status. Only what the program before knew about them is gone, so it is in the hand-over.

A pid is safe to use while nobody has collected its end. Whether the program before did, in its last
moment, is asked once: the kernel knows who our children are. From then on there is a pidfd, which
never means another process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.handover import ChildRecord, known
from edge.job import Job, ListenerJob
from edge.posts import HasRows
from ext.arena import Arena


class AdoptedChild:
    """A child process by its pid. As `asyncio.subprocess.Process`, as far as a Keeper needs it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd: int | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            self._close()

    async def wait(self) -> int | None:
        """The exit status, negative for a signal; None when it ended before it was adopted."""
        if self._pidfd is None:
            return self.returncode
        loop = asyncio.get_running_loop()
        has_ended = asyncio.Event()
        loop.add_reader(self._pidfd, has_ended.set)
        try:
            await has_ended.wait()
        finally:
            loop.remove_reader(self._pidfd)
        self._collect()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def _collect(self) -> None:
        """Takes the exit status of a child that has ended."""
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._close()

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class AdoptedPost:
    """The post of an adopted child: its successor gets the same job, as it was handed over."""

    def __init__(
        self,
        record: ChildRecord,
        settings: dict[str, Any],
        arena: Arena | None,
        others: Sequence[HasRows] = (),
    ) -> None:
        """`arena` None: its layout is of another version, so there can be no successor. `others`:
        memory that has rows of the same numbers."""
        self.name = record.name
        self.module = record.module
        self._row = record.row
        self._template = record.job
        self._settings = settings
        self._arena = arena
        self._others = others

    @property
    def row(self) -> int | None:
        return self._row

    def template(self) -> dict[str, Any]:
        return self._template or {}

    def job(self, ready_fd: int) -> Job:
        """Raises ValueError when it can have no successor, or the arena no free row."""
        if not self._template or self._arena is None:
            raise ValueError("it is of another version of edge")
        try:
            job = known(Job, self._template | {"settings": self._settings})
            listeners = [known(ListenerJob, each) for each in self._template["listeners"]]
        except (TypeError, KeyError) as error:
            raise ValueError("it is of another version of edge") from error
        if job.row is not None:
            self._row = self._arena.claim_row(os.getpid())
        return replace(job, ready_fd=ready_fd, row=self._row, listeners=listeners)

    def on_spawned(self, pid: int) -> None:
        if self._row is not None and self._arena is not None:
            self._arena.set_row_pid(self._row, pid)

    def on_gone(self) -> None:
        if self._row is None or self._arena is None:
            return
        for memory in self._others:
            memory.sweep_row(self._row)
        self._arena.release_row(self._row)
        self._row = None
