"""ext.deliver: a stored head as a 304 updates it (RFC 9111 §3.2)."""

from __future__ import annotations

import pytest

from ext.deliver import merged_for_test, stored_for_test
from ext.freshness import Policy
from tests.ext.heads import answer


def merged(
    stored: list[str], fresh: list[str], policy: Policy = Policy.RFC9111
) -> tuple[list[str], list[str]] | None:
    """The visible and the hidden lines; None: too long."""
    old = stored_for_test(answer(*stored, status=404))
    assert old is not None
    made = merged_for_test(old[0], answer(*fresh, status=304), policy)
    if made is None:
        return None
    head, visible = made
    assert head.endswith(b"\r\n\r\n")
    first, *shown = head[:visible].decode().split("\r\n")[:-1]
    assert first == "HTTP/1.1 404 x"
    return shown, head[visible:-2].decode().split("\r\n")[:-1]


def test_fields_of_the_304_replace_those_of_their_names() -> None:
    assert merged(
        ["A: 1", "Date: old", 'ETag: "x"', "a: 2", "B: 3"],
        ["Date: new", "A: 4", "C: 5", "A: 6"],
    ) == (['ETag: "x"', "B: 3", "Date: new", "A: 4", "C: 5", "A: 6"], [])


def test_names_are_compared_whole_and_in_any_case() -> None:
    stored = ["Date: d", "X-Own: 1", "X-Owl: 2", "X-Own-: 3", "X_Own: 4"]
    assert merged(stored, ["x-OWN: 5"]) == (
        ["Date: d", "X-Owl: 2", "X-Own-: 3", "X_Own: 4", "x-OWN: 5"], [],
    )  # fmt: skip


def test_signs_have_no_case() -> None:
    """The one pair of signs in tokens that differ as letters do."""
    stored = ["Date: d", "A^: 1"]
    assert merged(stored, ["A~: 2"]) == ([*stored, "A~: 2"], [])


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 0", "Content-Encoding: br", "Content-Range: bytes 0-1/2", "Trailer: x",
        "Connection: close", "Keep-Alive: 5", "Age: 9",
    ],
)  # fmt: skip
def test_what_describes_the_stored_bytes_or_the_connection_stays(line: str) -> None:
    stored = ["Date: d", "Content-Encoding: gzip", "Content-Range: bytes 0-3/4"]
    assert merged(stored, [line]) == (stored, [])


def test_field_named_by_connection_updates_nothing() -> None:
    assert merged(["Date: d", "A: 1"], ["Connection: a", "A: 2"]) == (["Date: d", "A: 1"], [])


def test_hidden_fields_are_replaced_and_stay_hidden() -> None:
    stored = ["Date: d", "Via: 1.1 x", "X-Cache: MISS", "Surrogate-Key: a", "Surrogate-Control: b"]
    assert merged(stored, ["Surrogate-Key: c", "X-Cache: HIT"]) == (
        ["Date: d"],
        ["Via: 1.1 x", "X-Cache: HIT", "Surrogate-Control: b", "Surrogate-Key: c"],
    )


def test_304_without_fields_changes_nothing() -> None:
    stored = ["A: 1", "Date: d", "Via: 1.1 x", "Surrogate-Key: a"]
    assert merged(stored, []) == (["A: 1", "Date: d"], ["Via: 1.1 x", "Surrogate-Key: a"])


def test_policy_fastly_changes_nothing() -> None:
    stored = ["A: 1", "Date: d", "Via: 1.1 x"]
    fresh = ["A: 2", "Date: e", "B: 3", "Via: 1.1 y"]
    assert merged(stored, fresh, Policy.FASTLY) == (["A: 1", "Date: d"], ["Via: 1.1 x"])


def test_merged_again_is_the_same() -> None:
    stored = ["A: 1", "Date: d", "Via: 1.1 x", "Surrogate-Key: a"]
    fresh = ["B: 2", "Surrogate-Key: b"]
    once = merged(stored, fresh)
    assert once is not None
    assert merged([*once[0], *once[1]], fresh) == once


def test_head_that_could_not_be_read_again_is_not_made() -> None:
    """FIELDS_MAX is 256, HEAD_BYTES_MAX 73,728."""
    stored = ["Date: d", *[f"A{i}: 1" for i in range(200)]]
    assert merged(stored, [f"B{i}: 1" for i in range(56)]) is None
    assert merged(stored, [f"B{i}: 1" for i in range(55)]) is not None
    assert merged(stored, [f"A{i}: 1" for i in range(56)]) is not None
    assert merged(["Date: d", "A: " + "a" * 40_000], ["B: " + "b" * 40_000]) is None
    assert merged(["Date: d", "A: " + "a" * 40_000], ["A: " + "b" * 40_000]) is not None
