"""The control process from its job to its end: health checks, the cache's upkeep, the admin API.

One uvloop. Started by the supervisor as `python -m edge.control JOB`; SIGTERM ends it at once,
since nothing waits for it: server states live in the arena, and a successor takes them up where
they stand.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from functools import partial

import uvloop

from edge.control.admin import serve_admin
from edge.control.elb.actions import Actions
from edge.control.elb.api import ElbApi
from edge.control.elb.keeper import ElbKeeper
from edge.control.elb.targets import Targets
from edge.control.fastly import PurgeApi
from edge.control.guard import Guard
from edge.control.haproxy.page_http import Page
from edge.control.haproxy.runtime import look_for_ever, make_commands, serve_cli
from edge.control.health_log import HealthLog
from edge.control.marks import Marks
from edge.control.nodes import NodeApi
from edge.control.reload import ReloadApi, order_reload
from edge.control.specs import check_specs
from edge.control.sweep import sweep_for_ever
from edge.control.view import ControlView
from edge.control.web_nodes import WebNodes
from edge.health.runner import HealthRunner
from edge.job import Job, announce_ready, end_with_parent, read_job
from edge.plan import Plan, build_plan
from edge.purges import purge_access, purge_ids, purge_target
from edge.settings import Settings
from edge.settings.cdn import Cdn
from ext.arena import Arena
from ext.store import Store


def main(arguments: Sequence[str]) -> int:
    """Runs the job in the memfd numbered by the first argument. Returns the exit status."""
    job = read_job(int(arguments[1]))
    end_with_parent(job.supervisor_pid)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(job))
    return 0


async def serve(job: Job) -> None:
    """Works until SIGTERM. What a task raises, always our mistake, ends it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings.model_validate_json(job.settings_json())
    plan = build_plan(settings, job.tier)
    arena = Arena.attach(job.arena_fd)
    marks = Marks(arena, plan, job.slots["servers"], lambda change: health_log.say(change))
    runner = HealthRunner(arena, check_specs(plan, job, arena), marks.on_change)
    store = attach_store(job)
    view = ControlView(arena, plan, job, runner.servers, store)
    health_log = HealthLog(arena, plan, job.slots)
    commands = make_commands(view, plan, arena, job)
    keeper = make_elb_keeper(settings, plan, arena, job, runner)
    view.targets = None if keeper is None else keeper.targets
    admin = None
    if job.admin_fd is not None:
        listener = socket.socket(fileno=job.admin_fd)
        token = None if settings.admin is None else settings.admin.token
        page = None if commands is None else Page(commands, token)
        purges = make_purge_api(plan, store)
        guard = Guard(token)
        nodes = NodeApi(arena, view, job.slots["servers"], guard)
        reload = ReloadApi(job.supervisor_pid, guard)
        web_nodes = WebNodes(settings, arena, partial(order_reload, job.supervisor_pid), guard)
        elb = (
            None
            if keeper is None
            else ElbApi(Actions(keeper.targets, keeper.trends, job.started_at), guard, token)
        )
        # Purges last: they have routes that match any path.
        admin = await serve_admin(view, listener, page, nodes, web_nodes, reload, elb, purges)
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(runner.run())]
    if keeper is not None:
        tasks.append(asyncio.create_task(keeper.run()))
    cli = None
    if commands is not None:
        tasks.append(asyncio.create_task(look_for_ever(commands)))
        cli = await serve_cli(commands, plan, job)
    if store is not None:
        tasks.append(asyncio.create_task(sweep_for_ever(store)))
    announce_ready(job.ready_fd)
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if admin is not None:
        await admin.cleanup()
    if cli is not None:
        await cli.stop()
    for task in done:
        task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def attach_store(job: Job) -> Store | None:
    """The cdn's memory, where there is a cdn; control reads no object, so it needs no row."""
    if job.cache_fd is None or job.wake_fd is None:
        return None
    return Store.attach(job.cache_fd, job.wake_fd)


def make_elb_keeper(
    settings: Settings, plan: Plan, arena: Arena, job: Job, runner: HealthRunner
) -> ElbKeeper | None:
    """Where this process has an elb."""
    if settings.elb is None or not any(tier.kind == "elb" for tier in plan.tiers):
        return None
    reload = partial(order_reload, job.supervisor_pid)
    slots = job.slots["servers"]
    targets = Targets(arena, plan, settings, slots, runner.servers, reload)
    return ElbKeeper(targets, arena)


def make_purge_api(plan: Plan, store: Store | None) -> PurgeApi | None:
    """For the cdn that clients see; its shield's objects go with its own."""
    settings = next((tier.settings for tier in plan.tiers if isinstance(tier.settings, Cdn)), None)
    if store is None or settings is None:
        return None
    return PurgeApi(purge_target(store, settings), purge_access(settings), purge_ids())
