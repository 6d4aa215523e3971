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
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
    """One started program with everything it starts, on some of the cores; a context manager."""

    def __init__(
        self, name: str, command: Sequence[str], cores: Collection[int], log: Path, cwd: Path
    ) -> None:
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
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
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
            with suppress(FileNotFoundError, ProcessLookupError):  # nginx's cache loader ends
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
    """What wrk printed, and the CPU time that it took itself."""

    requests: int
    seconds: float
    errors: int
    read_bytes: int = 0
    cpu_s: float = 0.0

    @property
    def requests_per_s(self) -> float:
        """Completed requests per second."""
        return self.requests / self.seconds

    @property
    def busy_cores(self) -> float:
        """How many cores it kept busy."""
        return self.cpu_s / self.seconds


def run_wrk(
    url: str, seconds: int, connections: int, cores: Collection[int], threads: int = 1
) -> WrkResult:
    """wrk: kept connections, closed loop; its errors are counted, not hidden."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", url]
    before_s = children_cpu_s()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return replace(parse_wrk(done.stdout), cpu_s=children_cpu_s() - before_s)


def children_cpu_s() -> float:
    """CPU time of the children that have ended; a Running counts when it has been stopped."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parse_wrk(text: str) -> WrkResult:
    """Reads wrk's report; ValueError when there is none."""
    summary = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m), ([\d.]+)([KMGT]?)B read", text)
    if summary is None:
        raise ValueError(f"no summary from wrk: {text!r}")
    seconds = float(summary[2]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[summary[3]]
    read_bytes = int(float(summary[4]) * 1024 ** " KMGT".index(summary[5] or " "))
    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors += int(refused[1]) if refused else 0
    return WrkResult(int(summary[1]), seconds, errors, read_bytes)
