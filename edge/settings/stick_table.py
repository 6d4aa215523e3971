"""A stick table: what HAProxy counts about addresses, sessions or other keys.

Source: HAProxy 2.6 configuration manual, `stick-table` (section 4.2) and 7.3.3's `sc_*`.
"""

import re
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from edge.settings.scalars import Count, Duration, Form, parse_duration, shown
from edge.settings.section import Section

# In the order in which HAProxy prints them.
DATA = (
    "server_id",
    "gpt0",
    "gpc0",
    "gpc0_rate",
    "conn_cnt",
    "conn_rate",
    "conn_cur",
    "sess_cnt",
    "sess_rate",
    "http_req_cnt",
    "http_req_rate",
    "http_err_cnt",
    "http_err_rate",
    "bytes_in_cnt",
    "bytes_in_rate",
    "bytes_out_cnt",
    "bytes_out_rate",
    "gpc1",
    "gpc1_rate",
    "http_fail_cnt",
    "http_fail_rate",
)
PERIOD_MS_MAX = 86_400_000  # a day: what a rate is told of is still to be remembered
SIZE_MAX = 16_777_216  # entries; ext/sticktable.pyx
_RIGHT = "a list such as `http_req_rate(10s),conn_cur,gpc0`"
_UNITS = {"": 1, "k": 2**10, "m": 2**20}


def stored_data(store: str) -> tuple[tuple[str, int], ...]:
    """(name, period in ms; 0 for what is no rate) of `http_req_rate(10s),gpc0`; ValueError."""
    found: dict[str, int] = {}
    for part in filter(None, re.split(r"[,\s]+", store)):
        match = re.fullmatch(r"([a-z0-9_]+)(?:\(([^()]*)\))?", part)
        if match is None or match[1] not in DATA:
            raise ValueError(f"must be {_RIGHT}, and {shown(part)} is none of {', '.join(DATA)}")
        if match[1] in found:
            raise ValueError(f"names {match[1]} twice")
        found[match[1]] = _period_ms(match[1], match[2])
    return tuple(found.items())


def _period_ms(name: str, period: str | None) -> int:
    if not name.endswith("_rate"):
        if period is not None:
            raise ValueError(f"{name} is no rate, so it has no period")
        return 0
    if period is None:
        raise ValueError(f"{name} needs its period, as in {name}(10s)")
    # A bare number is in milliseconds, as everywhere in HAProxy.
    milliseconds = int(period) if period.isdigit() else round(parse_duration(period) * 1000)
    if not 0 < milliseconds <= PERIOD_MS_MAX:
        raise ValueError(f"the period of {name} must be from 1ms to 1d, not {shown(period)}")
    return milliseconds


class Store(Form):
    """Marker of the list of what a table stores; kept as text, read with `stored_data`."""

    def parse(self, value: object) -> str:
        """The list without spaces, or a YAML list as one."""
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = ",".join(value)
        if not isinstance(value, str):
            raise ValueError(f"must be {_RIGHT}, not {shown(value)}")
        stored_data(value)
        return ",".join(filter(None, re.split(r"[,\s]+", value)))

    def json_forms(self) -> list[JsonSchemaValue]:
        """One string, or a list of strings."""
        return [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]


class Entries(Form):
    """A number of entries; `k` and `m` stand for 1024 and its square, as HAProxy has it."""

    def parse(self, value: object) -> int:
        """The whole number."""
        match = re.fullmatch(r"([0-9]{1,9})([km]?)", str(value).lower())
        is_text_or_number = isinstance(value, (int, str)) and not isinstance(value, bool)
        entries = int(match[1]) * _UNITS[match[2]] if match and is_text_or_number else 0
        if not 0 < entries <= SIZE_MAX:
            raise ValueError(f"must be from 1 to 16m entries such as 100k, not {shown(value)}")
        return entries

    def json_forms(self) -> list[JsonSchemaValue]:
        """A number, or a string with a unit."""
        number = {"type": "integer", "minimum": 1, "maximum": SIZE_MAX, "x-unit": "entries"}
        return [number, {"type": "string", "pattern": "^[0-9]{1,9}[kKmM]?$"}]


class StickTable(Section):
    """One row of `stick_tables`, by its name. Rules track keys in it."""

    type: Annotated[
        Literal["ip", "ipv6", "integer", "string", "binary"],
        Field(description="What its keys are. ip is IPv4; ipv6 has both."),
    ] = "ip"
    length: Annotated[
        int,
        Count(1, 1024, "bytes"),
        Field(description="Of strings and binaries: what is longer is cut."),
    ] = 32
    size: Annotated[
        int,
        Entries(),
        Field(
            description="Most entries. When it is full, the one used longest ago gives way,"
            " but none that a request holds."
        ),
    ] = 102_400
    expire_s: Annotated[
        float,
        Duration(0, 30 * 86_400),
        Field(description="How long an entry lives after its last use. 0: for ever."),
    ] = 0.0
    nopurge: Annotated[
        bool, Field(description="Whether a full table takes no new keys instead.")
    ] = False
    store: Annotated[
        str, Store(), Field(description="What is counted: `http_req_rate(10s),conn_cur,gpc0`.")
    ] = ""
