"""ext.extents: runs of units against a set of numbers, and what the theory promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.extents import ExtentsForTest

BLOCK_MAX = 8192
Run = tuple[int, int]


def longest_free(free: set[int]) -> int:
    """The longest run of numbers that follow each other."""
    longest = length = 0
    for number in sorted(free):
        length = length + 1 if number - 1 in free and length else 1
        longest = max(longest, length)
    return longest


def check(extents: ExtentsForTest, free: set[int]) -> None:
    """The allocator and a set of numbers agree, and no two buddies are apart."""
    blocks = extents.blocks()
    units = [unit for start, size in blocks for unit in range(start, start + size)]
    assert len(units) == len(set(units))
    assert set(units) == free
    assert extents.free_count() == len(free)
    for start, size in blocks:
        assert start % size == 0
        assert size == BLOCK_MAX or (start ^ size, size) not in blocks


def test_fresh_memory_is_one_run() -> None:
    extents = ExtentsForTest(1000)
    assert [start for start, _ in extents.blocks()] == [0, 512, 768, 896, 960, 992]
    assert extents.take(1001, 1001) is None
    assert extents.take(1000, 1000) == (0, 1000)
    check(extents, set())
    assert extents.take(1, 1) is None


def test_a_run_is_as_long_as_wanted_and_the_rest_is_free() -> None:
    extents = ExtentsForTest(1024)
    assert extents.take(13, 13) == (0, 13)
    check(extents, set(range(13, 1024)))
    assert extents.take(2, 2) == (14, 2)  # the smallest block that has them
    assert extents.take(3, 3) == (16, 3)
    assert extents.take(16, 16) == (32, 16)
    check(extents, {13} | set(range(19, 32)) | set(range(48, 1024)))


def test_what_comes_back_is_one_block_again() -> None:
    extents = ExtentsForTest(BLOCK_MAX * 2)
    runs = [extents.take(n, n) for n in (1, 13, 700, 4096, 5)]
    for run in runs:
        assert run is not None
        extents.give(*run)
    assert extents.blocks() == [(0, BLOCK_MAX), (BLOCK_MAX, BLOCK_MAX)]


def test_pieces_that_lie_together_are_taken_together() -> None:
    """No block of 8 is free, but 7 units around one of 4 are."""
    extents = ExtentsForTest(64)
    assert extents.take(64, 64) == (0, 64)
    extents.give(9, 7)  # 9, 10-11, 12-15
    assert extents.take(8, 8) is None
    assert extents.take(8, 7) == (9, 7)


def test_smaller_pieces_are_taken_when_that_is_allowed() -> None:
    extents = ExtentsForTest(64)
    extents.take(64, 64)
    extents.give(3, 2)
    extents.give(40, 6)
    assert extents.take(32, 7) is None
    assert extents.take(32, 1) == (40, 6)
    assert extents.take(32, 1) == (3, 2)
    assert extents.take(1, 1) is None


@pytest.mark.parametrize(
    ("start", "want", "least", "got"),
    [
        (10, 5, 1, 5),
        (10, 100, 1, 20),  # free up to 30
        (10, 100, 21, 0),
        (9, 5, 1, 0),  # in use
        (30, 5, 1, 0),
        (29, 5, 1, 1),
        (64, 5, 1, 0),  # behind the end
        (5000, 5, 1, 0),
    ],
)
def test_a_run_can_be_taken_at_a_place(start: int, want: int, least: int, got: int) -> None:
    extents = ExtentsForTest(64)
    extents.take(64, 64)
    extents.give(10, 20)
    assert extents.take_at(start, want, least) == got
    check(extents, set(range(10, 30)) - set(range(start, start + got)))


def test_large_memory_is_found_from_end_to_end() -> None:
    """More than one word on each level of the summary: 2^20 units."""
    units = 1 << 20
    extents = ExtentsForTest(units)
    assert extents.take_at(0, units - 1, units - 1) == units - 1
    assert extents.take(1, 1) == (units - 1, 1)
    for place in (0, 63, 64, 4095, 4096, 262_143, 262_144, units - 2):
        extents.give(place, 1)
        assert extents.take(1, 1) == (place, 1)


@settings(max_examples=60, deadline=None)
@given(
    units=st.integers(1, 3000),
    steps=st.lists(
        st.tuples(st.sampled_from("tttaagg"), st.integers(0, 10**6), st.integers(1, 600)),
        max_size=60,
    ),
)
def test_as_a_set_of_numbers(units: int, steps: list[tuple[str, int, int]]) -> None:
    extents = ExtentsForTest(units)
    free = set(range(units))
    held: list[Run] = []
    for what, number, want in steps:
        if what == "t":
            least = 1 + number % want
            run = extents.take(want, least)
            if run is None:
                assert least > 1 or not free
                assert longest_free(free) < 2 * least * 5, "a run twice as long would be found"
                continue
        elif what == "a":
            start = number % units
            run = start, extents.take_at(start, want, 1)
            assert (run[1] == 0) == (start not in free)
            assert run[1] == want or start + run[1] not in free
            if run[1] == 0:
                continue
        elif held:
            start, count = held.pop(number % len(held))
            if count > 1:  # give a part back, as a fill does at its end
                kept = number % count
                if kept:
                    held.append((start, kept))
                start, count = start + kept, count - kept
            extents.give(start, count)
            free |= set(range(start, start + count))
            continue
        else:
            continue
        taken = set(range(run[0], run[0] + run[1]))
        assert 1 <= run[1] <= want
        assert taken <= free
        free -= taken
        held.append(run)
    check(extents, free)
