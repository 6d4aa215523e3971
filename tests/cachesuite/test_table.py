"""The README's table of results is the one that scores.json makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cachesuite.suite import Verdict
from tests.cachesuite.table import (
    END,
    README,
    START,
    Scores,
    count,
    insert,
    load_scores,
    note,
    render,
    save_scores,
)

SCORES: Scores = {
    "suites": {"old": [3, 2], "new": [4, 1]},
    "caches": {"edge, `policy: fastly`": {"old": [0, 0]}, "peer": {"new": [1, 0]}},
}
TABLE = """\
| | required, old | optimal, old | required, new | optimal, new |
|---|---:|---:|---:|---:|
| tests | 3 | 2 | 4 | 1 |
| edge, `policy: fastly` | 2 | 1 |  |  |
| peer |  |  | 1 | 0 |"""


def test_table(tmp_path: Path) -> None:
    words = {"required": ("pass", "pass", "setup"), "optimal": ("fail", "pass"), "check": ("yes",)}
    results = [
        Verdict(f"{kind}-{number}", "", "", kind, word, "")
        for kind, ends in words.items()
        for number, word in enumerate(ends)
    ]
    assert count(results) == {"required": 2, "optimal": 1, "check": 1}
    path = tmp_path / "scores.json"
    save_scores(SCORES, path)
    scores = load_scores(path)
    assert scores == SCORES
    note(scores, "old", {"fastly": results})
    assert render(scores) == TABLE


def test_insert_replaces_what_is_between_the_markers() -> None:
    text = f"before\n{START}\nold\n{END}\nafter\n"
    assert insert(text, "new") == f"before\n{START}\n\nnew\n\n{END}\nafter\n"
    assert insert(insert(text, "x"), "new") == insert(text, "new")
    with pytest.raises(ValueError, match="lacks"):
        insert("no markers", "new")


def test_readme_has_this_table() -> None:
    text = README.read_text()
    assert insert(text, render(load_scores())) == text
