"""What ext.http1.parse_response must say about which bytes; rows as in http1_cases.py.

An origin is not trusted either: whatever would make a client see another message than we saw is
refused, and the client gets 502.
"""

# A table: several short rows on a line.
# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from tests.ext.http1_cases import Case, Refuse, accept

NONE, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)
BAD = Refuse(502)


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response head: status line, field lines, empty line."""
    return b"\r\n".join((start, *lines, b"", b""))


def _status_line_cases() -> Iterator[Case]:
    for line, minor, status, reason in (
        (b"HTTP/1.1 200 OK", 1, 200, b"OK"),
        (b"HTTP/1.0 200 OK", 0, 200, b"OK"),
        (b"HTTP/1.1 200 ", 1, 200, b""),
        (b"HTTP/1.1 200", 1, 200, b""),
        (b"HTTP/1.1 404 Not Found", 1, 404, b"Not Found"),
        (b"HTTP/1.1 599 x", 1, 599, b"x"),
        (b"HTTP/1.1 600 x", 1, 600, b"x"),
        (b"HTTP/1.1 999 x", 1, 999, b"x"),
        (b"HTTP/1.1 200 a\tb", 1, 200, b"a\tb"),
        (b"HTTP/1.1 200 \xe9\xff", 1, 200, b"\xe9\xff"),
    ):
        expect = accept(minor=minor, status=status, reason=reason, body=UNTIL_CLOSE)
        yield Case(f"9112-4 {line!r}", head(start=line), expect)
    for line in (
        b"HTTP/1.2 200 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200", b"HTTP/0.9 200 OK", b"HTTP/1 200 OK",
        b"http/1.1 200 OK", b"ICY 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 x", b"HTTP/1.1 000 x",
        b"HTTP/1.1 2x0 OK", b"HTTP/1.1 +20", b"HTTP/1.1 -200 OK", b"HTTP/1.1 OK", b"HTTP/1.1",
        b"HTTP/1.1 ", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK", b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x7fK", b"HTTP/1.1 200 O\x1bK", b" HTTP/1.1 200 OK", b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 \xb2\xb9\xb2 OK", b"GET / HTTP/1.1", b"", b"garbage", b"HTTP/1.10 200 OK",
        b"HTTP/01.1 200 OK", b"HTTP/1.1 200\x0bOK", b"HTTP/1.1 0200 OK", b"HTTP/1.1 2 00 OK",
    ):
        yield Case(f"9112-4 {line!r}", head(start=line), BAD)
    yield Case("9112-2.2 empty line first", b"\r\n" + head(), BAD)


def _body_cases() -> Iterator[Case]:
    length, coding = b"Content-Length: 5", b"Transfer-Encoding: chunked"
    for name, status, lines, method, expect in (
        ("8: until close", b"200", (), b"GET", accept(body=UNTIL_CLOSE)),
        (
            "6: length",
            b"200",
            (length,),
            b"GET",
            accept(body=LENGTH, content_length=5, keep_alive=True),
        ),
        (
            "4: chunked",
            b"200",
            (coding,),
            b"GET",
            accept(body=CHUNKED, chunked=True, content_length=-1, keep_alive=True),
        ),
        ("1: HEAD, length", b"200", (length,), b"HEAD", accept(body=NONE, content_length=5)),
        ("1: HEAD, chunked", b"200", (coding,), b"HEAD", accept(body=NONE, keep_alive=True)),
        ("1: HEAD, nothing", b"200", (), b"HEAD", accept(body=NONE, keep_alive=True)),
        ("1: head is not HEAD", b"200", (length,), b"head", accept(body=LENGTH)),
        ("1: 304, length", b"304", (length,), b"GET", accept(body=NONE, keep_alive=True)),
        ("1: 304, nothing", b"304", (), b"GET", accept(body=NONE, keep_alive=True)),
        ("1: 204", b"204", (), b"GET", accept(body=NONE, keep_alive=True)),
        ("1: 204, zero length", b"204", (b"Content-Length: 0",), b"GET", accept(body=NONE)),
        ("1: 204, length", b"204", (length,), b"GET", BAD),
        ("1: 204, chunked", b"204", (coding,), b"GET", BAD),
        ("1: 204, length, HEAD", b"204", (length,), b"HEAD", BAD),
        ("1: 100", b"100", (), b"POST", accept(body=NONE, status=100)),
        ("1: 100, length", b"100", (length,), b"POST", BAD),
        ("1: 100, chunked", b"100", (coding,), b"POST", BAD),
        ("1: 101", b"101", (b"Connection: upgrade",), b"GET", accept(body=NONE, status=101)),
        ("1: 101, length", b"101", (length,), b"GET", BAD),
        ("1: 103", b"103", (b"Link: </a>",), b"GET", accept(body=NONE, status=103)),
        (
            "6: zero length",
            b"205",
            (b"Content-Length: 0",),
            b"GET",
            accept(body=NONE, content_length=0, keep_alive=True),
        ),
    ):
        data = head(*lines, start=b"HTTP/1.1 " + status + b" x")
        yield Case(f"9112-6.3 {name}", data, expect, {"request_method": method})
    for name, lines in {
        "CL.TE": (length, coding),
        "TE.CL": (coding, length),
        "CL twice, the same": (length, length),
        "CL twice, different": (length, b"Content-Length: 6"),
        "CL list": (b"Content-Length: 5, 5",),
        "CL with a sign": (b"Content-Length: +5",),
        "CL empty": (b"Content-Length:",),
        "CL hexadecimal": (b"Content-Length: 0x5",),
        "CL overflow": (b"Content-Length: 9223372036854775808",),
        "TE twice": (coding, coding),
        "TE gzip": (b"Transfer-Encoding: gzip",),
        "TE gzip, chunked": (b"Transfer-Encoding: gzip, chunked",),
        "TE chunked, gzip": (b"Transfer-Encoding: chunked, gzip",),
        "TE identity": (b"Transfer-Encoding: identity",),
        "TE empty": (b"Transfer-Encoding:",),
        "TE with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    }.items():
        for method in (b"GET", b"HEAD"):
            options = {"request_method": method}
            yield Case(f"9112-11.1 {name}, {method.decode()}", head(*lines), BAD, options)
    yield Case("9112-6.1 TE in HTTP/1.0", head(coding, start=b"HTTP/1.0 200 OK"), BAD)
    largest = head(b"Content-Length: 9223372036854775807")
    yield Case("9110-8.6 largest length", largest, accept(content_length=2**63 - 1))


def _field_line_cases() -> Iterator[Case]:
    expect = accept(headers=[(b"X-a", b"b"), (b"x", b"\xff"), (b"Y", b"")])
    yield Case("9112-5 fields", head(b"X-a: b", b"x:\t\xff ", b"Y:"), expect)
    for name, line in {
        "5.1 space before the colon": b"X : v",
        "5.1 empty name": b": v",
        "5.1 no colon": b"X",
        "5.2 obs-fold": b"X: a\r\n b",
        "2.2 whitespace-only line": b" ",
        "2.2 bare LF": b"X: a\nY: b",
        "2.2 bare CR": b"X: a\rY: b",
        "2.2 CR CR LF": b"X: a\r",
        "5.5 NUL": b"X: a\x00b",
        "5.5 DEL": b"X: a\x7fb",
        "5.5 ESC": b"X: a\x1bb",
        "5.1 obs-text in the name": b"X\xe9: a",
        "5.1 parenthesis in the name": b"X(: a",
    }.items():
        yield Case(f"9112-{name}", head(line), BAD)
    for name, data in {
        "whole head with bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "last line with bare LF": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
        "whitespace before the first field": b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
    }.items():
        yield Case(f"9112-2.2 {name}", data, BAD)


def _connection_cases() -> Iterator[Case]:
    length = b"Content-Length: 0"
    for line, fields, keeps in (
        (b"HTTP/1.1 200 OK", (length,), True),
        (b"HTTP/1.1 200 OK", (length, b"Connection: close"), False),
        (b"HTTP/1.1 200 OK", (length, b"Connection: x , Close"), False),
        (b"HTTP/1.1 200 OK", (length, b"Connection: x", b"connection: close"), False),
        (b"HTTP/1.0 200 OK", (length,), False),
        (b"HTTP/1.0 200 OK", (length, b"Connection: Keep-Alive"), True),
        (b"HTTP/1.0 200 OK", (length, b"Connection: keep-alive, close"), False),
    ):
        name = f"9112-9.3 {line[5:8].decode()} {b'|'.join(fields)!r}"
        yield Case(name, head(*fields, start=line), accept(keep_alive=keeps))


def _limit_cases() -> Iterator[Case]:
    yield Case("header bytes under the limit", head(b"X: " + b"a" * 73000), accept())
    yield Case("header bytes over the limit", head(b"X: " + b"a" * 73800), BAD)
    unfinished = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 73800
    yield Case("unfinished field over the limit", unfinished, BAD)
    yield Case("unfinished status line over the limit", b"HTTP/1.1 200 " + b"a" * 73800, BAD)
    yield Case("256 fields", head(*[b"X: y"] * 256), accept())
    yield Case("257 fields", head(*[b"X: y"] * 257), BAD)
    few = {"header_count": 1}
    yield Case("a small count, passed", head(b"X: y", b"X: y"), BAD, few)


RESPONSE_CASES: tuple[Case, ...] = (
    *_status_line_cases(),
    *_body_cases(),
    *_field_line_cases(),
    *_connection_cases(),
    *_limit_cases(),
)
