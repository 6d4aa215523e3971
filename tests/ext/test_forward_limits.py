"""ext.forward: what the tiers behind would not take, against what the parser does not take."""

from __future__ import annotations

import pytest

from ext.forward import Recipe, refused_for_test, request_for_test
from ext.http1 import ParseError, parse_request
from ext.limits import Refused
from tests.ext.recipes import CDN, ELB, HAPROXY, get

CHAIN = Recipe([CDN, ELB, HAPROXY])


def built(line: int = 0, value: int = 0, count: int = 0) -> bytes:
    """A head as the chain sends it on, longer by these."""
    fields = [b"A: " + b"a" * value] + [b"B: 1"] * count
    return request_for_test(get(*fields, line=b"GET /" + b"x" * line + b" HTTP/1.1"), CHAIN)


def parsed(head: bytes, line_bytes: int, header_bytes: int, header_count: int) -> int:
    """Refused, as a tier of its own says it; 0: accepted."""
    try:
        assert parse_request(
            head,
            request_line_bytes=line_bytes,
            header_bytes=header_bytes,
            header_count=header_count,
        )
    except ParseError as error:
        return int(error.reason)
    return 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"line": 1}, Refused.REQUEST_LINE_TOO_LONG),
        ({"value": 1}, Refused.HEAD_TOO_LONG),
        ({"count": 1}, Refused.TOO_MANY_FIELDS),
    ],
    ids=str,
)
def test_tier_behind_refuses_what_its_parser_refuses(
    changes: dict[str, int], reason: Refused
) -> None:
    whole = built()
    line, _, fields = whole.partition(b"\r\n")
    limits = (len(line), len(fields) - 2, fields.count(b"\r\n") - 1)
    assert parsed(whole, *limits) == refused_for_test(whole, *limits) == 0
    longer = built(**changes)
    wide = (limits[0], limits[1] + (6 if reason == Refused.TOO_MANY_FIELDS else 0), limits[2])
    assert parsed(longer, *wide) == refused_for_test(longer, *wide) == reason
