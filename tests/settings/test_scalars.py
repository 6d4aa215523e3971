"""edge.settings.scalars: what each form accepts, keeps and refuses."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge.settings.scalars import (
    Count,
    Duration,
    Form,
    Size,
    Text,
    duration_text,
    parse_duration,
    parse_size,
    shown,
    size_text,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("3ms", 0.003),
        ("250us", 0.00025),
        ("2s", 2.0),
        ("1.5m", 90.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        (2, 2.0),
        (0.25, 0.25),
    ],
)
def test_durations_are_seconds(written: object, seconds: float) -> None:
    parsed = parse_duration(written)
    assert parsed == seconds
    assert isinstance(parsed, float)


@pytest.mark.parametrize(
    "written", ["", "2", "2 s", "s", "-1s", "1m30s", "2S", "1e3s", "٣s", "2s\n", True, [], None]
)
def test_what_is_no_duration_is_told_the_forms(written: object) -> None:
    with pytest.raises(ValueError, match="500ms, 2s or 1m, not"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [("16KiB", 16384), ("256MiB", 2**28), ("2GiB", 2**31), ("1TiB", 2**40), ("7B", 7), (9, 9)],
)
def test_sizes_are_bytes(written: object, size_bytes: int) -> None:
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize("written", ["16", "16KB", "16k", "1.5MiB", "-1KiB", 1.5, True, {}, None])
def test_what_is_no_size_is_told_the_forms(written: object) -> None:
    with pytest.raises(ValueError, match="16KiB, 256MiB or 2GiB, not"):
        parse_size(written)


@given(st.integers(1, 10**10))
def test_texts_are_read_back(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds / 1000)) == milliseconds / 1000
    assert parse_size(size_text(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        (duration_text(0), "0s"),
        (duration_text(0.5), "500ms"),
        (duration_text(90), "90s"),
        (duration_text(3600), "1h"),
        (size_text(0), "0B"),
        (size_text(16384), "16KiB"),
        (size_text(1000), "1000B"),
    ],
)
def test_texts_are_the_shortest(text: str, shortest: str) -> None:
    assert text == shortest


@pytest.mark.parametrize(
    ("form", "least", "most", "below", "above", "bounds"),
    [
        (Duration(0.001, 60), "1ms", 60, 0, "61s", "from 1ms to 1m"),
        (Size(1024, 2**20), "1KiB", "1MiB", "1023B", 2**20 + 1, "from 1KiB to 1MiB"),
        (Count(0, 256, "shares"), 0, 256, -1, 257, "whole number from 0 to 256 (shares)"),
    ],
)
def test_bounds_belong_to_the_range_and_are_named(
    form: Form, least: object, most: object, below: object, above: object, bounds: str
) -> None:
    form.parse(least)
    form.parse(most)
    for outside in (below, above):
        with pytest.raises(ValueError) as refusal:
            form.parse(outside)
        assert bounds in str(refusal.value)
        assert str(refusal.value).endswith(f"not {shown(outside)}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_duration_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="must be from"):
        Duration(0, 60).parse(value)


@pytest.mark.parametrize("value", [True, 1.0, "1", []])
def test_a_count_is_an_integer_and_no_boolean(value: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Count(0, 10, "rows").parse(value)


def test_text_matches_as_a_whole_and_hides_secrets() -> None:
    assert Text("[A-Z]{3}", "three letters").parse("FRA") == "FRA"
    with pytest.raises(ValueError, match=r"must be three letters, not 'FRAX'$"):
        Text("[A-Z]{3}", "three letters").parse("FRAX")
    with pytest.raises(ValueError, match=r"must be short \(put it in quotes to make it text\)$"):
        Text("[a-z]", "short", secret=True).parse(12345)
    with pytest.raises(ValueError, match=r"must be short$"):
        Text("[a-z]", "short", secret=True).parse("hunter2")


def test_null_is_for_the_annotation_to_judge() -> None:
    assert TypeAdapter(Annotated[float | None, Duration(1, 2)]).validate_python(None) is None
    with pytest.raises(ValidationError):
        TypeAdapter(Annotated[float, Duration(1, 2)]).validate_python(None)


def test_the_schema_lists_the_forms() -> None:
    optional = TypeAdapter(Annotated[float | None, Duration(1, 2)]).json_schema()
    assert [form["type"] for form in optional["anyOf"]] == ["number", "string", "null"]
    assert (optional["anyOf"][0]["minimum"], optional["anyOf"][0]["maximum"]) == (1, 2)
    count = TypeAdapter(Annotated[int, Count(1, 64, "processes")]).json_schema()
    assert count == {"type": "integer", "minimum": 1, "maximum": 64, "x-unit": "processes"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (8080, "8080"),
        ("x", "'x'"),
        ("x" * 100, "'" + "x" * 60 + "...'"),
        ([1], "a list"),
        ({}, "a mapping"),
    ],
)
def test_values_are_shown_short(value: object, text: str) -> None:
    assert shown(value) == text
