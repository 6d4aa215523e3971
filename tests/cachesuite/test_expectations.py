"""Comparing what a cache did with what is expected of it, on a small list of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cachesuite.expectations import (
    Fastly,
    Rfc9111,
    differences,
    gaps_fastly,
    gaps_rfc9111,
    load_fastly,
    load_rfc9111,
    save_fastly,
    save_rfc9111,
)
from tests.cachesuite.suite import Verdict


def verdict(test: str, kind: str, word: str) -> Verdict:
    return Verdict(test, "chapter", "name", kind, word, "seen: this" if word == "fail" else "")


RUN = [
    verdict("must", "required", "pass"),
    verdict("cannot", "required", "fail"),
    verdict("reuses", "optimal", "pass"),
    verdict("depends", "optimal", "dependency"),
    verdict("does", "check", "yes"),
    verdict("does-not", "check", "no"),
]
EXPECTED = Rfc9111(
    {"required": ["must"], "optimal": ["reuses"], "check": ["does"]},
    {"cannot": "the RFC says otherwise", "depends": "builds on the one before"},
)


def test_no_differences() -> None:
    assert differences(EXPECTED.good_ids(), RUN) == []


def test_differences_in_both_directions() -> None:
    assert differences({"must", "cannot", "reuses"}, RUN) == [
        "required cannot: fail: seen: this",
        "check does: yes, which no file expects",
    ]


def test_measured_becomes_expected() -> None:
    assert Rfc9111.of(RUN, EXPECTED.reasons | {"must": "old"}) == EXPECTED
    assert Rfc9111.of(RUN, {}).reasons == {"cannot": "", "depends": ""}


def test_gaps_rfc9111() -> None:
    assert list(gaps_rfc9111(EXPECTED, RUN)) == []


@pytest.mark.parametrize(
    ("good", "reasons", "gap"),
    [
        (EXPECTED.good | {"check": ["must"]}, EXPECTED.reasons, "must is not a check test"),
        (EXPECTED.good, {"cannot": "x", "depends": ""}, "depends is neither expected to pass"),
        (EXPECTED.good, EXPECTED.reasons | {"must": "x"}, "must has a reason and needs none"),
        (EXPECTED.good, EXPECTED.reasons | {"does": "x"}, "does has a reason and needs none"),
        (EXPECTED.good, EXPECTED.reasons | {"new": "x"}, "new is not a test"),
    ],
)
def test_gaps_rfc9111_are_found(
    good: dict[str, list[str]], reasons: dict[str, str], gap: str
) -> None:
    found = list(gaps_rfc9111(Rfc9111(good, reasons), RUN))
    assert any(line.startswith(gap) for line in found), found


PUBLISHED = [
    verdict("must", "required", "fail"),
    verdict("cannot", "required", "pass"),
    verdict("reuses", "optimal", "pass"),
    verdict("depends", "optimal", "retry"),
    verdict("does", "check", "yes"),
    verdict("does-not", "check", "setup"),
]
PARTS = Fastly({"must": "documented otherwise"}, {"cannot": "not documented"})


def test_fastly_differences_are_against_what_is_published() -> None:
    assert PARTS.good_ids(PUBLISHED) == {"must", "reuses", "does"}
    assert differences(PARTS.good_ids(PUBLISHED), RUN) == []
    reasons = PARTS.edge_alone | PARTS.fastly_alone
    assert Fastly.of(RUN, PUBLISHED, reasons) == PARTS
    assert Fastly.of(RUN, PUBLISHED, {}) == Fastly({"must": ""}, {"cannot": ""})


@pytest.mark.parametrize(
    ("parts", "gap"),
    [
        (Fastly({"must": ""}, {}), "must has no reason"),
        (Fastly({"reuses": "x"}, {}), "reuses: Fastly's result is another"),
        (Fastly({}, {"must": "x"}), "must: Fastly's result is another"),
        (Fastly({}, {"new": "x"}), "new is not a test"),
    ],
)
def test_gaps_fastly_are_found(parts: Fastly, gap: str) -> None:
    assert list(gaps_fastly(parts, PUBLISHED)) == [gap]
    assert list(gaps_fastly(PARTS, PUBLISHED)) == []


def test_files_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    save_rfc9111(EXPECTED, path)
    assert load_rfc9111(path) == EXPECTED
    save_fastly(PARTS, path)
    assert load_fastly(path) == PARTS
    path.write_text(path.read_text().replace('"suite": "', '"suite": "9'))
    with pytest.raises(AssertionError, match="is for 9"):
        load_fastly(path)
