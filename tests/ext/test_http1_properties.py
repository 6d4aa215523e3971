"""ext.http1 against the reference parser and against h11, on generated and damaged messages.

The generators build from the grammar with hostile words mixed in, then a few bytes are changed, so
that most examples are almost right: that is where parsers differ. Derandomised, so that a run in CI
says the same twice; tests/fuzz/fuzz_http1.py searches without end.
"""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ext import http1
from tests.ext.compare_http1 import compare_chunked, compare_request, compare_response

bounded = settings(
    max_examples=1500,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

NASTY = [bytes((n,)) for n in (0, 9, 10, 11, 13, 27, 32, 34, 44, 58, 59, 127, 128, 133, 160, 255)]
METHODS = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"M-SEARCH", b"G@T", b"", b"A" * 33]
)
TARGETS = st.sampled_from(
    [b"/", b"/a?b=c", b"//x", b"*", b"a:80", b"http://b/", b"https://b:1/?q", b"http://b", b"/#",
     b"http://u@b/", b"/{x}|y", b"/<", b"", b"x", b"/\xc3\xa9", b"http://[::1]:8/p", b"/%zz"]
)  # fmt: skip
VERSIONS = st.sampled_from(
    [b"HTTP/1.1"] * 6 + [b"HTTP/1.0"] * 3 + [b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 x",
     b"HTTP/1.1 100 Continue", b"HTTP/1.1 404", b"HTTP/1.1 999 ", b"HTTP/1.1 099 x", b"ICY 200 OK",
     b"HTTP/1.1 2000 x", b"HTTP/1.1  200 x", b"HTTP/1.1 200 \x80"]
)  # fmt: skip
NAMES = st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection",
     b"Upgrade", b"Expect", b"X", b"x-y", b"TE", b"Content_Length", b"X ", b"", b" X", b"X\xff"]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"a", b"a:80", b"[::1]", b"", b"0", b"5", b"05", b"+5", b"5,5", b"5, 5", b"0x5", b"5 ", b"1e1",
     b"9223372036854775807", b"9223372036854775808", b"chunked", b"Chunked", b"gzip, chunked",
     b"chunked, chunked", b"xchunked", b"close", b"keep-alive", b"Upgrade", b"close, upgrade",
     b",,", b"websocket", b"100-continue", b"a\tb", b"\xe9", b"a\x00b", b"a b", b"a@b",
     b"x, close ,"]
)  # fmt: skip
COLONS = st.sampled_from([b": "] * 8 + [b":", b":\t ", b" :", b"", b"\t:", b": \x0b"])
LINE_ENDS = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\n\r", b""])


@st.composite
def damaged(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with up to two bytes changed, sometimes cut or with a tail."""
    data = bytearray(draw(messages))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        keep = draw(st.integers(0, 1))
        data[at : at + keep] = draw(st.sampled_from([b"", *NASTY]))
    cut = draw(st.sampled_from(["whole", "whole", "whole", "cut", "tail"]))
    if cut == "cut":
        del data[draw(st.integers(0, len(data))) :]
    elif cut == "tail":
        data += draw(st.sampled_from([b"GET / HTTP/1.1\r\n", b"\0", b"\r\n", b"0\r\n\r\n"]))
    return bytes(data)


def fields() -> st.SearchStrategy[bytes]:
    """Field lines with their line ends, some of them wrong."""
    good = st.sampled_from(
        [b"Host: a\r\n"] * 3
        + [b"Content-Length: 3\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n"]
    )
    line = st.tuples(NAMES, COLONS, VALUES, LINE_ENDS).map(b"".join)
    return st.lists(st.one_of(good, line), max_size=4).map(b"".join)


def requests() -> st.SearchStrategy[bytes]:
    """Request heads, most of them nearly right."""
    hostile = st.tuples(METHODS, st.just(b" "), TARGETS, st.just(b" "), VERSIONS).map(b"".join)
    line = st.one_of(st.just(b"GET / HTTP/1.1"), hostile)
    first = st.sampled_from([b""] * 9 + [b"\r\n"])
    return st.tuples(first, line, LINE_ENDS, fields(), LINE_ENDS).map(b"".join)


def responses() -> st.SearchStrategy[bytes]:
    """Response heads, most of them nearly right."""
    return st.tuples(STATUS_LINES, LINE_ENDS, fields(), LINE_ENDS).map(b"".join)


def chunked_bodies() -> st.SearchStrategy[bytes]:
    """Chunked bodies with hostile sizes, extensions, line ends and trailers."""
    extension = st.sampled_from(
        [b""] * 6 + [b";a", b";a=b", b';a="\x80"', b" ", b"; ", b";" + b"a" * 130, b";\n", b",a"]
    )
    prefix = st.sampled_from([b""] * 8 + [b"0", b"+", b"0x", b" ", b"0" * 15, b"0" * 16, b"-"])

    @st.composite
    def chunk(draw: st.DrawFn) -> bytes:
        payload = draw(st.binary(min_size=1, max_size=40))
        size = b"%x" % (len(payload) + draw(st.sampled_from([0] * 12 + [1, -1])))
        ends = draw(LINE_ENDS), draw(LINE_ENDS)
        return draw(prefix) + size + draw(extension) + ends[0] + payload + ends[1]

    last = st.tuples(st.sampled_from([b"0", b"00", b"0"]), extension, LINE_ENDS).map(b"".join)
    trailers = st.one_of(st.just(b""), fields())
    return st.tuples(
        st.lists(chunk(), max_size=4).map(b"".join), last, trailers, LINE_ENDS
    ).map(b"".join)  # fmt: skip


@bounded
@given(data=damaged(requests()))
def test_request_equals_the_reference(data: bytes) -> None:
    outcome = compare_request(data)
    if isinstance(outcome, dict):
        compare_request_with_h11(data, outcome)


@bounded
@given(data=damaged(responses()), method=st.sampled_from([b"GET", b"HEAD", b"POST"]))
def test_response_equals_the_reference(data: bytes, method: bytes) -> None:
    outcome = compare_response(data, method)
    if isinstance(outcome, dict):
        compare_response_with_h11(data, method, outcome)


@bounded
@given(data=damaged(chunked_bodies()), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_chunked_equals_the_reference(data: bytes, cuts: list[int]) -> None:
    outcome = compare_chunked(data, cuts)
    if len(outcome) > 1 and outcome[2]:
        compare_chunked_with_h11(data, outcome)


@settings(bounded, max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    compare_request(data)
    compare_response(data, b"GET")
    compare_chunked(data, [1, 7])


def lowered(headers: Any) -> list[tuple[bytes, bytes]]:
    """Fields as h11 gives them: names in lower case."""
    return [(bytes(name).lower(), bytes(value)) for name, value in headers]


def compare_request_with_h11(data: bytes, ours: dict[str, Any]) -> None:
    """What we accept h11 reads in the same way. Exceptions:

    * an empty line before the request line: h11 refuses it, RFC 9112 §2.2 lets us skip it;
    * keep-alive in HTTP/1.0: h11 never keeps such a connection.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data[: ours["size"]].removeprefix(b"\r\n"))
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (ours["method"], ours["target"])
    assert event.http_version == b"1.%d" % ours["minor"]
    assert lowered(event.headers) == lowered(ours["headers"])
    if ours["method"] == b"CONNECT":
        return
    expected = 0 if ours["content_length"] < 0 else ours["content_length"]
    following = connection.next_event()
    assert isinstance(following, h11.EndOfMessage) == (expected == 0 and not ours["chunked"])
    if ours["minor"] == 1:
        assert (connection.their_state is not h11.MUST_CLOSE) or not ours["keep_alive"]
        assert connection.they_are_waiting_for_100_continue <= ours["expect_continue"]


def compare_response_with_h11(data: bytes, method: bytes, ours: dict[str, Any]) -> None:
    """What we accept h11 reads in the same way. Exceptions:

    * status 600 to 999: h11 knows no such class, caches are tested with them;
    * 101: h11 switches only when its own request asked for it.
    """
    if ours["status"] >= 600 or ours["status"] == 101:
        return
    connection = h11.Connection(h11.CLIENT)
    headers = [(b"Host", b"a"), (b"Content-Length", b"0")]
    connection.send(h11.Request(method=method, target=b"/", headers=headers))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data[: ours["size"]])
    event = connection.next_event()
    assert isinstance(event, (h11.Response, h11.InformationalResponse))
    assert (event.status_code, event.reason) == (ours["status"], ours["reason"])
    assert lowered(event.headers) == lowered(ours["headers"])
    if isinstance(event, h11.InformationalResponse):
        return
    assert isinstance(connection.next_event(), h11.EndOfMessage) == (ours["body"] == 0)


def compare_chunked_with_h11(data: bytes, ours: tuple[Any, ...]) -> None:
    """A body that we accept h11 decodes to the same payload, end and trailers. Exception:

    * framing fields among the trailers: h11 interprets them; we never do, nor do we forward them.
    """
    payload, consumed, _, trailers = ours
    if {name for name, _ in lowered(trailers)} & {b"content-length", b"transfer-encoding"}:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    connection.receive_data(data)
    read = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        read += bytes(event.data)
    assert read == payload
    assert connection.trailing_data[0] == data[consumed:]
    assert lowered(event.headers) == lowered(trailers)


def test_the_generators_reach_both_answers() -> None:
    """Without this a generator whose every message is refused would prove nothing."""
    seen: set[str] = set()

    @settings(bounded, max_examples=300)
    @given(data=damaged(requests()))
    def look(data: bytes) -> None:
        try:
            seen.add("more" if http1.parse_request(data) is None else "accepted")
        except http1.ParseError:
            seen.add("refused")

    look()
    assert seen == {"more", "accepted", "refused"}
