"""What ext.http1.parse_request must say about which bytes: one row per rule, no code.

A row is a name (with the RFC section, or the CVE or advisory that taught it), the bytes, and
either Refuse(status) or Accept(fields). Accept lists the fields the row is about; test_http1.py
compares all the others with the reference parser. Rows for responses and chunked bodies are in
http1_response_cases.py and http1_chunked_cases.py.
"""

# A table: several short rows on a line.
# fmt: off

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refuse:
    """The message is refused; the peer's answer is `status`."""

    status: int = 400


@dataclass(frozen=True)
class Accept:
    """The message is accepted and these fields of the head have these values."""

    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One row. `limits` are keyword arguments of the parser."""

    name: str
    data: bytes
    expect: Refuse | Accept
    limits: dict[str, Any] = field(default_factory=dict)


def accept(**fields: Any) -> Accept:
    """Accept(fields), readable in a table."""
    return Accept(fields)


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"a") -> bytes:
    """A request head: start line, Host unless None, field lines, empty line."""
    hosts = () if host is None else (b"Host: " + host,)
    return b"\r\n".join((start, *hosts, *lines, b"", b""))


def _request_line_cases() -> Iterator[Case]:
    yield Case("9112-3 smallest", head(), accept(method=b"GET", target=b"/", path=b"/", minor=1))
    yield Case("9112-2.3 HTTP/1.0", head(start=b"GET / HTTP/1.0"), accept(minor=0))
    yield Case("9112-2.2 one empty line first", b"\r\n" + head(), accept(method=b"GET"))
    yield Case("9112-2.2 two empty lines first", b"\r\n\r\n" + head(), Refuse())
    yield Case("9112-2.2 bare LF first", b"\n" + head(), Refuse())
    yield Case("9112-2.2 bare CR first", b"\r" + head(), Refuse())
    yield Case("9112-2.2 space first", b" " + head(), Refuse())
    yield Case("9112-2.2 NUL first", b"\0" + head(), Refuse())
    for name, line in {
        "two spaces after method": b"GET  / HTTP/1.1",
        "two spaces after target": b"GET /  HTTP/1.1",
        "tab after method": b"GET\t/ HTTP/1.1",
        "tab after target": b"GET /\tHTTP/1.1",
        "trailing space": b"GET / HTTP/1.1 ",
        "trailing tab": b"GET / HTTP/1.1\t",
        "leading space": b" GET / HTTP/1.1",
        "no method": b" / HTTP/1.1",
        "no target": b"GET HTTP/1.1",
        "empty target": b"GET  HTTP/1.1",
        "no version (HTTP/0.9)": b"GET /",
        "empty version": b"GET / ",
        "four parts": b"GET / x HTTP/1.1",
        "vertical tab for a space": b"GET\x0b/ HTTP/1.1",
        "form feed for a space": b"GET\x0c/ HTTP/1.1",
        "no-break space for a space": b"GET\xa0/ HTTP/1.1",
        "a response's line": b"HTTP/1.1 200 OK",
        "a TLS record": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "a PROXY line": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
    }.items():
        yield Case(f"9112-3 {name}", head(start=line), Refuse())
    for version in (
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3.1", b"HTTP/1",
        b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"http/1.1",
        b"Http/1.1", b"HTTP1.1", b"HTTP/1,1", b"HTTP/ 1.1", b"HTTP\\1.1", b"HTTP/1.\xb2",
        b"HTTP/+1.1", b"HTTP/1.1\x00", b"HTTPS/1.1", b"XHTTP/1.1", b"ICY/1.1", b"HTTP/1.1HTTP/1.1",
    ):
        yield Case(f"9112-2.3 version {version!r}", head(start=b"GET / " + version), Refuse())
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield Case("9113-3.4 HTTP/2 preface", preface, Refuse())


def _method_cases() -> Iterator[Case]:
    for method in (
        b"POST", b"HEAD", b"PUT", b"DELETE", b"TRACE", b"PATCH", b"PURGE", b"FASTLYPURGE", b"get",
        b"M-SEARCH", b"X", b"!#$%&'*+-.^_`|~09azAZ", b"A" * 32,
    ):
        data = head(start=method + b" / HTTP/1.1")
        yield Case(f"9110-9.1 method {method!r}", data, accept(method=method))
    for method in (
        b"A" * 33, b"A" * 4096, b"G(T", b"G)T", b"G,T", b"G/T", b"G:T", b"G;T", b"G<T", b"G=T",
        b"G>T", b"G?T", b"G@T", b"G[T", b"G\\T", b"G]T", b"G{T", b"G}T", b'G"T', b"G\x00T",
        b"G\x01T", b"G\x7fT", b"G\xc3\xa9T", b"\xff",
    ):
        data = head(start=method + b" / HTTP/1.1")
        yield Case(f"9110-5.6.2 method {method[:40]!r} ({len(method)})", data, Refuse())


def _target_cases() -> Iterator[Case]:
    for target in (
        b"/", b"//", b"//evil.example/x", b"/a/b?c=d&e=f", b"/?", b"/%00", b"/%zz", b"/a;b=c",
        b"/*", b"/http://b/", b"/..//../etc", b"/a?x={|}", b"/[]@!$&'()*+,=:~-._", b"/?q=a?b",
        b"/" + b"a" * 8000,
    ):
        start = b"GET " + target + b" HTTP/1.1"
        expect = accept(target=target, path=target, host=b"a")
        yield Case(f"9112-3.2.1 origin-form {target[:40]!r}", head(start=start), expect)
    for byte in (*range(0x21), 0x7F, *b'#"<>\\^`', *range(0x80, 0x100, 0x11)):
        start = b"GET /a" + bytes((byte,)) + b"b HTTP/1.1"
        yield Case(f"9112-3.2 byte {byte:#04x} in the target", head(start=start), Refuse())
    for target in (
        b"a", b"a/b", b"?a", b"*a", b"**", b"a:80", b"example.com", b"http:", b"http:/", b"http:/a",
        b"http://", b"http:///a", b"http://?a", b"http://b?q=1", b"http://a:123456/",
        b"http://:80/", b"http://u@a/", b"http://u:p@a/", b"http://a:x/", b"http://a:80:80/",
        b"http://[::1/", b"http://::1]/", b"http://a\\b/", b"http://a%zz/", b"http://a%/",
        b"http://a<b/", b"http://a/#f", b"ftp://a/", b"ws://a/", b"file:///etc/passwd",
        b"httpx://a/", b"xhttp://a/", b"://a/", b"mailto:a", b"\\a", b"@a/", b'http://a"b/',
        b"http://{a}/", b"http://a|b/", b"http://a^b/", b"http://a`b/",
    ):
        start = b"GET " + target + b" HTTP/1.1"
        yield Case(f"9112-3.2 target {target!r}", head(start=start), Refuse())
    for target, host, path in (
        (b"http://b/", b"b", b"/"),
        (b"http://b", b"b", b"/"),
        (b"https://b:8443/x?y", b"b:8443", b"/x?y"),
        (b"HTTP://B/X", b"B", b"/X"),
        (b"HtTpS://b/", b"b", b"/"),
        (b"http://127.0.0.1:80/", b"127.0.0.1:80", b"/"),
        (b"http://[::1]:80/x", b"[::1]:80", b"/x"),
        (b"http://b/http://c/", b"b", b"/http://c/"),
        (b"http://b/@c", b"b", b"/@c"),
        (b"http://b//c", b"b", b"//c"),
    ):
        start = b"GET " + target + b" HTTP/1.1"
        expect = accept(target=target, host=host, path=path)
        yield Case(f"9112-3.2.2 absolute-form {target!r}", head(start=start), expect)


def _target_form_cases() -> Iterator[Case]:
    absolute = b"GET http://b/ HTTP/1.1"
    no_host, two = head(start=absolute, host=None), head(b"Host: b", start=absolute)
    yield Case("9112-3.2 absolute-form needs Host too", no_host, Refuse())
    yield Case("9112-3.2 absolute-form, two Hosts", two, Refuse())
    yield Case("9112-3.2 absolute-form, bad Host", head(start=absolute, host=b"a b"), Refuse())
    old = head(start=b"GET http://b/x HTTP/1.0", host=None)
    yield Case("9112-3.2.2 absolute-form, HTTP/1.0", old, accept(host=b"b", path=b"/x"))
    for start, expect in (
        (b"OPTIONS * HTTP/1.1", accept(target=b"*", path=b"*", host=b"a")),
        (b"OPTIONS http://b HTTP/1.1", accept(path=b"*", host=b"b")),
        (b"OPTIONS http://b/ HTTP/1.1", accept(path=b"/", host=b"b")),
        (b"OPTIONS /x HTTP/1.1", accept(path=b"/x", host=b"a")),
        (b"GET * HTTP/1.1", Refuse()),
        (b"options * HTTP/1.1", Refuse()),
        (b"POST * HTTP/1.1", Refuse()),
        (b"OPTIONS ** HTTP/1.1", Refuse()),
        (b"OPTIONS *?a HTTP/1.1", Refuse()),
    ):
        yield Case(f"9112-3.2.4 {start!r}", head(start=start), expect)
    for start, expect in (
        (b"CONNECT a:443 HTTP/1.1", accept(method=b"CONNECT", target=b"a:443")),
        (b"CONNECT [::1]:443 HTTP/1.1", accept(target=b"[::1]:443")),
        (b"CONNECT a HTTP/1.1", Refuse()),
        (b"CONNECT a: HTTP/1.1", Refuse()),
        (b"CONNECT :443 HTTP/1.1", Refuse()),
        (b"CONNECT a:x HTTP/1.1", Refuse()),
        (b"CONNECT u@a:443 HTTP/1.1", Refuse()),
        (b"CONNECT a:443/ HTTP/1.1", Refuse()),
        (b"CONNECT / HTTP/1.1", Refuse()),
        (b"CONNECT * HTTP/1.1", Refuse()),
        (b"CONNECT http://a:443/ HTTP/1.1", Refuse()),
        (b"GET a:443 HTTP/1.1", Refuse()),
    ):
        yield Case(f"9112-3.2.3 {start!r}", head(start=start), expect)


def _host_cases() -> Iterator[Case]:
    yield Case("9112-3.2 no Host", head(host=None), Refuse())
    old = head(start=b"GET / HTTP/1.0", host=None)
    yield Case("9112-3.2 no Host, HTTP/1.0", old, accept(host=b"", minor=0))
    yield Case("9112-3.2 Host twice", head(b"Host: b"), Refuse())
    yield Case("9112-3.2 Host twice, the same", head(b"Host: a"), Refuse())
    yield Case("9112-3.2 Host twice, other case", head(b"hOST: b"), Refuse())
    twice_old = head(b"Host: b", start=b"GET / HTTP/1.0")
    yield Case("9112-3.2 Host twice, HTTP/1.0", twice_old, Refuse())
    yield Case("9112-3.2 Host with space before colon", head(b"Host : b", host=None), Refuse())
    for host in (
        b"a", b"A.Example", b"a:80", b"127.0.0.1", b"127.0.0.1:65535", b"[::1]", b"[::1]:8080",
        b"[2001:db8::ffff:1.2.3.4]", b"a_b", b"xn--bcher-kva.example", b"a.", b"-a", b"a%41b",
        b"a!$&'()*+;=~b",
    ):
        yield Case(f"9110-7.2 Host {host!r}", head(host=host), accept(host=host))
    yield Case("9110-5.5 Host with OWS", head(host=b"\t a \t"), accept(host=b"a"))
    for host in (
        b"", b" ", b":80", b"a b", b"a\tb", b"a/b", b"a?b", b"a#b", b"u@a", b"a\\b", b"a:b",
        b"a:80:80", b"a:123456", b"a:-1", b"a:+80", b"a: 80", b"a :80", b"http://a", b"[::1",
        b"::1", b"[::1]x", b"[::1]:x", b"x[::1]", b"[]", b"[::1%25eth0]", b"[g::1]", b"a%zz",
        b"a%4", b"a<b", b"a>b", b'a"b', b"a{b", b"a|b", b"a}b", b"a^b", b"a`b", b"\xc3\xa9.example",
        b"a\x00b", b"a\x7f", b"a, b", b"[::1]]",
    ):
        yield Case(f"9110-7.2 Host {host!r}", head(host=host), Refuse())


def _field_line_cases() -> Iterator[Case]:
    for name, line, value in (
        ("no OWS", b"X:v", b"v"),
        ("OWS both sides", b"X: \t v \t ", b"v"),
        ("empty value", b"X:", b""),
        ("only OWS", b"X: \t ", b""),
        ("inner HTAB", b"X: a\tb", b"a\tb"),
        ("inner colon", b"X: a:b: c", b"a:b: c"),
        ("obs-text", b"X: \x80\xe9\xff", b"\x80\xe9\xff"),
        ("no-break space is no OWS", b"X: \xa0v\xa0", b"\xa0v\xa0"),
        ("NEL is no OWS", b"X: \x85v\x85", b"\x85v\x85"),
        ("all visible", bytes(range(0x21, 0x7F)).join((b"X:", b"")), bytes(range(0x21, 0x7F))),
    ):
        yield Case(f"9112-5.1 {name}", head(line), accept(headers=[(b"Host", b"a"), (b"X", value)]))
    tchars = b"!#$%&'*+-.^_`|~09azAZ"
    yield Case(
        "9110-5.1 every tchar",
        head(tchars + b": v"),
        accept(headers=[(b"Host", b"a"), (tchars, b"v")]),
    )
    order = [(b"Host", b"a"), (b"B", b"1"), (b"A", b"2"), (b"b", b"3"), (b"A", b"4")]
    yield Case(
        "9110-5.3 order and case are kept",
        head(b"B: 1", b"A: 2", b"b: 3", b"A: 4"),
        accept(headers=order),
    )
    for name, line in {
        "5.1 space before the colon": b"X : v",
        "5.1 tab before the colon": b"X\t: v",
        "5.1 empty name": b": v",
        "5.1 only a colon": b":",
        "5.1 no colon": b"X",
        "5.1 no colon, with a value": b"X v",
        "5.1 space in the name": b"X Y: v",
        "5.2 obs-fold with space": b"X: a\r\n b",
        "5.2 obs-fold with tab": b"X: a\r\n\tb",
        "5.2 obs-fold of an empty value": b"X:\r\n v",
        "5.2 obs-fold hides a field": b"X: a\r\n Transfer-Encoding: chunked",
        "2.2 whitespace-only line": b" ",
        "2.2 tab-only line": b"\t",
        "2.2 bare LF ends a line": b"X: a\nY: b",
        "2.2 bare CR in a value": b"X: a\rb",
        "2.2 bare CR ends a line": b"X: a\rTransfer-Encoding: chunked",
        "2.2 CR CR LF": b"X: a\r",
        "2.2 LF CR": b"X: a\n\rY: b",
        "2.2 bare LF in a name": b"X\nY: a",
        "2.2 bare CR before the colon": b"X\r: a",
    }.items():
        yield Case(f"9112-{name}", head(line), Refuse())


def _field_byte_cases() -> Iterator[Case]:
    first = b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"
    yield Case("9112-2.2 whitespace before the first field", first, Refuse())
    for byte in (*range(9), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F):
        raw = bytes((byte,))
        yield Case(f"9110-5.5 byte {byte:#04x} in a value", head(b"X: a" + raw + b"b"), Refuse())
    delimiters = b'"(),/;<=>?@[\\]{}'
    for byte in (
        *range(9),
        *range(0x0B, 0x0D),
        *range(0x0E, 0x20),
        *range(0x7F, 0x100, 0x20),
        *delimiters,
    ):
        raw = bytes((byte,))
        yield Case(f"9110-5.6.2 byte {byte:#04x} in a name", head(b"X" + raw + b"Y: v"), Refuse())
    for name, data in {
        "whole head with bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
        "request line with bare LF": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        "last line with bare LF": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        "field line with bare LF": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        "request line with bare CR": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        "end with bare CR": b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
        "NUL after CR": b"GET / HTTP/1.1\r\nHost: a\r\0\n\r\n",
    }.items():
        yield Case(f"9112-2.2 {name}", data, Refuse())


def _content_length_cases() -> Iterator[Case]:
    for text, value in (
        (b"0", 0),
        (b"5", 5),
        (b"0005", 5),
        (b"9223372036854775807", 2**63 - 1),
        (b" 5\t", 5),
    ):
        data = head(b"Content-Length: " + text, start=b"POST / HTTP/1.1")
        expect = accept(content_length=value, chunked=False)
        yield Case(f"9110-8.6 Content-Length {text!r}", data, expect)
    yield Case("9110-8.6 none", head(), accept(content_length=-1, chunked=False))
    yield Case(
        "9112-6.3 GET with Content-Length", head(b"Content-Length: 3"), accept(content_length=3)
    )
    for text in (
        b"", b"+1", b"-1", b"-0", b"0x1", b"1,1", b"1, 1", b"1,2", b"1;", b"1 1", b"1\t1", b"1.0",
        b"1e1", b"1_0", b"1L", b"0b1", b"0o1", b"a", b"5a", b"a5", b'"5"', b"'5'", b"(5)", b",",
        b"5,", b",5", b"\xb2", b"\xb9", b"\xd9\xa5", b"\xa05", b"5\xa0", b"5\x00", b"5\x0b",
        b"\x0c5", b"9223372036854775808", b"18446744073709551616", b"18446744073709551621",
        b"4294967296" * 2, b"1" * 100, b"NaN", b"inf", b"chunked",
    ):
        data = head(b"Content-Length: " + text, start=b"POST / HTTP/1.1")
        yield Case(f"9110-8.6 Content-Length {text[:30]!r} ({len(text)})", data, Refuse())
    for name, lines in {
        "twice, the same": (b"Content-Length: 5", b"Content-Length: 5"),
        "twice, different": (b"Content-Length: 5", b"Content-Length: 6"),
        "twice, apart and in other case": (b"Content-Length: 5", b"X: y", b"cONTENT-lENGTH: 5"),
        "second empty": (b"Content-Length: 5", b"Content-Length:"),
        "first empty": (b"Content-Length:", b"Content-Length: 5"),
        "space before the colon (CVE-2019-16276)": (b"Content-Length : 5",),
    }.items():
        yield Case(f"9112-6.3 Content-Length {name}", head(*lines), Refuse())
    for name in (b"Content_Length", b"Content-Length-", b"XContent-Length", b"Content-Lengt"):
        data = head(name + b": 5")
        yield Case(f"9110-8.6 {name!r} is not it", data, accept(content_length=-1))


def _transfer_encoding_cases() -> Iterator[Case]:
    for text in (b"chunked", b"Chunked", b"CHUNKED", b" \tchunked\t "):
        data = head(b"Transfer-Encoding: " + text, start=b"POST / HTTP/1.1")
        expect = accept(chunked=True, content_length=-1)
        yield Case(f"9112-7.1 Transfer-Encoding {text!r}", data, expect)
    for text in (
        b"", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,chunked",
        b"xchunked", b"chunkedx", b"x chunked", b"chunked x", b"chunked;q=1", b"chunked;",
        b"chunked,", b",chunked", b", chunked", b"identity", b"identity, chunked",
        b"chunked, identity", b"chunke", b"chunked\x00", b"\x0bchunked", b"chunked\x0b",
        b"\x0cchunked", b"\xa0chunked", b'"chunked"', b"'chunked'", b"[chunked]", b"chunKed\xff",
        b"chun\xe2\x84\xaaed", b"chun ked", b"trailers", b"deflate", b"cow", b"chunked\tidentity",
        b"chunked:", b"5",
    ):
        data = head(b"Transfer-Encoding: " + text, start=b"POST / HTTP/1.1")
        yield Case(f"9112-6.1 Transfer-Encoding {text!r}", data, Refuse())
    length, coding = b"Content-Length: 5", b"Transfer-Encoding: chunked"
    for name, lines in {
        "CL.TE": (length, coding),
        "TE.CL": (coding, length),
        "CL.TE, zero length": (b"Content-Length: 0", coding),
        "CL.TE, unknown coding": (length, b"Transfer-Encoding: x"),
        "CL.TE, other case": (b"content-LENGTH: 5", b"tRANSFER-eNCODING: Chunked"),
        "TE.TE": (coding, coding),
        "TE.TE, second unknown": (coding, b"Transfer-Encoding: cow"),
        "TE.TE, first unknown": (b"Transfer-Encoding: cow", coding),
        "TE.TE, second empty": (coding, b"Transfer-Encoding:"),
        "TE split over two fields": (b"Transfer-Encoding: gzip", coding),
        "space before the colon": (b"Transfer-Encoding : chunked",),
        "tab before the colon": (b"Transfer-Encoding\t: chunked",),
        "vertical tab before the colon": (b"Transfer-Encoding\x0b: chunked",),
        "folded": (b"Transfer-Encoding:\r\n chunked",),
        "folded after a letter": (b"Transfer-Encoding: chunk\r\n ed",),
        "NUL in the name": (b"Transfer-Encoding\x00: chunked",),
        "bare LF before it": (b"X: y\nTransfer-Encoding: chunked",),
        "bare CR before it": (b"X: y\rTransfer-Encoding: chunked",),
    }.items():
        data = head(*lines, start=b"POST / HTTP/1.1")
        yield Case(f"9112-11.2 smuggling {name}", data, Refuse())
    old = b"POST / HTTP/1.0"
    yield Case("9112-6.1 TE in HTTP/1.0 (CVE-2026-2835)", head(coding, start=old), Refuse())
    yield Case("9112-6.1 TE and CL in HTTP/1.0", head(length, coding, start=old), Refuse())
    for name in (b"Transfer_Encoding", b"XTransfer-Encoding", b"Transfer-Encodin", b"TE"):
        data = head(name + b": chunked")
        yield Case(f"9112-6.1 {name!r} is not it", data, accept(chunked=False))


def _connection_cases() -> Iterator[Case]:
    new, old = b"GET / HTTP/1.1", b"GET / HTTP/1.0"
    for start, lines, keeps in (
        (new, (), True),
        (new, (b"Connection: close",), False),
        (new, (b"connection: CLOSE",), False),
        (new, (b"Connection: keep-alive",), True),
        (new, (b"Connection: x, close",), False),
        (new, (b"Connection: x,close ,y",), False),
        (new, (b"Connection: ,\t,close",), False),
        (new, (b"Connection: x", b"Connection: close"), False),
        (new, (b"Connection: keep-alive, close",), False),
        (new, (b"Connection: closed",), True),
        (new, (b"Connection: xclose",), True),
        (new, (b"Connection:",), True),
        (new, (b"Proxy-Connection: close",), True),
        (old, (), False),
        (old, (b"Connection: keep-alive",), True),
        (old, (b"Connection: Keep-Alive",), True),
        (old, (b"Connection: keep-alive, x",), True),
        (old, (b"Connection: keep-alive", b"Connection: close"), False),
        (old, (b"Connection: keepalive",), False),
        (old, (b"Keep-Alive: timeout=5",), False),
        (old, (b"Proxy-Connection: keep-alive",), False),
    ):
        name = f"9112-9.3 {start[-3:].decode()} {b'|'.join(lines)!r}"
        yield Case(name, head(*lines, start=start), accept(keep_alive=keeps))
    for value in (b"close x", b"close;q=1", b'"close"', b"a/b", b"close, (x)", b"\xff"):
        data = head(b"Connection: " + value)
        yield Case(f"9110-7.6.1 Connection {value!r}", data, Refuse())
    for start, lines, upgrades in (
        (new, (b"Connection: Upgrade", b"Upgrade: websocket"), True),
        (new, (b"Connection: keep-alive, upgrade", b"Upgrade: websocket"), True),
        (new, (b"Upgrade: websocket",), False),
        (new, (b"Connection: Upgrade",), False),
        (new, (b"Connection: Upgrades", b"Upgrade: websocket"), False),
        (old, (b"Connection: Upgrade", b"Upgrade: websocket"), False),
    ):
        name = f"9110-7.8 {start[-3:].decode()} {b'|'.join(lines)!r}"
        yield Case(name, head(*lines, start=start), accept(upgrade=upgrades))
    length = b"Content-Length: 1"
    for start, lines, expects in (
        (new, (b"Expect: 100-continue", length), True),
        (new, (b"expect: 100-Continue", length), True),
        (new, (length,), False),
        (new, (b"Expect: 100-continu", length), False),
        (new, (b"Expect: 100-continued", length), False),
        (old, (b"Expect: 100-continue", length), False),
    ):
        name = f"9110-10.1.1 {start[-3:].decode()} {b'|'.join(lines)!r}"
        yield Case(name, head(*lines, start=start), accept(expect_continue=expects))


def _limit_cases() -> Iterator[Case]:
    def line_of(size: int) -> bytes:
        return b"GET /" + b"a" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1"

    yield Case("6585 request line at the limit", head(start=line_of(8192)), accept(method=b"GET"))
    yield Case("9112-3 request line over the limit", head(start=line_of(8193)), Refuse(414))
    yield Case("9112-3 unfinished line over the limit", b"GET /" + b"a" * 8192, Refuse(414))
    small = {"request_line_bytes": 64}
    yield Case("9112-3 a small limit, kept", head(start=line_of(64)), accept(), small)
    yield Case("9112-3 a small limit, passed", head(start=line_of(65)), Refuse(414), small)
    yield Case("6585-5 header bytes under the limit", head(b"X: " + b"a" * 16000), accept())
    yield Case("6585-5 one field over the limit", head(b"X: " + b"a" * 16400), Refuse(431))
    many = [b"X: " + b"a" * 1000] * 17
    yield Case("6585-5 fields over the limit", head(*many), Refuse(431))
    unfinished = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16400
    yield Case("6585-5 unfinished field over the limit", unfinished, Refuse(431))
    small = {"header_bytes": 256}
    yield Case("6585-5 a small limit, kept", head(b"X: " + b"a" * 200), accept(), small)
    yield Case("6585-5 a small limit, passed", head(b"X: " + b"a" * 260), Refuse(431), small)
    yield Case("6585-5 100 fields", head(*[b"X: y"] * 99), accept())
    yield Case("6585-5 101 fields", head(*[b"X: y"] * 100), Refuse(431))
    few = {"header_count": 2}
    yield Case("6585-5 a small count, kept", head(b"X: y"), accept(), few)
    yield Case("6585-5 a small count, passed", head(b"X: y", b"Z: y"), Refuse(431), few)


REQUEST_CASES: tuple[Case, ...] = (
    *_request_line_cases(),
    *_method_cases(),
    *_target_cases(),
    *_target_form_cases(),
    *_host_cases(),
    *_field_line_cases(),
    *_field_byte_cases(),
    *_content_length_cases(),
    *_transfer_encoding_cases(),
    *_connection_cases(),
    *_limit_cases(),
)
