"""Recipes of one tier and of the default chain, and heads to apply them to."""

from __future__ import annotations

from typing import Any

from ext.forward import Recipe, request_for_test, response_for_test

NONE = 0  # Framing in ext/forward.pxd
SAY_NOTHING = 0  # ConnectionField

CLIENT = b"192.0.2.1"
DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"

PLAIN: dict[str, Any] = {
    "x_forwarded_for": "preserve",
    "x_forwarded_proto": "off",
    "x_forwarded_host": "off",
    "x_forwarded_port": "off",
    "forwarded": False,
    "via": None,
    "port": 8080,
    "date": False,
}
# The tiers with their defaults.
CDN = PLAIN | {
    "x_forwarded_for": "append", "x_forwarded_proto": "set", "x_forwarded_host": "set",
    "via": "varnish", "port": 80, "date": True,
}  # fmt: skip
ELB = PLAIN | {
    "x_forwarded_for": "append", "x_forwarded_proto": "set", "x_forwarded_port": "set", "port": 81,
}  # fmt: skip
HAPROXY = PLAIN | {
    "x_forwarded_for": "line", "x_forwarded_proto": "if_none", "x_forwarded_host": "if_none",
    "x_forwarded_port": "if_none", "port": 82,
}  # fmt: skip


def hop(**changes: Any) -> Recipe:
    """The recipe of one tier that changes nothing but what is given."""
    return Recipe([PLAIN | changes])


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def get(*fields: bytes, line: bytes = b"GET /a?b HTTP/1.1", host: bytes = b"Host: h") -> bytes:
    return head(line, host, *fields)


def fields_of(message: bytes) -> list[bytes]:
    """The field lines behind the request line and Host."""
    lines = message.split(b"\r\n")
    assert lines[1].startswith(b"Host: ")
    assert lines[-2:] == [b"", b""]
    return lines[2:-2]


def sent(*fields: bytes, recipe: Any = None, **changes: Any) -> list[bytes]:
    """The field lines that a server gets for a GET with these."""
    recipe = recipe or hop(**changes)
    return fields_of(request_for_test(get(*fields), recipe, CLIENT))


def answered(*fields: bytes, recipe: Any = None, **changes: Any) -> list[bytes]:
    """The field lines that a client gets for an answer with these."""
    recipe = recipe or hop(**changes)
    made = response_for_test(head(b"HTTP/1.1 200 OK", *fields), recipe, NONE, SAY_NOTHING, DATE)
    lines = made.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    return lines[1:-2]
