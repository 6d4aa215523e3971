"""ext.hashes: HAProxy's functions against others' and against their definitions.

That they are HAProxy's to the bit is tested with its choices, in test_keyed.py.
"""

import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ext.hashes import FUNCTIONS, avalanche_for_test, hash_for_test, ring_seed

WORD = 2**32


@given(st.binary(max_size=80))
def test_crc32_is_that_of_ethernet(key: bytes) -> None:
    assert hash_for_test("crc32", key) == zlib.crc32(key)


@given(st.binary(max_size=80))
def test_sdbm_and_djb2_are_sums_of_powers(key: bytes) -> None:
    sdbm, djb2 = 0, 5381
    for byte in key:
        sdbm = (sdbm * 65_599 + byte) % WORD
        djb2 = (djb2 * 33 + byte) % WORD
    assert hash_for_test("sdbm", key) == sdbm
    assert hash_for_test("djb2", key) == djb2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_of_nothing(function: str) -> None:
    start = {"sdbm": 0, "djb2": 5381, "crc32": 0, "wt6": 0xA53C965A ^ 0x5CA6953A}
    assert hash_for_test(function, b"") == start[function]


def test_avalanche_keeps_numbers_apart_and_spreads_neighbours() -> None:
    numbers = [avalanche_for_test(number) for number in range(20_000)]
    assert len(set(numbers)) == 20_000
    eighths = Counter(number >> 29 for number in numbers)
    assert max(eighths.values()) < 1.1 * 20_000 / 8
    assert min(eighths.values()) > 0.9 * 20_000 / 8


def test_seeds_of_names_differ() -> None:
    assert len({ring_seed(f"node{number}".encode()) for number in range(1000)}) == 1000
