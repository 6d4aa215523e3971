"""`GET /status`: everything the control process knows, as one JSON object.

Names follow HAProxy where it has one (`UP 1/3`, check status codes). Times are unix seconds,
durations carry their unit in the name, counters are those of the arena.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from edge.clock import wall
from edge.control.cache import LOOKUP_ROWS, cache_status
from edge.control.metrics import ELB_COUNTERS
from edge.control.view import ControlView, ServerView, TierView, WorkerView
from edge.health.server import AgentChecks, ServerChecks

GAUGES_SHOWN_APART = frozenset({"in_flight"})


def status_json(view: ControlView) -> bytes:
    """The answer's body."""
    return orjson.dumps(build_status(view, wall()), option=orjson.OPT_INDENT_2)


def build_status(view: ControlView, now: float) -> dict[str, Any]:
    """The object as plain values; `now` in unix seconds."""
    cache = view.cache()
    return {
        "version": view.version,
        "generation": view.generation,
        "uptime_s": _age(view.started_at, now),
        "pids": {"supervisor": view.supervisor_pid, "control": os.getpid()},
        "orders": asdict(view.orders()),
        "tiers": [_tier(tier, now) for tier in view.tiers()],
        "listeners": [
            {"tier": listener.tier, "host": listener.host, "port": listener.port}
            for listener in view.listeners
        ],
        "workers": [_worker(worker, now) for worker in view.workers()],
        "cache": None if cache is None else cache_status(cache),
    }


def _tier(tier: TierView, now: float) -> dict[str, Any]:
    counters = tier.counters
    if tier.kind != "cdn":
        counters = {name: n for name, n in counters.items() if name not in LOOKUP_ROWS}
    if tier.kind != "elb":
        counters = {name: n for name, n in counters.items() if name not in ELB_COUNTERS}
    zone = {} if tier.in_dns is None else {"in_dns": tier.in_dns}
    return {
        "name": tier.name,
        "kind": tier.kind,
        **zone,
        "next_tier": tier.next_tier,
        "usable_servers": tier.usable_servers,
        "in_flight": tier.counters["in_flight"],
        "counters": _counters(counters),
        "servers": [_server(server, now) for server in tier.servers],
    }


def _server(server: ServerView, now: float) -> dict[str, Any]:
    target = server.target_health
    health = {} if target is None else {"target_health": asdict(target)}
    return {
        "name": server.name,
        **health,
        "node": server.node,
        "target": server.target,
        "status": server.status,
        "admin": server.admin.name.lower(),
        "weight": server.weight,
        "user_weight": server.user_weight,
        "throttle": server.throttle,
        "backup": server.is_backup,
        "since": server.since,
        "since_s": _age(server.since, now),
        "in_flight": server.counters["in_flight"],
        "check": None if server.checks is None else _check(server, server.checks),
        "agent": None if server.agent is None else _agent(server.agent),
        "counters": _counters(server.counters),
    }


def _agent(agent: AgentChecks) -> dict[str, Any]:
    last = agent.last
    return {
        "status": "INI" if last is None else last.status.value,
        "enabled": agent.is_enabled,
        "info": "" if last is None else last.info,
    }


def _check(server: ServerView, checks: ServerChecks) -> dict[str, Any]:
    last = checks.last
    return {
        "status": server.check_status,
        "age_s": None if server.check_age_s is None else round(server.check_age_s, 3),
        "code": None if last is None else last.code,
        "duration_s": None if last is None else round(last.duration_s, 6),
        "info": "" if last is None else last.info,
        "failures": checks.failures,
        "times_down": checks.times_down,
    }


def _worker(worker: WorkerView, now: float) -> dict[str, Any]:
    return {
        "pid": worker.pid,
        "row": worker.row,
        "generation": worker.generation,
        "age_s": _age(worker.started_at, now),
        "connections": worker.connections,
    }


def _counters(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counters.items() if name not in GAUGES_SHOWN_APART}


def _age(since: float, now: float) -> float:
    return round(max(0.0, now - since), 3)
