"""ext.headers: every known field is found in any case, and nothing else is."""

import itertools
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.headers import FIELDS, HeaderId, lookup

HOP_BY_HOP, PROTECTED, NOT_IN_TRAILER = 1, 2, 4  # FieldFlag in ext/headers.pxd
BY_NAME = {name: number for number, name, _ in FIELDS}
FLAGS = {name: flags for _, name, flags in FIELDS}
TOKEN = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()


@pytest.mark.parametrize(("number", "name"), [(number, name) for number, name, _ in FIELDS])
def test_known_field_is_found_in_any_case(number: HeaderId, name: bytes) -> None:
    for spelt in (name, name.upper(), name.title(), name.swapcase(), name[:1].upper() + name[1:]):
        assert lookup(spelt) == number


def test_every_number_has_one_row() -> None:
    numbers = [number for number, _, _ in FIELDS]
    assert sorted(numbers) == sorted(set(HeaderId) - {HeaderId.OTHER})
    assert len(BY_NAME) == len(FIELDS)
    for number, name, _ in FIELDS:
        assert HeaderId(number).name.lower().replace("_", "-").encode() == name


@pytest.mark.parametrize("name", [name for _, name, _ in FIELDS])
def test_name_that_is_almost_known_is_unknown(name: bytes) -> None:
    """Same size, first and last byte go to the same place of the table."""
    for at in range(len(name)):
        for other in (b"q", b"_", b"0", b"~", b"M"):
            changed = name[:at] + other + name[at + 1 :]
            assert lookup(changed) == BY_NAME.get(changed.lower(), 0)
    for near in (name[1:], name + b"s", b"x" + name, name.replace(b"-", b"_", 1)):
        assert lookup(near) == BY_NAME.get(near, 0)
    for size in range(1, len(name)):
        assert lookup(name[:size]) == BY_NAME.get(name[:size], 0)


def test_empty_name_is_unknown() -> None:
    assert lookup(b"") == HeaderId.OTHER


def test_short_and_long_names_are_unknown() -> None:
    assert all(lookup(bytes(pair)) == (bytes(pair).lower() == b"te") * HeaderId.TE
               for pair in itertools.product(TOKEN, repeat=2))  # fmt: skip
    assert lookup(b"x" * 65535) == HeaderId.OTHER
    assert lookup(b"content-length" * 100) == HeaderId.OTHER


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.lists(st.sampled_from(TOKEN), min_size=1, max_size=24).map(bytes))
def test_any_token_is_as_the_table_says(name: bytes) -> None:
    assert lookup(name) == BY_NAME.get(name.lower(), 0)


def test_rfc9110_7_6_1_fields_of_the_hop() -> None:
    """What is of one connection is never copied; Content-Length is framing and written anew."""
    assert {name for name, flags in FLAGS.items() if flags & HOP_BY_HOP} == {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }


def test_rfc9110_7_6_1_connection_cannot_remove_what_the_chain_relies_on() -> None:
    """`Connection: x-forwarded-for` would otherwise hide the client, `host` change the target."""
    for name in (
        b"host", b"content-length", b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto",
        b"x-forwarded-host", b"x-forwarded-port", b"forwarded", b"via", b"cookie", b"set-cookie",
        b"cache-control", b"authorization", b"content-type", b"content-encoding", b"content-range",
        b"date", b"expect", b"vary", b"etag", b"age", b"expires", b"last-modified", b"pragma",
        b"surrogate-control", b"surrogate-key", b"cdn-cache-control", b"range", b"if-range",
        b"if-none-match", b"if-modified-since", b"location", b"content-location",
    ):  # fmt: skip
        assert FLAGS[name] & PROTECTED, name
    for name in (b"keep-alive", b"te", b"upgrade", b"proxy-connection", b"trailer"):
        assert not FLAGS[name] & PROTECTED, name


def test_rfc9110_6_5_1_trailers_carry_no_framing_routing_or_control() -> None:
    """Via alone may come late; every other known field means something that a head decides."""
    assert {name for name, flags in FLAGS.items() if not flags & NOT_IN_TRAILER} == {b"via"}
