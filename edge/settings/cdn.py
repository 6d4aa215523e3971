"""The CDN tier: Fastly in front of the cluster, with its cache.

Defaults are those of a Fastly service: backend timeouts (connect 1 s, first byte 15 s, between
bytes 10 s), a fallback lifetime of 3600 s, and no health check of its one origin, the balancer.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge.settings.health_check import Enabled, HealthCheck
from edge.settings.scalars import Duration, Size, Text, size_text
from edge.settings.section import Section
from edge.settings.tier import (
    BetweenBytesTimeout,
    ConnectTimeout,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedProto,
    ServerTimeout,
    Tier,
    Timeouts,
    Via,
)

_POP = Text("[A-Z]{3}", "the three capital letters of a Fastly site, such as FRA")
_MAX_OBJECT_BYTES = 20 * 2**20
_YEAR_S = 365 * 86_400.0


def _default_max_object_bytes(given: dict[str, Any]) -> int:
    # Without a valid size there is an error already, and some versions of pydantic still ask.
    size_bytes: int = given.get("size_bytes", _MAX_OBJECT_BYTES)
    return min(_MAX_OBJECT_BYTES, size_bytes)


class Cache(Section):
    """Where objects are kept: shared memory of this machine."""

    size_bytes: Annotated[
        int, Size(2**20, 2**44), Field(description="Memory for cached objects.")
    ] = 256 * 2**20
    max_object_bytes: Annotated[
        int,
        Size(1, 2**44),
        Field(
            description="Longest body that is kept, at most `size`. Absent: 20MiB, or `size` where"
            " that is less."
        ),
    ] = Field(default_factory=_default_max_object_bytes)

    @field_validator("max_object_bytes")
    @classmethod
    def _fits(cls, max_object_bytes: int, info: ValidationInfo) -> int:
        size_bytes = info.data.get("size_bytes", max_object_bytes)
        if max_object_bytes > size_bytes:
            raise ValueError(f"must be at most the cache's size, {size_text(size_bytes)}")
        return max_object_bytes


class Service(Section):
    """The identity that the purge and configuration interface answers to, as at Fastly."""

    id: Annotated[
        str,
        Text("[A-Za-z0-9]{1,64}", "letters and digits such as SU1Z0isxPaozGVKXdv0eY"),
        Field(description="The service's id."),
    ]
    tokens: Annotated[
        list[
            Annotated[
                str, Text("[!-~]{1,256}", "1 to 256 visible characters without spaces", secret=True)
            ]
        ],
        Field(description="Fastly-Key values that may purge and configure.", repr=False),
    ] = Field(default_factory=list)


class CdnTimeouts(Timeouts):
    """A Fastly backend's: `server` is its first byte timeout."""

    connect_s: ConnectTimeout = 1.0
    server_s: ServerTimeout = 15.0
    between_bytes_s: BetweenBytesTimeout = 10.0


class CdnForwarded(Forwarded):
    """What Fastly adds on its way to the origin."""

    x_forwarded_for: ForwardedFor = "append"
    x_forwarded_proto: ForwardedProto = "set"
    x_forwarded_host: ForwardedHost = "set"
    x_forwarded_port: ForwardedPort = "off"
    via: Via = "varnish"


class CdnHealthCheck(HealthCheck):
    """Off: a service that the shop's module has set up has no health check."""

    enabled: Enabled = False


class Cdn(Tier):
    """The `cdn` key. An empty mapping is a tier with every default."""

    policy: Annotated[
        Literal["fastly", "rfc9111"],
        Field(description="Whose rules say what is cached: Fastly's, or RFC 9111 to the letter."),
    ] = "fastly"
    default_ttl_s: Annotated[
        float,
        Duration(0, _YEAR_S),
        Field(
            description="Lifetime of a response that says nothing about its own. 0: nothing is"
            " fresh that does not say so."
        ),
    ] = 3_600.0
    pop: Annotated[
        str, _POP, Field(description="The site that this CDN stands for, as in X-Served-By.")
    ] = "FRA"
    shield: Annotated[
        str | None,
        _POP,
        Field(description="The site that shields the origin. Absent: no shielding."),
    ] = None
    cache: Cache = Field(default_factory=Cache, description="Where objects are kept.")
    service: Service | None = Field(
        default=None,
        description="Identity for Fastly's own interface. Absent: the interface is closed.",
    )
    timeouts: CdnTimeouts = Field(
        default_factory=CdnTimeouts, description="How long the tier waits for what."
    )
    forwarded: CdnForwarded = Field(
        default_factory=CdnForwarded,
        description="What the tier tells the next one about the client.",
    )
    health_check: CdnHealthCheck = Field(
        default_factory=CdnHealthCheck,
        description="How the tier finds out whether its origin is usable.",
    )
