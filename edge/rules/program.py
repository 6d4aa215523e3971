"""A section's lines compiled together: what they name is resolved, every mistake is collected.

`ext.rules.Rules` takes a `Program` and lays it out as C data. Numbers stand for backends, tables
and variables; they are given by the `Names` that all sections of a file share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.rules.actions import Rule, parse_rule
from edge.rules.conditions import Acls, Condition, check_acl, parse_condition
from edge.rules.formats import parse_format
from edge.rules.samples import Expression, Names
from edge.rules.words import RuleError, split_words
from ext.rulecodes import Action

# Where a mistake is: the key, and the row in it (None: the key has one value).
Place = tuple[str, int | None]

_HAPROXYS_WORDS = {
    "acl": ("acl",),
    "http_request": ("http-request",),
    "http_response": ("http-response",),
    "use_backend": ("use_backend",),
}


@dataclass(frozen=True, slots=True)
class Lines:
    """The rules of a frontend or a backend as the file has them."""

    acl: list[str] = field(default_factory=list)
    http_request: list[str] = field(default_factory=list)
    http_response: list[str] = field(default_factory=list)
    use_backend: list[str] = field(default_factory=list)
    monitor_uri: str | None = None
    monitor_fail: str | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.http_request or self.http_response or self.use_backend or self.monitor_uri)


@dataclass(frozen=True, slots=True)
class Program:
    """What a section's lines mean, and what is wrong with them."""

    request: tuple[Rule, ...]
    routes: tuple[Rule, ...]
    response: tuple[Rule, ...]
    monitor_uri: bytes
    monitor_fail: Condition | None
    problems: tuple[tuple[Place, str], ...]


def compile_section(lines: Lines, names: Names) -> Program:
    """The program of a section. Where there are problems, it is not whole."""
    problems: list[tuple[Place, str]] = []
    acls = Acls()
    request: list[Rule] = []
    response: list[Rule] = []
    routes: list[Rule] = []
    monitor_fail = None
    for index, line in _rows(lines.acl, "acl"):
        try:
            acls.add(line)
            check_acl(line, names)
        except RuleError as error:
            problems.append((("acl", index), str(error)))
    for index, line in _rows(lines.http_request, "http_request"):
        try:
            request.append(parse_rule(line, "request", acls, names))
        except RuleError as error:
            problems.append((("http_request", index), str(error)))
    for index, line in _rows(lines.use_backend, "use_backend"):
        try:
            routes.append(_route(line, acls, names))
        except RuleError as error:
            problems.append((("use_backend", index), str(error)))
    for index, line in _rows(lines.http_response, "http_response"):
        try:
            response.append(parse_rule(line, "response", acls, names))
        except RuleError as error:
            problems.append((("http_response", index), str(error)))
    if lines.monitor_fail is not None:
        try:
            monitor_fail = _monitor_fail(lines, acls, names)
        except RuleError as error:
            problems.append((("monitor_fail", None), str(error)))
    return Program(
        tuple(request),
        tuple(routes),
        tuple(response),
        (lines.monitor_uri or "").encode(),
        monitor_fail,
        tuple(problems),
    )


def _rows(rows: list[str], key: str) -> Iterator[tuple[int, str]]:
    """The rows; HAProxy's own word in front may have come along with a line."""
    for index, row in enumerate(rows):
        word, _blank, rest = row.strip().partition(" ")
        yield index, rest if word in _HAPROXYS_WORDS[key] else row


def _route(line: str, acls: Acls, names: Names) -> Rule:
    """`use_backend NAME [if ...]`, where the name may be a format: `%[req.hdr(x)]`."""
    words = split_words(line)
    if not words or words[0] in ("if", "unless"):
        raise RuleError("must be written `backend if condition`")
    name, *rest = words
    condition = parse_condition(rest, "request", acls, names)
    pieces = parse_format(name, "request", names)
    if any(isinstance(piece, Expression) for piece in pieces):
        return Rule(Action.A_USE_BACKEND, condition, format=pieces, a=-1)
    return Rule(Action.A_USE_BACKEND, condition, a=names.backend(name))


def _monitor_fail(lines: Lines, acls: Acls, names: Names) -> Condition:
    if lines.monitor_uri is None:
        raise RuleError("changes nothing without `monitor_uri`")
    words = split_words(lines.monitor_fail or "")
    # It is evaluated without a request: HAProxy's own limit.
    condition = parse_condition(words, "any", acls, names)
    if condition is None:
        raise RuleError("must be written `if condition`: `if { nbsrv(api) lt 1 }`")
    return condition
