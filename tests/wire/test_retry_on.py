"""`retry-on` and `option redispatch`: edge and real HAProxy over the same faulty nodes.

What HAProxy answers to a GET is what edge answers. A POST that a server may have seen reaches one
server only, unless the file says `retry_unsafe`; HAProxy sends it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, Edge, free_port, run_edge
from tests.origin import Close, Origin, Pause, Stall, Steps, answer
from tests.wire.haproxy_pair import Side, real_haproxy

pytestmark = [pytest.mark.wire, pytest.mark.external]

LISTS = {
    "none": "none",
    "conn": "conn-failure",
    "empty": "conn-failure empty-response",
    "junk": "conn-failure junk-response",
    "timeout": "conn-failure response-timeout",
    "status": "conn-failure 404 408 500",  # 421 and 429 are newer than HAProxy 2.6
    "all": "all-retryable-errors",
}
FAULTS: Mapping[str, Steps] = {
    "empty": (Close(),),
    "partial": (b"HTTP/1.1 200 OK\r\nX-A: ", Close()),
    "junk": (b"NOTHTTP at all\r\n\r\n", Close()),
    "silent": (Stall(),),
    "500": (answer(b"bad", status=b"500 Internal Server Error"),),
    "503": (answer(b"bad", status=b"503 Service Unavailable"),),
    "404": (answer(b"bad", status=b"404 Not Found"),),
    "429": (answer(b"bad", status=b"429 Too Many Requests"),),
    "501": (answer(b"bad", status=b"501 Not Implemented"),),
    "late": (Pause(0.1), answer(b"late")),
}
GOOD: Steps = (answer(b"good"),)
SERVER_TIMEOUT = "300ms"
HAPROXY_HEAD = f"""
global
  nbthread 1
  stats socket {{socket}} level admin
defaults
  mode http
  balance roundrobin
  retries 3
  timeout connect 400ms
  timeout client 5s
  timeout server {SERVER_TIMEOUT}
"""
HAPROXY_LISTEN = """
listen {name}
  bind 127.0.0.1:{port}
  option redispatch 1
  retry-on {classes}
  server first 127.0.0.1:{nodes[0]} weight 256
  server second 127.0.0.1:{nodes[1]} weight 1
"""
EDGE = f"""
haproxy:
  listen: 127.0.0.1:{{port}}
  retries: 3
  retry_on: [{{classes}}]
  {{more}}
  health_check: {{{{enabled: false}}}}
  timeouts: {{{{connect: 400ms, server: {SERVER_TIMEOUT}, client: 5s}}}}
nodes:
  - {{{{name: first, web: '127.0.0.1:{{nodes[0]}}', weight: 256}}}}
  - {{{{name: second, web: '127.0.0.1:{{nodes[1]}}', weight: 1}}}}
"""


@dataclass(frozen=True)
class Field:
    """Both proxies, by list, over two nodes."""

    first: Origin
    second: Origin
    theirs: Mapping[str, int]
    ours: Mapping[str, int]
    edges: Mapping[str, Edge]

    def ask(self, port: int, fault: Steps, method: bytes) -> tuple[int, int]:
        """The status of one request whose first node has the fault, and how many nodes saw it."""
        self.first.default = fault
        before = len(self.first.requests) + len(self.second.requests)
        with Client(port) as client:
            body = b"Content-Length: 1\r\n\r\nx" if method == b"POST" else b"\r\n"
            client.send(method + b" / HTTP/1.1\r\nHost: a\r\n" + body)
            status = client.read_response(method).status
        return status, len(self.first.requests) + len(self.second.requests) - before


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder: Path = tmp_path_factory.mktemp("retry")
    with ExitStack() as stack:
        first = stack.enter_context(Origin())
        second = stack.enter_context(Origin(default=GOOD))
        nodes = [first.port, second.port]
        theirs = {name: free_port() for name in LISTS}
        side = Side(folder / "haproxy.sock", 0)
        text = HAPROXY_HEAD.format(socket=side.socket)
        for name, classes in LISTS.items():
            text += HAPROXY_LISTEN.format(
                name=name, port=theirs[name], classes=classes, nodes=nodes
            )
        file = folder / "haproxy.cfg"
        file.write_text(text)
        stack.enter_context(real_haproxy(file, side))
        ours, edges = {}, {}
        for name, classes in {**LISTS, "unsafe": LISTS["all"]}.items():
            ours[name] = free_port()
            config = EDGE.format(
                port=ours[name],
                nodes=nodes,
                classes=", ".join(classes.split()),
                more="retry_unsafe: true" if name == "unsafe" else "",
            )
            edges[name] = stack.enter_context(run_edge(config, folder))
        yield Field(first, second, theirs, ours, edges)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LISTS)
def test_a_get_is_answered_as_haproxy_answers_it(field: Field, name: str, fault: str) -> None:
    theirs = field.ask(field.theirs[name], FAULTS[fault], b"GET")
    ours = field.ask(field.ours[name], FAULTS[fault], b"GET")
    assert ours == theirs


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LISTS)
def test_a_post_is_done_once(field: Field, name: str, fault: str) -> None:
    _, count = field.ask(field.ours[name], FAULTS[fault], b"POST")
    assert count == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_post_is_repeated_where_the_file_says_so(field: Field, fault: str) -> None:
    theirs = field.ask(field.theirs["all"], FAULTS[fault], b"POST")
    assert field.ask(field.ours["unsafe"], FAULTS[fault], b"POST") == theirs


def test_a_status_that_stays_is_passed_on(field: Field) -> None:
    """No attempt is left: the last answer is the client's."""
    field.second.default = FAULTS["500"]
    try:
        for port in (field.theirs["all"], field.ours["all"]):
            assert field.ask(port, FAULTS["500"], b"GET") == (500, 4)
    finally:
        field.second.default = GOOD


def test_after_an_interim_answer_a_get_is_tried_again(field: Field) -> None:
    """HAProxy 2.6 answers 500 itself here, which 2.8 mended."""
    fault = (b"HTTP/1.1 100 Continue\r\n\r\n", Close())
    field.first.default = fault
    with Client(field.ours["all"]) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_head()[0].status == 100
        assert client.read_response().body == b"good"


# -- redispatch -----------------------------------------------------------------------------------

BOUND = """
haproxy:
  listen: 127.0.0.1:{port}
  balance: source
  retries: 3
  redispatch: {after}
  health_check: {{enabled: false}}
  timeouts: {{connect: 50ms}}
nodes:
  - {{name: node1, web: '127.0.0.1:{nodes[0]}'}}
  - {{name: node2, web: '127.0.0.1:{nodes[1]}'}}
"""


def dead_count(status: Any) -> tuple[int, int]:
    counters = status["tiers"][0]["counters"]
    return counters["retries"], counters["redispatches"]


@pytest.mark.parametrize(
    ("after", "status", "counts"),
    [("true", 200, (0, 1)), ("2", 200, (1, 1)), ("-1", 200, (2, 1)), ("-2", 200, (1, 1)),
     ("false", 503, (3, 0)), ("4", 503, (3, 0))],
)  # fmt: skip
def test_redispatch_n_of_a_request_that_belongs_to_its_server(
    tmp_path: Path, after: str, status: int, counts: tuple[int, int]
) -> None:
    """A hash chooses the server, so a retry is not free to go anywhere at once."""
    with Origin() as node:
        port, dead = free_port(), free_port()
        config = BOUND.format(port=port, after=after, nodes=[dead, node.port])
        with run_edge(config, tmp_path) as edge:
            for number in range(1, 40):  # until a source belongs to the dead node
                with Client(port, f"127.0.8.{number}") as client:
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    answered = client.read_response().status
                if dead_count(edge.status()) != (0, 0):
                    break
            assert answered == status
            assert dead_count(edge.status()) == counts
