"""ext.edits: what edits mean, in which order, and that none of them changes a message's framing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.edits import edited_for_test
from ext.http1 import ParseError, parse_request, parse_response
from tests.ext.heads import answer, get

short = settings(max_examples=400, derandomize=True, deadline=None, database=None)


def edit(head: bytes, *edits: tuple[str | int | bytes, ...]) -> list[bytes]:
    """The lines after edits that must all be accepted."""
    made, accepted = edited_for_test(head, list(edits))
    assert all(accepted), accepted
    assert made.endswith(b"\r\n\r\n")
    return made[:-4].split(b"\r\n")


HEAD = get("X-A: 1", "x-a:2", "Cookie: a=b", target="/p?q=1")
LINE, HOST = b"GET /p?q=1 HTTP/1.1", b"Host: shop.test"


@pytest.mark.parametrize(
    ("edits", "fields"),
    [
        ([], [b"X-A: 1", b"x-a:2", b"Cookie: a=b"]),
        ([("del", b"X-a")], [b"Cookie: a=b"]),
        ([("del", b"x-none")], [b"X-A: 1", b"x-a:2", b"Cookie: a=b"]),
        ([("set", b"X-A", b"3")], [b"Cookie: a=b", b"X-A: 3"]),
        ([("set", b"X-A", b"3"), ("set", b"x-a", b"4")], [b"Cookie: a=b", b"x-a: 4"]),
        ([("add", b"X-A", b" 3\t")], [b"X-A: 1", b"x-a:2", b"Cookie: a=b", b"X-A: 3"]),
        ([("add", b"X-A", b"3"), ("del", b"x-a")], [b"Cookie: a=b"]),
        ([("del", b"x-a"), ("add", b"X-A", b"3")], [b"Cookie: a=b", b"X-A: 3"]),
        ([("replace", 2, b"")], [b"X-A: 1", b"x-a: ", b"Cookie: a=b"]),
        ([("replace", 1, b"7"), ("replace", 1, b"8")], [b"X-A: 8", b"x-a:2", b"Cookie: a=b"]),
        ([("drop", 1)], [b"x-a:2", b"Cookie: a=b"]),
        ([("replace", 1, b"7"), ("del", b"x-a")], [b"Cookie: a=b"]),
        ([("del", b"cookie")], [b"X-A: 1", b"x-a:2"]),
    ],
)
def test_fields(edits: list[tuple[str | int | bytes, ...]], fields: list[bytes]) -> None:
    assert edit(HEAD, *edits) == [LINE, HOST, *fields]


@pytest.mark.parametrize(
    ("edits", "line"),
    [
        ([("method", b"POST")], b"POST /p?q=1 HTTP/1.1"),
        ([("target", b"/x")], b"GET /x HTTP/1.1"),
        ([("target", b"/x"), ("target", b"/y?z"), ("method", b"PUT")], b"PUT /y?z HTTP/1.1"),
    ],
)
def test_first_line(edits: list[tuple[str | int | bytes, ...]], line: bytes) -> None:
    assert edit(HEAD, *edits)[0] == line


def test_a_head_without_fields() -> None:
    assert edited_for_test(b"GET / HTTP/1.0\r\n\r\n", [("add", b"X", b"1")])[0] == (
        b"GET / HTTP/1.0\r\nX: 1\r\n\r\n"
    )


def test_an_empty_line_in_front_is_not_written() -> None:
    assert edited_for_test(b"\r\nGET / HTTP/1.0\r\nA: 1\r\n\r\n", [])[0] == (
        b"GET / HTTP/1.0\r\nA: 1\r\n\r\n"
    )


def test_host_stays_at_its_place_and_stays_one() -> None:
    lines = edit(HEAD, ("set", b"host", b"a.test:80"), ("set", b"HOST", b"b.test"))
    assert lines[1] == b"Host: b.test"
    assert sum(line.lower().startswith(b"host:") for line in lines) == 1


@pytest.mark.parametrize(
    "refused",
    [
        *[
            (op, name, b"1")
            for op in ("set", "add")
            for name in (b"Content-Length", b"transfer-encoding", b"Connection", b"Keep-Alive",
                         b"Upgrade", b"TE", b"Trailer", b"Proxy-Connection", b"Expect")
        ],
        *[("del", name) for name in (b"Content-Length", b"Transfer-Encoding", b"Host",
                                     b"Connection", b"Upgrade")],
        ("add", b"Host", b"x"),
        ("set", b"Host", b""),
        ("set", b"Host", b"a b"),
        ("set", b"Host", b"a/b"),
        ("set", b"Host", b"user@a"),
        ("replace", 0, b"a b"),
        ("drop", 0),
        ("set", b"", b"1"),
        ("set", b"X A", b"1"),
        ("set", b"X:A", b"1"),
        ("set", b"X\r\nA", b"1"),
        ("set", b"X", b"1\r\nContent-Length: 5"),
        ("set", b"X", b"1\n"),
        ("set", b"X", b"a\0b"),
        ("add", b"X", b"a\x7fb"),
        ("replace", 1, b"1\r\nX: 2"),
        ("method", b""),
        ("method", b"GET "),
        ("method", b"CONNECT"),
        ("method", b"M" * 33),
        ("target", b""),
        ("target", b"x"),
        ("target", b"*"),
        ("target", b"/a b"),
        ("target", b"/a\r\nX: 1"),
        ("target", b"/a#b"),
        ("target", b"/\xe9"),
    ],
)  # fmt: skip
def test_refused_and_without_effect(refused: tuple[str | int | bytes, ...]) -> None:
    made, accepted = edited_for_test(HEAD, [refused])
    assert accepted == [False]
    assert made == HEAD


@pytest.mark.parametrize("name", [b"Expect", b"Date", b"Authorization", b"Proxy-Authorization"])
def test_fields_that_may_go(name: bytes) -> None:
    assert edit(get(f"{name.decode()}: x"), ("del", name)) == [b"GET / HTTP/1.1", HOST]


def test_more_edits_than_there_is_room_for() -> None:
    made, accepted = edited_for_test(HEAD, [("add", b"X", b"1")] * 65)
    assert accepted == [True] * 64 + [False]
    assert made.count(b"\r\nX: 1") == 64


def test_more_bytes_than_there_is_room_for() -> None:
    made, accepted = edited_for_test(HEAD, [("add", b"X", b"v" * 40000)] * 2)
    assert accepted == [True, False]
    assert len(made) == len(HEAD) + 40005


def test_an_answer_keeps_its_status_line() -> None:
    made, _ = edited_for_test(answer("A: 1", status=404, minor=0), [("del", b"a")], answer=True)
    assert made == b"HTTP/1.0 404 x\r\n\r\n"


# -- properties ------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b"X-A", b"x-a", b"X-B", b"Cookie", b"Host", b"Content-Length", b"Transfer-Encoding",
     b"Connection", b"Upgrade", b"Expect", b"X A", b"", b"X-C:", b"Date"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"", b"1", b"a, b", b" x ", b"chunked", b"close", b"other.test"]),
    st.binary(max_size=12),
)
EDIT = st.one_of(
    st.tuples(st.sampled_from(["set", "add"]), NAMES, VALUES),
    st.tuples(st.just("del"), NAMES),
    st.tuples(st.just("replace"), st.integers(0, 3), VALUES),
    st.tuples(st.just("drop"), st.integers(0, 3)),
    st.tuples(st.just("method"), st.one_of(st.sampled_from([b"POST", b"HEAD"]), VALUES)),
    st.tuples(st.just("target"), st.one_of(st.sampled_from([b"/", b"/a?b=c"]), VALUES)),
)
FRAMINGS = st.sampled_from(["Content-Length: 12", "Transfer-Encoding: chunked", "X-None: 0"])
HOLD = st.sampled_from(["Connection: close", "Connection: x-a", "Upgrade: websocket", "X-A: 9"])


@short
@given(FRAMINGS, HOLD, st.lists(EDIT, max_size=8))
def test_every_edited_request_has_the_same_framing(
    framing: str, hold: str, edits: list[tuple[str | int | bytes, ...]]
) -> None:
    head = get(hold, framing, "X-B: b")
    made, _ = edited_for_test(head, edits)
    before, after = parse_request(head), parse_request(made)
    assert before is not None and after is not None
    assert after.size == len(made)
    same = ("content_length", "chunked", "minor", "keep_alive", "upgrade", "expect_continue")
    assert [getattr(before, name) for name in same] == [getattr(after, name) for name in same]
    assert sum(name.lower() == b"host" for name, _ in after.headers) == 1


@short
@given(FRAMINGS, HOLD, st.lists(EDIT, max_size=8))
def test_every_edited_answer_has_the_same_framing(
    framing: str, hold: str, edits: list[tuple[str | int | bytes, ...]]
) -> None:
    head = answer(hold, framing, "X-B: b", "X-A: a")
    edits = [edit for edit in edits if edit[0] not in ("method", "target")]
    made, _ = edited_for_test(head, edits, answer=True)
    before, after = parse_response(head), parse_response(made)
    assert before is not None and after is not None
    assert after.size == len(made)
    same = ("status", "content_length", "chunked", "body", "minor", "keep_alive")
    assert [getattr(before, name) for name in same] == [getattr(after, name) for name in same]


@short
@given(st.lists(EDIT, max_size=6))
def test_edits_at_once_are_as_one_by_one(edits: list[tuple[str | int | bytes, ...]]) -> None:
    """Those by name; by index they mean the head that is edited."""
    edits = [edit for edit in edits if edit[0] not in ("replace", "drop")]
    head = get("X-A: 1", "X-B: 2", "x-a: 3")
    at_once, _ = edited_for_test(head, edits)
    for one in edits:
        head, _ = edited_for_test(head, [one])
    assert at_once == head


def test_what_is_not_one_head_is_an_error() -> None:
    with pytest.raises(ValueError, match="not one whole head"):
        edited_for_test(b"GET / HTTP/1.1\r\n\r\n", [])
    with pytest.raises(ParseError):
        parse_request(b"GET / HTTP/1.1\r\n\r\n")
