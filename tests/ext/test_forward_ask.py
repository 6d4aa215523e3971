"""ext.forward: requests that the cache sends in a client's place (struct Ask)."""

from __future__ import annotations

from typing import Any

import pytest

from ext.forward import request_for_test
from tests.ext.recipes import CLIENT, fields_of, get, head, hop

CONDITIONS = [
    b"If-None-Match: W/\"a\"", b"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT",
    b"If-Match: \"a\"", b"If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT",
]  # fmt: skip
RANGES = [b"Range: bytes=0-1", b'If-Range: "a"']
KEEP, NO_CODING, GZIP, BROTLI = -1, 0, 1, 2  # ENCODING_KEPT, Coding


def asked(*fields: bytes, **ask: Any) -> list[bytes]:
    """The field lines that a server gets for a GET with these, for what the cache asks."""
    return fields_of(request_for_test(get(*fields), hop(), CLIENT, ask))


def test_asking_for_nothing_else_changes_nothing() -> None:
    assert asked(b"A: 1", *CONDITIONS, *RANGES) == [b"A: 1", *CONDITIONS, *RANGES]


def test_asking_for_the_whole_leaves_the_range_out_and_the_conditions_in() -> None:
    assert asked(b"A: 1", *RANGES, *CONDITIONS, b"B: 2", whole=True) == [
        b"A: 1", *CONDITIONS, b"B: 2",
    ]  # fmt: skip


def test_asking_without_conditions_leaves_the_range_in() -> None:
    assert asked(b"A: 1", *CONDITIONS, *RANGES, unconditional=True) == [b"A: 1", *RANGES]


@pytest.mark.parametrize(
    ("ours", "written"),
    [
        ({"etag": b'W/"x"'}, [b'If-None-Match: W/"x"']),
        ({"last_modified": b"then"}, [b"If-Modified-Since: then"]),
        (
            {"etag": b'"x"', "last_modified": b"then"},
            [b'If-None-Match: "x"', b"If-Modified-Since: then"],
        ),
    ],
)
def test_rfc9111_4_3_1_our_conditions_stand_for_the_client_s(
    ours: dict[str, bytes], written: list[bytes]
) -> None:
    assert asked(*CONDITIONS, b"A: 1", **ours) == [b"A: 1", *written]


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        (KEEP, [b"Accept-Encoding: zstd"]),
        (NO_CODING, []),
        (GZIP, [b"Accept-Encoding: gzip"]),
        (BROTLI, [b"Accept-Encoding: br"]),
    ],
)
def test_asked_coding(encoding: int, written: list[bytes]) -> None:
    assert asked(b"Accept-Encoding: zstd", encoding=encoding) == written
    assert asked(encoding=encoding) == (written if encoding != KEEP else [])


@pytest.mark.parametrize("body", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_asking_by_get_has_neither_body_nor_upgrade(body: bytes) -> None:
    message = head(
        b"HEAD http://h HTTP/1.1", b"Host: h", b"Connection: upgrade", b"Upgrade: x",
        b"Expect: 100-continue", b"A: 1", body,
    )  # fmt: skip
    made = request_for_test(message, hop(), CLIENT, {"as_get": True})
    assert made == head(b"GET / HTTP/1.1", b"Host: h", b"A: 1")


def test_room_suffices_for_long_validators() -> None:
    etag = b'"' + b"e" * 8_000 + b'"'
    assert asked(etag=etag, last_modified=b"m" * 8_000) == [
        b"If-None-Match: " + etag, b"If-Modified-Since: " + b"m" * 8_000,
    ]  # fmt: skip
