"""edge as a service of systemd: what it is told, the sockets it is given, and the unit files.

systemd itself does not run here. Its notification socket is one of ours, its socket activation is
done by systemd-socket-activate, and its opinion of the units is that of systemd-analyze.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest

from tests.harness import Client, Edge, free_port, run_edge
from tests.origin import AnswerTarget, Origin
from tests.wire.load import run_load
from tests.wire.stand import with_ports

pytestmark = pytest.mark.wire

UNITS = Path(__file__).parents[2] / "configs" / "systemd"
INSTALLED_AT = "/opt/edge/bin/edge"
EXPOSURE_MAX = 20  # of 100, systemd-analyze's measure of what a broken service could reach
WAIT_S_MAX = 20.0
CONFIG = """
haproxy: {listen: 127.0.0.1:$port, health_check: {enabled: false}}
nodes: [{name: node1, web: 127.0.0.1:$node1}]
"""


class Manager:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(WAIT_S_MAX)

    def hear(self, word: str) -> dict[str, str]:
        """The next message with this word in it, as a mapping."""
        stop_at = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < stop_at:
            lines = self._socket.recv(4096).decode().splitlines()
            message = dict(line.split("=", 1) for line in lines)
            if word in message:
                return message
        raise AssertionError(f"no message with {word}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    made = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    yield made
    made.close()


def test_systemd_is_told_how_it_goes(manager: Manager, tmp_path: Path) -> None:
    with with_ports(CONFIG) as (config, ports), run_edge(config, tmp_path) as edge:
        assert manager.hear("READY")["STATUS"] == "generation 1 serves"
        assert manager.hear("WATCHDOG") == {"WATCHDOG": "1"}
        for child in (*edge.children("edge.worker"), *edge.children("edge.control")):
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(child.environ())
        edge.reload()
        assert manager.hear("RELOADING")["RELOADING"] == "1"
        assert manager.hear("READY")["STATUS"] == "generation 2 serves"
        good = edge.config_path.read_text()
        edge.reload("nodes: []\n")
        manager.hear("RELOADING")
        assert "the last reload failed" in manager.hear("READY")["STATUS"]
        edge.config_path.write_text(good)
        with Client(ports["port"]):
            edge.process.send_signal(signal.SIGTERM)
            message = manager.hear("STOPPING")
        assert message["STATUS"] == "draining"
        assert int(message["EXTEND_TIMEOUT_USEC"]) > 30_000_000, "the default `drain`"
        assert edge.process.wait(WAIT_S_MAX) == 0


def test_systemd_is_told_of_upgrades_by_the_process_that_it_knows(
    manager: Manager, tmp_path: Path
) -> None:
    with with_ports(CONFIG) as (config, _), run_edge(config, tmp_path) as edge:
        assert manager.hear("READY")["STATUS"] == "generation 1 serves"
        edge.process.send_signal(signal.SIGUSR2)
        assert manager.hear("RELOADING")["RELOADING"] == "1"
        assert manager.hear("READY")["STATUS"] == "generation 2 serves"
        assert manager.hear("WATCHDOG") == {"WATCHDOG": "1"}
        good = edge.config_path.read_text()
        edge.config_path.write_text("nodes: []\n")
        edge.process.send_signal(signal.SIGUSR2)
        assert "the last upgrade failed" in manager.hear("READY")["STATUS"]
        edge.config_path.write_text(good)


# -- socket activation ----------------------------------------------------------------------------


def tool(name: str) -> str:
    """The path of a program of systemd; without it the test is skipped, which CI forbids."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: systemd)")
    return found


class Activated(Edge):
    """`edge run` behind systemd-socket-activate, which starts it at the first connection."""

    def __init__(self, path: Path, admin: str, *addresses: str) -> None:
        listen = [word for address in addresses for word in ("-l", address)]
        command = [tool("systemd-socket-activate"), *listen, sys.executable, "-m", "edge", "run"]
        process = subprocess.Popen(
            [*command, str(path), "--workers", "3"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        super().__init__(process, path, admin)


def generations(status: Any) -> list[int]:
    return [worker["generation"] for worker in status["workers"]]


@pytest.mark.external
def test_sockets_of_systemd_are_used_and_outlive_reloads_and_upgrades(tmp_path: Path) -> None:
    port, admin = free_port(), f"127.0.0.1:{free_port()}"
    path = tmp_path / "edge.yaml"
    with Origin(default=[AnswerTarget()]) as node:
        text = Template(CONFIG).substitute(port=port, node1=node.port)
        path.write_text(f"{text}admin: {{listen: '{admin}'}}\n")
        edge = Activated(path, admin, f"127.0.0.1:{port}", admin)
        try:
            edge.wait_line("Listening on", count=2)
            # The connection waits in systemd's queue until there is an edge.
            with Client(port) as first:
                assert first.get("/first").body == b"/first"
            edge.wait_line("edge: ready")
            with run_load(port, is_new_each=True) as load:
                load.wait_done(60)
                edge.reload()
                edge.wait_line("reloaded: generation 2 serves")
                load.wait_done(60)
            edge.wait_status(lambda status: generations(status) == [2, 2, 2])
            with run_load(port, is_new_each=True) as load:
                edge.process.send_signal(signal.SIGUSR2)
                edge.wait_line("edge: upgraded to")
                load.wait_done(20)
            edge.wait_status(lambda status: generations(status) == [3, 3, 3])
            edge.kill_worker()
            edge.wait_line("starting it again")
            with Client(port) as last:
                assert last.get("/last").body == b"/last"
            assert edge.stop() == 0
        finally:
            if edge.process.poll() is None:
                edge._kill_all()
            edge._reader.join(5)
            assert edge.process.stderr is not None
            edge.process.stderr.close()


# -- the unit files -------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists in the place of ours, which is not installed here."""
    for name in ("edge.service", "edge.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace(INSTALLED_AT, "/bin/true"))
    return tmp_path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("systemd-analyze"), "--no-pager", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
        check=False,
    )


@pytest.mark.external
def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    done = analyze("verify", units / "edge.service", units / "edge.socket")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.external
@pytest.mark.parametrize(
    ("name", "line"), [("edge.service", "Typo=notify"), ("edge.socket", "ListenStraem=80")]
)
def test_it_would_find_it(units: Path, name: str, line: str) -> None:
    """A key that systemd does not know is only a warning to it."""
    unit = units / name
    section = "[Service]\n" if name == "edge.service" else "[Socket]\n"
    unit.write_text(unit.read_text().replace(section, f"{section}{line}\n"))
    assert line.split("=")[0] in analyze("verify", unit).stderr


@pytest.mark.external
def test_the_service_is_confined(units: Path) -> None:
    done = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", units / "edge.service"
    )
    assert done.returncode == 0, done.stdout


def test_the_units_say_how_edge_is_stopped_and_watched() -> None:
    lines = (UNITS / "edge.service").read_text().splitlines()
    # The supervisor drains its workers itself; one that is killed is not the end of the service.
    for line in ("Type=notify", "KillMode=mixed", "OOMPolicy=continue", "WatchdogSec=20s"):
        assert line in lines
    socket_lines = (UNITS / "edge.socket").read_text().splitlines()
    assert "BindIPv6Only=ipv6-only" in socket_lines
