"""The control process as the supervisor starts it."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.job import Job, ListenerJob
from edge.plan import build_plan
from edge.settings import load
from ext.arena import Arena
from ext.limits import ServerState
from ext.store import Store
from ext.store_for_test import StoreForTest
from tests.purging.standin import SERVICE, TOKEN

pytestmark = pytest.mark.wire

WAIT_S_MAX = 20.0


DEAD = re.compile(
    "edge: Server haproxy/dead is DOWN, reason: Layer4 connection problem, "
    r'info: "Connection refused", check duration: \d+ms\. 1 active and 0 backup servers left\.'
    " 0 sessions active, 0 requeued, 0 remaining in queue\\.\n"
)
ALIVE = re.compile(
    r"edge: Server haproxy/alive is UP, reason: Layer4 check passed, check duration: \d+ms\. "
    r"1 active and 0 backup servers online\. 0 sessions requeued, 0 total in queue\.\n"
)
CDN = f"cdn: {{listen: 127.0.0.1:2, service: {{id: {SERVICE}, tokens: [{TOKEN}]}}}}\n"


class Control:
    """One control process over an arena of ours; one node that lives and one that does not."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.node = socket.create_server(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as gone:
            dead_port = gone.getsockname()[1]
        file = folder / "edge.yaml"
        file.write_text(
            ("" if store is None else CDN)
            + "haproxy: {listen: 127.0.0.1:1, health_check: {interval: 50ms}}\n"
            "nodes:\n"
            f"  - {{name: alive, web: '127.0.0.1:{self.node.getsockname()[1]}'}}\n"
            f"  - {{name: dead, web: '127.0.0.1:{dead_port}'}}\n"
        )
        settings = load(str(file))
        plan = build_plan(settings, None)
        self.arena = Arena.create()
        servers = [server for tier in plan.tiers for server in tier.servers]
        slots = {
            "tiers": {tier.name: self.arena.tier_slot(tier.name) for tier in plan.tiers},
            "servers": {server.key: self.arena.server_slot(server.key) for server in servers},
        }
        self.admin = socket.create_server(("127.0.0.1", 0))
        ready, ready_child = os.pipe()
        job = Job(
            settings=json.loads(settings.model_dump_json()),
            tier=None,
            arena_fd=self.arena.fd,
            row=None,
            ready_fd=ready_child,
            generation=1,
            supervisor_pid=os.getpid(),
            listeners=[ListenerJob("haproxy", "127.0.0.1", 1, -1)],
            slots=slots,
            admin_fd=self.admin.fileno(),
            cache_fd=None if store is None else store.fd,
            wake_fd=None if store is None else store.wake_fd,
        )
        job_fd = job.write()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge.control", str(job_fd), "generation=1"],
            pass_fds=(job_fd, *job.descriptors()),
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
        )
        os.close(job_fd)
        os.close(ready_child)
        self.ready_fd = ready

    def ask(self, method: str, path: str) -> Any:
        """The JSON that the admin address answers to the holder of the service's token."""
        url = f"http://127.0.0.1:{self.admin.getsockname()[1]}{path}"
        request = urllib.request.Request(url, headers={"Fastly-Key": TOKEN}, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_S_MAX) as answer:
            return json.load(answer)

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def state(self, name: str) -> ServerState:
        slot = self.arena.server_slot(f"haproxy/{name}")
        return ServerState(self.arena.server(slot)["state"])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S_MAX)
        assert self.process.stderr is not None
        self.process.stderr.close()
        for opened in (self.node, self.admin):
            opened.close()
        for fd in (self.ready_fd, self.arena.fd):
            os.close(fd)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    made = Control(tmp_path)
    yield made
    made.end()


def test_it_says_ready_checks_answers_and_ends_at_sigterm(control: Control) -> None:
    assert select.select([control.ready_fd], [], [], WAIT_S_MAX)[0]
    assert os.read(control.ready_fd, 1) == b"R"
    assert DEAD.fullmatch(control.line())
    assert (control.state("dead"), control.state("alive")) == (ServerState.DOWN, ServerState.UP)
    status = control.ask("GET", "/status")
    assert status["cache"] is None
    assert {s["name"]: s["status"] for s in status["tiers"][0]["servers"]}["dead"] == "DOWN"
    control.process.send_signal(signal.SIGTERM)
    assert control.process.wait(WAIT_S_MAX) == 0


def test_it_takes_a_workers_mark_down_over_and_raises_the_server_again(control: Control) -> None:
    control.line()
    slot = control.arena.server_slot("haproxy/alive")
    control.arena.set_server(slot, state=ServerState.DOWN, connect_fail_streak=10)
    assert control.line() == (
        "edge: Server haproxy/alive is DOWN, reason: Health analyze, info: "
        '"Detected 10 consecutive errors, last one was: L4 unsuccessful connection".'
        " 0 active and 0 backup servers left."
        " 0 sessions active, 0 requeued, 0 remaining in queue.\n"
    )
    assert control.line() == "edge: backend haproxy has no server available!\n"
    assert ALIVE.fullmatch(control.line())
    assert control.arena.server(slot)["connect_fail_streak"] == 0


def fill_with_objects(store: Store, count: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    driver: Any = StoreForTest(store.fd, row=0)
    for number in range(count):
        key = b"FRA shop.test/%d" % number
        changes = driver.find(request, key)["changes"]
        _, handle = driver.begin(request, key, changes)
        driver.open(handle, request, key, b"HTTP/1.1 200 OK\r\n\r\n", fresh_until_ms=2**60)
        driver.append(handle, b"x" * 100_000)
        assert driver.finish(handle) == "ok"
        driver.release(handle)


def test_it_shows_purges_and_sweeps_the_cache(tmp_path: Path) -> None:
    store = Store.create(64 * 2**20)
    fill_with_objects(store, 20)
    control = Control(tmp_path, store)
    try:
        before = control.ask("GET", "/status")["cache"]
        assert before["objects"] == 20
        assert before["used_bytes"] > 2_000_000
        assert control.ask("POST", f"/service/{SERVICE}/purge_all") == {"status": "ok"}
        stop_at = time.monotonic() + WAIT_S_MAX
        while (cache := control.ask("GET", "/status")["cache"])["used_bytes"]:
            assert time.monotonic() < stop_at, cache
        assert cache["objects"] == 0
        assert cache["purges"] == {"key": 0, "url": 0, "all": 1}
    finally:
        control.end()
        os.close(store.fd)
