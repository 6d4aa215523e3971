"""Runs edge as its users do, as a process, and speaks to it with raw bytes. For wire tests.

    with Origin() as node, run_edge(config(node), tmp_path) as edge, Client(port) as client:
        client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert client.read_response().status == 200

Leaving run_edge stops edge with SIGTERM and asserts that it exited with 0 and printed no traceback.
An admin listener is added to the configuration when it has none.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import yaml

from tests.ext.reference_http1 import ChunkedReader, ResponseHead, parse_response
from tests.loop_thread import LINGER_RESET

READY_TIMEOUT_S = 60.0  # a bound, not a wait: sanitizer builds start slowly
STOP_TIMEOUT_S = 20.0
CLIENT_TIMEOUT_S = 10.0
READ_BYTES = 65536
ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port of 127.0.0.1 that the kernel says is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Edge:
    """A running `edge run`; made by run_edge."""

    def __init__(self, process: subprocess.Popen[str], path: Path, admin: str) -> None:
        self.process = process
        self.config_path = path
        self.admin = admin
        self.stderr: list[str] = []
        self._is_stderr_over = False
        self._line_came = threading.Condition()
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._line_came:
                self.stderr.append(line.rstrip("\n"))
                self._line_came.notify_all()
        with self._line_came:
            self._is_stderr_over = True
            self._line_came.notify_all()

    def wait_line(self, text: str, timeout_s: float = READY_TIMEOUT_S, count: int = 1) -> None:
        """Returns when stderr has had `count` lines that contain `text`."""

        def has_come() -> bool:
            return sum(text in line for line in self.stderr) >= count

        with self._line_came:
            self._line_came.wait_for(lambda: has_come() or self._is_stderr_over, timeout_s)
        assert has_come(), f"no line {text!r} on stderr:\n" + "\n".join(self.stderr)

    def status(self) -> Any:
        """The JSON of GET /status."""
        with urllib.request.urlopen(f"http://{self.admin}/status", timeout=5) as reply:
            return json.load(reply)

    def metrics(self) -> str:
        """The text of GET /metrics."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5) as reply:
            text: str = reply.read().decode()
            return text

    def wait_status(self, is_reached: Any, timeout_s: float = 10.0) -> Any:
        """The status, as soon as is_reached(status) is true (asked every 50 ms)."""
        stop_at = time.monotonic() + timeout_s
        pause = threading.Event()
        while (status := self._status_or_none()) is None or not is_reached(status):
            assert time.monotonic() < stop_at, f"status never got there: {status}"
            pause.wait(0.05)
        return status

    def _status_or_none(self) -> Any:
        """The status, or None while a reload hands the admin address from process to process."""
        try:
            return self.status()
        except ConnectionError:
            return None

    def children(self, module: str) -> list[psutil.Process]:
        """The running processes of `-m MODULE` below the supervisor, oldest first."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if module in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return sorted(found, key=lambda child: (child.create_time(), child.pid))

    def workers(self) -> list[int]:
        """The process ids of the workers, oldest first."""
        return [child.pid for child in self.children("edge.worker")]

    def kill_worker(self) -> int:
        """SIGKILL to the oldest worker; returns its process id once it is gone."""
        worker = self.children("edge.worker")[0]
        worker.kill()
        worker.wait(5)
        return worker.pid

    def reload(self, config_text: str | None = None) -> None:
        """Writes the new configuration, if any, and sends SIGHUP."""
        if config_text is not None:
            self.config_path.write_text(with_admin(config_text, self.admin))
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """SIGTERM, then the exit status; a second call only returns it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise AssertionError("edge did not stop:\n" + "\n".join(self.stderr)) from None
        self._reader.join(5)
        return self.process.returncode

    def _kill_all(self) -> None:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.kill()
        self.process.wait(5)


def with_admin(config_text: str, admin: str) -> str:
    """The configuration with an admin listener, unless it has one."""
    if "admin" in (yaml.safe_load(config_text) or {}):
        return config_text
    return config_text.rstrip("\n") + f"\nadmin: {{listen: {admin}}}\n"


@contextmanager
def run_edge(
    config_text: str, tmp_path: Path, workers: int = 1, tier: str | None = None
) -> Iterator[Edge]:
    """`edge run` on `config_text`, ready; stopped and checked at the end."""
    path = tmp_path / f"edge-{free_port()}.yaml"
    path.write_text(with_admin(config_text, f"127.0.0.1:{free_port()}"))
    admin: str = yaml.safe_load(path.read_text())["admin"]["listen"]
    command = [sys.executable, "-m", "edge", "run", str(path), "--workers", str(workers)]
    if tier is not None:
        command += ["--tier", tier]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    edge = Edge(process, path, admin)
    try:
        edge.wait_line("edge: ready")
        yield edge
        assert edge.stop() == 0, "\n".join(edge.stderr)
        assert not any("Traceback" in line for line in edge.stderr), "\n".join(edge.stderr)
    finally:
        if process.poll() is None:
            edge._kill_all()
        assert process.stderr is not None
        edge._reader.join(5)
        process.stderr.close()


@dataclass(frozen=True)
class Response:
    """A complete response, read strictly."""

    head: ResponseHead
    raw_head: bytes
    body: bytes
    trailers: list[tuple[bytes, bytes]]

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of that name, in order."""
        return [value for key, value in self.head.headers if key.lower() == name.lower()]


class CutShortError(AssertionError):
    """The peer closed in the middle of a response; `received` is what came of it."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"connection ended within a response: {received!r}")
        self.received = received


class Client:
    """One TCP connection to 127.0.0.1:`port`; every wait ends after CLIENT_TIMEOUT_S."""

    def __init__(self, port: int, source: str = "") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), CLIENT_TIMEOUT_S, (source, 0) if source else None
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """All of `data`."""
        self.socket.sendall(data)

    def get(self, target: str = "/", *fields: bytes, host: str = "shop.example") -> Response:
        """A GET and its response."""
        start = f"GET {target} HTTP/1.1\r\nHost: {host}".encode("latin-1")
        self.send(b"\r\n".join((start, *fields, b"", b"")))
        return self.read_response()

    def read_head(self, method: bytes = b"GET") -> tuple[ResponseHead, bytes]:
        """The next response head, 1xx included, parsed and raw."""
        while (head := parse_response(self._unread, request_method=method)) is None:
            if not self._receive():
                raise CutShortError(self._unread)
        raw, self._unread = self._unread[: head.size], self._unread[head.size :]
        return head, raw

    def read_response(self, method: bytes = b"GET") -> Response:
        """The next final response with its whole body; 1xx answers before it are dropped."""
        head, raw = self.read_head(method)
        while head.status < 200 and head.status != 101:
            head, raw = self.read_head(method)
        reader = ChunkedReader()
        body = b""
        while not self._is_whole(head, body, reader):
            if head.body == 2:
                consumed, piece = reader.feed(self._unread)
            else:
                left = head.content_length - len(body) if head.body == 1 else len(self._unread)
                piece = self._unread[:left]
                consumed = len(piece)
            self._unread = self._unread[consumed:]
            body += piece
            if self._is_whole(head, body, reader):
                break
            if not self._unread and not self._receive():
                if head.body == 3:
                    break
                raise CutShortError(raw + body)
        return Response(head, raw, body, list(reader.trailers))

    def _is_whole(self, head: ResponseHead, body: bytes, reader: ChunkedReader) -> bool:
        if head.body == 2:
            return reader.done
        return head.body == 0 or (head.body == 1 and len(body) == head.content_length)

    def read_exactly(self, size: int) -> bytes:
        """The next `size` bytes, whatever they mean (a tunnel, part of a body)."""
        while len(self._unread) < size:
            if not self._receive():
                raise CutShortError(self._unread)
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def read_some(self) -> bytes:
        """What has come and was not read yet, else the next bytes; b"" at the peer's FIN."""
        if not self._unread:
            self._receive()
        data, self._unread = self._unread, b""
        return data

    def read_to_end(self) -> bytes:
        """Everything up to the peer's FIN; ConnectionResetError on RST."""
        while self._receive():
            pass
        data, self._unread = self._unread, b""
        return data

    def _receive(self) -> bool:
        data = self.socket.recv(READ_BYTES)
        self._unread += data
        return bool(data)

    def half_close(self) -> None:
        """FIN; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.socket.close()

    def close(self) -> None:
        """Closes the socket; a second call does nothing."""
        self.socket.close()
