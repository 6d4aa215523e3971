"""The cache as a whole, at random, against a simple model: some seconds of tests/fuzz/fuzz_cache.

What is done is decided by the seed, which the report of a violation names; EDGE_FUZZ_SEED takes
another. Longer runs, each with a seed of its own: `python -m tests.fuzz.fuzz_cache --seconds 600`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.fuzz_cache import Fuzz

pytestmark = pytest.mark.wire

SECONDS = 3.0
SEED = int(os.environ.get("EDGE_FUZZ_SEED") or 1)


@pytest.mark.parametrize("site", ["fastly", "shielded", "rfc9111"])
def test_no_answer_is_wrong(site: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    fuzz = Fuzz(site, SEED)
    fuzz.run(SECONDS, tmp_path)
    # A run in which nothing happens finds nothing.
    assert fuzz.counts["200"] > 10, fuzz.counts
    assert fuzz.counts["good"] > 10, fuzz.counts
    assert fuzz.counts["purge"] > 0, fuzz.counts
