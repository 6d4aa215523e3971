"""ext.forward: what a cdn of the chain tells its origin, and keeps from its clients."""

from __future__ import annotations

from typing import Any

import pytest

from ext.forward import Recipe, request_for_test, visits_for_test
from tests.ext.recipes import HAPROXY, PLAIN, answered, fields_of, get, sent

HASH = "dc/x3e9z8KMmlHLQr8BEvVMmTcpl3y2YY5y6gjSJa3g="
FASTLY: dict[str, Any] = {
    "node": "cache-fra1-FRA", "pop": "FRA", "service_hash": HASH, "strict_client_ip": False,
    "normal_encodings": False,
}  # fmt: skip
EDGE = f"{HASH}!IAD!cache-iad1-IAD".encode()
HERE = f"{HASH}!FRA!cache-fra1-FRA".encode()
ADDED = [
    b"Fastly-Client-IP: 192.0.2.1", b"Fastly-FF: " + HERE, b"CDN-Loop: Fastly", b"Fastly-Client: 1",
]  # fmt: skip


def cdn(**changes: Any) -> Recipe:
    return Recipe([PLAIN | {"fastly": FASTLY | changes}])


def told(*fields: bytes, **changes: Any) -> list[bytes]:
    return sent(*fields, recipe=cdn(**changes))


# -- requests -----------------------------------------------------------------------------------


def test_origin_of_a_cdn_is_told_of_it() -> None:
    assert told(b"A: 1") == [b"A: 1", *ADDED]


def test_any_tier_of_the_chain_may_be_the_cdn() -> None:
    recipe = Recipe([PLAIN | {"fastly": FASTLY}, HAPROXY])
    assert sent(b"A: 1", recipe=recipe)[:5] == [b"A: 1", *ADDED]
    assert sent(b"A: 1", recipe=Recipe([PLAIN | {"fastly": None}])) == [b"A: 1"]


def test_client_s_own_address_is_believed_unless_strict() -> None:
    own = b"fastly-client-ip: 198.51.100.7"
    assert told(own) == [own, *ADDED[1:]]
    assert told(own, strict_client_ip=True) == ADDED


def test_strict_site_believes_a_site_of_its_service() -> None:
    """At a shield the peer is the edge; the client's address is what the edge has sent."""
    own = b"Fastly-Client-IP: 198.51.100.7"
    assert told(own, b"Fastly-FF: " + EDGE, strict_client_ip=True)[0] == own
    stranger = EDGE.replace(b"dc/", b"DC/")
    assert told(own, b"Fastly-FF: " + stranger, strict_client_ip=True)[0] == ADDED[0]


def test_lists_of_cdns_are_continued() -> None:
    made = told(b"CDN-Loop: Other; a=1", b"Fastly-FF: x!y!z", b"A: 1", b"Fastly-FF: " + EDGE)
    assert made == [
        b"A: 1", ADDED[0], b"Fastly-FF: x!y!z, " + EDGE + b", " + HERE,
        b"CDN-Loop: Other; a=1, Fastly", ADDED[3],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"Fastly-Key: secret", b"Fastly-Soft-Purge: 1", b"X-Purge-Token: 1_ab", b"Fastly-Client: 0",
        b"Fastly-Cookie-Overflow: 1",
    ],
)  # fmt: skip
def test_credentials_and_forged_marks_are_not_forwarded(line: bytes) -> None:
    assert told(b"A: 1", line, b"B: 2") == [b"A: 1", b"B: 2", *ADDED]
    assert sent(line, recipe=Recipe([PLAIN])) == [line]


def test_debugging_goes_on_to_the_origin() -> None:
    assert told(b"Fastly-Debug: 1")[0] == b"Fastly-Debug: 1"


@pytest.mark.parametrize(
    ("received", "written"),
    [
        ([], []),
        (
            [b"Accept-Encoding: gzip, deflate, br"],
            [b"Accept-Encoding: br", b"Fastly-Orig-Accept-Encoding: gzip, deflate, br"],
        ),
        (
            [b"Accept-Encoding: gzip", b"accept-encoding: deflate"],
            [b"Accept-Encoding: gzip", b"Fastly-Orig-Accept-Encoding: gzip, deflate"],
        ),
        ([b"Accept-Encoding: zstd"], [b"Fastly-Orig-Accept-Encoding: zstd"]),
        ([b"Fastly-Orig-Accept-Encoding: br"], []),
    ],
)
def test_accept_encoding_becomes_one_coding(received: list[bytes], written: list[bytes]) -> None:
    made = told(*received, normal_encodings=True)
    assert sorted(made) == sorted([*written, *ADDED])
    assert told(*received) == [*received, *ADDED]


def test_asked_coding_goes_before_the_clients() -> None:
    request = get(b"Accept-Encoding: gzip, br")
    asked: list[tuple[int, list[bytes]]] = [
        (0, []), (1, [b"Accept-Encoding: gzip"]), (-1, [b"Accept-Encoding: br"]),
    ]  # fmt: skip
    for coding, written in asked:
        recipe = cdn(normal_encodings=True)
        made = fields_of(request_for_test(request, recipe, b"192.0.2.1", {"encoding": coding}))
        assert [line for line in made if line.startswith(b"Accept-Encoding")] == written
        assert b"Fastly-Orig-Accept-Encoding: gzip, br" in made


def test_cookies_that_were_too_long_leave_a_mark() -> None:
    for overflow in (False, True):
        made = request_for_test(get(), cdn(), cookie_overflow=overflow)
        assert (b"Fastly-Cookie-Overflow: 1" in fields_of(made)) == overflow


# -- who has seen it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "visits", "loop"),
    [
        ([], 0, False),
        ([b"Fastly-FF: " + EDGE], 1, False),
        ([b"fastly-ff: " + HERE], 1, True),
        ([b"Fastly-FF: " + EDGE + b", " + HERE], 2, True),
        ([b"Fastly-FF: " + EDGE, b"Fastly-FF: " + EDGE], 2, False),
        ([b"Fastly-FF: ,, \t" + HERE + b" ,"], 1, True),
        ([b"Fastly-FF: x" + HERE], 0, False),
        ([b"Fastly-FF: other!FRA!cache-fra1-FRA"], 0, False),
        ([b"Fastly-FF: " + HASH.encode()], 0, False),
        ([b"Fastly-FF: " + HASH.encode() + b"!"], 1, False),
        ([b"Fastly-FF: " + HASH.encode() + b"!FRANKFURT!x"], 1, False),
        ([b"Fastly-FF: a " + HERE], 0, False),
        ([b"Fastly-FF: "], 0, False),
        ([b"X: " + HERE], 0, False),
    ],
)
def test_visits_of_this_service(fields: list[bytes], visits: int, loop: bool) -> None:
    assert visits_for_test(get(*fields), cdn()) == (visits, loop)


def test_chain_without_a_cdn_recognises_nobody() -> None:
    assert visits_for_test(get(b"Fastly-FF: " + HERE), Recipe([PLAIN])) == (0, False)


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"Surrogate-Control: max-age=1", b"Surrogate-Key: a", b"Surrogate-Capability: x",
        b"X-Cache: HIT", b"X-Cache-Hits: 1", b"X-Served-By: x", b"X-Timer: S1",
        b"Fastly-Debug-Path: x", b"Fastly-Debug-TTL: x", b"Fastly-Debug-Digest: x",
    ],
)  # fmt: skip
def test_clients_of_a_cdn_do_not_get_what_it_writes_itself(line: bytes) -> None:
    assert answered(b"A: 1", line, b"B: 2", recipe=cdn()) == [b"A: 1", b"B: 2"]
    assert answered(line, recipe=Recipe([PLAIN])) == [line]
