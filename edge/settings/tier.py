"""What the three HTTP tiers share: timeouts, limits, forwarding headers, and the tier itself.

The defaults written here are those of the HAProxy tier; `elb.py` and `cdn.py` override what their
originals do differently. A field's type alias carries its bounds and its description, so that an
override repeats only the name and the value.

Names and meanings of the timeouts are HAProxy's (configuration manual, section 4.2), since those
are what an operator of the real cluster knows.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.address import Address
from edge.settings.health_check import HealthCheck
from edge.settings.proxy_protocol import AcceptProxy, AcceptProxyFrom, SendProxy
from edge.settings.scalars import Count, Duration, Size, Text
from edge.settings.section import Section

_MOMENT_S = 0.001
_DAY_S = 86_400.0
_CONNECTIONS_MAX = 10_000_000

ConnectTimeout = Annotated[
    float,
    Duration(_MOMENT_S, 600),
    Field(description="Longest wait for a TCP connection to a server."),
]
ClientTimeout = Annotated[
    float,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest silence of a client while its body or the answer is under way."),
]
ServerTimeout = Annotated[
    float,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest wait for a server's response head, and for its next bytes after."),
]
BetweenBytesTimeout = Annotated[
    float | None,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest silence inside a response body. Absent: as `server`."),
]
HttpRequestTimeout = Annotated[
    float,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest time from a request's first byte to the end of its head."),
]
HttpKeepAliveTimeout = Annotated[
    float,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest idle time of a client connection between two requests."),
]
QueueTimeout = Annotated[
    float | None,
    Duration(_MOMENT_S, _DAY_S),
    Field(description="Longest wait for a free slot on a server. Absent: as `connect`."),
]
TunnelTimeout = Annotated[
    float,
    Duration(_MOMENT_S, 7 * _DAY_S),
    Field(description="Longest silence in both directions after an upgrade (WebSocket)."),
]


class Timeouts(Section):
    """How long a tier waits for what. Defaults: a common HAProxy configuration."""

    connect_s: ConnectTimeout = 5.0
    client_s: ClientTimeout = 50.0
    server_s: ServerTimeout = 50.0
    between_bytes_s: BetweenBytesTimeout = None
    http_request_s: HttpRequestTimeout = 10.0
    http_keep_alive_s: HttpKeepAliveTimeout = 60.0
    queue_s: QueueTimeout = None
    tunnel_s: TunnelTimeout = 3_600.0


RequestLine = Annotated[
    int,
    Size(256, 65_536),
    Field(description="Longest request line (RFC 9112 §3 asks for 8000 bytes at least)."),
]
HeaderBytes = Annotated[
    int,
    Size(256, 65_536),
    Field(description="Longest head without its first line, of requests and responses."),
]


class Limits(Section):
    """How much of a message a tier accepts before it answers 400, 413, 414 or 431 (or 502)."""

    request_line_bytes: RequestLine = 8_192
    header_bytes: HeaderBytes = 16_384
    header_count: Annotated[
        int, Count(1, 256, "header lines"), Field(description="Most header lines of a message.")
    ] = 100
    body_bytes: Annotated[
        int, Size(0, 2**50), Field(description="Longest request body. 0: no limit.")
    ] = 0
    chunk_extension_bytes: Annotated[
        int,
        Size(0, 65_536),
        Field(description="Most bytes of chunk extensions of one message (RFC 9112 §7.1.1)."),
    ] = 256
    trailer_bytes: Annotated[
        int, Size(0, 65_536), Field(description="Longest trailer section of one message.")
    ] = 8_192


ForwardedFor = Annotated[
    Literal["append", "line", "preserve", "remove"],
    Field(
        description="X-Forwarded-For: append (merge the client into the list, `a, b`), line (add a"
        " header line of its own, as HAProxy does), preserve (leave as it came), remove."
    ),
]
ForwardedProto = Annotated[
    Literal["set", "if_none", "off"],
    Field(description="X-Forwarded-Proto: set always, only if the request has none, or off."),
]
ForwardedHost = Annotated[
    Literal["set", "if_none", "off"],
    Field(description="X-Forwarded-Host: set always, only if the request has none, or off."),
]
ForwardedPort = Annotated[
    Literal["set", "if_none", "off"],
    Field(description="X-Forwarded-Port: set always, only if the request has none, or off."),
]
Via = Annotated[
    str | None,
    Text(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", "one word of letters, digits and !#$%&'*+.^_`|~-"),
    Field(description="The name in a Via header (RFC 9110 §7.6.3). null: no Via is added."),
]


class Forwarded(Section):
    """What a tier tells the next one about the client. Defaults: Adobe's HAProxy."""

    x_forwarded_for: ForwardedFor = "line"
    x_forwarded_proto: ForwardedProto = "if_none"
    x_forwarded_host: ForwardedHost = "if_none"
    x_forwarded_port: ForwardedPort = "if_none"
    forwarded: Annotated[
        bool, Field(description="Whether to add a Forwarded header, RFC 7239.")
    ] = False
    via: Via = None


class Tier(Section):
    """The keys that `cdn`, `elb` and `haproxy` have in common."""

    listen: Annotated[
        str | None,
        Address(),
        Field(
            description="Address that the tier accepts clients on. Absent: it is reached only"
            " from the tier in front of it."
        ),
    ] = None
    timeouts: Timeouts = Field(
        default_factory=Timeouts, description="How long the tier waits for what."
    )
    limits: Limits = Field(
        default_factory=Limits, description="How much of a message the tier accepts."
    )
    forwarded: Forwarded = Field(
        default_factory=Forwarded, description="What the tier tells the next one about the client."
    )
    health_check: HealthCheck = Field(
        default_factory=HealthCheck, description="How the tier finds out which servers are usable."
    )
    max_connections: Annotated[
        int,
        Count(0, _CONNECTIONS_MAX, "connections per worker"),
        Field(description="Most client connections at once. 0: from the descriptor limit."),
    ] = 0
    max_idle_per_server: Annotated[
        int,
        Count(0, 65_536, "connections per worker"),
        Field(description="Most unused connections that are kept open to one server."),
    ] = 1_024
    accept_proxy: AcceptProxy = False
    accept_proxy_from: AcceptProxyFrom = None
    send_proxy: SendProxy = "off"
