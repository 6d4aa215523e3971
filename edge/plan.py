"""The plan: which tiers a process runs, what servers each has, where it listens, what is checked.

Called by the supervisor (slots, sockets), the workers (run-time objects) and control (checks), each
from the same settings, so that all three mean the same thing by a name. Pure: nothing is opened.

Names: a tier is `cdn`, `elb`, `haproxy`, or `haproxy@node1` where an elb stands in front and every
VM has its own; `elb@a` is the elb's part in a zone, where the file gives one address per zone, and
does what a load balancer's node does there: its own checks, its own choice. A server is
`tier/server`. Fused (`tier` is None) all tiers are in one process and a
server of one tier may be the next tier; split, each server is an address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from edge.errors import Bug, EdgeError
from edge.settings import Settings
from edge.settings.address import join_address, split_address
from edge.settings.cdn import Cdn
from edge.settings.elb import Elb
from edge.settings.haproxy import Backend, Haproxy
from edge.settings.health_check import HealthCheck
from edge.settings.node import Node
from edge.settings.section import Section
from edge.settings.tcp import Tcp

TierKind = Literal["cdn", "elb", "haproxy", "tcp"]
CheckKind = Literal["tcp", "http", "tier"]

# How a zone of an elb is looked at by the tier in front, whatever checks that has of its own: what
# the zone says of itself is in DNS at once.
DNS_LOOK = HealthCheck(interval_s=0.5, rise=1, fall=1)


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One server: at an address, or (fused) the tier behind.

    `is_hop`: the tier behind is another site, reached by a connection although it is in the same
    process. `node`: the machine it stands on, or None when it is a whole tier.
    """

    name: str
    key: str
    address: str | None
    next_tier: str | None
    is_hop: bool = False
    weight: int = 1
    backup: bool = False
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    node: str | None = None
    cookie: str | None = None
    agent_port: int | None = None


@dataclass(frozen=True, slots=True)
class TierPlan:
    """One tier. `next_tier`: fused cdn only, which hands everything to one tier behind it.
    `frontend`: of a haproxy backend, the tier whose rules choose it; it has no listener."""

    name: str
    kind: TierKind
    settings: Cdn | Elb | Haproxy | Tcp
    servers: tuple[ServerPlan, ...]
    port: int
    next_tier: str | None = None
    frontend: str | None = None

    @property
    def http(self) -> Cdn | Elb | Haproxy:
        """The settings of a tier of HTTP; to ask one of TCP for them is a Bug."""
        if isinstance(self.settings, Tcp):
            raise Bug(f"{self.name} is no tier of HTTP")
        return self.settings

    @property
    def fails_open(self) -> bool:
        """Whether a tier without a usable server uses all. An elb does; and what stands before
        its zones does, as DNS has every zone again when all have failed."""
        return self.kind == "elb" or any(_is_zone(server.name) for server in self.servers)


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """An address that a tier accepts clients on."""

    tier: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """One check flow. `tier` checks ask the tier behind, as HAProxy's monitor-uri answers.

    `agent_port`: of this server alone; None, that of its tier.
    """

    key: str
    kind: CheckKind
    address: str | None
    next_tier: str | None
    health_check: HealthCheck
    send_proxy: str = "off"
    agent_port: int | None = None
    starts_up: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one `edge run` does."""

    tiers: tuple[TierPlan, ...]
    listeners: tuple[ListenerPlan, ...]
    checks: tuple[CheckPlan, ...]


def build_plan(settings: Settings, tier: str | None) -> Plan:
    """The plan of all tiers fused, or of one. EdgeError if `tier` is not in the file."""
    tiers = _fused(settings) if tier is None else _split(settings, tier)
    listeners = tuple(
        ListenerPlan(planned.name, *split_address(address))
        for planned in tiers
        if planned.frontend is None
        and (address := _listen_address(settings, planned.name)) is not None
    )
    if not listeners:
        key = "each node a `haproxy`" if str(tier).startswith("haproxy@") else "it a `listen`"
        raise EdgeError(f"tier {tier} has no address to accept on: give {key} address")
    checks = tuple(
        _check(server, planned.settings, begins_up=starts_up(planned))
        for planned in tiers
        for server in planned.servers
    )
    return Plan(tiers, listeners, checks)


def starts_up(tier: TierPlan) -> bool:
    """Whether a server counts as up before its first check, as at HAProxy. A target of an elb is
    `initial` until one check has passed; while all are, the elb fails open."""
    return not (tier.kind == "elb" and tier.settings.health_check.enabled)


def tier_names(settings: Settings) -> list[str]:
    """The names that `--tier` accepts for these settings, from the client inwards."""
    names = [name for name in ("cdn", "elb") if getattr(settings, name) is not None]
    if settings.elb is not None:
        names += [_zone_name(zone) for zone in settings.elb.zones]
    if settings.haproxy is not None:
        names += _haproxy_names(settings)
    return names + [listener.name for listener in settings.tcp]


def _haproxy_names(settings: Settings) -> list[str]:
    if settings.elb is None:
        return ["haproxy"]
    return [f"haproxy@{node.name}" for node in settings.web_nodes]


def _fused(settings: Settings) -> tuple[TierPlan, ...]:
    """cdn -> elb -> haproxy@X -> nodes; each tier may be missing."""
    tiers: list[TierPlan] = []
    behind_cdn = None
    if settings.elb is not None:
        behind_cdn = None if settings.elb.zones else "elb"
    elif settings.haproxy is not None:
        behind_cdn = "haproxy"
    if settings.cdn is not None:
        servers: tuple[ServerPlan, ...] = ()
        if settings.elb is not None and settings.elb.zones:
            servers = _zone_hops(settings.elb)
        elif behind_cdn is None:
            servers = _node_servers("cdn", settings, settings.web_nodes)
        tiers += _cdns(settings, settings.cdn, servers, behind_cdn)
    tiers += _elbs(settings, fused=True)
    if settings.haproxy is not None:
        for name in _haproxy_names(settings):
            tiers += _haproxies(name, settings, settings.haproxy)
    return (*tiers, *(_tcp_tier(settings, listener) for listener in settings.tcp))


def _split(settings: Settings, name: str) -> tuple[TierPlan, ...]:
    """One tier whose servers are the addresses of the tier behind it; the cdn with its shield."""
    if name not in tier_names(settings):
        raise EdgeError(f"no tier {name!r} in the file; it has: {', '.join(tier_names(settings))}")
    if name == "cdn":
        assert settings.cdn is not None
        return tuple(_cdns(settings, settings.cdn, _behind_cdn(settings), None))
    for listener in settings.tcp:
        if listener.name == name:
            return (_tcp_tier(settings, listener),)
    if name == "elb" or _is_zone(name):
        return tuple(tier for tier in _elbs(settings, fused=False) if name in ("elb", tier.name))
    assert settings.haproxy is not None
    return tuple(_haproxies(name, settings, settings.haproxy))


def _haproxies(name: str, settings: Settings, haproxy: Haproxy) -> list[TierPlan]:
    """The HAProxy of this name: the frontend with its own servers, then its further backends."""
    servers = _node_servers(name, settings, chosen_nodes(settings, haproxy), haproxy)
    frontend = _tier(name, "haproxy", settings, servers)
    made = [frontend]
    for own_name, backend in haproxy.backends.items():
        full_name = backend_name(own_name, name)
        section = backend_settings(haproxy, backend)
        servers = _node_servers(full_name, settings, chosen_nodes(settings, section), section)
        made.append(
            replace(frontend, name=full_name, settings=section, servers=servers, frontend=name)
        )
    return made


def backend_name(own_name: str, frontend: str) -> str:
    """The tier of a backend: `api`, or `api@node1` for the frontend haproxy@node1."""
    return own_name + frontend.removeprefix("haproxy")


def chosen_nodes(settings: Settings, section: Backend) -> list[Node]:
    """The nodes that a farm's servers stand on, in file order."""
    if section.nodes is None:
        return settings.web_nodes
    return [node for node in settings.web_nodes if node.name in section.nodes]


def backend_settings(haproxy: Haproxy, backend: Backend) -> Haproxy:
    """A backend's keys; those that it does not have are the haproxy tier's, its rules excepted."""
    own: dict[str, Any] = {
        name: merged(getattr(haproxy, name), getattr(backend, name))
        for name in backend.model_fields_set
    }
    rules = ("acl", "http_request", "http_response", "nodes")
    return haproxy.model_copy(
        update={
            "use_backend": [],
            "default_backend": None,
            "monitor_uri": None,
            "monitor_fail": None,
            "backends": {},
            "stats": None,
            **{name: getattr(backend, name) for name in rules},
            **own,
        }
    )


def merged(inherited: object, own: object) -> object:
    """A section's own keys over those that it inherits."""
    if not isinstance(own, Section) or not isinstance(inherited, Section):
        return own
    update = {
        name: merged(getattr(inherited, name), getattr(own, name)) for name in own.model_fields_set
    }
    return inherited.model_copy(update=update)


def _elbs(settings: Settings, *, fused: bool) -> list[TierPlan]:
    """The elb, or its part in each zone: with the targets of all zones that have an address, or
    with its own zone's only."""
    if settings.elb is None:
        return []
    zones = settings.elb.zones
    if not zones:
        return [_tier("elb", "elb", settings, _targets(settings, "elb", set(), fused=fused))]
    crosses = settings.elb.target_group.load_balancing_cross_zone_enabled
    tiers = []
    for zone in zones:
        name = _zone_name(zone)
        targets = _targets(settings, name, set(zones) if crosses else {zone}, fused=fused)
        tiers.append(_tier(name, "elb", settings, targets))
    return tiers


def _zone_hops(elb: Elb) -> tuple[ServerPlan, ...]:
    """The zones as the cdn in front of them has them, in one process."""
    names = [_zone_name(zone) for zone in elb.zones]
    return tuple(ServerPlan(name, f"cdn/{name}", None, name, is_hop=True) for name in names)


def _zone_name(zone: str) -> str:
    return f"elb@{zone}"


def _is_zone(tier: str) -> bool:
    return tier.startswith("elb@")


def _cdns(
    settings: Settings, cdn: Cdn, servers: tuple[ServerPlan, ...], behind: str | None
) -> list[TierPlan]:
    """The cdn and its further sites, and the site that shields its origin where there is one: a
    second pass through the same service. A shield never answers stale (Fastly: shielding)."""
    first = _tier("cdn", "cdn", settings, servers, behind)
    edges = [first]
    for site in cdn.sites:
        port = split_address(site.listen)[1]
        edges.append(replace(_as_site(first, cdn, {"pop": site.pop}), port=port))
    if cdn.shield is None:
        return edges
    changes = {"pop": cdn.shield, "shield": None, "max_stale_while_revalidate_s": 0.0}
    shield = _as_site(first, cdn, changes)
    hops = [
        ServerPlan(shield.name, f"{edge.name}/{shield.name}", None, shield.name, is_hop=True)
        for edge in edges
    ]
    return [
        *(
            replace(edge, servers=(hop,), next_tier=None)
            for edge, hop in zip(edges, hops, strict=True)
        ),
        shield,
    ]


def _as_site(first: TierPlan, cdn: Cdn, changes: dict[str, Any]) -> TierPlan:
    """The same service at another site: what is counted and what is stored is its own."""
    name = f"cdn@{changes['pop']}"
    servers = tuple(replace(server, key=f"{name}/{server.name}") for server in first.servers)
    return replace(first, name=name, settings=cdn.model_copy(update=changes), servers=servers)


def _behind_cdn(settings: Settings) -> tuple[ServerPlan, ...]:
    if settings.elb is not None and settings.elb.zones:
        zones = settings.elb.zones.items()
        return tuple(
            ServerPlan(_zone_name(zone), f"cdn/{_zone_name(zone)}", address, None)
            for zone, address in zones
        )
    for name, tier in (("elb", settings.elb), ("haproxy", settings.haproxy)):
        if tier is not None:
            if tier.listen is None:
                raise EdgeError(f"{name} has no `listen`: as another process the cdn needs it")
            return (ServerPlan(name, f"cdn/{name}", tier.listen, None),)
    return _node_servers("cdn", settings, settings.web_nodes)


def _targets(
    settings: Settings, tier: str, zones: set[str], *, fused: bool
) -> tuple[ServerPlan, ...]:
    """The elb's targets: the HAProxy of each VM, or the nodes where there is none; those in
    `zones`, or all."""
    nodes = [node for node in settings.web_nodes if not zones or node.zone in zones]
    if settings.haproxy is None:
        return _node_servers(tier, settings, nodes)
    targets = []
    for node in nodes:
        name = f"haproxy@{node.name}"
        if not fused and node.haproxy is None:
            raise EdgeError(f"node {node.name} has no `haproxy` address: the elb cannot reach it")
        address = None if fused else node.haproxy
        next_tier = name if fused else None
        targets.append(ServerPlan(name, f"{tier}/{name}", address, next_tier, node=node.name))
    return tuple(targets)


def _node_servers(
    tier: str, settings: Settings, nodes: list[Node], section: Backend | None = None
) -> tuple[ServerPlan, ...]:
    section = section or settings.haproxy
    maxconn, minconn, maxqueue = (
        (0, 0, 0)
        if section is None
        else (section.server_maxconn, section.server_minconn, section.server_maxqueue)
    )
    return tuple(
        ServerPlan(
            name=node.name,
            key=f"{tier}/{node.name}",
            address=node.web,
            next_tier=None,
            weight=node.weight,
            backup=node.backup,
            # As HAProxy: a `minconn` that is not below `maxconn` is the limit.
            maxconn=max(node.maxconn or maxconn, node.minconn or minconn),
            minconn=node.minconn or minconn,
            maxqueue=node.maxqueue or maxqueue,
            node=node.name,
            cookie=node.cookie or node.name,
            agent_port=node.agent_port,
        )
        for node in nodes
    )


def _tcp_tier(settings: Settings, listener: Tcp) -> TierPlan:
    servers = [
        ServerPlan(
            name=server.name,
            key=f"{listener.name}/{server.name}",
            address=server.address,
            next_tier=None,
            weight=server.weight,
            backup=server.backup,
            maxconn=server.maxconn or listener.server_maxconn,
            node=next((node.name for node in settings.nodes if node.name == server.name), None),
        )
        for server in listener.servers or ()
    ]
    if listener.node_port is not None:
        servers += [
            ServerPlan(
                name=node.name,
                key=f"{listener.name}/{node.name}",
                address=join_address(node.machine, listener.node_port),
                next_tier=None,
                weight=node.weight,
                backup=node.backup,
                maxconn=listener.server_maxconn,
                node=node.name,
            )
            for node in settings.nodes
            if node.role != "web" and node.machine is not None
        ]
    port = split_address(listener.listen)[1]
    return TierPlan(listener.name, "tcp", listener, tuple(servers), port)


def _tier(
    name: str,
    kind: TierKind,
    settings: Settings,
    servers: tuple[ServerPlan, ...],
    next_tier: str | None = None,
) -> TierPlan:
    section = getattr(settings, kind)
    address = _listen_address(settings, name) or _outermost_address(settings)
    return TierPlan(name, kind, section, servers, split_address(address)[1], next_tier)


def _listen_address(settings: Settings, tier: str) -> str | None:
    """Where a tier listens: its `listen`, or the VM's `haproxy` address."""
    if tier.startswith("cdn@"):  # the shield has no address: only the other sites reach it
        assert settings.cdn is not None
        return next((s.listen for s in settings.cdn.sites if f"cdn@{s.pop}" == tier), None)
    if _is_zone(tier):
        assert settings.elb is not None
        return settings.elb.zones[tier.removeprefix("elb@")]
    if tier.startswith("haproxy@"):
        node = next(node for node in settings.web_nodes if f"haproxy@{node.name}" == tier)
        return node.haproxy
    listener = next((row for row in settings.tcp if row.name == tier), None)
    if listener is not None:
        return listener.listen
    section: Cdn | Elb | Haproxy = getattr(settings, tier)
    return section.listen


def _outermost_address(settings: Settings) -> str:
    """For a tier that is reached only from inside: the address its clients really came to."""
    for section in (settings.cdn, settings.elb, settings.haproxy):
        if section is not None and section.listen is not None:
            return section.listen
    if settings.elb is not None and settings.elb.zones:
        return next(iter(settings.elb.zones.values()))
    return next(node.haproxy for node in settings.web_nodes if node.haproxy is not None)


def _check(
    server: ServerPlan, settings: Cdn | Elb | Haproxy | Tcp, *, begins_up: bool
) -> CheckPlan:
    health_check = settings.health_check
    kind: CheckKind = "http" if health_check.path or health_check.http_check else "tcp"
    if server.is_hop and _is_zone(server.name):
        health_check = DNS_LOOK
    if server.next_tier is not None:
        kind = "tier"
    return CheckPlan(
        server.key,
        kind,
        server.address,
        server.next_tier,
        health_check,
        settings.send_proxy,
        server.agent_port,
        begins_up,
    )
