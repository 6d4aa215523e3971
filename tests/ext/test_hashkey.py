"""ext.hashkey: what of a request is the key. The hash of a text stands for the text here."""

import ipaddress
from typing import Any

import pytest

from ext.hashes import avalanche_for_test, hash_for_test
from ext.hashkey import HashKey


def key_of(key: HashKey, target: str = "/", fields: str = "", address: str = "1.2.3.4") -> Any:
    head = f"GET {target} HTTP/1.1\r\nHost: www.shop.example\r\n{fields}\r\n"
    return key.of_request_for_test(head.encode(), address.encode())


def crc(text: str) -> int:
    return hash_for_test("crc32", text.encode())


@pytest.mark.parametrize(
    ("options", "target", "hashed"),
    [
        ({}, "/a/b?c=1", "/a/b"),
        ({}, "/", "/"),
        ({}, "http://h.example/a?b", "http://h.example/a"),
        ({}, "/?a", "/"),
        ({"whole": True}, "/a/b?c=/1", "/a/b?c=/1"),
        ({"length": 3}, "/a/b?c=1", "/a/"),
        ({"length": 99}, "/a/b?c=1", "/a/b"),
        ({"depth": 1}, "/a/b/c", "/a"),
        ({"depth": 2}, "/a/b/c?d", "/a/b"),
        ({"depth": 2}, "/a", "/a"),
        ({"depth": 1, "whole": True}, "/?x=/y", "/?x="),
        ({"depth": 2, "length": 4}, "/a/b/c", "/a/b"),
        ({"path_only": True}, "http://h.example/a?b", "/a"),
        ({"path_only": True}, "http://h.example", "/"),
        ({"path_only": True, "whole": True}, "/a?b", "/a?b"),
    ],
    ids=str,
)
def test_uri(options: dict[str, Any], target: str, hashed: str) -> None:
    assert key_of(HashKey("uri", function="crc32", **options), target) == crc(hashed)


@pytest.mark.parametrize(
    ("fields", "hashed"),
    [
        ("X-K: one\r\n", "one"),
        ("x-k:   one  \r\n", "one"),
        ("X-K: one, two\r\n", "one"),
        ("X-K: one ,two\r\n", "one"),
        ('X-K: "a,b", c\r\n', '"a,b"'),
        ('X-K: "a\\",b", c\r\n', '"a\\",b"'),
        ("X-K: one\r\nX-K: two\r\n", "one"),
        ("X-Kk: no\r\nX-K: two\r\n", "two"),
        ("X-K:\r\n", None),
        ("Y-K: one\r\n", None),
    ],
    ids=str,
)
def test_header(fields: str, hashed: str | None) -> None:
    key = HashKey("hdr", function="crc32", name=b"X-K")
    assert key_of(key, fields=fields) == (None if hashed is None else crc(hashed))


@pytest.mark.parametrize(
    ("host", "hashed"),
    [
        ("www.shop.example", "shop"),
        ("shop.example", "shop"),
        ("a.b.shop.co", "shop"),
        ("localhost", "localhost"),
        ("shop.example:8080", "shop"),
        ("x.y", "x"),
        (".com", ".com"),
        ("1.2.3.4", "3"),
    ],
)
def test_domain_only(host: str, hashed: str) -> None:
    key = HashKey("hdr", function="crc32", name=b"X-K", domain_only=True)
    assert key_of(key, fields=f"X-K: {host}\r\n") == crc(hashed)


@pytest.mark.parametrize(
    ("target", "hashed"),
    [
        ("/?id=7", "7"),
        ("/?a=1&id=7&b=2", "7"),
        ("/?xid=1&id=7", "7"),
        ("/?id=&a=1", ""),
        ("/?id", None),
        ("/?ID=7", None),
        ("/id=7", None),
        ("/?a=1", None),
        ("/?idd=1", None),
        ("/?", None),
        ("/?id=a?id=b", "a?id=b"),
        ("/?&&id=7", "7"),
        ("/?id=1&id=2", "1"),
    ],
)
def test_url_param(target: str, hashed: str | None) -> None:
    key = HashKey("url_param", function="crc32", name=b"id")
    assert key_of(key, target) == (None if hashed is None else crc(hashed))


@pytest.mark.parametrize("address", ["1.2.3.4", "255.255.255.255", "2001:db8::7", "::1"])
def test_source_is_the_xor_of_the_words(address: str) -> None:
    """No function is asked, only the avalanche."""
    raw = ipaddress.ip_address(address).packed
    expected = 0
    for at in range(0, len(raw), 4):
        expected ^= int.from_bytes(raw[at : at + 4], "big")
    for function in ("sdbm", "crc32"):
        assert key_of(HashKey("source", function=function), address=address) == expected
        mixed = HashKey("source", function=function, mixes=True)
        assert key_of(mixed, address=address) == avalanche_for_test(expected)


def test_avalanche_follows_the_function() -> None:
    key = HashKey("uri", function="djb2", mixes=True)
    assert key_of(key, "/a") == avalanche_for_test(hash_for_test("djb2", b"/a"))
