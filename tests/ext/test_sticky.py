"""Cookies of stickiness: opaque, not to be forged, and good for as long as they say."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ext.arena import Arena
from ext.limits import AdminState, ServerState
from ext.sticky import Stickiness, find_for_test, write_for_test
from tests.ext.recipes import get, head

SECRET = b"a secret of this run"
NOW = 1_800_000_000
DAY = 86_400
NONE, LOST = -1, -2
NAMES = ["haproxy@node1", "haproxy@node2", "haproxy@node3"]


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


def sticky(
    arena: Arena, names: list[str] = NAMES, secret: bytes = SECRET, **how: Any
) -> Stickiness:
    targets = [(name, arena.server_slot(f"elb/{name}")) for name in names]
    made = Stickiness(arena, targets, secret, **{"duration_s": DAY, **how})
    made.tell_date(NOW)
    return made


def marked(made: Stickiness, index: int, *fields: bytes, found: int = NONE) -> list[bytes]:
    """The Set-Cookie fields that an answer gets."""
    answer = head(b"HTTP/1.1 200 OK", *fields)
    lines = write_for_test(made, answer, index, NOW, found).split(b"\r\n")
    added = lines[1 + len(fields) : -2]
    assert all(line.startswith(b"Set-Cookie: ") for line in added)
    return [line.removeprefix(b"Set-Cookie: ") for line in added]


def brought(cookie: bytes) -> bytes:
    """`name=value` of a Set-Cookie."""
    return cookie.split(b";")[0]


def found(made: Stickiness, cookie: bytes, now_s: int = NOW) -> int:
    return find_for_test(made, get(b"Cookie: " + cookie), now_s)


def test_both_cookies_with_their_attributes(arena: Arena) -> None:
    plain, cors = marked(sticky(arena), 1)
    expires = b"; Expires=Fri, 22 Jan 2027 08:00:00 GMT; Path=/"
    assert plain.startswith(b"AWSALB=")
    assert plain.endswith(expires)
    assert cors.startswith(b"AWSALBCORS=")
    assert cors.endswith(expires + b"; SameSite=None; Secure")


def test_a_cookie_leads_back_whatever_stands_around_it(arena: Arena) -> None:
    made = sticky(arena)
    for index in range(3):
        plain, cors = map(brought, marked(made, index))
        assert found(made, plain) == index
        assert found(made, cors) == index
        assert found(made, b"a=b; " + plain + b"; c=d") == index
        assert find_for_test(made, get(b"Cookie: a=b", b"Cookie: " + plain), NOW) == index


def test_another_worker_and_another_order_of_targets_know_it(arena: Arena) -> None:
    plain = brought(marked(sticky(arena), 0)[0])
    assert found(sticky(arena), plain) == 0
    assert found(sticky(arena, NAMES[::-1]), plain) == 2
    assert found(sticky(arena, NAMES[1:]), plain) == LOST
    assert found(sticky(arena, secret=b"another secret"), plain) == LOST


def test_it_ends(arena: Arena) -> None:
    made = sticky(arena, duration_s=60)
    plain = brought(marked(made, 0)[0])
    assert found(made, plain, NOW + 59) == 0
    assert found(made, plain, NOW + 60) == LOST


@pytest.mark.parametrize(
    "change",
    [{"state": ServerState.DOWN}, {"admin": AdminState.DRAIN}, {"admin": AdminState.MAINT}],
)
def test_a_target_out_of_service_is_left(arena: Arena, change: dict[str, int]) -> None:
    made = sticky(arena)
    plain = brought(marked(made, 1)[0])
    arena.set_server(arena.server_slot("elb/haproxy@node2"), **change)  # type: ignore[arg-type]
    assert found(made, plain) == LOST


def test_nobody_else_makes_one(arena: Arena) -> None:
    made = sticky(arena)
    plain = brought(marked(made, 1)[0])
    raw = bytearray(base64.b64decode(plain.removeprefix(b"AWSALB=")))
    assert b"node2" not in raw
    for place in range(len(raw)):
        raw[place] ^= 1
        assert found(made, b"AWSALB=" + base64.b64encode(raw)) == LOST
        raw[place] ^= 1
    for junk in (b"AWSALB=", b"AWSALB=x", plain + b"x", plain[:-1], plain[:-1] + b"%"):
        assert found(made, junk) in (LOST, NONE)
        assert found(made, junk) < 0
    assert found(made, b"OTHER=1") == NONE


def test_no_two_are_the_same(arena: Arena) -> None:
    made = sticky(arena)
    values = {brought(marked(made, 0)[0]) for _ in range(100)}
    assert len(values) == 100


def test_by_app_only_with_the_apps_own_cookie(arena: Arena) -> None:
    made = sticky(arena, app_cookie=b"PHPSESSID")
    assert marked(made, 1) == []
    [cookie] = marked(made, 1, b"Set-Cookie: PHPSESSID=abc; Path=/")
    assert cookie.startswith(b"AWSALBAPP-0=")
    assert found(made, brought(cookie)) == NONE, "both must come back"
    assert found(made, b"PHPSESSID=abc; " + brought(cookie)) == 1
    assert marked(made, 1, b"Set-Cookie: PHPSESSIDX=abc") == []


def test_by_app_a_failover_is_remembered(arena: Arena) -> None:
    made = sticky(arena, app_cookie=b"PHPSESSID")
    assert len(marked(made, 2, found=LOST)) == 1


def test_one_kind_is_not_taken_for_the_other(arena: Arena) -> None:
    by_app = sticky(arena, app_cookie=b"S")
    value = brought(marked(sticky(arena), 0)[0]).removeprefix(b"AWSALB=")
    assert found(by_app, b"S=1; AWSALBAPP-0=" + value) == LOST
