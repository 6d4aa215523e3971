"""From the plan to what the health runner works on: one `CheckSpec` per server that has a check."""

from __future__ import annotations

from functools import partial

from edge.control.view import usable_servers
from edge.errors import Bug
from edge.health.checks import (
    HttpProbe,
    Probe,
    TcpProbe,
    TierProbe,
    build_request,
)
from edge.health.machine import Thresholds
from edge.health.observed import OnError
from edge.health.runner import CheckSpec
from edge.job import Job
from edge.plan import CheckPlan, Plan
from edge.settings import HealthCheck
from edge.settings.address import split_address
from edge.settings.haproxy import Haproxy
from edge.settings.health_check import status_ranges
from ext.arena import Arena


def check_specs(plan: Plan, job: Job, arena: Arena) -> list[CheckSpec]:
    """Every check of the plan, ready to run."""
    slots = job.slots["servers"]
    observers = {
        server.key: OnError(tier.settings.on_error)
        for tier in plan.tiers
        if isinstance(tier.settings, Haproxy) and tier.settings.observe is not None
        for server in tier.servers
    }
    return [
        CheckSpec(
            key=check.key,
            slot=slots[check.key],
            probe=_probe(check, plan, slots, arena),
            timeout_s=_or(check.health_check.timeout_s, check.health_check.interval_s),
            thresholds=_thresholds(check.health_check),
            on_error=observers.get(check.key),
        )
        for check in plan.checks
        if check.health_check.enabled
    ]


def unchecked_slots(plan: Plan, job: Job) -> list[int]:
    """The servers nobody checks, which therefore are always UP."""
    checked = {check.key for check in plan.checks if check.health_check.enabled}
    return [
        job.slots["servers"][server.key]
        for tier in plan.tiers
        for server in tier.servers
        if server.key not in checked
    ]


def _thresholds(settings: HealthCheck) -> Thresholds:
    interval_s = settings.interval_s
    return Thresholds(
        rise=settings.rise,
        fall=settings.fall,
        interval_s=interval_s,
        fast_interval_s=_or(settings.fast_interval_s, interval_s),
        down_interval_s=_or(settings.down_interval_s, interval_s),
    )


def _probe(check: CheckPlan, plan: Plan, slots: dict[str, int], arena: Arena) -> Probe:
    if check.kind == "tier":
        behind = [tier for tier in plan.tiers if tier.name == check.next_tier]
        if len(behind) != 1:
            raise Bug(f"check {check.key} is for the tier {check.next_tier}, which is not planned")
        keys = [server.key for server in behind[0].servers]
        return TierProbe(partial(usable_servers, arena, slots, keys))
    if check.address is None:
        raise Bug(f"check {check.key} of kind {check.kind} has no address")
    host, port = split_address(check.address)
    settings = check.health_check
    if settings.path is None:
        return TcpProbe(host, port)
    request = build_request(settings.method, settings.path, settings.host)
    return HttpProbe(host, port, request, status_ranges(settings.expect))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
