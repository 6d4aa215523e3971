"""What was changed at run time and is not in the file: nodes, targets, attributes.

Control takes the orders (`edge node add`, RegisterTargets, ModifyTargetGroupAttributes ...) and
keeps them in the arena's note, so they outlive every process but the last. A new generation is made
from the file with this laid over it. The file says the rest: a node that the file names again under
the same name is the file's.

A deregistered target is not taken out of the plan: its slot keeps the operator's state DRAIN, so no
worker picks it, and `deregistered` says until when it counts as draining. Registering it again is
one write of a state, without a new generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from edge.settings import Settings
from edge.settings.elb import Elb
from edge.settings.node import Node


@dataclass(frozen=True, slots=True)
class AddedNode:
    """A web node of the run time. `target_id`: what the ELBv2 API was told to call it."""

    name: str
    web: str
    zone: str = "a"
    weight: int = 1
    haproxy: str | None = None
    target_id: str | None = None

    def node(self) -> Node:
        return Node(
            name=self.name,
            web=self.web,
            zone=self.zone,
            weight=self.weight,
            haproxy=self.haproxy,
            role="web",
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """`removed`: names of nodes of the file. `deregistered`: unix seconds until which a node's
    target drains, by the node's name. `elb`, `target_group`: attributes by their settings' names.
    """

    nodes: tuple[AddedNode, ...] = ()
    removed: tuple[str, ...] = ()
    deregistered: Mapping[str, float] = field(default_factory=dict)
    elb: Mapping[str, Any] = field(default_factory=dict)
    target_group: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, note: bytes) -> Registry:
        """Of the arena's note; empty before the first order."""
        if not note:
            return cls()
        fields = orjson.loads(note)
        nodes = tuple(AddedNode(**row) for row in fields.pop("nodes"))
        removed = tuple(fields.pop("removed"))
        return cls(nodes=nodes, removed=removed, **fields)

    def write(self) -> bytes:
        return orjson.dumps(asdict(self))

    # -- changes: each gives a new one ------------------------------------------------------------

    def with_node(self, added: AddedNode) -> Registry:
        others = tuple(node for node in self.nodes if node.name != added.name)
        removed = tuple(name for name in self.removed if name != added.name)
        return replace(self, nodes=(*others, added), removed=removed).registered(added.name)

    def without_node(self, name: str) -> Registry:
        """A node that was added goes; one of the file is remembered as removed."""
        others = tuple(node for node in self.nodes if node.name != name)
        if len(others) < len(self.nodes):
            return replace(self, nodes=others).registered(name)
        return replace(self, removed=(*dict.fromkeys((*self.removed, name)),)).registered(name)

    def restored(self, name: str) -> Registry:
        """A node of the file is back."""
        return replace(self, removed=tuple(each for each in self.removed if each != name))

    def deregistering(self, name: str, until: float) -> Registry:
        return replace(self, deregistered={**self.deregistered, name: until})

    def registered(self, name: str) -> Registry:
        left = {node: until for node, until in self.deregistered.items() if node != name}
        return replace(self, deregistered=left)

    # -- reading ----------------------------------------------------------------------------------

    def added(self, name: str) -> AddedNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def apply(self, settings: Settings, now: float) -> Settings:
        """The file's settings with these changes. A node that was added and whose target has
        drained to its end is left out. `now`: unix seconds."""
        names = {node.name for node in settings.nodes}
        kept = [node for node in settings.nodes if node.name not in self.removed]
        added = [
            node.node()
            for node in self.nodes
            if node.name not in names and self.deregistered.get(node.name, now + 1) > now
        ]
        # Without one there would be no tier to take an order from.
        nodes = [*kept, *added] if any(node.serves_web for node in [*kept, *added]) else None
        update: dict[str, Any] = {"nodes": nodes or settings.nodes}
        if settings.elb is not None:
            update["elb"] = self.apply_to_elb(settings.elb)
        return settings.model_copy(update=update)

    def apply_to_elb(self, elb: Elb) -> Elb:
        group = elb.target_group.model_copy(update=dict(self.target_group))
        own = {name: value for name, value in self.elb.items() if "." not in name}
        update: dict[str, Any] = {**own, "target_group": group}
        for section in ("timeouts", "forwarded"):
            prefix = f"{section}."
            inner = {
                name.removeprefix(prefix): value
                for name, value in self.elb.items()
                if name.startswith(prefix)
            }
            update[section] = getattr(elb, section).model_copy(update=inner)
        return elb.model_copy(update=update)
