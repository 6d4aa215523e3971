"""The longest pause of somebody who keeps asking, while something else goes on.

A Prober is a process of its own that asks again as soon as it has an answer, and writes down each
time from one answer to the next that is longer than PAUSE_MIN_S. Its clock is that of the whole
machine, so the pauses can be set beside what another process did meanwhile.

A pause during which the kernel took the core away from the prober (an involuntary context switch,
getrusage(2)) says nothing about who was asked. Waiting for a lock or for an answer is a voluntary
one. Both sorts are kept, and told apart.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType

from edge.clock import now

Ask = Callable[[int], None]

# Shorter ones are the prober's own: an answer of a store takes 2 us, one by a socket 50 us.
PAUSE_MIN_S = 0.0001
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Pause:
    """From one answer to the next; `is_preempted`: the kernel let another process run."""

    began_at: float
    ended_at: float
    is_preempted: bool

    @property
    def taken_s(self) -> float:
        """Its length."""
        return self.ended_at - self.began_at


@dataclass(frozen=True)
class Longest:
    """The longest pauses of a time; 0.0: none was longer than PAUSE_MIN_S."""

    any_s: float
    waiting_s: float  # those that were preempted left out

    def __str__(self) -> str:
        return f"{self.waiting_s * 1000:.2f} ms (with preempted ones {self.any_s * 1000:.2f} ms)"


def longest_between(pauses: Iterable[Pause], began_at: float, ended_at: float) -> Longest:
    """Of the pauses of which any part lies in that time."""
    touching = [p for p in pauses if p.ended_at > began_at and p.began_at < ended_at]
    return Longest(
        max((p.taken_s for p in touching), default=0.0),
        max((p.taken_s for p in touching if not p.is_preempted), default=0.0),
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
    pauses: list[Pause] = []
    count = 0
    link.send("asking")
    last_at, last_switches = now(), count_preemptions()
    while not is_over[0]:
        ask(count)
        count += 1
        answered_at, switches = now(), count_preemptions()
        if answered_at - last_at > PAUSE_MIN_S:
            pauses.append(Pause(last_at, answered_at, switches != last_switches))
        last_at, last_switches = answered_at, switches
    link.send(count)
    link.send(pauses)


def count_preemptions() -> int:
    """How often the kernel took the core away from this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
