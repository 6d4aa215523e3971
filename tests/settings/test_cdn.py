"""edge.settings.cdn: the keys of the cache; their defaults are in test_root.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge.settings import Cdn


@pytest.mark.parametrize(
    ("values", "compresses"),
    [
        ({}, True),
        ({"policy": "rfc9111"}, False),
        ({"compression": {"min_size": "1KiB"}}, True),
        ({"compression": {"enabled": False}}, False),
        ({"policy": "rfc9111", "compression": {"enabled": True}}, True),
    ],
)
def test_compression_follows_the_policy_unless_told(
    values: dict[str, Any], compresses: bool
) -> None:
    assert Cdn.model_validate(values).compresses is compresses


@pytest.mark.parametrize(
    "values",
    [
        {"hit_for_pass": -1},
        {"hit_for_pass": "366d"},
        {"pass_no_store": "yes"},
        {"max_stale_if_error": "1y"},
        {"heuristic": {"percent": 101}},
        {"heuristic": {"percent": 0.5}},
        {"heuristic": {"max": -1}},
        {"compression": {"formats": []}},
        {"compression": {"formats": ["deflate"]}},
        {"compression": {"min_size": -1}},
        {"compression": {"content_types": ["text/HTML"]}},
        {"compression": {"content_types": ["text/html; charset=utf-8"]}},
        {"compression": {"content_types": ["text"]}},
        {"compression": {"extensions": [".css"]}},
        {"service": {"id": "a_b"}},
        {"service": {"id": "A", "tokens": ["a b"]}},
    ],
)
def test_unfit_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Cdn.model_validate(values)
