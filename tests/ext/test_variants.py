"""ext.variants: the text that equal requests have in common (RFC 9111 §4.1)."""

from __future__ import annotations

import pytest

from ext.variants import same_names_for_test, variant_for_test


def text(
    vary: bytes | list[bytes],
    *fields: bytes,
    encoding: bytes | None = None,
    by_encoding: bool = False,
) -> bytes | None:
    request = b"".join(field + b"\r\n" for field in (b"GET / HTTP/1.1", b"Host: x", *fields))
    lines = [vary] if isinstance(vary, bytes) else vary
    response = b"HTTP/1.1 200 OK\r\n" + b"".join(b"Vary: " + line + b"\r\n" for line in lines)
    return variant_for_test(request + b"\r\n", response + b"\r\n", encoding, by_encoding)


@pytest.mark.parametrize(
    ("vary", "fields", "expected"),
    [
        (b"", [], b""),
        (b"Foo", [], b"foo\n"),
        (b"Foo", [b"Foo:"], b"foo:\n"),  # there and empty is not absent
        (b"Foo", [b"FOO: Bar"], b"foo:Bar\n"),
        (b"foo, FOO", [b"Foo: 1"], b"foo:1\n"),
        (b"Foo, Bar", [b"Foo: 1", b"Bar: 2"], b"bar:2\nfoo:1\n"),
        (b"Bar,Foo", [b"Foo: 1", b"Bar: 2"], b"bar:2\nfoo:1\n"),
        ([b"Foo", b"Bar"], [b"Foo: 1", b"Bar: 2"], b"bar:2\nfoo:1\n"),
        (b"Foo-Bar, Foo", [b"Foo: 1"], b"foo:1\nfoo-bar\n"),
        (b"Foo", [b"Foo: 1", b"Foo: 2"], b"foo:1,2\n"),
        (b"Foo", [b"Foo: 1, 2"], b"foo:1,2\n"),
        (b"Foo", [b"Foo: 1 ,\t 2 , 3"], b"foo:1,2,3\n"),
        (b"Foo", [b"Foo: a  b"], b"foo:a  b\n"),
        (b"Foo", [b'Foo: "a, b" , c'], b'foo:"a, b",c\n'),
        (b"Foo", [b'Foo: "a\\", b" , c'], b'foo:"a\\", b",c\n'),
        (b"Foo", [b"Foo: A"], b"foo:A\n"),
        (b"Accept-Language", [b"Accept-Language: EN-us, De"], b"accept-language:en-us,de\n"),
        (b"Accept-Encoding", [b"Accept-Encoding: GZIP"], b"accept-encoding:gzip\n"),
        (b"Cookie", [b"Cookie: a=1; B=2"], b"cookie:a=1; B=2\n"),
        (b"Foo", [b"Foo: 1", b"Connection: foo"], b"foo\n"),  # the origin does not get it
        (b"*", [], None),
        (b"Foo, *", [], None),
    ],
)
def test_text_of_a_request(
    vary: bytes | list[bytes], fields: list[bytes], expected: bytes | None
) -> None:
    assert text(vary, *fields) == expected


def test_the_order_of_a_list_is_kept() -> None:
    """Servers may take it for a preference."""
    german = text(b"Accept-Language", b"Accept-Language: de, en")
    assert german != text(b"Accept-Language", b"Accept-Language: en, de")


@pytest.mark.parametrize(
    ("vary", "encoding", "by_encoding", "expected"),
    [
        (b"", None, False, b""),
        (b"", None, True, b"accept-encoding:br, gzip\n".replace(b", ", b",")),
        (b"", b"gzip", False, b""),
        (b"", b"gzip", True, b"accept-encoding:gzip\n"),
        (b"", b"", True, b"accept-encoding:\n"),
        (b"Accept-Encoding", b"gzip", False, b"accept-encoding:gzip\n"),
        (b"Accept-Encoding", b"gzip", True, b"accept-encoding:gzip\n"),  # once
        (b"Foo", b"gzip", True, b"accept-encoding:gzip\nfoo\n"),
    ],
)
def test_encoding_that_stands_for_the_field(
    vary: bytes, encoding: bytes | None, by_encoding: bool, expected: bytes
) -> None:
    field = b"Accept-Encoding: br, gzip"
    assert text(vary, field, encoding=encoding, by_encoding=by_encoding) == expected


def test_values_of_any_length_are_told_apart() -> None:
    cookie = b"Cookie: " + b"c" * 60_000
    assert text(b"Cookie", cookie + b"1") != text(b"Cookie", cookie + b"2")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (b"", b"", True),
        (b"foo\n", b"foo\n", True),
        (b"foo:1\n", b"foo:2\n", True),
        (b"foo\n", b"foo:2\n", True),
        (b"bar:1\nfoo:2\n", b"bar\nfoo\n", True),
        (b"foo:1\n", b"", False),
        (b"foo:1\n", b"fo:1\n", False),
        (b"bar:1\nfoo:2\n", b"bar:1\n", False),
        (b"bar:1\n", b"bar:1\nfoo:2\n", False),
        (b"bar:foo\n", b"bar:1\nfoo:2\n", False),
    ],
)
def test_names_of_two_texts(a: bytes, b: bytes, same: bool) -> None:
    assert same_names_for_test(a, b) is same
