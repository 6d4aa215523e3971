"""The active health check of a tier: what is asked, how often, and how many answers decide.

Semantics are HAProxy's (configuration manual, section 5.2: `check`, `inter`, `rise`, `fall`): only
consecutive results count, a new server is up until its first check has failed.
"""

import re
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from edge.settings.scalars import Count, Duration, Form, Text, shown
from edge.settings.section import Section

_CODE_MIN, _CODE_MAX = 100, 599
_RANGE = r"[0-9]{3}(?:-[0-9]{3})?"
_RIGHT = 'a list of codes and ranges from 100 to 599 such as "200,302,400-404"'


def status_ranges(expect: str) -> tuple[tuple[int, int], ...]:
    """The (first, last) codes, both included, of `200,302,400-404`; ValueError if malformed."""
    ranges = []
    for part in expect.split(","):
        text = part.strip()
        if not re.fullmatch(_RANGE, text):
            raise ValueError(f"must be {_RIGHT}, not {shown(expect)}")
        first, _, last = text.partition("-")
        low, high = int(first), int(last or first)
        if not _CODE_MIN <= low <= high <= _CODE_MAX:
            raise ValueError(f"must be {_RIGHT}, and {shown(text)} is no such range")
        ranges.append((low, high))
    return tuple(ranges)


class StatusRanges(Form):
    """Marker of a field that lists status codes; kept as text, read with `status_ranges`."""

    def parse(self, value: object) -> str:
        """The list as text without spaces; a lone code may be a number in YAML."""
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"must be {_RIGHT}, not {shown(value)}")
        text = str(value)
        status_ranges(text)
        return re.sub(r"\s", "", text)

    def json_forms(self) -> list[JsonSchemaValue]:
        """A list as a string, or one code as a number."""
        pattern = rf"^\s*{_RANGE}\s*(?:,\s*{_RANGE}\s*)*$"
        code = {"type": "integer", "minimum": _CODE_MIN, "maximum": _CODE_MAX}
        return [{"type": "string", "pattern": pattern, "x-unit": "status codes"}, code]


_INTERVAL = Duration(0.01, 3_600)
_THRESHOLD = Count(1, 100, "checks in a row")

Enabled = Annotated[
    bool,
    Field(description="Whether servers are checked. If not, every server counts as up."),
]
Rise = Annotated[
    int, _THRESHOLD, Field(description="Passed checks in a row that bring a server up.")
]
Fall = Annotated[
    int, _THRESHOLD, Field(description="Failed checks in a row that take a server down.")
]
Expect = Annotated[
    str,
    StatusRanges(),
    Field(description="Status codes that pass: codes and ranges, as in `200,302,400-404`."),
]


class HealthCheck(Section):
    """When a server counts as usable. Defaults: HAProxy's, with a TCP connect as the check."""

    enabled: Enabled = True
    path: Annotated[
        str | None,
        Text(r"/[!-~]{0,2047}", "a path such as /health_check.php"),
        Field(description="Path that is asked for over HTTP. Absent: a TCP connect is enough."),
    ] = None
    method: Annotated[
        Literal["GET", "HEAD", "OPTIONS"], Field(description="Method of the HTTP check.")
    ] = "GET"
    host: Annotated[
        str | None,
        Text(r"[!-~]{1,255}", "a host name such as shop.example"),
        Field(description="Host header of the HTTP check. Absent: none is sent."),
    ] = None
    expect: Expect = "200-399"
    interval_s: Annotated[
        float, _INTERVAL, Field(description="Time from one check to the next.")
    ] = 2.0
    timeout_s: Annotated[
        float | None,
        _INTERVAL,
        Field(description="Longest time for one whole check. Absent: as `interval`."),
    ] = None
    rise: Rise = 2
    fall: Fall = 3
    fast_interval_s: Annotated[
        float | None,
        _INTERVAL,
        Field(description="Interval while a server is between up and down. Absent: `interval`."),
    ] = None
    down_interval_s: Annotated[
        float | None,
        _INTERVAL,
        Field(description="Interval while a server is fully down. Absent: `interval`."),
    ] = None
