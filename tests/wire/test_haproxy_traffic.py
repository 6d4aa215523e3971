"""The CLI's commands on running traffic, beside real HAProxy's; and hatop, which reads them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness import Client, free_port, run_edge
from tests.origin import Gate, Origin, answer
from tests.wire.haproxy_pair import WAIT_S_MAX, Pair, Side, run_pair

pytestmark = [pytest.mark.wire, pytest.mark.external]

# Answers that are equal to the letter, in this order.
SESSION = """
set maxconn server
set maxconn server x
set maxconn server haproxy/node1
set maxconn server haproxy/node1 x
set maxconn server haproxy/node1 3x
set maxconn server haproxy/nope 5
set maxconn server nope/node1 5
set maxconn server haproxy/node1 5
set maxconn server haproxy/node1 0
set maxconn server haproxy/node1 6
set maxconn frontend
set maxconn frontend nope
set maxconn frontend haproxy
set maxconn frontend haproxy -1
set maxconn frontend haproxy 50
set maxconn global
set maxconn global -1
set maxconn global 40
shutdown session
shutdown session x
shutdown session 0x1
shutdown sessions server
shutdown sessions server haproxy
shutdown sessions server haproxy/nope
shutdown sessions server haproxy/node1
show sess 0x1
set server haproxy/node3 addr
set server haproxy/node3 addr bad
set server haproxy/node3 addr 127.0.0.1
set server haproxy/node3 addr 127.0.0.2
set server haproxy/node3 addr 127.0.0.3 port
set server haproxy/node3 addr 127.0.0.3 port x
set server haproxy/node3 addr 127.0.0.3 port 4321
set server haproxy/node3 addr 127.0.0.3 port 4321
set server haproxy/node3 addr 127.0.0.4 port 4322
set server haproxy/node3 addr 127.0.0.4 foo 9
set server haproxy/node3 addr ::1 port 4322
""".strip().splitlines()

CONFIG = """
haproxy:
  listen: 127.0.0.1:{port}
  health_check: {{enabled: false}}
  stats: {{socket: {socket}, level: admin}}
nodes:
  - {{name: node1, web: '127.0.0.1:{node}'}}
"""
ID = re.compile(
    r"(0x[0-9a-f]+): proto=tcpv4 src=127\.0\.0\.1[^ ]* fe=haproxy be=haproxy srv=node1 "
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_commands_are_answered_as_haproxy_answers_them(tmp_path: Path) -> None:
    with run_pair(tmp_path, is_checked=False) as pair:
        for command in SESSION:
            assert pair.edge.ask(command) == pair.haproxy.ask(command), command
        assert places(pair.edge) == places(pair.haproxy)
        assert column(pair, "slim") == [["6", "", "7"]] * 2


def places(side: Side) -> list[tuple[str, str]]:
    return [(row[4], row[18]) for row in side.servers().values()]


def column(pair: Pair, name: str) -> list[list[str]]:
    """Of the servers' rows, in edge and in HAProxy."""
    found = []
    for side in (pair.edge, pair.haproxy):
        head, *rows = side.ask("show stat -1 4 -1").removeprefix("# ").split("\n")
        index = head.split(",").index(name)
        found.append([row.split(",")[index] for row in rows if row])
    return found


@contextmanager
def shop(folder: Path, node: Origin, workers: int = 1) -> Iterator[Side]:
    side = Side(folder / "edge.sock", free_port())
    text = CONFIG.format(port=side.port, socket=side.socket, node=node.port)
    with run_edge(text, folder, workers):
        yield side


def start(stack: ExitStack, side: Side, node: Origin) -> tuple[Client, Gate]:
    """A client whose request is at the node until the gate opens."""
    gate = node.gate()
    node.then(gate, answer(b"late"))
    client = stack.enter_context(Client(side.port))
    count = len(node.requests)
    client.send(GET)
    node.wait_requests(count + 1)
    return client, gate


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_are_listed_and_ended_one_by_one(tmp_path: Path, workers: int) -> None:
    with Origin() as node, shop(tmp_path, node, workers) as side, ExitStack() as stack:
        assert side.ask("show sess") == "\n"
        started = [start(stack, side, node) for _ in range(6)]
        idle = stack.enter_context(Client(side.port))
        assert idle.get().status == 200  # idle now: no session
        ids = ID.findall(side.ask("show sess"))
        assert len(set(ids)) == 6
        line = side.ask(f"show sess {ids[0]}")
        assert ID.findall(line) == ids[:1]
        assert side.ask(f"shutdown session {ids[0]}") == "\n"
        assert set(ID.findall(side.ask("show sess all"))) == set(ids[1:])
        assert side.ask(f"shutdown session {ids[0]}") == "No such session (use 'show sess').\n\n"
        for _, gate in started:
            gate.open()
        statuses = [client.read_response().status for client, _ in started]
        assert sorted(statuses) == [200] * 5 + [502]
        assert side.ask("show sess") == "\n"


def test_sessions_of_a_server_are_ended(tmp_path: Path) -> None:
    with Origin() as node, shop(tmp_path, node) as side, ExitStack() as stack:
        started = [start(stack, side, node) for _ in range(3)]
        assert side.ask("shutdown sessions server haproxy/node1") == "\n"
        assert [client.read_response().status for client, _ in started] == [502] * 3
        assert started[0][0].get().status == 200  # the client's connection is kept


def test_maxconn_of_a_server_holds_at_once(tmp_path: Path) -> None:
    with Origin() as node, shop(tmp_path, node) as side, ExitStack() as stack:
        side.ask("set maxconn server haproxy/node1 1")
        _, gate = start(stack, side, node)
        second = stack.enter_context(Client(side.port))
        second.send(GET)
        while "scb=[QUE" not in side.ask("show sess"):
            pass
        assert len(node.requests) == 1
        side.ask("set maxconn server haproxy/node1 2")
        node.wait_requests(2)
        assert second.read_response().status == 200
        gate.open()


@pytest.mark.parametrize("what", ["frontend haproxy", "global"])
def test_maxconn_of_clients(tmp_path: Path, what: str) -> None:
    with Origin() as node, shop(tmp_path, node) as side, Client(side.port) as one:
        assert one.get().status == 200
        assert side.ask(f"set maxconn {what} 1") == "\n"
        with Client(side.port) as two:
            two.send(GET)
            assert two.read_response().status == 503
        assert one.get().status == 200
        side.ask(f"set maxconn {what} 2")
        with Client(side.port) as two:
            assert two.get().status == 200


def test_a_server_is_moved(tmp_path: Path) -> None:
    with Origin() as old, Origin() as new, shop(tmp_path, old) as side, ExitStack() as stack:
        running, gate = start(stack, side, old)
        idle = stack.enter_context(Client(side.port))
        assert idle.get().status == 200
        told = side.ask(f"set server haproxy/node1 addr 127.0.0.1 port {new.port}")
        change = f"port changed from '{old.port}' to '{new.port}' by 'stats socket command'"
        assert told == f"no need to change the addr, {change}\n\n"
        old.wait_closed(1)  # kept, and for nobody now
        assert idle.get().status == 200
        assert (len(old.requests), len(new.requests)) == (2, 1)
        gate.open()
        assert running.read_response().body == b"late"
        assert running.get().status == 200
        assert len(new.requests) == 2
        old.wait_closed(0)


def test_a_moved_server_is_checked_where_it_is(tmp_path: Path) -> None:
    with Origin() as old, Origin() as new:
        side = Side(tmp_path / "edge.sock", free_port())
        text = CONFIG.format(port=side.port, socket=side.socket, node=old.port)
        text = text.replace("{enabled: false}", "{interval: 20ms, path: /check}")
        with run_edge(text, tmp_path):
            side.ask(f"set server haproxy/node1 addr 127.0.0.1 port {new.port}")
            assert new.wait_requests(1)[0].head.target == b"/check"


def test_pools_add_up(tmp_path: Path) -> None:
    with Origin() as node, shop(tmp_path, node) as side, ExitStack() as stack:
        started = [start(stack, side, node) for _ in range(3)]
        text = side.ask("show pools")
        assert re.search(r"Pool block \(16384 bytes\) : 3 allocated \(49152 bytes\), 3 used,", text)
        total = sum(map(int, re.findall(r"allocated \((\d+) bytes\)", text)))
        assert f"Total: 3 pools, {total} bytes allocated, {total} used." in text
        for client, gate in started:
            gate.open()
            client.read_response()
        assert " : 3 allocated (49152 bytes), 0 used," in side.ask("show pools")


def screen_of(program: str, side: Side, until: str) -> str:
    """What hatop has drawn, once `until` is there; then it is told to quit."""
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.environ |= {"TERM": "xterm", "LINES": "40", "COLUMNS": "120"}
        os.execv(program, [program, "-s", str(side.socket), "-i", "1"])
    seen, stop_at, was_asked = "", time.monotonic() + WAIT_S_MAX, False
    try:
        while time.monotonic() < stop_at:
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                seen += os.read(terminal, 65_536).decode("utf-8", "replace")
            except OSError:  # it has closed its side
                break
            if until in seen and not was_asked:
                was_asked = True
                os.write(terminal, b"q")
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    return seen


def test_hatop_shows_the_servers(tmp_path: Path) -> None:
    program = shutil.which("hatop", path=os.environ.get("PATH", "") + ":/usr/bin")
    if program is None:
        pytest.skip("hatop is not installed")
    version = subprocess.run([program, "--version"], capture_output=True, check=False)
    assert version.returncode == 0
    with Origin() as node, shop(tmp_path, node) as side:
        with Client(side.port) as client:
            assert client.get().status == 200
        seen = screen_of(program, side, "node1")
        assert "HAProxy" in seen
        assert "BACKEND" in seen
        assert "Traceback" not in seen
