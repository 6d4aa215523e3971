"""The HAProxy tier: one balancer per virtual machine, in front of the shop's web nodes.

Everything is as in HAProxy unless said: configuration manual, section 4.2 (`balance`). What is
about its servers stands in haproxy_servers.py. HAProxy fails closed: with no usable server a client
gets 503.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.address import Address
from edge.settings.balance import BALANCE, HASH_TYPE
from edge.settings.haproxy_servers import ServerPolicy
from edge.settings.persistence import Cookie
from edge.settings.scalars import Count, Duration, Text
from edge.settings.section import Section
from edge.settings.stick_table import StickTable

# A socket's name has at most 107 bytes (unix(7)); it is made under a longer name and then moved.
_TABLE_NAME = Text(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", "1 to 63 letters, digits, dots, - or _")
# No `@`: behind an elb each machine has its own, `api@node1`.
_BACKEND_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}", "1 to 63 letters, digits and _ . : -")
_LINE_CHARS_MAX = 16_384  # HAProxy's longest line has 2048 words of some letters each
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


RuleLines = list[Annotated[str, Field(min_length=1, max_length=_LINE_CHARS_MAX)]]


class Backend(ServerPolicy):
    """A farm of servers with its own rules: what a frontend's `use_backend` rules choose. Keys that
    it does not have are those of `haproxy`, as of a `defaults` section."""

    balance: Annotated[
        str,
        BALANCE,
        Field(
            description="How a server is chosen among the usable ones, as HAProxy's `balance`:"
            " roundrobin, static-rr, leastconn, first, source, uri [whole] [path-only] [len N]"
            " [depth N], url_param NAME, hdr(NAME) [use_domain_only], random[(DRAWS)]. `first`"
            " fills the servers one after another and needs their maxconn."
        ),
    ] = "roundrobin"
    hash_type: Annotated[
        str,
        HASH_TYPE,
        Field(
            description="How source, uri, url_param and hdr find the server of a key:"
            " `map-based` (even; nearly all keys move when a server comes or goes) or `consistent`"
            " (only that server's keys move; shares are as even as weights are large), then a"
            " function (sdbm, djb2, wt6, crc32), then `avalanche`. As HAProxy's `hash-type`."
        ),
    ] = "map-based"
    hash_key: Annotated[
        Literal["id", "name"],
        Field(
            description="What a server's place on the ring of `hash_type: consistent` comes from:"
            " id, its number in the file, as at HAProxy (a row that is taken out moves the keys of"
            " all behind it), or its name."
        ),
    ] = "id"
    hash_balance_factor: Annotated[
        int,
        Count(0, 65_535, "per cent, from 101 on"),
        Field(
            description="Most that a server of a consistent hash may have of the mean load; its"
            " further keys go to the next one. 0: no bound."
        ),
    ] = 0
    allbackups: Annotated[
        bool,
        Field(description="Whether all backups serve when no other server is up, or the first."),
    ] = False
    retry_after_s: Annotated[
        float,
        Duration(0, 86_400),
        Field(description="Retry-After of the 503 that tells there is no usable server."),
    ] = 1.0
    slowstart_s: Annotated[
        float | None,
        Duration(1, 86_400),
        Field(
            description="Time in which a server that has come back gets a growing share, up to its"
            " weight and maxconn. Absent: at once."
        ),
    ] = None
    cookie: Cookie | None = Field(
        default=None,
        description="Keeps a client at its node by a cookie. Absent: each request is balanced.",
    )
    acl: Annotated[
        RuleLines,
        Field(description="HAProxy's `acl` lines: names for conditions of this section's rules."),
    ] = Field(default_factory=list)
    http_request: Annotated[
        RuleLines,
        Field(description="HAProxy's `http-request` lines, carried out in order."),
    ] = Field(default_factory=list)
    http_response: Annotated[
        RuleLines,
        Field(description="HAProxy's `http-response` lines, carried out in order."),
    ] = Field(default_factory=list)
    nodes: Annotated[
        list[str] | None,
        Field(description="Names of its servers among `nodes`. Absent: all that take web traffic."),
    ] = None


class Haproxy(Backend):
    """The `haproxy` key: a frontend, and the backend that is used where no rule says else. An empty
    mapping is a tier with every default."""

    use_backend: Annotated[
        RuleLines,
        Field(description="HAProxy's `use_backend` lines; the first one that holds decides."),
    ] = Field(default_factory=list)
    default_backend: Annotated[
        str | None,
        Field(description="The backend that is used where no line says else. Absent: haproxy."),
    ] = None
    monitor_uri: Annotated[
        str | None,
        Text(r"/[!-~]{0,1023}", "a path such as /up"),
        Field(description="A path that HAProxy itself answers: 200, or 503 by `monitor_fail`."),
    ] = None
    monitor_fail: Annotated[
        str | None,
        Field(description="When `monitor_uri` answers 503: `if { nbsrv(haproxy) lt 1 }`."),
    ] = None
    backends: Annotated[
        dict[Annotated[str, _BACKEND_NAME], Backend],
        Field(description="Further backends, by their names."),
    ] = Field(default_factory=dict)
    stick_tables: Annotated[
        dict[Annotated[str, _TABLE_NAME], StickTable],
        Field(description="Tables that rules count in, by their names."),
    ] = Field(default_factory=dict)
    stats: Stats | None = Field(
        default=None, description="HAProxy's run-time interface (CLI). Absent: there is none."
    )
