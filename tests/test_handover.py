"""The hand-over document: read as it was written, by this version and by others."""

import json
import os
from dataclasses import asdict
from typing import Any

import pytest

from edge.handover import (
    FORMAT,
    ChildRecord,
    CrewRecord,
    HandOverError,
    Record,
    ResourcesRecord,
    SocketRecord,
    close_unknown,
    read_record,
)

CHILD = ChildRecord("worker 0", "edge.worker", pid=7, row=0, ready_fd=2, job={"tier": None})


def record() -> Record:
    """With descriptors that every process has."""
    return Record(
        supervisor_pid=1,
        version="0.1.0",
        generation=3,
        resources=ResourcesRecord(
            memory={"arena": 0},
            data={"started_at": 1.5},
            listening=[SocketRecord(["::1", 80], [0, 1])],
            stats=[SocketRecord("/run/x.sock", [1])],
            admin=SocketRecord(["127.0.0.1", 9180], [1]),
            activation=[0],
        ),
        crews=[CrewRecord(2, 31.0, None, {"drain": 30}, [CHILD], [ChildRecord("control", "m")])],
        notify_path="@x",
        watchdog_s=2.5,
        addresses_said=["cdn listens on [::1]:80"],
    )


def written(fields: Any) -> int:
    fd = os.memfd_create("test")
    os.write(fd, json.dumps(fields).encode())
    return fd


def test_it_is_read_as_it_was_written() -> None:
    assert read_record(record().write()) == record()
    assert record().descriptors() == [0, 1, 2]
    assert record().resources.listening[0].address == ("::1", 80)
    with pytest.raises(HandOverError, match=r"'/run/x.sock' where an address belongs"):
        _ = record().resources.stats[0].address


def test_what_a_later_version_adds_is_left_alone_and_what_it_leaves_out_has_defaults() -> None:
    fields = asdict(record())
    fields["news"] = 1
    fields["resources"]["memory"]["tables"] = 2
    fields["resources"]["news"] = []
    fields["crews"][0]["workers"][0]["news"] = 1
    del fields["watchdog_s"], fields["resources"]["stats"], fields["crews"][0]["control"]
    found = read_record(written(fields))
    assert found.watchdog_s is None
    assert found.resources.stats == found.crews[0].control == []
    assert found.resources.memory == {"arena": 0, "tables": 2}
    assert found.crews[0].workers == [CHILD]


def test_another_format_is_refused() -> None:
    fields = asdict(record()) | {"format": FORMAT + 1}
    with pytest.raises(HandOverError, match=rf"has format {FORMAT + 1}, this version reads"):
        read_record(written(fields))


@pytest.mark.parametrize("fields", [[], 3, {}, {"format": FORMAT}, {"format": FORMAT, "crews": 1}])
def test_what_is_no_hand_over_is_refused(fields: Any) -> None:
    with pytest.raises(HandOverError, match="cannot be read"):
        read_record(written(fields))


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    fields = asdict(record())
    fields["resources"]["memory"]["arena"] = 99_999
    with pytest.raises(HandOverError, match="descriptor 99999 of the hand-over is not open"):
        read_record(written(fields))


def test_what_nobody_takes_is_closed() -> None:
    kept, left = os.pipe()
    close_unknown(ResourcesRecord(memory={"kept": kept, "left": left}, data={}), {kept})
    os.fstat(kept)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(left)
    os.close(kept)
