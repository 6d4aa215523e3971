"""The CDN tier: Fastly in front of the cluster, with its cache.

Defaults are those of a Fastly service: backend timeouts (connect 1 s, first byte 15 s, between
bytes 10 s), a fallback lifetime of 3600 s, and no health check of its one origin, the balancer.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge.settings.address import Address
from edge.settings.health_check import Enabled, HealthCheck
from edge.settings.scalars import Count, Duration, Size, Text, size_text
from edge.settings.section import Section
from edge.settings.tier import (
    BetweenBytesTimeout,
    ConnectTimeout,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedProto,
    Limits,
    ServerTimeout,
    Tier,
    Timeouts,
    Via,
)

_POP = Text("[A-Z]{3}", "the three capital letters of a Fastly site, such as FRA")
_MAX_OBJECT_BYTES = 20 * 2**20
_YEAR_S = 365 * 86_400.0
# Fastly's own default lists: https://docs.fastly.com/en/guides/enabling-automatic-compression
_COMPRESSED_TYPES = [
    "text/html",
    "application/x-javascript",
    "text/css",
    "application/javascript",
    "text/javascript",
    "application/json",
    "application/vnd.ms-fontobject",
    "application/x-font-opentype",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/xml",
    "font/eot",
    "font/opentype",
    "font/otf",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "text/plain",
    "text/xml",
]
_COMPRESSED_EXTENSIONS = ["css", "js", "html", "eot", "ico", "otf", "ttf", "json", "svg"]
_MEDIA_TYPE = Text(
    r"[!#$&^_.+\-a-z0-9]{1,127}/[!#$&^_.+\-a-z0-9]{1,127}",
    "a media type in lower case without parameters, such as text/html",
)


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


class Heuristic(Section):
    """Policy rfc9111: a lifetime for answers that give none (RFC 9111 §4.2.2)."""

    percent: Annotated[
        int,
        Count(0, 100, "percent"),
        Field(
            description="Share of the time since Last-Modified for which an answer is fresh. 0: no"
            " heuristic."
        ),
    ] = 10
    max_s: Annotated[
        float, Duration(0, _YEAR_S), Field(description="Longest lifetime that is guessed so.")
    ] = 86_400.0


class Compression(Section):
    """Which answers are compressed on their way into the cache, for clients that ask for it."""

    enabled: Annotated[
        bool | None,
        Field(
            description="Whether anything is. Absent: as the policy, on for fastly and off for"
            " rfc9111."
        ),
    ] = None
    formats: Annotated[
        list[Literal["br", "gzip"]],
        Field(min_length=1, description="What is made; br is preferred, as at Fastly."),
    ] = Field(default=["br", "gzip"])
    min_size_bytes: Annotated[
        int,
        Size(0, 2**30),
        Field(
            description="Shortest body that is compressed, where its length is known. Below 150B"
            " most become longer. 0, as at Fastly: every one."
        ),
    ] = 150
    content_types: Annotated[
        list[Annotated[str, _MEDIA_TYPE]],
        Field(description="Media types that are compressed, besides `extensions`."),
    ] = Field(default=_COMPRESSED_TYPES)
    extensions: Annotated[
        list[
            Annotated[
                str, Text("[a-z0-9]{1,16}", "an extension in lower case without its dot, as in css")
            ]
        ],
        Field(description="Ends of paths that are compressed, besides `content_types`."),
    ] = Field(default=_COMPRESSED_EXTENSIONS)


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
        Field(
            description="Fastly-Key values that may purge and configure. None: URLs can still be"
            " purged with an X-Purge-Token, which the id signs.",
            repr=False,
        ),
    ] = Field(default_factory=list)


class Site(Section):
    """A further site of the same service, with its own address and its own objects."""

    pop: Annotated[str, _POP, Field(description="Its name, as in X-Served-By.")]
    listen: Annotated[str, Address(), Field(description="Address that it accepts clients on.")]


class CdnTimeouts(Timeouts):
    """A Fastly backend's: `server` is its first byte timeout."""

    connect_s: ConnectTimeout = 1.0
    server_s: ServerTimeout = 15.0
    between_bytes_s: BetweenBytesTimeout = 10.0


class CdnLimits(Limits):
    """A Fastly service's, as its reference of VCL's constraints and limitations has them.

    What one service may not exceed in production it should not exceed here. 0 takes a limit away,
    where it may be given.
    """

    platform: Annotated[
        bool | None,
        Field(
            description="Whether Fastly's own limits hold (url, cookie, response_header,"
            " response_header_count), and heads that are too long get its answers, 756 and 503,"
            " instead of 414 and 431. Absent: as the policy, yes for fastly and no for rfc9111."
        ),
    ] = None
    url_bytes: Annotated[
        int, Size(0, 65_536), Field(description="Longest URL, with its query. 0: no limit.")
    ] = 8_192
    cookie_bytes: Annotated[
        int,
        Size(0, 65_536),
        Field(
            description="Longest cookies of a request; longer ones are left out, and the origin is"
            " told by `Fastly-Cookie-Overflow: 1`. 0: no limit."
        ),
    ] = 32_768
    # Longer than `url`, which is what decides.
    request_line_bytes: Annotated[
        int, Size(256, 65_536), Field(description="Longest request line.")
    ] = 65_536
    header_bytes: Annotated[
        int,
        Size(256, 73_728),
        Field(description="Longest head of a request without its first line."),
    ] = 70_656
    header_count: Annotated[
        int, Count(1, 256, "header lines"), Field(description="Most header lines of a request.")
    ] = 255
    response_header_bytes: Annotated[
        int,
        Size(0, 73_728),
        Field(description="Longest head of an origin's answer, likewise. 0: no limit."),
    ] = 70_656
    response_header_count: Annotated[
        int,
        Count(0, 256, "header lines"),
        Field(description="Most header lines of an origin's answer. 0: no limit."),
    ] = 96


class CdnForwarded(Forwarded):
    """What Fastly adds on its way to the origin."""

    x_forwarded_for: ForwardedFor = "append"
    x_forwarded_proto: ForwardedProto = "set"
    x_forwarded_host: ForwardedHost = "set"
    x_forwarded_port: ForwardedPort = "off"
    via: Via = "varnish"
    strict_client_ip: Annotated[
        bool,
        Field(
            description="Whether a client's own Fastly-Client-IP is replaced. Fastly believes it"
            " unless VCL says otherwise; a site of the same service is always believed."
        ),
    ] = False


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
    hit_for_pass_s: Annotated[
        float,
        Duration(0, _YEAR_S),
        Field(
            description="Policy fastly: after an answer that is not shared, how long at least the"
            " requests for it go to the origin side by side instead of waiting for one another."
        ),
    ] = 120.0
    pass_no_store: Annotated[
        bool,
        Field(
            description="Policy fastly: whether `Cache-Control: no-store` keeps an answer out of"
            " the cache, as newer boilerplate VCL has it; Fastly itself does not read it."
        ),
    ] = False
    max_stale_while_revalidate_s: Annotated[
        float | None,
        Duration(0, _YEAR_S),
        Field(
            description="Longest time for which an answer's stale-while-revalidate counts. Absent:"
            " as the answer says."
        ),
    ] = None
    max_stale_if_error_s: Annotated[
        float | None,
        Duration(0, _YEAR_S),
        Field(
            description="Longest time for which an answer's stale-if-error counts. Absent: as the"
            " answer says."
        ),
    ] = None
    stale_if_disconnected_s: Annotated[
        float,
        Duration(0, _YEAR_S),
        Field(
            description="Policy rfc9111: how long an answer is served stale, also without"
            " stale-if-error, while no origin answers at all (RFC 9111 §4.2.4). 0: never."
        ),
    ] = 60.0
    heuristic: Heuristic = Field(
        default_factory=Heuristic,
        description="Policy rfc9111: a lifetime for answers that give none.",
    )
    compression: Compression = Field(
        default_factory=Compression,
        description="Which answers are compressed on their way into the cache.",
    )
    pop: Annotated[
        str, _POP, Field(description="The site that this CDN stands for, as in X-Served-By.")
    ] = "FRA"
    shield: Annotated[
        str | None,
        _POP,
        Field(description="The site that shields the origin. Absent: no shielding."),
    ] = None
    sites: list[Site] = Field(
        default_factory=list,
        description="Further sites beside `pop`, to see what visitors of each of them see.",
    )
    cache: Cache = Field(default_factory=Cache, description="Where objects are kept.")
    service: Service | None = Field(
        default=None,
        description="Identity for Fastly's own interface. Absent: the interface is closed.",
    )
    timeouts: CdnTimeouts = Field(
        default_factory=CdnTimeouts, description="How long the tier waits for what."
    )
    limits: CdnLimits = Field(
        default_factory=CdnLimits, description="How much of a message the tier accepts."
    )
    forwarded: CdnForwarded = Field(
        default_factory=CdnForwarded,
        description="What the tier tells the next one about the client.",
    )
    health_check: CdnHealthCheck = Field(
        default_factory=CdnHealthCheck,
        description="How the tier finds out whether its origin is usable.",
    )

    @property
    def compresses(self) -> bool:
        """Whether answers are compressed, by `compression.enabled` or else by the policy."""
        enabled = self.compression.enabled
        return self.policy == "fastly" if enabled is None else enabled

    @property
    def keeps_platform_limits(self) -> bool:
        """Whether Fastly's limits hold, by `limits.platform` or else by the policy."""
        platform = self.limits.platform
        return self.policy == "fastly" if platform is None else platform
