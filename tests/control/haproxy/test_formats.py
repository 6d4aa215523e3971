"""edge.control.haproxy.formats and .columns: the forms of rows."""

import csv
import json

from edge.control.haproxy.columns import INFO_FIELDS, STAT_COLUMNS, STAT_TYPES
from edge.control.haproxy.formats import (
    BACKEND,
    SERVER,
    Row,
    info_json,
    info_lines,
    info_typed,
    stat_csv,
    stat_json,
    stat_typed,
)

HEAD: Row = {"pxname": "p", "svname": "s", "pid": 1, "iid": 3, "sid": 2, "type": SERVER}


def test_columns_stand_where_clients_look_for_them() -> None:
    places = {name: STAT_COLUMNS.index(name) for name in ("status", "weight", "type", "addr", "-")}
    assert places == {"status": 17, "weight": 18, "type": 32, "addr": 73, "-": 103}
    assert len(STAT_COLUMNS) == len(set(STAT_COLUMNS)) == 128
    assert STAT_TYPES.keys() <= set(STAT_COLUMNS)


def test_csv_has_a_comma_at_each_end_and_quotes_what_needs_it() -> None:
    text = stat_csv([HEAD | {"last_chk": 'said "no", twice'}])
    lines = text.splitlines()
    assert lines[0].startswith("# pxname,svname,qcur,")
    assert all(line.endswith(",") for line in lines)
    (row,) = csv.DictReader(text.removeprefix("# ").splitlines())
    assert (row["last_chk"], row["sid"], row["qcur"]) == ('said "no", twice', "2", "")


def test_typed_leaves_out_what_is_absent() -> None:
    assert stat_typed([HEAD | {"rate": 5, "stot": 7}]).splitlines()[2:] == [
        "S.3.2.7.stot.1:MCP:u64:7",
        "S.3.2.26.pid.1:KGP:u32:1",
        "S.3.2.27.iid.1:KGS:u32:3",
        "S.3.2.28.sid.1:KGS:u32:2",
        "S.3.2.32.type.1:CGS:u32:2",
        "S.3.2.33.rate.1:MRP:u32:5",
    ]
    backend = stat_typed([HEAD | {"type": BACKEND, "rate": 5}])
    assert "B.3.2.33.rate.1:MGP:u32:5\n" in backend


def test_json_says_the_same() -> None:
    ((first, *_),) = json.loads(stat_json([HEAD]))
    assert first == {
        "objType": "Server",
        "proxyId": 3,
        "id": 2,
        "field": {"pos": 0, "name": "pxname"},
        "processNum": 1,
        "tags": {"origin": "Key", "nature": "Name", "scope": "Service"},
        "value": {"type": "str", "value": "p"},
    }


def test_info_in_three_forms() -> None:
    info = {name: 0 for _, name, _ in INFO_FIELDS} | {"Name": "x"}
    assert info_lines(info).startswith("Name: x\nVersion: 0\n")
    assert info_typed(info).startswith("0.Name.1:POS:str:x\n1.Version.1:POS:str:0\n")
    assert json.loads(info_json(info))[0]["value"] == {"type": "str", "value": "x"}
