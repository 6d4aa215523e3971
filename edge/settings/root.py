"""The configuration file as a whole.

A tier that the file leaves out does not exist; a tier that it names with `{}` exists with every
default. What holds between two keys is checked by `conflicts.py` when a file is loaded.
"""

from typing import Annotated

from pydantic import Field

from edge.settings.address import Address
from edge.settings.cdn import Cdn
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.node import Node
from edge.settings.scalars import Count, Duration, Text
from edge.settings.section import Section
from edge.settings.tcp import Tcp


class Admin(Section):
    """Where operators look: status, metrics, control interfaces."""

    listen: Annotated[str, Address(), Field(description="Address of the admin interface.")]
    token: Annotated[
        str | None,
        Text("[!-~]{1,256}", "1 to 256 visible characters without spaces", secret=True),
        Field(description="Needed by requests that change something.", repr=False),
    ] = None


class Settings(Section):
    """Everything that a configuration file says, with every default filled in."""

    workers: Annotated[
        int | None,
        Count(1, 64, "processes"),
        Field(description="Worker processes. Absent: one per CPU core that may be used."),
    ] = None
    drain_s: Annotated[
        float,
        Duration(0, 3_600),
        Field(description="How long a stopping worker may take to finish its requests."),
    ] = 30.0
    admin: Admin | None = Field(
        default=None, description="The admin interface. Absent: there is none."
    )
    cdn: Cdn | None = Field(
        default=None, description="The CDN with its cache. Absent: no such tier."
    )
    elb: Elb | None = Field(
        default=None, description="The elastic load balancer. Absent: no such tier."
    )
    haproxy: Haproxy | None = Field(
        default=None,
        description="HAProxy: one per web node where there is an elb, else one. Absent: none.",
    )
    tcp: Annotated[
        list[Tcp],
        Field(description="Listeners that relay TCP as it is, one row each, as `mode tcp`."),
    ] = []  # noqa: RUF012
    nodes: Annotated[
        list[Node], Field(min_length=1, description="The machines of the cluster, one row each.")
    ]

    @property
    def web_nodes(self) -> list[Node]:
        """The nodes that get web traffic, in file order."""
        return [node for node in self.nodes if node.serves_web]
