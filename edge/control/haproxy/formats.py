"""The three forms of `show stat` and `show info`: CSV or lines, `typed`, `json`.

Pure text out of rows; an absent value is an empty CSV field and not there at all in the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from edge.control.haproxy.columns import (
    BACKEND_TYPES,
    COUNTER_TYPE,
    INFO_FIELDS,
    STAT_COLUMNS,
    STAT_TYPES,
)

Value = int | str
Row = Mapping[str, Value]

PROCESS_NUMBER = 1  # HAProxy's relative process number: always 1 since it has threads
FRONTEND, BACKEND, SERVER = 0, 1, 2  # the column `type`
LETTERS = {FRONTEND: "F", BACKEND: "B", SERVER: "S"}
OBJECTS = {FRONTEND: "Frontend", BACKEND: "Backend", SERVER: "Server"}
ORIGINS = {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"}
NATURES = {
    "G": "Gauge",
    "L": "Limit",
    "M": "Max",
    "R": "Rate",
    "C": "Counter",
    "D": "Duration",
    "A": "Age",
    "N": "Name",
    "O": "Output",
    "a": "Avg",
}
SCOPES = {"P": "Process", "S": "Service"}


def stat_csv(rows: Sequence[Row]) -> str:
    """`show stat`, and `;csv` of the page: every line ends with a comma."""
    lines = ["# " + ",".join(STAT_COLUMNS)]
    lines += [",".join(_csv_field(row.get(name, "")) for name in STAT_COLUMNS) for row in rows]
    return "".join(f"{line},\n" for line in lines)


def stat_typed(rows: Sequence[Row]) -> str:
    return "".join(
        f"{LETTERS[int(row['type'])]}.{row['iid']}.{row['sid']}.{position}.{name}.{row['pid']}"
        f":{stat_type(row, name)}:{row[name]}\n"
        for row in rows
        for position, name in enumerate(STAT_COLUMNS)
        if name in row
    )


def stat_json(rows: Sequence[Row]) -> str:
    objects = [
        [
            {
                "objType": OBJECTS[int(row["type"])],
                "proxyId": row["iid"],
                "id": row["sid"],
                "field": {"pos": position, "name": name},
                **_json_value(stat_type(row, name), row[name]),
            }
            for position, name in enumerate(STAT_COLUMNS)
            if name in row
        ]
        for row in rows
    ]
    return json.dumps(objects, separators=(",", ":")) + "\n"


def stat_type(row: Row, name: str) -> str:
    """The type of a column in that row, as in `MGP:u32`."""
    if row["type"] == BACKEND and name in BACKEND_TYPES:
        return BACKEND_TYPES[name]
    return STAT_TYPES.get(name, COUNTER_TYPE)


def info_lines(info: Row) -> str:
    return "".join(f"{name}: {info[name]}\n" for _, name, _ in INFO_FIELDS if name in info)


def info_typed(info: Row) -> str:
    return "".join(
        f"{position}.{name}.{PROCESS_NUMBER}:{type_text}:{info[name]}\n"
        for position, name, type_text in INFO_FIELDS
    )


def info_json(info: Row) -> str:
    fields = [
        {"field": {"pos": position, "name": name}, **_json_value(type_text, info[name])}
        for position, name, type_text in INFO_FIELDS
    ]
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _json_value(type_text: str, value: Value) -> dict[str, object]:
    tags, _, c_type = type_text.partition(":")
    return {
        "processNum": PROCESS_NUMBER,
        "tags": {
            "origin": ORIGINS[tags[0]],
            "nature": NATURES[tags[1]],
            "scope": SCOPES[tags[2]],
        },
        "value": {"type": c_type, "value": value},
    }


def _csv_field(value: Value) -> str:
    """Quoted where RFC 4180 §2 asks for it: texts of checks may hold anything."""
    if isinstance(value, int):
        return str(value)
    if value and any(each in value for each in '",\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
