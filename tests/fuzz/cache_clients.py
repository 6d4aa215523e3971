"""The clients of the fuzzed cache: threads that ask at random, and judge each answer.

A client keeps its connection for a while, and does one act after the other on it: a plain request,
several at once, one in pieces, a slow reader, one that goes away. What it does is drawn from the
seed and its number.
"""

from __future__ import annotations

import itertools
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from tests.ext.reference_http1 import BODY_UNTIL_CLOSE, ParseError, ResponseHead, parse_response
from tests.fuzz.cache_model import Ask, Got, Model, Purge
from tests.fuzz.cache_world import MAX_OBJECT_BYTES, VARIED, Resource
from tests.harness import Client, CutShortError

ANSWER_S_MAX = 20.0  # longer than edge waits for anything
SLOW_BUFFER_BYTES = 4096
PIPELINE_MAX = 6
LATEST = 200  # versions among which the newest of a resource is looked for


class Violation(Exception):  # noqa: N818 (found, not done wrong)
    """What was wrong, with all that is known of the resource."""


class FuzzClient(Client):
    """A connection that may read slowly, until `hurry` is set."""

    def __init__(self, port: int, hurry: threading.Event, slow_s: float = 0.0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(ANSWER_S_MAX)
        if slow_s:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._hurry = hurry
        self._slow_s = slow_s
        self.has_begun = False  # some of the answer that is read has come
        self.made_at = monotonic()

    def _receive(self) -> bool:
        if self._slow_s:
            self._hurry.wait(self._slow_s)
        data = self.socket.recv(SLOW_BUFFER_BYTES if self._slow_s else 65536)
        self._unread += data
        self.has_begun = self.has_begun or bool(data)
        return bool(data)

    def __enter__(self) -> FuzzClient:
        return self

    def read_got(self, method: bytes) -> tuple[Got, bool]:
        """The next answer, and whether the connection goes on after it."""
        self.has_begun = bool(self._unread)
        try:
            response = self.read_response(method)
            head, body, is_cut = response.head, response.body, False
        except CutShortError as cut:
            raw, found, body = cut.received.partition(b"\r\n\r\n")
            if not found:
                raise
            head, is_cut = parse_cut(raw, method), True
        fields = {name.lower(): value for name, value in head.headers}
        return Got(head.status, fields, body, is_cut, head.body == BODY_UNTIL_CLOSE), (
            head.keep_alive and head.body != BODY_UNTIL_CLOSE
        )


def parse_cut(raw: bytes, method: bytes) -> ResponseHead:
    """The head in front of a body that was cut."""
    head = parse_response(raw + b"\r\n\r\n", request_method=method)
    assert head is not None
    return head


class Crowd:
    """All clients; `fail` is called with the first violation."""

    def __init__(
        self,
        port: int,
        model: Model,
        resources: list[Resource],
        seed: int,
        token: str,
        fail: Callable[[str], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.bears_cuts = False  # there may be no room for what one of them follows
        self._port = port
        self._model = model
        self._resources = resources
        self._seed = seed
        self._token = token
        self._fail = fail
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """That many clients begin."""
        for number in range(count):
            thread = threading.Thread(target=self._live, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """All of them end their act; one that does not is a violation."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * ANSWER_S_MAX)
            if thread.is_alive():
                self._fail("a client is stuck")

    # -- one client ---------------------------------------------------------------------------

    def _live(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/client {number}")
        client: FuzzClient | None = None
        acts = (
            [self._ask_once] * 10 + [self._pipeline] * 3 + [self._ask_in_pieces, self._go_away] * 2
            + [self._ask_slowly, self._half_close, self._ask_as_http10, self._purge_url]
        )  # fmt: skip
        try:
            while not self._stop.is_set():
                if client is None:
                    client = FuzzClient(self._port, self._stop)
                act = chance.choice(acts)
                if not act(client, chance) or chance.random() < 0.05:
                    client.close()
                    client = None
        except Violation as violation:
            self._fail(str(violation))
        except (AssertionError, OSError) as error:  # of the strict reader; a connect that failed
            self._fail(f"{error!r}")
        finally:
            if client is not None:
                client.close()

    def _make_ask(self, chance: random.Random) -> Ask:
        # A few are asked for often, so that requests meet each other and hits are many.
        index = min(int(chance.expovariate(6) * len(self._resources)), len(self._resources) - 1)
        resource = self._resources[index]
        method = chance.choice((b"GET",) * 12 + (b"HEAD",) * 2 + (b"POST",))
        ask = Ask(next(self._numbers), resource, method)
        for name, values in VARIED.items():
            value = chance.choice(values)
            if value is not None:
                ask.fields[name] = value
        if b"x-kind" in ask.fields and chance.random() < 0.1:
            ask.fields[b"connection"] = b"x-kind"
        elif chance.random() < 0.03:
            ask.fields[b"connection"] = b"close"
        if chance.random() < 0.02:
            ask.fields[b"x-long"] = b"l" * chance.choice((4_000, 17_000))
        if method != b"POST":
            self._add_conditions(ask, chance)
        return ask

    def _add_conditions(self, ask: Ask, chance: random.Random) -> None:
        size = ask.resource.size
        kind = chance.random()
        if kind < 0.1:
            known = chance.choices(range(1, len(self._model.versions) + 2), k=3)
            ask.fields[b"if-none-match"] = b", ".join(b'"%d"' % serial for serial in known)
        elif kind < 0.2:
            versions = list(self._model.versions.values())[-LATEST:]
            newest = [v.etag for v in versions if v.resource is ask.resource]
            tag = newest[-1] if newest else b'"0"'
            ask.fields[b"if-none-match"] = chance.choice((b"", b"W/")) + tag
        elif kind < 0.4 and size and ask.method == b"GET":
            first = chance.randrange(size)
            last = min(size - 1, first + chance.choice((0, 10, 5000, size)))
            ask.fields[b"range"] = chance.choice(
                (
                    b"bytes=%d-%d" % (first, last),
                    b"bytes=%d-" % first,
                    b"bytes=-%d" % (last + 1),
                    b"bytes=%d-" % (size + 5),
                    b"bytes=0-0,%d-%d" % (first, last),
                )
            )
        elif kind < 0.45:
            ask.fields[b"cache-control"] = b"no-cache"

    # -- acts: each returns whether the connection goes on -----------------------------------

    def _ask_once(self, client: FuzzClient, chance: random.Random) -> bool:
        ask = self._make_ask(chance)
        self._begin(ask)
        return self._try_send(client, request_of(ask)) and self._read(client, ask)

    def _pipeline(self, client: FuzzClient, chance: random.Random) -> bool:
        asks = [self._make_ask(chance) for _ in range(chance.randrange(2, PIPELINE_MAX))]
        for ask in asks:
            self._begin(ask)
        if not self._try_send(client, b"".join(request_of(ask) for ask in asks)):
            return False
        return all(self._read(client, ask) for ask in asks)

    def _ask_in_pieces(self, client: FuzzClient, chance: random.Random) -> bool:
        ask = self._make_ask(chance)
        data = request_of(ask)
        self._begin(ask)
        at = chance.randrange(len(data))
        if not self._try_send(client, data[:at]):
            return False
        threading.Event().wait(chance.choice((0.0, 0.002, 0.02)))
        return self._try_send(client, data[at:]) and self._read(client, ask)

    def _ask_slowly(self, _: FuzzClient, chance: random.Random) -> bool:
        slow_s = chance.choice((0.002, 0.01, 0.03))
        with FuzzClient(self._port, self._stop, slow_s) as client:
            ask = self._make_ask(chance)
            self._begin(ask)
            if self._try_send(client, request_of(ask)):
                self._read(client, ask)
        return True

    def _go_away(self, client: FuzzClient, chance: random.Random) -> bool:
        asks = [self._make_ask(chance) for _ in range(chance.choice((1, 1, 3)))]
        for ask in asks:
            self._begin(ask)
        data = b"".join(request_of(ask) for ask in asks)
        if chance.random() < 0.2:
            data = data[: chance.randrange(len(data))]
        self._try_send(client, data)
        self.counts["went away"] += 1
        if chance.random() < 0.5:
            client.socket.settimeout(chance.choice((0.001, 0.01, 0.1)))
            with suppress(OSError):
                client.socket.recv(chance.choice((1, 1000, 65536)))
        if chance.random() < 0.5:
            client.reset()
        return False

    def _half_close(self, client: FuzzClient, chance: random.Random) -> bool:
        ask = self._make_ask(chance)
        self._begin(ask)
        if self._try_send(client, request_of(ask)):
            with suppress(OSError):
                client.half_close()
            self._read(client, ask)
        return False

    def _ask_as_http10(self, client: FuzzClient, chance: random.Random) -> bool:
        ask = self._make_ask(chance)
        ask.minor = 0
        self._begin(ask)
        if self._try_send(client, request_of(ask)):
            self._read(client, ask)
        return False

    def _purge_url(self, client: FuzzClient, chance: random.Random) -> bool:
        """PURGE, as the Magento module does it."""
        resource = self._make_ask(chance).resource
        is_soft = chance.random() < 0.5
        line = b"PURGE %s HTTP/1.1\r\nHost: %s\r\nFastly-Key: " % (resource.path, resource.host)
        soft = b"Fastly-Soft-Purge: 1\r\n" if is_soft else b""
        began_at = monotonic()
        ask = Ask(next(self._numbers), resource, b"PURGE", sent_at=began_at)
        if not self._try_send(client, line + self._token.encode() + b"\r\n" + soft + b"\r\n"):
            return False
        try:
            got, goes_on = client.read_got(b"PURGE")
        except (OSError, CutShortError) as error:
            return self._judge_nothing(client, ask, error)
        if got.status != 200:
            raise Violation(f"PURGE was answered {got.status}: {got.body!r}")
        url = resource.host + resource.path
        self._model.note_purge(Purge(began_at, monotonic(), is_soft, url=url))
        self.counts["PURGE"] += 1
        return goes_on

    # -- parts of acts ------------------------------------------------------------------------

    def _begin(self, ask: Ask) -> None:
        ask.sent_at = monotonic()

    def _try_send(self, client: FuzzClient, data: bytes) -> bool:
        """False when the connection was closed: it was idle, or its worker is gone."""
        try:
            client.send(data)
        except ConnectionError:
            self.counts["not sent"] += 1
            return False
        return True

    def _read(self, client: FuzzClient, ask: Ask) -> bool:
        """Read the answer and judge it; whether the connection goes on."""
        try:
            got, goes_on = client.read_got(ask.method)
        except (OSError, CutShortError) as error:
            return self._judge_nothing(client, ask, error)
        except ParseError as error:
            raise Violation(f"{error} in an answer to {ask}") from error
        ask.ended_at = monotonic()
        if got.is_until_close and self._model.was_killed(ask.sent_at, ask.ended_at):
            got = replace(got, is_cut=True)  # by the kernel, which sends a FIN
        wrong = self._model.judge(ask, got)
        kind = "cut" if got.is_cut else str(got.status)
        self.counts[kind] += 1
        mark = got.fields.get(b"x-cache", b"-").decode()
        self.counts[mark] += 1
        serial = got.fields.get(b"x-serial", b"-").decode()
        text = f"{ask.method.decode()} {ask.number} {ask.fields} sent {ask.sent_at:.4f}: {kind}"
        event = f"{text} {mark} {len(got.body)} bytes of {serial}"
        self._model.tell(ask.resource, ask.ended_at, event)
        if wrong is None and got.is_cut:
            wrong = self._judge_cut(ask)
        if wrong is not None:
            raise Violation(f"{wrong}\n{event}\n{got.fields}\n{self._model.history(ask.resource)}")
        if ask.method == b"POST" and got.status < 400 and not got.is_cut:
            self._note_invalidation(ask)
        return goes_on and not got.is_cut

    def _note_invalidation(self, ask: Ask) -> None:
        """RFC 9111 §4.4; Fastly does not."""
        if self._model.policy == "rfc9111":
            url = ask.resource.host + ask.resource.path
            self._model.note_purge(Purge(ask.sent_at, ask.ended_at, False, url=url))

    def _judge_nothing(self, client: FuzzClient, ask: Ask, error: Exception) -> bool:
        """No whole head came, or an answer without a length was reset."""
        ask.ended_at = monotonic()
        self.counts["no answer"] += 1
        self._model.tell(ask.resource, ask.ended_at, f"{ask.method!r} {ask.number}: {error!r}")
        wrong = None
        if isinstance(error, TimeoutError):
            wrong = "no answer in time"
        elif client.has_begun:
            wrong = self._judge_cut(ask)
        elif not self._model.was_disturbed(client.made_at, ask.ended_at):
            wrong = "no answer, although the worker is well"
        if wrong is not None:
            raise Violation(f"{wrong}: {error!r}\n{ask}\n{self._model.history(ask.resource)}")
        return False

    def _judge_cut(self, ask: Ask) -> str | None:
        """An answer ends early if its origin does, or, for a follower, if the cache cannot take
        all of it, or if a worker dies."""
        if self.bears_cuts or ask.resource.is_faulty or ask.resource.size > MAX_OBJECT_BYTES:
            return None
        if self._model.was_disturbed(ask.sent_at, ask.ended_at):
            return None
        return "cut, although origin and worker are well"


def request_of(ask: Ask) -> bytes:
    """Its bytes."""
    resource = ask.resource
    body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" if ask.method == b"POST" else b""
    lines = [
        b"%s %s HTTP/1.%d" % (ask.method, resource.path, ask.minor),
        b"Host: " + resource.host,
        b"X-Ask: %d" % ask.number,
    ]
    lines += [name.title() + b": " + value for name, value in ask.fields.items()]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*lines, b"", body))
