"""ext.patterns: what samples match, against Python's own ideas of the same."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.patterns import Patterns, accepts_for_test, regex_problem
from ext.rulecodes import Match

short = settings(max_examples=300, derandomize=True, deadline=None, database=None)
TEXT = st.text("aAbB/.?:", max_size=8).map(str.encode)


def simple(match: Match, text: bytes, pattern: bytes) -> bool:
    return {
        Match.M_STR: text == pattern,
        Match.M_BEG: text.startswith(pattern),
        Match.M_END: text.endswith(pattern),
        Match.M_SUB: pattern in text,
        Match.M_DIR: word(text, pattern, b"/?"),
        Match.M_DOM: word(text, pattern, b"/?.:"),
    }[match]


def word(text: bytes, pattern: bytes, delimiters: bytes) -> bool:
    bare = pattern.strip(delimiters)
    edge = b"[" + re.escape(delimiters) + b"]"
    found = re.search(b"(?:^|(?<=" + edge + b"))" + re.escape(bare) + b"(?=$|" + edge + b")", text)
    return bool(bare) and found is not None


@short
@given(
    st.sampled_from([Match.M_STR, Match.M_BEG, Match.M_END, Match.M_SUB, Match.M_DIR, Match.M_DOM]),
    TEXT,
    st.lists(TEXT, min_size=1, max_size=20),
    st.booleans(),
)
def test_texts(match: Match, text: bytes, patterns: list[bytes], ignores_case: bool) -> None:
    made = Patterns(match, ignores_case, patterns)
    if ignores_case:
        text, patterns = text.lower(), [each.lower() for each in patterns]
    assert accepts_for_test(made, text=text) == any(simple(match, text, p) for p in patterns)


NETWORK = st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 32))
MAPPED = bytes(10) + b"\xff\xff"


@short
@given(st.binary(min_size=4, max_size=4), st.lists(NETWORK, min_size=1, max_size=20))
def test_networks(address: bytes, given_networks: list[tuple[bytes, int]]) -> None:
    networks = [
        ipaddress.ip_network((packed, bits), strict=False) for packed, bits in given_networks
    ]
    made = Patterns(
        Match.M_IP,
        networks=[(MAPPED + net.network_address.packed, 96 + net.prefixlen) for net in networks],
    )
    ip = ipaddress.ip_address(address)
    assert accepts_for_test(made, address=MAPPED + address) == any(ip in net for net in networks)
    assert accepts_for_test(made, text=str(ip).encode()) == any(ip in net for net in networks)


@short
@given(
    st.integers(-20, 20), st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=4)
)
def test_numbers(number: int, ranges: list[tuple[int, int]]) -> None:
    made = Patterns(Match.M_INT, ranges=ranges)
    expected = any(low <= number <= high for low, high in ranges)
    assert accepts_for_test(made, number=number) == expected
    assert accepts_for_test(made, text=str(number).encode()) == expected


@pytest.mark.parametrize("text", [b"", b"x", b"1x", b" 1", b"-"])
def test_what_is_no_number_matches_none(text: bytes) -> None:
    assert not accepts_for_test(Patterns(Match.M_INT, ranges=[(-(2**63), 2**63 - 1)]), text=text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (rb"^/p[0-9]+$", b"/p12", True),
        (rb"^\d\d$", b"12", True),
        (rb"^[\d.]+$", b"1.2", True),
        (rb"^\d\d$", b"dd", False),
        (rb"a|b", b"xbx", True),
        (rb"^$", b"", True),
        (rb"\.php$", b"xphp", False),
    ],
)
def test_regular_expressions(pattern: bytes, text: bytes, expected: bool) -> None:
    assert accepts_for_test(Patterns(Match.M_REG, texts=[pattern]), text=text) is expected


def test_regular_expressions_without_case() -> None:
    assert accepts_for_test(Patterns(Match.M_REG, True, [rb"^ab"]), text=b"ABC")


@pytest.mark.parametrize("pattern", [b"(", b"[", b"(?:a)", b"a*?", b"\\Dx", b"a\0"])
def test_regular_expressions_that_are_refused(pattern: bytes) -> None:
    assert regex_problem(pattern, False)


def test_length_and_truth() -> None:
    assert accepts_for_test(Patterns(Match.M_LEN, ranges=[(3, 5)]), text=b"abcd")
    assert not accepts_for_test(Patterns(Match.M_LEN, ranges=[(3, 5)]), text=b"ab")
    assert accepts_for_test(Patterns(Match.M_BOOL), number=1)
    assert not accepts_for_test(Patterns(Match.M_BOOL), number=0)
    assert accepts_for_test(Patterns(Match.M_FOUND), text=b"")
