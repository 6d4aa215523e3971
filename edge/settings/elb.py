"""The elastic load balancer tier: AWS's application load balancer between the CDN and the machines.

Its targets are the HAProxy of each machine, or the web nodes where the file has no `haproxy`.
Defaults follow the user guide of the Application Load Balancer, with two exceptions:

deviates: an ALB adds its listener's port to Host unless that is 80 or 443. Listeners of edge stand
for these two whatever port they have, or no shop would know its own host name on a laptop.

deviates: the guide's health check runs every 30 s with a time limit of 5 s, so a dead machine is
noticed after a minute. A stand-in is for seeing what a failure does, and nobody waits a minute for
that: the interval is 2 s (the time limit follows it), while the counts 5 and 2 are the guide's.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.address import Address
from edge.settings.health_check import Expect, Fall, HealthCheck, Rise
from edge.settings.node import ZONE
from edge.settings.scalars import Count, Text
from edge.settings.target_group import TargetGroup
from edge.settings.tier import (
    ClientTimeout,
    ConnectTimeout,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedProto,
    HeaderBytes,
    HttpKeepAliveTimeout,
    HttpRequestTimeout,
    Limits,
    RequestLine,
    ServerTimeout,
    Tier,
    Timeouts,
    TunnelTimeout,
)


class ElbTimeouts(Timeouts):
    """One idle timeout of 60 s rules everything but the connect and the client's keep-alive."""

    connect_s: ConnectTimeout = 10.0
    client_s: ClientTimeout = 60.0
    server_s: ServerTimeout = 60.0
    http_request_s: HttpRequestTimeout = 60.0
    http_keep_alive_s: HttpKeepAliveTimeout = 3_600.0
    tunnel_s: TunnelTimeout = 60.0


class ElbLimits(Limits):
    """16 KiB of request line and 64 KiB of header lines, as an ALB takes."""

    request_line_bytes: RequestLine = 16_384
    header_bytes: HeaderBytes = 65_536


class ElbForwarded(Forwarded):
    """`routing.http.xff_header_processing.mode=append`; proto and port are always set."""

    x_forwarded_for: ForwardedFor = "append"
    x_forwarded_proto: ForwardedProto = "set"
    x_forwarded_host: ForwardedHost = "off"
    x_forwarded_port: ForwardedPort = "set"


class ElbHealthCheck(HealthCheck):
    """The thresholds and the success code of a target group."""

    rise: Rise = 5
    fall: Fall = 2
    expect: Expect = "200"


class Elb(Tier):
    """The `elb` key. An empty mapping is a tier with every default."""

    balance: Annotated[
        Literal["round_robin", "least_outstanding_requests", "weighted_random", "source", "uri"],
        Field(
            description="How a target is chosen among the healthy ones. The first three are the"
            " names of AWS; source and uri put the client or the path on a consistent hash ring."
        ),
    ] = "round_robin"
    retries: Annotated[
        int,
        Count(0, 100, "attempts after the first"),
        Field(description="How often a failed connect is tried again. AWS's tries once only."),
    ] = 0
    timeouts: ElbTimeouts = Field(
        default_factory=ElbTimeouts, description="How long the tier waits for what."
    )
    limits: ElbLimits = Field(
        default_factory=ElbLimits, description="How much of a message the tier accepts."
    )
    forwarded: ElbForwarded = Field(
        default_factory=ElbForwarded,
        description="What the tier tells the next one about the client.",
    )
    health_check: ElbHealthCheck = Field(
        default_factory=ElbHealthCheck,
        description="How the tier finds out which targets are healthy.",
    )
    zones: Annotated[
        dict[Annotated[str, ZONE], Annotated[str, Address()]],
        Field(
            description="One address per availability zone, as DNS gives one of a load balancer's"
            " per zone; instead of `listen`. A node in a zone that is not named here is unused."
        ),
    ] = Field(default_factory=dict)
    target_group: TargetGroup = Field(
        default_factory=TargetGroup, description="AWS's attributes of the target group."
    )
    routing_http_desync_mitigation_mode: Annotated[
        Literal["monitor", "defensive", "strictest"],
        Field(
            description="What becomes of requests that are valid but could be misread elsewhere:"
            " strictest refuses them, defensive closes the connection behind the ambiguous ones."
            " What edge's own parser refuses is refused in each mode."
        ),
    ] = "defensive"
    routing_http_drop_invalid_header_fields_enabled: Annotated[
        bool,
        Field(description="Whether fields whose name has other than letters, digits, - are left."),
    ] = False
    routing_http_preserve_host_header_enabled: Annotated[
        bool,
        Field(description="Whether Host goes on unchanged, also with `:80` or `:443`."),
    ] = False
    stickiness_secret: Annotated[
        str | None,
        Text("[!-~]{16,256}", "16 to 256 visible characters without spaces", secret=True),
        Field(
            description="What the cookies of stickiness are sealed with, for who wants them to"
            " outlive a restart or to hold for several machines. Absent: made at the start.",
            repr=False,
        ),
    ] = None
