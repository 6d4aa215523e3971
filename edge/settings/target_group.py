"""The elb's target group: the attributes that AWS gives one, under AWS's names.

An attribute's YAML key is AWS's with `_` for each dot: `deregistration_delay.timeout_seconds` is
`deregistration_delay_timeout_seconds`. So the ELBv2 API, which changes attributes while edge runs,
needs no table of its own. Where AWS writes `off` for a number the file has 0, and where it writes
`on` the file has true. Defaults and bounds are those of the Application Load Balancer's guide.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.scalars import Count, Form, Text, shown
from edge.settings.section import Section

_DAY_SECONDS = 86_400
_WEEK_SECONDS = 7 * _DAY_SECONDS
_TARGETS_MAX = 1_000  # of one group, as at AWS
# Names that the load balancer takes for its own cookies.
_APP_COOKIE = (
    r"(?!(?:AWSALB|AWSALBAPP|AWSALBTG)(?:$|CORS$|-[0-9]$))[!#$%&'*+.^_`|~0-9A-Za-z-]{1,255}"
)

_CookieSeconds = Annotated[int, Count(1, _WEEK_SECONDS, "seconds")]
_MinimumCount = Annotated[int, Count(0, _TARGETS_MAX, "targets")]
_MinimumPercentage = Annotated[int, Count(0, 100, "percent of the targets")]


class SlowStart(Form):
    """Marker of the one number with a hole: 0, or 30 to 900."""

    def parse(self, value: object) -> int:
        """Seconds."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not (value == 0 or 30 <= value <= 900):  # type: ignore[operator]
            raise ValueError(f"must be 0 (none), or from 30 to 900 (seconds), not {shown(value)}")
        return value  # type: ignore[return-value]

    def json_forms(self) -> list[dict[str, object]]:
        """Two ranges."""
        return [
            {"type": "integer", "const": 0},
            {"type": "integer", "minimum": 30, "maximum": 900, "x-unit": "seconds"},
        ]


class TargetGroup(Section):
    """The `elb.target_group` key."""

    protocol_version: Annotated[
        Literal["HTTP1", "HTTP2", "GRPC"],
        Field(
            description="What the targets are said to speak. To a group that is not HTTP1 an"
            " HTTP/1.1 request is answered 464, as at AWS; edge itself speaks HTTP/1.1 only."
        ),
    ] = "HTTP1"
    deregistration_delay_timeout_seconds: Annotated[
        int,
        Count(0, 3_600, "seconds"),
        Field(
            description="How long a deregistered target is `draining`: it gets nothing new, running"
            " requests go on, and are cut when the time is over."
        ),
    ] = 300
    slow_start_duration_seconds: Annotated[
        int,
        SlowStart(),
        Field(description="Time in which a target that became healthy gets ever more. 0: none."),
    ] = 0
    load_balancing_cross_zone_enabled: Annotated[
        bool,
        Field(
            description="Whether an address of the elb uses the targets of every zone. If not, of"
            " its own zone only, and 503 where that has none; needs `elb.zones`."
        ),
    ] = True
    load_balancing_algorithm_anomaly_mitigation: Annotated[
        bool,
        Field(description="Whether anomalous targets get less; with `balance: weighted_random`."),
    ] = False
    stickiness_enabled: Annotated[
        bool, Field(description="Whether a client goes on with the target that it had.")
    ] = False
    stickiness_type: Annotated[
        Literal["lb_cookie", "app_cookie"],
        Field(description="By a cookie of the elb's own, or as long as the shop's own lives."),
    ] = "lb_cookie"
    stickiness_lb_cookie_duration_seconds: Annotated[
        _CookieSeconds, Field(description="Life of the cookie AWSALB from its last answer on.")
    ] = _DAY_SECONDS
    stickiness_app_cookie_cookie_name: Annotated[
        str | None,
        Text(_APP_COOKIE, "a cookie's name, but none of AWSALB, AWSALBAPP, AWSALBTG"),
        Field(description="The shop's cookie that makes a client sticky, such as PHPSESSID."),
    ] = None
    stickiness_app_cookie_duration_seconds: Annotated[
        _CookieSeconds, Field(description="Life of AWSALBAPP-0 from its last answer on.")
    ] = _DAY_SECONDS
    target_group_health_dns_failover_minimum_healthy_targets_count: Annotated[
        _MinimumCount,
        Field(description="With fewer healthy targets a zone is taken out of DNS. 0: off."),
    ] = 1
    target_group_health_dns_failover_minimum_healthy_targets_percentage: Annotated[
        _MinimumPercentage, Field(description="The same as a share of the zone's. 0: off.")
    ] = 0
    target_group_health_unhealthy_state_routing_minimum_healthy_targets_count: Annotated[
        Annotated[int, Count(1, _TARGETS_MAX, "targets")],
        Field(description="With fewer healthy targets all get traffic, the unhealthy too."),
    ] = 1
    target_group_health_unhealthy_state_routing_minimum_healthy_targets_percentage: Annotated[
        _MinimumPercentage, Field(description="The same as a share of the group. 0: off.")
    ] = 0

    def routes_to_all_below(self, registered: int) -> int:
        """Of `registered` targets so many must be healthy, or all of them get traffic."""
        return _minimum(
            self.target_group_health_unhealthy_state_routing_minimum_healthy_targets_count,
            self.target_group_health_unhealthy_state_routing_minimum_healthy_targets_percentage,
            registered,
        )

    def leaves_dns_below(self, registered: int) -> int:
        """Of `registered` targets of a zone so many must be healthy, or it leaves DNS."""
        return _minimum(
            self.target_group_health_dns_failover_minimum_healthy_targets_count,
            self.target_group_health_dns_failover_minimum_healthy_targets_percentage,
            registered,
        )


def _minimum(count: int, percentage: int, registered: int) -> int:
    """Whichever of the two asks for more (AWS: either one that is not met counts)."""
    return max(count, -(-percentage * registered // 100))
