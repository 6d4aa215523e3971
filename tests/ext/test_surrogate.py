"""ext.surrogate: the keys of an answer, and Fastly's limits."""

import pytest

from ext.limits import Limit
from ext.surrogate import surrogate_hash_for_test, surrogate_hashes_for_test

KEY_MAX, HEADER_MAX = int(Limit.SURROGATE_KEY_BYTES_MAX), int(Limit.SURROGATE_KEYS_BYTES_MAX)
LONGEST, TOO_LONG = b"k" * KEY_MAX, b"k" * (KEY_MAX + 1)
FULL = b"a " * (HEADER_MAX // 2)


def keys(*fields: bytes) -> list[int]:
    lines = b"".join(b"Surrogate-Key: " + field + b"\r\n" for field in fields)
    return surrogate_hashes_for_test(b"HTTP/1.1 200 OK\r\nX: y\r\n" + lines + b"\r\n")


def hashes(*names: bytes) -> list[int]:
    return [surrogate_hash_for_test(name) for name in names]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ([], []),
        ([b""], []),
        ([b"a"], [b"a"]),
        ([b"a b"], [b"a", b"b"]),
        ([b" a \t b  "], [b"a", b"b"]),
        ([b"a,b"], [b"a,b"]),  # only spaces separate
        ([b"A a"], [b"A", b"a"]),
        ([b"a", b"b c"], [b"a", b"b", b"c"]),
        ([b"a " + LONGEST + b" b"], [b"a", LONGEST, b"b"]),
        ([b"a " + TOO_LONG + b" b", b"c"], [b"a", b"c"]),
    ],
)
def test_keys_of_an_answer(fields: list[bytes], names: list[bytes]) -> None:
    assert keys(*fields) == hashes(*names)


def test_a_header_holds_so_much() -> None:
    assert len(keys(FULL[:-1])) == HEADER_MAX // 2
    assert len(keys(FULL + b"b c")) == HEADER_MAX // 2
    half = b"ab " * 3000
    left = HEADER_MAX - len(half.strip())
    assert len(keys(half, half)) == 3000 + (left + 1) // 3


def test_a_key_that_is_cut_at_the_end_is_none() -> None:
    """Or it would be purged as another one."""
    start = b"x" * (KEY_MAX - 1) + b" "
    room = HEADER_MAX - 15 * KEY_MAX
    assert keys(start * 15 + b"y" * room) == hashes(*[start[:-1]] * 15, b"y" * room)
    assert keys(start * 15 + b"y" * (room - 1) + b" z") == hashes(
        *[start[:-1]] * 15, b"y" * (room - 1)
    )
    assert keys(start * 15 + b" " + b"y" * room) == hashes(*[start[:-1]] * 15)


def test_no_key_has_the_hash_that_stands_for_none() -> None:
    assert 0 not in hashes(b"", b"a", *(b"%d" % i for i in range(1000)))
