"""Passive health beside real HAProxy's, and what becomes of requests whose server goes down."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Client, free_port, run_edge
from tests.origin import Close, Gate, Origin, Steps, answer
from tests.wire.haproxy_pair import WAIT_S_MAX, Side, real_haproxy

pytestmark = [pytest.mark.wire, pytest.mark.external]

LIMIT = 3
# Checks pass (a connect), and after the first one none comes for a minute.
HAPROXY = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 5s
  timeout server 300ms
listen haproxy
  bind 127.0.0.1:{port}
  default-server check inter 60s fastinter 60s rise 2 fall 3
  default-server observe {layer} error-limit {limit} on-error {action}
  server node1 127.0.0.1:{node}
"""
EDGE = """
haproxy:
  listen: 127.0.0.1:{port}
  retries: 0
  timeouts: {{connect: 1s, client: 5s, server: 300ms}}
  health_check: {{interval: 60s, fast_interval: {fast}, rise: 2, fall: 3}}
  observe: {layer}
  error_limit: {limit}
  on_error: {action}
  {more}
  stats: {{socket: {socket}, level: admin}}
nodes:
  - {{name: node1, web: '127.0.0.1:{node}'}}
  {backup}
"""
BAD: Steps = (answer(b"bad", status=b"500 Internal Server Error"),)
FAULTS: dict[str, Steps] = {
    "status": BAD,
    "junk": (b"NOTHTTP at all\r\n\r\n", Close()),
    "empty": (Close(),),
    "late": (),  # nothing at all
}
SHOWN = ("status", "check_status", "check_health", "last_chk", "hanafail", "chkdown", "chkfail")


@dataclass(frozen=True)
class Proxy:
    side: Side
    node: Origin

    def row(self) -> dict[str, str]:
        lines = self.side.ask("show stat haproxy 4 1").removeprefix("# ").rstrip("\n").splitlines()
        return next(csv.DictReader(lines))

    def wait(self, is_reached: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        while not is_reached(row := self.row()):
            assert time.monotonic() < stop_at, row
            pause.wait(0.02)
        return row

    def fail(self, times: int) -> list[int]:
        """So many requests, each on a connection of its own."""
        return [self.ask() for _ in range(times)]

    def ask(self) -> int:
        with Client(self.side.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.read_response().status


@contextmanager
def ours(folder: Path, node: Origin, layer: str, action: str, **more: str) -> Iterator[Proxy]:
    side = Side(folder / f"{action}.sock", free_port())
    parts = {"fast": "60s", "more": "", "backup": "", **more}
    text = EDGE.format(
        port=side.port, layer=layer, limit=LIMIT, action=action, socket=side.socket,
        node=node.port, **parts,
    )  # fmt: skip
    with run_edge(text, folder):
        proxy = Proxy(side, node)
        proxy.wait(lambda row: row["check_health"] == "4")
        yield proxy


@contextmanager
def theirs(folder: Path, node: Origin, layer: str, action: str) -> Iterator[Proxy]:
    side = Side(folder / f"haproxy-{action}.sock", free_port())
    file = folder / "haproxy.cfg"
    file.write_text(
        HAPROXY.format(
            port=side.port, layer=layer, limit=LIMIT, action=action, socket=side.socket,
            node=node.port,
        )
    )  # fmt: skip
    with real_haproxy(file, side):
        proxy = Proxy(side, node)
        proxy.wait(lambda row: row["check_health"] == "4")
        yield proxy


def shown(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name].removeprefix("* ") for name in SHOWN}


@pytest.mark.parametrize(
    ("action", "status", "health"),
    [("fail-check", "UP 2/3", "3"), ("sudden-death", "UP 1/3", "2"), ("mark-down", "DOWN", "0")],
)
def test_on_error_is_haproxys(tmp_path: Path, action: str, status: str, health: str) -> None:
    with Origin(default=BAD) as node:
        found = []
        for run in (theirs, ours):
            with run(tmp_path, node, "layer7", action) as proxy:
                assert proxy.fail(LIMIT - 1) == [500] * (LIMIT - 1)
                assert proxy.row()["check_health"] == "4"
                assert proxy.fail(1) == [500]
                row = proxy.wait(lambda row: row["hanafail"] == "1" and row["check_health"] != "4")
                assert (row["status"], row["check_health"]) == (status, health)
                found.append(shown(row))
        assert found[1] == found[0]
        assert found[1]["last_chk"].endswith("errors, last one was: Wrong http response")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_an_error_is_said_as_haproxy_says_it(tmp_path: Path, fault: str) -> None:
    with Origin(default=FAULTS[fault]) as node:
        found = []
        for run in (theirs, ours):
            with run(tmp_path, node, "layer7", "fail-check") as proxy:
                proxy.fail(LIMIT)
                row = proxy.wait(lambda row: row["hanafail"] == "1" and row["check_health"] != "4")
                found.append(shown(row))
        assert found[1] == found[0]


def test_a_good_answer_wipes_the_errors_and_layer4_sees_none(tmp_path: Path) -> None:
    with Origin(default=BAD) as node:
        with ours(tmp_path, node, "layer7", "mark-down") as proxy:
            proxy.fail(LIMIT - 1)
            node.then(answer(b"good"))
            assert proxy.ask() == 200
            proxy.fail(LIMIT - 1)
            assert proxy.row()["status"] == "UP"
        with ours(tmp_path, node, "layer4", "mark-down") as proxy:
            proxy.fail(2 * LIMIT)
            assert (proxy.row()["status"], proxy.row()["hanafail"]) == ("UP", "0")


def test_layer4_counts_failed_connects(tmp_path: Path) -> None:
    with Origin() as node, ours(tmp_path, node, "layer4", "mark-down") as proxy:
        node.stop()
        assert proxy.fail(LIMIT) == [503] * LIMIT
        row = proxy.wait(lambda row: row["hanafail"] == "1" and row["last_chk"] != "")
        assert row["status"] == "DOWN"
        assert row["last_chk"].endswith("last one was: L4 unsuccessful connection")


def test_fastinter_checks_sooner_and_nothing_else(tmp_path: Path) -> None:
    with (
        Origin(default=BAD) as node,
        ours(tmp_path, node, "layer7", "fastinter", fast="50ms") as proxy,
    ):
        checked = len(node.connections)
        proxy.fail(LIMIT)
        node.wait_connections(checked + 2)  # the requests share one; the check is another
        row = proxy.wait(lambda row: row["hanafail"] == "1")
        assert (row["status"], row["check_health"]) == ("UP", "4")


def test_after_mark_down_checks_raise_it_again(tmp_path: Path) -> None:
    with (
        Origin(default=BAD) as node,
        ours(tmp_path, node, "layer7", "mark-down", fast="50ms") as proxy,
    ):
        proxy.fail(LIMIT)
        proxy.wait(lambda row: row["chkdown"] == "1" and row["status"] == "UP")


# -- on-marked-down, on-marked-up -----------------------------------------------------------------


@contextmanager
def running(proxy: Proxy) -> Iterator[tuple[Client, Client, Gate]]:
    """A client that waits for its answer's head, and one that has half of its body."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
    gate = proxy.node.gate()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.side.port)) for _ in range(2)]
        before = len(proxy.node.requests)
        for client, steps in zip(clients, ((gate, answer(b"late")), (half, gate)), strict=True):
            proxy.node.then(*steps)
            client.send(b"GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
            before += 1
            proxy.node.wait_requests(before)
        clients[1].read_head()
        yield clients[0], clients[1], gate


def test_sessions_of_a_server_that_goes_down_are_cut(tmp_path: Path) -> None:
    cut = "on_marked_down: shutdown-sessions"
    with Origin(default=BAD) as node:
        with (
            ours(tmp_path, node, "layer7", "mark-down", more=cut) as proxy,
            running(proxy) as (waiting, reading, _),
        ):
            proxy.fail(LIMIT)
            assert waiting.read_response().status == 502
            assert reading.read_to_end() == b"half"
        with (
            ours(tmp_path, node, "layer7", "mark-down") as proxy,
            running(proxy) as (waiting, _, gate),
        ):
            proxy.fail(LIMIT)
            proxy.wait(lambda row: row["status"] == "DOWN")
            gate.open()
            assert waiting.read_response().body == b"late"


BACKUP = """
haproxy:
  listen: 127.0.0.1:{port}
  health_check: {{interval: 50ms, rise: 1, fall: 1}}
  on_marked_up: shutdown-backup-sessions
nodes:
  - {{name: node1, web: '127.0.0.1:{one}'}}
  - {{name: node2, web: '127.0.0.1:{two}', backup: true}}
"""


def test_sessions_of_backups_end_when_a_server_comes_up(tmp_path: Path) -> None:
    with Origin() as one, Origin() as two:
        port = free_port()
        one.stop()
        text = BACKUP.format(port=port, one=one.port, two=two.port)
        with run_edge(text, tmp_path) as edge, Client(port) as client:
            edge.wait_status(lambda s: s["tiers"][0]["servers"][0]["status"] == "DOWN")
            two.then(two.gate(), answer())
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            two.wait_requests(1)
            one.start()
            assert client.read_response().status == 502
            assert client.get().status == 200
            assert len(one.requests) == 1
