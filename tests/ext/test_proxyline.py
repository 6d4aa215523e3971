"""The PROXY protocol (haproxy.org, proxy-protocol.txt): every rule of both versions.

The oracle is `proxyprotocol` of PyPI, which knows nothing of this code: what it builds we read as
it was meant, and the other way round.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import SOCK_STREAM
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol import ProxyProtocolIncompleteError, ProxyProtocolSyntaxError
from proxyprotocol.result import (
    ProxyResult,
    ProxyResultIPv4,
    ProxyResultIPv6,
    ProxyResultLocal,
    ProxyResultUnix,
)
from proxyprotocol.tlv import ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from ext.proxyline import BadProxy, ProxyPeers, build_header, parse_for_test

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
FOUR = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 56324, 443)
MEANT = (("192.0.2.1", 56324), ("198.51.100.2", 443))
LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

ports = st.integers(0, 65535)
ends4 = st.tuples(st.ip_addresses(v=4), ports)
ends6 = st.tuples(st.ip_addresses(v=6), ports)
pairs = st.one_of(st.tuples(ends4, ends4), st.tuples(ends6, ends6))


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def as_text(pair: Any) -> tuple[tuple[str, int], tuple[str, int]]:
    """Addresses as the C library writes them: ::ffff:1.2.3.4 and not ::ffff:102:304."""
    return tuple((c_text(address), port) for address, port in pair)  # type: ignore[return-value]


def c_text(address: IPv4Address | IPv6Address) -> str:
    used = parse_for_test(build_header(2, (str(address), 0), (str(address), 0)))
    assert isinstance(used, tuple) and used[1] is not None
    assert ip_address(used[1][0]) == address
    return used[1][0]


def result_of(pair: Any, tlvs: ProxyProtocolTLV | None = None) -> ProxyResult:
    kind = ProxyResultIPv4 if isinstance(pair[0][0], IPv4Address) else ProxyResultIPv6
    return kind(*pair, protocol=SOCK_STREAM, tlv=tlvs or ProxyProtocolTLV())


# -- the oracle ------------------------------------------------------------------------------------


@given(pairs, st.binary(max_size=8))
def test_oracle_line_is_read(pair: Any, behind: bytes) -> None:
    line = ProxyProtocolV1().pack(result_of(pair))
    assert parse_for_test(line + behind) == (len(line), *as_text(pair))


@given(pairs, st.sampled_from([1, 2]))
def test_ours_is_read_by_the_oracle(pair: Any, version: int) -> None:
    data = build_header(version, *((str(address), port) for address, port in pair))
    result = (ProxyProtocolV1() if version == 1 else ProxyProtocolV2()).unpack(data)
    assert (result.source, result.dest) == pair


@given(pairs, st.binary(max_size=128), st.binary(max_size=255), st.binary(max_size=8))
def test_oracle_binary_with_checksum_is_read(
    pair: Any, unique: bytes, authority: bytes, behind: bytes
) -> None:
    tlvs = ProxyProtocolTLV(unique_id=unique, init={2: authority, 4: b"pad"})
    data = ProxyProtocolV2().pack(result_of(pair, tlvs))
    assert b"\x03\x00\x04" in data  # it always adds a CRC32C
    assert parse_for_test(data + behind) == (len(data), *as_text(pair))


@given(pairs, st.data())
def test_a_flipped_bit_under_a_checksum_is_never_another_address(pair: Any, data: Any) -> None:
    header = bytearray(ProxyProtocolV2().pack(result_of(pair)))
    bit = data.draw(st.integers(0, 8 * len(header) - 1))
    header[bit // 8] ^= 1 << bit % 8
    found = parse_for_test(bytes(header))
    # One exception by the letter: command PROXY becomes LOCAL, whose contents nobody looks at; and
    # a TLV of another kind is not the checksum any more.
    is_unchecked = header[12] == 0x20 or header[-7] != 3
    assert isinstance(found, BadProxy) or found == 0 or is_unchecked


@given(st.binary(max_size=200))
def test_garbage_is_refused_as_the_oracle_does(data: bytes) -> None:
    found = parse_for_test(data)
    if isinstance(found, tuple):
        oracle = ProxyProtocolV1() if data[:1] == b"P" else ProxyProtocolV2()
        oracle.unpack(data[: found[0]])


@given(st.sampled_from([0x20, 0x21]), st.integers(0, 0x33), st.binary(max_size=60))
def test_whatever_is_accepted_the_oracle_accepts(command: int, family: int, body: bytes) -> None:
    data = binary(command, family, body)
    found = parse_for_test(data)
    if isinstance(found, tuple) and found[1] is not None:
        result = ProxyProtocolV2().unpack(data)
        assert (str(result.source[0]), result.source[1]) == (  # type: ignore[index]
            str(ip_address(found[1][0])),
            found[1][1],
        )


@given(pairs, st.sampled_from([1, 2]))
def test_every_prefix_needs_more(pair: Any, version: int) -> None:
    data = build_header(version, *((str(address), port) for address, port in pair))
    oracle = ProxyProtocolV1() if version == 1 else ProxyProtocolV2()
    for size in range(len(data)):
        assert parse_for_test(data[:size]) == 0
        with pytest.raises((ProxyProtocolIncompleteError, ProxyProtocolSyntaxError)):
            oracle.unpack(data[:size])


# -- version 1, §2.1 ---------------------------------------------------------------------------


def test_line() -> None:
    assert parse_for_test(LINE + b"GET /") == (len(LINE), *MEANT)
    assert build_header(1, *MEANT) == LINE


@pytest.mark.parametrize(
    "line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: 1 any thing\r\n", b"PROXY UNKNOWN \r\n"]
)
def test_unknown_keeps_the_real_peer(line: bytes) -> None:
    assert parse_for_test(line + b"x") == (len(line), None, None)


def test_longest_line() -> None:
    line = b"PROXY UNKNOWN " + LONGEST.encode() + b" " + LONGEST.encode() + b" 65535 65535\r\n"
    assert len(line) == 107
    assert parse_for_test(line) == (107, None, None)
    assert parse_for_test(line[:-2] + b"1\r\n") == BadProxy.LONG_LINE
    assert parse_for_test(line[:106]) == 0
    assert parse_for_test(b"PROXY UNKNOWN " + b"x" * 93) == BadProxy.LONG_LINE
    assert len(build_header(1, (LONGEST, 65535), (LONGEST, 65535))) == 104


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"TCP4", b"TCP6"),
        LINE.replace(b"TCP4", b"UDP4"),
        LINE.replace(b"TCP4", b"tcp4"),
        LINE.replace(b"192.0.2.1", b"192.0.2.01"),
        LINE.replace(b"192.0.2.1", b"192.0.2"),
        LINE.replace(b"192.0.2.1", b"192.0.2.256"),
        LINE.replace(b"192.0.2.1", b"localhost"),
        LINE.replace(b"192.0.2.1", b"192.0.2.1\x00"),
        LINE.replace(b" 192", b"  192"),
        LINE.replace(b"443", b"0443"),
        LINE.replace(b"443", b"65536"),
        LINE.replace(b"443", b"+443"),
        LINE.replace(b" 443", b""),
        LINE.replace(b"443", b"443 "),
        LINE.replace(b"443", b"443 more"),
        LINE.replace(b"443\r\n", b"443\r \n"),
        LINE.replace(b"56324", b""),
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 " + b"1" * 60 + b" 2.2.2.2 1 1\r\n",
    ],
)
def test_lines_that_are_refused(line: bytes) -> None:
    assert parse_for_test(line) == BadProxy.BAD_LINE


def test_line_feed_alone_ends_no_line() -> None:
    assert parse_for_test(LINE.replace(b"\r\n", b"\n")) == 0
    assert parse_for_test(LINE.replace(b"\r\n", b"\n").ljust(107)) == BadProxy.LONG_LINE


@pytest.mark.parametrize(
    "data", [b"G", b"PROXZ", b"PROXY\t", b"\r\n\r\n\x01", b"\r\n\r\nX", b"\x00"]
)
def test_the_first_wrong_byte_is_refused(data: bytes) -> None:
    assert parse_for_test(data[:-1]) == 0
    assert parse_for_test(data) == BadProxy.NOT_PROXY


# -- version 2, §2.2 ---------------------------------------------------------------------------


def test_binary() -> None:
    data = binary(0x21, 0x11, FOUR)
    assert parse_for_test(data + b"GET /") == (28, *MEANT)
    assert build_header(2, *MEANT) == data


def test_local_whatever_it_contains() -> None:
    assert build_header(2) == binary(0x20, 0x00, b"")
    for family in (0x00, 0x11, 0x21, 0xFF):
        data = binary(0x20, family, b"\xff" * 7)
        assert parse_for_test(data + b"x") == (len(data), None, None)
    data = ProxyProtocolV2().pack(ProxyResultLocal())
    assert parse_for_test(data) == (len(data), None, None)


@pytest.mark.parametrize("family", [0x12, 0x22, 0x31, 0x32])
def test_what_is_not_tcp_over_ip_keeps_the_real_peer(family: int) -> None:
    data = binary(0x21, family, b"\x01" * {1: 12, 2: 36, 3: 216}[family >> 4])
    assert parse_for_test(data) == (len(data), None, None)


def test_unix() -> None:
    data = ProxyProtocolV2().pack(ProxyResultUnix("/run/a", "/run/b", protocol=SOCK_STREAM))
    assert parse_for_test(data) == (len(data), None, None)


def test_unspecified() -> None:
    assert parse_for_test(binary(0x21, 0x00, b"")) == (16, None, None)


@pytest.mark.parametrize(
    ("command", "family", "body", "reason"),
    [
        (0x22, 0x11, FOUR, BadProxy.BAD_COMMAND),
        (0x11, 0x11, FOUR, BadProxy.BAD_COMMAND),
        (0x31, 0x11, FOUR, BadProxy.BAD_COMMAND),
        (0x21, 0x10, FOUR, BadProxy.BAD_FAMILY),
        (0x21, 0x13, FOUR, BadProxy.BAD_FAMILY),
        (0x21, 0x01, FOUR, BadProxy.BAD_FAMILY),
        (0x21, 0x41, FOUR, BadProxy.BAD_FAMILY),
        (0x21, 0x11, FOUR[:-1], BadProxy.BAD_LENGTH),
        (0x21, 0x21, FOUR, BadProxy.BAD_LENGTH),
        (0x21, 0x31, bytes(215), BadProxy.BAD_LENGTH),
        (0x21, 0x11, FOUR + b"\x04", BadProxy.BAD_LENGTH),
        (0x21, 0x11, FOUR + b"\x04\x00\x01", BadProxy.BAD_LENGTH),
        (0x21, 0x11, FOUR + tlv(2, bytes(256)), BadProxy.BAD_LENGTH),
        (0x21, 0x11, FOUR + tlv(5, bytes(129)), BadProxy.BAD_LENGTH),
        (0x21, 0x11, FOUR + tlv(3, bytes(4)), BadProxy.BAD_CHECKSUM),
        (0x21, 0x11, FOUR + tlv(3, bytes(3)), BadProxy.BAD_CHECKSUM),
        (0x21, 0x11, FOUR + 2 * tlv(3, bytes(4)), BadProxy.BAD_CHECKSUM),
        (0x21, 0x11, FOUR + bytes(16384 - 27), BadProxy.TOO_LONG),
    ],
)
def test_binaries_that_are_refused(
    command: int, family: int, body: bytes, reason: BadProxy
) -> None:
    data = binary(command, family, body)
    assert parse_for_test(data) == reason
    if reason in (BadProxy.BAD_COMMAND, BadProxy.BAD_FAMILY, BadProxy.TOO_LONG):
        assert parse_for_test(data[:16]) == reason  # its rest is not waited for


def test_longest_binary() -> None:
    data = binary(0x21, 0x11, FOUR + tlv(4, bytes(16384 - 31)))
    assert len(data) == 16384
    assert parse_for_test(data) == (16384, *MEANT)


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 0x20, 0x30, 0xEE])
def test_tlvs_are_passed_over(kind: int) -> None:
    data = binary(0x21, 0x11, FOUR + tlv(kind, b"shop.example") + tlv(kind, b""))
    assert parse_for_test(data) == (len(data), *MEANT)


# -- who must send one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "address", "covered"),
    [
        (None, "192.0.2.1", True),
        ([], "192.0.2.1", False),
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.32.0.0/11"], "10.63.1.1", True),
        (["10.32.0.0/11"], "10.64.1.1", False),
        (["0.0.0.0/0"], "10.64.1.1", True),
        (["0.0.0.0/0"], "::1", False),
        (["192.0.2.7/32", "2001:db8::/33"], "192.0.2.7", True),
        (["192.0.2.7/32", "2001:db8::/33"], "192.0.2.6", False),
        (["192.0.2.7/32", "2001:db8::/33"], "2001:db8:7fff::1", True),
        (["192.0.2.7/32", "2001:db8::/33"], "2001:db8:8000::1", False),
    ],
)
def test_peers(networks: list[str] | None, address: str, covered: bool) -> None:
    assert ProxyPeers(networks).covers_for_test(address) is covered
