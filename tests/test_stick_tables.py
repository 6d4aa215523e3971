"""edge.stick_tables: which tables there are, and which of them outlive a reload."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge.errors import EdgeError
from edge.plan import build_plan
from edge.settings import Settings
from edge.stick_tables import StickTables, attach_tables, table_orders, tables_of

CLIENTS = {"type": "ip", "size": 10, "store": "gpc0"}
ORDER = {
    "key_type": "ip",
    "size": 10,
    "key_bytes": 32,
    "expire_ms": 0,
    "nopurge": False,
    "store": (("gpc0", 0),),
}


def settings(*, elb: bool) -> Settings:
    values = {
        "haproxy": {"listen": "127.0.0.1:8080", "stick_tables": {"clients": CLIENTS}},
        "nodes": [
            {"name": "node1", "web": "127.0.0.1:9001"},
            {"name": "node2", "web": "127.0.0.1:9002"},
        ],
    }
    return Settings.model_validate(values | ({"elb": {"listen": "127.0.0.1:80"}} if elb else {}))


def test_one_haproxy_has_one_table() -> None:
    assert table_orders(build_plan(settings(elb=False), None)) == {"clients": ORDER}


def test_each_vm_has_a_table_of_its_own() -> None:
    orders = table_orders(build_plan(settings(elb=True), None))
    assert orders == {"clients@node1": ORDER, "clients@node2": ORDER}


@pytest.fixture
def tables() -> Iterator[StickTables]:
    tables = StickTables()
    yield tables
    tables.accept({})


def test_a_tier_sees_its_own_tables_by_the_names_of_the_file(tables: StickTables) -> None:
    tables.open({"clients@node1": ORDER, "clients@node2": ORDER, "clients": ORDER})
    made = tables.of(["clients@node1", "clients@node2", "clients"])
    assert tables_of("haproxy@node1", made) == {"clients": made["clients@node1"]}
    assert tables_of("haproxy", made) == {"clients": made["clients"]}


def test_a_reload_keeps_what_has_not_changed(tables: StickTables) -> None:
    tables.open({"same": ORDER, "other": ORDER})
    tables.accept({"same": ORDER, "other": ORDER})
    before = tables.of(["same", "other"])
    before["same"].set(bytes(4), {"gpc0": 3})
    changed = ORDER | {"size": 11}
    tables.open({"same": ORDER, "other": changed})
    after = tables.of(["same", "other"])
    assert after["same"] is before["same"]
    assert after["other"].description["size"] == 11
    tables.accept({"same": ORDER, "other": changed})
    assert attach_tables({"same": after["same"].fd}, None)["same"].used() == 1
    assert is_closed(before["other"].fd)


def test_a_failed_reload_leaves_what_was_there(tables: StickTables) -> None:
    tables.open({"clients": ORDER})
    tables.accept({"clients": ORDER})
    before = tables.of(["clients"])["clients"]
    tables.open({"clients": ORDER | {"size": 11}, "new": ORDER})
    made = tables.of(["clients", "new"])
    tables.undo()
    assert is_closed(made["clients"].fd)
    assert is_closed(made["new"].fd)
    assert not is_closed(before.fd)
    tables.open({"clients": ORDER})
    assert tables.of(["clients"])["clients"] is before


def test_what_cannot_be_made_is_said(tables: StickTables, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", fail)
    with pytest.raises(EdgeError, match=r"cannot make the stick table clients: .*Too many"):
        tables.open({"clients": ORDER})
    tables.undo()


def is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False
