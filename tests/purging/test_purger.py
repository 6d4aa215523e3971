"""edge.purging.purger: whole answers to PURGE on the site, and what was purged for them."""

import re

import pytest

from edge.purging import Access, PurgeIds, Purger
from ext.http1 import ResponseHead, parse_response
from tests.purging.standin import (
    AFTER,
    BEFORE,
    KEY,
    PATH,
    SERVICE,
    SIGNED,
    TOKEN,
    StoreBook,
    target,
)

HOST = b"shop.test"
NODE = "cache-edge1-FRA"


def purge(
    *fields: tuple[bytes, bytes],
    path: bytes = PATH,
    now_s: float = BEFORE,
    access: Access | None = None,
) -> tuple[ResponseHead, bytes, StoreBook]:
    store = StoreBook()
    purger = Purger(
        target(store),
        access or Access(SERVICE, [TOKEN]),
        PurgeIds(7, 1_700_000_000),
        served_by=NODE,
        now_s=lambda: now_s,
    )
    answer = purger(HOST, path, list(fields))
    head = parse_response(answer)
    assert head is not None
    body = answer[head.size :]
    assert head.content_length == len(body)
    return head, body, store


def test_a_granted_purge_answers_as_fastly() -> None:
    head, body, store = purge(KEY)
    assert (head.status, head.reason) == (200, b"OK")
    assert body == b'{ "status": "ok", "id": "7-1700000000-1" }'
    assert dict(head.headers) == {
        b"Content-Type": b"application/json",
        b"Content-Length": b"42",
        b"Accept-Ranges": b"bytes",
        b"Via": b"1.1 varnish",
        b"Date": b"Tue, 14 Nov 2023 22:13:20 GMT",
        b"X-Served-By": NODE.encode(),
    }
    assert store.calls == [("url", b"FRA|shop.test|" + PATH, False)]


def test_the_query_is_part_of_what_is_purged() -> None:
    _, _, store = purge((b"X-Purge-Token", SIGNED), path=PATH + b"?p=2")
    assert store.calls == [("url", b"FRA|shop.test|" + PATH + b"?p=2", False)]


def test_soft() -> None:
    _, _, store = purge(KEY, (b"Fastly-Soft-Purge", b"1"))
    assert store.calls == [("url", b"FRA|shop.test|" + PATH, True)]


def test_ids_differ() -> None:
    purger = Purger(target(StoreBook()), Access(SERVICE, [TOKEN]), PurgeIds(7, 1), served_by=NODE)
    ids = {re.findall(rb'"id": "(\d+-\d+-\d+)"', purger(HOST, b"/", [KEY]))[0] for _ in range(3)}
    assert len(ids) == 3


def test_no_credentials_are_401_and_purge_nothing() -> None:
    for fields in ([], [(b"Fastly-Key", b"wrong")], [(b"X-Purge-Token", b"none")]):
        head, body, store = purge(*fields)
        assert (head.status, head.reason) == (401, b"Unauthorized")
        assert body == b'{"msg":"Provided credentials are missing or invalid"}'
        assert dict(head.headers)[b"Content-Type"] == b"application/json"
        assert store.calls == []


@pytest.mark.parametrize(
    ("token", "now_s", "status", "reason"),
    [
        (SIGNED[:-1] + b"d", BEFORE, 403, b"Forbidden"),
        (SIGNED, AFTER, 410, b"Gone"),
    ],
)
def test_a_bad_token_gets_the_tiers_error_page_and_purges_nothing(
    token: bytes, now_s: float, status: int, reason: bytes
) -> None:
    head, body, store = purge((b"X-Purge-Token", token), KEY, now_s=now_s)
    assert (head.status, head.reason) == (status, reason)
    assert b"<html>" in body
    assert store.calls == []


@pytest.mark.parametrize(
    ("fields", "status"), [([KEY], 200), ([], 401), ([(b"X-Purge-Token", b"1_2")], 403)]
)
def test_the_last_answer_of_a_connection_says_so(
    fields: list[tuple[bytes, bytes]], status: int
) -> None:
    purger = Purger(target(StoreBook()), Access(SERVICE, [TOKEN]), PurgeIds(7, 1), served_by=NODE)
    for close in (False, True):
        head = parse_response(purger(HOST, b"/", fields, close))
        assert head is not None
        assert head.status == status
        said = {name.lower(): value for name, value in head.headers}.get(b"connection")
        assert said == (b"close" if close else None)


def test_without_a_service_it_is_401() -> None:
    head, _, store = purge(KEY, (b"X-Purge-Token", SIGNED), access=Access())
    assert (head.status, store.calls) == (401, [])
