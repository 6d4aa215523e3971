"""`edge demo`: three shop nodes and the chain of configs/pro.yaml in front of them.

Called by `edge.cli`. Everything is a process as in production (`edge.demo.children`); this module
starts them in order, prints the guide and ends them in reverse order at Ctrl-C, SIGTERM or after
the asked seconds. A second signal does not wait for running requests.

The file is looked for beside the package (a checkout, also installed with `pip install -e`), then
where a wheel puts it: PREFIX/share/edge/configs.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

from edge.console import say
from edge.demo.children import Chain, DemoError, ShopNode
from edge.demo.guide import build_guide
from edge.demo.shop import open_listener
from edge.errors import EdgeError
from edge.plan import build_plan
from edge.settings import Settings, load
from edge.settings.address import join_address

CONFIG_NAME = "pro.yaml"


def main(seconds: float | None = None, config: str | None = None) -> int:
    """Runs the demo until a signal or for `seconds`. Returns the exit status, 0 if it ran."""
    try:
        path = config or str(find_config())
        settings = load(path)
        refuse_taken_addresses(settings)
    except EdgeError as error:
        say(str(error))
        return 1
    return asyncio.run(Demo(settings, path).run(seconds))


def find_config() -> Path:
    """The path of pro.yaml. Raises DemoError that names the places."""
    places = [
        Path(__file__).parents[2] / "configs" / CONFIG_NAME,
        Path(sys.prefix) / "share" / "edge" / "configs" / CONFIG_NAME,
    ]
    for place in places:
        if place.is_file():
            return place
    raise DemoError(f"no {CONFIG_NAME}; looked for {' and '.join(map(str, places))}")


def refuse_taken_addresses(settings: Settings) -> None:
    """Raises DemoError if somebody listens already where the demo wants to."""
    wanted = [address for _, address in web_addresses(settings)]
    wanted += [join_address(each.host, each.port) for each in build_plan(settings, None).listeners]
    if settings.admin is not None:
        wanted.append(settings.admin.listen)
    for address in wanted:
        try:
            open_listener(address).close()
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise DemoError(
                f"cannot listen on {address}: {reason}; does another demo run?"
            ) from error


def web_addresses(settings: Settings) -> list[tuple[str, str]]:
    """Name and address of each web node, in file order."""
    return [(node.name, node.web) for node in settings.nodes if node.web is not None]


class Demo:
    """One run of the demo."""

    def __init__(self, settings: Settings, config: str) -> None:
        self._settings = settings
        self._nodes = [ShopNode(*node) for node in web_addresses(settings)]
        self._chain = Chain(config)
        self._stop_wanted = asyncio.Event()

    async def run(self, seconds: float | None) -> int:
        """From the first process to the last. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_stop_signal)
        try:
            if not await self._unless_stopped(self._start()):
                return 0
            print(build_guide(self._settings, self._nodes), flush=True)
            if await self._unless_stopped(self._await_end(seconds)):
                return 1
            return 0
        except DemoError as error:
            say(str(error))
            return 1
        finally:
            await self._chain.stop()
            await asyncio.gather(*(node.stop() for node in self._nodes))

    async def _start(self) -> bool:
        await asyncio.gather(*(node.start() for node in self._nodes))
        await self._chain.start()
        return True

    async def _await_end(self, seconds: float | None) -> bool:
        """Whether the chain ended by itself before `seconds` were over."""
        try:
            async with asyncio.timeout(seconds):
                say(f"`edge run` {await self._chain.ended()}")
        except TimeoutError:
            return False
        return True

    async def _unless_stopped(self, work: Coroutine[None, None, bool]) -> bool:
        """What `work` returns; False, and `work` cancelled, when a signal comes first."""
        tasks = [asyncio.ensure_future(work), asyncio.create_task(self._stop_wanted.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].done() and tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _on_stop_signal(self) -> None:
        if self._stop_wanted.is_set():
            self._chain.hurry()
        self._stop_wanted.set()
