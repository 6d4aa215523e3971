"""run_edge starts, watches and stops a real edge; what goes wrong in it fails the test."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.harness import Client, free_port, run_edge, with_admin
from tests.origin import Origin

pytestmark = pytest.mark.wire


def config(port: int, origin: Origin) -> str:
    return f"""
haproxy: {{listen: 127.0.0.1:{port}}}
nodes:
  - {{name: node1, web: {origin.address}}}
"""


def test_free_port_can_be_bound() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_with_admin_keeps_an_admin() -> None:
    assert "127.0.0.1:1" in with_admin("nodes: []\n", "127.0.0.1:1")
    assert with_admin("admin: {listen: a}\n", "127.0.0.1:1") == "admin: {listen: a}\n"


def test_run_edge_serves_and_stops(tmp_path: Path) -> None:
    port = free_port()
    with Origin() as origin, run_edge(config(port, origin), tmp_path) as edge:
        with Client(port) as client:
            assert client.get("/x").body == b"ok"
        assert origin.requests[0].head.target == b"/x"
        assert "tiers" in edge.status()
        assert len(edge.workers()) == 1
    assert edge.process.returncode == 0


def test_run_edge_kills_a_worker(tmp_path: Path) -> None:
    port = free_port()
    with Origin() as origin, run_edge(config(port, origin), tmp_path, workers=2) as edge:
        before = edge.workers()
        assert edge.kill_worker() == before[0]
        edge.wait_status(lambda status: len(edge.workers()) == 2)
        with Client(port) as client:
            assert client.get().status == 200


def test_run_edge_reports_a_bad_configuration(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="edge: ready"), run_edge("nodes: []\n", tmp_path):
        pass
