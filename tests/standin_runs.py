"""Supervisors with stand-in workers (standin_run.py), as processes, for the tests of it."""

import contextlib
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

WAIT_S_MAX = 20.0


class Client:
    """One connection to a stand-in worker."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S_MAX)
        self._lines = self.socket.makefile("rb")

    def ask(self) -> tuple[int, int, int]:
        """Pid, generation and row of the worker; OSError when the connection was lost."""
        self.socket.sendall(b"who\n")
        line = self._lines.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        pid, generation, row = line.split()
        return int(pid), int(generation), int(row)

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


class Run:
    """One supervisor process; its stderr line by line."""

    def __init__(self, orders_file: Path, drain_s: float, start_s_max: float) -> None:
        self.orders_file = orders_file
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.standin_run",
                orders_file,
                *map(str, (drain_s, start_s_max)),
            ],
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            text=True,
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches; fails at the end of the output."""
        while True:
            line = self._new.get(timeout=WAIT_S_MAX)
            assert line is not None, f"no line {pattern!r} among {self.lines}"
            self.lines.append(line)
            if found := re.fullmatch(pattern, line):
                return found

    def ready(self) -> int:
        """Waits for the ready line; the port of the first listener."""
        port = int(self.line(r"edge: haproxy listens on 127\.0\.0\.1:(\d+)")[1])
        self.line("edge: ready")
        return port

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def status(self) -> int:
        """The exit status; then `lines` is complete."""
        status = self.process.wait(WAIT_S_MAX)
        while (line := self._new.get(timeout=WAIT_S_MAX)) is not None:
            self.lines.append(line)
        return status

    def order(self, workers: int, ports: list[int], **settings: Any) -> None:
        write_orders(self.orders_file, workers, ports, **settings)

    def end(self) -> None:
        """Ends it and what it has started; a test that failed may have left clients connected."""
        children = []
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(WAIT_S_MAX)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._reader.join(WAIT_S_MAX)
        assert self.process.stderr is not None
        self.process.stderr.close()


def write_orders(file: Path, workers: int, ports: list[int], **settings: Any) -> None:
    file.write_text(json.dumps({"workers": workers, "ports": ports, "settings": settings}))


Start = Callable[..., Run]


@contextlib.contextmanager
def standin_runs(directory: Path) -> Iterator[Start]:
    """A function that starts one; all are ended afterwards."""
    runs: list[Run] = []

    def start_run(
        workers: int = 1,
        ports: list[int] | None = None,
        drain_s: float = WAIT_S_MAX,
        start_s_max: float = WAIT_S_MAX,
        **settings: Any,
    ) -> Run:
        file = directory / f"orders{len(runs)}.json"
        write_orders(file, workers, [0] if ports is None else ports, **settings)
        runs.append(Run(file, drain_s, start_s_max))
        return runs[-1]

    yield start_run
    for run in runs:
        run.end()


def ask_once(port: int) -> tuple[int, int, int]:
    client = Client(port)
    try:
        return client.ask()
    finally:
        client.close()


def await_end_of(pid: int) -> None:
    """Returns when a process that is not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], WAIT_S_MAX)[0], f"process {pid} still lives"
    finally:
        os.close(fd)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
