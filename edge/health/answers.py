"""A node's answer to an HTTP check, read as far as rules look at it.

At most HAProxy's buffer of it: head and body together 16,384 bytes. Interim answers (1xx) are
passed over. Read strictly where that says something about the node (status line, field lines,
chunks), but nothing of it is passed on to anybody.

Pure: the bytes so far come in, the answer so far goes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BUFFER_BYTES = 16_384  # HAProxy looks at one buffer of this size (tune.bufsize)

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([^\r\n]*))?\r?\n")
STARTS = b"HTTP/1."
HEAD_END = re.compile(rb"\r?\n\r?\n")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*\r?(?:\n|$)")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r?\n")
LENGTH = re.compile(rb"[0-9]{1,18}")
INTERIM = range(100, 200)
WITHOUT_BODY = (204, 304)


class MalformedError(Exception):
    """This is no HTTP answer, or it ended before it was one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of it. Names are in lower case; `is_whole`: the body has ended."""

    code: int
    reason: str
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes
    is_whole: bool

    def fields(self, *, is_whole: bool) -> Iterator[tuple[bytes, bytes]]:
        """Names with values: of whole lines, or of each part of a list between commas."""
        for name, value in self.lines:
            if is_whole:
                yield name, value
            else:
                yield from ((name, part.strip(b" \t")) for part in value.split(b","))


def read_answer(received: bytes, *, is_over: bool) -> Answer | None:
    """The answer in everything that has come so far; None while its head is not complete.

    MalformedError: it never will be, or it is wrong.
    """
    while True:
        end = HEAD_END.search(received)
        if end is None:
            # Bytes that cannot become a status line are not waited for.
            if is_over or received[: len(STARTS)] != STARTS[: len(received)]:
                raise MalformedError
            return None
        answer = _answer(received[: end.start()] + b"\r\n", received[end.end() :])
        if answer.code not in INTERIM:
            return answer
        received = received[end.end() :]  # the final one follows


def _answer(head: bytes, rest: bytes) -> Answer:
    line = STATUS_LINE.match(head)
    if line is None:
        raise MalformedError
    lines = []
    at = line.end()
    while at < len(head):
        field = FIELD.match(head, at)
        if field is None:
            raise MalformedError
        lines.append((field[1].lower(), field[2]))
        at = field.end()
    code = int(line[1])
    body, is_whole = _body(code, dict(lines), rest[:BUFFER_BYTES])
    return Answer(code, (line[2] or b"").decode("latin-1").strip(), tuple(lines), body, is_whole)


def _body(code: int, fields: dict[bytes, bytes], rest: bytes) -> tuple[bytes, bool]:
    if code in WITHOUT_BODY:
        return b"", True
    if fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
        return _unchunked(rest)
    length = fields.get(b"content-length")
    if length is None:
        return rest, False
    if not LENGTH.fullmatch(length):
        raise MalformedError
    return rest[: int(length)], len(rest) >= int(length)


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    at = 0
    while (size := CHUNK_SIZE.match(rest, at)) is not None:
        count = int(size[1], 16)
        if count == 0:
            return body, True
        body += rest[size.end() : size.end() + count]
        at = size.end() + count
        at += 2 if rest[at : at + 1] == b"\r" else 1
    return body, False
