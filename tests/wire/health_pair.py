"""Real HAProxy and edge with equal checks, each over a node of its own that answers by a script.

What is compared is what an operator sees: the sequence of states that the statistics went through,
and the lines on stderr.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import free_port, run_edge
from tests.wire.haproxy_pair import Side

LINES_S_MAX = 3.0

WAIT_S_MAX = 20.0
POLL_S = 0.01
READ_BYTES = 65_536

HAPROXY = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen haproxy
  bind 127.0.0.1:{port}
{rules}
  server node1 127.0.0.1:{node} {server}
"""
EDGE = """
haproxy:
  listen: 127.0.0.1:{port}
  stats: {{socket: {socket}, level: admin}}
{keys}
nodes:
  - {{name: node1, web: '127.0.0.1:{node}', {row}}}
"""

Play = Callable[[socket.socket], None]


def says(*pieces: bytes) -> Play:
    """Reads what comes first, answers, and closes."""

    def play(peer: socket.socket) -> None:
        peer.recv(READ_BYTES)
        for piece in pieces:
            peer.sendall(piece)

    return play


def greets(line: bytes) -> Play:
    """Answers without being asked, as an agent does."""

    def play(peer: socket.socket) -> None:
        peer.sendall(line)

    return play


def page(code: int, body: bytes = b"", reason: bytes = b"X") -> Play:
    return says(b"HTTP/1.0 %d %b\r\nServer: t\r\n\r\n%b" % (code, reason, body))


class ScriptedNode:
    """Plays the next of `plays` for each connection, the last one for ever."""

    def __init__(self, plays: Sequence[Play]) -> None:
        self._plays = list(plays)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def then(self, *plays: Play) -> None:
        """From now on."""
        self._plays = list(plays)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.received += 1
            play = self._plays[0]
            if len(self._plays) > 1:
                self._plays.pop(0)
            with peer:
                peer.settimeout(WAIT_S_MAX)
                try:
                    play(peer)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(READ_BYTES):
                        pass
                except OSError:
                    continue  # the check hung up first

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT_S_MAX)


@dataclass(frozen=True)
class Case:
    """The same in both languages. `plays`: the node's; `agent`: its agent's, where there is one."""

    rules: str
    server: str
    keys: str
    plays: Sequence[Play]
    agent: Sequence[Play] = ()
    row: str = ""


COLUMNS = ("status", "check_status", "check_code", "check_health", "last_chk", "chkfail", "chkdown")
AGENT_COLUMNS = ("status", "weight", "uweight", "slim", "agent_status", "agent_health", "last_agt")


class Watched:
    """One side, its nodes, and what the statistics have said since the last question."""

    def __init__(
        self,
        side: Side,
        nodes: tuple[ScriptedNode, ScriptedNode | None],
        stderr: Callable[[], list[str]],
        columns: Sequence[str],
    ) -> None:
        self.side = side
        self.node, self.agent = nodes
        self.stderr = stderr
        self.seen: list[tuple[str, ...]] = []
        self._columns = columns
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_for_ever, daemon=True)
        self._thread.start()

    def row(self) -> dict[str, str]:
        text = self.side.ask("show stat haproxy 4 1").removeprefix("# ").rstrip("\n")
        (row,) = csv.DictReader(text.splitlines())
        return row

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(WAIT_S_MAX)

    def _look_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                row = self.row()
            except OSError:
                return  # it has ended
            statuses = (row["check_status"], row["agent_status"])
            if not any(status.startswith("* ") or status == "INI" for status in statuses):
                found = tuple(row[name] for name in self._columns)
                if not self.seen or self.seen[-1] != found:
                    self.seen.append(found)
            self._stopping.wait(POLL_S)


@dataclass(frozen=True)
class Both:
    haproxy: Watched
    edge: Watched

    def watch(self, *last: str) -> list[tuple[str, ...]]:
        """What edge went through up to `last`; asserts that HAProxy went through the same."""
        found, theirs = self.settle(*last)
        assert found == theirs, f"{found}\n{theirs}"
        return found

    def settle(self, *last: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Waits until both are at `last`; what each, edge first, was seen to go through."""
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        sides = (self.haproxy, self.edge)
        while any(not each.seen or each.seen[-1] != last for each in sides):
            assert time.monotonic() < stop_at, f"{self.edge.seen}\n{self.haproxy.seen}"
            pause.wait(POLL_S)
        seen = self.edge.seen[:], self.haproxy.seen[:]
        for each in sides:
            del each.seen[:-1]
        return seen

    def then(self, *plays: Play) -> None:
        """What the nodes play from now on."""
        for each in (self.haproxy, self.edge):
            each.node.then(*plays)

    def then_agent(self, *plays: Play) -> None:
        for each in (self.haproxy, self.edge):
            assert each.agent is not None
            each.agent.then(*plays)

    def ask(self, command: str) -> str:
        theirs, ours = self.haproxy.side.ask(command), self.edge.side.ask(command)
        assert ours == theirs, command
        return ours

    def lines(self) -> list[str]:
        """What edge has said about servers; asserts that HAProxy has said the same."""
        stop_at = time.monotonic() + LINES_S_MAX
        while True:
            ours, theirs = (server_lines(each.stderr()) for each in (self.edge, self.haproxy))
            if ours == theirs or time.monotonic() > stop_at:
                break
            threading.Event().wait(0.05)  # the last line of either may be on its way
        assert ours == theirs, "\n".join([*ours, "", *theirs])
        return ours


@contextmanager
def run_both(case: Case, folder: Path) -> Iterator[Both]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    with ExitStack() as stack:
        theirs, ours = (_nodes(case, stack) for _ in range(2))
        side = Side(folder / "haproxy.sock", free_port())
        values = _values(side, *theirs)
        file = folder / "haproxy.cfg"
        text = HAPROXY.replace("{rules}", case.rules).replace("{server}", case.server)
        file.write_text(_filled(text, values))
        process = stack.enter_context(_haproxy(program, file, folder / "haproxy.log"))
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        log = folder / "haproxy.log"
        while not side.socket.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < stop_at
            pause.wait(0.02)
        columns = AGENT_COLUMNS if case.agent else COLUMNS
        haproxy = Watched(side, theirs, lambda: log.read_text().splitlines(), columns)
        stack.callback(haproxy.stop)
        side = Side(folder / "edge.sock", free_port())
        text = EDGE.replace("{{", "{").replace("}}", "}")
        text = text.replace("{keys}", case.keys).replace("{row}", case.row)
        edge = stack.enter_context(run_edge(_filled(text, _values(side, *ours)), folder))
        watched = Watched(side, ours, lambda: edge.stderr, columns)
        stack.callback(watched.stop)
        yield Both(haproxy, watched)


def _nodes(case: Case, stack: ExitStack) -> tuple[ScriptedNode, ScriptedNode | None]:
    node = ScriptedNode(case.plays)
    stack.callback(node.close)
    agent = ScriptedNode(case.agent) if case.agent else None
    if agent is not None:
        stack.callback(agent.close)
    return node, agent


def _values(side: Side, node: ScriptedNode, agent: ScriptedNode | None) -> dict[str, object]:
    return {
        "socket": side.socket,
        "port": side.port,
        "node": node.port,
        "agent": 0 if agent is None else agent.port,
    }


def _filled(text: str, values: dict[str, object]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


@contextmanager
def _haproxy(program: str, file: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)


LINE = re.compile(r"(?:\[WARNING\] +\(\d+\) : |edge: )((?:Server|Backup Server|Health|Agent).*)")


def server_lines(lines: Sequence[str]) -> list[str]:
    """What is said about servers, without times, and without what says that nothing changes."""
    found = (LINE.fullmatch(line) for line in lines if "remains in forced drain" not in line)
    return [re.sub(r"duration: \d+ms", "duration: ms", each[1]) for each in found if each]
