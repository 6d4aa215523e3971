"""What must hold between the keys of `elb`: AWS refuses the same combinations.

Of plain values, as `conflicts.py` says.
"""

from collections.abc import Iterator, Mapping

from edge.settings.document import KeyPath

Conflict = tuple[KeyPath, str]

GROUP = ("elb", "target_group")


def unfit_elb(elb: Mapping[str, object]) -> Iterator[Conflict]:
    """Every conflict inside the tier, as (path, text)."""
    group = elb.get("target_group")
    if elb.get("zones") and elb.get("listen") is not None:
        text = "has one address per zone already: leave `zones` or this out"
        yield ("elb", "listen"), text
    if isinstance(group, Mapping):
        yield from _unfit_group(group, elb)


def _unfit_group(group: Mapping[str, object], elb: Mapping[str, object]) -> Iterator[Conflict]:
    balance = elb.get("balance", "round_robin")
    sticky = group.get("stickiness_enabled") is True
    if group.get("load_balancing_cross_zone_enabled") is False:
        path = (*GROUP, "load_balancing_cross_zone_enabled")
        if not elb.get("zones"):
            yield path, "needs `elb.zones`: with one address for all zones there is nothing to keep"
        if sticky:
            yield path, "excludes stickiness: leave one of the two out"
    if group.get("slow_start_duration_seconds") and balance != "round_robin":
        text = f"needs `balance: round_robin`: AWS has none with {balance}"
        yield (*GROUP, "slow_start_duration_seconds"), text
    mitigation = "load_balancing_algorithm_anomaly_mitigation"
    if group.get(mitigation) is True and balance != "weighted_random":
        yield (*GROUP, mitigation), "needs `balance: weighted_random`"
    by_app = sticky and group.get("stickiness_type") == "app_cookie"
    if by_app and group.get("stickiness_app_cookie_cookie_name") is None:
        yield (*GROUP, "stickiness_type"), "needs `stickiness_app_cookie_cookie_name`"
