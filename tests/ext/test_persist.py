"""ext.persist: which server a cookie names, and how an answer is marked.

What the whole does is compared with HAProxy in tests/wire/test_persistence.py; here is what follows
the clock, and what no server of a test does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ext.arena import Arena
from ext.limits import AdminState, ServerState
from ext.persist import MODES, Cookie, read_for_test, write_for_test

NOW = 1_700_000_000
NONE, VALID, INVALID, DOWN, EXPIRED, OLD = range(6)
OPTIONS: dict[str, Any] = {
    "name": "SRV",
    "mode": "insert",
    "indirect": False,
    "nocache": False,
    "postonly": False,
    "preserve": False,
    "persist": False,
    "maxidle_s": 0,
    "maxlife_s": 0,
    "tail": "",
}


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena.create()
    yield arena
    os.close(arena.fd)


def make(arena: Arena, **options: Any) -> Cookie:
    servers = [(value, arena.server_slot(f"haproxy/{value}")) for value in ("a", "b")]
    servers.append((None, arena.server_slot("haproxy/none")))
    return Cookie(arena, servers, OPTIONS | options)


def read(cookie: Cookie, value: str, now: int = NOW) -> tuple[int, int]:
    """(server, state)"""
    head = f"GET / HTTP/1.1\r\nHost: h\r\nCookie: {value}\r\n\r\n".encode()
    return read_for_test(cookie, head, now)[:2]


def seen(cookie: Cookie, *lines: str) -> list[str]:
    """The Cookie lines that the application gets."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: h", *lines, ""))
    built = read_for_test(cookie, head.encode(), NOW)[4].decode()
    return [line for line in built.split("\r\n") if line.lower().startswith("cookie")]


def given(cookie: Cookie, server: int = 0, *lines: str, now: int = NOW, **asked: Any) -> list[str]:
    """The Set-Cookie values that the client gets."""
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, ""))
    built = write_for_test(cookie, head.encode(), server, now, **asked).decode()
    return [line.split(": ")[1] for line in built.split("\r\n") if line.startswith("Set-Cookie")]


@pytest.mark.parametrize(
    ("state", "admin", "persist", "expected"),
    [
        (ServerState.UP, AdminState.READY, False, (1, VALID)),
        (ServerState.UP, AdminState.DRAIN, False, (1, VALID)),
        (ServerState.UP, AdminState.MAINT, False, (-1, DOWN)),
        (ServerState.DOWN, AdminState.READY, False, (-1, DOWN)),
        (ServerState.DOWN, AdminState.READY, True, (1, VALID)),
        (ServerState.DOWN, AdminState.MAINT, True, (-1, DOWN)),
    ],
)
def test_who_takes_regulars(
    arena: Arena,
    state: ServerState,
    admin: AdminState,
    persist: bool,
    expected: tuple[int, int],
) -> None:
    cookie = make(arena, persist=persist)
    arena.set_server(arena.server_slot("haproxy/b"), state=state, admin=admin)
    assert read(cookie, "SRV=b") == expected


def test_a_second_cookie_counts_when_the_first_names_nobody(arena: Arena) -> None:
    cookie = make(arena)
    assert read(cookie, "SRV=x; SRV=b") == (1, VALID)
    assert read(cookie, "SRV=a; SRV=b") == (0, VALID)
    assert read(cookie, "x=1") == (-1, NONE)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (("Cookie: SRV=a",), []),
        (("Cookie: SRV=a; x=1",), ["Cookie: x=1"]),
        (("Cookie: x=1;SRV=a;y=2",), ["Cookie: x=1; y=2"]),
        (("Cookie: x=1", "Cookie: SRV=a", "Cookie: y"), ["Cookie: x=1", "Cookie: y"]),
        (("Cookie: SRVX=a; xSRV=b",), ["Cookie: SRVX=a; xSRV=b"]),
        (("Cookie: SRV=a; x=" + "v" * 1500,), ["Cookie: x=" + "v" * 1500]),
    ],
)
def test_indirect_hides_it(arena: Arena, lines: tuple[str, ...], left: list[str]) -> None:
    assert seen(make(arena, indirect=True), *lines) == left


def test_a_prefix_is_taken_off(arena: Arena) -> None:
    cookie = make(arena, mode="prefix")
    assert seen(cookie, "Cookie: x=1; SRV=a~v~w") == ["Cookie: x=1; SRV=v~w"]
    assert read(cookie, "SRV=b~") == (1, VALID)


def dated(cookie: Cookie, at: int, **asked: Any) -> str:
    return given(cookie, now=at, **asked)[0].split(";")[0]


def test_a_cookie_is_good_until_it_has_idled_too_long(arena: Arena) -> None:
    cookie = make(arena, maxidle_s=100)
    value = dated(cookie, NOW)
    assert value.startswith("SRV=a|")
    assert len(value) == len("SRV=a|AAAAA")
    assert read(cookie, value, NOW + 100) == (0, VALID)
    assert read(cookie, value, NOW + 105) == (-1, EXPIRED)
    assert read(cookie, value, NOW - 86_500) == (-1, EXPIRED)  # of a clock that is not ours
    assert read(cookie, "SRV=a|?????", NOW) == (0, VALID)
    assert read(cookie, "SRV=a", NOW) == (0, VALID)


def test_a_cookie_is_good_until_it_is_too_old(arena: Arena) -> None:
    cookie = make(arena, maxlife_s=1000)
    value = dated(cookie, NOW)
    assert len(value) == len("SRV=a|AAAAA|AAAAA")
    assert read(cookie, value, NOW + 1000) == (0, VALID)
    assert read(cookie, value, NOW + 1005) == (-1, OLD)


def test_a_visit_renews_the_last_date_and_keeps_the_first(arena: Arena) -> None:
    cookie = make(arena, maxidle_s=100, maxlife_s=1000)
    first = dated(cookie, NOW)
    head = f"GET / HTTP/1.1\r\nHost: h\r\nCookie: {first}\r\n\r\n".encode()
    server, _, last_s, first_s, _ = read_for_test(cookie, head, NOW + 50)
    asked = {"seen_server": server, "last_s": last_s, "first_s": first_s}
    second = dated(cookie, NOW + 50, **asked)
    assert second.split("|")[2] == first.split("|")[2]
    assert second.split("|")[1] != first.split("|")[1]
    assert given(cookie, now=NOW, **asked) == []  # not yet four seconds old


def test_a_server_without_a_value_takes_the_cookie_away(arena: Arena) -> None:
    cookie = make(arena, tail="; Secure")
    assert given(cookie, 2) == [
        "SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/; Secure",
    ]


def test_only_a_post_is_marked(arena: Arena) -> None:
    cookie = make(arena, postonly=True)
    assert given(cookie) == []
    assert given(cookie, posted=True) == ["SRV=a; path=/"]


def test_who_has_it_is_not_given_it_again(arena: Arena) -> None:
    cookie = make(arena)
    assert given(cookie, 1, seen_server=1) == []
    assert given(cookie, 0, seen_server=1) == ["SRV=a; path=/"]


def test_a_value_too_long_to_mark_goes_as_it_is(arena: Arena) -> None:
    cookie = make(arena, mode="prefix")
    own = "SRV=" + "v" * 4095
    assert given(cookie, 0, f"Set-Cookie: {own}") == [own]


def test_the_modes_are_haproxys() -> None:
    assert set(MODES) == {"insert", "rewrite", "prefix"}
