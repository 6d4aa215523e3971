"""Log-format strings, as rules use them for values: text with `%[expression]` inside.

Of the log's own aliases those have a meaning here that name parts of the request (`%ci`, `%HM`,
`%HP`, `%HQ`, `%HU`); the others belong to the end of a request and are refused.
"""

from __future__ import annotations

import re

from edge.rules.samples import Expression, Names, Side, parse_expression
from edge.rules.words import RuleError, closing

# bytes: text as it stands
Format = tuple[bytes | Expression, ...]

_ALIASES = {"ci": "src", "HM": "method", "HP": "path", "HQ": "query", "HU": "url"}
_ALIAS = re.compile(r"[A-Za-z]+")


def parse_format(text: str, side: Side, names: Names) -> Format:
    """The pieces of a format; neighbouring text is one piece."""
    pieces: list[bytes | Expression] = []
    literal = ""
    at = 0
    while at < len(text):
        if text[at] != "%" or at + 1 == len(text):
            literal += text[at]
            at += 1
            continue
        if text[at + 1] == "%":
            literal += "%"
            at += 2
            continue
        expression, at = _variable(text, at + 1, side, names)
        if literal:
            pieces.append(_bytes(literal))
            literal = ""
        pieces.append(expression)
    if literal:
        pieces.append(_bytes(literal))
    return tuple(pieces)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _variable(text: str, at: int, side: Side, names: Names) -> tuple[Expression, int]:
    """The expression behind a `%`, and where the text goes on."""
    if text[at] == "{":
        raise RuleError("has flags `%{...}`: values of rules have none; write `%[...]`")
    if text[at] == "[":
        end = closing(text, at + 1, "]")
        return parse_expression(text[at + 1 : end].strip(), side, names), end + 1
    found = _ALIAS.match(text, at)
    alias = found[0] if found else text[at]
    if found is None or alias not in _ALIASES:
        ways = ", ".join(f"%{name}" for name in _ALIASES)
        raise RuleError(f"has %{alias}: values of rules know `%[...]`, %% and {ways}")
    return parse_expression(_ALIASES[alias], side, names), found.end()
