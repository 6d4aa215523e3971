"""ext.conditions: 304 or not, whole or ranges, and whether a 304 may update what is stored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.conditions import (
    condition_for_test,
    may_refresh_for_test,
    range_for_test,
    ranges_for_test,
    strong_match_for_test,
    weak_match_for_test,
)
from ext.limits import Limit
from tests.ext.heads import NOW_S, answer, date, get, http_date, modified

bounded = settings(max_examples=500, derandomize=True, deadline=None, database=None)
NO_CONDITION, NOT_MODIFIED, MODIFIED = 0, 1, 2  # Condition in ext/conditions.pxd
WHOLE, UNSATISFIABLE = 0, -1  # RangeResult

ETAG = 'ETag: "abc"'
RFC850 = "%A, %d-%b-%y %H:%M:%S GMT"
ASCTIME = "%a %b %d %H:%M:%S %Y"


def since(seconds: float, form: str = "%a, %d %b %Y %H:%M:%S GMT") -> str:
    return f"If-Modified-Since: {http_date(seconds, form)}"


def condition(request: tuple[str, ...], stored: tuple[str, ...], **more: object) -> int:
    asked, head = get(*request), answer(*stored)
    return condition_for_test(asked, head, received_s=NOW_S, **more)  # type: ignore[arg-type]


# RFC 9110 §8.8.3.2, its table of examples, and forms that some origins send.
TAGS = [
    ('W/"1"', 'W/"1"', False, True),
    ('W/"1"', 'W/"2"', False, False),
    ('W/"1"', '"1"', False, True),
    ('"1"', '"1"', True, True),
    ('""', '""', True, True),
    ('W/""', '""', False, True),
    ('"a"', '"A"', False, False),
    ('"a"', '"a" ', False, False),
    ('"a\\b"', '"a\\b"', True, True),
    ('"a,b"', '"a,b"', True, True),
    ("abc", "abc", False, True),
    ("abc", '"abc"', False, False),
    ('w/"1"', '"1"', False, False),
    ('w/"1"', 'w/"1"', False, True),
    ('W/1', '1', False, False),
    ('"', '"', False, True),
    ("", "", False, False),
    ('"\xfc"', '"\xfc"', True, True),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "strong", "weak"), TAGS)
def test_rfc9110_8_8_3_2_comparison(one: str, other: str, strong: bool, weak: bool) -> None:
    for a, b in ((one, other), (other, one)):
        assert strong_match_for_test(a.encode("latin-1"), b.encode("latin-1")) == strong
        assert weak_match_for_test(a.encode("latin-1"), b.encode("latin-1")) == weak


NONE_MATCH = [
    (['"abc"'], NOT_MODIFIED),
    (['W/"abc"'], NOT_MODIFIED),
    (["*"], NOT_MODIFIED),
    (['"abc", "1234", "5678"'], NOT_MODIFIED),
    (['"1234", "abc", "5678"'], NOT_MODIFIED),
    (['"1234", "5678", "abc"'], NOT_MODIFIED),
    (['"1234","abc"'], NOT_MODIFIED),
    (['"1234"\t,\t"abc"'], NOT_MODIFIED),
    ([',, "abc" ,,'], NOT_MODIFIED),
    (['"1234"', '"abc"'], NOT_MODIFIED),
    (['W/"1234", W/"abc"'], NOT_MODIFIED),
    (['"a,b", "abc"'], NOT_MODIFIED),
    (['"a\\", "abc"'], NOT_MODIFIED),  # a backslash quotes nothing
    (['junk, "abc"'], NOT_MODIFIED),
    (['"x"junk, "abc"'], NOT_MODIFIED),
    (['"1234"'], MODIFIED),
    (['"abcd"'], MODIFIED),
    (['"ab"'], MODIFIED),
    (['"ABC"'], MODIFIED),
    (["abc"], MODIFIED),
    (['w/"abc"'], MODIFIED),
    (['W/ "abc"'], MODIFIED),
    (['"abc"x'], MODIFIED),
    (['x"abc"'], MODIFIED),
    (['"a,"abc""'], MODIFIED),
    (['"x, "abc"'], NOT_MODIFIED),  # what can be told apart is compared
    (['"abc'], MODIFIED),
    ([""], MODIFIED),
    (['"*"'], MODIFIED),
    (["**"], MODIFIED),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), NONE_MATCH, ids=[str(r[0]) for r in NONE_MATCH])
def test_rfc9110_13_1_2_if_none_match(lines: list[str], expected: int) -> None:
    request = tuple(f"If-None-Match: {line}" for line in lines)
    assert condition(request, (ETAG,)) == expected
    assert condition(request, ('ETag: W/"abc"',)) == expected


@pytest.mark.parametrize(
    ("tag", "stored", "expected"),
    [
        ("abc", "abc", NOT_MODIFIED),
        ('"abc"', "abc", MODIFIED),
        ('w/"abc"', 'w/"abc"', NOT_MODIFIED),
        ('W\\"abc"', 'W\\"abc"', NOT_MODIFIED),
        ('W"abc"', 'W"abc"', NOT_MODIFIED),
        ('"\xfcx"', '"\xfcx"', NOT_MODIFIED),
        ("a b, c", "a b", NOT_MODIFIED),
        ('"a,b"', '"a,b"', NOT_MODIFIED),
    ],
)
def test_tags_that_are_none_equal_themselves(tag: str, stored: str, expected: int) -> None:
    assert condition((f"If-None-Match: {tag}",), (f"ETag: {stored}",)) == expected


@pytest.mark.parametrize(
    ("lines", "stored", "expected"),
    [
        ([since(-3000)], [modified(-3000), date(0)], NOT_MODIFIED),
        ([since(-2000)], [modified(-3000), date(0)], NOT_MODIFIED),
        ([since(-3001)], [modified(-3000), date(0)], MODIFIED),
        ([since(-3000, RFC850)], [modified(-3000)], NOT_MODIFIED),
        ([since(-3000, ASCTIME)], [modified(-3000)], NOT_MODIFIED),
        ([since(9999)], [modified(-3000)], NOT_MODIFIED),
        (["If-Modified-Since: yesterday"], [modified(-3000)], NO_CONDITION),
        (["If-Modified-Since: 0"], [modified(-3000)], NO_CONDITION),
        (["If-Modified-Since:"], [modified(-3000)], NO_CONDITION),
        ([since(0), since(0)], [modified(-3000)], NO_CONDITION),
        ([f"{since(0)}, {http_date(0)}"], [modified(-3000)], NO_CONDITION),
        ([], [modified(-3000), ETAG], NO_CONDITION),
    ],
)
def test_rfc9110_13_1_3_if_modified_since(
    lines: list[str], stored: list[str], expected: int
) -> None:
    assert condition(tuple(lines), tuple(stored)) == expected


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        (-10, [date(-10)], NOT_MODIFIED),
        (-11, [date(-10)], MODIFIED),
        (0, ["Date: x"], NOT_MODIFIED),
        (-1, [], MODIFIED),
        (0, [], NOT_MODIFIED),
        (-10, ["Last-Modified: x", date(-10)], NOT_MODIFIED),
        (-3000, [date(0)], MODIFIED),
    ],
)
def test_rfc9111_4_3_2_without_last_modified_by_date(
    asked: float, stored: list[str], expected: int
) -> None:
    assert condition((since(asked),), tuple(stored)) == expected


@pytest.mark.parametrize(
    ("request_lines", "expected"),
    [
        (('If-None-Match: "abc"', since(-10000)), NOT_MODIFIED),
        ((since(-10000), 'If-None-Match: "abc"'), NOT_MODIFIED),
        (('If-None-Match: "xyz"', since(0)), MODIFIED),
        (("If-None-Match: junk", since(0)), MODIFIED),
        (("If-None-Match:", since(0)), MODIFIED),
        (('If-Match: "xyz"',), NO_CONDITION),
        (('If-Match: "xyz"', since(0)), NOT_MODIFIED),
        ((f"If-Unmodified-Since: {http_date(-9000)}",), NO_CONDITION),
    ],
)
def test_rfc9110_13_2_2_precedence(request_lines: tuple[str, ...], expected: int) -> None:
    assert condition(request_lines, (ETAG, modified(-5000), date(0))) == expected


@pytest.mark.parametrize("status", [199, 301, 304, 404, 410, 500, 503])
def test_rfc9110_13_2_1_only_of_what_would_be_2xx(status: int) -> None:
    request = ('If-None-Match: "abc"', since(0))
    assert condition(request, (ETAG,), status=status) == NO_CONDITION
    for good in (200, 203, 206, 299):
        assert condition(request, (ETAG,), status=good) == NOT_MODIFIED


@pytest.mark.parametrize(
    ("method", "expected"),
    [("GET", 1), ("HEAD", 1), ("POST", 0), ("PUT", 0), ("OPTIONS", 0), ("get", 0)],
)
def test_rfc9110_13_2_1_only_get_and_head(method: str, expected: int) -> None:
    asked = get('If-None-Match: "abc"', method=method)
    assert condition_for_test(asked, answer(ETAG)) == expected


def test_rfc9110_13_1_2_star_matches_an_answer_without_tag() -> None:
    assert condition(("If-None-Match: *",), ()) == NOT_MODIFIED
    assert condition(('If-None-Match: "abc"',), ()) == MODIFIED
    assert condition(('If-None-Match: ""',), ("ETag:",)) == MODIFIED


# -- ranges ----------------------------------------------------------------------------------------

# RFC 9110 §14.1.2, of a body of 10,000 bytes.
SATISFIABLE = [
    ("bytes=0-499", [(0, 499)]),
    ("bytes=500-999", [(500, 999)]),
    ("bytes=-500", [(9500, 9999)]),
    ("bytes=9500-", [(9500, 9999)]),
    ("bytes=0-0,-1", [(0, 0), (9999, 9999)]),
    ("bytes= 0-999, 4500-5499, -1000", [(0, 999), (4500, 5499), (9000, 9999)]),
    ("bytes=500-600,601-999", [(500, 600), (601, 999)]),
    ("bytes=500-700,601-999", [(500, 700), (601, 999)]),
    ("bytes=0-", [(0, 9999)]),
    ("bytes=-10000", [(0, 9999)]),
    ("bytes=-10001", [(0, 9999)]),
    ("bytes=0-9999", [(0, 9999)]),
    ("bytes=0-10000", [(0, 9999)]),
    ("bytes=9999-", [(9999, 9999)]),
    ("bytes=9999-99999999999999999999999999", [(9999, 9999)]),
    ("bytes=-99999999999999999999999999", [(0, 9999)]),
    ("bytes=0005-0006", [(5, 6)]),
    ("BYTES=1-2", [(1, 2)]),
    ("Bytes=1-2", [(1, 2)]),
    ("bytes=,1-2,,", [(1, 2)]),
    ("bytes=1-2 ,\t3-4 ", [(1, 2), (3, 4)]),
    ("bytes=5-6,1-2", [(5, 6), (1, 2)]),
    ("bytes=1-2,10000-", [(1, 2)]),
    ("bytes=-0,1-2", [(1, 2)]),
    ("bytes=0-4999,5000-9999", [(0, 4999), (5000, 9999)]),
]

NOT_A_RANGE = [
    "", "bytes", "bytes=", "bytes= ", "bytes=,", "bytes=-", "bytes=a-b", "bytes=1", "bytes=1-2-3",
    "bytes=2-1", "bytes=1-2,4-3", "bytes=1-2,x", "bytes=1-2;3-4", "bytes=1 -2", "bytes=1- 2",
    "bytes=--1", "bytes=+1-2", "bytes=0x1-2", "bytes =1-2", "bytes:1-2", "bytes=1.0-2",
    "items=1-2", "none=1-2", "byte=1-2", "bytess=1-2", "1-2", "bytes=1-2\x00", "bytes=\xb2-3",
    "bytes=99999999999999999999-1", "bytes=1-2 3-4",
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), SATISFIABLE)
def test_rfc9110_14_1_2_satisfiable(value: str, expected: list[tuple[int, int]]) -> None:
    assert range_for_test(value.encode(), 10_000) == expected


@pytest.mark.parametrize(
    "value",
    ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=10000-,-0",
     "bytes=99999999999999999999999999-", "bytes=9223372036854775807-9223372036854775807"],
)  # fmt: skip
def test_rfc9110_14_1_2_unsatisfiable(value: str) -> None:
    assert range_for_test(value.encode(), 10_000) == UNSATISFIABLE


@pytest.mark.parametrize("value", NOT_A_RANGE)
def test_rfc9110_14_2_invalid_is_ignored(value: str) -> None:
    assert range_for_test(value.encode("latin-1"), 10_000) == WHOLE


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=0-0", 0),
        ("bytes=0-,0-", 10),  # together longer than the whole
        ("bytes=0-5,5-9,0-3", 10),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)), 100),
        ("bytes=" + "0-0," * 20000, 10**9),
    ],
    ids=range(7),
)
def test_rfc9110_14_2_wasteful_is_ignored(value: str, length: int) -> None:
    assert range_for_test(value.encode(), length) == WHOLE


def test_as_many_ranges_as_the_limit() -> None:
    most = int(Limit.RANGES_MAX)
    value = "bytes=" + ",".join(f"{n}-{n}" for n in range(most))
    assert range_for_test(value.encode(), 10_000) == [(n, n) for n in range(most)]
    assert range_for_test(f"{value},{most}-{most}".encode(), 10_000) == WHOLE


def test_a_length_beyond_32_bits() -> None:
    length = 2**40
    assert range_for_test(b"bytes=-1", length) == [(length - 1, length - 1)]
    assert range_for_test(b"bytes=4294967296-4294967297", length) == [(2**32, 2**32 + 1)]
    huge = 2**63 - 1
    assert range_for_test(b"bytes=9223372036854775806-", huge) == [(huge - 1, huge - 1)]
    assert range_for_test(b"bytes=0-9223372036854775807", huge) == [(0, huge - 1)]


STORED = (ETAG, modified(-100), date(0))
PART = [(1, 2)]


@pytest.mark.parametrize(
    ("if_range", "stored", "expected"),
    [
        ('"abc"', STORED, PART),
        ('"xyz"', STORED, WHOLE),
        ('W/"abc"', STORED, WHOLE),
        ('"abc"', ('ETag: W/"abc"',), WHOLE),
        ('W/"abc"', ('ETag: W/"abc"',), WHOLE),
        ("abc", ("ETag: abc",), WHOLE),
        ('"abc"', (), WHOLE),
        ('"abc", "abc"', STORED, WHOLE),
        ("*", STORED, WHOLE),
        ("", STORED, WHOLE),
        (http_date(-100), STORED, PART),
        (http_date(-100, RFC850), STORED, PART),
        (http_date(-99), STORED, WHOLE),  # exact, not "no later": RFC 9110 §13.1.5
        (http_date(-101), STORED, WHOLE),
        (http_date(0), (modified(0), date(0)), WHOLE),  # a weak date: RFC 9110 §8.8.2.2
        (http_date(-1), (modified(-1), date(0)), PART),
        (http_date(-100), (modified(-100),), WHOLE),
        (http_date(0), (date(0),), WHOLE),
        ("yesterday", STORED, WHOLE),
    ],
)
def test_rfc9110_13_1_5_if_range(if_range: str, stored: tuple[str, ...], expected: object) -> None:
    asked = get("Range: bytes=1-2", f"If-Range: {if_range}")
    assert ranges_for_test(asked, answer(*stored), 10, received_s=NOW_S) == expected


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        (get("Range: bytes=1-2"), answer(), PART),
        (get(), answer(), WHOLE),
        (get('If-Range: "abc"'), answer(ETAG), WHOLE),
        (get("Range: bytes=1-2", method="HEAD"), answer(), WHOLE),
        (get("Range: bytes=1-2", method="POST"), answer(), WHOLE),
        (get("Range: bytes=1-2"), answer(status=404), WHOLE),
        (get("Range: bytes=1-2"), answer(status=203), WHOLE),
        (get("Range: bytes=1-2", "Range: bytes=1-2"), answer(), WHOLE),
        (get("Range: bytes=1-2", 'If-Range: "abc"', 'If-Range: "abc"'), answer(ETAG), WHOLE),
        (get("Range: bytes=10-"), answer(), UNSATISFIABLE),
        (get("Range: bytes=10-", 'If-Range: "x"'), answer(ETAG), WHOLE),
    ],
    ids=range(11),
)
def test_rfc9110_14_2_when_a_range_counts(asked: bytes, stored: bytes, expected: object) -> None:
    assert ranges_for_test(asked, stored, 10) == expected


@bounded
@given(
    st.lists(st.tuples(st.integers(-1, 120), st.integers(-1, 120)), min_size=1, max_size=5),
    st.integers(1, 100),
)
def test_ranges_are_those_of_a_slice(specs: list[tuple[int, int]], length: int) -> None:
    body = list(range(length))
    value = ",".join("-".join("" if n < 0 else str(n) for n in spec) for spec in specs)
    expected = []
    for first, last in specs:
        if first < 0:
            expected.append(body[-last:] if last > 0 else [])
        else:
            expected.append(body[first : last + 1] if last >= 0 else body[first:])
    wanted = [part for part in expected if part]
    invalid = any((a < 0 and b < 0) or 0 <= b < a for a, b in specs)
    found = range_for_test(f"bytes={value}".encode(), length)
    if invalid or sum(map(len, wanted)) > length:
        assert found == WHOLE
    elif not wanted:
        assert found == UNSATISFIABLE
    else:
        assert isinstance(found, list)
        assert [body[a : b + 1] for a, b in found] == wanted


@bounded
@given(st.binary(max_size=60), st.integers(0, 2**63 - 1))
def test_any_range_bytes(value: bytes, length: int) -> None:
    for text in (value, b"bytes=" + value):
        found = range_for_test(text, length)
        if isinstance(found, list):
            assert all(0 <= first <= last < length for first, last in found)


PIECES = ['"abc"', 'W/"abc"', '"', "W/", "abc", ",", " ", "\t", "*", "\\", "x", '"1"', "\xe9", "/"]


@bounded
@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
def test_any_tag_list(text: str) -> None:
    found = condition((f"If-None-Match: {text}",), (ETAG,))
    assert found in (NOT_MODIFIED, MODIFIED)
    if found == NOT_MODIFIED:
        assert '"abc"' in text or text.strip(" \t") == "*"
    if not text.count('"') % 2 and [part.strip(" \t") for part in text.split(",")].count('"abc"'):
        members = [part.strip(" \t") for part in text.split(",")]
        if all(part.count('"') in (0, 2) for part in members):
            assert found == NOT_MODIFIED


@pytest.mark.parametrize("unit", ['"x"y,', '"', '",', 'W/"', "a,", '"",', '"a,"'])
def test_tag_lists_cost_linear_time(unit: str) -> None:
    text = unit * (60000 // len(unit))
    for _ in range(20):
        condition((f"If-None-Match: {text}",), (ETAG,))


# -- validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "fresh", "expected"),
    [
        ([ETAG], [ETAG], True),
        ([ETAG], ['ETag: "xyz"'], False),
        ([ETAG], ['ETag: W/"abc"'], True),
        (['ETag: W/"abc"'], ['ETag: W/"abc"'], True),
        (['ETag: W/"abc"'], ['ETag: W/"xyz"'], False),
        (['ETag: W/"abc"'], [ETAG], False),  # a strong one names only a strong one
        ([], [ETAG], False),
        ([modified(-9)], [ETAG], False),
        ([modified(-9)], [modified(-9)], True),
        ([modified(-9)], [modified(-8)], False),
        ([ETAG, modified(-9)], [modified(-9)], True),
        ([ETAG, modified(-9)], [modified(-8)], False),
        ([ETAG, modified(-9)], [ETAG, modified(-8)], True),
        ([ETAG], [modified(-8)], True),
        ([ETAG], [], True),
        ([], [], True),
    ],
)
def test_rfc9111_4_3_4_which_answer_a_304_updates(
    stored: list[str], fresh: list[str], expected: bool
) -> None:
    assert may_refresh_for_test(answer(*stored), answer(*fresh, status=304)) == expected
