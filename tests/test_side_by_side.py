"""The arithmetic of the load tests: what wrk said, what a system cost, which bar is kept."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtests import side_by_side
from loadtests.idle import count_open, hold_idle_connections
from loadtests.processes import Cpu, Running, WrkResult, parse_wrk, run_wrk
from loadtests.side_by_side import (
    BARS,
    BODY_BYTES,
    CACHES,
    ORIGIN,
    Cores,
    HitTurn,
    Row,
    Sample,
    Turn,
    count_requests,
    cpu_row,
    explain_scale,
    judge,
    report,
    scale_cores,
    started,
    temporary_folder,
)
from loadtests.systems import body_of, varnish_log_tags
from tests.origin import Origin, answer

WRK_REPORT = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
  81234 requests in 2.01s, 92.10MB read
Requests/sec:  40414.93
"""


def test_parse_wrk() -> None:
    assert parse_wrk(WRK_REPORT) == WrkResult(81234, 2.01, 0, int(92.10 * 2**20))
    assert parse_wrk(WRK_REPORT.replace("92.10MB", "7.00B")).read_bytes == 7
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
        Row("hit-1k", "edge-cdn", 3, cpu_us=6.0),
        Row("hit-1k", "nginx-cache", 3, cpu_us=8.0),
        Row("hit-1k", "varnish", 3, cpu_us=12.0),
    ]
    kept = {
        (bar.scenario, bar.peer): held for bar, (_, held) in zip(BARS, judge(rows), strict=True)
    }
    assert kept == {
        ("proxy-1k", "haproxy"): True,
        ("proxy-100k", "haproxy"): False,
        ("chain-1k", "edge"): False,  # not measured
        ("tracked-1k", "edge"): False,  # not measured
        ("memory", ""): True,
        ("hit-1k", "nginx-cache"): True,
        ("hit-1k", "nginx-sendfile"): False,  # not measured
        ("hit-1k", "varnish"): False,
        ("hit-100k", "varnish"): False,  # not measured
    }
    assert "0.900" in report(rows)
    assert "0.500" in report(rows)  # the first system of the scenario, to Varnish


def scale_rows(busy: tuple[float, float], wrk_busy: tuple[float, float]) -> list[Row]:
    return [
        Row(
            "scale",
            "edge-cdn-2",
            1,
            6.3,
            requests_per_s=300_000,
            busy_cores=busy[1],
            wrk_busy_cores=wrk_busy[1],
        ),
        Row(
            "scale",
            "edge-cdn",
            1,
            6.0,
            requests_per_s=160_000,
            busy_cores=busy[0],
            wrk_busy_cores=wrk_busy[0],
        ),
    ]


@pytest.mark.parametrize(
    ("cores", "busy", "wrk_busy", "ends"),
    [
        ([0, 1, 2, 3], (1.0, 1.98), (0.9, 1.8), ("edge is the limit", "edge is the limit")),
        ([0, 1, 2, 3], (1.0, 1.5), (0.9, 2.0), ("edge is the limit", "generator is the limit")),
        ([0, 1], (1.0, 1.1), (0.8, 0.88), ("edge is the limit", "it has what edge lacks")),
        ([0, 1], (0.6, 0.9), (0.6, 0.6), ("neither is busy all the time",) * 2),
    ],
)
def test_scale_says_who_is_the_limit(
    cores: list[int],
    busy: tuple[float, float],
    wrk_busy: tuple[float, float],
    ends: tuple[str, str],
) -> None:
    lines = explain_scale(scale_rows(busy, wrk_busy), scale_cores(cores))
    assert "1.88 of the requests per second, 1.05 of the CPU" in lines[0]
    for line, end in zip(lines[1:], ends, strict=True):
        assert line.endswith(end)


def test_scale_says_nothing_about_what_was_not_measured() -> None:
    assert explain_scale(scale_rows((1, 1), (1, 1))[:1], scale_cores([0, 1])) == []


def test_scale_cores() -> None:
    assert scale_cores([0, 1, 2, 3, 4]) == Cores([0, 1], [2, 3])
    assert scale_cores([0, 1, 2]) == Cores([0, 1], [0, 1])
    assert scale_cores([5]) == Cores([5], [5])


def test_running_measures_its_tree_and_ends_it(tmp_path: Path) -> None:
    """A parent that only waits, and a child that burns: the child's time counts."""
    burn = "sum(range(10**7)); print('done', flush=True); import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    core = min(os.sched_getaffinity(0))
    log = tmp_path / "log"
    with Running("burn", [sys.executable, "-c", parent], {core}, log, tmp_path) as running:
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


@pytest.fixture
def need(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Skips the test when a program is missing; Debian's servers are not in a user's PATH."""
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")

    def check(*names: str) -> None:
        for name in names:
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed")

    return check


@pytest.fixture
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five requests in place of wrk's seconds of them."""

    def run(url: str, *_options: object) -> WrkResult:
        sizes = []
        for _ in range(5):
            with urllib.request.urlopen(url, timeout=10) as got:
                sizes.append(len(got.read()))
        return WrkResult(len(sizes), 1.0, 0, sum(sizes))

    monkeypatch.setattr(side_by_side, "run_wrk", run)


@pytest.mark.wire
@pytest.mark.external
@pytest.mark.usefixtures("few_requests")
def test_caches_answer_from_their_memory(need: Callable[..., None]) -> None:
    need("nginx", "varnishd")
    with temporary_folder() as folder, started(list(CACHES), folder, ORIGIN) as stand:
        for cache in CACHES:
            for path in BODY_BYTES:
                assert HitTurn(path, 1).measure(stand, cache).requests_per_s == 5
        # One of each body for each cache, and one question for the number by each turn's two.
        assert count_requests(stand.node_ports[0]) == len(CACHES) * 2 * (1 + 2) + 1


@pytest.mark.wire
@pytest.mark.external
@pytest.mark.usefixtures("few_requests")
def test_answers_that_are_no_hits_are_an_error(need: Callable[..., None]) -> None:
    need("nginx")
    with temporary_folder() as folder, started(["nginx"], folder, ORIGIN) as stand:
        with pytest.raises(RuntimeError, match="nginx: 6 requests of a turn were no hits"):
            HitTurn("/1k", 1).measure(stand, "nginx")
        (folder / "node1" / "files" / "1k").write_bytes(b"0" * BODY_BYTES["/1k"])
        with pytest.raises(RuntimeError, match="wrong body of 1024 bytes"):
            HitTurn("/1k", 1).measure(stand, "nginx")
        (folder / "node1" / "files" / "1k").write_bytes(b"short")
        with pytest.raises(RuntimeError, match="read_bytes=25"):
            Turn("/1k", 1).measure(stand, "nginx")
        (folder / "node1" / "files" / "1k").unlink()
        with pytest.raises(RuntimeError, match="404 for /1k"):
            HitTurn("/1k", 1).measure(stand, "nginx")


@pytest.mark.wire
@pytest.mark.external
def test_wrk_is_measured_too(need: Callable[..., None]) -> None:
    need("wrk")
    core = min(os.sched_getaffinity(0))
    with Origin() as origin:
        result = run_wrk(f"http://127.0.0.1:{origin.port}/", 1, 2, {core})
    assert result.requests > 0
    assert result.read_bytes > result.requests
    assert 0 < result.busy_cores < 1.1


def test_bodies_show_where_they_are_wrong() -> None:
    assert body_of(1024)[-8:] == b"0001016\n"
    assert len(body_of(100 * 1024 + 3)) == 100 * 1024 + 3


@pytest.mark.external
def test_varnish_log_tags(need: Callable[..., None]) -> None:
    need("varnishd")
    assert {"ReqHeader", "RespHeader", "Timestamp", "Begin", "End"} <= set(varnish_log_tags())
