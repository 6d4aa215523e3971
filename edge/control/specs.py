"""From the plan to what the health runner works on: one `CheckSpec` per server that has a check."""

from __future__ import annotations

from collections.abc import Callable
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
from edge.health.runner import CheckSpec
from edge.job import Job
from edge.layer4 import PROXY_VERSIONS
from edge.plan import CheckPlan, Plan, TierPlan
from edge.settings import HealthCheck
from edge.settings.address import split_address
from edge.settings.elb import Elb
from edge.settings.health_check import status_ranges
from ext.arena import Arena


def check_specs(plan: Plan, job: Job, arena: Arena) -> list[CheckSpec]:
    """Every check of the plan, ready to run."""
    slots = job.slots["servers"]
    return [
        CheckSpec(
            key=check.key,
            slot=slots[check.key],
            probe=_probe(check, plan, slots, arena),
            timeout_s=_or(check.health_check.timeout_s, check.health_check.interval_s),
            thresholds=_thresholds(check.health_check, begins_up=check.starts_up),
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


def _thresholds(settings: HealthCheck, *, begins_up: bool) -> Thresholds:
    interval_s = settings.interval_s
    return Thresholds(
        rise=settings.rise,
        fall=settings.fall,
        interval_s=interval_s,
        fast_interval_s=_or(settings.fast_interval_s, interval_s),
        down_interval_s=_or(settings.down_interval_s, interval_s),
        starts_up=begins_up,
    )


def _probe(check: CheckPlan, plan: Plan, slots: dict[str, int], arena: Arena) -> Probe:
    if check.kind == "tier":
        behind = [tier for tier in plan.tiers if tier.name == check.next_tier]
        if len(behind) != 1:
            raise Bug(f"check {check.key} is for the tier {check.next_tier}, which is not planned")
        keys = [server.key for server in behind[0].servers]
        look = partial(usable_servers, arena, slots, keys)
        return TierProbe(partial(in_dns, look, behind[0]))
    if check.address is None:
        raise Bug(f"check {check.key} of kind {check.kind} has no address")
    host, port = split_address(check.address)
    settings = check.health_check
    send_proxy = PROXY_VERSIONS[check.send_proxy]
    if settings.path is None:
        return TcpProbe(host, port, send_proxy)
    request = build_request(settings.method, settings.path, settings.host)
    return HttpProbe(host, port, request, status_ranges(settings.expect), send_proxy)


def in_dns(usable_servers: Callable[[], int], tier: TierPlan) -> int:
    """The usable servers; of an elb none where they are so few that its zone leaves DNS, and one
    where it never does."""
    usable = usable_servers()
    if isinstance(tier.settings, Elb):
        minimum = tier.settings.target_group.leaves_dns_below(len(tier.servers))
        return max(usable, 1) if usable >= minimum else 0
    return usable


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
