"""Keeps one child process alive: starts it, awaits its readiness, starts it again, stops it.

The supervisor has one Keeper per worker and one for control. A `Post` says what the child is:
which module, which job, and what to do with the arena when it comes and goes.

The first start is different from all later ones: if it fails, nothing is repeated and `start`
raises, because then the configuration or the program is at fault and an older generation may
still be serving. Once a child has been ready it is started again for ever; one that lives for
less than a second after its start is given longer and longer pauses.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from edge.clock import now
from edge.console import say
from edge.errors import EdgeError
from edge.job import GENERATION_ARGUMENT, Job

SHORT_LIFE_S = 1.0
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
START_S_MAX = 30.0


class Post(Protocol):
    """What a child is for."""

    @property
    def name(self) -> str: ...

    @property
    def module(self) -> str: ...

    @property
    def row(self) -> int | None:
        """Of the arena, which the child has."""

    def template(self) -> dict[str, Any]:
        """What `job` makes jobs of, without the settings; for a program that replaces this one."""

    def job(self, ready_fd: int) -> Job:
        """The job for the next child. Called before each start."""

    def on_spawned(self, pid: int) -> None: ...

    def on_gone(self) -> None:
        """The child of the last `job` call is gone, or never came to be."""


class Child(Protocol):
    """A running child process; `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int | None: ...

    def send_signal(self, number: signal.Signals) -> None: ...


class Gate:
    """Whether children may be started. Shut while the program of this process is replaced: what
    was started meanwhile would be a child that the successor does not know."""

    def __init__(self) -> None:
        self._inside = 0
        self._changed = asyncio.Event()
        self._is_shut = False

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Waits while it is shut, and is inside then."""
        while self._is_shut:
            await self._wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._changed.set()

    async def shut(self) -> None:
        """Returns when nobody is inside."""
        self._is_shut = True
        while self._inside:
            await self._wait()

    def open(self) -> None:
        self._is_shut = False
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class StartError(EdgeError):
    """A child did not become ready at its first start; the text is one line for the operator."""


class Keeper:
    """One child process and its successors."""

    def __init__(
        self, post: Post, start_s_max: float = START_S_MAX, gate: Gate | None = None
    ) -> None:
        self._post = post
        self._start_s_max = start_s_max
        self._gate = gate or Gate()
        self._process: Child | None = None
        self._ready_fd: int | None = None  # while its word is waited for
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()  # ready for the first time, or failed at it
        self._was_ready = False
        self._failure = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def post(self) -> Post:
        return self._post

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def ready_fd(self) -> int | None:
        """Where the child will say that it is ready; None when it has, or there is none."""
        return self._ready_fd

    @property
    def is_over(self) -> bool:
        """It has no child and never will."""
        return self._task is None or self._task.done()

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Returns when the child is ready. Raises StartError if it ends or hangs before that.

        The Keeper goes on as a task of `tasks`.
        """
        self._task = tasks.create_task(self._keep())
        await self._settled.wait()
        if not self._was_ready:
            raise StartError(f"{self._post.name} {self._failure}")

    def start_insisting(self, tasks: asyncio.TaskGroup) -> None:
        """Starts a child that others like it have shown to work: a failure is tried again, too."""
        self._was_ready = True
        self._task = tasks.create_task(self._keep())

    def adopt(self, tasks: asyncio.TaskGroup, child: Child, ready_fd: int | None) -> None:
        """Goes on with a child that runs, and which has been ready unless there is `ready_fd`."""
        self._was_ready = True
        self._task = tasks.create_task(self._keep(child, ready_fd))

    async def stop(self, drain_s: float) -> None:
        """Ends the child with SIGTERM, and with SIGKILL when it is still there after `drain_s`."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._task is None:
            return
        _, running = await asyncio.wait([self._task], timeout=drain_s)
        if running:
            say(f"{self._post.name} still has connections after {drain_s:g}s, which are cut")
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._task])

    def kill(self) -> None:
        """Ends the child at once, for good."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _keep(self, adopted: Child | None = None, ready_fd: int | None = None) -> None:
        pause_s = PAUSE_S_MIN
        while adopted is not None or not self._stopping.is_set():
            born_at = now()
            if adopted is None:
                end = await self._live_once()
            else:
                end = await self._live_to_end(adopted, ready_fd)
                adopted = None
            if not self._was_ready:
                self._failure = end
                break
            if self._stopping.is_set():
                break
            if now() - born_at >= SHORT_LIFE_S:
                pause_s = PAUSE_S_MIN
                say(f"{self._post.name} {end}; starting it again")
                continue
            say(f"{self._post.name} {end}; starting it again in {pause_s:g}s")
            await self._sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
        self._settled.set()

    async def _live_once(self) -> str:
        """One child from its start to its end; how it ended, as the second half of a sentence."""
        try:
            async with self._gate.passed():
                if self._stopping.is_set():
                    return "was not needed any more"
                process, ready_fd = await self._start_one()
                # Inside still: from here on who looks knows of it.
                self._process, self._ready_fd = process, ready_fd
        except (OSError, ValueError) as error:
            # OSError: no process or descriptor left. ValueError: the arena has no free row.
            self._post.on_gone()
            return f"could not be started: {error}"
        self._post.on_spawned(process.pid)
        return await self._live_to_end(process, ready_fd)

    async def _start_one(self) -> tuple[Child, int]:
        """A new child, and where it says that it is ready."""
        ready_fd, child_ready_fd = os.pipe()
        try:
            return await self._spawn(child_ready_fd), ready_fd
        except (OSError, ValueError):
            os.close(ready_fd)
            raise
        finally:
            os.close(child_ready_fd)

    async def _live_to_end(self, process: Child, ready_fd: int | None) -> str:
        """The rest of a child's life, as `_live_once`. `ready_fd` None: it has been ready."""
        self._process, self._ready_fd = process, ready_fd
        try:
            if self._stopping.is_set():
                self._signal(signal.SIGTERM)
            if ready_fd is None or await self._await_ready(ready_fd):
                self._was_ready = True
                self._settled.set()
                return f"(pid {process.pid}) {_ending(await process.wait())}"
            code = await process.wait()
            return f"(pid {process.pid}) {_ending(code)} before it was ready"
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await process.wait()
            return f"(pid {process.pid}) was not ready within {self._start_s_max:g}s"
        finally:
            self._process = None
            self._post.on_gone()

    async def _spawn(self, child_ready_fd: int) -> Child:
        job = self._post.job(child_ready_fd)
        job_fd = job.write()
        try:
            # Its own process group: Ctrl-C at a terminal reaches the supervisor only, which
            # then drains its children one by one.
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._post.module,
                str(job_fd),
                f"{GENERATION_ARGUMENT}{job.generation}",
                stdin=DEVNULL,
                pass_fds=(job_fd, *job.descriptors()),
                process_group=0,
            )
        finally:
            os.close(job_fd)

    async def _await_ready(self, ready_fd: int) -> bool:
        """Whether the child wrote its `R`; False when it closed the pipe without. Closes the pipe.

        Raises TimeoutError when neither has happened for `start_s_max`.
        """
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(ready_fd, readable.set)
        try:
            async with asyncio.timeout(self._start_s_max):
                await readable.wait()
            return os.read(ready_fd, 1) == b"R"
        finally:
            loop.remove_reader(ready_fd)
            os.close(ready_fd)
            self._ready_fd = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _sleep(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return


def _ending(code: int | None) -> str:
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
