"""edge.settings.cdn: Fastly's platform limits; their defaults are in test_root.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge.settings import Cdn
from edge.settings.cdn import CdnLimits


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, True),
        ({"policy": "rfc9111"}, False),
        ({"limits": {"platform": False}}, False),
        ({"policy": "rfc9111", "limits": {"platform": True}}, True),
        ({"limits": {"url": 0}}, True),
    ],
)
def test_platform_limits_hold_as_the_policy_says_unless_told(
    values: dict[str, Any], kept: bool
) -> None:
    assert Cdn.model_validate(values).keeps_platform_limits is kept


def test_limits_can_be_taken_away_one_by_one() -> None:
    keys = ("url", "cookie", "response_header", "response_header_count")
    limits = CdnLimits.model_validate(dict.fromkeys(keys, 0))
    assert (limits.url_bytes, limits.cookie_bytes) == (0, 0)
    assert (limits.response_header_bytes, limits.response_header_count) == (0, 0)


def test_url_limit_is_reached_before_that_of_the_request_line() -> None:
    """Else a long URL would be a long line."""
    limits = CdnLimits()
    assert len("GET ") + limits.url_bytes + len(" HTTP/1.1") < limits.request_line_bytes


@pytest.mark.parametrize(
    "values",
    [
        {"header": "73729B"},
        {"header": 0},
        {"header_count": 257},
        {"header_count": 0},
        {"url": "65537B"},
        {"cookie": -1},
        {"response_header_count": 257},
        {"response_header": "1MiB"},
        {"platform": "fastly"},
    ],
    ids=str,
)
def test_unfit_limits_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CdnLimits.model_validate(values)
