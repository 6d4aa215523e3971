"""edge.control.elb.attributes: every attribute under AWS's name, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from edge.control.elb.attributes import (
    GROUP_NAMES,
    change_group,
    change_load_balancer,
    field_of,
    of_group,
    of_load_balancer,
)
from edge.control.elb.xml import ApiError
from edge.registry import Registry
from edge.settings.elb import Elb
from edge.settings.target_group import TargetGroup

ELB = Elb()
FAILOVER = "target_group_health.dns_failover.minimum_healthy_targets"


def group(**asked: str) -> Elb:
    rows = [{"Key": key, "Value": value} for key, value in asked.items()]
    return change_group(Registry(), ELB, rows).apply_to_elb(ELB)


def balancer(**asked: str) -> Elb:
    rows = [{"Key": key, "Value": value} for key, value in asked.items()]
    return change_load_balancer(Registry(), ELB, rows).apply_to_elb(ELB)


def test_each_name_is_a_field_of_the_settings() -> None:
    assert {field_of(name) for name in GROUP_NAMES} | {"protocol_version"} == set(
        TargetGroup.model_fields
    )


def test_defaults_as_awss_api_says_them() -> None:
    values = {row["Key"]: row["Value"] for row in of_group(ELB)}
    assert values["deregistration_delay.timeout_seconds"] == "300"
    assert values["stickiness.enabled"] == "false"
    assert values["load_balancing.algorithm.type"] == "round_robin"
    assert values["load_balancing.algorithm.anomaly_mitigation"] == "off"
    assert values[f"{FAILOVER}.count"] == "1"
    assert values[f"{FAILOVER}.percentage"] == "off"
    values = {row["Key"]: row["Value"] for row in of_load_balancer(ELB)}
    assert values["client_keep_alive.seconds"] == "3600"
    assert values["routing.http.xff_header_processing.mode"] == "append"


@pytest.mark.parametrize("name", GROUP_NAMES)
def test_what_is_described_may_be_written_back(name: str) -> None:
    values = {row["Key"]: row["Value"] for row in of_group(ELB)}
    assert group(**{name: values[name]}) == ELB


def test_changes_of_the_group() -> None:
    changed = group(
        **{
            "deregistration_delay.timeout_seconds": "0",
            f"{FAILOVER}.count": "off",
            "load_balancing.algorithm.type": "weighted_random",
            "load_balancing.algorithm.anomaly_mitigation": "on",
        }
    )
    assert changed.target_group.deregistration_delay_timeout_seconds == 0
    assert changed.target_group.leaves_dns_below(3) == 0
    assert changed.balance == "weighted_random"
    assert changed.target_group.load_balancing_algorithm_anomaly_mitigation


def test_changes_of_the_load_balancer() -> None:
    changed = balancer(
        **{
            "idle_timeout.timeout_seconds": "7",
            "routing.http.desync_mitigation_mode": "strictest",
            "routing.http.xff_header_processing.mode": "remove",
            "deletion_protection.enabled": "false",
        }
    )
    timeouts = changed.timeouts
    assert {timeouts.server_s, timeouts.client_s, timeouts.http_request_s} == {7.0}
    assert timeouts.connect_s == 10.0
    assert changed.routing_http_desync_mitigation_mode == "strictest"
    assert changed.forwarded.x_forwarded_for == "remove"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("deregistration_delay.timeout_seconds", "3601", "InvalidConfigurationRequest"),
        ("deregistration_delay.timeout_seconds", "-1", "ValidationError"),
        ("slow_start.duration_seconds", "20", "InvalidConfigurationRequest"),
        ("stickiness.enabled", "yes", "ValidationError"),
        ("stickiness.type", "source_ip", "InvalidConfigurationRequest"),
        ("load_balancing.algorithm.type", "source", "ValidationError"),
        ("load_balancing.algorithm.anomaly_mitigation", "on", "InvalidConfigurationRequest"),
        ("load_balancing.cross_zone.enabled", "false", "InvalidConfigurationRequest"),
        ("no.such", "1", "ValidationError"),
    ],
)
def test_what_a_group_refuses(name: str, value: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        group(**{name: value})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idle_timeout.timeout_seconds", "4001"),
        ("client_keep_alive.seconds", "59"),
        ("routing.http2.enabled", "true"),
        ("routing.http.xff_header_processing.mode", "line"),
        ("no.such", "1"),
    ],
)
def test_what_a_load_balancer_refuses(name: str, value: str) -> None:
    with pytest.raises(ApiError):
        balancer(**{name: value})


@pytest.mark.parametrize("rows", [[{"Value": "1"}], ["x"], [{}]])
def test_rows_without_a_key(rows: Any) -> None:
    with pytest.raises(ApiError):
        change_group(Registry(), ELB, rows)
