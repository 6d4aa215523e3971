"""The targets of the elb: who they are, how they do, and orders to register or deregister them.

A target is a node of the file (its id is the node's name, as an instance's id at AWS) or one that
was registered while edge runs (its id is what it was registered as). It may be asked for by its
address as well. With an address per zone every part of the elb checks every target; what is told is
what the part in the target's own zone finds.

Orders write the arena: the state DRAIN takes effect at each worker's next request. Only a target
that no worker knows needs a new generation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge.clock import wall
from edge.console import say
from edge.control.elb.xml import ApiError
from edge.control.view import usable_servers
from edge.elb.target_health import Facts, TargetHealth, target_health
from edge.health.server import ServerChecks
from edge.plan import Plan, TierPlan
from edge.registry import AddedNode, Registry
from edge.settings import Settings
from edge.settings.address import join_address, split_address
from edge.settings.elb import Elb
from edge.settings.node import Node
from ext.arena import Arena
from ext.limits import AdminState, ServerState


@dataclass(frozen=True, slots=True)
class Asked:
    """One target as a request names it."""

    id: str
    port: int | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One target. `keys`: of the servers that it is, one for each part of the elb that has it."""

    id: str
    port: int
    zone: str
    node: Node
    keys: tuple[str, ...]
    health: TargetHealth

    def is_asked(self, asked: Asked) -> bool:
        names = (self.id, self.node.name, f"haproxy@{self.node.name}", self.host)
        return asked.id in names and asked.port in (None, self.port)

    @property
    def host(self) -> str:
        return split_address(self.node.haproxy or self.node.web_address)[0]


class Targets:
    """The elb's targets, of the generation that this control process belongs to."""

    def __init__(
        self,
        arena: Arena,
        plan: Plan,
        settings: Settings,
        slots: Mapping[str, int],
        checks: Mapping[str, ServerChecks],
        reload: Callable[[], None],
    ) -> None:
        assert settings.elb is not None
        self.elb: Elb = settings.elb
        self._settings = settings
        self._arena = arena
        self._slots = slots
        self._checks = checks
        self._reload = reload
        self._tiers = [tier for tier in plan.tiers if tier.kind == "elb"]
        self._is_split = not any(tier.kind == "haproxy" for tier in plan.tiers)
        self._servers = [
            (server.node, server.key) for tier in plan.tiers for server in tier.servers
        ]

    # -- reading ----------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        return Registry.read(self._arena.note())

    def current_elb(self) -> Elb:
        """The settings of the tier with every change of the run time, also the last."""
        return self.registry.apply_to_elb(self.elb)

    def all(self) -> list[Target]:
        """Every target, in the order of the file; those on their way out as well."""
        registry = self.registry
        known = {node.name: node for node in self._settings.web_nodes}
        for added in registry.nodes:
            known.setdefault(added.name, added.node())
        return [
            self._target(node, registry)
            for node in known.values()
            if node.name not in registry.removed
        ]

    def registered(self) -> list[Target]:
        return [each for each in self.all() if each.health.reason != "Target.NotRegistered"]

    def asked(self, asked: Asked) -> Target | None:
        found = [target for target in self.all() if target.is_asked(asked)]
        return found[0] if found else None

    def health_by_key(self) -> dict[str, TargetHealth]:
        """For the status: what each part of the elb finds of each of its targets."""
        registry = self.registry
        nodes = {node.name: node for node in self._settings.web_nodes}
        return {
            server.key: target_health(self._facts(nodes[server.node], (server.key,), registry))
            for tier in self._tiers
            for server in tier.servers
            if server.node in nodes
        }

    def in_dns(self, tier: str, healthy: int) -> bool | None:
        """Whether a zone's address is told to clients; if none were, all are. None: no zone."""
        zones = {each.name: each for each in self._tiers if each.name.startswith("elb@")}
        if tier not in zones:
            return None
        group = self.elb.target_group
        if healthy >= group.leaves_dns_below(len(zones[tier].servers)):
            return True
        others = [each for name, each in zones.items() if name != tier]
        return not any(
            self._healthy(each) >= group.leaves_dns_below(len(each.servers)) for each in others
        )

    def _healthy(self, tier: TierPlan) -> int:
        return usable_servers(self._arena, self._slots, [server.key for server in tier.servers])

    def slot(self, key: str) -> int:
        return self._slots[key]

    def _target(self, node: Node, registry: Registry) -> Target:
        added = registry.added(node.name)
        keys = self._keys(node)
        address = self._address(node)
        return Target(
            id=node.name if added is None or added.target_id is None else added.target_id,
            port=split_address(address)[1],
            zone=node.zone,
            node=node,
            keys=keys,
            health=target_health(self._facts(node, keys, registry)),
        )

    def _address(self, node: Node) -> str:
        if self._settings.haproxy is None or node.haproxy is None:
            return node.web_address
        return node.haproxy

    def _keys(self, node: Node) -> tuple[str, ...]:
        """Of the part in the node's own zone first."""
        own = f"elb@{node.zone}"
        tiers = sorted(self._tiers, key=lambda tier: tier.name != own)
        return tuple(
            server.key for tier in tiers for server in tier.servers if server.node == node.name
        )

    def _facts(self, node: Node, keys: Sequence[str], registry: Registry) -> Facts:
        until = registry.deregistered.get(node.name)
        zones = self.elb.zones
        if not keys:
            return Facts(
                is_zone_enabled=not zones or node.zone in zones,
                is_registered=until is None or until > wall(),
                is_served=False,
            )
        state = self._arena.server(self._slots[keys[0]])
        checks = self._checks.get(keys[0])
        last = None if checks is None else checks.last
        is_out = state["admin"] == AdminState.DRAIN
        return Facts(
            is_registered=not (is_out and until is not None and until <= wall()),
            is_deregistering=is_out,
            is_stopped=state["admin"] == AdminState.MAINT,
            has_checks=self.elb.health_check.enabled,
            is_checked=state["checked"],
            is_up=state["state"] == ServerState.UP,
            check_status=state["check_status"],
            code=None if last is None else last.code,
        )

    # -- orders -----------------------------------------------------------------------------------

    def register(self, asked: Iterable[Asked]) -> None:
        """Registers every one, or none: ApiError for the first that cannot be."""
        found = [(each, self.asked(each)) for each in asked]
        registry = self.registry
        needs_generation = False
        again = [target for _, target in found if target is not None]
        for each, target in found:
            if target is None:
                registry = registry.with_node(self._new_node(each))
                needs_generation = True
        for target in again:
            registry = registry.registered(target.node.name)
        self._note(registry)
        for target in again:
            self._set_admin(target, AdminState.READY)
            needs_generation = needs_generation or not target.keys
        if needs_generation:
            self._reload()

    def deregister(self, asked: Iterable[Asked]) -> None:
        """No new requests from now on. One that is not registered is no mistake, as at AWS."""
        delay_s = self.current_elb().target_group.deregistration_delay_timeout_seconds
        registry = self.registry
        gone = [target for each in asked if (target := self.asked(each)) is not None]
        gone = [target for target in gone if target.health.state not in ("draining", "unused")]
        for target in gone:
            registry = registry.deregistering(target.node.name, wall() + delay_s)
        self._note(registry)
        for target in gone:
            self._set_admin(target, AdminState.DRAIN)
            say(f"target {target.id} is deregistered: it drains for {delay_s}s")

    def change(self, change: Callable[[Registry, Elb], Registry]) -> None:
        """Attributes change with a new generation."""
        before = self.registry
        after = change(before, before.apply_to_elb(self.elb))
        if after != before:
            self._note(after)
            self._reload()

    def expire(self, cut: Callable[[int], None]) -> None:
        """What the end of a delay brings, and an operator who has taken a target back in. `cut`
        ends the requests that still run at a server, by its slot."""
        registry = after = self.registry
        for name, until in registry.deregistered.items():
            keys = [key for node, key in self._servers if node == name]
            own = [key for key in keys if key.startswith("elb")]
            if own and self._arena.server(self._slots[own[0]])["admin"] == AdminState.READY:
                after = after.registered(name)
            elif until <= wall():
                is_added = after.added(name) is not None
                for key in keys if is_added else own:
                    if self._arena.server_counters(self._slots[key])["in_flight"]:
                        cut(self._slots[key])
                if is_added and not keys:  # no generation has it any more
                    after = after.without_node(name)
        if after != registry:
            self._note(after)

    def _set_admin(self, target: Target, state: AdminState) -> None:
        """A target that was registered at run time is a node of ours: it is out everywhere."""
        is_added = self.registry.added(target.node.name) is not None
        keys = [key for node, key in self._servers if node == target.node.name]
        for key in keys if is_added else target.keys:
            self._arena.set_server(self._slots[key], admin=state)

    def _new_node(self, asked: Asked) -> AddedNode:
        try:
            host = str(ipaddress.ip_address(asked.id))
        except ValueError:
            message = f"The target '{asked.id}' is neither a node of the file nor an IP address"
            raise ApiError("InvalidTarget", message) from None
        if asked.port is None:
            message = f"The target '{asked.id}' needs a Port: edge knows no machine at that address"
            raise ApiError("ValidationError", message)
        address = join_address(host, asked.port)
        zones = list(self.elb.zones) or [node.zone for node in self._settings.web_nodes]
        if asked.zone is not None and self.elb.zones and asked.zone not in zones:
            message = f"The zone '{asked.zone}' is none of the load balancer's: {', '.join(zones)}"
            raise ApiError("ValidationError", message)
        name = "ip-" + "-".join([*host.replace(":", ".").split("."), str(asked.port)])
        return AddedNode(
            name=name,
            web=address,
            zone=asked.zone or zones[0],
            haproxy=address if self._is_split and self._settings.haproxy is not None else None,
            target_id=host,
        )

    def _note(self, registry: Registry) -> None:
        try:
            self._arena.set_note(registry.write())
        except ValueError as error:
            raise ApiError("TooManyTargets", str(error)) from None
