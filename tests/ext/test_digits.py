"""ext.digits: numbers as Content-Length and chunk sizes carry them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ext.digits import decimal_for_test, hex_for_test

EDGES = [0, 1, 9, 10, 15, 16, 99, 100, 255, 256, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]


@pytest.mark.parametrize("number", EDGES)
def test_edges(number: int) -> None:
    assert decimal_for_test(number) == b"%d" % number
    assert hex_for_test(number) == b"%x" % number


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1))
def test_any_number(number: int) -> None:
    assert decimal_for_test(number) == b"%d" % number
    assert hex_for_test(number) == b"%x" % number
