"""ext.forward on generated heads: what is written is read as the same message.

The generators build valid heads with odd spaces, hostile Connection options and repeated fields;
every recipe of up to four tiers may be applied. Derandomised and short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ext.forward import Recipe, request_for_test, response_for_test, trailers_for_test
from ext.headers import FIELDS
from ext.http1 import ParseError, parse_request, parse_response

NONE, LENGTH, CHUNKED, CLOSE = range(4)  # Framing in ext/forward.pxd
SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE = range(3)  # ConnectionField
DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"

HOP_FIELDS = {name for _, name, flags in FIELDS if flags & 1}
PROTECTED = {name for _, name, flags in FIELDS if flags & 2}
NOT_TRAILERS = {name for _, name, flags in FIELDS if flags & 4}

short = settings(max_examples=250, derandomize=True, deadline=None, database=None)

NAMES = st.one_of(
    st.sampled_from([name for _, name, _ in FIELDS if name not in (
        b"host", b"content-length", b"transfer-encoding", b"connection")]),
    st.sampled_from([b"Accept", b"X-Secret", b"x-other", b"ETag", b"Set-Cookie", b"Cookie", b"a"]),
).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))  # fmt: skip
WORDS = st.sampled_from(
    [b"", b"a", b"a b", b"1.1.1.1", b"x, y", b"\xff", b"upgrade", b"close", b"v" * 300]
)
SPACES = st.sampled_from([b"", b" ", b" ", b" ", b"\t", b"  "])
FIELD = st.tuples(NAMES, SPACES, WORDS, SPACES)
OPTIONS = st.sampled_from([b"", b"close", b"keep-alive", b"x-secret", b"X-Other, etag", b"upgrade",
                           b"cookie, host, upgrade, via", b"x-forwarded-for"])  # fmt: skip
FRAMINGS = st.sampled_from([b"", b"Content-Length: 0\r\n", b"Content-Length: 12\r\n",
                            b"Transfer-Encoding:chunked\r\n"])  # fmt: skip
HOPS = st.lists(
    st.fixed_dictionaries(
        {
            "x_forwarded_for": st.sampled_from(["append", "line", "preserve", "remove"]),
            "x_forwarded_proto": st.sampled_from(["set", "if_none", "off"]),
            "x_forwarded_host": st.sampled_from(["set", "if_none", "off"]),
            "x_forwarded_port": st.sampled_from(["set", "if_none", "off"]),
            "forwarded": st.booleans(),
            "via": st.sampled_from([None, "edge", "v" * 64]),
            "port": st.sampled_from([1, 65535]),
            "date": st.booleans(),
        }
    ),
    min_size=1,
    max_size=4,
)
OURS = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port",
        b"forwarded", b"via", b"host", b"date"}  # fmt: skip
FRAMING = {b"content-length", b"transfer-encoding"}


@st.composite
def messages(draw: st.DrawFn, first_line: st.SearchStrategy[bytes], host: bool) -> bytes:
    """A valid head with odd spaces, hostile Connection options and repeated fields."""
    lines = [name + b":" + a + word + b for name, a, word, b in draw(st.lists(FIELD, max_size=12))]
    if host:
        lines.insert(draw(st.integers(0, len(lines))), b"Host: shop.example:8443")
    if option := draw(OPTIONS):
        lines.insert(draw(st.integers(0, len(lines))), b"Connection: " + option)
    return b"".join(
        [draw(first_line), b"\r\n", *(line + b"\r\n" for line in lines), draw(FRAMINGS), b"\r\n"]
    )


def end_to_end(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What no tier may change: neither of the hop, nor named by Connection, nor ours to write."""
    named = {
        option.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    gone = HOP_FIELDS | OURS | FRAMING | (named - PROTECTED)
    return [(name, value) for name, value in fields if name.lower() not in gone]


def whole(parse: Callable[[], Any]) -> Any:
    """The parsed head; the few that the parser refuses (chunked in 1.0) are no examples."""
    try:
        parsed = parse()
    except ParseError:
        parsed = None
    assume(parsed is not None)
    return parsed


REQUEST_LINES = st.sampled_from([b"GET /a?b HTTP/1.1", b"POST / HTTP/1.0",
                                 b"PUT http://shop.example:8443/x HTTP/1.1",
                                 b"GET http://shop.example:8443 HTTP/1.1"])  # fmt: skip
CLIENTS = st.sampled_from([b"192.0.2.1", b"2001:0db8:1111:2222:3333:4444:5555:6666", b"unknown"])


@short
@given(messages(REQUEST_LINES, host=True), HOPS, CLIENTS)
def test_request_reads_as_the_same_request(
    message: bytes, hops: list[dict[str, Any]], client: bytes
) -> None:
    before = whole(lambda: parse_request(message, header_count=256))
    recipe = Recipe(hops)
    made = request_for_test(message, recipe, client)
    after = parse_request(made, header_count=256)
    assert after is not None
    assert after.size == len(made)
    assert (after.method, after.path, after.host) == (before.method, before.path, before.host)
    assert (after.content_length, after.chunked) == (before.content_length, before.chunked)
    assert (after.upgrade, after.keep_alive) == (before.upgrade, True)
    assert end_to_end(after.headers) == end_to_end(before.headers)
    names = Counter(name.lower() for name, _ in after.headers)
    assert names.keys() & HOP_FIELDS - FRAMING <= {b"connection", b"upgrade"}
    assert (b"connection" in names) == (b"upgrade" in names) == before.upgrade
    assert names[b"host"] == 1
    # Nothing is left to change: what was written is read by every parser the same way.
    assert b"\r\n\r\n" not in made[:-4]
    assert all(b": " in line for line in made.split(b"\r\n")[1:-2])


STATUS_LINES = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 302"])


@short
@given(
    messages(STATUS_LINES, host=False),
    HOPS,
    st.sampled_from([NONE, LENGTH, CHUNKED, CLOSE]),
    st.sampled_from([SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE]),
)
def test_answer_reads_as_the_same_answer(
    message: bytes, hops: list[dict[str, Any]], framing: int, say: int
) -> None:
    before = whole(lambda: parse_response(message))
    assume(framing != LENGTH or before.content_length >= 0)
    made = response_for_test(message, Recipe(hops), framing, say, DATE)
    after = parse_response(made)
    assert after is not None
    assert (after.size, after.minor) == (len(made), 1)
    assert (after.status, after.reason) == (before.status, before.reason)
    assert after.chunked == (framing == CHUNKED)
    assert after.content_length == (before.content_length if framing == LENGTH else -1)
    assert after.keep_alive == (say != SAY_CLOSE)
    assert end_to_end(after.headers) == end_to_end(before.headers)
    names = Counter(name.lower() for name, _ in after.headers)
    assert names.keys() & HOP_FIELDS - FRAMING <= {b"connection"}
    assert (b"connection" in names) == (say != SAY_NOTHING)
    wanted = any(tier["date"] for tier in hops)
    assert names[b"date"] == max(sum(name.lower() == b"date" for name, _ in before.headers), wanted)


@short
@given(st.lists(FIELD, max_size=12))
def test_trailers_read_as_the_allowed_ones(fields: list[tuple[bytes, ...]]) -> None:
    section = b"".join(n + b":" + a + word + b + b"\r\n" for n, a, word, b in fields) + b"\r\n"
    made = trailers_for_test(section)
    expected = [n + b": " + word for n, _, word, _ in fields if n.lower() not in NOT_TRAILERS]
    assert made == b"".join(line + b"\r\n" for line in [b"0", *expected, b""])
