"""edge.health.answers: what is known of an answer, byte by byte. Rules: test_sequence.py."""

import pytest

from edge.health.answers import MalformedError, read_answer

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x\r\n0123\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("received", "code", "reason", "body", "is_whole"),
    [
        (b"HTTP/1.0 204\r\n\r\n", 204, "", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "Not Modified", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 200, "OK", b"abc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 200, "OK", b"ab", False),
        (b"HTTP/1.1 200 OK\n\nabc", 200, "OK", b"abc", False),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK", b"", False),
        (CHUNKED, 200, "OK", b"abc0123", True),
        (CHUNKED[:-7], 200, "OK", b"abc0123", False),
    ],
)
def test_answers(received: bytes, code: int, reason: str, body: bytes, is_whole: bool) -> None:
    answer = read_answer(received, is_over=False)
    assert answer is not None
    assert (answer.code, answer.reason, answer.body) == (code, reason, body)
    assert answer.is_whole is is_whole


def test_every_beginning_of_a_head_is_waited_for() -> None:
    head = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nServer: t\r\n\r\n"
    for length in range(len(head)):
        assert read_answer(head[:length], is_over=False) is None
    with pytest.raises(MalformedError):
        read_answer(head[:-1], is_over=True)


@pytest.mark.parametrize(
    "received",
    [
        b"SSH-2.0",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 600 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_answer(received: bytes) -> None:
    with pytest.raises(MalformedError):
        read_answer(received, is_over=False)


def test_lists_are_parted_and_lines_are_not() -> None:
    answer = read_answer(b"HTTP/1.1 200 OK\r\nVia: a, b\r\nX: \tc \r\n\r\n", is_over=True)
    assert answer is not None
    assert list(answer.fields(is_whole=True)) == [(b"via", b"a, b"), (b"x", b"c")]
    assert list(answer.fields(is_whole=False)) == [(b"via", b"a"), (b"via", b"b"), (b"x", b"c")]
