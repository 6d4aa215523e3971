"""Replays the fuzz corpus, and shows that the fuzz loop runs and notices a difference."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import fuzz_http1
from tests.fuzz.fuzz_http1 import (
    CORPUS,
    Difference,
    check_input,
    fuzz,
    mutate,
    read_corpus,
    store,
)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: path.stem)
def test_corpus_file(path: Path) -> None:
    check_input(path.name.partition("-")[0], path.read_bytes())


def test_corpus_has_every_kind() -> None:
    assert all(len(seeds) >= 10 for seeds in read_corpus().values())


def test_mutate_is_repeatable_and_changes() -> None:
    seed = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    first = [mutate(random.Random(n), seed, [seed]) for n in range(50)]
    assert first == [mutate(random.Random(n), seed, [seed]) for n in range(50)]
    assert len(set(first)) > 40


def test_fuzz_loop_runs() -> None:
    assert fuzz(0.2, seed=1) > 10


def test_fuzz_loop_notices_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(kind: str, data: bytes) -> None:
        raise AssertionError(kind)

    monkeypatch.setattr(fuzz_http1, "check_input", differ)
    with pytest.raises(Difference) as raised:
        fuzz(5, seed=1)
    path = store(raised.value, tmp_path)
    assert path.read_bytes() == raised.value.data
    assert path.name.startswith(f"{raised.value.kind}-found-")
