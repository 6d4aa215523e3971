"""The memory of stick tables over generations: made by the supervisor, mapped by its processes.

Each HAProxy has its own tables, so behind an elb each VM has: the table `clients` of
`haproxy@node1` goes by `clients@node1`. A reload keeps a table that has the same type, key length,
size, expiry and data as before; else it begins empty.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from edge.errors import EdgeError
from edge.plan import Plan
from edge.settings.haproxy import Haproxy
from edge.settings.stick_table import StickTable as Settings
from edge.settings.stick_table import stored_data
from ext.sticktable import StickTable

TableOptions = dict[str, Any]


def table_orders(plan: Plan) -> dict[str, TableOptions]:
    """What each table is made of, by its name."""
    return {
        name + vm_of(tier.name): table_options(table)
        for tier in plan.tiers
        if isinstance(tier.settings, Haproxy)
        for name, table in tier.settings.stick_tables.items()
    }


def vm_of(tier: str) -> str:
    """`@node1` of `haproxy@node1`; nothing where there is one HAProxy."""
    _, at, node = tier.partition("@")
    return at + node


def tables_of(tier: str, tables: Mapping[str, StickTable]) -> dict[str, StickTable]:
    """Those that a tier's rules may name, by the names of the file."""
    vm = vm_of(tier)
    return {
        name.removesuffix(vm): table
        for name, table in tables.items()
        if (name.endswith(vm) if vm else "@" not in name)
    }


def table_options(table: Settings) -> TableOptions:
    """The arguments of `StickTable.create`."""
    return {
        "key_type": table.type,
        "size": table.size,
        "key_bytes": table.length,
        "expire_ms": round(table.expire_s * 1000),
        "nopurge": table.nopurge,
        "store": stored_data(table.store),
    }


def attach_tables(fds: Mapping[str, int], row: int | None) -> dict[str, StickTable]:
    """The tables of a job; a worker tracks keys in its row."""
    return {name: StickTable.attach(fd, -1 if row is None else row) for name, fd in fds.items()}


class StickTables:
    """The supervisor's own."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[TableOptions, StickTable]] = {}
        self._accepted: dict[str, tuple[TableOptions, StickTable]] = {}

    def hand_over(self) -> dict[str, TableOptions]:
        """What each table is made of, for the program that replaces this one, with `fds`."""
        return {name: options for name, (options, _) in self._accepted.items()}

    def fds(self) -> dict[str, int]:
        return {name: table.fd for name, (_, table) in self._accepted.items()}

    def take_over(self, options: Mapping[str, TableOptions], fds: Mapping[str, int]) -> list[str]:
        """Takes tables as `hand_over` and `fds` gave them, through JSON. The names of those that
        this version cannot read, and of those that have no descriptor; they begin empty."""
        for name, made in options.items():
            with contextlib.suppress(ValueError, KeyError):
                table = StickTable.attach(fds[name])
                store = tuple((data, period_ms) for data, period_ms in made["store"])
                self._accepted[name] = ({**made, "store": store}, table)
        self._tables = dict(self._accepted)
        return [name for name in options if name not in self._accepted]

    def everything(self) -> list[StickTable]:
        return [table for _, table in self._tables.values()]

    def open(self, orders: Mapping[str, TableOptions]) -> None:
        """Makes what is missing or has changed. EdgeError; `undo` is to be called then, too."""
        self._tables = dict(self._accepted)
        for name, options in orders.items():
            kept = self._accepted.get(name)
            if kept is None or kept[0] != options:
                self._tables[name] = (options, _made(name, options))

    def of(self, orders: Iterable[str]) -> dict[str, StickTable]:
        """The tables by their names."""
        return {name: self._tables[name][1] for name in orders}

    def accept(self, orders: Iterable[str]) -> None:
        """These serve: closes what only the generation before used."""
        serving = {name: self._tables[name] for name in orders}
        self._close_but(serving)
        self._accepted = serving

    def undo(self) -> None:
        """Closes what was made since the last `accept`."""
        self._close_but(self._accepted)

    def _close_but(self, kept: Mapping[str, tuple[TableOptions, StickTable]]) -> None:
        stay = {table.fd for _, table in kept.values()}
        known = [table.fd for _, table in (*self._tables.values(), *self._accepted.values())]
        for fd in dict.fromkeys(known):
            if fd not in stay:
                os.close(fd)
        self._tables = dict(kept)


def _made(name: str, options: TableOptions) -> StickTable:
    try:
        return StickTable.create(**options)
    except (OSError, MemoryError) as error:
        raise EdgeError(f"cannot make the stick table {name}: {error}") from error
