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
from asyncio.subprocess import DEVNULL, Process
from typing import Protocol

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

    def job(self, ready_fd: int) -> Job:
        """The job for the next child. Called before each start."""

    def on_spawned(self, pid: int) -> None: ...

    def on_gone(self) -> None:
        """The child of the last `job` call is gone, or never came to be."""


class StartError(EdgeError):
    """A child did not become ready at its first start; the text is one line for the operator."""


class Keeper:
    """One child process and its successors."""

    def __init__(self, post: Post, start_s_max: float = START_S_MAX) -> None:
        self._post = post
        self._start_s_max = start_s_max
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()  # ready for the first time, or failed at it
        self._was_ready = False
        self._failure = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

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

    async def _keep(self) -> None:
        pause_s = PAUSE_S_MIN
        while not self._stopping.is_set():
            born_at = now()
            end = await self._live_once()
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
            ready_fd, child_ready_fd = os.pipe()
        except OSError as error:  # no descriptor left
            return f"could not be started: {error}"
        try:
            process = await self._spawn(child_ready_fd)
        except (OSError, ValueError) as error:
            # OSError: no process or descriptor left. ValueError: the arena has no free row.
            self._post.on_gone()
            os.close(ready_fd)
            return f"could not be started: {error}"
        finally:
            os.close(child_ready_fd)
        try:
            self._process = process
            self._post.on_spawned(process.pid)
            if self._stopping.is_set():
                self._signal(signal.SIGTERM)
            if await self._await_ready(ready_fd):
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

    async def _spawn(self, child_ready_fd: int) -> Process:
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

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _sleep(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
