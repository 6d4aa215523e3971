"""The parent process: sockets, arena, children. It never touches traffic.

Start: read the file, open every listening socket, start the workers and control, wait until each
is ready. SIGHUP: read the file again; if it is good start a second generation on the same
sockets, and only when all of it is ready drain the first. If anything fails on the way the first
generation goes on as if nothing had been asked. SIGUSR2: the same with the program of the disk,
supervisor included (`edge.upgrade`). SIGTERM or SIGINT: drain, exit 0. A second one: kill, exit 1.

What outlives a generation is in `edge.resources`; starting a child again when it dies is
`edge.keeper`'s task; what a child needs is in its job document (`edge.job`); the rules about
sockets stand in `edge.listen`.

A connection is lost only when the process that holds it is killed. Connections waiting in a
socket's queue are served by the next process that accepts on it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from edge import __version__
from edge.activation import Activation
from edge.console import say, say_problem
from edge.crew import Crew, adopt_crew
from edge.errors import ConfigError, EdgeError
from edge.handover import Record
from edge.keeper import START_S_MAX, Gate, Keeper
from edge.listen import ListenError
from edge.notify import Notifier
from edge.orders import Orders
from edge.posts import ControlPost, Modules, Outfit, WorkerPost
from edge.resources import Resources
from edge.settings.address import join_address
from edge.upgrade import Program, UpgradeError, settle_signals, signals_blocked, unblock_signals

# A worker ends its drain by itself after the configured time; then this much for its last words.
LAST_WORDS_S = 1.0

T = TypeVar("T")


class Supervisor:
    """One `edge run`. `run()` returns the exit status. `read_orders`: of the arena's note."""

    def __init__(
        self,
        read_orders: Callable[[bytes], Orders],
        modules: Modules | None = None,
        *,
        start_s_max: float = START_S_MAX,
        notifier: Notifier | None = None,
        activation: Activation | None = None,
        program: Program | None = None,
        record: Record | None = None,
    ) -> None:
        """`program`: what SIGUSR2 upgrades to; None: it cannot be upgraded. `record`: what the
        program before this one has left."""
        self._read_orders = read_orders
        self._modules = modules or Modules()
        self._start_s_max = start_s_max
        self._notifier = notifier or Notifier()
        self._program = program
        self._record = record
        self._resources = Resources(activation, None if record is None else record.resources)
        self._serving: Crew | None = None
        self._crews: list[Crew] = []  # with those that start or drain
        self._gate = Gate()
        self._generation = 0 if record is None else record.generation
        self._addresses_said = set() if record is None else set(record.addresses_said)
        self._stop_wanted = asyncio.Event()
        self._kill_wanted = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._upgrade_wanted = asyncio.Event()

    async def run(self) -> int:
        """Serves until a signal ends it."""
        self._obey_signals()
        self._notifier.keep_watchdog_quiet()
        try:
            async with asyncio.TaskGroup() as tasks:
                return await self._serve(tasks)
        finally:
            self._kill_all()

    async def _serve(self, tasks: asyncio.TaskGroup) -> int:
        if self._record is None:
            has_started = await _unless(self._stop_wanted, self._start(tasks))
        else:
            self._adopt(self._record, tasks)
            has_started = True
            await _unless(self._stop_wanted, self._finish_upgrade(tasks))
        while has_started and not self._stop_wanted.is_set():
            await _first_of(self._stop_wanted, self._reload_wanted, self._upgrade_wanted)
            if self._upgrade_wanted.is_set():
                self._upgrade_wanted.clear()
                await _unless(self._stop_wanted, self._upgrade(tasks))
            elif self._reload_wanted.is_set():
                self._reload_wanted.clear()
                await _unless(self._stop_wanted, self._reload(tasks))
        await _unless(self._kill_wanted, self._stop_all())
        self._kill_all()
        has_failed = has_started is False or self._kill_wanted.is_set()
        return 1 if has_failed else 0

    async def _start(self, tasks: asyncio.TaskGroup) -> bool:
        try:
            await self._raise_crew(tasks)
        except EdgeError as error:
            _say_error(error)
            return False
        say("ready")
        self._notifier.ready("generation 1 serves")
        return True

    async def _upgrade(self, tasks: asyncio.TaskGroup) -> None:
        """Does not return when it works: this program is gone then."""
        self._notifier.reloading()
        try:
            if self._program is None:
                raise UpgradeError("this edge was started in a way that cannot be repeated")
            await self._program.rehearse(self._hand_over())
            await self._gate.shut()
            with signals_blocked():
                await settle_signals()
                if self._stop_wanted.is_set():
                    return
                self._notifier.ping()
                self._program.become(self._hand_over())
        except (EdgeError, OSError) as error:
            for line in error.lines if isinstance(error, UpgradeError) else ():
                say_problem(line)
            say(f"not upgraded: {error}")
            self._resources.outcomes.not_upgraded(str(error))
            self._notifier.ready("the last upgrade failed: the program before it serves")
        finally:
            self._gate.open()

    def _hand_over(self) -> Record:
        return Record(
            supervisor_pid=os.getpid(),
            version=__version__,
            generation=self._generation,
            resources=self._resources.hand_over(),
            crews=[crew.record() for crew in self._crews],
            notify_path=self._notifier.path,
            watchdog_s=self._notifier.watchdog_s,
            addresses_said=sorted(self._addresses_said),
        )

    def _adopt(self, record: Record, tasks: asyncio.TaskGroup) -> None:
        """Goes on where the program before this one stopped."""
        for line in self._resources.losses:
            say(line)
        for each in record.crews:
            crew = adopt_crew(
                each, tasks, self._resources.memory_before, self._start_s_max, self._gate
            )
            self._crews.append(crew)
            if crew.retires_at is None:
                self._serving = crew
            else:
                tasks.create_task(self._retire(crew))

    async def _finish_upgrade(self, tasks: asyncio.TaskGroup) -> None:
        before = self._serving
        try:
            crew = await self._raise_crew(tasks)
        except EdgeError as error:
            _say_error(error)
            say(
                f"edge {__version__} supervises the processes of before: it could not start its own"
            )
            self._resources.outcomes.not_upgraded(str(error))
            self._notifier.ready("the last upgrade failed: the processes before it serve")
            return
        self._resources.outcomes.upgraded()
        self._notifier.ready(f"generation {crew.generation} serves")
        if before is not None:
            tasks.create_task(self._retire(before))
        say(f"upgraded to {__version__}, generation {crew.generation}")

    async def _reload(self, tasks: asyncio.TaskGroup) -> None:
        before = self._serving
        self._notifier.reloading()
        try:
            crew = await self._raise_crew(tasks)
        except EdgeError as error:
            _say_error(error)
            say("not reloaded: the running configuration stays")
            self._resources.outcomes.not_reloaded(str(error))
            self._notifier.ready("the last reload failed: the configuration before it serves")
            return
        self._resources.outcomes.reloaded()
        self._notifier.ready(f"generation {crew.generation} serves")
        if before is not None:
            tasks.create_task(self._retire(before))
        say(f"reloaded: generation {crew.generation} serves")

    async def _raise_crew(self, tasks: asyncio.TaskGroup) -> Crew:
        """A new generation, ready and serving. Raises EdgeError, and then all is as before."""
        orders = self._read_orders(self._resources.note())
        self._generation += 1
        crew = Crew(self._generation, orders.drain_s + LAST_WORDS_S, orders.settings)
        self._crews.append(crew)
        try:
            outfit = self._resources.equip(orders, crew.generation)
            await self._start_crew(crew, outfit, tasks)
        except EdgeError:
            # Drained, not killed: a worker that did come up has accepted connections already.
            tasks.create_task(self._retire(crew))
            self._resources.undo()
            raise
        self._resources.accept(orders)
        self._serving = crew
        self._say_addresses(outfit)
        self._grow_crew(crew, orders, outfit, tasks)
        return crew

    async def _start_crew(self, crew: Crew, outfit: Outfit, tasks: asyncio.TaskGroup) -> None:
        for index in range(len(outfit.listeners)):
            post = WorkerPost(outfit, index, self._modules.worker)
            crew.workers.append(Keeper(post, self._start_s_max, self._gate))
        control = ControlPost(outfit, self._modules.control)
        crew.control.append(Keeper(control, self._start_s_max, self._gate))
        await asyncio.gather(*(keeper.start(tasks) for keeper in crew.everyone()))

    def _grow_crew(
        self, crew: Crew, orders: Orders, outfit: Outfit, tasks: asyncio.TaskGroup
    ) -> None:
        """Adds workers that a reload wants beyond those that share the sockets of before."""
        try:
            grown = self._resources.grow(orders, outfit)
        except ListenError as error:
            say(f"no worker added: {error}")
            return
        for index in range(len(outfit.listeners), len(grown.listeners)):
            post = WorkerPost(grown, index, self._modules.worker)
            keeper = Keeper(post, self._start_s_max, self._gate)
            crew.workers.append(keeper)
            keeper.start_insisting(tasks)

    def _say_addresses(self, outfit: Outfit) -> None:
        """Says where this generation listens, as far as the one before did not."""
        where = [(listener.tier, listener.host, listener.port) for listener in outfit.listeners[0]]
        admin = self._resources.admin_address()
        if admin is not None:
            where.append(("admin", *admin))
        lines = [f"{name} listens on {join_address(host, port)}" for name, host, port in where]
        for line in lines:
            if line not in self._addresses_said:
                say(line)
        self._addresses_said = set(lines)

    async def _retire(self, crew: Crew) -> None:
        await crew.retire()
        self._crews.remove(crew)

    async def _stop_all(self) -> None:
        """Drains every worker, then ends control: the admin API shows till then what still runs."""
        self._resources.stop_listening()
        crews = list(self._crews)
        self._notifier.stopping(max((crew.drain_s_max for crew in crews), default=0.0))
        await asyncio.gather(
            *(keeper.stop(crew.drain_s_max) for crew in crews for keeper in crew.workers)
        )
        await asyncio.gather(
            *(keeper.stop(crew.drain_s_max) for crew in crews for keeper in crew.control)
        )

    def _kill_all(self) -> None:
        for crew in self._crews:
            for keeper in crew.everyone():
                keeper.kill()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        loop.add_signal_handler(signal.SIGUSR2, self._upgrade_wanted.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        unblock_signals()

    def _on_stop_signal(self) -> None:
        if self._stop_wanted.is_set():
            self._kill_wanted.set()
        self._stop_wanted.set()


def raise_descriptor_limit() -> None:
    """Lifts the soft limit of open files to the hard one; children inherit it.

    A proxy needs two descriptors per request in flight, and the usual soft limit of 1024 exists
    for select(2) only.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say_error(error: EdgeError) -> None:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            say_problem(str(problem))
    else:
        say(str(error))


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None when `event` comes first, which cancels it."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, waiting):
            each.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


async def _first_of(*events: asyncio.Event) -> None:
    """Returns when one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
