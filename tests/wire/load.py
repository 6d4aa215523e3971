"""A small closed-loop load for wire tests: clients that ask one request after the other.

Every request has a number of its own, which the answer must name: an answer that belongs to another
request is a failure (the nodes play AnswerTarget, or serve a file of that name). What a client may
meet without a failure is what RFC 9112 §9.6 tells it to expect: an answer with `Connection: close`,
after which it connects anew.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness import Client, CutShortError


class Load:
    """Some clients in threads. `failures` says what went wrong, `done` counts what went well.

    `refused` counts answers whose status is in `may_be`: complete ones, that are no failure.
    """

    def __init__(
        self,
        port: int,
        clients: int,
        method: bytes,
        is_new_each: bool,
        may_be: frozenset[int] = frozenset(),
    ) -> None:
        self.failures: list[str] = []
        self.done = 0
        self.refused = 0
        self._may_be = may_be
        self._port = port
        self._method = method
        self._is_new_each = is_new_each
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._end_when_refused = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_done(self, more: int, timeout_s: float = 20.0) -> None:
        """Returns when `more` further requests have gone well, or one has not."""
        with self._changed:
            aim = self.done + more
            self._changed.wait_for(lambda: self.done >= aim or bool(self.failures), timeout_s)
        assert self.done >= aim, self.failures

    def end_when_refused(self) -> None:
        """From now on a refused connection is the end of a client, and no failure.

        Nor is one that is reset before its first answer: Linux completes connections in the name
        of a listening socket and resets those that nobody has accepted when it closes.
        """
        self._end_when_refused.set()

    def stop(self) -> None:
        """Ends the clients after their running requests."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a request hangs"

    def _run(self) -> None:
        client: Client | None = None
        count = 0
        try:
            while not self._stop.is_set():
                if client is None:
                    client = self._connect()
                    count = 0
                    if client is None:
                        return
                count += 1
                if not self._ask(client, count):
                    client.close()
                    client = None
        finally:
            if client is not None:
                client.close()

    def _connect(self) -> Client | None:
        try:
            return Client(self._port)
        except ConnectionRefusedError as error:
            if not self._end_when_refused.is_set():
                self._fail(f"connect: {error!r}")
            return None

    def _ask(self, client: Client, count: int) -> bool:
        """The count-th request on a connection; whether it may be used again."""
        number = next(self._numbers)
        start = b"%s /%d HTTP/1.1\r\nHost: a\r\n" % (self._method, number)
        body = b"%d" % number if self._method == b"POST" else b""
        fields = b"Content-Length: %d\r\n" % len(body) if body else b""
        if self._is_new_each:
            fields += b"Connection: close\r\n"
        try:
            client.send(start + fields + b"\r\n" + body)
            response = client.read_response(self._method)
        except (CutShortError, OSError) as error:
            is_unaccepted = count == 1 and isinstance(error, ConnectionResetError)
            if is_unaccepted and self._end_when_refused.is_set():
                return False
            self._fail(f"request {number}, {count}. on its connection: {error!r}")
            return False
        is_good = response.status == 200 and response.body == b"/%d" % number
        if not is_good and response.status not in self._may_be:
            self._fail(f"request {number}: {response}")
            return False
        with self._changed:
            self.done += is_good
            self.refused += not is_good
            self._changed.notify_all()
        return not self._is_new_each and response.values(b"connection") != [b"close"]

    def _fail(self, what: str) -> None:
        with self._changed:
            self.failures.append(what)
            self._changed.notify_all()


@contextmanager
def run_load(
    port: int,
    clients: int = 4,
    method: bytes = b"GET",
    is_new_each: bool = False,
    may_be: frozenset[int] = frozenset(),
) -> Iterator[Load]:
    """The load runs inside the `with`; afterwards there were no failures."""
    load = Load(port, clients, method, is_new_each, may_be)
    load.start()
    try:
        yield load
    finally:
        load.stop()
    assert not load.failures, load.failures[:5]
