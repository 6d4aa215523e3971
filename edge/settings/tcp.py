"""A listener that relays TCP as it is: HAProxy's `listen` section with `mode tcp`.

Everything is as in HAProxy unless said. Its servers are rows of their own (`servers`), or one port
of every machine that runs the cluster's services (`node_port`).
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.address import Address
from edge.settings.health_check import HealthCheck
from edge.settings.proxy_protocol import AcceptProxy, AcceptProxyFrom, SendProxy
from edge.settings.scalars import Count, Duration, Text
from edge.settings.section import Section
from edge.settings.tier import ClientTimeout, ConnectTimeout, QueueTimeout, ServerTimeout

_DAY_S = 86_400.0
_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "1 to 63 letters, digits, dots, - or _")
_SILENCE = Duration(0.001, 7 * _DAY_S)


class TcpTimeouts(Section):
    """How long a connection may take for what; `client` and `server` limit silence.

    Bytes in either direction count for both, as in HAProxy, so the shorter of the two decides.
    """

    connect_s: ConnectTimeout = 5.0
    client_s: ClientTimeout = 50.0
    server_s: ServerTimeout = 50.0
    queue_s: QueueTimeout = None
    client_hs_s: Annotated[
        float | None,
        Duration(0.001, _DAY_S),
        Field(description="Longest wait for a client's PROXY header. Absent: as `client`."),
    ] = None
    tunnel_s: Annotated[
        float | None,
        _SILENCE,
        Field(description="Longest silence of both sides, in place of `client` and `server`."),
    ] = None
    client_fin_s: Annotated[
        float | None,
        _SILENCE,
        Field(description="Longest silence once the server has ended its direction."),
    ] = None
    server_fin_s: Annotated[
        float | None,
        _SILENCE,
        Field(description="Longest silence once the client has ended its direction."),
    ] = None


class TcpServer(Section):
    """One row of `servers`."""

    name: Annotated[
        str,
        _NAME,
        Field(description="The server's name; that of a node where it runs on one."),
    ]
    address: Annotated[str, Address(), Field(description="Where the server listens.")]
    weight: Annotated[
        int,
        Count(0, 256, "shares"),
        Field(description="Share of the connections relative to the others. 0: no new ones."),
    ] = 1
    backup: Annotated[
        bool, Field(description="Whether the server is used only when every other is down.")
    ] = False
    maxconn: Annotated[
        int,
        Count(0, 1_000_000, "connections"),
        Field(description="Most connections at once; the others queue. 0: `server_maxconn`."),
    ] = 0


class Tcp(Section):
    """One row of `tcp`."""

    name: Annotated[
        str, _NAME, Field(description="The name of the listener and its servers, as of a tier.")
    ]
    listen: Annotated[str, Address(), Field(description="Address that clients connect to.")]
    node_port: Annotated[
        int | None,
        Count(1, 65_535, "port"),
        Field(description="The servers are this port of each node, unless its role is web."),
    ] = None
    servers: Annotated[
        list[TcpServer] | None,
        Field(min_length=1, description="The servers, where they are not one port of every node."),
    ] = None
    balance: Annotated[
        Literal["roundrobin", "leastconn", "source", "random"],
        Field(description="How a server is chosen among the usable ones."),
    ] = "roundrobin"
    retries: Annotated[
        int,
        Count(0, 100, "attempts after the first"),
        Field(description="How often a failed connect is tried again."),
    ] = 3
    redispatch: Annotated[
        bool, Field(description="Whether a failed connect may be tried again on another server.")
    ] = True
    error_limit: Annotated[
        int,
        Count(0, 1_000_000, "connects in a row"),
        Field(description="Failed connects that take a server down. 0: only checks decide."),
    ] = 10
    server_maxconn: Annotated[
        int,
        Count(0, 1_000_000, "connections"),
        Field(description="Most connections at once to a server without `maxconn`. 0: no limit."),
    ] = 0
    max_connections: Annotated[
        int,
        Count(0, 10_000_000, "connections per worker"),
        Field(description="Most client connections at once. 0: from the descriptor limit."),
    ] = 0
    timeouts: TcpTimeouts = Field(
        default_factory=TcpTimeouts, description="How long the listener waits for what."
    )
    health_check: HealthCheck = Field(
        default_factory=HealthCheck, description="How usable servers are found out."
    )
    accept_proxy: AcceptProxy = False
    accept_proxy_from: AcceptProxyFrom = None
    send_proxy: SendProxy = "off"
