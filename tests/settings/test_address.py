"""edge.settings.address: `host:port`."""

import pytest

from edge.settings.address import Address, join_address, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:65535", "::1", 65535),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:80", "localhost", 80),
        ("Web_1.Shop.Example.:80", "web_1.shop.example.", 80),
    ],
)
def test_addresses_are_taken_apart(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert split_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("", "no port"),
        ("127.0.0.1", "no port"),
        ("[::1]", "no port"),
        ("127.0.0.1:", "port from 1 to 65535"),
        ("127.0.0.1:0", "port from 1 to 65535"),
        ("127.0.0.1:65536", "port from 1 to 65535"),
        ("127.0.0.1:http", "port from 1 to 65535"),
        ("127.0.0.1:+80", "port from 1 to 65535"),
        ("127.0.0.1:٨٠", "port from 1 to 65535"),
        (":8080", "0.0.0.0:8080 for every IPv4 address"),
        ("*:8080", "0.0.0.0:8080 for every IPv4 address"),
        ("::1:8080", r"IPv6 in brackets, as in \[::1\]:8080"),
        ("[::1:8080", r"IPv6 in brackets"),
        ("[127.0.0.1]:80", "IPv6 address in brackets"),
        ("127.0.0.256:80", "valid IPv4"),
        ("127.0.0:80", "valid IPv4"),
        ("http://127.0.0.1:80", "without scheme or path"),
        ("a b:80", "is no host"),
        ("-a:80", "is no host"),
        ("a..b:80", "is no host"),
        ("a" * 64 + ":80", "is no host"),
        ("a." * 127 + ":80", "is no host"),
        ("127.0.0.1:80\n", "port from 1 to 65535"),
    ],
)
def test_what_is_no_address_is_told_what_would_be(address: str, right: str) -> None:
    with pytest.raises(ValueError, match=right):
        split_address(address)


def test_a_field_keeps_the_canonical_spelling() -> None:
    assert Address().parse("[0:0::1]:80") == "[::1]:80"
    assert Address().parse("LOCALHOST:80") == "localhost:80"


@pytest.mark.parametrize("value", [8080, True, ["127.0.0.1:80"], {}])
def test_a_field_takes_text_only(value: object) -> None:
    with pytest.raises(ValueError, match="must be host:port such as"):
        Address().parse(value)
