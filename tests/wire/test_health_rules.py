"""The tables of tests/health/test_sequence.py beside real HAProxy: the same rules and answers."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edge.check_rules import Send, parse_http_rule
from tests.harness import free_port
from tests.health.test_sequence import HTTP_RULES, TCP_RULES
from tests.wire.haproxy_pair import Side
from tests.wire.health_pair import READ_BYTES, WAIT_S_MAX, ScriptedNode, says

pytestmark = [pytest.mark.wire, pytest.mark.external]

HEAD = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
listen any
  bind 127.0.0.1:{port}
"""
# HAProxy spreads first checks over the interval; every check finds the same.
SERVER = "  server s 127.0.0.1:{port} check inter 500ms\n"


def pongs(peer: socket.socket) -> None:
    """As `pongs` in test_sequence."""
    peer.sendall(b"+HI\r\n")
    number, received = 0, b""
    while data := peer.recv(READ_BYTES):
        received += data
        while b"\n" in received:
            line, _, received = received.partition(b"\n")
            number += 1
            peer.sendall(b"+PONG %d %b\n" % (number, line))


@contextmanager
def haproxy(folder: Path, sections: Sequence[str]) -> Iterator[Side]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    side = Side(folder / "haproxy.sock", free_port())
    file = folder / "haproxy.cfg"
    file.write_text(HEAD.format(socket=side.socket, port=side.port) + "".join(sections))
    process = subprocess.Popen([program, "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
    try:
        stop_at = time.monotonic() + WAIT_S_MAX
        pause = threading.Event()
        while not side.socket.exists():
            assert process.poll() is None, file.read_text()
            assert time.monotonic() < stop_at
            pause.wait(0.02)
        yield side
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)


def results(side: Side, count: int) -> list[tuple[str, str]]:
    """Status and info of the one server of each backend, when every first check has ended."""
    stop_at = time.monotonic() + WAIT_S_MAX
    pause = threading.Event()
    while True:
        lines = side.ask("show stat -1 4 -1").removeprefix("# ").rstrip("\n").splitlines()
        rows = [row for row in csv.DictReader(lines) if row["svname"] == "s"]
        assert len(rows) == count
        if not any(row["check_status"][:2] in ("* ", "IN") for row in rows):
            return [(row["check_status"], row["last_chk"]) for row in rows]
        assert time.monotonic() < stop_at, rows
        pause.wait(0.05)


def sections_of(kind: str, option: str, rules: Sequence[Sequence[str]], ports: list[int]) -> str:
    text = ""
    for number, (lines, port) in enumerate(zip(rules, ports, strict=True)):
        text += f"backend b{number}\n  option {option}\n"
        text += "".join(f"  {kind} {line}\n" for line in lines)
        text += SERVER.format(port=port)
    return text


def test_http_rules_find_what_haproxy_finds(tmp_path: Path) -> None:
    with ExitStack() as stack:
        nodes = [ScriptedNode([says(page)]) for page, _, _, _ in HTTP_RULES]
        for node in nodes:
            stack.callback(node.close)
        rules = [lines for _, lines, _, _ in HTTP_RULES]
        text = sections_of("http-check", "httpchk GET /hc", rules, [node.port for node in nodes])
        side = stack.enter_context(haproxy(tmp_path, [text]))
        found = results(side, len(HTTP_RULES))
    for (page, lines, status, info), theirs in zip(HTTP_RULES, found, strict=True):
        assert (status, info) == theirs, (page, lines)


def test_tcp_rules_find_what_haproxy_finds(tmp_path: Path) -> None:
    with ExitStack() as stack:
        nodes = [ScriptedNode([pongs]) for _ in TCP_RULES]
        for each in nodes:
            stack.callback(each.close)
        rules = [lines for lines, _, _ in TCP_RULES]
        text = sections_of("tcp-check", "tcp-check", rules, [each.port for each in nodes])
        side = stack.enter_context(haproxy(tmp_path, [text]))
        found = results(side, len(TCP_RULES))
    for (lines, status, info), theirs in zip(TCP_RULES, found, strict=True):
        assert (status, info) == theirs, lines


REQUESTS = [
    "meth GET uri /e ver HTTP/1.1 hdr Host a.b",
    "meth POST uri /x ver HTTP/1.1 hdr Host a.b hdr X-Y '1 2' body hello",
    "meth POST uri /x hdr Host a.b body hello",
    "uri /c ver HTTP/1.1 hdr Host a.b",
    "meth POST uri /g ver HTTP/1.1",
    "meth HEAD",
]


def test_requests_are_haproxys_to_the_byte(tmp_path: Path) -> None:
    received: dict[int, bytes] = {}

    def keeps(number: int) -> ScriptedNode:
        def play(peer: socket.socket) -> None:
            received[number] = peer.recv(READ_BYTES)
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

        return ScriptedNode([play])

    with ExitStack() as stack:
        nodes = [keeps(number) for number in range(len(REQUESTS))]
        for node in nodes:
            stack.callback(node.close)
        rules = [[f"send {each}"] for each in REQUESTS]
        text = sections_of("http-check", "httpchk", rules, [node.port for node in nodes])
        side = stack.enter_context(haproxy(tmp_path, [text]))
        results(side, len(REQUESTS))
    for number, each in enumerate(REQUESTS):
        rule = parse_http_rule(f"send {each}")
        assert isinstance(rule, Send)
        assert rule.data == received[number], each
