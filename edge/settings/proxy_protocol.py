"""The PROXY protocol's keys, which every tier has: who must send its header, who gets one.

As HAProxy has them (configuration manual, `accept-proxy`, `send-proxy`, `send-proxy-v2`, and
`tcp-request connection expect-proxy layer4 if { src NET }`).
"""

import ipaddress
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from edge.settings.scalars import Form, shown

_EXAMPLE = "10.0.0.0/8 or 2001:db8::/32"


class Network(Form):
    """Marker of a field that holds an IP network; kept in its canonical spelling."""

    def parse(self, value: object) -> str:
        """The network; bits behind the prefix are an error, since one of the two is a slip."""
        try:
            if not isinstance(value, str):
                raise ValueError
            return str(ipaddress.ip_network(value))
        except ValueError:
            raise ValueError(f"must be a network such as {_EXAMPLE}, not {shown(value)}") from None

    def json_forms(self) -> list[JsonSchemaValue]:
        """A string; its pattern is wider than the rules above."""
        return [{"type": "string", "pattern": r"^[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?$"}]


AcceptProxy = Annotated[
    bool,
    Field(
        description="Whether a client's connection must begin with a PROXY header, version 1 or 2,"
        " whose source then is the client. A connection without one is closed."
    ),
]
AcceptProxyFrom = Annotated[
    list[Annotated[str, Network()]] | None,
    Field(
        min_length=1,
        description="Networks whose connections must begin with a PROXY header; all others are"
        " taken as they are. Absent: everybody's.",
    ),
]
SendProxy = Annotated[
    Literal["off", "v1", "v2"],
    Field(
        description="PROXY header in front of every connection to a server, health checks"
        " included. Such a connection is never shared by two clients."
    ),
]
