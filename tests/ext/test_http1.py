"""Every row of the case tables, three ways, against ext.http1 and against the reference parser.

Whole: the row's bytes at once. Byte by byte: every shorter piece gives None (or, for a refused row,
an early refusal that stays a refusal), so that no length of a TCP segment changes the meaning. With
a tail: bytes of the next message behind the end are not read.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from ext import http1
from tests.ext import reference_http1
from tests.ext.http1_cases import REQUEST_CASES, Accept, Case, Refuse
from tests.ext.http1_chunked_cases import CHUNKED_CASES
from tests.ext.http1_response_cases import RESPONSE_CASES

REQUEST_FIELDS = [f.name for f in dataclasses.fields(reference_http1.RequestHead)]
RESPONSE_FIELDS = [f.name for f in dataclasses.fields(reference_http1.ResponseHead)]
TAILS = (b"GET /tail HTTP/1.1\r\nHost: tail\r\n\r\n", b"\0", b"\r\n", b"0\r\n\r\n")
# Rows up to this length are cut at every byte, longer ones (about limits) LONG_ROW_CUTS times.
LONG_ROW_BYTES = 600
LONG_ROW_CUTS = 40

by_name = {"ids": lambda case: case.name}
implementations = pytest.mark.parametrize(
    "parser", [http1, reference_http1], ids=["ext", "reference"]
)


def parse_head(parser: Any, kind: str, case: Case, data: bytes) -> Any:
    """The head, None or the ParseError of `data` under the row's limits."""
    parse = parser.parse_request if kind == "request" else parser.parse_response
    try:
        return parse(data, **case.limits)
    except parser.ParseError as error:
        return error


def fields_of(head: Any, kind: str) -> dict[str, Any]:
    """The head's fields as plain values; ext and the reference use different classes."""
    names = REQUEST_FIELDS if kind == "request" else RESPONSE_FIELDS
    return {name: getattr(head, name) for name in names}


def prefix_lengths(data: bytes) -> range:
    """The lengths at which a row is cut."""
    step = 1 if len(data) <= LONG_ROW_BYTES else len(data) // LONG_ROW_CUTS
    return range(0, len(data), step)


HEAD_ROWS = [("request", case) for case in REQUEST_CASES] + [
    ("response", case) for case in RESPONSE_CASES
]
head_rows = pytest.mark.parametrize(
    ("kind", "case"), HEAD_ROWS, ids=[f"{kind} {case.name}" for kind, case in HEAD_ROWS]
)


def check_head(parser: Any, kind: str, case: Case, outcome: Any) -> None:
    """Asserts that `outcome` is what the row expects."""
    if isinstance(case.expect, Refuse):
        assert isinstance(outcome, parser.ParseError), outcome
        assert outcome.status == case.expect.status
        return
    assert not isinstance(outcome, parser.ParseError), outcome
    fields = fields_of(outcome, kind)
    assert {name: fields[name] for name in case.expect.fields} == case.expect.fields
    assert fields["size"] == len(case.data)


def test_case_names_are_unique() -> None:
    names = Counter(f"{kind} {case.name}" for kind, case in HEAD_ROWS)
    names += Counter(f"chunked {case.name}" for case in CHUNKED_CASES)
    assert [name for name, count in names.items() if count > 1] == []


@implementations
@head_rows
def test_head_whole(parser: Any, kind: str, case: Case) -> None:
    check_head(parser, kind, case, parse_head(parser, kind, case, case.data))


@implementations
@head_rows
def test_head_byte_by_byte(parser: Any, kind: str, case: Case) -> None:
    refused = False
    for length in prefix_lengths(case.data):
        outcome = parse_head(parser, kind, case, case.data[:length])
        if isinstance(case.expect, Refuse) and isinstance(outcome, parser.ParseError):
            assert outcome.status == case.expect.status
            refused = True
        else:
            assert outcome is None, f"{length} bytes: {outcome!r}"
            assert not refused, f"{length} bytes: refused, then not"


@implementations
@head_rows
def test_head_with_a_tail(parser: Any, kind: str, case: Case) -> None:
    for tail in TAILS:
        check_head(parser, kind, case, parse_head(parser, kind, case, case.data + tail))


@pytest.mark.parametrize(
    ("kind", "case"),
    [row for row in HEAD_ROWS if isinstance(row[1].expect, Accept)],
    ids=[f"{kind} {case.name}" for kind, case in HEAD_ROWS if isinstance(case.expect, Accept)],
)
def test_head_fields_equal_the_reference(kind: str, case: Case) -> None:
    ours = parse_head(http1, kind, case, case.data)
    reference = parse_head(reference_http1, kind, case, case.data)
    assert fields_of(ours, kind) == fields_of(reference, kind)


class Body:
    """Feeds a ChunkedReader piece by piece, offering unconsumed bytes again, as a session does."""

    def __init__(self, parser: Any, case: Case) -> None:
        self.parser = parser
        self.reader = parser.ChunkedReader(**case.limits)
        self.payload = b""
        self.consumed = 0
        self.refusal: Any = None
        self._kept = b""

    def feed(self, piece: bytes) -> None:
        """One piece as it comes from the wire; nothing after a refusal."""
        if self.refusal is not None:
            return
        self._kept += piece
        try:
            consumed, payload = self.reader.feed(self._kept)
        except self.parser.ParseError as error:
            self.refusal = error
            return
        self._kept = self._kept[consumed:]
        self.consumed += consumed
        self.payload += payload

    def check(self, case: Case) -> None:
        """Asserts that what has been fed is what the row expects."""
        if isinstance(case.expect, Refuse):
            assert self.refusal is not None, f"done={self.reader.done} {self.payload!r}"
            assert self.refusal.status == case.expect.status
            return
        assert self.refusal is None
        assert self.reader.done
        assert self.consumed == len(case.data)
        assert self.payload == case.expect.fields["payload"]
        assert self.reader.trailers == case.expect.fields["trailers"]


@implementations
@pytest.mark.parametrize("case", CHUNKED_CASES, **by_name)
def test_chunked_whole(parser: Any, case: Case) -> None:
    body = Body(parser, case)
    body.feed(case.data)
    body.check(case)


@implementations
@pytest.mark.parametrize("case", CHUNKED_CASES, **by_name)
def test_chunked_byte_by_byte(parser: Any, case: Case) -> None:
    body = Body(parser, case)
    for at in range(len(case.data)):
        assert not body.reader.done
        body.feed(case.data[at : at + 1])
    body.check(case)


@implementations
@pytest.mark.parametrize("case", CHUNKED_CASES, **by_name)
def test_chunked_in_two_pieces(parser: Any, case: Case) -> None:
    for cut in prefix_lengths(case.data):
        body = Body(parser, case)
        body.feed(case.data[:cut])
        body.feed(case.data[cut:])
        body.check(case)


@implementations
@pytest.mark.parametrize("case", CHUNKED_CASES, **by_name)
def test_chunked_with_a_tail(parser: Any, case: Case) -> None:
    for tail in TAILS:
        body = Body(parser, case)
        body.feed(case.data + tail)
        body.check(case)


@implementations
def test_chunked_refuses_for_ever(parser: Any) -> None:
    reader = parser.ChunkedReader()
    for _ in range(2):
        with pytest.raises(parser.ParseError):
            reader.feed(b"5\nhello")
