"""The arithmetic of the load tests: what wrk said, what a system cost, which bar is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from loadtests.idle import count_open, hold_idle_connections
from loadtests.processes import Cpu, Running, WrkResult, parse_wrk
from loadtests.side_by_side import BARS, Row, Sample, cpu_row, judge, report
from tests.origin import Origin, answer

WRK_REPORT = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
  81234 requests in 2.01s, 92.10MB read
Requests/sec:  40414.93
"""


def test_parse_wrk() -> None:
    assert parse_wrk(WRK_REPORT) == WrkResult(81234, 2.01, 0)
    errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
    refused = "  Non-2xx or 3xx responses: 5\n"
    assert parse_wrk(WRK_REPORT + errors + refused).errors == 15
    with pytest.raises(ValueError, match="no summary"):
        parse_wrk("unable to connect")


def test_cpu_since_and_share() -> None:
    used = Cpu(5000, 8, 6).since(Cpu(1000, 5, 5))
    assert used == Cpu(4000, 3, 1)
    assert used.user_share == 0.75
    assert Cpu(0, 0, 0).user_share == 0.0


def test_cpu_row_takes_medians() -> None:
    row = cpu_row("proxy-1k", "edge", [Sample(n, n / 4, 1000 * n) for n in (9.0, 10.0, 30.0)])
    assert (row.rounds, row.cpu_us, row.user_us, row.system_us) == (3, 10.0, 2.5, 7.5)


def test_judge_keeps_misses_and_demands() -> None:
    rows = [
        Row("proxy-1k", "edge", 3, cpu_us=9.0),
        Row("proxy-1k", "haproxy", 3, cpu_us=10.0),
        Row("proxy-100k", "edge", 3, cpu_us=11.0),
        Row("proxy-100k", "haproxy", 3, cpu_us=10.0),
        Row("memory", "edge", 1, bytes_per_connection=12 * 1024),
    ]
    kept = {bar.scenario: held for bar, (_, held) in zip(BARS, judge(rows), strict=True)}
    assert kept == {"proxy-1k": True, "proxy-100k": False, "chain-1k": False, "memory": True}
    assert "0.900" in report(rows)


def test_running_measures_its_tree_and_ends_it(tmp_path: Path) -> None:
    """A parent that only waits, and a child that burns: the child's time counts."""
    burn = "sum(range(10**7)); print('done', flush=True); import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    core = min(os.sched_getaffinity(0))
    log = tmp_path / "log"
    with Running("burn", [sys.executable, "-c", parent], core, log, tmp_path) as running:
        while "done" not in log.read_text():
            assert running.process.poll() is None, log.read_text()
        assert running.cpu().total_ns > 50_000_000
        members = running.tree()
        assert len(members) == 2
    # The child's new parent may not have collected it yet.
    assert not any(m.is_running() and m.status() != psutil.STATUS_ZOMBIE for m in members)


@pytest.mark.wire
def test_idle_connections_are_held_and_counted() -> None:
    with Origin() as origin, hold_idle_connections(origin.port, "/1k", 5) as held:
        assert len(origin.requests) == 5
        assert count_open(held) == 5
        origin.close_connections()
        held[0].setblocking(True)
        assert held[0].recv(1) == b""
        assert count_open(held[:1]) == 0


@pytest.mark.wire
def test_idle_connections_refuse_another_status() -> None:
    failing = answer(status=b"503 x")
    with (
        Origin(default=[failing]) as origin,
        pytest.raises(RuntimeError, match="503"),
        hold_idle_connections(origin.port, "/1k", 1),
    ):
        pass
