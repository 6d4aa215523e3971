"""What a supervisor leaves to its successor at an upgrade: one JSON document in a memfd.

It holds numbers of open descriptors, process ids, and facts; the theory of the upgrade stands in
`edge.upgrade`. The document is read by another version of this program than wrote it, so:

* `format` grows only when a reader of before would go wrong. Who does not know a format refuses it,
  and nothing has happened yet then.
* What a reader does not know it leaves alone, and what it misses has a default: new facts are added
  without a new format.
* Memory that outlives generations is in `memory` by its name, and data of that kind in `data`. Who
  adds something of either kind adds a name there, in `Resources.hand_over` and
  `Resources.take_over`, and nothing here. Descriptors whose name the reader does not know are
  closed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge.errors import EdgeError

FORMAT = 1
RECORD_BYTES_MAX = 2**28  # 128 workers and a file of some hundred nodes have 10 MB

T = TypeVar("T")


class HandOverError(EdgeError):
    """The document cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class ChildRecord:
    """One child. `pid` None: it is about to be started again.

    `job` is what starts its successor, without the settings, which are the crew's; None when it has
    been told to end. `ready_fd`: where it says that it is ready; None when it has.
    """

    name: str
    module: str
    pid: int | None = None
    row: int | None = None
    ready_fd: int | None = None
    job: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CrewRecord:
    """The children of one reading of the file. `retires_at` (monotonic): when a drain that runs
    must be over; None: it serves."""

    generation: int
    drain_s_max: float
    retires_at: float | None
    settings: dict[str, Any]
    workers: list[ChildRecord] = field(default_factory=list)
    control: list[ChildRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SocketRecord:
    """The sockets of one address or path, in order."""

    place: str | list[Any]
    fds: list[int]

    @property
    def address(self) -> tuple[str, int]:
        if isinstance(self.place, str):
            raise HandOverError(f"the hand-over has {self.place!r} where an address belongs")
        host, port = self.place
        return str(host), int(port)


@dataclass(frozen=True, slots=True)
class ResourcesRecord:
    """What outlives generations."""

    memory: dict[str, int]
    data: dict[str, Any]
    listening: list[SocketRecord] = field(default_factory=list)
    stats: list[SocketRecord] = field(default_factory=list)
    admin: SocketRecord | None = None
    activation: list[int] = field(default_factory=list)

    def descriptors(self) -> Iterator[int]:
        yield from self.memory.values()
        yield from self.activation
        for sockets in (*self.listening, *self.stats, *([self.admin] if self.admin else [])):
            yield from sockets.fds


@dataclass(frozen=True, slots=True)
class Record:
    """Everything. `supervisor_pid`: whose it is, which an upgrade does not change."""

    supervisor_pid: int
    version: str
    generation: int
    resources: ResourcesRecord
    crews: list[CrewRecord] = field(default_factory=list)
    notify_path: str | None = None
    watchdog_s: float | None = None
    addresses_said: list[str] = field(default_factory=list)
    format: int = FORMAT

    def descriptors(self) -> list[int]:
        """Every descriptor that must stay open, each once."""
        children = [
            child for crew in self.crews for each in (crew.workers, crew.control) for child in each
        ]
        ready = [child.ready_fd for child in children if child.ready_fd is not None]
        return sorted({*self.resources.descriptors(), *ready})

    def write(self) -> int:
        """The document in a new memfd, owned by the caller."""
        fd = os.memfd_create("edge-handover", os.MFD_CLOEXEC)
        with open(fd, "w", encoding="utf-8", closefd=False) as file:
            json.dump(dataclasses.asdict(self), file)
        return fd


def read_record(fd: int) -> Record:
    """The document in an inherited memfd, which is closed. Raises HandOverError.

    Checked: that it is one, of a format that we read, and that each descriptor in it is open.
    """
    try:
        with open(fd, "rb") as file:
            file.seek(0)  # the offset is shared with the writer, which left it at the end
            fields = json.loads(file.read(RECORD_BYTES_MAX))
        if fields["format"] != FORMAT:
            raise HandOverError(
                f"the hand-over has format {fields['format']}, this version reads {FORMAT}"
            )
        record = _record_of(fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise HandOverError(f"the hand-over cannot be read: {error!r}") from error
    for each in record.descriptors():
        try:
            os.fstat(each)
        except OSError as error:
            raise HandOverError(f"descriptor {each} of the hand-over is not open") from error
    return record


def close_unknown(record: ResourcesRecord, kept: set[int]) -> None:
    """Closes what nobody here has taken."""
    for fd in set(record.descriptors()) - kept:
        os.close(fd)


def known(kind: type[T], fields: dict[str, Any]) -> T:
    """A dataclass from those of the fields that it has. TypeError when one is missing."""
    names = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in fields.items() if name in names})


def _record_of(fields: dict[str, Any]) -> Record:
    resources = fields["resources"]
    found = known(Record, fields)
    return dataclasses.replace(
        found,
        resources=dataclasses.replace(
            known(ResourcesRecord, resources),
            listening=[known(SocketRecord, each) for each in resources.get("listening", [])],
            stats=[known(SocketRecord, each) for each in resources.get("stats", [])],
            admin=known(SocketRecord, resources["admin"]) if resources.get("admin") else None,
        ),
        crews=[_crew_of(each) for each in fields.get("crews", [])],
    )


def _crew_of(fields: dict[str, Any]) -> CrewRecord:
    return dataclasses.replace(
        known(CrewRecord, fields),
        workers=[known(ChildRecord, each) for each in fields.get("workers", [])],
        control=[known(ChildRecord, each) for each in fields.get("control", [])],
    )
