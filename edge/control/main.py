"""The control process from its job to its end: health checks and, if configured, the admin API.

One uvloop. Started by the supervisor as `python -m edge.control JOB`; SIGTERM ends it at once,
since nothing waits for it: server states live in the arena, and a successor takes them up where
they stand.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence

import uvloop

from edge.console import say
from edge.control.admin import serve_admin
from edge.control.specs import check_specs, unchecked_slots
from edge.control.view import ControlView
from edge.health.runner import HealthRunner, StateChange
from edge.job import Job, announce_ready, end_with_parent, read_job
from edge.plan import build_plan
from edge.settings import Settings
from ext.arena import Arena


def main(arguments: Sequence[str]) -> int:
    """Runs the job in the memfd numbered by the first argument. Returns the exit status."""
    job = read_job(int(arguments[1]))
    end_with_parent(job.supervisor_pid)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(job))
    return 0


async def serve(job: Job) -> None:
    """Checks and answers until SIGTERM. What a check raises, always our mistake, ends it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    plan = build_plan(Settings.model_validate_json(job.settings_json()), job.tier)
    arena = Arena.attach(job.arena_fd)
    runner = HealthRunner(
        arena, check_specs(plan, job, arena), unchecked_slots(plan, job), say_change
    )
    view = ControlView(arena, plan, job, runner.servers)
    admin = None
    if job.admin_fd is not None:
        admin = await serve_admin(view, socket.socket(fileno=job.admin_fd))
    checking = asyncio.create_task(runner.run())
    stopping = asyncio.create_task(stop.wait())
    announce_ready(job.ready_fd)
    await asyncio.wait([checking, stopping], return_when=asyncio.FIRST_COMPLETED)
    if admin is not None:
        await admin.cleanup()
    if checking.done():
        checking.result()
    stopping.cancel()
    checking.cancel()
    await asyncio.gather(stopping, checking, return_exceptions=True)


def say_change(change: StateChange) -> None:
    """One line for the operator when a server goes up or down, and why."""
    state = "UP" if change.is_up else "DOWN"
    why = "as seen by another process" if change.outcome is None else str(change.outcome)
    say(f"server {change.key} is {state}: {why}")
