"""The supervisor with real processes and sockets; the workers are stand-ins (standin_worker.py)."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin_runs import (
    WAIT_S_MAX,
    Client,
    Start,
    ask_once,
    await_end_of,
    free_port,
    standin_runs,
)

pytestmark = pytest.mark.wire


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with standin_runs(tmp_path) as start_run:
        yield start_run


def test_every_worker_serves_the_same_port_and_sigterm_ends_with_0(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    answers = {ask_once(port) for _ in range(60)}
    assert len({pid for pid, _, _ in answers}) == 2
    assert {row for _, _, row in answers} == {0, 1}
    run.signal(signal.SIGTERM)
    assert run.status() == 0
    for pid, _, _ in answers:
        await_end_of(pid)


def test_sigint_drains_as_sigterm_does(start: Start) -> None:
    run = start()
    run.ready()
    run.signal(signal.SIGINT)
    assert run.status() == 0


def test_a_bad_file_at_the_start_is_said_line_by_line_and_ends_with_1(start: Start) -> None:
    run = start()
    run.ready()
    bad = run.orders_file.with_name("bad.json")
    bad.write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "tests.standin_run", bad, "1", "1"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        timeout=WAIT_S_MAX,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{bad}:1: haproxy: wrong",
        f"{bad}:2: nodes: also wrong",
    ]


def test_a_port_in_use_is_one_line_and_ends_with_1(start: Start) -> None:
    first = start()
    port = first.ready()
    second = start(ports=[port])
    assert second.status() == 1
    assert second.lines == [
        f"edge: cannot listen on 127.0.0.1:{port}: another process uses this port"
    ]
    assert ask_once(port)


def test_a_worker_that_fails_at_the_start_ends_the_run_with_1(start: Start) -> None:
    run = start(workers=2, fails_at_start=True)
    assert run.status() == 1
    assert re.fullmatch(
        r"edge: worker \d of generation 1 \(pid \d+\) ended with status 3 before it was ready",
        run.lines[0],
    )


def test_a_worker_that_hangs_at_the_start_is_killed_and_said(start: Start) -> None:
    run = start(start_s_max=1.0, hangs_at_start=True)
    assert run.status() == 1
    assert run.lines[0].endswith("was not ready within 1s")


def test_a_killed_worker_costs_its_own_connections_only(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    clients = [Client(port) for _ in range(40)]
    served_by = [client.ask()[0] for client in clients]
    victim = served_by[0]
    os.kill(victim, signal.SIGKILL)
    # While it is gone nobody is refused: its queue waits for the successor.
    pids = {ask_once(port)[0] for _ in range(60)}
    run.line(
        r"edge: worker \d of generation 1 \(pid \d+\) was killed by SIGKILL; starting it again.*"
    )
    pids |= {ask_once(port)[0] for _ in range(60)}
    assert len(pids) == 2
    assert victim not in pids
    for client, pid in zip(clients, served_by, strict=True):
        if pid != victim:
            assert client.ask()[0] == pid
        client.close()


def test_a_worker_that_dies_again_and_again_is_started_ever_later(start: Start) -> None:
    run = start(lives_shortly=True)
    for pause in ("0.1", "0.2", "0.4"):
        found = run.line(r"edge: worker 0 of generation 1 .* starting it again in (\S+)s")
        assert found[1] == pause
    run.signal(signal.SIGTERM)
    assert run.status() == 0


def test_control_is_started_again_too(start: Start) -> None:
    run = start()
    run.ready()
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text()
    assert len(children.split()) == 2
    worker = ask_once(int(run.lines[0].rpartition(":")[2]))[0]
    control = next(int(pid) for pid in children.split() if int(pid) != worker)
    os.kill(control, signal.SIGKILL)
    run.line(
        r"edge: control of generation 1 \(pid \d+\) was killed by SIGKILL; starting it again.*"
    )


def test_reload_loses_no_connection_and_keeps_those_that_are_open(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    held = [Client(port) for _ in range(10)]
    old = [client.ask() for client in held]
    run.signal(signal.SIGHUP)
    seen: set[int] = set()
    while seen != {2}:
        # Each of these connects while generations change; none may fail.
        seen = {ask_once(port)[1] for _ in range(20)}
    run.line("edge: reloaded: generation 2 serves")
    assert [client.ask() for client in held] == old
    for client in held:
        client.close()
    for pid in {pid for pid, _, _ in old}:
        await_end_of(pid)
    assert {ask_once(port)[1] for _ in range(20)} == {2}


def test_a_bad_file_at_reload_leaves_the_running_configuration(start: Start) -> None:
    run = start()
    port = run.ready()
    before = ask_once(port)
    run.orders_file.write_text("{")
    run.signal(signal.SIGHUP)
    run.line(r".*:1: haproxy: wrong")
    run.line(r".*:2: nodes: also wrong")
    run.line("edge: not reloaded: the running configuration stays")
    assert ask_once(port) == before


def test_a_generation_that_does_not_come_up_leaves_the_running_one(start: Start) -> None:
    run = start()
    port, other = run.ready(), free_port()
    before = ask_once(port)
    run.order(2, [0, other], fails_at_start=True)
    run.signal(signal.SIGHUP)
    run.line("edge: not reloaded: the running configuration stays")
    assert {ask_once(port) for _ in range(20)} == {before}
    with pytest.raises(ConnectionRefusedError):
        Client(other)
    run.order(2, [0, other])
    run.signal(signal.SIGHUP)
    run.line("edge: reloaded: generation 3 serves")
    assert ask_once(other)


def test_a_reload_adds_workers(start: Start) -> None:
    run = start()
    port = run.ready()
    run.order(3, [0])
    run.signal(signal.SIGHUP)
    run.line("edge: reloaded: generation 2 serves")
    pids: set[int] = set()
    while len(pids) != 3:
        # From here on nobody is refused or reset, though the new sockets' workers still start.
        answers = {ask_once(port) for _ in range(60)}
        pids = {pid for pid, generation, _ in answers if generation == 2}


def test_a_reload_onto_a_port_in_use_leaves_the_running_configuration(start: Start) -> None:
    run = start()
    port = run.ready()
    with socket.create_server(("127.0.0.1", 0)) as other:
        run.order(1, [0, other.getsockname()[1]])
        run.signal(signal.SIGHUP)
        run.line("edge: cannot listen on .*: another process uses this port")
    run.line("edge: not reloaded: the running configuration stays")
    assert ask_once(port)[1] == 1


def test_a_reload_adds_and_removes_addresses(start: Start) -> None:
    first, second = free_port(), free_port()
    run = start(ports=[first])
    run.ready()
    run.order(1, [second])
    run.signal(signal.SIGHUP)
    run.line("edge: reloaded: generation 2 serves")
    assert ask_once(second)[1] == 2


def test_workers_never_become_fewer_before_a_restart(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    run.order(1, [0])
    run.signal(signal.SIGHUP)
    run.line(r"edge: workers stays 2 until a restart, not 1: .*")
    run.line("edge: reloaded: generation 2 serves")
    answers = {ask_once(port) for _ in range(60)}
    while any(generation == 1 for _, generation, _ in answers):
        answers = {ask_once(port) for _ in range(60)}
    assert len(answers) == 2


def test_drain_serves_what_is_open_and_refuses_what_is_new(start: Start) -> None:
    run = start()
    port = run.ready()
    held = Client(port)
    answer = held.ask()
    run.signal(signal.SIGTERM)
    while held.ask() == answer:
        try:
            late = Client(port)
            late.close()
        except (ConnectionRefusedError, ConnectionResetError):
            break  # reset: it was in the queue of the stand-in, which does not look there last
    assert held.ask() == answer
    held.close()
    assert run.status() == 0


def test_drain_has_an_end(start: Start) -> None:
    run = start(drain_s=0.5)
    port = run.ready()
    held = Client(port)
    held.ask()
    run.signal(signal.SIGTERM)
    assert run.status() == 0
    assert "edge: worker 0 of generation 1 still has connections after 1.5s, which are cut" in (
        run.lines
    )
    with pytest.raises(ConnectionError):
        held.ask()
    held.close()


def test_a_second_signal_ends_at_once_with_1(start: Start) -> None:
    run = start(is_deaf=True)
    port = run.ready()
    held = Client(port)
    worker = held.ask()[0]
    run.signal(signal.SIGTERM)
    run.signal(signal.SIGTERM)
    # Two that come as one count as one; the third is surely a second.
    if run.process.poll() is None:
        run.signal(signal.SIGINT)
    assert run.status() == 1
    await_end_of(worker)
    held.close()


def test_a_stop_during_the_start_ends_with_0_and_leaves_nobody(start: Start) -> None:
    run = start(hangs_at_start=True)
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children")
    while len(children.read_text().split()) < 2:
        assert run.process.poll() is None
    pids = [int(pid) for pid in children.read_text().split()]
    run.signal(signal.SIGTERM)
    assert run.status() == 0
    for pid in pids:
        await_end_of(pid)


def test_children_end_with_a_supervisor_that_is_killed(start: Start) -> None:
    run = start(workers=2)
    port = run.ready()
    pids = {ask_once(port)[0] for _ in range(60)}
    run.signal(signal.SIGKILL)
    for pid in pids:
        await_end_of(pid)
