"""The chain of all tiers: fused and split it shows clients and nodes the same.

Each exchange is a request and the node's script; what the client and the node saw of it is recorded
from the fused run and from the split run and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.harness import CutShortError, run_edge
from tests.origin import AtHead, Close, Reset, Stall, Steps, answer, chunked_answer
from tests.wire.chain import CONFIG, run_split
from tests.wire.stand import Stand, with_ports

pytestmark = pytest.mark.wire

# A date of these days; the exchange with a date of the node uses a later one.
# What differs from run to run: the time, and what the sites of one cdn know each other by.
CLOCK = re.compile(
    rb".* 202\d .*|S[0-9.]+,VS0,VE\d+|[A-Za-z0-9+/]{43}=(?=!)|1-[0-9a-f]{8}-[0-9a-f]{24}"
)
CLOCKS = (b"date", b"x-timer", b"fastly-ff", b"x-amzn-trace-id")


def get(*fields: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, b"Host: shop.example", *fields, b"", b""))


@dataclass(frozen=True)
class Exchange:
    """One request on a connection of its own, and what the nodes answer; empty: they are down."""

    request: bytes
    script: Steps = (answer(b"hello", b"Content-Type: text/plain"),)


EXCHANGES = {
    "get": Exchange(get()),
    "fields": Exchange(get(b"B: 1", b"a: 2", b"Cookie: a=b", b"Accept-Encoding: br")),
    "spoofed": Exchange(
        get(
            b"X-Forwarded-For: 192.0.2.1",
            b"X-Forwarded-For: 192.0.2.2",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil.example",
            b"X-Forwarded-Port: 443",
            b"Via: 1.1 fred",
            b"Forwarded: for=192.0.2.9",
        )
    ),
    "hop": Exchange(
        get(b"Connection: close, X-Named", b"X-Named: 1", b"Keep-Alive: 5", b"TE: trailers"),
        (answer(b"x", b"Connection: X-Own, close", b"X-Own: 1", b"Keep-Alive: timeout=5"),),
    ),
    "http 1.0": Exchange(get(start=b"GET / HTTP/1.0")),
    "absolute": Exchange(get(start=b"GET http://other.example:81/p HTTP/1.1")),
    "head": Exchange(
        get(start=b"HEAD / HTTP/1.1"), (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",)
    ),
    "options": Exchange(get(start=b"OPTIONS * HTTP/1.1")),
    "post": Exchange(get(b"Content-Length: 5", start=b"POST / HTTP/1.1") + b"hello"),
    "chunked": Exchange(
        get(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")
        + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        (chunked_answer(b"wor", b"ld", end=b"0\r\nX-Sum: 2\r\n\r\n"),),
    ),
    # If-Match has it passed: the cdn asks for itself otherwise, and a 304 would be no answer.
    "304": Exchange(
        get(b'If-Match: "x"', b'If-None-Match: "x"'),
        (b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',),
    ),
    "204": Exchange(get(), (b"HTTP/1.1 204 No Content\r\n\r\n",)),
    "via of the node": Exchange(get(), (answer(b"x", b"Via: 1.0 php", b"Server: nginx"),)),
    "date of the node": Exchange(get(), (answer(b"x", b"Date: Tue, 01 Jan 2030 00:00:00 GMT"),)),
    "until close": Exchange(get(), (b"HTTP/1.1 200 OK\r\n\r\nhello", Close())),
    "hints": Exchange(get(), (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", answer(b"x"))),
    "500": Exchange(get(), (answer(b"oops", status=b"500 Oh No"),)),
    "junk": Exchange(get(), (b"garbage\r\n\r\n", Close())),
    "post that is lost": Exchange(
        get(b"Content-Length: 5", start=b"POST / HTTP/1.1") + b"hello", (Reset(),)
    ),
    "cut": Exchange(get(), (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", Close())),
    "early 413": Exchange(
        get(b"Content-Length: 99999", start=b"POST / HTTP/1.1"),
        (AtHead(), answer(b"no", status=b"413 Too Much"), Stall()),
    ),
    "no node": Exchange(get(), ()),
    "malformed": Exchange(get(b"Content-Length: 5", b"Content-Length: 6")),
    "too long": Exchange(get(b"X: " + b"x" * 20_000)),
}


def message(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Start line and fields by name: neither the order of different names nor their case is part
    of a message (RFC 9110 §5.1, §5.3). The clock shows nothing."""
    start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    clock = [
        (name, CLOCK.sub(b"now", value) if name in CLOCKS else value) for name, value in fields
    ]
    return start, sorted(clock, key=lambda field: field[0])


def seen(stand: Stand, exchange: Exchange) -> dict[str, Any]:
    """What the client got and what the nodes got of one exchange."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(stand.node(default=exchange.script, name=name))
            for name in ("node1", "node2")
            if exchange.script
        ]
        client = stack.enter_context(stand.client())
        client.send(exchange.request)
        method = exchange.request.partition(b" ")[0]
        try:
            response = client.read_response(method)
            got = (message(response.raw_head), response.body, response.trailers)
        except CutShortError as cut:
            head, _, body = cut.received.partition(b"\r\n\r\n")
            got = (message(head), b"cut: " + body, [])
        asked = [
            (message(request.raw_head), request.body, request.trailers)
            for node in nodes
            for request in node.requests
        ]
        return {"client": got, "nodes": asked}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    directory = tmp_path_factory.mktemp("edge")
    with with_ports(CONFIG) as (config, ports):
        with run_edge(config, directory) as edge:
            stand = Stand(edge, ports)
            fused = {name: seen(stand, exchange) for name, exchange in EXCHANGES.items()}
            stand.check()
        with run_split(config, ports, directory) as stand:
            split = {name: seen(stand, exchange) for name, exchange in EXCHANGES.items()}
        yield {"fused": fused, "split": split, "ports": ports}


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("who", ["client", "nodes"])
def test_fused_and_split_show_the_same(
    views: dict[str, dict[str, Any]], name: str, who: str
) -> None:
    assert views["fused"][name][who] == views["split"][name][who]


def test_identity_fields_of_the_whole_chain(views: dict[str, dict[str, Any]]) -> None:
    """What a node is told by cdn, elb and haproxy together of a request that spoofs everything."""
    _, fields = views["fused"]["spoofed"]["nodes"][0][0]
    assert [field for field in fields if b"forwarded" in field[0] or field[0] == b"via"] == [
        (b"forwarded", b"for=192.0.2.9"),
        (b"via", b"1.1 fred, 1.1 varnish"),
        (b"x-forwarded-for", b"192.0.2.1, 192.0.2.2, 127.0.0.1, 127.0.0.1"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-forwarded-host", b"shop.example"),
        (b"x-forwarded-port", b"%d" % views["ports"]["elb"]),
        (b"x-forwarded-proto", b"http"),
    ]


def test_origin_is_used_by_every_exchange(views: dict[str, dict[str, Any]]) -> None:
    unseen = {name for name, view in views["split"].items() if not view["nodes"]}
    assert unseen == {"malformed", "too long", "no node"}
