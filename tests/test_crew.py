"""A crew's record, and the time that a drain has left."""

import asyncio
import os
import sys
from collections.abc import Iterator

import pytest

from edge.clock import now
from edge.crew import Crew, adopt_crew
from edge.handover import ChildRecord, CrewRecord
from ext.arena import Arena

pytestmark = pytest.mark.wire

TURNS_OF_A_PIPE = 10  # of the loop, from a write to what waits for it
JOB = {"listeners": [], "row": None}


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def sleeper() -> int:
    """The pid of a child that no SIGTERM ends."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)\n"
    reading, writing = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", f"{code}signal.pause()"],
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return pid


def test_what_is_adopted_is_handed_over_again_as_it_came(arena: Arena) -> None:
    async def scenario() -> None:
        record = CrewRecord(
            generation=2,
            drain_s_max=31.0,
            retires_at=None,
            settings={"drain_s": 30.0},
            workers=[ChildRecord("worker 0", "m", sleeper(), arena.claim_row(1), None, JOB)],
            control=[ChildRecord("control", "m", sleeper(), None, None, JOB)],
        )
        async with asyncio.TaskGroup() as tasks:
            crew = adopt_crew(record, tasks, (arena, ()))
            await asyncio.sleep(0)
            assert crew.record() == record
            for keeper in crew.everyone():
                keeper.kill()
        assert not arena.rows()

    asyncio.run(scenario())


def test_the_word_of_a_child_that_starts_is_waited_for(arena: Arena) -> None:
    async def scenario() -> None:
        ready_fd, child_ready_fd = os.pipe()
        child = ChildRecord("worker 0", "m", sleeper(), None, ready_fd, JOB)
        async with asyncio.TaskGroup() as tasks:
            crew = adopt_crew(CrewRecord(2, 31.0, None, {}, [child]), tasks, (arena, ()))
            (keeper,) = crew.workers
            await asyncio.sleep(0)
            assert keeper.ready_fd == ready_fd
            os.write(child_ready_fd, b"R")
            os.close(child_ready_fd)
            for _ in range(TURNS_OF_A_PIPE):
                await asyncio.sleep(0)
            assert keeper.ready_fd is None
            assert keeper.pid == child.pid
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(ready_fd)
            keeper.kill()

    asyncio.run(scenario())


def test_a_drain_that_runs_has_what_is_left_of_its_time(
    arena: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        child = ChildRecord("worker 0", "m", sleeper(), arena.claim_row(1))
        record = CrewRecord(2, 1000.0, now() + 0.2, {}, [child])
        async with asyncio.TaskGroup() as tasks:
            crew = adopt_crew(record, tasks, (arena, ()))
            await asyncio.wait_for(crew.retire(), 20.0)
            assert crew.record().workers == []

    asyncio.run(scenario())
    assert "worker 0 still has connections after" in capsys.readouterr().err
    assert not arena.rows()


def test_who_retires_has_no_successor() -> None:
    crew = Crew(1, 0.0, {"drain_s": 30.0}, retires_at=1.0)
    assert crew.record().settings == {}
