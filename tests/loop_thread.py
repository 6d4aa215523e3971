"""An asyncio loop in a thread of its own, for the servers that tests talk to.

The test stays synchronous: it calls `run` with a coroutine and gets its result, or its exception.
At the end every task is cancelled and awaited, so that nothing outlives the test.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CALL_TIMEOUT_S = 10.0
LINGER_RESET = struct.pack("ii", 1, 0)


class LoopThread:
    """Owns the loop and the thread; `stop` ends both."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; waits for it at most CALL_TIMEOUT_S."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(CALL_TIMEOUT_S)

    def call(self, function: Callable[[], T]) -> T:
        """The result of a plain function that ran in the loop's thread."""

        async def run() -> T:
            return function()

        return self.run(run())

    def stop(self) -> None:
        """Cancels what still runs and joins the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        assert not self._thread.is_alive(), "a task did not let itself be cancelled"


def bind_loopback(port: int = 0) -> socket.socket:
    """A socket bound to a port of 127.0.0.1 (0: a free one), not listening: connects are refused.

    SO_REUSEADDR lets a second socket bind the same port and listen, so the owner of this one can
    begin and stop to listen without losing the port to anybody else.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def listen_beside(bound: socket.socket) -> socket.socket:
    """A listening socket on the address of `bound` (see bind_loopback)."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(bound.getsockname())
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST instead of FIN (SO_LINGER with a timeout of 0)."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    writer.transport.abort()
