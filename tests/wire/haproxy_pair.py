"""Real HAProxy and edge side by side, with equal configurations and the same nodes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import free_port, run_edge
from tests.origin import Origin

WAIT_S_MAX = 20.0
READ_BYTES = 65_536

HAPROXY = """
global
  nbthread 1
  stats socket {socket} level {level}
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen haproxy
  bind 127.0.0.1:{port}
{checks}
  server node1 127.0.0.1:{nodes[0]} weight 3 {check}
  server node2 127.0.0.1:{nodes[1]} backup {check}
  server node3 127.0.0.1:{nodes[2]} maxconn 7 {check}
"""
HAPROXY_CHECKS = (
    "  option httpchk GET /\n  timeout check 5s\n  default-server inter 300ms rise 2 fall 3"
)
EDGE = """
haproxy:
  listen: 127.0.0.1:{port}
  health_check: {checks}
  stats: {{socket: {socket}, level: {level}}}
nodes:
  - {{name: node1, web: '127.0.0.1:{nodes[0]}', weight: 3}}
  - {{name: node2, web: '127.0.0.1:{nodes[1]}', backup: true}}
  - {{name: node3, web: '127.0.0.1:{nodes[2]}', maxconn: 7}}
"""
EDGE_CHECKS = "{path: /, interval: 300ms, timeout: 5s, rise: 2, fall: 3}"
EDGE_NO_CHECKS = "{enabled: false}"


@dataclass(frozen=True)
class Side:
    """One of the two: where its CLI is, and where it takes traffic."""

    socket: Path
    port: int

    def ask(self, commands: str) -> str:
        """Everything that is answered to these lines until the other side closes."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT_S_MAX)
            client.connect(str(self.socket))
            client.sendall(commands.encode() + b"\n")
            received = b""
            while data := client.recv(READ_BYTES):
                received += data
        return received.decode()

    def servers(self) -> dict[str, list[str]]:
        """`show servers state`: the fields by the server's name."""
        rows = [line.split(" ") for line in self.ask("show servers state").splitlines()[2:] if line]
        return {row[3]: row for row in rows}

    def wait_health(self, health: str, *names: str) -> None:
        """Until the checks of these servers (of all) have this health."""
        names = names or ("node1", "node2", "node3")
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        while any(row[12] != health for name, row in self.servers().items() if name in names):
            assert time.monotonic() < stop_at, self.servers()
            pause.wait(0.05)


@dataclass(frozen=True)
class Pair:
    haproxy: Side
    edge: Side


@contextmanager
def run_pair(folder: Path, *, is_checked: bool, level: str = "admin") -> Iterator[Pair]:
    with Origin() as one, Origin() as two, Origin() as three:
        nodes = [one.port, two.port, three.port]
        theirs = Side(folder / "haproxy.sock", free_port())
        ours = Side(folder / "edge.sock", free_port())
        file = folder / "haproxy.cfg"
        file.write_text(
            HAPROXY.format(
                socket=theirs.socket,
                port=theirs.port,
                nodes=nodes,
                level=level,
                checks=HAPROXY_CHECKS if is_checked else "",
                check="check" if is_checked else "",
            )
        )
        text = EDGE.format(
            socket=ours.socket,
            port=ours.port,
            nodes=nodes,
            level=level,
            checks=EDGE_CHECKS if is_checked else EDGE_NO_CHECKS,
        )
        with run_edge(text, folder), real_haproxy(file, theirs):
            yield Pair(theirs, ours)


def is_listening(path: Path) -> bool:
    """HAProxy makes the file a moment before it listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def real_haproxy(file: Path, side: Side) -> Iterator[None]:
    """Debian's HAProxy with a configuration file whose CLI is `side`'s."""
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    process = subprocess.Popen([program, "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
    try:
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        while not is_listening(side.socket):
            assert process.poll() is None, "haproxy does not start"
            assert time.monotonic() < stop_at
            pause.wait(0.02)
        yield
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)
