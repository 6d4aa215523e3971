"""ext.platform: Fastly's limits, and what it answers beyond them."""

from __future__ import annotations

import pytest

from ext.limits import Refused
from ext.platform import EXCESS_ANSWERS, Excess, Platform
from tests.ext.heads import answer, get

LIMITS = {
    "url_bytes": 20, "cookie_bytes": 30, "response_header_bytes": 60, "response_header_count": 3,
    "own_refusals": False,
}  # fmt: skip
FASTLY = Platform(LIMITS)
OFF = Platform(dict.fromkeys(LIMITS, 0))


def test_url_of_the_longest_size_passes_and_one_byte_more_does_not() -> None:
    whole, long = "/" + "a" * 19, "/" + "a" * 20
    assert FASTLY.request_for_test(get(target=whole))[0] == Excess.NO_EXCESS
    assert FASTLY.request_for_test(get(target=long))[0] == Excess.LONG_URL
    assert OFF.request_for_test(get(target=long))[0] == Excess.NO_EXCESS


def test_url_counts_as_received_with_its_host_and_query() -> None:
    assert FASTLY.request_for_test(get(target="http://shop.test/aaa"))[0] == Excess.NO_EXCESS
    assert FASTLY.request_for_test(get(target="http://shop.test/aaaa"))[0] == Excess.LONG_URL
    assert FASTLY.request_for_test(get(target="/a?" + "b" * 18))[0] == Excess.LONG_URL


def test_cookies_of_the_longest_size_stay() -> None:
    request = get("A: 1", "Cookie: " + "c" * 30, "B: 2")
    names = [b"Host", b"A", b"Cookie", b"B"]
    assert FASTLY.request_for_test(request) == (Excess.NO_EXCESS, names, False, None)


@pytest.mark.parametrize("cookies", [["c" * 31], ["c" * 15, "d" * 16], ["", "c" * 31, "d"]])
def test_longer_cookies_are_taken_out_and_the_request_goes_on(cookies: list[str]) -> None:
    lines = [f"cookie: {cookie}" for cookie in cookies]
    request = get(lines[0], "A: 1", *lines[1:], "B: 2")
    names = [b"Host", b"A", b"B"]
    assert FASTLY.request_for_test(request) == (Excess.NO_EXCESS, names, True, None)
    kept = OFF.request_for_test(request)
    assert kept[1].count(b"cookie") == len(cookies)
    assert not kept[2]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_upgrade_is_still_found_when_fields_before_it_are_gone(before: int) -> None:
    cookies = ["Cookie: " + "c" * 31] * before
    request = get(*cookies, "Connection: upgrade", "Upgrade: x", *["Cookie: " + "c" * 31])
    assert FASTLY.request_for_test(request)[3] == b"Upgrade"


def test_answer_with_the_most_and_longest_fields_passes() -> None:
    longest = "A: " + "a" * (60 - len("A: \r\n\r\n"))
    assert FASTLY.response_for_test(answer(longest)) == Excess.NO_EXCESS
    assert FASTLY.response_for_test(answer(longest + "a")) == Excess.LONG_RESPONSE
    assert FASTLY.response_for_test(answer("A: 1", "A: 2", "B: 3")) == Excess.NO_EXCESS
    four = answer("A: 1", "A: 2", "B: 3", "B: 4")
    assert FASTLY.response_for_test(four) == Excess.MANY_RESPONSE_FIELDS
    assert FASTLY.response_for_test(answer()) == Excess.NO_EXCESS
    assert OFF.response_for_test(four) == OFF.response_for_test(answer(longest + "a"))
    assert OFF.response_for_test(four) == Excess.NO_EXCESS


@pytest.mark.parametrize("reason", list(Refused))
def test_heads_that_the_parser_refuses_as_too_long_are_answered_as_fastly_does(
    reason: Refused,
) -> None:
    expected = {
        Refused.REQUEST_LINE_TOO_LONG: Excess.LONG_URL,
        Refused.HEAD_TOO_LONG: Excess.LONG_REQUEST,
        Refused.TOO_MANY_FIELDS: Excess.LONG_REQUEST,
    }.get(reason, Excess.NO_EXCESS)
    assert FASTLY.refused_for_test(reason) == expected
    own = Platform(LIMITS | {"own_refusals": True})
    assert own.refused_for_test(reason) == Excess.NO_EXCESS


def test_every_excess_has_an_answer() -> None:
    assert set(EXCESS_ANSWERS) == set(Excess) - {Excess.NO_EXCESS}
    assert EXCESS_ANSWERS[Excess.LONG_URL] == (756, "Too long request string")
    assert EXCESS_ANSWERS[Excess.LONG_REQUEST] == (503, "Header overflow")
