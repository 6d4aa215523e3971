"""The two posts the supervisor fills: a worker and control.

A post turns what a whole generation was given (`Outfit`) into the job of one child, and keeps the
arena's rows: a worker has a row while it lives, and when it is gone its gauges there fall to
zero, and what it held of the cache and of stick tables is let go.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from edge.job import NO_FD, NO_ROW, Job, ListenerJob
from ext.arena import Arena
from ext.sticktable import StickTable
from ext.store import Store


class HasRows(Protocol):
    """Memory where each worker holds things in a row of its own: the cache, a stick table."""

    def sweep_row(self, row: int) -> None:
        """The row's worker is gone: what it held is let go."""


@dataclass(frozen=True, slots=True)
class Modules:
    """What `python -m` runs for each post; tests put stand-ins here."""

    worker: str = "edge.worker"
    control: str = "edge.control"


@dataclass(frozen=True, slots=True)
class Outfit:
    """What one generation works with. `listeners` has one list per worker."""

    arena: Arena
    settings: dict[str, Any]
    tier: str | None
    generation: int
    slots: dict[str, dict[str, int]]
    listeners: list[list[ListenerJob]]
    admin_fd: int | None
    started_at: float
    cache: Store | None = None
    run_secret: str = ""
    stats_fds: tuple[int, ...] = ()
    tables: Mapping[str, StickTable] = field(default_factory=dict)
    outcomes_fd: int | None = None

    def job(
        self, ready_fd: int, *, row: int | None, listeners: list[ListenerJob], admin_fd: int | None
    ) -> Job:
        return Job(
            settings=self.settings,
            tier=self.tier,
            arena_fd=self.arena.fd,
            row=row,
            ready_fd=ready_fd,
            generation=self.generation,
            supervisor_pid=os.getpid(),
            listeners=listeners,
            slots=self.slots,
            admin_fd=admin_fd,
            cache_fd=None if self.cache is None else self.cache.fd,
            wake_fd=None if self.cache is None else self.cache.wake_fd,
            run_secret=self.run_secret,
            table_fds={name: table.fd for name, table in self.tables.items()},
            started_at=self.started_at,
        )


def template_of(job: Job) -> dict[str, Any]:
    """A job as data, without the settings, which all jobs of a generation share."""
    fields = asdict(replace(job, settings={}))
    del fields["settings"]
    return fields


class WorkerPost:
    """Worker number `index`: one socket of each address, one row of counters."""

    def __init__(self, outfit: Outfit, index: int, module: str) -> None:
        self.module = module
        self.name = f"worker {index} of generation {outfit.generation}"
        self._outfit = outfit
        self._index = index
        self._row: int | None = None

    @property
    def row(self) -> int | None:
        return self._row

    def template(self) -> dict[str, Any]:
        listeners = self._outfit.listeners[self._index]
        return template_of(self._outfit.job(NO_FD, row=NO_ROW, listeners=listeners, admin_fd=None))

    def job(self, ready_fd: int) -> Job:
        """Raises ValueError when the arena has no free row."""
        # Claimed under this process's pid, until there is a child.
        self._row = self._outfit.arena.claim_row(os.getpid())
        listeners = self._outfit.listeners[self._index]
        return self._outfit.job(ready_fd, row=self._row, listeners=listeners, admin_fd=None)

    def on_spawned(self, pid: int) -> None:
        if self._row is not None:
            self._outfit.arena.set_row_pid(self._row, pid)

    def on_gone(self) -> None:
        if self._row is None:
            return
        if self._outfit.cache is not None:
            self._outfit.cache.sweep_row(self._row)
        for table in self._outfit.tables.values():
            table.sweep_row(self._row)
        self._outfit.arena.release_row(self._row)
        self._row = None


class ControlPost:
    """Health checks and the admin API."""

    def __init__(self, outfit: Outfit, module: str) -> None:
        self.module = module
        self.name = f"control of generation {outfit.generation}"
        self._outfit = outfit

    @property
    def row(self) -> None:
        return None

    def template(self) -> dict[str, Any]:
        return template_of(self.job(NO_FD))

    def job(self, ready_fd: int) -> Job:
        listeners = [replace(listener, fd=NO_FD) for listener in self._outfit.listeners[0]]
        job = self._outfit.job(
            ready_fd, row=None, listeners=listeners, admin_fd=self._outfit.admin_fd
        )
        return replace(
            job,
            stats_fds=list(self._outfit.stats_fds),
            outcomes_fd=self._outfit.outcomes_fd,
        )

    def on_spawned(self, pid: int) -> None:
        """Control has no row."""

    def on_gone(self) -> None:
        """Control has no row."""
