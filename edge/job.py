"""The job document: everything the supervisor tells a child process, as JSON in a memfd.

The supervisor writes it and passes the memfd's number as the first argument; the child reads it
back with `read_job`. The second argument, the generation, is for who reads the process list. All
descriptors in it are inherited under the same numbers. A child calls `end_with_parent` first of
all, so that no worker outlives a supervisor that was killed, and `announce_ready` when it
accepts.

Settings travel as their own JSON, which is loss-free by contract of `edge.settings`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from dataclasses import asdict, dataclass, field
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)
NO_FD = -1
NO_ROW = -1  # a row is claimed when the child is started
GENERATION_ARGUMENT = "generation="


@dataclass(frozen=True, slots=True)
class ListenerJob:
    """One listening socket for one tier; `fd` is NO_FD for control, which only names them."""

    tier: str
    host: str
    port: int
    fd: int


@dataclass(frozen=True, slots=True)
class Job:
    """What one child has to do. `row` is None for control, `admin_fd` None without an admin API."""

    settings: dict[str, Any]
    tier: str | None
    arena_fd: int
    row: int | None
    ready_fd: int
    generation: int
    supervisor_pid: int
    listeners: list[ListenerJob] = field(default_factory=list)
    slots: dict[str, dict[str, int]] = field(default_factory=dict)
    admin_fd: int | None = None
    table_fds: dict[str, int] = field(default_factory=dict)  # stick tables, by name
    stats_fds: list[int] = field(default_factory=list)  # of HAProxy's CLI
    cache_fd: int | None = None  # the cdn's memory, and what tells that something in it has moved
    wake_fd: int | None = None
    run_secret: str = ""  # of this `edge run`: what its processes know each other by
    started_at: float = 0.0  # unix seconds of the start of `edge run`
    outcomes_fd: int | None = None  # of `edge.outcomes`, for control

    def settings_json(self) -> str:
        return json.dumps(self.settings)

    def descriptors(self) -> list[int]:
        """Every descriptor the child must inherit, without the job document's own."""
        fds = [self.arena_fd, self.ready_fd, *(listener.fd for listener in self.listeners)]
        fds += [*self.stats_fds, *self.table_fds.values()]
        fds += [
            fd
            for fd in (self.admin_fd, self.cache_fd, self.wake_fd, self.outcomes_fd)
            if fd is not None
        ]
        return [fd for fd in fds if fd != NO_FD]

    def write(self) -> int:
        """The document in a new memfd, owned by the caller."""
        fd = os.memfd_create("edge-job", os.MFD_CLOEXEC)
        with open(fd, "w", encoding="utf-8", closefd=False) as file:
            json.dump(asdict(self), file)
        return fd


def read_job(fd: int) -> Job:
    """The job in an inherited memfd, which is closed. ValueError or KeyError if it is not ours."""
    with open(fd, encoding="utf-8") as file:
        file.seek(0)  # the offset is shared with the writer, which left it at the end
        fields = json.load(file)
    fields["listeners"] = [ListenerJob(**listener) for listener in fields["listeners"]]
    return Job(**fields)


def end_with_parent(supervisor_pid: int) -> None:
    """Has the kernel send SIGTERM to this process when the supervisor ends, however it ends.

    The supervisor may be gone before the call; then the parent is another already, and this
    process ends itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != supervisor_pid:
        raise SystemExit(1)


def announce_ready(ready_fd: int) -> None:
    """Tells the supervisor that every listener of this process accepts."""
    os.write(ready_fd, b"R")
    os.close(ready_fd)
