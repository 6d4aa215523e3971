"""A weight as an operator or an agent writes it: `7`, or `50%` of what the file says.

Source: HAProxy 2.6, server.c (server_parse_weight_change_request); the texts are its.
"""

from __future__ import annotations

import re

WEIGHT_MAX = 256
LEADING_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def parse_weight(text: str, initial: int) -> int:
    """0 to 256, or a percentage of the file's weight; ValueError in HAProxy's words."""
    if not text:
        raise ValueError("Require <weight> or <weight%>.\n")
    number = LEADING_NUMBER.match(text)
    if number is None:
        raise ValueError("Empty weight string empty or preceded by garbage")
    value, rest = int(number[0]), text[number.end() :]
    if rest == "%":
        if value < 0:
            raise ValueError("Relative weight must be positive.\n")
        return min(initial * value // 100, WEIGHT_MAX)
    if not 0 <= value <= WEIGHT_MAX:
        raise ValueError("Absolute weight can only be between 0 and 256 inclusive.\n")
    if rest:
        raise ValueError("Trailing garbage in weight string")
    return value


def parse_maxconn(text: str) -> int:
    """Concurrent requests, 0 for what the file says; ValueError in HAProxy's words."""
    if not text:
        raise ValueError("Require <maxconn>.\n")
    number = LEADING_NUMBER.match(text)
    if number is None:
        raise ValueError("maxconn string empty or preceded by garbage")
    if text[number.end() :]:
        raise ValueError("Trailing garbage in maxconn string")
    return max(0, min(int(number[0]), 2**31 - 1))
