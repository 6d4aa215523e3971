"""AWS's own client at the ELBv2 API: targets come, go and are watched, and requests follow them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import run_edge
from tests.origin import Origin, Request, Stall, answer
from tests.wire.stand import Stand, run_stand, with_ports

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

pytestmark = pytest.mark.wire

CONFIG = """
elb:
  listen: 127.0.0.1:$port
  health_check: {interval: 100ms}
  target_group: {deregistration_delay_timeout_seconds: 0}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
# and one that the file does not name, on port $spare
"""
TOKEN = "open-sesame"
QUICK = {"Delay": 1, "MaxAttempts": 20}


def client_of(admin: str, secret: str = "none") -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return boto3.client(
            "elbv2",
            endpoint_url=f"http://{admin}",
            region_name="eu-central-1",
            aws_access_key_id="edge",
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 5}),  # a generation may be handed over
        )


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path) as made:
        yield made


def group_of(elb: Any) -> str:
    return str(elb.describe_target_groups()["TargetGroups"][0]["TargetGroupArn"])


def states(elb: Any, **asked: Any) -> dict[str, tuple[str, str | None]]:
    told = elb.describe_target_health(TargetGroupArn=group_of(elb), **asked)
    return {
        row["Target"]["Id"]: (row["TargetHealth"]["State"], row["TargetHealth"].get("Reason"))
        for row in told["TargetHealthDescriptions"]
    }


@contextmanager
def nodes(fresh: Stand) -> Iterator[None]:
    """Both nodes answer with their names."""
    with (
        fresh.node(name="node1", default=[answer(b"node1")]),
        fresh.node(name="node2", default=[answer(b"node2")]),
    ):
        yield


def who_answers(fresh: Stand, requests: int = 12) -> set[bytes]:
    with fresh.client() as client:
        return {client.get().body for _ in range(requests)}


def test_states_follow_the_checks(fresh: Stand) -> None:
    elb = client_of(fresh.edge.admin)
    with nodes(fresh):
        elb.get_waiter("target_in_service").wait(
            TargetGroupArn=group_of(elb), WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )
        assert states(elb) == {"node1": ("healthy", None), "node2": ("healthy", None)}
    fresh.edge.wait_status(
        lambda status: [s["status"] for s in status["tiers"][0]["servers"]] == ["DOWN", "DOWN"]
    )
    reason = "Target.FailedHealthChecks"
    assert states(elb) == {"node1": ("unhealthy", reason), "node2": ("unhealthy", reason)}


def test_a_target_is_deregistered_and_registered_again(fresh: Stand) -> None:
    elb = client_of(fresh.edge.admin)
    group = group_of(elb)
    with nodes(fresh):
        elb.get_waiter("target_in_service").wait(TargetGroupArn=group, WaiterConfig=QUICK)
        elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "node2"}])
        assert who_answers(fresh) == {b"node1"}, "at once, without a new generation"
        elb.get_waiter("target_deregistered").wait(
            TargetGroupArn=group, Targets=[{"Id": "node2"}], WaiterConfig=QUICK
        )
        assert states(elb) == {"node1": ("healthy", None)}
        gone = states(elb, Targets=[{"Id": "node2"}])
        assert gone == {"node2": ("unused", "Target.NotRegistered")}
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "node2"}])
        assert who_answers(fresh) == {b"node1", b"node2"}
        assert fresh.edge.status()["generation"] == 1


def test_a_draining_target_says_so(fresh: Stand) -> None:
    elb = client_of(fresh.edge.admin)
    group = group_of(elb)
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": "3600"}
    told = elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[attribute])
    assert attribute in told["Attributes"]
    fresh.edge.wait_status(lambda status: status["generation"] == 2)
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "node1"}])
    draining = ("draining", "Target.DeregistrationInProgress")
    assert states(elb)["node1"] == draining
    fresh.edge.reload()
    fresh.edge.wait_status(lambda status: status["generation"] == 3)
    assert states(elb)["node1"] == draining
    assert attribute in elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]


def test_what_still_runs_at_the_end_of_the_delay_is_cut(fresh: Stand) -> None:
    """AWS: the connection is closed, and its client gets 502."""
    elb = client_of(fresh.edge.admin)
    group = group_of(elb)
    with fresh.node(name="node1", default=[Stall()]) as stalls, fresh.client() as client:
        elb.get_waiter("target_in_service").wait(
            TargetGroupArn=group, Targets=[{"Id": "node1"}], WaiterConfig=QUICK
        )
        client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        stalls.wait_requests(1)
        elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "node1"}])
        assert client.read_response().status == 502
        assert len(stalls.requests) == 1, "it is not sent again"


def test_a_target_that_comes_back_starts_slowly(tmp_path: Path) -> None:
    """Only while another one is healthy and not in slow start itself."""
    slow = CONFIG.replace(
        "deregistration_delay_timeout_seconds: 0", "slow_start_duration_seconds: 900"
    )
    with run_stand(slow, tmp_path) as stand:
        elb = client_of(stand.edge.admin)
        with stand.node(name="node1"), stand.node(name="node2"):
            elb.get_waiter("target_in_service").wait(
                TargetGroupArn=group_of(elb), WaiterConfig=QUICK
            )
        down = ["DOWN", "DOWN"]
        stand.edge.wait_status(lambda status: statuses(status) == down)
        with stand.node(name="node1") as first:
            stand.edge.wait_status(lambda status: statuses(status)[0].startswith("UP"))
            with stand.node(name="node2") as second:
                stand.edge.wait_status(lambda status: statuses(status)[1].startswith("UP"))
                first.requests.clear()
                second.requests.clear()
                who_answers(stand, 64)
                shares = [len(asked(node)) for node in (first, second)]
    assert sum(shares) == 64
    assert 1 <= shares[1] <= 8, "a sixteenth of the other's at first"


def statuses(status: Any) -> list[str]:
    return [server["status"] for server in status["tiers"][0]["servers"]]


def asked(node: Origin) -> list[Request]:
    """Without the health checks."""
    return [request for request in node.requests if request.values(b"host") == [b"shop.example"]]


def test_a_new_target_gets_requests_and_stays_over_reloads(fresh: Stand) -> None:
    with nodes(fresh), fresh.node(name="spare", default=[answer(b"spare")]):
        elb = client_of(fresh.edge.admin)
        group = group_of(elb)
        new = {"Id": "127.0.0.1", "Port": fresh.ports["spare"]}
        assert states(elb, Targets=[new]) == {"127.0.0.1": ("unused", "Target.NotRegistered")}
        elb.register_targets(TargetGroupArn=group, Targets=[new])
        elb.get_waiter("target_in_service").wait(
            TargetGroupArn=group, Targets=[new], WaiterConfig=QUICK
        )
        assert b"spare" in who_answers(fresh)
        fresh.edge.reload()
        assert b"spare" in who_answers(fresh)
        elb.deregister_targets(TargetGroupArn=group, Targets=[new])
        elb.get_waiter("target_deregistered").wait(
            TargetGroupArn=group, Targets=[new], WaiterConfig=QUICK
        )
        assert b"spare" not in who_answers(fresh)
        fresh.edge.reload()
        fresh.edge.wait_status(
            lambda status: [s["name"] for s in status["tiers"][0]["servers"]] == ["node1", "node2"]
        )


def test_the_load_balancer_describes_itself(fresh: Stand) -> None:
    elb = client_of(fresh.edge.admin)
    found = elb.describe_load_balancers(Names=["edge"])["LoadBalancers"]
    assert [row["State"]["Code"] for row in found] == ["active"]
    arn = found[0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]
    assert [row["Port"] for row in listeners] == [fresh.ports["port"]]
    group = elb.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"][0]
    assert (group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]) == (5, 2)
    attributes = elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    values = {row["Key"]: row["Value"] for row in attributes}
    assert values["idle_timeout.timeout_seconds"] == "60"
    assert values["routing.http.desync_mitigation_mode"] == "defensive"
    told = elb.describe_target_health(
        TargetGroupArn=group["TargetGroupArn"], Include=["AnomalyDetection"]
    )
    anomalies = [row["AnomalyDetection"] for row in told["TargetHealthDescriptions"]]
    assert anomalies == [{"Result": "normal", "MitigationInEffect": "no"}] * 2


@pytest.mark.parametrize(
    ("call", "asked", "code"),
    [
        ("describe_target_health", {"TargetGroupArn": "arn:aws:x"}, "TargetGroupNotFound"),
        ("describe_load_balancers", {"Names": ["other"]}, "LoadBalancerNotFound"),
        ("register_targets", {"Targets": [{"Id": "no-address", "Port": 80}]}, "InvalidTarget"),
        ("register_targets", {"Targets": [{"Id": "192.0.2.9"}]}, "ValidationError"),
        (
            "modify_target_group_attributes",
            {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "4000"}]},
            "InvalidConfigurationRequest",
        ),
        (
            "modify_target_group_attributes",
            {"Attributes": [{"Key": "no.such.key", "Value": "1"}]},
            "ValidationError",
        ),
        ("delete_target_group", {}, "InvalidAction"),
    ],
)
def test_what_is_refused_has_awss_code(
    fresh: Stand, call: str, asked: dict[str, Any], code: str
) -> None:
    elb = client_of(fresh.edge.admin)
    if call in ("register_targets", "modify_target_group_attributes", "delete_target_group"):
        asked = {"TargetGroupArn": group_of(elb), **asked}
    with pytest.raises(ClientError) as caught:
        getattr(elb, call)(**asked)
    assert caught.value.response["Error"]["Code"] == code


def test_only_who_signs_with_the_token_may_change(tmp_path: Path) -> None:
    config = f"{CONFIG}admin: {{listen: 127.0.0.1:$admin, token: {TOKEN}}}\n"
    with with_ports(config) as (text, ports), run_edge(text, tmp_path, workers=1):
        admin = f"127.0.0.1:{ports['admin']}"
        stranger, friend = client_of(admin), client_of(admin, TOKEN)
        asked = {"TargetGroupArn": group_of(stranger), "Targets": [{"Id": "node1"}]}
        with pytest.raises(ClientError) as caught:
            stranger.deregister_targets(**asked)
        assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
        assert states(stranger)["node1"][0] != "draining"
        friend.deregister_targets(**asked)
        assert "node1" not in states(stranger)
