"""The same rule lines in real HAProxy and in edge, in front of nodes that are the same.

A `RulePair` asks both for the same thing and gives what came of it: what the client got, and what
the node got, without what the two rightly have of their own (dates, the names of their addresses).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.harness import Client, free_port, run_edge
from tests.origin import Origin, answer
from tests.wire.haproxy_pair import Side as Cli
from tests.wire.haproxy_pair import real_haproxy

# Fields that either writes for itself, or whose order and case say nothing.
OWN = {
    b"connection", b"date", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    b"x-forwarded-port", b"host", b"retry-after", b"keep-alive", b"allow",
}  # fmt: skip

HAPROXY = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
  option forwardfor
{tables}
frontend haproxy
  bind 127.0.0.1:{port}
{frontend}
  default_backend haproxy
{backends}
"""


@dataclass(frozen=True)
class Rules:
    """Lines of one section, as both read them."""

    acl: list[str] = field(default_factory=list)
    http_request: list[str] = field(default_factory=list)
    http_response: list[str] = field(default_factory=list)
    use_backend: list[str] = field(default_factory=list)

    def haproxy(self) -> str:
        words = {"acl": "acl", "http_request": "http-request", "http_response": "http-response",
                 "use_backend": "use_backend"}  # fmt: skip
        rows = [(word, line) for key, word in words.items() for line in getattr(self, key)]
        return "".join(f"  {word} {line}\n" for word, line in rows)

    def edge(self) -> dict[str, list[str]]:
        keys = ("acl", "http_request", "http_response", "use_backend")
        return {key: getattr(self, key) for key in keys if getattr(self, key)}


@dataclass(frozen=True)
class Outcome:
    """What the client got; and what the node got, empty if it was not asked."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    node: str
    target: bytes
    seen: list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Side:
    name: str
    port: int
    nodes: dict[str, Origin]

    def ask(
        self, target: str, *fields: bytes, method: bytes = b"GET", host: str = "shop.test"
    ) -> Outcome:
        before = {name: len(node.requests) for name, node in self.nodes.items()}
        head = b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method, target.encode(), host.encode())
        with Client(self.port) as client:
            client.send(head + b"".join(line + b"\r\n" for line in fields) + b"\r\n")
            response = client.read_response(method)
        node, seen_target, seen = "", b"", []
        for name, origin in self.nodes.items():
            if len(origin.requests) > before[name]:
                request = origin.requests[-1]
                node, seen_target = name, request.head.method + b" " + request.head.target
                seen = bare(request.head.headers)
        return Outcome(
            response.status, bare(response.head.headers), response.body, node, seen_target, seen
        )


def bare(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What can be compared, sorted by name: the order among equals stays."""
    lower = [(name.lower(), value) for name, value in fields if name.lower() not in OWN]
    return sorted(lower, key=lambda pair: pair[0])


@dataclass(frozen=True)
class RulePair:
    haproxy: Side
    edge: Side

    def ask(
        self, target: str, *fields: bytes, method: bytes = b"GET", host: str = "shop.test"
    ) -> Outcome:
        """What both answer."""
        theirs = self.haproxy.ask(target, *fields, method=method, host=host)
        ours = self.edge.ask(target, *fields, method=method, host=host)
        for what in ("status", "fields", "body", "node", "target", "seen"):
            mine, other = getattr(ours, what), getattr(theirs, what)
            if isinstance(mine, list):  # of long lists the difference alone
                mine, other = (
                    (
                        [row for row in mine if row not in other],
                        [row for row in other if row not in mine],
                    )
                    if mine != other
                    else (mine, mine)
                )
            assert mine == other, f"{what} of {target}: edge {mine}, haproxy {other}"
        return ours


NODE_FIELDS = (b"Server: shop", b"X-Powered-By: node", b"Set-Cookie: s=1; path=/",
               b"Vary: a", b"Vary: b, c", b"X-Num: 7")  # fmt: skip


@contextmanager
def run_pair(
    frontend: Rules, backends: dict[str, Rules], directory: Path, tables: dict[str, str]
) -> Iterator[RulePair]:
    """Both, with a node of its own for each backend: `haproxy`, and those of `backends`."""
    farms = {"haproxy": Rules(), **backends}
    with Farm(farms) as theirs, Farm(farms) as ours:
        haproxy = Side("haproxy", free_port(), theirs.nodes)
        edge = Side("edge", free_port(), ours.nodes)
        path = directory / "rules.cfg"
        cli = Cli(directory / "haproxy.sock", haproxy.port)
        path.write_text(
            HAPROXY.format(
                port=haproxy.port,
                socket=cli.socket,
                frontend=frontend.haproxy(),
                tables="".join(
                    f"backend {name}\n  stick-table {table}\n" for name, table in tables.items()
                ),
                backends="".join(
                    f"backend {name}\n{rules.haproxy()}  server {name}"
                    f" 127.0.0.1:{theirs.nodes[name].port}\n"
                    for name, rules in farms.items()
                ),
            )
        )
        text = edge_config(frontend, backends, tables, edge)
        with real_haproxy(path, cli), run_edge(text, directory):
            yield RulePair(haproxy, edge)


def edge_config(
    frontend: Rules, backends: dict[str, Rules], tables: dict[str, str], side: Side
) -> str:
    made: dict[str, object] = {
        "listen": f"127.0.0.1:{side.port}",
        "health_check": {"enabled": False},
        "nodes": ["haproxy"],
        **frontend.edge(),
        "backends": {name: {"nodes": [name], **rules.edge()} for name, rules in backends.items()},
        "stick_tables": {name: table_of(line) for name, line in tables.items()},
    }
    nodes = [
        {"name": name, "web": f"127.0.0.1:{origin.port}"} for name, origin in side.nodes.items()
    ]
    return str(yaml.safe_dump({"haproxy": made, "nodes": nodes}, width=10_000))


def table_of(line: str) -> dict[str, str]:
    """The settings of `type ip size 100k expire 30s store gpc0`."""
    words = line.split()
    return dict(zip(words[::2], words[1::2], strict=True))


class Farm:
    """One node for each name."""

    def __init__(self, names: dict[str, Rules]) -> None:
        self.nodes = {
            name: Origin(default=[answer(b"from " + name.encode(), *NODE_FIELDS)]) for name in names
        }

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exc: object) -> None:
        for node in self.nodes.values():
            node.close()
