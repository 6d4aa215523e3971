"""A node: one virtual machine of the cluster, with what runs on it."""

from typing import Annotated, Literal

from pydantic import Field

from edge.errors import Bug
from edge.settings.address import Address, Host, split_address
from edge.settings.persistence import VALUE
from edge.settings.scalars import Count, Text
from edge.settings.section import Section

# No `/` and `@`: the program names servers `tier/server` and tiers `haproxy@node`.
_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "1 to 63 letters, digits, dots, - or _")

ZONE = _NAME


class Node(Section):
    """One row of `nodes`."""

    name: Annotated[str, _NAME, Field(description="The node's name, unique in the file.")]
    zone: Annotated[
        str, ZONE, Field(description="The availability zone that the node stands in.")
    ] = "a"
    role: Annotated[
        Literal["core", "web", "both"],
        Field(
            description="core: runs the cluster's services and gets no web traffic; web: the"
            " reverse; both: a machine of the three-node cluster."
        ),
    ] = "both"
    web: Annotated[
        str | None,
        Address(),
        Field(description="Address of the node's web server. A core node has none."),
    ] = None
    haproxy: Annotated[
        str | None,
        Address(),
        Field(
            description="Address of this machine's HAProxy, for tiers that run as processes of"
            " their own. A core node has none."
        ),
    ] = None
    host: Annotated[
        str | None,
        Host(),
        Field(
            description="Name or address of the machine, for services that are found by their port"
            " (`tcp[].node_port`). Absent: that of `web`, or of `haproxy`."
        ),
    ] = None
    agent_port: Annotated[
        int | None,
        Count(1, 65_535, "TCP port"),
        Field(description="Port of the node's agent. Absent: `port` of the tier's `agent`."),
    ] = None
    weight: Annotated[
        int,
        Count(0, 256, "shares"),
        Field(description="Share of the traffic relative to the other nodes. 0: no new traffic."),
    ] = 1
    backup: Annotated[
        bool, Field(description="Whether the node is used only when every other is down.")
    ] = False
    maxconn: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(description="Most requests at once to this node; the others queue. 0: no limit."),
    ] = 0

    cookie: Annotated[
        str | None,
        VALUE,
        Field(description="The node's value of haproxy's `cookie`. Absent: its name."),
    ] = None
    minconn: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="Most requests at once to this node while its haproxy has little to do;"
            " grows to `maxconn`. 0: always `maxconn`."
        ),
    ] = 0
    maxqueue: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="Most requests that wait for this node and no other; more go elsewhere."
            " 0: no limit."
        ),
    ] = 0

    @property
    def machine(self) -> str | None:
        """Where the node's services are; None when no key says so."""
        address = self.web or self.haproxy
        return self.host or (split_address(address)[0] if address else None)

    @property
    def serves_web(self) -> bool:
        """Whether the node gets web traffic; then, in a loaded file, `web` is not None."""
        return self.role != "core"

    @property
    def web_address(self) -> str:
        """`web` of a node that gets web traffic; to ask a core node for it is a Bug."""
        if self.web is None:
            raise Bug(f"the node {self.name} has no web server")
        return self.web
