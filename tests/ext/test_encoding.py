"""ext.encoding: Accept-Encoding reduced to one coding."""

from __future__ import annotations

import pytest

from ext.encoding import encoding_for_test
from tests.ext.heads import get


def coding(*lines: str) -> str | None:
    return encoding_for_test(get(*lines))


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        ("gzip, deflate, br", "br"),
        ("br, gzip", "br"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),  # RFC 9110 §8.4.1.3
        ("BR", "br"),
        ("gzip;q=0.001", "gzip"),
        ("br;q=0.1, gzip;q=1", "br"),  # weights do not rank: fewer variants
        ("deflate", None),
        ("identity", None),
        ("*", None),
        ("", None),
        (" , ,", None),
        ("brotli", None),
        ("gzipped, bro, b, x-br, xgzip", None),
        ("sbr", None),
        ("\tgzip\t", "gzip"),
        (",gzip,", "gzip"),
        ("gzip ;q=1", "gzip"),
        ("gzip; a=b; q=1", "gzip"),
    ],
)
def test_coding_of_the_request(value: str, chosen: str | None) -> None:
    assert coding(f"Accept-Encoding: {value}") == chosen


@pytest.mark.parametrize("weight", ["q=0", "q=0.", "q=0.000", "Q=0", " q=0 ", "a=b;q=0", ";;q=0"])
def test_rfc9110_12_4_2_weight_of_zero_refuses_the_coding(weight: str) -> None:
    assert coding(f"Accept-Encoding: gzip;{weight}") is None
    assert coding(f"Accept-Encoding: br;{weight}, gzip") == "gzip"


@pytest.mark.parametrize("weight", ["q=0.1", "q=1", "q=00.5", "aq=0", "q0", "q=", "q"])
def test_what_is_no_weight_of_zero_does_not_refuse(weight: str) -> None:
    assert coding(f"Accept-Encoding: gzip;{weight}") == "gzip"


def test_rfc9110_5_3_several_fields_are_one_list() -> None:
    assert coding("Accept-Encoding: gzip", "A: 1", "accept-encoding: br") == "br"
    assert coding("Accept-Encoding: br", "Accept-Encoding: gzip") == "br"


def test_no_field_is_no_coding() -> None:
    assert coding("X-Accept-Encoding: gzip") is None
