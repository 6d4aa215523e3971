"""HAProxy's CLI in a running edge: its sockets, the traffic it moves, a reload."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

from tests.harness import free_port, run_edge
from tests.origin import Origin
from tests.wire.haproxy_pair import WAIT_S_MAX, Side

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:{port}
  health_check: {{enabled: false}}
  {stats}
nodes:
  - {{name: node1, web: '127.0.0.1:{one}', weight: 2}}
  - {{name: node2, web: '127.0.0.1:{two}'}}
"""


def get(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT_S_MAX) as answer:
        assert answer.status == 200


def test_a_drained_server_gets_nothing_and_stays_drained_over_a_reload(tmp_path: Path) -> None:
    side = Side(tmp_path / "cli", free_port())
    with Origin() as one, Origin() as two:
        stats = f"stats: {{socket: {side.socket}, level: admin}}"
        text = CONFIG.format(port=side.port, one=one.port, two=two.port, stats=stats)
        with run_edge(text, tmp_path, workers=2) as edge:
            assert side.ask("set server haproxy/node1 state drain") == "\n"
            assert side.ask("set server haproxy/node2 weight 77") == "\n"
            for _ in range(6):
                get(side.port)
            assert (len(one.requests), len(two.requests)) == (0, 6)
            edge.reload()
            edge.wait_line("reloaded")
            assert side.servers()["node1"][6] == "8"
            assert side.ask("get weight haproxy/node2") == "77 (initial 1)\n\n"
            assert side.ask("set server haproxy/node1 state ready; set weight haproxy/node2 0")
            get(side.port)
            assert len(one.requests) == 1
            edge.reload(text.replace(f"{two.port}'", f"{two.port}', weight: 5"))
            edge.wait_line("reloaded", count=2)
            assert side.ask("get weight haproxy/node2") == "5 (initial 5)\n\n"


def test_a_reload_takes_the_socket_away_and_brings_another(tmp_path: Path) -> None:
    side = Side(tmp_path / "cli", free_port())
    tcp = free_port()
    with Origin() as one, Origin() as two:

        def text(stats: str) -> str:
            return CONFIG.format(port=side.port, one=one.port, two=two.port, stats=stats)

        with run_edge(text(f"stats: {{socket: {side.socket}}}"), tmp_path) as edge:
            assert side.ask("show cli sockets").endswith(f"unix@{side.socket} operator all\n\n")
            edge.reload(text(f"stats: {{listen: '127.0.0.1:{tcp}', level: user}}"))
            edge.wait_line("reloaded")
            assert not side.socket.exists()
            with socket.create_connection(("127.0.0.1", tcp), WAIT_S_MAX) as client:
                client.sendall(b"show cli sockets\n")
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            assert answer.endswith(b"ipv4@127.0.0.1:%d user all\n\n" % tcp)


def test_a_start_where_somebody_answers_says_so(tmp_path: Path) -> None:
    side = Side(tmp_path / "cli", free_port())
    with Origin() as one, Origin() as two, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(side.socket))
        other.listen()
        stats = f"stats: {{socket: {side.socket}}}"
        text = CONFIG.format(port=side.port, one=one.port, two=two.port, stats=stats)
        taken = pytest.raises(AssertionError, match="another process uses this socket")
        with taken, run_edge(text, tmp_path):
            pass
