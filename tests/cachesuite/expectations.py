"""What edge is expected to do in each test of the suite, and why it is not more.

rfc9111.json names the tests that pass, and for every other one that the suite calls required or
optimal the reason why it does not. fastly.json is measured against Fastly itself: it names the
tests in which edge and Fastly's published results part, with the reason. Both say all there is to
say about the pinned version, so that a test that begins to pass is a finding as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cachesuite.suite import HERE, KINDS, VERSION, Verdict


@dataclass(frozen=True)
class Rfc9111:
    """The tests that must end well, by kind, and the reasons for those that cannot."""

    good: dict[str, list[str]]  # `check`: those that are answered with yes
    reasons: dict[
        str, str
    ]  # of required and optimal tests only: a check is neither right nor wrong

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], reasons: dict[str, str]) -> Rfc9111:
        """What was measured, with the reasons that are known; "" where there is none."""
        good: dict[str, list[str]] = {kind: [] for kind in KINDS}
        bad = []
        for verdict in verdicts:
            if verdict.is_good:
                good[verdict.kind].append(verdict.id)
            elif verdict.kind != "check":
                bad.append(verdict.id)
        return cls(good, {test: reasons.get(test, "") for test in bad})

    def good_ids(self) -> set[str]:
        """All of `good`."""
        return {test for tests in self.good.values() for test in tests}


@dataclass(frozen=True)
class Fastly:
    """Where edge and Fastly differ: test -> reason."""

    edge_alone: dict[str, str]  # ends well at edge only
    fastly_alone: dict[str, str]  # ends well at Fastly only

    @classmethod
    def of(
        cls, verdicts: Iterable[Verdict], published: Iterable[Verdict], reasons: dict[str, str]
    ) -> Fastly:
        """What was measured, with the reasons that are known; "" where there is none."""
        at_edge = {verdict.id for verdict in verdicts if verdict.is_good}
        at_fastly = {verdict.id for verdict in published if verdict.is_good}
        edge_alone, fastly_alone = sorted(at_edge - at_fastly), sorted(at_fastly - at_edge)
        return cls(
            {test: reasons.get(test, "") for test in edge_alone},
            {test: reasons.get(test, "") for test in fastly_alone},
        )

    def good_ids(self, published: Iterable[Verdict]) -> set[str]:
        """The tests that must end well, given what Fastly does."""
        at_fastly = {verdict.id for verdict in published if verdict.is_good}
        return (at_fastly | set(self.edge_alone)) - set(self.fastly_alone)


def load_rfc9111(path: Path = HERE / "rfc9111.json") -> Rfc9111:
    """The file, for the pinned version of the suite."""
    document = json.loads(path.read_text())
    assert document["suite"] == VERSION, f"{path} is for {document['suite']}, not {VERSION}"
    return Rfc9111({kind: document["good"][kind] for kind in KINDS}, document["reasons"])


def load_fastly(path: Path = HERE / "fastly.json") -> Fastly:
    """The file, for the pinned version of the suite."""
    document = json.loads(path.read_text())
    assert document["suite"] == VERSION, f"{path} is for {document['suite']}, not {VERSION}"
    return Fastly(document["edge_alone"], document["fastly_alone"])


def save_rfc9111(expected: Rfc9111, path: Path = HERE / "rfc9111.json") -> None:
    """Writes the file as load_rfc9111 reads it."""
    write(path, {"suite": VERSION, "good": expected.good, "reasons": expected.reasons})


def save_fastly(expected: Fastly, path: Path = HERE / "fastly.json") -> None:
    """Writes the file as load_fastly reads it."""
    write(path, {"suite": VERSION, **asdict(expected)})


def write(path: Path, document: dict[str, Any]) -> None:
    """One line for each test, so that a change shows as what it is."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def differences(expected: set[str], verdicts: Iterable[Verdict]) -> list[str]:
    """One line for each test whose end is not the expected one."""
    lines = []
    for verdict in verdicts:
        if verdict.is_good and verdict.id not in expected:
            lines.append(f"{verdict.kind} {verdict.id}: {verdict.word}, which no file expects")
        elif not verdict.is_good and verdict.id in expected:
            lines.append(f"{verdict.kind} {verdict.id}: {verdict.word}: {verdict.detail}")
    return lines


def gaps_rfc9111(expected: Rfc9111, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What the file says wrongly about the suite's own list of tests."""
    kinds = {verdict.id: verdict.kind for verdict in verdicts}
    for kind, tests in expected.good.items():
        yield from (f"{test} is not a {kind} test" for test in tests if kinds.get(test) != kind)
    for test, kind in kinds.items():
        needs_reason = kind != "check" and test not in expected.good[kind]
        if needs_reason and not expected.reasons.get(test):
            yield f"{test} is neither expected to pass nor has it a reason"
        elif not needs_reason and test in expected.reasons:
            yield f"{test} has a reason and needs none"
    yield from (f"{test} is not a test" for test in expected.reasons if test not in kinds)


def gaps_fastly(expected: Fastly, published: Iterable[Verdict]) -> Iterator[str]:
    """The same, about Fastly's published results."""
    is_good = {verdict.id: verdict.is_good for verdict in published}
    for test, reason in (expected.edge_alone | expected.fastly_alone).items():
        if test not in is_good:
            yield f"{test} is not a test"
        elif is_good[test] != (test in expected.fastly_alone):
            yield f"{test}: Fastly's result is another"
        elif not reason:
            yield f"{test} has no reason"
