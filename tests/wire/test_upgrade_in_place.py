"""`edge run` is replaced by the program that is installed, under load: nobody notices.

The program of before and after are the same here; the supervisor cannot know.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge.admin_client import find_remotes
from edge.operate import Operator
from tests.harness import ROOT, Client
from tests.origin import AnswerTarget, answer
from tests.wire.load import run_load
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
drain: 5s
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  stats: {listen: 127.0.0.1:$cli, level: admin}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
"""
CACHED = """
drain: 5s
cdn: {listen: 127.0.0.1:$port, cache: {size: 16MiB}}
haproxy: {health_check: {enabled: false}}
nodes: [{name: node1, web: 127.0.0.1:$node1}]
"""
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
WORKERS = 2
WAIT_S_MAX = 30.0


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path, WORKERS) as fresh:
        yield fresh


def upgrade(stand: Stand) -> Any:
    """SIGUSR2; the status, once the workers of before are gone."""
    before = set(stand.edge.workers())
    count = sum("upgraded to" in line for line in stand.edge.stderr)
    stand.edge.process.send_signal(signal.SIGUSR2)
    stand.edge.wait_line("edge: upgraded to", count=count + 1)
    return stand.edge.wait_status(lambda _: not before & set(stand.edge.workers()), WAIT_S_MAX)


def edge(*words: str) -> subprocess.CompletedProcess[str]:
    """One command of the command line."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("method", "is_new_each"),
    [(b"GET", False), (b"GET", True), (b"POST", False), (b"POST", True)],
)
def test_no_request_is_lost_and_none_is_sent_twice(
    fresh: Stand, method: bytes, is_new_each: bool
) -> None:
    with (
        fresh.node(default=[AnswerTarget()]) as one,
        fresh.node(default=[AnswerTarget()], name="node2") as two,
    ):
        with run_load(fresh.ports["port"], 3, method, is_new_each) as load:
            load.wait_done(30)
            upgrade(fresh)
            load.wait_done(30)
        targets = [request.head.target for node in (one, two) for request in node.requests]
        assert len(targets) == len(set(targets)) == load.done


def test_running_requests_end_and_counters_go_on(fresh: Stand) -> None:
    with fresh.node() as node, fresh.client() as client:
        with fresh.client() as first:
            node.then(answer(b"first"))
            assert first.get("/x").body == b"first"
        before = fresh.edge.status()
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        node.wait_requests(2)
        fresh.edge.process.send_signal(signal.SIGUSR2)
        fresh.edge.wait_line("edge: upgraded to")
        after = fresh.edge.wait_status(lambda status: status["generation"] == 2)
        assert after["pids"]["supervisor"] == before["pids"]["supervisor"]
        assert after["uptime_s"] > before["uptime_s"]
        assert after["tiers"][0]["in_flight"] == 1
        gate.open()
        assert client.read_response().body == b"late"
        counted = fresh.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 0)
        assert counted["tiers"][0]["counters"]["requests"] == 2


def test_a_node_that_was_drained_stays_drained(fresh: Stand) -> None:
    assert edge("drain", "node1", "--admin", fresh.edge.admin).returncode == 0
    after = upgrade(fresh)
    assert [server["admin"] for server in after["tiers"][0]["servers"]] == ["drain", "ready"]
    with fresh.node(default=[AnswerTarget()], name="node2") as two:
        for number in range(6):
            with fresh.client() as client:
                assert client.get(f"/{number}").status == 200
        assert len(two.requests) == 6


def test_the_cli_of_haproxy_is_handed_over(fresh: Stand) -> None:
    upgrade(fresh)
    with Client(fresh.ports["cli"]) as cli:
        cli.send(b"show info\n")
        assert f"Pid: {fresh.edge.process.pid}".encode() in cli.read_to_end()


def test_what_is_cached_is_a_hit_afterwards(tmp_path: Path) -> None:
    with run_stand(CACHED, tmp_path, WORKERS) as stand, stand.node() as node:
        node.then(answer(b"kept", b"Cache-Control: max-age=1000"))
        with stand.client() as client:
            assert client.get("/x").body == b"kept"
        upgrade(stand)
        for _ in range(4):
            with stand.client() as client:
                response = client.get("/x")
                assert response.body == b"kept"
                assert response.values(b"x-cache") == [b"HIT"]
        assert len(node.requests) == 1
        assert stand.edge.status()["tiers"][0]["counters"]["cache_hits"] == 4


def test_memory_and_descriptors_stay_what_they_are(tmp_path: Path) -> None:
    with run_stand(CACHED, tmp_path) as stand:
        supervisor = psutil.Process(stand.edge.process.pid)

        def upgrade_and_look() -> tuple[list[str], int]:
            upgrade(stand)
            # Control of before ends after its workers.
            stand.edge.wait_status(lambda _: len(supervisor.children(recursive=True)) == 2)
            return memory_of(supervisor.pid), supervisor.num_fds()

        before = upgrade_and_look()
        for _ in range(2):
            assert upgrade_and_look() == before
        assert len(before[0]) == 3, "arena, cache, outcomes"
        assert supervisor.num_threads() == 1, "another thread would get a signal that is blocked"


def memory_of(pid: int) -> list[str]:
    """The memfds that a process has open."""
    links = (str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return sorted(link for link in links if "memfd:" in link)


# -- the command, and failures --------------------------------------------------------------------


def test_the_command_waits_for_the_new_processes(fresh: Stand) -> None:
    done = edge("upgrade", str(fresh.edge.config_path))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\S+: edge \S+, generation 2 serves\n", done.stdout)
    assert fresh.edge.status()["orders"]["upgrades"] == 1


def test_a_bad_file_is_refused_and_the_old_program_goes_on(fresh: Stand) -> None:
    good = fresh.edge.config_path.read_text()
    before = fresh.edge.workers()
    with (
        fresh.node(default=[AnswerTarget()]),
        fresh.node(default=[AnswerTarget()], name="node2"),
        fresh.client() as client,
    ):
        assert client.get("/a").body == b"/a"
        fresh.edge.config_path.write_text("haproxy: {listen: nowhere}\nnodes: []\n")
        assert edge("upgrade", str(fresh.edge.config_path)).returncode == 1, "said by the command"
        done = edge("upgrade", "--admin", fresh.edge.admin)
        assert done.returncode == 1
        assert "is not upgraded: the new program refuses the file" in done.stderr
        assert any("haproxy.listen" in line for line in fresh.edge.stderr)
        assert fresh.edge.workers() == before
        assert client.get("/b").body == b"/b"
    fresh.edge.config_path.write_text(good)
    assert edge("upgrade", "--admin", fresh.edge.admin).returncode == 0


def test_a_rehearsal_that_is_killed_is_said(fresh: Stand) -> None:
    before = fresh.edge.workers()
    supervisor = psutil.Process(fresh.edge.process.pid)
    fresh.edge.process.send_signal(signal.SIGUSR2)
    while not (found := [each for each in supervisor.children() if "run" in each.cmdline()]):
        assert fresh.edge.process.poll() is None
    os.kill(found[0].pid, signal.SIGKILL)
    fresh.edge.wait_line("edge: not upgraded: the new program was killed by signal 9")
    assert fresh.edge.workers() == before
    upgrade(fresh)


def test_upgrade_and_sigterm_at_once_is_a_drain(fresh: Stand) -> None:
    with fresh.node() as node, fresh.client() as client:
        gate = node.gate()
        node.then(gate, answer(b"late"))
        client.send(GET)
        node.wait_requests(1)
        fresh.edge.process.send_signal(signal.SIGUSR2)
        fresh.edge.process.send_signal(signal.SIGTERM)
        gate.open()
        assert client.read_response().body == b"late"
        assert fresh.edge.process.wait(WAIT_S_MAX) == 0


# -- a rollout that is under way ------------------------------------------------------------------

CHECKED = """
drain: 5s
haproxy:
  listen: 127.0.0.1:$port
  health_check: {interval: 100ms, rise: 2, fall: 2}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
NAMES = ("node1", "node2", "node3")


def test_a_rollout_goes_on_over_an_upgrade(tmp_path: Path) -> None:
    with run_stand(CHECKED, tmp_path, WORKERS) as stand, ExitStack() as stack:
        origins = {
            name: stack.enter_context(stand.node(default=[AnswerTarget()], name=name))
            for name in NAMES
        }
        stand.edge.wait_status(lambda status: status["tiers"][0]["usable_servers"] == len(NAMES))

        def restart(node: str) -> int:
            origins[node].stop()
            if node == "node2":
                # The command of the rollout is over before the new processes are there.
                stand.edge.process.send_signal(signal.SIGUSR2)
            origins[node].start()
            return 0

        with run_load(stand.ports["port"], clients=2) as load:
            load.wait_done(20)
            remotes = find_remotes(None, [stand.edge.admin], None, {})
            lines = list(
                Operator(remotes).rollout(None, restart, drain_s_max=30.0, health_s_max=60.0)
            )
            load.wait_done(20)
        assert "3" in lines[-1], lines
        stand.edge.wait_line("edge: upgraded to")
        servers = stand.edge.wait_status(lambda status: status["generation"] == 2)["tiers"][0]
        assert [server["admin"] for server in servers["servers"]] == ["ready"] * len(NAMES)
