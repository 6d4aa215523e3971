"""From the plan to what the health runner works on: one `CheckSpec` per server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from edge.check_rules import (
    Connect,
    Expect,
    Rule,
    Send,
    What,
    build_request,
    parse_http_rules,
    parse_tcp_rules,
)
from edge.control.view import usable_servers
from edge.errors import Bug
from edge.health.agent import AgentProbe
from edge.health.checks import Probe, TcpProbe, TierProbe
from edge.health.machine import Thresholds
from edge.health.observed import OnError
from edge.health.sequence import SequenceProbe
from edge.health.server import AgentSpec, CheckSpec
from edge.health.slowstart import SlowStart
from edge.job import Job
from edge.layer4 import PROXY_VERSIONS
from edge.plan import CheckPlan, Plan, TierPlan, backend_name
from edge.settings import HealthCheck
from edge.settings.address import split_address
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.health_check import status_ranges
from ext.arena import Arena
from ext.limits import AdminState, ServerState


def check_specs(plan: Plan, job: Job, arena: Arena) -> list[CheckSpec]:
    """Every server of the plan with what is asked of it, ready to run."""
    slots = job.slots["servers"]
    tiers = {server.key: tier for tier in plan.tiers for server in tier.servers}
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
            probe=_probe(check, plan, slots, arena) if check.health_check.enabled else None,
            timeout_s=_or(check.health_check.timeout_s, check.health_check.interval_s),
            thresholds=_thresholds(check.health_check, begins_up=check.starts_up),
            agent=_agent(check),
            slow_start=_slow_start(tiers[check.key], check.key, slots, arena),
            says_results=check.health_check.log_health_checks,
            on_error=observers.get(check.key),
        )
        for check in plan.checks
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


def _slow_start(
    tier: TierPlan, key: str, slots: Mapping[str, int], arena: Arena
) -> SlowStart | None:
    settings = tier.settings
    if isinstance(settings, Haproxy) and settings.slowstart_s is not None:
        return SlowStart(settings.slowstart_s)
    if isinstance(settings, Elb) and settings.target_group.slow_start_duration_seconds:
        peers = [slots[server.key] for server in tier.servers if server.key != key]
        return SlowStart(
            settings.target_group.slow_start_duration_seconds,
            partial(has_settled, arena, peers),
        )
    return None


def has_settled(arena: Arena, slots: Sequence[int]) -> bool:
    """Is one of them healthy and not in slow start itself? AWS: only then another one begins it."""
    views = (arena.server(slot) for slot in slots)
    return any(
        view["state"] == ServerState.UP and view["admin"] == AdminState.READY and not view["ramp"]
        for view in views
    )


def _agent(check: CheckPlan) -> AgentSpec | None:
    settings = check.health_check.agent
    if settings is None or check.address is None:
        return None
    host = settings.host or split_address(check.address)[0]
    port = check.agent_port or settings.port
    return AgentSpec(AgentProbe(host, port, settings.send.encode()), settings.interval_s)


def _probe(check: CheckPlan, plan: Plan, slots: dict[str, int], arena: Arena) -> Probe:
    if check.kind == "tier":
        behind = [tier for tier in plan.tiers if tier.name == default_backend(plan, check)]
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
    if settings.tcp_check:
        return SequenceProbe(
            host, port, parse_tcp_rules(settings.tcp_check), is_http=False, send_proxy=send_proxy
        )
    if check.kind == "tcp":
        return TcpProbe(host, port, send_proxy)
    is_running = partial(_is_running, arena, slots[check.key])
    return SequenceProbe(
        host,
        port,
        http_rules(settings),
        is_http=True,
        send_proxy=send_proxy,
        is_running=is_running if settings.disable_on_404 else None,
    )


def http_rules(settings: HealthCheck) -> tuple[Rule, ...]:
    """The rules of the file, or those that the simple keys stand for."""
    headers = [] if settings.host is None else [("Host", settings.host)]
    request = build_request(settings.method, settings.path or "/", "HTTP/1.0", headers)
    send = Send(request)
    expect = Expect(What.STATUS, codes=status_ranges(settings.expect))
    if not settings.http_check:
        return (Connect(is_implicit=True), send, expect)
    rules = parse_http_rules(settings.http_check, send)
    if any(line.split()[:1] == ["expect"] for line in settings.http_check):
        return rules
    return (*rules[:-1], expect)  # with the key's codes in place of HAProxy's


def _is_running(arena: Arena, slot: int) -> bool:
    return arena.server(slot)["state"] != ServerState.DOWN


def default_backend(plan: Plan, check: CheckPlan) -> str | None:
    """The tier whose servers say whether the HAProxy that is checked can serve."""
    for tier in plan.tiers:
        if tier.name == check.next_tier and isinstance(tier.settings, Haproxy):
            own_name = tier.settings.default_backend
            if own_name not in (None, "haproxy"):
                return backend_name(str(own_name), tier.name)
    return check.next_tier


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
