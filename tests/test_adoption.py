"""Children that another program has started: their end, their signals, their successors."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edge.adoption import AdoptedChild, AdoptedPost
from edge.handover import ChildRecord
from edge.job import NO_ROW, Job, ListenerJob
from edge.posts import template_of
from ext.arena import Arena

pytestmark = pytest.mark.wire

JOB = Job(
    settings={"drain_s": 30.0},
    tier=None,
    arena_fd=5,
    row=NO_ROW,
    ready_fd=-1,
    generation=4,
    supervisor_pid=9,
    listeners=[ListenerJob("cdn", "127.0.0.1", 80, 6)],
)


def child_that(code: str) -> int:
    """The pid of a child whose end nobody but the test collects."""
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], {})


def end_of(pid: int) -> int | None:
    async def scenario() -> int | None:
        return await AdoptedChild(pid).wait()

    return asyncio.run(scenario())


def test_the_exit_status_is_collected() -> None:
    pid = child_that("raise SystemExit(3)")
    assert end_of(pid) == 3
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_a_signal_reaches_it() -> None:
    async def scenario() -> int | None:
        child = AdoptedChild(child_that("import signal; signal.pause()"))
        child.send_signal(signal.SIGKILL)
        return await child.wait()

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_one_whose_end_was_collected_before_is_gone() -> None:
    pid = child_that("pass")
    os.waitpid(pid, 0)
    assert end_of(pid) is None


def test_a_process_that_is_not_ours_is_never_signalled() -> None:
    """The pid of a child that ended may be somebody else's by now."""
    with subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        stranger = int(shell.stdout.readline())
        child = AdoptedChild(stranger)
        child.send_signal(signal.SIGKILL)
        assert asyncio.run(child.wait()) is None
        os.kill(stranger, 0)
        os.kill(stranger, signal.SIGTERM)
        shell.wait(20)


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def post_of(arena: Arena | None, row: int | None) -> AdoptedPost:
    record = ChildRecord("worker 0", "edge.worker", row=row, job=template_of(JOB))
    return AdoptedPost(record, {"drain_s": 30.0}, arena)


def test_a_successor_has_the_same_job_in_a_row_of_its_own(arena: Arena) -> None:
    row = arena.claim_row(77)
    post = post_of(arena, row)
    assert post.row == row
    post.on_gone()
    assert not arena.rows(), "the row of the one before is given back"
    job = post.job(8)
    assert job.row == post.row == row
    assert job.ready_fd == 8
    assert (job.settings, job.listeners, job.generation) == (JOB.settings, JOB.listeners, 4)
    post.on_spawned(78)
    assert [each["pid"] for each in arena.rows()] == [78]


def test_control_has_no_row(arena: Arena) -> None:
    template = template_of(JOB) | {"row": None}
    post = AdoptedPost(ChildRecord("control", "edge.control", job=template), {}, arena)
    assert post.job(8).row is None
    post.on_gone()
    assert not arena.rows()


@pytest.mark.parametrize("job", [None, {"tier": None}, template_of(JOB) | {"listeners": [{}]}])
def test_one_of_another_version_has_no_successor(arena: Arena, job: dict[str, object]) -> None:
    post = AdoptedPost(ChildRecord("worker 0", "edge.worker", job=job), {}, arena)
    with pytest.raises(ValueError, match="of another version"):
        post.job(8)
    assert not arena.rows()


def test_without_its_memory_it_has_no_successor() -> None:
    post = post_of(None, 3)
    post.on_gone()
    with pytest.raises(ValueError, match="of another version"):
        post.job(8)
