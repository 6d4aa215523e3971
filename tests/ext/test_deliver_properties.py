"""ext.deliver on generated answers: what is stored is read back, and is delivered as it is stored.

Derandomised and short.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ext.deliver import DeliveryForTest, Marks, merged_for_test, stored_for_test
from ext.freshness import Policy
from ext.headers import FIELDS
from ext.http1 import parse_response

short = settings(max_examples=250, derandomize=True, deadline=None, database=None)

DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
MARKS = Marks("cache-fra12345-FRA", "FRA")
HOP_FIELDS = {name for _, name, flags in FIELDS if flags & 1}
HIDDEN = {
    b"via", b"x-served-by", b"x-cache", b"x-cache-hits", b"x-timer", b"fastly-debug-path",
    b"fastly-debug-ttl", b"fastly-debug-digest", b"surrogate-control", b"surrogate-key",
    b"surrogate-capability",
}  # fmt: skip
NEVER = HOP_FIELDS | {b"trailer", b"age"}
NAMES = st.one_of(
    st.sampled_from([name for _, name, _ in FIELDS if name not in HOP_FIELDS]),
    st.sampled_from([b"keep-alive", b"X-Own", b"x-own", b"X-Oth", b"a"]),
).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))
VALUES = st.sampled_from([b"", b"a", b"a b", b"x, y", b"\xff", b"v" * 300])
SPACES = st.sampled_from([b"", b" ", b" ", b"\t", b"  "])
LINES = st.lists(
    st.tuples(NAMES, SPACES, VALUES, SPACES).map(
        lambda parts: b"%b:%b%b%b\r\n" % (parts[0], parts[1], parts[2], parts[3])
    ),
    max_size=12,
)
DELIVERIES = st.fixed_dictionaries(
    {
        "form": st.sampled_from(range(5)),
        "framing": st.sampled_from([0, 1, 2]),
        "say": st.sampled_from([0, 1, 2]),
        "length": st.integers(0, 10**12),
        "total": st.integers(-1, 10**12),
        "boundary": st.just(b"edge"),
        "mark": st.sampled_from([0, 1]),
        "hits": st.integers(0, 2**32 - 1),
        "inner": st.booleans(),
        "debug": st.booleans(),
    }
)


def store(lines: list[bytes]) -> tuple[bytes, int]:
    made = stored_for_test(b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n", DATE)
    assert made is not None
    return made


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Names in lower case, and values."""
    parsed = parse_response(head)
    assert parsed is not None
    assert parsed.size == len(head)
    return [(name.lower(), value) for name, value in parsed.headers]


def received(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    pairs = [line.split(b":", 1) for line in lines]
    return [(name.lower(), value.strip(b" \t\r\n")) for name, value in pairs]


@short
@given(LINES)
def test_stored_head_has_the_fields_received(lines: list[bytes]) -> None:
    head, visible = store(lines)
    kept = [field for field in received(lines) if field[0] not in NEVER]
    if not any(name == b"date" for name, _ in kept):
        kept.append((b"date", DATE[6:-2]))
    assert Counter(fields_of(head)) == Counter(kept)
    shown = fields_of(head[:visible] + b"\r\n")
    assert shown == [field for field in kept if field[0] not in HIDDEN]


@short
@given(LINES)
def test_storing_what_is_stored_changes_nothing(lines: list[bytes]) -> None:
    head, visible = store(lines)
    assert stored_for_test(head) == (head, visible)
    assert merged_for_test(head, b"HTTP/1.1 304 x\r\n\r\n", Policy.RFC9111) == (head, visible)


@short
@given(LINES, LINES)
def test_merged_head_has_the_new_fields_and_those_of_other_names(
    old: list[bytes], new: list[bytes]
) -> None:
    head, _ = store(old)
    made = merged_for_test(head, b"HTTP/1.1 304 x\r\n" + b"".join(new) + b"\r\n", Policy.RFC9111)
    assert made is not None
    excepted = HOP_FIELDS | {b"trailer", b"content-encoding", b"content-range"}
    update = [field for field in received(new) if field[0] not in excepted]
    names = {name for name, _ in update}
    stay = [field for field in fields_of(head) if field[0] not in names]
    fresh = [field for field in update if field[0] != b"age"]
    assert Counter(fields_of(made[0])) == Counter(stay + fresh)


@short
@given(LINES, DELIVERIES)
def test_delivered_head_is_read_and_hides_what_is_hidden(
    lines: list[bytes], delivery: dict[str, Any]
) -> None:
    head, visible = store(lines)
    made = bytes(DeliveryForTest(head, visible, delivery, MARKS, b"1.1 varnish"))
    sent = fields_of(made)
    names = [name for name, _ in sent]
    for name in (b"via", b"x-served-by", b"x-cache", b"x-cache-hits", b"x-timer"):
        assert names.count(name) == 1
    told = delivery["inner"] or delivery["debug"]
    for name in (b"surrogate-control", b"surrogate-key", b"surrogate-capability"):
        stored = [field for field in fields_of(head) if field[0] == name]
        assert [field for field in sent if field[0] == name] == (stored if told else [])
    for name in (b"fastly-debug-path", b"fastly-debug-ttl", b"fastly-debug-digest"):
        assert names.count(name) == told
    if delivery["form"] == 0:
        shown = fields_of(head[:visible] + b"\r\n")
        assert sent[: len(shown)] == shown
