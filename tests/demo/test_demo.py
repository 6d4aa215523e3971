"""The demo as a visitor meets it: it starts, serves, survives a killed node, leaves nothing behind.

Each test runs the demo as a process, with configs/pro.yaml on ports that the kernel chose.
"""

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.demo.guide import front_address
from edge.demo.run import CONFIG_NAME, find_config
from edge.settings import load

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
END_S_MAX = 20.0
RUN = "import sys; from edge.demo.run import main; sys.exit(main({seconds}, {config!r}))"


@dataclass
class RunningDemo:
    """A demo that has printed its guide."""

    process: subprocess.Popen[str]
    front: str
    admin: str
    guide: str

    @property
    def node_pids(self) -> dict[str, int]:
        found = re.findall(r"^ +(node\d) .* pid (\d+)$", self.guide, re.MULTILINE)
        return {name: int(pid) for name, pid in found}

    def get(self, path: str, address: str | None = None) -> tuple[int, str, str]:
        """Status, X-Node and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(address or self.front, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("X-Node", ""), answer.read().decode()
        finally:
            connection.close()


def config_on_free_ports(folder: Path) -> Path:
    """A copy of pro.yaml in which every address is a free port of 127.0.0.1."""
    text = find_config().read_text()
    addresses = sorted(set(re.findall(r"127\.0\.0\.1:\d+", text)))
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in addresses]
    free = {a: f"127.0.0.1:{s.getsockname()[1]}" for a, s in zip(addresses, sockets, strict=True)}
    for each in sockets:
        each.close()
    config = folder / CONFIG_NAME
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", lambda found: free[found[0]], text))
    return config


def start(config: Path, seconds: float | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(seconds=seconds, config=str(config))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def demo(folder: Path, seconds: float | None = None) -> Iterator[RunningDemo]:
    """A running demo; ended at the latest when the test is over."""
    config = config_on_free_ports(folder)
    settings = load(str(config))
    assert settings.admin is not None
    with start(config, seconds) as process:
        try:
            assert process.stdout is not None
            guide = ""
            while "Ctrl-C ends" not in guide:
                line = process.stdout.readline()
                assert line or process.stderr is None, process.stderr.read()
                guide += line
            yield RunningDemo(process, front_address(settings), settings.admin.listen, guide)
        finally:
            process.terminate()
            process.communicate(timeout=END_S_MAX)


def await_gone(pids: list[int]) -> None:
    """Returns when none of the processes runs any more; TimeoutError after END_S_MAX."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        readable, _, _ = select.select([descriptor], [], [], END_S_MAX)
        os.close(descriptor)
        if not readable:
            raise TimeoutError(f"process {pid} still runs")


def children_of(pid: int) -> list[int]:
    """All processes below `pid`, from /proc."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, below) for each in (child, *children_of(child))]


def test_shop_is_served_through_the_chain(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        status, node, body = running.get("/women.html")
        assert (status, node in running.node_pids) == (200, True)
        assert f"Made by {node}, answer " in body
        seen = {running.get("/checkout/cart/")[1] for _ in range(12)}
        assert seen == {"node1", "node2", "node3"}
        assert running.get("/status", running.admin)[0] == 200
        assert running.get("/metrics", running.admin)[0] == 200
        for address in (running.front, running.admin):
            assert f"http://{address}/" in running.guide


def test_killed_node_is_not_noticed(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        victim = running.node_pids["node3"]
        os.kill(victim, signal.SIGKILL)
        await_gone([victim])
        answers = [running.get("/checkout/cart/") for _ in range(12)]
        assert {status for status, _, _ in answers} == {200}
        assert {node for _, node, _ in answers} == {"node1", "node2"}
        assert f"kill -9 {victim}" in running.guide


def test_ends_by_itself_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, seconds=1) as running:
        below = children_of(running.process.pid)
        assert set(running.node_pids.values()) < set(below)
        assert running.process.wait(END_S_MAX) == 0
        await_gone(below)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as running:
        below = children_of(running.process.pid)
        running.process.send_signal(number)
        assert running.process.wait(END_S_MAX) == 0
        await_gone(below)


def test_killed_demo_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        below = children_of(running.process.pid)
        running.process.kill()
        await_gone(below)


def test_taken_address_is_one_clear_line(tmp_path: Path) -> None:
    config = config_on_free_ports(tmp_path)
    node = load(str(config)).nodes[1].web
    assert node is not None
    host, _, port = node.rpartition(":")
    with socket.create_server((host, int(port))), start(config, None) as process:
        _, errors = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 1
    assert errors == (
        f"edge: cannot listen on {node}: address already in use; does another demo run?\n"
    )


def test_bad_file_ends_it(tmp_path: Path) -> None:
    config = tmp_path / CONFIG_NAME
    config.write_text("nodes: []\n")
    with start(config, None) as process:
        _, errors = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 1
    assert f"{config}:" in errors


def test_command_line_runs_it() -> None:
    """`edge demo` with the file of the distribution; its addresses are taken or they are not."""
    process = subprocess.run(
        [sys.executable, "-m", "edge", "demo", "--seconds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "does another demo run?" in process.stderr:
        assert process.returncode == 1
    else:
        assert process.returncode == 0, process.stderr
        assert "http://127.0.0.1:8080/" in process.stdout
