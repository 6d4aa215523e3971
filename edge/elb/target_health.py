"""The state of a target with its reason, in the words of the ELBv2 API.

A load balancer knows more about a target than its checks: whether it is registered, whether its
zone is enabled, whether it is on its way out. The first of these that holds decides:

    not registered              unused       Target.NotRegistered
    zone not enabled            unused       Target.NotInUse
    being deregistered          draining     Target.DeregistrationInProgress
    stopped by an operator      unused       Target.InvalidState
    no generation serves it yet initial      Elb.RegistrationInProgress
    nothing checks it           unavailable  Target.HealthCheckDisabled
    not checked yet             initial      Elb.InitialHealthChecking
    up                          healthy
    down                        unhealthy    Target.ResponseCodeMismatch, Target.Timeout,
                                             Target.FailedHealthChecks

Pure. Codes of checks are HAProxy's (`L7STS` ...), as the arena keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMED_OUT = frozenset({"L4TOUT", "L6TOUT", "L7TOUT"})
STATES = ("initial", "healthy", "unhealthy", "draining", "unused", "unavailable")


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """`reason` and `description` are None for a healthy target, as in the API."""

    state: str
    reason: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a target. `code`: of the last check's answer; None: there was none."""

    is_registered: bool = True
    is_zone_enabled: bool = True
    is_deregistering: bool = False
    is_stopped: bool = False
    is_served: bool = True
    has_checks: bool = True
    is_checked: bool = True
    is_up: bool = True
    check_status: str = ""
    code: int | None = None


HEALTHY = TargetHealth("healthy")


def target_health(facts: Facts) -> TargetHealth:
    """The state of a target, by the table above."""
    if not facts.is_registered:
        return TargetHealth(
            "unused", "Target.NotRegistered", "Target is not registered to the target group"
        )
    if not facts.is_zone_enabled:
        return TargetHealth(
            "unused",
            "Target.NotInUse",
            "Target is in an Availability Zone that is not enabled for the load balancer",
        )
    if facts.is_deregistering:
        return TargetHealth(
            "draining",
            "Target.DeregistrationInProgress",
            "Target deregistration is in progress",
        )
    if facts.is_stopped:
        return TargetHealth("unused", "Target.InvalidState", "Target is in the stopped state")
    if not facts.is_served:
        return TargetHealth(
            "initial", "Elb.RegistrationInProgress", "Target registration is in progress"
        )
    if not facts.has_checks:
        return TargetHealth(
            "unavailable", "Target.HealthCheckDisabled", "Health checks are not enabled"
        )
    if facts.is_up:
        # Up and not checked: a worker of an older generation knows it as healthy.
        return HEALTHY
    if not facts.is_checked:
        return TargetHealth(
            "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
        )
    return _unhealthy(facts)


def _unhealthy(facts: Facts) -> TargetHealth:
    if facts.check_status == "L7STS":
        codes = "" if facts.code is None else f" with these codes: [{facts.code}]"
        return TargetHealth(
            "unhealthy", "Target.ResponseCodeMismatch", f"Health checks failed{codes}"
        )
    if facts.check_status in TIMED_OUT:
        return TargetHealth("unhealthy", "Target.Timeout", "Request timed out")
    if facts.check_status == "SOCKERR":
        return TargetHealth(
            "unhealthy", "Elb.InternalError", "Health checks failed due to an internal error"
        )
    return TargetHealth("unhealthy", "Target.FailedHealthChecks", "Health checks failed")
