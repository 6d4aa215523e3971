"""A crew: the children of one reading of the file, and how a crew is handed over at an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.adoption import AdoptedChild, AdoptedPost
from edge.clock import now
from edge.handover import ChildRecord, CrewRecord
from edge.keeper import START_S_MAX, Gate, Keeper
from edge.posts import HasRows
from ext.arena import Arena


@dataclass(slots=True)
class Crew:
    """`retires_at` (monotonic): when its drain must be over; None while it serves or starts."""

    generation: int
    drain_s_max: float
    settings: dict[str, Any]
    workers: list[Keeper] = field(default_factory=list)
    control: list[Keeper] = field(default_factory=list)
    retires_at: float | None = None

    def everyone(self) -> list[Keeper]:
        return [*self.workers, *self.control]

    async def retire(self) -> None:
        """Drains everyone; returns when they are gone. Again after an upgrade: for what is left."""
        if self.retires_at is None:
            self.retires_at = now() + self.drain_s_max
        left_s = max(0.0, self.retires_at - now())
        await asyncio.gather(*(keeper.stop(left_s) for keeper in self.everyone()))

    def record(self) -> CrewRecord:
        has_successors = self.retires_at is None
        return CrewRecord(
            generation=self.generation,
            drain_s_max=self.drain_s_max,
            retires_at=self.retires_at,
            settings=self.settings if has_successors else {},
            workers=_records(self.workers, has_successors),
            control=_records(self.control, has_successors),
        )


def adopt_crew(
    record: CrewRecord,
    tasks: asyncio.TaskGroup,
    memory: tuple[Arena | None, Sequence[HasRows]],
    start_s_max: float = START_S_MAX,
    gate: Gate | None = None,
) -> Crew:
    """The crew that an earlier program of this process has handed over, as it was there."""

    def adopted(child: ChildRecord) -> Keeper:
        keeper = Keeper(AdoptedPost(child, record.settings, *memory), start_s_max, gate)
        if child.pid is not None:
            keeper.adopt(tasks, AdoptedChild(child.pid), child.ready_fd)
        else:
            keeper.start_insisting(tasks)
        return keeper

    return Crew(
        record.generation,
        record.drain_s_max,
        record.settings,
        workers=[adopted(child) for child in record.workers],
        control=[adopted(child) for child in record.control],
        retires_at=record.retires_at,
    )


def _records(keepers: list[Keeper], has_successors: bool) -> list[ChildRecord]:
    """Those that have a child, or will have one."""
    return [
        ChildRecord(
            name=keeper.post.name,
            module=keeper.post.module,
            pid=keeper.pid,
            row=keeper.post.row,
            ready_fd=keeper.ready_fd,
            job=keeper.post.template() if has_successors else None,
        )
        for keeper in keepers
        if not keeper.is_over and (keeper.pid is not None or has_successors)
    ]
