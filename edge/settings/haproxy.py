"""The HAProxy tier: one balancer per virtual machine, in front of the shop's web nodes.

Everything is as in HAProxy unless said: configuration manual, sections 4.2 (`balance`, `retries`,
`option redispatch`) and 5.2 (`error-limit`, `maxconn`). HAProxy fails closed: with no usable server
a client gets 503.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.address import Address
from edge.settings.persistence import Cookie
from edge.settings.scalars import Count, Duration, Text
from edge.settings.section import Section
from edge.settings.stick_table import StickTable
from edge.settings.tier import Tier

# A socket's name has at most 107 bytes (unix(7)); it is made under a longer name and then moved.
_TABLE_NAME = Text(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", "1 to 63 letters, digits, dots, - or _")
_SOCKET_PATH = r"/[!-~]{1,90}"


class Stats(Section):
    """HAProxy's `stats socket`: its command-line interface at a path, an address, or both."""

    socket: Annotated[
        str | None,
        Text(_SOCKET_PATH, "an absolute path of at most 91 visible characters"),
        Field(description="Path of the unix socket; only its owner may connect."),
    ] = None
    listen: Annotated[
        str | None,
        Address(),
        Field(description="The same on TCP. Nobody is asked for a token: keep it private."),
    ] = None
    level: Annotated[
        Literal["user", "operator", "admin"],
        Field(description="What its clients may do; only admin changes servers."),
    ] = "operator"


class Haproxy(Tier):
    """The `haproxy` key. An empty mapping is a tier with every default."""

    balance: Annotated[
        Literal["roundrobin", "leastconn", "source", "uri", "random"],
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
        Field(
            description="Failed connects of requests that take a server down at once, without"
            " waiting for its checks. 0: only checks decide."
        ),
    ] = 10
    retry_after_s: Annotated[
        float,
        Duration(0, 86_400),
        Field(description="Retry-After of the 503 that tells there is no usable server."),
    ] = 1.0
    server_maxconn: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="Most requests at once to a server whose row has no `maxconn`; the others"
            " queue. 0: no limit."
        ),
    ] = 0
    cookie: Cookie | None = Field(
        default=None,
        description="Keeps a client at its node by a cookie. Absent: each request is balanced.",
    )
    stick_tables: Annotated[
        dict[Annotated[str, _TABLE_NAME], StickTable],
        Field(description="Tables that rules count in, by their names."),
    ] = Field(default_factory=dict)
    stats: Stats | None = Field(
        default=None, description="HAProxy's run-time interface (CLI). Absent: there is none."
    )
