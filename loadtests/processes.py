"""Processes of a load test: started on one core, measured in nanoseconds, ended for certain.

CPU time is the first field of /proc/PID/task/TID/schedstat (nanoseconds on a processor, user and
system together), summed over all threads of all processes of a system: a master, its workers, our
supervisor and control. The split into user and system comes from utime and stime in /proc/PID/stat,
which count in clock ticks (10 ms), and is therefore a share, not a second measurement.

Source: Linux Documentation/scheduler/sched-stats.rst, proc_pid_stat(5).
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Cpu:
    """CPU time used so far by all processes of a system."""

    total_ns: int
    user_ticks: int
    system_ticks: int

    def since(self, before: Cpu) -> Cpu:
        """What was used between two readings."""
        return Cpu(
            self.total_ns - before.total_ns,
            self.user_ticks - before.user_ticks,
            self.system_ticks - before.system_ticks,
        )

    @property
    def user_share(self) -> float:
        """The part of the time spent in user mode, 0 to 1."""
        ticks = self.user_ticks + self.system_ticks
        return self.user_ticks / ticks if ticks else 0.0


class Running:
    """One started program with everything it starts; a context manager that ends it."""

    def __init__(self, name: str, command: Sequence[str], core: int, log: Path, cwd: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def tree(self) -> list[psutil.Process]:
        """The program and all its descendants that are alive."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def cpu(self) -> Cpu:
        """CPU time of the whole tree up to now."""
        total_ns = user_ticks = system_ticks = 0
        for member in self.tree():
            folder = Path("/proc") / str(member.pid)
            for task in (folder / "task").iterdir():
                total_ns += int((task / "schedstat").read_text().split()[0])
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            user_ticks += int(fields[11])
            system_ticks += int(fields[12])
        return Cpu(total_ns, user_ticks, system_ticks)

    def resident_bytes(self) -> int:
        """Resident memory of the whole tree; pages shared with others count once per process."""
        return sum(member.memory_info().rss for member in self.tree())

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to whatever is left of the tree."""
        if self.process.poll() is not None:
            return
        root, *others = self.tree()
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_S)
        for member in (root, *others):
            if member.is_running():
                member.kill()
        self.process.wait(5)
        psutil.wait_procs(others, 5)


def raise_descriptor_limit() -> int:
    """Soft limit of open files up to the hard one; returns it. Children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@dataclass(frozen=True)
class WrkResult:
    """What wrk printed."""

    requests: int
    seconds: float
    errors: int

    @property
    def requests_per_s(self) -> float:
        """Completed requests per second."""
        return self.requests / self.seconds


def run_wrk(url: str, seconds: int, connections: int, core: int) -> WrkResult:
    """`wrk -t1`: kept connections, closed loop; its errors are counted, not hidden."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", url]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> WrkResult:
    """Reads wrk's report; ValueError when there is none."""
    summary = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    if summary is None:
        raise ValueError(f"no summary from wrk: {text!r}")
    seconds = float(summary[2]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[summary[3]]
    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return WrkResult(int(summary[1]), seconds, errors + (int(refused[1]) if refused else 0))
