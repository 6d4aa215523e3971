"""Two workers hammer one server with maxconn 1: never two requests at once, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.loop_thread import LoopThread, bind_loopback
from tests.wire.stand import Stand, is_at_rest, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {queue: 60s}
nodes:
  - {name: node1, web: 127.0.0.1:$node1, maxconn: 1}
"""
WORKERS, CLIENTS, REQUESTS_EACH = 2, 12, 30


class Narrow:
    """A server that counts how many requests it has at once; each takes a few turns of its loop,
    so that a second one would be seen."""

    TURNS = 20

    def __init__(self, port: int) -> None:
        self.most = self.served = self._now = 0
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._thread = LoopThread("narrow")
        self._server = self._thread.run(self._listen(port))

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, sock=bind_loopback(port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        with closing(writer):
            while True:
                try:
                    await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionResetError):
                    return
                except asyncio.CancelledError:  # the end of the test
                    return
                self._now += 1
                self.most = max(self.most, self._now)
                for _ in range(self.TURNS):
                    await asyncio.sleep(0)
                self._now -= 1
                self.served += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._thread.run(self._end())
        self._thread.stop()

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge"), WORKERS) as made:
        yield made


def test_one_slot_is_never_taken_twice(stand: Stand) -> None:
    statuses: list[int] = []

    def ask(client_count: int) -> None:
        with ExitStack() as stack:
            client = stack.enter_context(stand.client())
            for number in range(REQUESTS_EACH):
                statuses.append(client.get(f"/{client_count}/{number}").head.status)

    with closing(Narrow(stand.ports["node1"])) as node:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * (CLIENTS * REQUESTS_EACH)
        assert node.served == CLIENTS * REQUESTS_EACH
        assert node.most == 1
    stand.edge.wait_status(is_at_rest)
