"""Attributes of the ELBv2 API and the settings that they are: reading, and changing at run time.

The name of most is the settings' own with dots for underscores; the few that the file has under
another name, since every tier has them, stand in `ELSEWHERE`. Values travel as text: `true`,
`off`, seconds. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from edge.control.elb.xml import ApiError
from edge.registry import Registry
from edge.settings.elb import Elb
from edge.settings.elb_conflicts import unfit_elb
from edge.settings.target_group import TargetGroup

# Words of the API for which the settings have 0, or true and false.
OFF_IS_ZERO = ("minimum_healthy_targets",)
ON_OFF = frozenset({"load_balancing.algorithm.anomaly_mitigation"})
# AWS's name: the section and field of the settings.
ELSEWHERE = {
    "idle_timeout.timeout_seconds": ("timeouts", "server_s"),
    "client_keep_alive.seconds": ("timeouts", "http_keep_alive_s"),
    "routing.http.xff_header_processing.mode": ("forwarded", "x_forwarded_for"),
}
ALGORITHM = "load_balancing.algorithm.type"
ALGORITHMS = ("round_robin", "least_outstanding_requests", "weighted_random")
IDLE_TOO = ("client_s", "http_request_s", "tunnel_s")  # one idle timeout rules them all
LOAD_BALANCER = (
    "routing_http_desync_mitigation_mode",
    "routing_http_drop_invalid_header_fields_enabled",
    "routing_http_preserve_host_header_enabled",
)
SECONDS = {"idle_timeout.timeout_seconds": (1, 4_000), "client_keep_alive.seconds": (60, 604_800)}
# What an ALB has and edge has not, as it is without.
FIXED_LOAD_BALANCER = {
    "deletion_protection.enabled": "false",
    "access_logs.s3.enabled": "false",
    "connection_logs.s3.enabled": "false",
    "routing.http2.enabled": "false",
    "routing.http.xff_client_port.enabled": "false",
    "waf.fail_open.enabled": "false",
    "load_balancing.cross_zone.enabled": "true",
}
# In their field names AWS's dots and underscores are one: this says which is which.
GROUP_NAMES = (
    "deregistration_delay.timeout_seconds",
    "slow_start.duration_seconds",
    "load_balancing.cross_zone.enabled",
    "load_balancing.algorithm.anomaly_mitigation",
    "stickiness.enabled",
    "stickiness.type",
    "stickiness.lb_cookie.duration_seconds",
    "stickiness.app_cookie.cookie_name",
    "stickiness.app_cookie.duration_seconds",
    "target_group_health.dns_failover.minimum_healthy_targets.count",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
)
LOAD_BALANCER_NAMES = {
    "routing.http.desync_mitigation_mode": LOAD_BALANCER[0],
    "routing.http.drop_invalid_header_fields.enabled": LOAD_BALANCER[1],
    "routing.http.preserve_host_header.enabled": LOAD_BALANCER[2],
}

Pair = dict[str, str]


def of_group(elb: Elb) -> list[Pair]:
    """What DescribeTargetGroupAttributes answers."""
    group = elb.target_group
    values = {name: text_of(name, getattr(group, field_of(name))) for name in GROUP_NAMES}
    values[ALGORITHM] = elb.balance
    return pairs(values)


def of_load_balancer(elb: Elb) -> list[Pair]:
    """What DescribeLoadBalancerAttributes answers."""
    values = dict(FIXED_LOAD_BALANCER)
    for name, (section, field) in ELSEWHERE.items():
        value = getattr(getattr(elb, section), field)
        values[name] = str(round(value)) if isinstance(value, float) else str(value)
    for name, field in LOAD_BALANCER_NAMES.items():
        values[name] = text_of(name, getattr(elb, field))
    return pairs(values)


def pairs(values: Mapping[str, str]) -> list[Pair]:
    return [{"Key": name, "Value": values[name]} for name in sorted(values)]


def field_of(name: str) -> str:
    return name.replace(".", "_")


def text_of(name: str, value: Any) -> str:
    if name in ON_OFF:
        return "on" if value else "off"
    if isinstance(value, bool):
        return "true" if value else "false"
    if any(word in name for word in OFF_IS_ZERO) and value == 0:
        return "off"
    return "" if value is None else str(value)


def change_group(registry: Registry, elb: Elb, asked: Sequence[Mapping[str, str]]) -> Registry:
    """The registry with attributes of the target group changed. `elb`: as it is now."""
    group = dict(registry.target_group)
    own = dict(registry.elb)
    for name, text in _asked(asked):
        if name == ALGORITHM:
            if text not in ALGORITHMS:
                raise _invalid(name, text)
            own["balance"] = text
        elif name in GROUP_NAMES:
            group[field_of(name)] = value_of(name, text, getattr(elb.target_group, field_of(name)))
        else:
            raise ApiError(
                "ValidationError", f"Target group attribute key '{name}' is not recognized"
            )
    return _checked(registry, elb, own, group)


def change_load_balancer(
    registry: Registry, elb: Elb, asked: Sequence[Mapping[str, str]]
) -> Registry:
    """The registry with attributes of the load balancer changed."""
    own = dict(registry.elb)
    for name, text in _asked(asked):
        if name in LOAD_BALANCER_NAMES:
            field = LOAD_BALANCER_NAMES[name]
            own[field] = value_of(name, text, getattr(elb, field))
        elif name in SECONDS:
            low, high = SECONDS[name]
            if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
                raise _invalid(name, text)
            section, field = ELSEWHERE[name]
            own[f"{section}.{field}"] = float(text)
            if name == "idle_timeout.timeout_seconds":
                own |= {f"{section}.{each}": float(text) for each in IDLE_TOO}
        elif name in ELSEWHERE:
            if text not in ("append", "preserve", "remove"):
                raise _invalid(name, text)
            own[".".join(ELSEWHERE[name])] = text
        elif FIXED_LOAD_BALANCER.get(name) != text:
            why = "cannot be changed here" if name in FIXED_LOAD_BALANCER else "is not recognized"
            raise ApiError("ValidationError", f"Load balancer attribute key '{name}' {why}")
    return _checked(registry, elb, own, dict(registry.target_group))


def value_of(name: str, text: str, now: Any) -> Any:
    """The settings' value of an API's; `now` has its type."""
    if name in ON_OFF:
        if text not in ("on", "off"):
            raise _invalid(name, text)
        return text == "on"
    if isinstance(now, bool):
        if text not in ("true", "false"):
            raise _invalid(name, text)
        return text == "true"
    if isinstance(now, int):
        if text == "off" and any(word in name for word in OFF_IS_ZERO):
            return 0
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise _invalid(name, text)
        return int(text)
    return text or None


def _asked(asked: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    try:
        return [(row["Key"], row.get("Value", "")) for row in asked]
    except (KeyError, TypeError, AttributeError):
        raise ApiError("ValidationError", "Attributes need a Key and a Value") from None


def _checked(
    registry: Registry, elb: Elb, own: Mapping[str, Any], group: Mapping[str, Any]
) -> Registry:
    made = Registry(
        registry.nodes, registry.removed, registry.deregistered, elb=own, target_group=group
    )
    after = made.apply_to_elb(elb)
    values = after.target_group.model_dump()
    try:
        TargetGroup.model_validate(values)
        Elb.model_validate(after.model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ApiError("InvalidConfigurationRequest", message) from None
    conflicts = [
        f"{path[-1]} {text}" for path, text in unfit_elb({**after.model_dump(), "listen": None})
    ]
    if conflicts:
        raise ApiError("InvalidConfigurationRequest", conflicts[0])
    return made


def _invalid(name: str, text: str) -> ApiError:
    return ApiError("ValidationError", f"'{text}' is not a valid value for '{name}'")
