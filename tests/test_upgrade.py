"""Upgrades in place: real supervisors that replace themselves, with stand-in workers."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edge.handover import HandOverError, Record, ResourcesRecord
from edge.upgrade import (
    RECORD_VARIABLE,
    Program,
    UpgradeError,
    inherited_record,
    settle_signals,
    signals_blocked,
)
from tests.standin_runs import (
    Client,
    Run,
    Start,
    ask_once,
    await_end_of,
    standin_runs,
)

pytestmark = pytest.mark.wire

UPGRADES = 10
NOTHING = ResourcesRecord(memory={}, data={})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with standin_runs(tmp_path) as start_run:
        yield start_run


def upgrade(run: Run, generation: int) -> None:
    """Returns when it is done."""
    run.signal(signal.SIGUSR2)
    run.line(rf"edge: upgraded to \S+, generation {generation}")


def children(run: Run) -> set[int]:
    return {child.pid for child in psutil.Process(run.process.pid).children()}


def await_children(run: Run, count: int) -> None:
    """Returns when the supervisor has that many; a drain ends by itself."""
    while len(children(run)) != count:
        assert run.process.poll() is None


def await_generation(port: int, generation: int) -> None:
    """Returns when it answers; the one before may have an answer or two to give yet."""
    while (found := ask_once(port)[1]) != generation:
        assert found < generation


def open_files(run: Run) -> list[str]:
    """What the supervisor's descriptors are, without numbers that differ from run to run."""
    folder = Path(f"/proc/{run.process.pid}/fd")
    return sorted(re.sub(r"\d+", "N", str(entry.readlink())) for entry in folder.iterdir())


# -- it works -------------------------------------------------------------------------------------


def test_the_process_stays_and_open_connections_go_on(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    held = Client(port)
    before = held.ask()
    upgrade(run, 2)
    assert run.process.poll() is None
    assert held.ask() == before, "its worker is a child of the same process still"
    await_generation(port, 2)
    held.close()
    await_end_of(before[0])
    await_children(run, 3)
    assert "edge: ready" not in run.lines[run.lines.index("edge: ready") + 1 :]
    assert not any("listens on" in line for line in run.lines[2:]), "they have been said"
    run.signal(signal.SIGTERM)
    assert run.status() == 0


def test_nobody_is_refused_while_the_program_is_replaced(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    run.signal(signal.SIGUSR2)
    await_generation(port, 2)


def test_many_upgrades_leave_nothing_behind(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    upgrade(run, 2)
    await_children(run, 3)
    files = open_files(run)
    for number in range(UPGRADES):
        upgrade(run, 3 + number)
    await_children(run, 3)
    assert open_files(run) == files
    rows = {ask_once(port)[2] for _ in range(40)}
    assert max(rows) < 6, "two generations overlap, three when a drain is slow: rows are given back"


def test_an_upgrade_goes_on_with_a_drain_that_runs(start: Start) -> None:
    run = start()
    port = run.ready()
    held = Client(port)
    first = held.ask()
    run.signal(signal.SIGHUP)
    run.line("edge: reloaded: generation 2 serves")
    assert held.ask() == first
    upgrade(run, 3)
    assert held.ask() == first
    held.close()
    await_end_of(first[0])
    await_children(run, 2)
    await_generation(port, 3)


def test_a_drain_has_the_end_that_it_had_before(start: Start) -> None:
    run = start(drain_s=0.5)
    port = run.ready()
    held = Client(port)
    held.ask()
    run.signal(signal.SIGHUP)
    run.line("edge: reloaded: generation 2 serves")
    run.signal(signal.SIGUSR2)
    run.line("edge: worker 0 of generation 1 still has connections after .*s, which are cut")
    with pytest.raises(ConnectionError):
        while True:  # the line comes a moment before the end
            held.ask()
    held.close()


def test_two_upgrades_at_once_and_a_reload_are_done_one_after_the_other(start: Start) -> None:
    run = start()
    port = run.ready()
    for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR2):
        run.signal(number)
    run.line(r"edge: upgraded to \S+, generation 2")
    run.signal(signal.SIGHUP)
    run.line(r"edge: reloaded: generation \d serves")
    await_generation(port, int(run.lines[-1].split()[-2]))


def test_what_is_adopted_is_kept(start: Start) -> None:
    """A worker that a later program has adopted, and which dies, is started again."""
    run = start()
    port = run.ready()
    run.order(1, [0], fails_with_sockets=True)
    run.signal(signal.SIGUSR2)
    run.line("edge: edge .* supervises the processes of before: .*")
    pid, generation, row = ask_once(port)
    assert (generation, row) == (1, 0), "the processes of before serve on"
    run.order(1, [0])
    os.kill(pid, signal.SIGKILL)
    run.line(rf"edge: worker 0 of generation 1 \(pid {pid}\) was killed by SIGKILL; .*")
    successor = ask_once(port)
    assert successor[0] != pid
    assert successor[1:] == (1, 0), "with the same job and row"
    upgrade(run, 3)
    await_generation(port, 3)
    await_children(run, 2)


def test_workers_that_die_and_start_meanwhile_are_no_hindrance(start: Start) -> None:
    run = start(workers=2, lives_shortly=True)
    run.line(r"edge: worker \d of generation 1 .* starting it again in 0\.4s")
    run.order(2, [0])
    upgrade(run, 2)
    await_children(run, 3)
    run.signal(signal.SIGTERM)
    assert run.status() == 0


# -- it does not ----------------------------------------------------------------------------------


def refused(run: Run, port: int, why: str) -> None:
    """Asks for an upgrade that fails; afterwards everything is as it was."""
    before = children(run)
    run.signal(signal.SIGUSR2)
    run.line(f"edge: not upgraded: {why}")
    assert children(run) == before
    assert ask_once(port)[1] == 1


def test_a_bad_file_leaves_the_old_one(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    good = run.orders_file.read_text()
    run.orders_file.write_text("{")
    refused(run, port, "the new program refuses the file")
    assert f"{run.orders_file}:1: haproxy: wrong" in run.lines
    run.orders_file.write_text(good)
    upgrade(run, 2)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("is_program_bad", "the new program ended with status 7 before it was ready"),
        (
            "fails_at_start",
            r"worker 0 of generation 2 \(pid \d+\) ended with status 3 before it was ready",
        ),
        ("hangs_at_start", r"worker 0 of generation 2 \(pid \d+\) was not ready within 2s"),
    ],
)
def test_a_program_that_does_not_come_up_leaves_the_old_one(
    start: Start, trouble: str, why: str
) -> None:
    run = start(start_s_max=2.0)
    port = run.ready()
    run.order(1, [0], **{trouble: True})
    refused(run, port, why)


def test_a_port_in_use_leaves_the_old_one(start: Start) -> None:
    run = start()
    port = run.ready()
    other = start()
    taken = other.ready()
    run.order(1, [0, taken])
    refused(run, port, f"cannot listen on 127.0.0.1:{taken}: another process uses this port")


def rehearsal_of(run: Run) -> psutil.Process:
    """The rehearsal, once it has started its children."""
    while True:
        for child in psutil.Process(run.process.pid).children():
            if "tests.standin_run" in child.cmdline() and len(child.children()) == 2:
                return child


def test_a_rehearsal_that_is_killed_leaves_the_old_one(start: Start) -> None:
    run = start()
    port = run.ready()
    before = children(run)
    run.order(1, [0], hangs_at_start=True)
    run.signal(signal.SIGUSR2)
    rehearsal = rehearsal_of(run)
    theirs = [child.pid for child in rehearsal.children()]
    rehearsal.kill()
    run.line("edge: not upgraded: the new program was killed by signal 9 before it was ready")
    for pid in theirs:
        await_end_of(pid)
    assert children(run) == before
    assert ask_once(port)[1] == 1


def test_a_rehearsal_ends_with_a_supervisor_that_is_killed(start: Start) -> None:
    run = start()
    run.ready()
    run.order(1, [0], hangs_at_start=True)
    run.signal(signal.SIGUSR2)
    rehearsal = rehearsal_of(run)
    pids = [rehearsal.pid, *(child.pid for child in rehearsal.children())]
    run.signal(signal.SIGKILL)
    for pid in pids:
        await_end_of(pid)


# -- it is told to end meanwhile ------------------------------------------------------------------


def test_a_stop_during_a_rehearsal_ends_with_0_and_leaves_nobody(start: Start) -> None:
    run = start()
    run.ready()
    run.order(1, [0], hangs_at_start=True)
    run.signal(signal.SIGUSR2)
    rehearsal = rehearsal_of(run)
    pids = [*children(run), *(child.pid for child in rehearsal.children())]
    run.signal(signal.SIGTERM)
    assert run.status() == 0
    for pid in pids:
        await_end_of(pid)


def test_a_stop_while_the_program_is_replaced_is_obeyed_by_the_next(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    pids = children(run)
    held = Client(port)
    answer = held.ask()
    run.signal(signal.SIGUSR2)
    environ = Path(f"/proc/{run.process.pid}/environ")
    while f"{RECORD_VARIABLE}=".encode() not in environ.read_bytes():
        assert run.process.poll() is None
    run.signal(signal.SIGTERM)
    assert held.ask() == answer, "a drain, and no end"
    held.close()
    assert run.status() == 0
    for pid in pids:
        await_end_of(pid)


def test_a_signal_that_came_before_is_heard_before_the_program_is_replaced() -> None:
    async def scenario() -> bool:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
        os.kill(os.getpid(), signal.SIGTERM)
        with signals_blocked():
            await settle_signals()
            return heard.is_set()

    assert asyncio.run(scenario())


# -- the program ----------------------------------------------------------------------------------


def own_record() -> Record:
    return Record(supervisor_pid=os.getpid(), version="1", generation=1, resources=NOTHING)


def test_an_interpreter_that_is_gone_is_said() -> None:
    program = Program(("/nowhere/python", "-m", "edge"))
    with pytest.raises(UpgradeError, match="/nowhere/python cannot be started: No such file"):
        asyncio.run(program.rehearse(own_record()))


def test_a_program_that_says_nothing_in_time_is_ended() -> None:
    program = Program((sys.executable, "-c", "import signal; signal.pause()"), upgrade_s_max=0.5)
    with pytest.raises(UpgradeError, match=r"the new program was not ready within 0\.5s"):
        asyncio.run(program.rehearse(own_record()))


def test_a_failed_replacement_changes_nothing() -> None:
    reading, writing = os.pipe()
    record = Record(
        os.getpid(), "1", 1, ResourcesRecord(memory={"x": reading, "y": writing}, data={})
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        Program(("/nowhere/python",)).become(record)
    assert not os.get_inheritable(reading)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(reading)
    os.close(writing)


def test_a_record_is_taken_out_of_the_environment() -> None:
    environment = {RECORD_VARIABLE: str(own_record().write()), "HOME": "/"}
    record = inherited_record(environment)
    assert record is not None
    assert record.generation == 1
    assert environment == {"HOME": "/"}
    assert inherited_record(environment) is None


@pytest.mark.parametrize("word", ["", "x", "-1", "99999"])
def test_a_variable_that_means_nothing_is_refused(word: str) -> None:
    with pytest.raises(HandOverError):
        inherited_record({RECORD_VARIABLE: word})


def test_the_record_of_another_process_is_refused() -> None:
    fd = Record(supervisor_pid=1, version="1", generation=1, resources=NOTHING).write()
    with pytest.raises(HandOverError, match="not for this process: unset it"):
        inherited_record({RECORD_VARIABLE: str(fd)})
