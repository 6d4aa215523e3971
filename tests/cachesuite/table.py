"""The README's table of results: edge beside other caches, in both versions of the suite.

scores.json holds the counts. `python -m tests.cachesuite --write-readme` measures edge and writes
both; tests hold the README to scores.json, and the rows of edge to what edge is expected to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.cachesuite.suite import HERE, KINDS, ROOT, VERSION, Suite, Verdict

SCORES = HERE / "scores.json"
README = ROOT / "README.md"
START = "<!-- cache-suite: written by `python -m tests.cachesuite --write-readme` -->"
END = "<!-- /cache-suite -->"
# Whatever a clone of the suite's repository holds: it has not got a version since 0.4.5.
NEWER = "July 2026"
EDGE_ROWS = {"rfc9111": "edge, `policy: rfc9111`", "fastly": "edge, `policy: fastly`"}

Scores = dict[str, Any]


def count(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Kind -> how many tests of it end well."""
    good = dict.fromkeys(KINDS, 0)
    for verdict in verdicts:
        good[verdict.kind] += verdict.is_good
    return good


def label_of(suite: Suite) -> str:
    """The table's name for a suite."""
    return VERSION if suite.is_pinned else NEWER


def load_scores(path: Path = SCORES) -> Scores:
    """`suites`: suite -> kind -> how many; `caches`: cache -> suite -> [required, optimal]."""
    scores: Scores = json.loads(path.read_text())
    return scores


def save_scores(scores: Scores, path: Path = SCORES) -> None:
    """Writes the file as it is read."""
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in scores["caches"].items()]
    caches = ",\n".join(lines)
    path.write_text(
        f'{{\n "suites": {json.dumps(scores["suites"])},\n "caches": {{\n{caches}\n }}\n}}\n'
    )


def note(scores: Scores, suite: str, results: Mapping[str, Iterable[Verdict]]) -> None:
    """Puts the counts of edge under each policy into `scores`."""
    for policy, verdicts in results.items():
        counts = count(verdicts)
        row = scores["caches"].setdefault(EDGE_ROWS[policy], {})
        row[suite] = [counts["required"], counts["optimal"]]


def render(scores: Scores) -> str:
    """The table, in the order of the file."""
    columns = [(suite, place) for suite in scores["suites"] for place in (0, 1)]
    heads = [f"{KINDS[place]}, {suite}" for suite, place in columns]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    rows = {"tests": scores["suites"]} | scores["caches"]
    for name, row in rows.items():
        cells = [str(row[suite][place]) if suite in row else "" for suite, place in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def insert(text: str, table: str) -> str:
    """The README's text with the table between its markers; ValueError without them."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the README lacks {START} or {END}")
    return f"{before}{START}\n\n{table}\n\n{END}{after}"
