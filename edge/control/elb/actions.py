"""What each action of the ELBv2 API does and answers, as trees with the names of AWS's model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from edge.control.elb.attributes import (
    change_group,
    change_load_balancer,
    of_group,
    of_load_balancer,
)
from edge.control.elb.targets import Asked, Target, Targets
from edge.control.elb.xml import ApiError
from edge.elb.anomaly import TargetTrend
from edge.elb.target_health import TargetHealth
from edge.settings.address import split_address
from edge.settings.elb import Elb

NAME = "edge"
PREFIX = "arn:aws:elasticloadbalancing:us-east-1:000000000000"
HEX = sha256(NAME.encode()).hexdigest()[:16]
LOAD_BALANCER_ARN = f"{PREFIX}:loadbalancer/app/{NAME}/{HEX}"
TARGET_GROUP_ARN = f"{PREFIX}:targetgroup/{NAME}/{HEX}"
PAGE_SIZE_MAX = 400
PORT_MAX = 65_535

Asking = dict[str, Any]
Answer = dict[str, Any]
Action = Callable[[Asking], Answer]


class Actions:
    """The actions by their names. `trends`: of the targets by their servers' keys."""

    def __init__(
        self,
        targets: Targets,
        trends: Callable[[], Mapping[str, TargetTrend]],
        started_at: float,
    ) -> None:
        self._targets = targets
        self._trends = trends
        self._started_at = started_at
        self.reading: dict[str, Action] = {
            "DescribeLoadBalancers": self._load_balancers,
            "DescribeLoadBalancerAttributes": self._load_balancer_attributes,
            "DescribeListeners": self._listeners,
            "DescribeTargetGroups": self._target_groups,
            "DescribeTargetGroupAttributes": self._target_group_attributes,
            "DescribeTargetHealth": self._target_health,
        }
        self.changing: dict[str, Action] = {
            "ModifyLoadBalancerAttributes": self._modify_load_balancer,
            "ModifyTargetGroupAttributes": self._modify_target_group,
            "RegisterTargets": self._register,
            "DeregisterTargets": self._deregister,
        }

    # -- reading ----------------------------------------------------------------------------------

    def _load_balancers(self, asked: Asking) -> Answer:
        if not _is_one_of(asked, "LoadBalancerArns", LOAD_BALANCER_ARN):
            raise _no_load_balancer()
        if not _is_one_of(asked, "Names", NAME):
            raise _no_load_balancer()
        elb = self._targets.elb
        own = elb.listen or ""
        zones = elb.zones or {target.zone: own for target in self._targets.all()}
        addresses = [address for address in zones.values() if address]
        return {
            "LoadBalancers": [
                {
                    "LoadBalancerArn": LOAD_BALANCER_ARN,
                    "DNSName": split_address(addresses[0])[0] if addresses else "",
                    "CreatedTime": _moment(self._started_at),
                    "LoadBalancerName": NAME,
                    "Scheme": "internet-facing",
                    "State": {"Code": "active"},
                    "Type": "application",
                    "AvailabilityZones": [_zone(zone, zones[zone]) for zone in zones],
                    "IpAddressType": "ipv4",
                }
            ]
        }

    def _load_balancer_attributes(self, asked: Asking) -> Answer:
        _needs(asked, "LoadBalancerArn", LOAD_BALANCER_ARN, _no_load_balancer)
        return {"Attributes": of_load_balancer(self._targets.current_elb())}

    def _listeners(self, asked: Asking) -> Answer:
        if asked.get("LoadBalancerArn", LOAD_BALANCER_ARN) != LOAD_BALANCER_ARN:
            raise _no_load_balancer()
        found = [_listener(port) for port in _ports(self._targets.elb)]
        arns = asked.get("ListenerArns") or None
        if arns is not None:
            found = [listener for listener in found if listener["ListenerArn"] in arns]
            if len(found) < len(arns):
                raise ApiError("ListenerNotFound", "One or more listeners not found")
        return {"Listeners": found}

    def _target_groups(self, asked: Asking) -> Answer:
        if asked.get("LoadBalancerArn", LOAD_BALANCER_ARN) != LOAD_BALANCER_ARN:
            raise _no_load_balancer()
        if not _is_one_of(asked, "TargetGroupArns", TARGET_GROUP_ARN):
            raise _no_target_group()
        if not _is_one_of(asked, "Names", NAME):
            raise _no_target_group()
        return {"TargetGroups": [_group(self._targets)]}

    def _target_group_attributes(self, asked: Asking) -> Answer:
        _needs(asked, "TargetGroupArn", TARGET_GROUP_ARN, _no_target_group)
        return {"Attributes": of_group(self._targets.current_elb())}

    def _target_health(self, asked: Asking) -> Answer:
        _needs(asked, "TargetGroupArn", TARGET_GROUP_ARN, _no_target_group)
        wanted = asked_targets(asked) if asked.get("Targets") else None
        with_anomalies = "AnomalyDetection" in (asked.get("Include") or ()) or (
            "All" in (asked.get("Include") or ())
        )
        if wanted is None:
            found = self._targets.registered()
            return {"TargetHealthDescriptions": [self._told(t, with_anomalies) for t in found]}
        told = []
        for each in wanted:
            target = self._targets.asked(each)
            told.append(_unknown(each) if target is None else self._told(target, with_anomalies))
        return {"TargetHealthDescriptions": told}

    def _told(self, target: Target, with_anomalies: bool) -> Answer:
        told = {
            "Target": {"Id": target.id, "Port": target.port, "AvailabilityZone": target.zone},
            "HealthCheckPort": str(target.port),
            "TargetHealth": _health(target.health),
        }
        if with_anomalies:
            trends = self._trends()
            trend = next((trends[key] for key in target.keys if key in trends), None)
            told["AnomalyDetection"] = {
                "Result": "normal" if trend is None else trend.result,
                "MitigationInEffect": "yes" if trend is not None and trend.is_mitigated else "no",
            }
        return told

    # -- changing ---------------------------------------------------------------------------------

    def _modify_load_balancer(self, asked: Asking) -> Answer:
        _needs(asked, "LoadBalancerArn", LOAD_BALANCER_ARN, _no_load_balancer)
        changes = _rows(asked, "Attributes")
        self._targets.change(lambda registry, elb: change_load_balancer(registry, elb, changes))
        return self._load_balancer_attributes(asked)

    def _modify_target_group(self, asked: Asking) -> Answer:
        _needs(asked, "TargetGroupArn", TARGET_GROUP_ARN, _no_target_group)
        changes = _rows(asked, "Attributes")
        self._targets.change(lambda registry, elb: change_group(registry, elb, changes))
        return self._target_group_attributes(asked)

    def _register(self, asked: Asking) -> Answer:
        _needs(asked, "TargetGroupArn", TARGET_GROUP_ARN, _no_target_group)
        self._targets.register(asked_targets(asked))
        return {}

    def _deregister(self, asked: Asking) -> Answer:
        _needs(asked, "TargetGroupArn", TARGET_GROUP_ARN, _no_target_group)
        self._targets.deregister(asked_targets(asked))
        return {}


def asked_targets(asked: Asking) -> list[Asked]:
    """The parameter `Targets`."""
    found = []
    for row in _rows(asked, "Targets"):
        name, port = row.get("Id"), row.get("Port")
        if not isinstance(name, str) or not name:
            raise ApiError("ValidationError", "A target needs an Id")
        if port is not None and not (
            port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= PORT_MAX
        ):
            raise ApiError("ValidationError", f"'{port}' is not a valid port")
        zone = row.get("AvailabilityZone")
        found.append(Asked(name, None if port is None else int(port), _known_zone(zone)))
    return found


def _known_zone(zone: str | None) -> str | None:
    """`all`: of a target outside of the load balancer's network, in any zone."""
    return None if zone in (None, "", "all") else zone


def _rows(asked: Asking, name: str) -> Sequence[Mapping[str, Any]]:
    rows = asked.get(name)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ApiError("ValidationError", f"{name} is missing or no list")
    return rows


def _needs(asked: Asking, name: str, arn: str, refusal: Callable[[], ApiError]) -> None:
    if name not in asked:
        raise ApiError("ValidationError", f"{name} is missing")
    if asked[name] != arn:
        raise refusal()


def _is_one_of(asked: Asking, name: str, value: str) -> bool:
    """Whether a list of names, if there is one, has only the one that there is."""
    given = asked.get(name) or [value]
    return all(each == value for each in given)


def _no_load_balancer() -> ApiError:
    message = f"One or more load balancers not found; the only one is {LOAD_BALANCER_ARN}"
    return ApiError("LoadBalancerNotFound", message)


def _no_target_group() -> ApiError:
    message = f"One or more target groups not found; the only one is {TARGET_GROUP_ARN}"
    return ApiError("TargetGroupNotFound", message)


def _unknown(asked: Asked) -> Answer:
    health = TargetHealth(
        "unused", "Target.NotRegistered", "Target is not registered to the target group"
    )
    target = {"Id": asked.id, "Port": asked.port}
    return {"Target": target, "TargetHealth": _health(health)}


def _health(health: TargetHealth) -> Answer:
    return {
        "State": health.state,
        "Reason": health.reason,
        "Description": health.description,
    }


def _zone(zone: str, address: str) -> Answer:
    addresses = [{"IpAddress": split_address(address)[0]}] if address else []
    return {"ZoneName": zone, "LoadBalancerAddresses": addresses}


def _ports(elb: Elb) -> list[int]:
    addresses = [*elb.zones.values()] or ([] if elb.listen is None else [elb.listen])
    return list(dict.fromkeys(split_address(address)[1] for address in addresses))


def _listener(port: int) -> Answer:
    return {
        "ListenerArn": f"{PREFIX}:listener/app/{NAME}/{HEX}/{port:016x}",
        "LoadBalancerArn": LOAD_BALANCER_ARN,
        "Port": port,
        "Protocol": "HTTP",
        "DefaultActions": [
            {
                "Type": "forward",
                "TargetGroupArn": TARGET_GROUP_ARN,
                "ForwardConfig": {
                    "TargetGroups": [{"TargetGroupArn": TARGET_GROUP_ARN, "Weight": 1}],
                    "TargetGroupStickinessConfig": {"Enabled": False},
                },
            }
        ],
    }


def _group(targets: Targets) -> Answer:
    elb = targets.current_elb()
    check = elb.health_check
    timeout_s = check.interval_s if check.timeout_s is None else check.timeout_s
    ports = [target.port for target in targets.all()]
    return {
        "TargetGroupArn": TARGET_GROUP_ARN,
        "TargetGroupName": NAME,
        "Protocol": "HTTP",
        "Port": ports[0] if ports else 80,
        "HealthCheckProtocol": "HTTP" if check.path else "TCP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckEnabled": check.enabled,
        "HealthCheckIntervalSeconds": max(1, round(check.interval_s)),
        "HealthCheckTimeoutSeconds": max(1, round(timeout_s)),
        "HealthyThresholdCount": check.rise,
        "UnhealthyThresholdCount": check.fall,
        "HealthCheckPath": check.path,
        "Matcher": {"HttpCode": check.expect} if check.path else None,
        "LoadBalancerArns": [LOAD_BALANCER_ARN],
        "TargetType": "instance",
        "ProtocolVersion": elb.target_group.protocol_version,
        "IpAddressType": "ipv4",
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
