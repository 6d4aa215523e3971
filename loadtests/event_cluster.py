"""The whole chain in front of three nodes, and everything that an operator or bad luck does to it.

All processes of `edge run` are in one session: that is how they are found, whoever is whose parent.
An upgrade in place replaces the supervisor's program, and its process stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from edge.clock import now
from loadtests.processes import Running
from loadtests.side_by_side import free_ports, wait_until_listening

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "of-this-run"
POLL_S = 0.05
EVENT_S_MAX = 60.0  # an upgrade starts eight interpreters, on a machine that is half busy
# A tenth of the defaults: ten minutes' worth of events happens in one and a half.
CONFIG = """\
cdn:
  listen: 127.0.0.1:{port}
  cache: {{size: 64MiB}}
elb:
  health_check: {{interval: 200ms, rise: 2, fall: 2}}
haproxy:
  health_check: {{path: /health, interval: 200ms, rise: 2, fall: 3}}
nodes:
{nodes}
admin: {{listen: 127.0.0.1:{admin}, token: {token}}}
drain: 20s
"""


class EventError(Exception):
    """An event did not take place, or had no end."""


class Cluster:
    """Three nodes and edge, all running; everything ends with `stack`."""

    def __init__(self, stack: ExitStack, folder: Path, workers: int) -> None:
        self._stack = stack
        self._folder = folder
        self.workers_wanted = workers
        self.ledger_path = folder / "nodes.ledger"
        *node_ports, self.port, self.admin_port = free_ports(5)
        self.node_ports = {f"node{n}": port for n, port in enumerate(node_ports, 1)}
        self._nodes = {name: self._run_node(name) for name in self.node_ports}
        for name, port in self.node_ports.items():
            wait_until_listening(self._nodes[name], port)
        self.log = folder / "edge.log"
        self.config = folder / "edge.yaml"
        self._edge = self._run_edge()
        self._session = self._edge.process.pid
        wait_until_listening(self._edge, self.admin_port)
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/cached/0", timeout=10).close()

    def _run_node(self, name: str) -> Running:
        port = str(self.node_ports[name])
        command = [sys.executable, "-m", "loadtests.ledger_node", port, name, str(self.ledger_path)]
        log = self._folder / f"{name}.log"
        cores = os.sched_getaffinity(0)
        return self._stack.enter_context(Running(name, command, cores, log, ROOT))

    def _run_edge(self) -> Running:
        zones = dict(zip(self.node_ports, "abc", strict=True))
        nodes = "\n".join(
            f"  - {{name: {name}, zone: {zones[name]}, web: 127.0.0.1:{port}}}"
            for name, port in self.node_ports.items()
        )
        ports = {"port": self.port, "admin": self.admin_port, "token": TOKEN}
        self.config.write_text(CONFIG.format(nodes=nodes, **ports))
        command = [sys.executable, "-m", "edge", "run", str(self.config)]
        command += ["--workers", str(self.workers_wanted)]
        cores = os.sched_getaffinity(0)
        return self._stack.enter_context(Running("edge", command, cores, self.log, ROOT))

    # -- looking --------------------------------------------------------------------------------

    def status(self) -> Any:
        """The JSON of GET /status; OSError while the address goes from process to process."""
        address = f"http://127.0.0.1:{self.admin_port}/status"
        with urllib.request.urlopen(address, timeout=5) as reply:
            return json.load(reply)

    def processes(self) -> list[psutil.Process]:
        """Every living process of edge."""
        found = []
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self._session:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """The workers of every generation that still lives."""
        return [each for each in self.processes() if role_of(each) == "worker"]

    def supervisor(self) -> psutil.Process:
        """The process that was started."""
        return psutil.Process(self._edge.process.pid)

    def count_lines(self, text: str) -> int:
        """Lines of edge's log with this text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    # -- events ---------------------------------------------------------------------------------

    async def kill_worker(self, choose: Callable[[list[int]], int]) -> set[int]:
        """SIGKILL to one that has clients; the ports of its clients' side.

        It is stopped first, so that the list of its connections is exact.
        """
        stop_at = now() + EVENT_S_MAX
        while now() < stop_at:
            workers = {each.pid: each for each in await asyncio.to_thread(self.workers)}
            if workers:
                victim = workers[choose(sorted(workers))]
                ports = await asyncio.to_thread(self._stop_and_kill, victim)
                if ports:
                    return ports
            await asyncio.sleep(POLL_S)
        raise EventError("no worker has clients")

    def _stop_and_kill(self, victim: psutil.Process) -> set[int]:
        """The ports; empty, and nothing is killed, when it has no clients."""
        try:
            victim.suspend()
            while victim.status() != psutil.STATUS_STOPPED:
                os.sched_yield()
            ports = client_ports(victim.pid, self.port)
            if ports:
                victim.kill()
                victim.wait(EVENT_S_MAX)
            else:
                victim.resume()
        except psutil.NoSuchProcess:
            return set()
        return ports

    async def kill_node(self, name: str) -> None:
        """SIGKILL."""
        process = self._nodes[name].process
        process.kill()
        await asyncio.to_thread(process.wait, EVENT_S_MAX)

    async def start_node(self, name: str) -> None:
        """Returns when it listens."""
        self._nodes[name] = self._run_node(name)
        await asyncio.to_thread(wait_until_listening, self._nodes[name], self.node_ports[name])

    async def wait_all_up(self) -> None:
        """Until every tier has every server up."""
        await self.wait_status(
            lambda status: all(
                server["status"].startswith(("UP", "no check"))
                for tier in status["tiers"]
                for server in tier["servers"]
            ),
            "all servers up",
        )

    async def wait_status(self, is_reached: Callable[[Any], bool], what: str) -> Any:
        """The status, as soon as it is so."""
        stop_at = now() + EVENT_S_MAX
        status = None
        while now() < stop_at:
            try:
                status = await asyncio.to_thread(self.status)
            except OSError:
                status = None
            if status is not None and is_reached(status):
                return status
            await asyncio.sleep(POLL_S)
        raise EventError(f"not within {EVENT_S_MAX:g} s: {what}; {json.dumps(status)[:4000]}")

    async def reload(self) -> None:
        """SIGHUP; returns when the new generation serves."""
        await self._order(signal.SIGHUP, "reloaded")

    async def _order(self, number: signal.Signals, done: str) -> None:
        """Returns when the log says that it is done; EventError when it says that it is not."""
        before = self.count_lines(f"edge: {done}"), self.count_lines(f"edge: not {done}")
        self.supervisor().send_signal(number)
        stop_at = now() + EVENT_S_MAX
        while self.count_lines(f"edge: {done}") == before[0]:
            if self.count_lines(f"edge: not {done}") > before[1] or now() > stop_at:
                raise EventError(f"edge has not {done}: {self.log.read_text()[-2000:]}")
            await asyncio.sleep(POLL_S)

    def can_upgrade(self) -> bool:
        """Whether the supervisor catches SIGUSR2, which ends a program that does not."""
        status = Path(f"/proc/{self.supervisor().pid}/status").read_text()
        caught = int(next(x for x in status.splitlines() if x.startswith("SigCgt")).split()[1], 16)
        return bool(caught >> (signal.SIGUSR2 - 1) & 1)

    async def upgrade(self) -> None:
        """SIGUSR2; returns when the new program serves."""
        if not self.can_upgrade():
            raise EventError("this edge cannot be upgraded in place")
        await self._order(signal.SIGUSR2, "upgraded")

    async def rollout(self) -> None:
        """`edge rollout`, whose command has each node killed and started by us."""
        path = self._folder / "rollout.sock"
        server = await asyncio.start_unix_server(self._renew_node, path)
        say = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        say += " s.sendall(sys.argv[2].encode() + b'\\n'); sys.exit(s.recv(2) != b'ok')"
        order = f'{sys.executable} -c "{say}" {path} {{node}}'
        command = [sys.executable, "-m", "edge", "rollout", "--config", str(self.config)]
        async with server:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--command",
                order,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output, _ = await process.communicate()
        if process.returncode != 0:
            raise EventError(f"edge rollout: {process.returncode}: {output.decode()}")

    async def _renew_node(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        await self.kill_node(name)
        await self.start_node(name)
        writer.write(b"ok")
        writer.close()


def role_of(process: psutil.Process) -> str:
    """supervisor, worker, control, or other."""
    try:
        arguments = process.cmdline()
    except psutil.NoSuchProcess:
        return "gone"
    for role, module in (("worker", "edge.worker"), ("control", "edge.control")):
        if module in arguments:
            return role
    return "supervisor" if "edge" in arguments and "run" in arguments else "other"


def client_ports(pid: int, port: int) -> set[int]:
    """The other side's ports of this process's connections on 127.0.0.1:`port`.

    Source: proc_net_tcp(5): local address, remote address, state, ..., inode as the tenth field.
    """
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        name = str(entry.readlink())
        if name.startswith("socket:["):
            inodes.add(name[len("socket:[") : -1])
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(fields[at].partition(":")[2], 16) for at in (1, 2))
        if local == port and remote and fields[9] in inodes:
            found.add(remote)
    return found
