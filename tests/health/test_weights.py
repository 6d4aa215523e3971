"""edge.health.weights: numbers as text. Weights: tests/control/haproxy/test_changes.py, too."""

import pytest

from edge.health.weights import parse_maxconn, parse_weight


def test_a_percentage_is_of_the_files_weight() -> None:
    assert [parse_weight(text, 30) for text in ("50%", "7", "0%", "1000%")] == [15, 7, 0, 256]


@pytest.mark.parametrize(("text", "maxconn"), [("30", 30), ("0", 0), ("-3", 0), ("+4", 4)])
def test_maxconn(text: str, maxconn: int) -> None:
    assert parse_maxconn(text) == maxconn


@pytest.mark.parametrize("text", ["", "x", "3x", "30%"])
def test_what_is_no_maxconn(text: str) -> None:
    with pytest.raises(ValueError, match="maxconn"):
        parse_maxconn(text)
