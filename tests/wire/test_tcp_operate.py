"""Listeners of `mode tcp` as an operator meets them: drains, reloads, killed servers, HAProxy's
statistics; with real clients and servers where bytes have a meaning."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge.control.haproxy.columns import STAT_COLUMNS
from tests.harness import Client, Edge, free_port
from tests.wire.haproxy_pair import Side, real_haproxy
from tests.wire.raw import RawServer, read_exactly, read_to_end
from tests.wire.stand import Stand, run_stand
from tests.wire.test_real_nginx import Nginx, find_nginx

pytestmark = pytest.mark.wire

CONFIG = """
drain: $drain
tcp:
  - name: db
    listen: 127.0.0.1:$port
    servers: [{name: n1, address: 127.0.0.1:$s1}, {name: n2, address: 127.0.0.1:$s2}]
    health_check: {interval: 100ms, rise: 1, fall: 1}
nodes: [{name: n1, role: core}, {name: n2, role: core}]
"""
PLAIN = """
haproxy:
  health_check: {enabled: false}
  listen: 127.0.0.1:$web
  stats: {socket: $socket, level: admin}
tcp:
  - name: echo
    listen: 127.0.0.1:$port
    servers: [{name: s1, address: 127.0.0.1:$s1}]
    health_check: {enabled: false}
nodes: [{name: n1, web: 127.0.0.1:$n1}]
"""
# A server in a process of its own: answers each line with the process's id and the line.
ECHO = """
import os, socket, sys, threading
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def serve(connection):
    with connection, connection.makefile("rwb") as lines:
        for line in lines:
            lines.write(b"%d %s" % (os.getpid(), line))
            lines.flush()
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
OFF = "{enabled: false}"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stand]:
    with run_stand(CONFIG.replace("$drain", "20s"), tmp_path, workers=2) as fresh:
        yield fresh


class Echo:
    """A server that can be killed; ready when it accepts."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", ECHO, str(port)])
        pause = threading.Event()
        while True:
            try:
                Client(port).close()
                break
            except ConnectionRefusedError:
                assert self.process.poll() is None
                pause.wait(0.02)

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait(10)


def say(client: Client, word: bytes) -> int:
    """Says a word; the process id of the server that answers."""
    client.send(word + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += client.read_exactly(1)
    pid, _, said = line.rstrip().partition(b" ")
    assert said == word
    return int(pid)


def servers(edge: Edge, tier: str = "db") -> dict[str, Any]:
    found = next(each for each in edge.status()["tiers"] if each["name"] == tier)
    return {server["name"]: server for server in found["servers"]}


def wait_checked(edge: Edge) -> None:
    edge.wait_status(lambda _: all(each["status"] == "UP" for each in servers(edge).values()))


def listens(process: psutil.Process) -> bool:
    return any(link.status == psutil.CONN_LISTEN for link in process.net_connections("tcp"))


def ready_client(stand: Stand) -> Client:
    """A connection, once the servers are up."""
    wait_checked(stand.edge)
    return stand.client()


# -- reload and drain ----------------------------------------------------------------------------


def test_open_connections_outlive_a_reload(tmp_path: Path) -> None:
    """They run on in the old workers; new ones go to the new file's server; then the old end."""
    text = CONFIG.replace("$drain", "20s").replace("{interval: 100ms, rise: 1, fall: 1}", OFF)
    text = text.replace(", {name: n2, address: 127.0.0.1:$s2}]", "]  # $s2")
    with run_stand(text, tmp_path, workers=2) as stand:
        s1, s2 = stand.ports["s1"], stand.ports["s2"]
        with RawServer(s1) as old, RawServer(s2) as new, ExitStack() as stack:
            clients = [stack.enter_context(stand.client()) for _ in range(4)]
            connections = [old.accept() for _ in clients]
            before = stand.edge.children("edge.worker")
            first = stand.edge.config_path.read_text()
            stand.edge.reload(first.replace(f"address: 127.0.0.1:{s1}", f"address: 127.0.0.1:{s2}"))
            stand.edge.wait_status(lambda _: not any(listens(worker) for worker in before))
            with stand.client() as late:
                late.send(b"late")
                assert read_exactly(new.accept(), 4) == b"late"
            for client in clients:
                client.send(b"there?")
            for connection in connections:
                assert read_exactly(connection, 6) == b"there?"
                connection.sendall(b"still here")
            for client in clients:
                assert client.read_exactly(10) == b"still here"
                client.close()
            for connection in connections:
                assert read_to_end(connection) == b""
                connection.close()
            stand.edge.wait_status(lambda _: not any(worker.is_running() for worker in before))


def test_drain_lets_connections_end(fresh: Stand) -> None:
    with Echo(fresh.ports["s1"]), Echo(fresh.ports["s2"]), ready_client(fresh) as client:
        pid = say(client, b"one")
        fresh.edge.process.send_signal(signal.SIGTERM)
        refused(fresh)
        assert say(client, b"two") == pid
        client.close()
        assert fresh.edge.process.wait(10) == 0


def refused(stand: Stand) -> None:
    """Returns when nothing is accepted any more."""
    pause = threading.Event()
    for _ in range(500):
        try:
            with stand.client() as client:
                client.socket.settimeout(0.2)
                client.send(b"x\n")
                client.read_exactly(1)
        except (OSError, AssertionError):
            return
        pause.wait(0.01)
    raise AssertionError("edge goes on accepting")


def test_drain_has_an_end(tmp_path: Path) -> None:
    with (
        run_stand(CONFIG.replace("$drain", "500ms"), tmp_path) as stand,
        Echo(stand.ports["s1"]),
        Echo(stand.ports["s2"]),
        ready_client(stand) as client,
    ):
        say(client, b"one")
        stand.edge.process.send_signal(signal.SIGTERM)
        with suppress(ConnectionResetError):
            assert client.read_to_end() == b""
        assert stand.edge.process.wait(10) == 0


def test_draining_a_node_leaves_its_connections(fresh: Stand) -> None:
    """`edge drain` and HAProxy's `set server ... state drain` say the same to a worker."""
    with Echo(fresh.ports["s1"]) as one, Echo(fresh.ports["s2"]) as two:
        wait_checked(fresh.edge)
        with ExitStack() as stack:
            clients = [stack.enter_context(fresh.client()) for _ in range(8)]
            at = [say(client, b"hello") for client in clients]
            assert set(at) == {one.process.pid, two.process.pid}
            url = f"http://{fresh.edge.admin}/nodes/n1/drain"
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()
            for _ in range(6):
                with fresh.client() as new:
                    assert say(new, b"new") == two.process.pid
            assert [say(client, b"still") for client in clients] == at
            fresh.edge.wait_status(
                lambda _: servers(fresh.edge)["n1"]["in_flight"] == at.count(one.process.pid)
            )
        fresh.edge.wait_status(lambda _: servers(fresh.edge)["n1"]["in_flight"] == 0)


# -- killed ones ---------------------------------------------------------------------------------


def test_a_killed_server_ends_its_connections_only(fresh: Stand) -> None:
    with Echo(fresh.ports["s1"]) as one, Echo(fresh.ports["s2"]) as two:
        wait_checked(fresh.edge)
        with ExitStack() as stack:
            clients = [stack.enter_context(fresh.client()) for _ in range(8)]
            at = [say(client, b"hello") for client in clients]
            one.process.kill()
            one.process.wait(10)
            for client, pid in zip(clients, at, strict=True):
                if pid == two.process.pid:
                    assert say(client, b"still here") == pid
                else:
                    with suppress(ConnectionResetError):
                        assert client.read_to_end() == b""
            for _ in range(6):  # nobody is sent there any more, whoever notices it first
                with fresh.client() as new:
                    assert say(new, b"new") == two.process.pid
            fresh.edge.wait_status(lambda _: servers(fresh.edge)["n1"]["status"] == "DOWN")
            with Echo(fresh.ports["s1"]):
                wait_checked(fresh.edge)


def test_a_killed_worker_costs_its_own_connections(fresh: Stand) -> None:
    with Echo(fresh.ports["s1"]), Echo(fresh.ports["s2"]), ExitStack() as stack:
        wait_checked(fresh.edge)
        clients = [stack.enter_context(fresh.client()) for _ in range(16)]
        for client in clients:
            say(client, b"hello")
        fresh.edge.kill_worker()
        alive = 0
        for client in clients:
            try:
                say(client, b"there?")
                alive += 1
            except (OSError, AssertionError):
                pass
        assert alive < len(clients)
        fresh.edge.wait_status(lambda _: len(fresh.edge.workers()) == 2)
        with fresh.client() as new:
            say(new, b"new")
        fresh.expect("starting it again")


# -- the real ones -------------------------------------------------------------------------------


def test_nginx_behind_it(tmp_path: Path) -> None:
    """HTTP, kept alive, ranges and a large file, none of which the tier knows."""
    pages = tmp_path / "pages"
    pages.mkdir()
    blob = os.urandom(1 << 16) * 128
    (pages / "blob").write_bytes(blob)
    server = Nginx(find_nginx(), tmp_path / "nginx", pages, "one")
    try:
        text = PLAIN.replace("$s1", str(server.port)).replace("$socket", str(tmp_path / "s"))
        with run_stand(text, tmp_path) as stand, stand.client() as client:
            for _ in range(3):
                reply = client.get("/blob")
                assert hashlib.sha256(reply.body).digest() == hashlib.sha256(blob).digest()
            reply = client.get("/blob", b"Range: bytes=5-9")
            assert (reply.status, reply.body) == (206, blob[5:10])
            assert client.get("/missing").status == 404
    finally:
        server.kill()


HAPROXY = """
global
  stats socket {socket} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 50s
  timeout server 50s
listen echo
  bind 127.0.0.1:{port}
  server s1 127.0.0.1:{server}
"""
# What edge leaves empty everywhere, or HAProxy fills with its own numbers; and the word for both.
NOT_COMPARED = frozenset({"iid", "lastchg", "lastsess", "slim", "addr", "srv_icur"})


def stat_rows(side: Side) -> dict[str, dict[str, str]]:
    lines = list(csv.reader(side.ask("show stat").removeprefix("# ").splitlines()))
    rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:] if line]
    return {row["svname"]: row for row in rows if row["pxname"] == "echo"}


def test_statistics_are_haproxys(tmp_path: Path) -> None:
    """The same session through both: `show stat` has the same columns with the same values."""
    theirs = Side(tmp_path / "haproxy.sock", free_port())
    text = PLAIN.replace("$socket", str(tmp_path / "edge.sock"))
    with run_stand(text, tmp_path) as stand, RawServer(stand.ports["s1"]) as server:
        ours = Side(tmp_path / "edge.sock", stand.ports["port"])
        file = tmp_path / "haproxy.cfg"
        values = {"socket": theirs.socket, "port": theirs.port, "server": stand.ports["s1"]}
        file.write_text(HAPROXY.format(**values))
        with real_haproxy(file, theirs):
            for side in (theirs, ours):
                with Client(side.port) as client:
                    connection = server.accept()
                    client.send(b"12345")
                    assert read_exactly(connection, 5) == b"12345"
                    connection.sendall(b"123")
                    assert client.read_exactly(3) == b"123"
                    client.half_close()
                    assert read_to_end(connection) == b""
                    connection.close()
                    assert client.read_to_end() == b""
            stand.edge.wait_status(lambda _: servers(stand.edge, "echo")["s1"]["in_flight"] == 0)
            expected, found = stat_rows(theirs), stat_rows(ours)
    assert found.keys() == expected.keys() == {"FRONTEND", "s1", "BACKEND"}
    names = [name for name in STAT_COLUMNS if name not in NOT_COMPARED]
    for row, values in found.items():
        given = {name: values[name] for name in names if values.get(name)}
        theirs_given = {name: expected[row].get(name) for name in given}
        rates = {name for name in given if "rate" in name and name != "rate_lim"}
        assert {k: v for k, v in given.items() if k not in rates} == {
            k: v for k, v in theirs_given.items() if k not in rates
        }, row


def test_haproxys_orders(tmp_path: Path) -> None:
    text = PLAIN.replace("$socket", str(tmp_path / "edge.sock"))
    with run_stand(text, tmp_path) as stand, RawServer(stand.ports["s1"]) as server:
        cli = Side(tmp_path / "edge.sock", 0)
        with stand.client() as client:
            connection = server.accept()
            assert cli.ask("set server echo/s1 state maint") == "\n"
            with stand.client() as late:
                assert late.read_to_end() == b""
            client.send(b"on")
            assert read_exactly(connection, 2) == b"on"
            assert cli.ask("set server echo/s1 state ready") == "\n"
            with stand.client() as again:
                again.send(b"x")
                assert read_exactly(server.accept(), 1) == b"x"
