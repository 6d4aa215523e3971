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
    ],
)
def test_bounds(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HealthCheck.model_validate(values)
