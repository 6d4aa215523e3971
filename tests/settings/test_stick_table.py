"""edge.settings.stick_table: what a table is made of, and what is said of a bad one."""

from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge.settings import load
from edge.settings.stick_table import DATA, StickTable, stored_data
from ext.sticktable import DATA_NAMES


def test_the_names_are_those_of_the_tables() -> None:
    assert DATA == DATA_NAMES


@pytest.mark.parametrize(
    ("store", "data"),
    [
        ("", ()),
        ("gpc0", (("gpc0", 0),)),
        ("http_req_rate(10s), conn_cur", (("http_req_rate", 10_000), ("conn_cur", 0))),
        ("conn_rate(500)", (("conn_rate", 500),)),
        ("conn_rate(500ms) gpc0_rate(1m)", (("conn_rate", 500), ("gpc0_rate", 60_000))),
    ],
)
def test_what_is_stored(store: str, data: tuple[tuple[str, int], ...]) -> None:
    assert stored_data(store) == data


def written(tmp_path: Path, table: str, name: str = "clients") -> str:
    path = tmp_path / "edge.yaml"
    path.write_text(
        "haproxy:\n"
        "  listen: 127.0.0.1:8080\n"
        "  stick_tables:\n"
        f"    {name}: {table}\n"
        "nodes: [{name: node1, web: 127.0.0.1:9001}]\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("{}", {}),
        ("{size: 100k}", {"size": 102_400}),
        ("{size: 1m, expire: 30s}", {"size": 1_048_576, "expire_s": 30.0}),
        ("{type: string, length: 64, size: 7}", {"type": "string", "length": 64, "size": 7}),
        ("{store: [gpc0, conn_cur]}", {"store": "gpc0,conn_cur"}),
        ("{store: ' gpc0 ,conn_cur '}", {"store": "gpc0,conn_cur"}),
        ("{nopurge: true}", {"nopurge": True}),
    ],
)
def test_a_table_of_a_file(tmp_path: Path, table: str, made: dict[str, Any]) -> None:
    settings = load(written(tmp_path, table))
    assert settings.haproxy is not None
    assert settings.haproxy.stick_tables == {"clients": StickTable(**made)}
    again = type(settings).model_validate_json(settings.model_dump_json())
    assert again == settings


@pytest.mark.parametrize(
    ("table", "name", "message"),
    [
        ("{size: 0}", "clients", "4: haproxy.stick_tables.clients.size: must be from 1 to 16m"),
        ("{size: 17m}", "clients", "must be from 1 to 16m entries"),
        ("{size: true}", "clients", "must be from 1 to 16m entries"),
        ("{store: gpc9}", "clients", "stick_tables.clients.store: must be a list such as"),
        ("{store: 'gpc0,gpc0'}", "clients", "names gpc0 twice"),
        ("{store: gpc0(3s)}", "clients", "gpc0 is no rate"),
        ("{store: conn_rate}", "clients", "conn_rate needs its period"),
        ("{store: conn_rate(0)}", "clients", "must be from 1ms to 1d"),
        ("{store: conn_rate(2d)}", "clients", "must be from 1ms to 1d"),
        ("{store: conn_rate(fast)}", "clients", "must be a duration"),
        ("{type: float}", "clients", "must be one of ip, ipv6, integer, string, binary"),
        ("{expires: 3s}", "clients", "stick_tables.clients.expires: unknown key; did you mean"),
        ("{}", "'a b'", "must be 1 to 63 letters"),
        ("", "clients", "stick_tables.clients: must be a mapping of keys (known here: type"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, table: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, table, name))
    assert message in str(caught.value)
