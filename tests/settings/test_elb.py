"""edge.settings.elb and target_group: bounds, minimums, and what excludes what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge.settings import load
from edge.settings.conflicts import find_conflicts
from edge.settings.document import path_text
from edge.settings.elb import Elb
from edge.settings.target_group import TargetGroup

NODE = {"name": "a", "web": "127.0.0.1:1"}
LISTEN = {"listen": "127.0.0.1:8081"}
ZONES = {"zones": {"a": "127.0.0.1:8081", "b": "127.0.0.1:8082"}}
ROUTING = "target_group_health_unhealthy_state_routing_minimum_healthy_targets"


@pytest.mark.parametrize(
    ("attributes", "registered", "minimum"),
    [
        ({}, 3, 1),
        ({f"{ROUTING}_count": 2}, 3, 2),
        ({f"{ROUTING}_percentage": 50}, 3, 2),
        ({f"{ROUTING}_percentage": 50}, 4, 2),
        ({f"{ROUTING}_percentage": 100}, 3, 3),
        ({f"{ROUTING}_count": 2, f"{ROUTING}_percentage": 30}, 3, 2),
        ({f"{ROUTING}_percentage": 50}, 0, 1),
    ],
)
def test_minimums(attributes: dict[str, int], registered: int, minimum: int) -> None:
    group = TargetGroup.model_validate(attributes)
    assert group.routes_to_all_below(registered) == minimum


@pytest.mark.parametrize("seconds", [0, 30, 900])
def test_slow_start(seconds: int) -> None:
    assert TargetGroup(slow_start_duration_seconds=seconds).slow_start_duration_seconds == seconds


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slow_start_duration_seconds", 29),
        ("slow_start_duration_seconds", 901),
        ("slow_start_duration_seconds", True),
        ("deregistration_delay_timeout_seconds", 3601),
        ("stickiness_lb_cookie_duration_seconds", 0),
        ("stickiness_app_cookie_cookie_name", "AWSALB"),
        ("stickiness_app_cookie_cookie_name", "AWSALBAPP-0"),
        ("stickiness_app_cookie_cookie_name", "a b"),
        (f"{ROUTING}_count", 0),
    ],
)
def test_out_of_bounds(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        TargetGroup(**{key: value})


def conflicts(elb: dict[str, Any]) -> list[tuple[str, str]]:
    values = {"elb": elb, "nodes": [NODE]}
    return [(path_text(path), text) for path, text in find_conflicts(values)]


@pytest.mark.parametrize(
    "elb",
    [
        LISTEN,
        ZONES,
        ZONES | {"target_group": {"load_balancing_cross_zone_enabled": False}},
        LISTEN | {"target_group": {"slow_start_duration_seconds": 30}},
        LISTEN
        | {
            "balance": "weighted_random",
            "target_group": {"load_balancing_algorithm_anomaly_mitigation": True},
        },
    ],
)
def test_what_fits(elb: dict[str, Any]) -> None:
    assert conflicts(elb) == []


@pytest.mark.parametrize(
    ("elb", "key", "words"),
    [
        (ZONES | {"listen": "127.0.0.1:80"}, "elb.listen", "one address per zone"),
        ({"zones": {"a": "127.0.0.1:1"}}, "nodes[0].web", "already the address of elb.zones.a"),
        (
            LISTEN | {"target_group": {"load_balancing_cross_zone_enabled": False}},
            "elb.target_group.load_balancing_cross_zone_enabled",
            "needs `elb.zones`",
        ),
        (
            ZONES
            | {
                "target_group": {
                    "load_balancing_cross_zone_enabled": False,
                    "stickiness_enabled": True,
                }
            },
            "elb.target_group.load_balancing_cross_zone_enabled",
            "excludes stickiness",
        ),
        (
            LISTEN
            | {
                "balance": "least_outstanding_requests",
                "target_group": {"slow_start_duration_seconds": 30},
            },
            "elb.target_group.slow_start_duration_seconds",
            "needs `balance: round_robin`",
        ),
        (
            LISTEN | {"target_group": {"load_balancing_algorithm_anomaly_mitigation": True}},
            "elb.target_group.load_balancing_algorithm_anomaly_mitigation",
            "needs `balance: weighted_random`",
        ),
        (
            LISTEN
            | {"target_group": {"stickiness_enabled": True, "stickiness_type": "app_cookie"}},
            "elb.target_group.stickiness_type",
            "needs `stickiness_app_cookie_cookie_name`",
        ),
    ],
)
def test_what_does_not(elb: dict[str, Any], key: str, words: str) -> None:
    found = conflicts(elb)
    assert [path for path, _ in found] == [key]
    assert words in found[0][1]


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(
        "elb: {listen: 127.0.0.1:1, stickiness_secret: too short}\n"
        "nodes: [{name: a, web: 127.0.0.1:2}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert "too short" not in str(caught.value)
    assert "s3cret" not in repr(Elb(stickiness_secret="s3cret-s3cret-s3cret"))
