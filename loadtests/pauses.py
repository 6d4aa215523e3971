"""The longest pause of somebody who keeps asking, while something else goes on.

A Prober is a process of its own that asks again as soon as it has an answer, and writes down each
time from one answer to the next that is longer than PAUSE_MIN_S. Its clock is that of the whole
machine, so the pauses can be set beside what another process did meanwhile.

On a machine that others use too, the longest pauses are those in which the prober was ready to run
and had no core. That time, which Linux counts in nanoseconds, is taken off: what is left is the
time that it was kept waiting (by a lock, or for an answer) or was busy itself. A wait for somebody
who was inside a lock when the kernel took his core is the scheduler's as well: his `NoCore` notes
when that was, and such pauses are left out. Both figures are given, with all and without.

Source: Linux Documentation/scheduler/sched-stats.rst, second field of /proc/thread-self/schedstat.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType

from edge.clock import now

Ask = Callable[[int], None]

# Shorter ones are the prober's own: a lookup takes 2 us, an answer by a socket 50 us.
PAUSE_MIN_S = 0.0001
LEAST = f"{PAUSE_MIN_S * 1000:.1f} ms"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
SCHEDSTAT_BYTES_MAX = 64  # three numbers of at most 20 digits


@dataclass(frozen=True)
class Pause:
    """From one answer to the next."""

    began_at: float
    ended_at: float
    no_core_s: float  # of it, ready to run, but another process ran

    @property
    def taken_s(self) -> float:
        """Its length."""
        return self.ended_at - self.began_at

    @property
    def caused_s(self) -> float:
        """Its length without the scheduler's part."""
        return max(0.0, self.taken_s - self.no_core_s)

    def overlaps(self, began_at: float, ended_at: float) -> bool:
        """Has it any part in that time?"""
        return self.ended_at > began_at and self.began_at < ended_at


@dataclass(frozen=True)
class Longest:
    """The longest pauses of a time; 0.0: there was none."""

    any_s: float
    caused_s: float

    def __str__(self) -> str:
        caused = f"{self.caused_s * 1000:.2f} ms" if self.caused_s else f"below {LEAST}"
        return f"{caused} (with the scheduler's: {self.any_s * 1000:.2f} ms)"


class CoreClock:
    """How long this thread has been ready to run without a core."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._fd)

    def no_core_ns(self) -> int:
        """Since the thread began; costs 1.5 us."""
        return int(os.pread(self._fd, SCHEDSTAT_BYTES_MAX, 0).split()[1])


class NoCore:
    """When this process had no core, as far as it was inside of `watch`."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self._clock = CoreClock()

    def close(self) -> None:
        """The times stay."""
        self._clock.close()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Notes the time from its beginning to its end if the process had no core meanwhile."""
        began_at, before_ns = now(), self._clock.no_core_ns()
        yield
        if self._clock.no_core_ns() != before_ns:
            self.times.append((began_at, now()))

    def touches(self, pause: Pause) -> bool:
        """Had this process no core during that pause?"""
        return any(pause.overlaps(began_at, ended_at) for began_at, ended_at in self.times)


def longest_between(
    pauses: Iterable[Pause], began_at: float, ended_at: float, other: NoCore | None = None
) -> Longest:
    """Of the pauses of which any part lies in that time; `other` is waited for."""
    within = [pause for pause in pauses if pause.overlaps(began_at, ended_at)]
    caused = [pause for pause in within if other is None or not other.touches(pause)]
    return Longest(
        max((pause.taken_s for pause in within), default=0.0),
        max((pause.caused_s for pause in caused), default=0.0),
    )


class Prober:
    """A context manager: asks from entering on until `stop`, on one core.

    `make_ask` is called in the new process and returns what asks once; it gets 0, 1, 2 and so on,
    and raises when an answer is wrong.
    """

    def __init__(self, make_ask: Callable[[], Ask], core: int) -> None:
        context = multiprocessing.get_context("fork")
        self._is_over = mmap.mmap(-1, 1)  # shared with the child; one byte, which is cheap to read
        self._link, far_end = context.Pipe()
        self._process = context.Process(
            target=keep_asking, args=(make_ask, core, self._is_over, far_end)
        )
        self._process.start()
        far_end.close()

    def __enter__(self) -> Prober:
        self._receive(START_TIMEOUT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()
        self._link.close()

    def stop(self) -> tuple[int, list[Pause]]:
        """How often it asked, and its pauses."""
        self._is_over[0] = 1
        count = self._receive(STOP_TIMEOUT_S)
        pauses = self._receive(STOP_TIMEOUT_S)
        assert isinstance(count, int)
        assert isinstance(pauses, list)
        return count, pauses

    def _receive(self, timeout_s: float) -> object:
        if not self._link.poll(timeout_s):
            raise TimeoutError("the prober does not answer")
        try:
            return self._link.recv()
        except EOFError:
            raise RuntimeError("the prober has ended; its error is on stderr") from None


def keep_asking(
    make_ask: Callable[[], Ask], core: int, is_over: mmap.mmap, link: Connection
) -> None:
    """The child process."""
    os.sched_setaffinity(0, {core})
    ask = make_ask()
    gc.disable()  # its pauses would be ours
    clock = CoreClock()
    pauses: list[Pause] = []
    count = 0
    link.send("asking")
    last_at = now()
    ns_before_last = last_ns = clock.no_core_ns()
    while not is_over[0]:
        ask(count)
        count += 1
        answered_at, no_core_ns = now(), clock.no_core_ns()
        if answered_at - last_at > PAUSE_MIN_S:
            # From one reading earlier on: the core may go between the two clocks.
            pauses.append(Pause(last_at, answered_at, (no_core_ns - ns_before_last) / 1e9))
        last_at, ns_before_last, last_ns = answered_at, last_ns, no_core_ns
    link.send(count)
    link.send(pauses)
