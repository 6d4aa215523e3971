"""Holds ext.http1 to the reference parser on bytes nobody has thought of.

What "equal" means: on a complete message both accept with the same fields, or both refuse with the
same status. On an incomplete one ext may refuse before the reference does (it need not wait for the
end of a line), but then the reference must refuse as soon as the line is ended. ext never accepts
or waits where the reference refuses. Used by test_http1_properties.py and tests/fuzz.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ext import http1
from tests.ext import reference_http1

LINE_ENDS = b"\r\n\r\n"
# A limit and a bad byte may both apply to one head; which is seen first is nobody's business.
LIMIT_STATUSES = {414, 431}


def head_outcome(parse: Callable[..., Any], parser: Any, data: bytes, **options: Any) -> Any:
    """None, ("refused", status) or the head's fields as a dict."""
    try:
        head = parse(data, **options)
    except parser.ParseError as error:
        return ("refused", error.status)
    if head is None:
        return None
    kind = reference_http1.RequestHead if hasattr(head, "method") else reference_http1.ResponseHead
    return {field.name: getattr(head, field.name) for field in dataclasses.fields(kind)}


def compare_request(data: bytes) -> Any:
    """Asserts that both say the same about a request head; returns what they say."""
    return _compare_head("parse_request", data)


def compare_response(data: bytes, method: bytes) -> Any:
    """Asserts that both say the same about a response head; returns what they say."""
    return _compare_head("parse_response", data, request_method=method)


def _compare_head(name: str, data: bytes, **options: Any) -> Any:
    def ask(parser: Any, asked: bytes) -> Any:
        return head_outcome(getattr(parser, name), parser, asked, **options)

    ours, theirs = ask(http1, data), ask(reference_http1, data)
    if theirs is None and ours is not None:
        assert ours[0] == "refused", (data, ours)
        # A CR that waits for its LF gets it, anything else the end of the line and of the head.
        ended = ask(reference_http1, data.removesuffix(b"\r") + LINE_ENDS)
        assert _refused(ended), (data, ours, ended)
    elif _refused(theirs) and _refused(ours) and {ours[1], theirs[1]} & LIMIT_STATUSES:
        pass
    else:
        assert ours == theirs, data
    return ours


def _refused(outcome: Any) -> bool:
    return isinstance(outcome, tuple)


def chunked_outcome(parser: Any, pieces: Sequence[bytes]) -> Any:
    """("refused",) or (payload, bytes consumed, done, trailers) after all pieces.

    Unconsumed bytes are offered again with the next piece, as a session does.
    """
    reader = parser.ChunkedReader()
    kept, payload, consumed = b"", b"", 0
    for piece in pieces:
        kept += piece
        try:
            count, got = reader.feed(kept)
        except parser.ParseError as error:
            assert error.status == 400
            return ("refused",)
        kept = kept[count:]
        consumed += count
        payload += got
    if not reader.done:
        return (payload, None, False, None)
    return (payload, consumed, True, list(reader.trailers))


def compare_chunked(data: bytes, cuts: Sequence[int]) -> Any:
    """Asserts that both decode a chunked body alike, in one piece and cut at `cuts`."""
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    ours, cut = chunked_outcome(http1, [data]), chunked_outcome(http1, pieces)
    assert ours == cut, (data, cuts)
    theirs = chunked_outcome(reference_http1, [data])
    if ours == ("refused",) and theirs != ours:
        ended = chunked_outcome(reference_http1, [data.removesuffix(b"\r") + LINE_ENDS])
        assert not theirs[2] and ended == ("refused",), (data, theirs)
    else:
        assert ours == theirs, data
    return ours
