"""Cookie persistence, beside Debian's HAProxy with the same `cookie` line and the same answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness import Client, free_port, run_edge
from tests.origin import Origin, Steps, answer
from tests.wire.haproxy_pair import Side, real_haproxy

pytestmark = [pytest.mark.wire, pytest.mark.external]

HAPROXY = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen haproxy
  bind 127.0.0.1:{port}
  balance roundrobin
  cookie SRV {options}
  server node1 127.0.0.1:{nodes[0]} cookie a
  server node2 127.0.0.1:{nodes[1]} cookie b
  server node3 127.0.0.1:{nodes[2]}
"""
EDGE = """
workers: 1
haproxy:
  listen: 127.0.0.1:{port}
  health_check: {{enabled: false}}
  stats: {{socket: {socket}, level: admin}}
  cookie: {options}
nodes:
  - {{name: node1, web: '127.0.0.1:{nodes[0]}', cookie: a}}
  - {{name: node2, web: '127.0.0.1:{nodes[1]}', cookie: b}}
  - {{name: node3, web: '127.0.0.1:{nodes[2]}', cookie: c, weight: 0}}
"""


@dataclass(frozen=True)
class Mode:
    """One `cookie` line in both languages."""

    haproxy: str
    edge: str


MODES = {
    "insert": Mode("insert", "{name: SRV}"),
    "insert indirect nocache": Mode(
        "insert indirect nocache", "{name: SRV, indirect: true, nocache: true}"
    ),
    "insert indirect preserve": Mode(
        "insert indirect preserve", "{name: SRV, indirect: true, preserve: true}"
    ),
    "insert preserve": Mode("insert preserve", "{name: SRV, preserve: true}"),
    "insert postonly": Mode("insert postonly", "{name: SRV, postonly: true}"),
    "insert with attributes": Mode(
        'insert httponly secure domain .shop.example attr "SameSite=Lax"',
        "{name: SRV, httponly: true, secure: true, domains: [.shop.example],"
        " attributes: [SameSite=Lax]}",
    ),
    "insert maxidle": Mode("insert maxidle 30m", "{name: SRV, maxidle: 30m}"),
    "insert maxlife": Mode(
        "insert maxidle 30m maxlife 8h", "{name: SRV, maxidle: 30m, maxlife: 8h}"
    ),
    "rewrite": Mode("rewrite", "{name: SRV, mode: rewrite}"),
    "prefix": Mode("prefix", "{name: SRV, mode: prefix}"),
    "prefix nocache": Mode("prefix nocache", "{name: SRV, mode: prefix, nocache: true}"),
}
COOKIES = (
    b"",
    b"SRV=b",
    b"SRV=a",
    b"SRV=b; x=1",
    b"x=1; SRV=a; y=2",
    b"x=1; y; SRV=b",
    b"SRV=nobody; x=1",
    b"srv=a",
    b"SRV=",
    b"SRV=b~of the application",
    b"y=1; SRV=a~1; z=2",
    b"SRV=plain; SRV=b",
)
OWN: dict[str, tuple[bytes, ...]] = {
    "plain": (),
    "other": (b"Set-Cookie: x=2; path=/",),
    "same": (b"Set-Cookie: SRV=mine; path=/; HttpOnly",),
    "two": (b"Set-Cookie: x=2", b"Set-Cookie: SRV=mine"),
    "empty": (b"Set-Cookie: SRV=",),
    "cacheable": (b"Cache-Control: max-age=60", b'ETag: "1"'),
    "private": (b"Cache-Control: private, max-age=60",),
    "tagged": (b'ETag: "1"',),
}


@dataclass(frozen=True)
class Sides:
    haproxy: Side
    edge: Side
    nodes: dict[str, Origin]


@pytest.fixture(scope="module", params=MODES, ids=lambda name: name.replace(" ", "-"))
def sides(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("persistence")
    mode = MODES[request.param]
    theirs = Side(folder / "haproxy.sock", free_port())
    ours = Side(folder / "edge.sock", free_port())
    with Origin() as one, Origin() as two, Origin() as three:
        nodes = [one.port, two.port, three.port]
        file = folder / "haproxy.cfg"
        file.write_text(
            HAPROXY.format(
                socket=theirs.socket, port=theirs.port, nodes=nodes, options=mode.haproxy
            )
        )
        text = EDGE.format(socket=ours.socket, port=ours.port, nodes=nodes, options=mode.edge)
        with run_edge(text, folder), real_haproxy(file, theirs):
            theirs.ask("set server haproxy/node3 weight 0")
            yield Sides(theirs, ours, {"node1": one, "node2": two})


def visit(
    side: Side, nodes: dict[str, Origin], cookie: bytes, steps: Steps, method: bytes = b"GET"
) -> dict[str, object]:
    """What one request does: the node that got it, and what either end saw."""
    for node in nodes.values():
        node.requests.clear()
        node.default = steps
    lines = [method + b" / HTTP/1.1", b"Host: shop.example"]
    lines += [b"Cookie: " + cookie] if cookie else []
    lines += [b"Content-Length: 0"] if method == b"POST" else []
    with Client(side.port) as client:
        client.send(b"\r\n".join((*lines, b"", b"")))
        response = client.read_response(method)
    name, node = next((name, node) for name, node in nodes.items() if node.requests)
    return {
        "node": name,
        "status": response.status,
        "request": node.requests[0].values(b"cookie"),
        "set": [undated(value) for value in response.values(b"set-cookie")],
        "cache": sorted(response.values(b"cache-control")),
    }


def undated(value: bytes) -> bytes:
    """Without the dates of a value, which follow the clock."""
    return re.sub(rb"\|[A-Za-z0-9+/]{5}", b"|DATE", value)


# Each cookie with two answers, each answer with two cookies.
VISITS = [
    (cookie, own)
    for cookie in COOKIES
    for own in OWN
    if own in ("plain", "two") or cookie in (b"", b"SRV=b; x=1")
]


@pytest.mark.parametrize(
    ("cookie", "own"), VISITS, ids=lambda value: value if isinstance(value, str) else value.decode()
)
def test_a_visit_is_what_it_is_behind_haproxy(sides: Sides, cookie: bytes, own: str) -> None:
    steps = (answer(b"ok", *OWN[own]),)
    ours = visit(sides.edge, sides.nodes, cookie, steps)
    theirs = visit(sides.haproxy, sides.nodes, cookie, steps)
    if ours["node"] != theirs["node"]:  # balanced: once more, it is the other's turn
        theirs = visit(sides.haproxy, sides.nodes, cookie, steps)
    assert ours == theirs


def test_a_post_is_what_it_is_behind_haproxy(sides: Sides) -> None:
    ours = visit(sides.edge, sides.nodes, b"", (answer(),), b"POST")
    theirs = visit(sides.haproxy, sides.nodes, b"", (answer(),), b"POST")
    if ours["node"] != theirs["node"]:
        theirs = visit(sides.haproxy, sides.nodes, b"", (answer(),), b"POST")
    assert ours == theirs


def test_a_draining_server_keeps_its_clients_and_one_in_maintenance_does_not(
    sides: Sides,
) -> None:
    """What HAProxy does, in each state of node2, for a client that belongs there."""
    try:
        for state in ("drain", "maint", "ready"):
            visits = []
            for side in (sides.edge, sides.haproxy):
                side.ask(f"set server haproxy/node2 state {state}")
                visits.append(visit(side, sides.nodes, b"SRV=b~x", (answer(),)))
                visits.append(visit(side, sides.nodes, b"SRV=b", (answer(),)))
            assert visits[:2] == visits[2:], state
            assert visits[1]["node"] == ("node1" if state == "maint" else "node2")
    finally:
        for side in (sides.edge, sides.haproxy):
            side.ask("set server haproxy/node2 state ready")


def test_a_client_stays_with_what_it_was_given(sides: Sides) -> None:
    """A jar of one cookie: six visits, one node."""
    jar = b""
    seen = []
    for _ in range(6):
        for node in sides.nodes.values():
            node.requests.clear()
            node.default = (answer(b"ok", b"Set-Cookie: SRV=mine"),)
        with Client(sides.edge.port) as client:
            response = client.get("/", *([b"Cookie: " + jar] if jar else []))
        for value in response.values(b"set-cookie"):
            if value.startswith(b"SRV="):
                jar = value.split(b";")[0]
        seen.append(next(name for name, node in sides.nodes.items() if node.requests))
    stays = len(set(seen)) == 1
    is_marked = re.match(rb"SRV=[ab]\b", jar) is not None
    assert stays == is_marked
