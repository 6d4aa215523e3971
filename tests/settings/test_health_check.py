"""edge.settings.health_check: the list of status codes, and the section's bounds."""

import pytest
from pydantic import ValidationError

from edge.settings.health_check import HealthCheck, status_ranges


@pytest.mark.parametrize(
    ("expect", "ranges"),
    [
        ("200", ((200, 200),)),
        ("200-399", ((200, 399),)),
        ("200, 302,400-404", ((200, 200), (302, 302), (400, 404))),
        ("100-599", ((100, 599),)),
    ],
)
def test_expect_is_codes_and_ranges(expect: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert status_ranges(expect) == ranges


@pytest.mark.parametrize(
    "expect", ["", "2xx", "200-", "-200", "20", "2000", "200,,300", "399-200", "99", "600", "٢٠٠"]
)
def test_another_list_is_told_the_form(expect: str) -> None:
    with pytest.raises(ValueError, match='codes and ranges from 100 to 599 such as "200,302,400-'):
        status_ranges(expect)


@pytest.mark.parametrize(("value", "kept"), [(200, "200"), ("200, 302", "200,302")])
def test_expect_is_kept_as_text(value: object, kept: str) -> None:
    assert HealthCheck.model_validate({"expect": value}).expect == kept


@pytest.mark.parametrize(
    "values",
    [
        {"expect": True},
        {"expect": [200]},
        {"interval": 0},
        {"timeout": 0},
        {"fast_interval": "2h"},
        {"rise": 0},
        {"fall": 101},
        {"path": "health.php"},
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
        {"host": "a\r\nX: y"},
        {"method": "POST"},
        {"http_check": ["expect status 99"]},
        {"http_check": "expect status 200"},
        {"http_check": [200]},
        {"http_check": ["expect binary 00"]},
        {"http_check": ["expect string x" * 400]},
        {"http_check": ["connect"] * 65},
        {"tcp_check": ["expect status 200"]},
        {"tcp_check": ["send"]},
        {"disable_on_404": "yes"},
        {"agent": {}},
        {"agent": {"port": 0}},
        {"agent": {"port": 65_536}},
        {"agent": {"port": 1, "send": "x" * 1_025}},
        {"agent": {"port": 1, "host": "a b"}},
    ],
)
def test_bounds(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HealthCheck.model_validate(values)


@pytest.mark.parametrize(
    ("key", "line", "problem"),
    [
        ("http_check", "disable-on-404", "set `disable_on_404: true` instead"),
        ("http_check", "expect rstring (", "is no http-check rule: '(' is no regular expression"),
        ("tcp_check", "expect hdr name a", "is no tcp-check rule: expect has 'hdr'; it takes str"),
        ("tcp_check", "send-binary 0", "is not an even number of hexadecimal digits"),
        ("tcp_check", "connect ssl", "connect has 'ssl'; it takes default, addr, port, comment"),
    ],
)
def test_a_rule_that_is_none_is_told_why(key: str, line: str, problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HealthCheck.model_validate({key: [line]})
    assert problem in str(refused.value)


def test_rules_are_kept_as_they_are_written() -> None:
    lines = ['send meth GET uri / hdr Host "a b"', "expect ! string 'x y'"]
    assert HealthCheck.model_validate({"http_check": lines}).http_check == lines
