"""ext.cachecontrol: Cache-Control, Surrogate-Control and CDN-Cache-Control, each row by its RFC."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.cachecontrol import (
    delta_seconds_for_test,
    directives_for_test,
    surrogate_for_test,
    targeted_for_test,
)
from tests.ext.reference_freshness import directives, targeted

bounded = settings(max_examples=500, derandomize=True, deadline=None, database=None)
DELTA_MAX = 2**31
MAX_AGE = {"max-age": 60}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("1", 1), ("007", 7), ("2147483647", 2**31 - 1), ("2147483648", 2**31),
        ("2147483649", 2**31), ("4294967296", 2**31), ("99999999999", 2**31),
        ("18446744073709551617", 2**31), ("9" * 400, 2**31), ("0" * 400 + "5", 5),
        ("", None), ("-1", None), ("+1", None), ("1.0", None), ("1e3", None), ("0x1", None),
        (" 1", None), ("1 ", None), ("1,2", None), ("a", None), ("1a", None), ("\xb2", None),
    ],
)  # fmt: skip
def test_rfc9111_1_2_2_delta_seconds(text: str, number: int | None) -> None:
    assert delta_seconds_for_test(text.encode("latin-1")) == number


LISTS: list[tuple[tuple[str, ...], dict[str, int | bool]]] = [
    ((), {}),
    (("",), {}),
    ((",", " , ,\t,"), {}),
    (("max-age=60",), MAX_AGE),
    (("MaX-aGe=60",), MAX_AGE),
    (("max-age=0",), {"max-age": 0}),
    (("max-age=060",), MAX_AGE),
    (("max-age=99999999999",), {"max-age": DELTA_MAX}),
    (('max-age="60"',), MAX_AGE),
    (("  max-age=60  ",), MAX_AGE),
    ((",max-age=60,",), MAX_AGE),
    (("foobar, max-age=60",), MAX_AGE),
    (("foobar=1, max-age=60, x=\"y\"",), MAX_AGE),
    (("max-age=60,no-store",), MAX_AGE | {"no-store": True}),
    (("max-age=60 , no-store",), MAX_AGE | {"no-store": True}),
    (("max-age=60", "no-store"), MAX_AGE | {"no-store": True}),
    (("No-StOrE",), {"no-store": True}),
    (("public, immutable",), {"public": True, "immutable": True}),
    (("must-revalidate, proxy-revalidate",), {"must-revalidate": True, "proxy-revalidate": True}),
    (("must-understand, no-store",), {"must-understand": True, "no-store": True}),
    (("no-transform",), {"no-transform": True}),
    (("only-if-cached",), {"only-if-cached": True}),
    (("no-cache",), {"no-cache": True}),
    (('no-cache="set-cookie"',), {"no-cache": True}),
    (("no-cache=set-cookie",), {"no-cache": True}),
    (('private="a, b", max-age=60',), MAX_AGE | {"private": True}),
    (("s-maxage=5, max-age=60",), MAX_AGE | {"s-maxage": 5}),
    (("stale-while-revalidate=5, stale-if-error=6",),
     {"stale-while-revalidate": 5, "stale-if-error": 6}),
    (("min-fresh=5",), {"min-fresh": 5}),
    (("max-stale=5",), {"max-stale": 5}),
    (("max-stale",), {"max-stale": DELTA_MAX, "any-stale": True}),
    (("max-stale=",), {"max-stale": 0}),
    (("xmax-age=60",), {}),
    (("max-age-x=60",), {}),
    (("nothing-to-see-here",), {}),
]  # fmt: skip

# RFC 9111 §4.2.1: the first of two; what is no number is stale.
FIRST_AND_INVALID: list[tuple[tuple[str, ...], dict[str, int | bool]]] = [
    (("max-age=1800, max-age=1",), {"max-age": 1800}),
    (("max-age=1, max-age=1800",), {"max-age": 1}),
    (("max-age=1800", "max-age=1"), {"max-age": 1800}),
    (("max-age=1", "max-age=1800"), {"max-age": 1}),
    (("max-age=x, max-age=60",), {"max-age": 0}),
    (("max-age",), {"max-age": 0}),
    (("max-age=",), {"max-age": 0}),
    (("max-age=-60",), {"max-age": 0}),
    (("max-age=+60",), {"max-age": 0}),
    (("max-age=60.0",), {"max-age": 0}),
    (("max-age=60.5",), {"max-age": 0}),
    (("max-age=a60",), {"max-age": 0}),
    (("max-age=60a",), {"max-age": 0}),
    (("max-age='60'",), {"max-age": 0}),
    (('max-age=""',), {"max-age": 0}),
    (('max-age="6\\0"',), {"max-age": 0}),
    (('max-age=" 60"',), {"max-age": 0}),
    (('max-age="60"0',), {"max-age": 0}),
    (("max-age =60",), {"max-age": 0}),
    (("max-age= 60",), {"max-age": 0}),
    (("max-age=60 s",), {"max-age": 0}),
    (("max-age=60;x",), {"max-age": 0}),
    (("max-age=60=",), {"max-age": 0}),
    (("max-age:60",), {"max-age": 0}),
    (("s-maxage=x, max-age=60",), MAX_AGE | {"s-maxage": 0}),
    (("stale-if-error=x",), {"stale-if-error": 0}),
]

# What is damaged: a restriction counts by its name, a permission does not count.
DAMAGED: list[tuple[tuple[str, ...], dict[str, int | bool]]] = [
    (("no-store;",), {"no-store": True}),
    (("no-store foo",), {"no-store": True}),
    (("no-store =1",), {"no-store": True}),
    (("no-store=1",), {"no-store": True}),
    (("private;x",), {"private": True}),
    (("public;",), {}),
    (("public foo",), {}),
    (("immutable =1",), {}),
    (("=no-store",), {}),
    (("@, no-store",), {"no-store": True}),
    (('"no-store", max-age=60',), MAX_AGE),
    (('"a, no-store", max-age=60',), MAX_AGE),
    (("no_store",), {}),
]

# RFC 9110 §5.6.4: what is quoted is no directive.
QUOTED: list[tuple[tuple[str, ...], dict[str, int | bool]]] = [
    (('extension="max-age=3600", max-age=1',), {"max-age": 1}),
    (('max-age=1, extension="max-age=3600"',), {"max-age": 1}),
    (('extension="a, no-store, b", max-age=60',), MAX_AGE),
    (('x="\\"", max-age=60',), MAX_AGE),
    (('x="\\\\", max-age=60',), MAX_AGE),
    (('x="\\", no-store", max-age=60',), MAX_AGE),
    (('x="a"b"c, no-store", max-age=60',), MAX_AGE),
    (('x="", max-age=60',), MAX_AGE),
    (('x="a, no-store',), {"no-store": True, "malformed": True}),
    (('x=", max-age=60',), MAX_AGE | {"malformed": True}),
    (('x="', "max-age=60"), MAX_AGE | {"malformed": True}),
    (('x="\\', "no-store"), {"no-store": True, "malformed": True}),
]


def rows(table: list[tuple[tuple[str, ...], dict[str, int | bool]]]) -> pytest.MarkDecorator:
    ids = [" | ".join(lines) for lines, _ in table]
    return pytest.mark.parametrize(("lines", "expected"), table, ids=ids)


def read(lines: tuple[str, ...]) -> dict[str, int | bool]:
    return directives_for_test(*(line.encode("latin-1") for line in lines))


@rows(LISTS)
def test_rfc9111_5_2_list(lines: tuple[str, ...], expected: dict[str, int | bool]) -> None:
    assert read(lines) == expected


@rows(FIRST_AND_INVALID)
def test_rfc9111_4_2_1_first_counts_and_invalid_is_stale(
    lines: tuple[str, ...], expected: dict[str, int | bool]
) -> None:
    assert read(lines) == expected


@rows(DAMAGED)
def test_rfc9111_5_2_damaged_reads_strictest(
    lines: tuple[str, ...], expected: dict[str, int | bool]
) -> None:
    assert read(lines) == expected


@rows(QUOTED)
def test_rfc9110_5_6_4_quoted(lines: tuple[str, ...], expected: dict[str, int | bool]) -> None:
    assert read(lines) == expected


@rows(
    [
        (("max-age=60",), MAX_AGE),
        (("MAX-AGE=60, stale-while-revalidate=5, stale-if-error=6",),
         MAX_AGE | {"stale-while-revalidate": 5, "stale-if-error": 6}),
        (("max-age=60+600",), MAX_AGE),
        (("max-age=+600",), {"max-age": 0}),
        (("max-age=60;fastly",), {}),
        (("max-age=60;fastly, max-age=5",), {"max-age": 5}),
        (("max-age=5, max-age=60;other",), {"max-age": 5}),
        (("no-store",), {"no-store": True}),
        (("no-store;other",), {}),
        (('no-store, content="ESI/1.0"',), {"no-store": True, "esi": True}),
        (('content="ESI/1.0"',), {"esi": True}),
        (('content="ESI-INV/1.0 ESI/1.0", max-age=60',), MAX_AGE | {"esi": True}),
        (('content="ESI/1.0";other',), {}),
        (('content="XSL/1.0"',), {}),
        (("content=ESI/1.0",), {}),
        (('content="ESI/1."',), {}),
        (('content=""',), {}),
        (("foo",), {}),
        (("max-age =60",), {"max-age": 0}),
        (("max-age= 60",), {"max-age": 0}),
        (('max-age="60"',), MAX_AGE),
        ((";", "max-age=60"), MAX_AGE),
    ]
)  # fmt: skip
def test_surrogate_control(lines: tuple[str, ...], expected: dict[str, int | bool]) -> None:
    assert surrogate_for_test(*(line.encode() for line in lines)) == expected


TARGETED: list[tuple[tuple[str, ...], dict[str, int | bool] | None]] = [
    (("max-age=60",), MAX_AGE),
    (("max-age=0",), {"max-age": 0}),
    (("max-age=060",), MAX_AGE),
    (("max-age=-0",), None),
    (("max-age=2147483648",), {"max-age": DELTA_MAX}),
    (("max-age=99999999999",), {"max-age": DELTA_MAX}),
    (("max-age=999999999999999",), {"max-age": DELTA_MAX}),
    (("max-age=1000000000000000",), None),  # 16 digits: RFC 8941 §3.3.1
    (("max-age=60, no-store",), MAX_AGE | {"no-store": True}),
    (("max-age=60 \t,\t no-store",), MAX_AGE | {"no-store": True}),
    (("max-age=60,no-store",), MAX_AGE | {"no-store": True}),
    (("max-age=60", "no-store"), MAX_AGE | {"no-store": True}),
    (("foobar, max-age=60",), MAX_AGE),
    (("foo",), {}),
    (("a=1, b=1.5, c=?0, d=tok/en:x, e=:YQ==:, f=\"x y\", g=(a b), h",), {}),
    (("a;p=1;q, max-age=60;x=y; z",), MAX_AGE),
    (("g=(1 \"a\" :: ?1 t;p=(), max-age=60",), None),
    (("g=( a  b;p=1 ), max-age=60",), MAX_AGE),
    (("g=(), max-age=60",), MAX_AGE),
    (("g=();p=1, max-age=60",), MAX_AGE),
    (("max-age=60;p=1.5;q=tok;r=:aa:;s=?1",), MAX_AGE),
    (("*a=1, max-age=60",), MAX_AGE),
    (("_a=1, max-age=60",), None),
    (("max-age=60, max-age=5",), {"max-age": 5}),  # the last: RFC 8941 §4.2.2
    (("max-age=x, max-age=5",), {"max-age": 5}),
    (("max-age=5, max-age=x",), None),
    (("no-cache",), {"no-cache": True}),
    (("no-cache=?1",), {"no-cache": True}),
    (('no-cache="a, b"',), {"no-cache": True}),
    (('private="set-cookie", max-age=60',), MAX_AGE | {"private": True}),
    (("must-revalidate, immutable",), {"must-revalidate": True, "immutable": True}),
    # empty: RFC 9213 §2.1
    (("",), None),
    (("", ""), None),
    # no dictionary
    (("max-age=60, &&&&&",), None),
    (("MaX-aGe=60",), None),
    (("max-age =60",), None),
    (("max-age= 60",), None),
    (("max-age=60,",), None),
    ((",max-age=60",), None),
    (("max-age=60,,no-store",), None),
    (("max-age=60", ""), None),
    (("", "max-age=60"), None),
    (("max-age=60,", "no-store"), None),
    (("max-age=60 no-store",), None),
    (("max-age=",), None),
    (("max-age=60;",), None),
    (("max-age=60;X=1",), None),
    (("max-age=60;x=",), None),
    (("x=?2",), None),
    (("x=?",), None),
    (('x="a',), None),
    (('x="a\\b"',), None),
    (('x="\xe9"',), None),
    (('x="\t"',), None),
    (("x=:a!:",), None),
    (("x=:aa",), None),
    (("x=(a,b)",), None),
    (("x=(a",), None),
    (('x=("a""b")',), None),
    (("x=1.",), None),
    (("x=1.2345",), None),
    (("x=1234567890123.1",), None),
    (("x=-",), None),
    (("x=--1",), None),
    (("x=a!#$%&'*+-.^_`|~:/9, max-age=60",), MAX_AGE),
    (("x='a'",), None),
    (("x=@1659578233",), None),  # a Date is RFC 9651
    (('x="a', 'b"'), None),
    # the wrong type
    (('max-age="60"',), None),
    (("max-age=60.0",), None),
    (("max-age=sixty",), None),
    (("max-age",), None),
    (("max-age=?1",), None),
    (("max-age=-60",), None),
    (("max-age=(60)",), None),
    (("s-maxage=:NjA=:",), None),
    (("no-store=?0",), None),
    (("no-store=1",), None),
    (('no-store="x"',), None),
    (("no-cache=set-cookie",), None),
    (("private=?0, max-age=60",), None),
    (("max-age=60, stale-if-error=x",), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "expected"), TARGETED, ids=[" | ".join(lines) for lines, _ in TARGETED]
)
def test_rfc9213_2_1_targeted(
    lines: tuple[str, ...], expected: dict[str, int | bool] | None
) -> None:
    assert targeted_for_test(*(line.encode("latin-1") for line in lines)) == expected


# -- any text --------------------------------------------------------------------------------------

PIECES = [
    "max-age", "s-maxage", "no-store", "private", "public", "no-cache", "immutable", "max-stale",
    "stale-if-error", "must-revalidate", "MAX-age", "x", "X", "=", "=", "=", "60", "0", "-1", "1.5",
    "99999999999", '"60"', '"a, b"', '"a\\"b"', '"', "\\", ",", ",", ",", " ", "\t", ";", "(",
    ")", "?1", "?0", ":YQ==:", "a/b", "\xe9", "'", "@", "*", ".", "_", "+",
    'private="a"', "max-age=60",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@bounded
@given(TEXTS)
def test_cache_control_equals_the_reference(text: str) -> None:
    found = directives_for_test(text.encode("latin-1"))
    if "malformed" not in found:
        assert found == directives(text)


@bounded
@given(TEXTS)
def test_dictionary_equals_the_reference(text: str) -> None:
    text = text.strip(" \t")
    assert targeted_for_test(text.encode("latin-1")) == targeted(text)


@bounded
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes(lines: list[bytes]) -> None:
    for reader in (directives_for_test, surrogate_for_test, targeted_for_test):
        for value in (reader(*lines) or {}).values():
            assert value is True or 0 <= value <= DELTA_MAX


@bounded
@given(TEXTS, TEXTS)
def test_more_lines_take_no_restriction_away(one: str, other: str) -> None:
    """Two lines hold every restriction that each of them holds (RFC 9111 §4.2.1)."""
    both = directives_for_test(one.encode("latin-1"), other.encode("latin-1"))
    for name in ("no-store", "no-cache", "private", "must-revalidate"):
        for line in (one, other):
            if name in directives_for_test(line.encode("latin-1")):
                assert name in both


@pytest.mark.parametrize("text", ['"\\"' + '\\"' * 30000, '"' * 60001, "a=" + '"\\"' * 20000])
def test_quotes_cost_linear_time(text: str) -> None:
    for _ in range(50):
        directives_for_test(text.encode())
