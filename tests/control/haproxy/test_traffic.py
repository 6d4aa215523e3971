"""edge.control.haproxy.traffic: texts and slots; the workers' half is in tests/wire."""

import asyncio

import pytest

from edge.control.haproxy.changes import CommandError
from edge.control.haproxy.commands import Client, Level
from edge.control.haproxy.snapshot import limit_of
from edge.control.haproxy.traffic import Names, parse_maxconn, session_line
from ext.limits import Limit
from tests.control.conftest import SHOP
from tests.control.haproxy.test_commands import Build

NONE = int(Limit.MAXCONN_NONE)


@pytest.mark.parametrize(
    ("text", "maxconn"), [("5", 5), ("0", NONE), ("-1", NONE), ("99999999999", NONE)]
)
def test_maxconn(text: str, maxconn: int) -> None:
    assert parse_maxconn(text) == maxconn


@pytest.mark.parametrize("text", ["", "x", "5x"])
def test_what_is_no_maxconn(text: str) -> None:
    with pytest.raises(CommandError):
        parse_maxconn(text)


def test_the_limit_that_holds() -> None:
    assert [limit_of(7, given) for given in (0, 3, NONE)] == [7, 3, 0]


def test_a_session_in_words() -> None:
    names = Names([], {"haproxy": 4})
    names.servers[9] = ("haproxy", "node1")
    session = {
        "id": 5, "age_us": 83_000_000, "requests": 2, "request_us": 1, "tier": 4, "server": 9,
        "target": -1, "expires_ms": 4_999, "fd": 11, "server_fd": 12, "held_bytes": 0,
        "phase": 1, "wait": 0, "row": 8, "address": "::1",
    }  # fmt: skip
    line = session_line(3, session, names)
    assert line.startswith("0x30000000005: proto=tcpv6 src=::1 fe=haproxy be=haproxy srv=node1 ")
    assert " age=1m23s calls=2 " in line
    assert "scb=[QUE,fd=12] exp=4s " in line


def test_an_operator_may_not_kill(bench: Build) -> None:
    made = bench(SHOP)
    client = Client(Level.OPERATOR)
    asyncio.run(made.commands.prepare(client, "shutdown session 0x1"))
    assert made.commands.answer(client, "shutdown session 0x1") == "Permission denied\n"


def test_a_backend_has_no_maxconn_of_clients(bench: Build) -> None:
    made = bench(SHOP.replace("haproxy: {}", "haproxy: {backends: {api: {}}}"))
    client = Client(Level.ADMIN)
    assert made.commands.answer(client, "set maxconn frontend api 5") == "No such frontend.\n"
