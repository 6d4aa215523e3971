"""The rows of the fault table that come before an answer, asked of real HAProxy.

Its configuration says in its own words what edge does: connects are tried on another server at
once, a request that got no answer is repeated, but a POST is not. So the haproxy column of the
table is what HAProxy does when it is told to be safe.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from tests.harness import Client
from tests.origin import Close, answer
from tests.wire.fault_rows import (
    FRESH,
    GOOD,
    MOMENT,
    ROWS,
    Row,
    ask,
    body_for,
    faulty_pair,
    outcome,
)
from tests.wire.stand import with_ports

pytestmark = [pytest.mark.wire, pytest.mark.external]

START_S_MAX = 10.0
CONFIG = """
global
  nbthread 1
defaults
  mode http
  timeout connect 400ms
  timeout server 500ms
  timeout client 3s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
listen shop
  bind 127.0.0.1:$port
  http-request disable-l7-retry if METH_POST
  server node1 127.0.0.1:$node1
  server node2 127.0.0.1:$node2
"""
SAME = tuple(f"row0{number}" for number in range(1, 10))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    file = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    with with_ports(CONFIG) as (text, ports):
        file.write_text(text)
        with run_haproxy([program, "-db", "-f", str(file)], ports["port"]):
            yield ports


@contextmanager
def run_haproxy(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        stop_at = time.monotonic() + START_S_MAX
        pause = threading.Event()
        while process.poll() is None and time.monotonic() < stop_at:
            with suppress(ConnectionRefusedError):
                Client(port).close()
                break
            pause.wait(0.02)
        assert process.poll() is None, "haproxy does not start"
        yield
    finally:
        process.kill()
        process.wait(START_S_MAX)


@pytest.mark.parametrize(
    ("row", "method"),
    [
        pytest.param(row, method, id=f"{row.name.replace(' ', '-')}-{method}")
        for row in ROWS
        if row.name.startswith(SAME)
        for method in row.haproxy
    ],
)
def test_row(ports: dict[str, int], row: Row, method: str) -> None:
    nodes = (ports["node1"], ports["node2"])
    with faulty_pair(row, ports["port"], nodes, 1) as pair, Client(ports["port"]) as client:
        response = ask(client, method, body_for(row, method))
        expected = row.haproxy[method]
        assert outcome(response, pair, expected) == expected


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_row24_kept_connection(ports: dict[str, int], method: str) -> None:
    """deviates: to a POST, HAProxy says nothing and closes; edge answers 502."""
    kept = replace(ROWS[0], on_connect=(), steps=[answer(b"kept", FRESH)])
    nodes = (ports["node1"], ports["node2"])
    with faulty_pair(kept, ports["port"], nodes, 1) as pair, Client(ports["port"]) as client:
        assert pair.faulty is not None
        pair.good.default = [answer(b"kept", FRESH)]
        for _ in range(2):
            assert ask(client, "GET", b"") is not None
        before = sum(pair.counts())
        pair.faulty.then(MOMENT, Close())
        pair.faulty.default = pair.good.default = GOOD
        response = ask(client, method, b"x" if method == "POST" else b"")
        asked = sum(pair.counts()) - before
        if method == "POST":
            assert (response, asked) == (None, 1)
        else:
            assert response is not None
            assert (response.status, asked) == (200, 2)
