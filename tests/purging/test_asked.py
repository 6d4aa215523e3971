"""edge.purging.asked: keys and URLs in every form in which clients send them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.purging.asked import (
    KEY_BYTES_MAX,
    TOO_MANY_KEYS,
    PurgeError,
    Url,
    keys_of,
    keys_of_path,
    url_of,
)


def body(*keys: object) -> bytes:
    return json.dumps({"surrogate_keys": keys}).encode()


@pytest.mark.parametrize(
    ("headers", "content", "keys"),
    [
        ([], body("p101", "c20"), [b"p101", b"c20"]),
        ([b"p101 c20"], b"", [b"p101", b"c20"]),
        ([b" p101  c20 "], b"", [b"p101", b"c20"]),
        ([b"a", b"b"], b"", [b"a", b"b"]),
        ([b"a"], body("b"), [b"a", b"b"]),
        ([b"a b a"], body("b"), [b"a", b"b"]),
        ([], b' {"surrogate_keys" : [ "a" ], "more": 1}\n', [b"a"]),
        ([], body("caf\u00e9"), ["caf\u00e9".encode()]),
        ([], b'{"surrogate_keys": ["\\ud800"]}', [b"?"]),
    ],
)
def test_keys_come_from_the_header_and_the_body(
    headers: list[bytes], content: bytes, keys: list[bytes]
) -> None:
    assert keys_of(headers, content) == keys


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "No surrogate keys"),
        (body(), "No surrogate keys"),
        (b"surrogate_keys=a", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"surrogate_keys": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[]", "must be an object"),
        (b'["a"]', "must be an object"),
        (b"{}", "must be an object"),
        (b'{"surrogate_keys": "a"}', "must be an object"),
        (body("a", 1), "must be an object"),
        (body("a", None), "must be an object"),
        (body(""), "is empty"),
        (body("a" * (KEY_BYTES_MAX + 1)), "longer than 1024 bytes"),
        (body("\u00e9" * 513), "longer than 1024 bytes"),
    ],
)
def test_bad_bodies_have_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(PurgeError, match=reason):
        keys_of([], content)


def test_256_keys_are_taken_and_257_are_not() -> None:
    keys = [f"k{n}" for n in range(257)]
    assert len(keys_of([], body(*keys[:256]))) == 256
    for headers, content in (([], body(*keys)), ([" ".join(keys).encode()], b"")):
        with pytest.raises(PurgeError) as refusal:
            keys_of(headers, content)
        assert str(refusal.value) == TOO_MANY_KEYS
    with pytest.raises(PurgeError):
        keys_of([b"k"], body(*keys[:256]))
    with pytest.raises(PurgeError):
        keys_of([b"k " * 257], b"")


def test_the_longest_key_is_taken() -> None:
    assert keys_of([], body("a" * KEY_BYTES_MAX)) == [b"a" * KEY_BYTES_MAX]


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        ("p101", [b"p101"]),
        ("a/b", [b"a/b"]),
        ("a+b", [b"a+b"]),
        ("a%2Fb", [b"a%2Fb", b"a/b"]),
        ("100%", [b"100%"]),
    ],
)
def test_a_key_of_a_path_is_meant_as_it_stands_and_decoded(raw: str, keys: list[bytes]) -> None:
    assert keys_of_path(raw) == keys


@pytest.mark.parametrize("raw", ["", "a" * 1025])
def test_a_key_of_a_path_has_the_same_bounds(raw: str) -> None:
    with pytest.raises(PurgeError):
        keys_of_path(raw)


@pytest.mark.parametrize(
    ("raw", "host", "path"),
    [
        ("www.example.com", "www.example.com", "/"),
        ("www.example.com/", "www.example.com", "/"),
        ("www.example.com/a/b?c=d&e", "www.example.com", "/a/b?c=d&e"),
        ("www.example.com?c=d", "www.example.com", "/?c=d"),
        ("www.example.com?c=/d", "www.example.com", "/?c=/d"),
        ("www.example.com?c=%252F", "www.example.com", "/?c=%252F"),
        ("www.example.com//a", "www.example.com", "//a"),
        ("http://www.example.com/a", "www.example.com", "/a"),
        ("HTTPS://WWW.example.com/a", "WWW.example.com", "/a"),
        ("https:/www.example.com/a", "www.example.com", "/a"),
        ("www.example.com:8080/a", "www.example.com:8080", "/a"),
        ("https://www.example.com:443/a", "www.example.com", "/a"),
        ("http://www.example.com:443/a", "www.example.com:443", "/a"),
        ("[::1]:8080/a", "[::1]:8080", "/a"),
        ("https://www.example.com/a#part", "www.example.com", "/a"),
        ("www.example.com/a%20b%2Fc", "www.example.com", "/a%20b%2Fc"),
        ("http%3A%2F%2Fwww.example.com%2Fa%3Fb%3Dc%26d", "www.example.com", "/a?b=c&d"),
        ("https%3A//www.example.com/a", "www.example.com", "/a"),
        ("www.example.com%2Fa%2520b", "www.example.com", "/a%20b"),
        ("www.example.com%2Fcaf%C3%A9%20x", "www.example.com", "/caf%C3%A9%20x"),
    ],
)
def test_urls(raw: str, host: str, path: str) -> None:
    assert url_of(raw) == Url(host.encode(), path.encode())


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "/",
        "/a",
        "?a",
        "http://",
        "http:///",
        "ftp://www.example.com/",
        "user@www.example.com/",
        "www example.com/",
        "::1/",
        "[::1/",
        "a:b/",
        "%/a",
        "%2F%2F",
        "a%0d%0a/",
        "www.example.com/\u00e9",
        "www.example.com/a b",
        "www.example.com/\n",
    ],
)
def test_what_is_no_url_is_refused(raw: str) -> None:
    with pytest.raises(PurgeError):
        url_of(raw)


@given(st.text(max_size=60))
def test_a_url_that_is_taken_is_clean(raw: str) -> None:
    try:
        url = url_of(raw)
    except PurgeError:
        return
    assert url.host
    assert url.path.startswith(b"/")
    assert all(0x21 <= byte <= 0x7E for byte in url.host + url.path)
