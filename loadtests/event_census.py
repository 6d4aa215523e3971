"""What edge holds when nothing runs: descriptors, mappings, rows, slots, counts, the cache's books.

Taken before the load and after it, when every client has gone and kept connections have aged
away; the two must be equal. The memory of the cache must belong to its objects to the last unit.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ext.arena import Arena
from ext.store import Store
from loadtests.event_cluster import Cluster, role_of

# A number in the name of a descriptor or mapping: of an inode, of an address.
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Census:
    """`descriptors` and `mappings` by role and kind; `slots` are the names in the arena."""

    processes: Counter[str]
    descriptors: Counter[str]
    mappings: Counter[str]
    rows: int
    slots: tuple[str, ...]

    def without_guests(self, other: Census) -> Census:
        """What both have. A check that is under way has a socket in the one and not in the other,
        and so has a client of the admin address; what has leaked is in both."""
        return Census(
            self.processes & other.processes,
            self.descriptors & other.descriptors,
            self.mappings & other.mappings,
            min(self.rows, other.rows),
            tuple(name for name in self.slots if name in other.slots),
        )

    def differences(self, after: Census) -> Iterator[str]:
        """What has become more or less since."""
        for name in ("processes", "descriptors", "mappings"):
            old: Counter[str] = getattr(self, name)
            new: Counter[str] = getattr(after, name)
            for kind in sorted(old.keys() | new.keys()):
                if old[kind] != new[kind]:
                    yield f"{name} of {kind}: {old[kind]} before, {new[kind]} after"
        if self.rows != after.rows:
            yield f"rows of workers: {self.rows} before, {after.rows} after"
        if self.slots != after.slots:
            yield f"slots: {self.slots} before, {after.slots} after"


def take_census(cluster: Cluster) -> Census:
    """Of an edge at rest."""
    processes: Counter[str] = Counter()
    descriptors: Counter[str] = Counter()
    mappings: Counter[str] = Counter()
    for process in cluster.processes():
        role = role_of(process)
        processes[role] += 1
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                descriptors[f"{role} {NUMBER.sub('N', str(entry.readlink()))}"] += 1
            except FileNotFoundError:
                continue
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            if "memfd:" in line:
                mappings[f"{role} {line.split('memfd:')[1].split()[0]}"] += 1
    arena = attach_arena(cluster.supervisor())
    slots = (*sorted(arena.tier_names()), *sorted(arena.server_names()))
    return Census(processes, descriptors, mappings, len(arena.rows()), slots)


def running_things(status: Any) -> Iterator[str]:
    """What the status says is still under way; nothing, at rest."""
    for tier in status["tiers"]:
        counts = {"in_flight": tier["in_flight"]} | tier["counters"]
        for name in ("in_flight", "queued", "connections_open"):
            if counts[name]:
                yield f"{tier['name']}: {name} {counts[name]}"
        for server in tier["servers"]:
            counts = {"in_flight": server["in_flight"]} | server["counters"]
            for name in ("in_flight", "connections_open", "connections_idle"):
                if counts[name]:
                    yield f"{tier['name']}/{server['name']}: {name} {counts[name]}"
    cache = status["cache"]
    for name in ("fills", "leases"):
        if cache[name]:
            yield f"cache: {name} {cache[name]}"


def cache_faults(cluster: Cluster) -> Iterator[str]:
    """Units of the cache's memory that belong to nobody, or to two."""
    fd = descriptor_of(cluster.supervisor(), "memfd:edge-cache")
    try:
        books = Store.attach(fd).audit()
    finally:
        os.close(fd)
    for name in ("lost", "twice", "dead", "orphaned", "queued"):
        if books[name]:
            yield f"cache: {books[name]} units {name}"
    if books["free"] + books["live"] != books["units"]:
        yield f"cache: {books}"


def attach_arena(supervisor: psutil.Process) -> Arena:
    """The arena of a running edge, seen from here."""
    fd = descriptor_of(supervisor, "memfd:edge-arena")
    try:
        return Arena.attach(fd)
    finally:
        os.close(fd)  # it is mapped


def descriptor_of(process: psutil.Process, name: str) -> int:
    """A descriptor of our own for a file of that process."""
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        if name in str(path.readlink()):
            return os.open(path, os.O_RDWR)
    raise ValueError(f"process {process.pid} has no {name}")
