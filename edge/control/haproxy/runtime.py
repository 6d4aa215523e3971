"""HAProxy's interfaces put together over one control process: the CLI, the page, the rates."""

from __future__ import annotations

import asyncio
import socket

from edge.clock import now
from edge.control.haproxy.changes import Changes
from edge.control.haproxy.cli import Cli
from edge.control.haproxy.commands import Client, Commands, Level
from edge.control.haproxy.rates import LOOK_S, Rates
from edge.control.haproxy.snapshot import Snapshots
from edge.control.haproxy.tables import Tables
from edge.control.haproxy.traffic import Traffic
from edge.control.view import ControlView
from edge.job import Job
from edge.plan import Plan
from edge.settings.haproxy import Haproxy, Stats
from edge.stick_tables import attach_tables
from ext.arena import Arena

REST_PER_LOOK = 50  # looks take at most a fiftieth of the time that checks need, too


def make_commands(view: ControlView, plan: Plan, arena: Arena, job: Job) -> Commands | None:
    """The commands over the haproxy tiers; None where there is none."""
    if not any(tier.kind in ("haproxy", "tcp") for tier in plan.tiers):
        return None
    snapshots = Snapshots(view, plan, arena, job.slots["servers"])
    tables = Tables(attach_tables(job.table_fds, None))
    traffic = Traffic(snapshots, arena, job.slots["tiers"])
    return Commands(snapshots, Changes(arena), Rates(), tables, traffic)


async def look_for_ever(commands: Commands) -> None:
    """Feeds the rates until it is cancelled; with thousands of servers less often than else."""
    while True:
        before = now()
        commands.look()
        await asyncio.sleep(max(LOOK_S, REST_PER_LOOK * (now() - before)))


async def serve_cli(commands: Commands, plan: Plan, job: Job) -> Cli | None:
    """The CLI on the inherited sockets; None without any."""
    if not job.stats_fds:
        return None
    listeners = [socket.socket(fileno=fd) for fd in job.stats_fds]
    found = (tier.settings.stats for tier in plan.tiers if isinstance(tier.settings, Haproxy))
    stats = next(found, None) or Stats()
    level = Level[stats.level.upper()]
    sockets = [f"{socket_text(each, stats.socket)} {level.text} all" for each in listeners]
    cli = Cli(commands, Client(level, sockets))
    await cli.start(listeners)
    return cli


def socket_text(listener: socket.socket, path: str | None) -> str:
    """As HAProxy writes an address: `unix@/run/edge.sock`, `ipv4@127.0.0.1:9999`.

    A unix socket goes by the path it was moved to, not by the name it was made under.
    """
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix@{path}"
    if listener.family == socket.AF_INET6:
        return f"ipv6@[{name[0]}]:{name[1]}"
    return f"ipv4@{name[0]}:{name[1]}"
