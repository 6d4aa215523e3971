"""The active health check of a tier: what is asked, how often, and how many answers decide.

The simple keys are enough for one question: a connect, or `path` and the codes it may be answered
with. Rules take HAProxy's own lines (`edge.check_rules`). Semantics are HAProxy's (configuration
manual, section 5.2: `check`, `inter`, `rise`, `fall`): only consecutive results count, a new server
is up until its first check has failed.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from edge.check_rules import parse_http_rule, parse_tcp_rule
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


@dataclass(frozen=True, slots=True)
class RuleLine(Form):
    """Marker of one line of rules; kept as text. `keyword`: the word HAProxy has in front of it."""

    keyword: Literal["http-check", "tcp-check"]

    def parse(self, value: object) -> str:
        """The line; a rule that cannot be carried out is refused in a few words."""
        if not isinstance(value, str) or len(value) > _RULE_CHARS_MAX:
            text = f"must be a rule of at most {_RULE_CHARS_MAX} characters"
            raise ValueError(f"{text}, as behind `{self.keyword}` in HAProxy's file")
        try:
            (parse_http_rule if self.keyword == "http-check" else parse_tcp_rule)(value)
        except ValueError as error:
            raise ValueError(f"is no {self.keyword} rule: {error}") from None
        return value

    def json_forms(self) -> list[JsonSchemaValue]:
        """A line of text."""
        return [{"type": "string", "minLength": 1, "maxLength": _RULE_CHARS_MAX}]


_RULE_CHARS_MAX = 4_096  # a request with a cookie and a body; longer ones belong in a program
_RULES_MAX = 64  # a dialogue of thirty questions and answers
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


class Agent(Section):
    """HAProxy's agent check (`agent-check`): a program of the server says how much it takes on."""

    port: Annotated[
        int,
        Count(1, 65_535, "TCP port"),
        Field(description="Where the agent listens; a node's `agent_port` goes before it."),
    ]
    host: Annotated[
        str | None,
        Text(r"[!-~]{1,255}", "an address or a host name"),
        Field(description="The agent's address. Absent: that of the server itself."),
    ] = None
    interval_s: Annotated[
        float,
        _INTERVAL,
        Field(description="Time from one question to the next, and the limit of one."),
    ] = 2.0
    send: Annotated[
        str,
        Text(r"[\s\S]{0,1024}", "at most 1,024 characters of text"),
        Field(description="What is sent after the connect, line end included. Empty: nothing."),
    ] = ""


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
    http_check: list[Annotated[str, RuleLine("http-check")]] = Field(
        default_factory=list,
        max_length=_RULES_MAX,
        description="HAProxy's `http-check` rules in order: connect, send, expect, comment."
        " Without a send rule the request is that of `path`, `method` and `host`.",
    )
    tcp_check: list[Annotated[str, RuleLine("tcp-check")]] = Field(
        default_factory=list,
        max_length=_RULES_MAX,
        description="HAProxy's `tcp-check` rules in order: connect, send, send-binary, expect,"
        " comment.",
    )
    disable_on_404: Annotated[
        bool,
        Field(
            description="Whether a server that is up and answers an HTTP check with 404 gets no"
            " new clients (NOLB), only those that belong to it."
        ),
    ] = False
    log_health_checks: Annotated[
        bool,
        Field(
            description="Whether each result that moves a server's health is a line of its own"
            " (HAProxy: option log-health-checks)."
        ),
    ] = False
    agent: Agent | None = Field(
        default=None, description="The program on the servers that is asked. Absent: none."
    )
