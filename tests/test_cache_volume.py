"""loadtests.cache_volume: a small volume through the whole program, and the bars."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ext.store import Store
from ext.store_for_test import StoreForTest
from loadtests import cache_volume, volume_wire
from loadtests.cache_volume import (
    FILLER_ROW,
    SURROGATE_KEY,
    count_found,
    fill,
    judge,
    make_ask,
    measure_store,
    report,
)
from loadtests.pauses import Longest
from loadtests.volume_wire import BODY_BYTES, Result, Volume, body_of_path, check_answer, is_whole

SIZE_BYTES = 8 * 2**20
VOLUME = Volume(2000, 400)
KEPT = Result(1000, 200, 1500.0, 199.0, 4.0, 4.5, Longest(0.02, 0.01), Longest(0.009, 0.0009))


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.create(SIZE_BYTES, -1)
    yield made
    os.close(made.fd)


def filled(store: Store) -> StoreForTest:
    filler = StoreForTest(store.fd, -1, FILLER_ROW)
    assert fill(filler, VOLUME) > 2000 * 1300
    return filler


@pytest.mark.wire
def test_measure_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens; how long it takes is another machine's matter."""
    monkeypatch.setattr(cache_volume, "BASELINE_S", 0.05)
    result = measure_store(VOLUME, SIZE_BYTES)
    assert (result.objects, result.purged) == (2000, 400)
    assert result.bytes_per_object > 1400
    assert result.index_bytes is not None
    assert result.index_bytes > 100


@pytest.mark.wire
@pytest.mark.external
def test_measure_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through edge: every object is fetched once, and once more when it was purged."""
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    monkeypatch.setattr(volume_wire, "BASELINE_S", 0.05)
    result = volume_wire.measure_wire(Volume(300, 60))
    assert (result.objects, result.purged) == (300, 60)
    assert result.bytes_per_object > BODY_BYTES
    assert result.purge_ms > 0


def test_objects_that_are_lost_or_mixed_up_are_found_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = filled(store)
    assert count_found(filler, range(2000)) == 2000
    store.purge_keys([SURROGATE_KEY], False)
    assert count_found(filler, VOLUME.tagged_numbers) == 0
    assert count_found(filler, VOLUME.plain_numbers) == 1600
    ask = make_ask(store, VOLUME)
    for count in range(2000):
        ask(count)
    store.purge_all()
    with pytest.raises(RuntimeError, match="is gone, but was not purged"):
        for count in range(2000):
            ask(count)
    fill(filler, VOLUME)
    monkeypatch.setattr(cache_volume, "body_of", lambda number: b"other")
    with pytest.raises(RuntimeError, match="object 0 has another body"):
        count_found(filler, range(1))


def test_a_store_that_is_too_small_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"objects found: \d+, expected 20000"):
        measure_store(Volume(20_000, 100), SIZE_BYTES)


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, None),
        ({"index_bytes": 201.0}, "index_bytes"),
        ({"purge_ms": 5.1}, "purge_ms"),
        ({"purging": Longest(0.0, 0.0011)}, "pause_ms"),
        ({"back_s": 5.1}, "back_s"),
    ],
)
def test_judge(change: dict[str, object], missed: str | None) -> None:
    verdicts = judge(replace(KEPT, **change), False)  # type: ignore[arg-type]
    assert [line.split(":")[0] for line, kept in verdicts if not kept] == [missed] * bool(missed)
    assert len(verdicts) == 4


def test_judge_of_the_wire_knows_no_index_and_no_pause() -> None:
    verdicts = judge(replace(KEPT, index_bytes=None, purging=Longest(9.0, 9.0)), True)
    assert [line.split(":")[0] for line, _ in verdicts] == ["purge_ms", "back_s"]


def test_report() -> None:
    text = report(KEPT)
    assert "1000 objects, 1500 bytes of memory each" in text
    assert "of it 199 bytes of index" in text
    assert "of it" not in report(replace(KEPT, index_bytes=None))


def test_volume_paths() -> None:
    volume = Volume(10_000, 5_000)
    assert volume.path(4_999) == "/tagged/4999"
    assert volume.path(5_000) == "/plain/5000"
    sample = list(volume.paths(volume.plain_numbers))
    assert len(set(sample)) == len(sample) == 2500
    assert all(path.startswith("/plain/") for path in sample)


def test_answers_are_checked() -> None:
    body = body_of_path("/plain/7")
    assert len(body) == BODY_BYTES
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + body
    check_answer(whole, "/plain/7")
    assert is_whole(whole)
    assert not is_whole(whole[:-1])
    for wrong in (whole.replace(b"/7", b"/8"), whole.replace(b"200", b"503"), whole + b"."):
        with pytest.raises(RuntimeError, match="/plain/7: "):
            check_answer(wrong, "/plain/7")
