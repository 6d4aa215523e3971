"""ext.dates: the three forms of HTTP-date, nothing else, and the same numbers as `datetime`."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.dates import parse_for_test
from tests.ext.heads import NOW_S
from tests.ext.reference_freshness import DAYS, MONTHS, parse_date

bounded = settings(max_examples=500, derandomize=True, deadline=None, database=None)


def seconds(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


VALID = [
    ("Sun, 06 Nov 1994 08:49:37 GMT", (1994, 11, 6, 8, 49, 37)),
    ("Sunday, 06-Nov-94 08:49:37 GMT", (1994, 11, 6, 8, 49, 37)),
    ("Sun Nov  6 08:49:37 1994", (1994, 11, 6, 8, 49, 37)),
    ("Sun Nov 06 08:49:37 1994", (1994, 11, 6, 8, 49, 37)),
    ("Thu, 01 Jan 1970 00:00:00 GMT", (1970, 1, 1)),
    ("Wed, 31 Dec 1969 23:59:59 GMT", (1969, 12, 31, 23, 59, 59)),
    ("Mon, 01 Jan 0001 00:00:00 GMT", (1, 1, 1)),
    ("Tue, 19 Jan 2038 03:14:07 GMT", (2038, 1, 19, 3, 14, 7)),
    ("Tue, 19 Jan 2038 14:14:08 GMT", (2038, 1, 19, 14, 14, 8)),
    ("Sun, 21 Nov 2286 04:46:39 GMT", (2286, 11, 21, 4, 46, 39)),
    ("Fri, 31 Dec 9999 23:59:59 GMT", (9999, 12, 31, 23, 59, 59)),
    ("Thu, 29 Feb 2024 12:00:00 GMT", (2024, 2, 29, 12)),
    ("Tue, 29 Feb 2000 12:00:00 GMT", (2000, 2, 29, 12)),
    ("Thu Aug  8 02:01:18 2050", (2050, 8, 8, 2, 1, 18)),
    ("Fri, 06 Nov 1994 08:49:37 GMT", (1994, 11, 6, 8, 49, 37)),  # not that weekday
    ("Sun, 30 Jun 2013 23:59:60 GMT", (2013, 6, 30, 23, 59, 59)),  # a leap second
]

ANY_CASE = [
    "SUN, 06 NOV 1994 08:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 gmt",
    "Sun, 06 Nov 1994 08:49:37 gMT",
    "sUNDAY, 06-nOV-94 08:49:37 Gmt",
    "SUN nov  6 08:49:37 1994",
]

INVALID = [
    "", "0", "-1", "now", "1994-11-06T08:49:37Z", "784111777",
    "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 EST",
    "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 ",
    "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMTX", "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun 06 Nov 1994 08:49:37 GMT", "Sun,  06 Nov 1994 08:49:37 GMT",
    "Sun, 06  Nov  1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun,  6 Nov 1994 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 23:60:00 GMT", "Sun, 06 Nov 1994 23:59:61 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
    "Sun, 32 Dec 1994 08:49:37 GMT", "Wed, 29 Feb 2023 08:49:37 GMT",
    "Wed, 29 Feb 1900 08:49:37 GMT", "Sun, 06 Nvo 1994 08:49:37 GMT",
    "Son, 06 Nov 1994 08:49:37 GMT", "Sunday, 06 Nov 1994 08:49:37 GMT",
    "Sun, +6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT",
    "Sun, 06 Nov 1994 0x:49:37 GMT", "Sun, 06 Nov 1994T08:49:37 GMT",
    "Sun, 06-Nov-94 08:49:37 GMT", "Sunday 06-Nov-94 08:49:37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 UTC",
    "Sunday, 06 Nov 94 08:49:37 GMT", "Sunday, 6-Nov-94 08:49:37 GMT",
    "Someday, 06-Nov-94 08:49:37 GMT", "Sundayy, 06-Nov-94 08:49:37 GMT",
    "Wednesdays, 06-Nov-94 08:49:37 GMT", "Tuesda, 06-Nov-94 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994", "Sun Nov   6 08:49:37 1994", "Sun Nov  6 08:49:37 94",
    "Sun Nov  6 08:49:37 1994 GMT", "Sun Nov 31 08:49:37 1994", "Sun, Nov  6 08:49:37 1994",
    "Sun, 06 Nov 1994 08:49:37\xa0GMT", "Sun, 06 Nov 199\u0664 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
]  # fmt: skip


@pytest.mark.parametrize(("text", "parts"), VALID, ids=[text for text, _ in VALID])
def test_rfc9110_5_6_7_valid(text: str, parts: tuple[int, ...]) -> None:
    assert parse_for_test(text.encode(), NOW_S) == seconds(*parts)


@pytest.mark.parametrize("text", ANY_CASE)
def test_rfc9111_4_2_case_does_not_matter_to_a_cache(text: str) -> None:
    assert parse_for_test(text.encode(), NOW_S) == seconds(1994, 11, 6, 8, 49, 37)


@pytest.mark.parametrize("text", INVALID)
def test_rfc9110_5_6_7_invalid(text: str) -> None:
    assert parse_for_test(text.encode(), NOW_S) is None


@pytest.mark.parametrize(
    ("now", "short", "year"),
    [
        ((2026, 5, 28), 94, 1994),
        ((2026, 5, 28), 26, 2026),
        ((2026, 5, 28), 50, 2050),
        ((2026, 5, 28), 75, 2075),
        ((2026, 5, 28), 77, 1977),
        ((2026, 8, 18), 76, 2076),  # 50 years ahead to the day
        ((2026, 8, 17), 76, 1976),  # 50 years and a day
        ((2026, 1, 1), 76, 1976),
        ((2026, 12, 31), 76, 2076),
        ((2080, 1, 1), 10, 2110),
        ((1999, 12, 31), 0, 2000),
        ((1970, 1, 1), 19, 2019),
        ((1970, 1, 1), 21, 1921),
    ],
)
def test_rfc9110_5_6_7_two_digit_years(now: tuple[int, ...], short: int, year: int) -> None:
    text = b"Thursday, 18-Aug-%02d 00:00:00 GMT" % short
    assert parse_for_test(text, seconds(*now)) == seconds(year, 8, 18)


def test_every_day_of_four_centuries() -> None:
    for day in range(seconds(1899, 1, 1), seconds(2301, 1, 1), 86400 * 5):
        made = datetime.fromtimestamp(day, UTC)
        for form in ("%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
            assert parse_for_test(made.strftime(form).encode(), NOW_S) == day


@bounded
@given(
    st.tuples(
        st.sampled_from(DAYS), st.integers(0, 33), st.sampled_from(MONTHS), st.integers(1, 9999),
        st.integers(0, 25), st.integers(0, 61), st.integers(0, 62),
    ),
    st.sampled_from(["fix", "850", "asc"]),
    st.integers(seconds(1970, 1, 1), seconds(2150, 1, 1)),
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(list(" ,:-0189GgTtaZ\x00\xff"))), max_size=2
    ),
)  # fmt: skip
def test_equals_the_reference(
    parts: tuple[str, int, str, int, int, int, int],
    form: str,
    now_s: int,
    damage: list[tuple[int, str]],
) -> None:
    day, number, month, year, *clock = parts
    time = "{:02}:{:02}:{:02}".format(*clock)
    month = month.title()
    text = {
        "fix": f"{day[:3]}, {number:02} {month} {year:04} {time} GMT",
        "850": f"{day}, {number:02}-{month}-{year % 100:02} {time} GMT",
        "asc": f"{day[:3]} {month} {number:2} {time} {year:04}",
    }[form]
    for at, char in damage:
        text = text[:at] + char + text[at + 1 :]
    expected = parse_date(text, now_s) if "0000" not in text else parse_for_test(
        text.encode("latin-1"), now_s
    )  # fmt: skip
    assert parse_for_test(text.encode("latin-1"), now_s) == expected


@bounded
@given(st.binary(max_size=40), st.integers(-(2**62), 2**62))
def test_any_bytes(data: bytes, now_s: int) -> None:
    parse_for_test(data, now_s)
