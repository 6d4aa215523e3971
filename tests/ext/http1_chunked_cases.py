"""What ext.http1.ChunkedReader must say about which bytes; rows as in http1_cases.py.

Accept fields: payload, trailers. `data` of an accepted row ends exactly where the body ends. The
hostile rows are the classes of HTTP Garden and of the chunk-extension advisories of 2023 to 2025
(an extension that ends in a bare LF for one parser and in CRLF for the other).
"""

# A table: several short rows on a line.
# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from tests.ext.http1_cases import Case, Refuse, accept

END = b"0\r\n\r\n"


def _accepted_cases() -> Iterator[Case]:
    for name, data, payload in (
        ("empty body", END, b""),
        ("one chunk", b"5\r\nhello\r\n" + END, b"hello"),
        ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n" + END, b"hello world"),
        ("upper-case hex", b"A\r\n0123456789\r\n" + END, b"0123456789"),
        ("lower-case hex", b"a\r\n0123456789\r\n" + END, b"0123456789"),
        ("mixed-case hex", b"1aB\r\n" + b"x" * 0x1AB + b"\r\n" + END, b"x" * 0x1AB),
        ("leading zeros", b"0005\r\nhello\r\n" + END, b"hello"),
        ("16 digits", b"0000000000000005\r\nhello\r\n" + END, b"hello"),
        ("last chunk of many zeros", b"0000\r\n\r\n", b""),
        ("CRLF in the payload", b"4\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n"),
        ("a last chunk in the payload", b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"),
        ("binary payload", b"3\r\n\x00\xff\n\r\n" + END, b"\x00\xff\n"),
        ("extension name", b"5;a\r\nhello\r\n" + END, b"hello"),
        ("extension value", b"5;a=b\r\nhello\r\n" + END, b"hello"),
        ("extension quoted", b'5;a="b c;d"\r\nhello\r\n' + END, b"hello"),
        ("two extensions", b"5;a=b;c=d\r\nhello\r\n" + END, b"hello"),
        ("extension on the last chunk", b"5\r\nhello\r\n0;a=b\r\n\r\n", b"hello"),
        ("extension after BWS", b"5; a = b\r\nhello\r\n" + END, b"hello"),
        ("extensions under the limit", b"5;" + b"a" * 250 + b"\r\nhello\r\n" + END, b"hello"),
    ):
        yield Case(f"9112-7.1 {name}", data, accept(payload=payload, trailers=[]))
    for name, section, trailers in (
        ("one", b"X: y\r\n", [(b"X", b"y")]),
        ("two", b"X: y\r\nx:\t z \r\n", [(b"X", b"y"), (b"x", b"z")]),
        ("empty value", b"X:\r\n", [(b"X", b"")]),
        ("obs-text", b"X: \xff\r\n", [(b"X", b"\xff")]),
        ("large", b"X: " + b"a" * 8000 + b"\r\n", [(b"X", b"a" * 8000)]),
    ):
        data = b"1\r\na\r\n0\r\n" + section + b"\r\n"
        yield Case(f"9112-7.1.2 trailer {name}", data, accept(payload=b"a", trailers=trailers))


def _refused_cases() -> Iterator[Case]:
    for size in (
        b"", b"0x5", b"0X5", b"+5", b"-5", b"-0", b" 5", b"5 ", b"\t5", b"5\t", b"5_0", b"5.0",
        b"5h", b"g", b"h5", b"5,", b"5 5", b"\x0b5", b"5\x0c", b"\xa05", b"\xb2", b"\xd9\xa5",
        b"5\x00", b"\x005", b"5\r", b"'5'", b'"5"', b"5:a", b"5=a", b"5 a", b"5\xff", b"#5", b"\\5",
        b"0" * 16 + b"5", b"0" * 64 + b"5", b"8000000000000000", b"FFFFFFFFFFFFFFFF",
        b"FFFFFFFFFFFFFFFB", b"10000000000000005", b"100000000000000000000005", b"5" * 17,
    ):
        data = size + b"\r\nhello\r\n" + END
        yield Case(f"9112-7.1 size {size[:24]!r} ({len(size)})", data, Refuse())
    for name, data in {
        "size line ends in bare LF": b"5\nhello\r\n" + END,
        "size line ends in bare CR": b"5\rhello\r\n" + END,
        "size line ends in CR CR LF": b"5\r\r\nhello\r\n" + END,
        "size line ends in LF CR": b"5\n\rhello\r\n" + END,
        "data ends in bare LF": b"5\r\nhello\n" + END,
        "data ends in bare CR": b"5\r\nhello\r" + END,
        "data ends in two other bytes": b"5\r\nhelloXX" + END,
        "data longer than its size": b"5\r\nhello!\r\n" + END,
        "data shorter than its size": b"6\r\nhello\r\n" + END,
        "data without an end": b"5\r\nhello0\r\n\r\n",
        "empty line between chunks": b"5\r\nhello\r\n\r\n" + END,
        "empty line first": b"\r\n5\r\nhello\r\n" + END,
        "LF first": b"\n5\r\nhello\r\n" + END,
        "last chunk ends in bare LF": b"0\n\r\n",
        "body ends in bare LF": b"0\r\n\n",
        "body ends in bare CR": b"0\r\n\rX",
        "body ends in CR CR LF": b"0\r\n\r\r\n",
        "last chunk with a space": b"0 \r\n\r\n",
        "no chunks at all": b"hello\r\n",
        "a pipelined request instead": b"GET / HTTP/1.1\r\n\r\n",
    }.items():
        yield Case(f"9112-7.1 {name}", data, Refuse())
    for name, extension in {
        "ends in bare LF": b";a\nb",
        "ends in bare CR": b";a\rb",
        "quoted bare LF": b';a="\n"',
        "NUL": b";a\x00",
        "DEL": b";a\x7f",
        "ESC": b";\x1b[0m",
        "vertical tab": b";\x0b",
        "over the limit": b";" + b"a" * 300,
    }.items():
        data = b"5" + extension + b"\r\nhello\r\n" + END
        yield Case(f"9112-7.1.1 extension {name}", data, Refuse())
    drip = b"1;" + b"a" * 30 + b"\r\nx\r\n"
    yield Case("9112-7.1.1 extensions over the limit together", drip * 20 + END, Refuse())
    yield Case("9112-7.1.1 unfinished extension over the limit", b"5;" + b"a" * 300, Refuse())
    small = {"extension_bytes": 8}
    yield Case("9112-7.1.1 a small limit", b"5;abcdefghij\r\nhello\r\n" + END, Refuse(), small)
    for name, section in {
        "space before the colon": b"X : y\r\n",
        "no colon": b"X\r\n",
        "empty name": b": y\r\n",
        "obs-fold": b"X: y\r\n z\r\n",
        "bare LF": b"X: y\nZ: z\r\n",
        "bare CR": b"X: y\rZ: z\r\n",
        "NUL": b"X: \x00\r\n",
        "bad name": b"X(: y\r\n",
        "whitespace-only line": b" \r\n",
    }.items():
        yield Case(f"9112-7.1.2 trailer {name}", b"0\r\n" + section + b"\r\n", Refuse())
    large = b"0\r\n" + b"X: " + b"a" * 8200
    yield Case("9112-7.1.2 trailer over the limit", large + b"\r\n\r\n", Refuse())
    yield Case("9112-7.1.2 unfinished trailer over the limit", large, Refuse())
    yield Case(
        "9112-7.1.2 trailers over the limit together",
        b"0\r\n" + b"X: y\r\n" * 1500 + b"\r\n",
        Refuse(),
    )


CHUNKED_CASES: tuple[Case, ...] = (*_accepted_cases(), *_refused_cases())
