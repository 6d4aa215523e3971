"""The processes that the demo starts: the shop nodes and `edge run` in front of them.

Called by `edge.demo.run`. Every child is in a process group of its own, so that Ctrl-C reaches the
demo only, which then ends its children in order; and the kernel ends every child when the demo
dies, however it dies (`end_with_parent`), so nothing is ever left behind.

A node that dies comes back after RESTART_S: long enough to watch the others take over.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from functools import partial

from edge.console import say
from edge.errors import EdgeError
from edge.job import end_with_parent

RESTART_S = 10.0
START_S_MAX = 30.0
NODE_STOP_S_MAX = 3.0
CHAIN_STOP_S_MAX = 40.0  # more than a worker may take to drain
READY_LINE = b"edge: ready\n"


class DemoError(EdgeError):
    """The demo cannot start; the text is one line for the operator."""


async def spawn(*arguments: str, stdout: int | None = None, stderr: int | None = None) -> Process:
    """Starts `python ARGUMENTS` as a child that does not outlive this process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=DEVNULL,
        stdout=stdout,
        stderr=stderr,
        process_group=0,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )


async def end(process: Process, within_s: float) -> None:
    """Ends a child with SIGTERM, after `within_s` with SIGKILL."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(within_s):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


class ShopNode:
    """One shop node and its successors."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Returns when the node listens. Raises DemoError if it ends instead."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ends the node for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._process is not None:
            await end(self._process, NODE_STOP_S_MAX)

    async def _spawn(self) -> None:
        arguments = ("-m", "edge.demo.shop", "--name", self.name, "--listen", self.address)
        self._process = await spawn(*arguments, stdout=PIPE)
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise DemoError(f"{self.name} did not start")

    async def _keep(self) -> None:
        while self._process is not None:
            pid, code = self._process.pid, await self._process.wait()
            say(f"{self.name} (pid {pid}) {_ending(code)}; it comes back in {RESTART_S:g} s")
            await asyncio.sleep(RESTART_S)
            try:
                await self._spawn()
            except DemoError as error:
                say(str(error))
            else:
                say(f"{self.name} is back (pid {self.pid})")


class Chain:
    """`edge run` with the tiers of the file. Its lines go on to our stderr."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._process: Process | None = None
        self._relay: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Returns when every listener accepts. Raises DemoError if it ends instead."""
        self._process = await spawn("-m", "edge", "run", self._config, stderr=PIPE)
        self._relay = asyncio.create_task(self._relay_lines(self._process))
        ready = asyncio.create_task(self._ready.wait())
        try:
            async with asyncio.timeout(START_S_MAX):
                await asyncio.wait([ready, self._relay], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise DemoError(f"`edge run` was not ready within {START_S_MAX:g} s") from None
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise DemoError(f"`edge run {self._config}` did not start")

    async def ended(self) -> str:
        """Waits for the end; how it came, as the second half of a sentence."""
        assert self._process is not None
        return _ending(await self._process.wait())

    async def stop(self) -> None:
        """Drains and ends the chain."""
        if self._process is not None:
            await end(self._process, CHAIN_STOP_S_MAX)
        if self._relay is not None:
            await self._relay

    def hurry(self) -> None:
        """Has the chain cut what still runs: a second SIGTERM to the supervisor."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def _relay_lines(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            if line == READY_LINE:
                self._ready.set()
            sys.stderr.write(line.decode(errors="replace"))
            sys.stderr.flush()


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"
