"""The table of server faults, and the pair of nodes on which a row of it is played.

Three tiers are asked the same:

* `haproxy` alone, with `option redispatch` and three retries: what can be repeated safely is;
* `elb` alone: an Application Load Balancer sends a request to one target, and that is it;
* `chain`: cdn, elb and haproxy in one process. What the haproxy tier makes itself passes the
  others as it is, as it would over the wire. What the cdn adds: GET and HEAD are fetches for its
  cache, HEAD asking as GET does, and one that gets 500 or 503 is restarted once (Fastly's
  vcl_fetch), on whichever node's turn it is.

The rule behind the haproxy column: the method does not matter while no byte of the request has been
sent (rows 1 and 2). Once it has, only what is idempotent is repeated (RFC 9110 §9.2.2), while
nothing of the answer has gone out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.harness import Client, CutShortError, Response
from tests.loop_thread import bind_loopback, listen_beside
from tests.origin import AtHead, Close, Origin, Pause, Reset, Stall, Steps, answer, chunked_answer

CONNECT_S, SERVER_S = 0.4, 0.5
FRESH = b"Cache-Control: no-store"  # every row is played anew
GOOD = [answer(b"good", FRESH)]
HEAD_1000 = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1000\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n\r\n"
LARGE = 30_000  # does not fit beside the head into what is held for a retry
# In which what was sent before arrives, and is dealt with, on its own.
MOMENT = Pause(0.05)

SAFE = ("GET", "HEAD", "PUT", "DELETE")
EVERY = (*SAFE, "POST")
WITH_BODY = ("GET", "PUT", "DELETE", "POST")  # whose answers have one
FETCHED = ("GET", "HEAD")  # by the cdn, for its cache
WRITING = ("PUT", "POST")


@dataclass(frozen=True)
class Out:
    """What the client gets, and how often the faulty and the good node have read the request.

    `status` 0: nothing that is whole. `body`: of a 200. `good` ANY: `faulty` is of both nodes.
    """

    status: int
    faulty: int
    good: int
    body: bytes = b"good"


ANY = -1
MOVED = Out(200, 0, 1)  # to the other node; the faulty one has read nothing
REPEATED = Out(200, 1, 1)  # the faulty node has had it, too
CUT = Out(0, 1, 0)
RESTARTED = Out(200, 2, ANY)


def once(status: int, body: bytes = b"good") -> Out:
    """By the faulty node alone."""
    return Out(status, 1, 0, body)


Expected = Mapping[str, Out]  # by method


def each(methods: tuple[str, ...], out: Out) -> Expected:
    return dict.fromkeys(methods, out)


@dataclass(frozen=True)
class Row:
    """A fault. `steps` answer a request, `on_connect` a connection; None: nobody listens there.

    `chain`: where that column differs from the haproxy's. `waits_s`: for which time limit.
    """

    name: str
    haproxy: Expected
    elb: Expected
    steps: Steps = ()
    on_connect: Steps | None = ()
    chain: Expected = field(default_factory=dict)
    is_blackhole: bool = False
    is_once: bool = False  # then the faulty node is good
    waits_s: float = 0.0
    body_bytes: int = 10
    unsent_bytes: int = 0

    def expected(self, tier: str) -> Expected:
        """The column of that tier."""
        if tier == "elb":
            return self.elb
        return self.haproxy if tier == "haproxy" else {**self.haproxy, **self.chain}


def both(name: str, methods: tuple[str, ...], out: Out, steps: Steps, waits_s: float = 0.0) -> Row:
    """A fault that no tier repeats anything after."""
    return Row(name, each(methods, out), each(methods, out), steps, waits_s=waits_s)


def if_safe(repeated: Out, failed: Out) -> Expected:
    return {**each(SAFE, repeated), "POST": failed}


def rows_before_the_answer() -> Iterator[Row]:
    refused, timed_out, unread = Out(502, 0, 0), Out(504, 0, 0), Out(502, 0, 0)
    yield Row("row01 refused", each(EVERY, MOVED), each(EVERY, refused), on_connect=None)
    yield Row(
        "row02 blackhole",
        each(EVERY, MOVED),
        each(EVERY, timed_out),
        is_blackhole=True,
        waits_s=CONNECT_S,
    )
    for name, end in (("row03 accepts FIN", Close()), ("row04 accepts RST", Reset())):
        # The end comes when the request has been sent into the connection, and is not read.
        expected = if_safe(MOVED, unread)
        yield Row(name, expected, each(EVERY, unread), on_connect=[MOMENT, end])
    for name, end in (("row05 reads FIN", Close()), ("row06 reads RST", Reset())):
        yield Row(name, if_safe(REPEATED, once(502)), each(EVERY, once(502)), [end])
    yield both("row07 never answers", EVERY, once(504), [Stall()], SERVER_S)
    for name, end in (("row08 half a head FIN", Close()), ("row08 half a head RST", Reset())):
        steps: Steps = [b"HTTP/1.1 200 OK\r\nContent-Le", MOMENT, end]
        yield Row(name, if_safe(REPEATED, once(502)), each(EVERY, once(502)), steps)
    yield both("row09 garbage", EVERY, once(502), [b"garbage\r\n\r\n", Close()])
    bad_name = b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n"
    yield both("row09 bad name", EVERY, once(502), [bad_name, Close()])
    long_head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 80_000 + b"\r\n\r\n"
    yield both("row09 80 KB head", EVERY, once(502), [long_head, Close()])


def rows_within_the_answer() -> Iterator[Row]:
    short = HEAD_1000 + b"x" * 100
    yield both("row10 short FIN", WITH_BODY, CUT, [short, MOMENT, Close()])
    yield both("row11 short RST", WITH_BODY, CUT, [short, MOMENT, Reset()])
    yield both("row12 short stalls", WITH_BODY, CUT, [short, Stall()], SERVER_S)
    yield both("row13 head FIN", WITH_BODY, CUT, [HEAD_1000, MOMENT, Close()])
    yield both("row13 head RST", WITH_BODY, CUT, [HEAD_1000, MOMENT, Reset()])
    no_end = CHUNKS + chunked_answer(b"hello", end=b"").partition(b"\r\n\r\n")[2]
    yield both("row14 no last chunk", WITH_BODY, CUT, [no_end, MOMENT, Close()])
    bad_chunk = CHUNKS + b"zz\r\nhello\r\n0\r\n\r\n"
    yield both("row15 bad chunk at once", WITH_BODY, once(502), [bad_chunk, Close()])
    to_the_end = TO_THE_END + b"hello"
    whole = once(200, b"hello")
    yield both("row16 to the end FIN", WITH_BODY, whole, [to_the_end, MOMENT, Close()])
    yield both("row17 to the end RST", WITH_BODY, CUT, [to_the_end, MOMENT, Reset()])
    head = HEAD_1000.replace(b"1000", b"2")
    drips = [step for _ in range(2) for step in (Pause(SERVER_S * 0.6), b"x")]
    slow: Steps = [Pause(SERVER_S * 0.6), head, *drips]
    yield both("row21 drips", WITH_BODY, once(200, b"xx"), slow, SERVER_S * 1.8)


def rows_of_statuses() -> Iterator[Row]:
    for number, status in ((18, 500), (18, 503), (19, 404), (19, 429)):
        own = [answer(b"own", FRESH, status=b"%d Own" % status)]
        passed = each(EVERY, once(status))
        restarted = each(FETCHED, RESTARTED) if number == 18 else {}
        name = f"row{number} {status}"
        yield Row(name, passed, passed, own, chain=restarted, is_once=True)
    interim: Steps = [b"HTTP/1.1 100 Continue\r\n\r\n", MOMENT, Close()]
    yield Row("row20 100 FIN", if_safe(REPEATED, once(502)), each(EVERY, once(502)), interim)
    too_large = answer(b"", FRESH, status=b"413 Content Too Large")
    early: Steps = [AtHead(), too_large, Close()]
    refused = each(WRITING, once(413))
    yield Row("row22 early 413", refused, refused, early, body_bytes=1 << 20, unsent_bytes=1 << 19)
    unheld = each(WRITING, once(502))
    yield Row("row23 body is not held", unheld, unheld, [Close()], body_bytes=LARGE)


ROWS = [*rows_before_the_answer(), *rows_within_the_answer(), *rows_of_statuses()]

_numbers = itertools.count()


def unique_target() -> str:
    return f"/{next(_numbers)}"


@dataclass
class Pair:
    """A faulty node, whose turn it is, and a good one. `faulty` None: it cannot be reached."""

    faulty: Origin | None
    good: Origin

    def counts(self) -> tuple[int, int]:
        return (len(self.faulty.requests) if self.faulty else 0, len(self.good.requests))


def next_port(port: int, nodes: tuple[int, int], turns: int) -> int:
    """The port of the node whose turn it will be: two nodes that take turns at a proxy, or at each
    of `turns` proxies that take turns themselves. No connection is kept."""
    names = [answer(b"%d" % node, FRESH, b"Connection: close") for node in nodes]
    with (
        Origin(default=[names[0]], port=nodes[0]),
        Origin(default=[names[1]], port=nodes[1]),
        Client(port) as client,
    ):
        asked = [int(client.get(unique_target()).body) for _ in range(turns)]
    return nodes[1] if asked[0] == nodes[0] else nodes[0]


@contextmanager
def faulty_pair(row: Row, port: int, nodes: tuple[int, int], turns: int) -> Iterator[Pair]:
    """The nodes behind the proxy on `port`; its next request goes to the faulty one."""
    bad = next_port(port, nodes, turns)
    with ExitStack() as stack:
        other = nodes[1] if bad == nodes[0] else nodes[0]
        good = stack.enter_context(Origin(default=GOOD, port=other))
        faulty = None
        if row.is_blackhole:
            stack.enter_context(blackhole(bad))
        elif row.on_connect is not None:
            made = Origin(default=row.steps, on_connect=row.on_connect, port=bad)
            if row.is_once:
                made.then(*row.steps)
                made.default = GOOD
            faulty = stack.enter_context(made)
        yield Pair(faulty, good)


@contextmanager
def blackhole(port: int) -> Iterator[None]:
    """SYNs are dropped: the listening socket's queue of connections is full."""
    with bind_loopback(port) as bound, listen_beside(bound) as listener:
        listener.listen(0)
        with Client(port):
            yield


def ask(client: Client, method: str, body: bytes, unsent_bytes: int = 0) -> Response | None:
    """A request and its answer; None if that is not whole."""
    head = f"{method} {unique_target()} HTTP/1.1\r\nHost: shop.example\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    client.send(f"{head}\r\n".encode() + body[: len(body) - unsent_bytes])
    try:
        return client.read_response(method.encode())
    except (CutShortError, ConnectionResetError):
        return None


def body_for(row: Row, method: str) -> bytes:
    return (
        (b"0123456789" * (row.body_bytes // 10 + 1))[: row.body_bytes] if method in WRITING else b""
    )


def outcome(response: Response | None, pair: Pair, expected: Out) -> Out:
    """What has come of it, to be compared with what is expected."""
    status = 0 if response is None else response.status
    is_plain = response is None or status != 200 or response.head.body == 0
    body = b"good" if is_plain else response.body
    if expected.good == ANY:
        return Out(status, sum(pair.counts()), ANY, body)
    return Out(status, *pair.counts(), body)
