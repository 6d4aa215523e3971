"""A TCP proxy that misbehaves on command, to put between edge and an origin, or a client and edge.

    with FaultProxy(origin.port) as proxy:
        proxy.split(1)              # what goes to the client arrives in single bytes
        proxy.reset(after_bytes=100)
        proxy.refuse()

A command holds for new connections and for what running ones read from now on, until `clear` or the
next command of the same kind. Byte counts are those of the faulty direction: TO_CLIENT (what the
target answers) unless the command names TO_TARGET. Nothing is parsed; it works for any protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
from dataclasses import dataclass
from typing import Literal

from tests.loop_thread import LoopThread, bind_loopback, listen_beside, reset

Direction = Literal["to client", "to target"]
TO_CLIENT: Direction = "to client"
TO_TARGET: Direction = "to target"
READ_BYTES = 65536


@dataclass(frozen=True)
class Faults:
    """What one direction of every connection suffers; the defaults are none."""

    delay_s: float = 0.0
    split_bytes: int = 0
    bytes_per_s: float = 0.0
    cut_after_bytes: int | None = None
    reset_after_bytes: int | None = None

    @property
    def end_bytes(self) -> int | None:
        """After how many bytes the connection ends, None = never."""
        ends = [n for n in (self.cut_after_bytes, self.reset_after_bytes) if n is not None]
        return min(ends, default=None)


class FaultProxy:
    """Listens on a port of its own and forwards to `target_port` of 127.0.0.1."""

    def __init__(self, target_port: int) -> None:
        self.connections = 0
        self.bytes_sent: dict[Direction, int] = {TO_CLIENT: 0, TO_TARGET: 0}
        self._target_port = target_port
        self._faults: dict[Direction, Faults] = {TO_CLIENT: Faults(), TO_TARGET: Faults()}
        self._is_black = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._accepted = threading.Condition()
        self._thread = LoopThread("faultproxy")
        self._bound = bind_loopback()
        self._server: asyncio.Server | None = None
        self.port: int = self._bound.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.accept()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- commands -----------------------------------------------------------------------------

    def clear(self) -> None:
        """No faults; a refusing proxy listens again."""
        self._thread.call(self._clear)
        self.accept()

    def delay(self, seconds: float, direction: Direction = TO_CLIENT) -> None:
        """Each piece that was read waits this long before it is sent on."""
        self._change(direction, delay_s=seconds)

    def split(self, size_bytes: int, direction: Direction = TO_CLIENT) -> None:
        """At most `size_bytes` per send, and per segment (TCP_NODELAY, one loop turn between)."""
        self._change(direction, split_bytes=size_bytes)

    def throttle(self, bytes_per_s: float, direction: Direction = TO_CLIENT) -> None:
        """No more than this rate, per connection."""
        self._change(direction, bytes_per_s=bytes_per_s)

    def cut(self, after_bytes: int, direction: Direction = TO_CLIENT) -> None:
        """FIN to both sides once `after_bytes` have been forwarded on a connection."""
        self._change(direction, cut_after_bytes=after_bytes)

    def reset(self, after_bytes: int = 0, direction: Direction = TO_CLIENT) -> None:
        """RST to both sides once `after_bytes` have been forwarded; 0 = as soon as data comes."""
        self._change(direction, reset_after_bytes=after_bytes)

    def blackhole(self, on: bool = True) -> None:
        """Accept and read, forward nothing, answer nothing (also on running connections)."""
        self._thread.call(lambda: setattr(self, "_is_black", on))

    def refuse(self) -> None:
        """Stop to listen: connecting is refused by the kernel. Running connections go on."""
        self._thread.run(self._stop_listening())

    def accept(self) -> None:
        """Listen (again) on the same port."""
        self._thread.run(self._listen())

    def cut_all(self) -> None:
        """FIN to both sides of every connection, now."""
        self._thread.call(lambda: [writer.close() for writer in self._writers])

    def reset_all(self) -> None:
        """RST to both sides of every connection, now."""
        self._thread.call(lambda: [reset(writer) for writer in self._writers])

    def wait_connections(self, count: int, timeout_s: float = 5.0) -> None:
        """Returns when `count` connections have been accepted since the start."""
        with self._accepted:
            reached = self._accepted.wait_for(lambda: self.connections >= count, timeout_s)
        assert reached, f"{self.connections} of {count} connections"

    def close(self) -> None:
        """Ends everything and frees the port."""
        self.refuse()
        self.reset_all()
        self._thread.stop()
        self._bound.close()

    # -- in the loop's thread -----------------------------------------------------------------

    def _clear(self) -> None:
        self._faults = {TO_CLIENT: Faults(), TO_TARGET: Faults()}
        self._is_black = False

    def _change(self, direction: Direction, **changes: float | None) -> None:
        def change() -> None:
            self._faults[direction] = dataclasses.replace(
                self._faults[direction],
                **changes,  # type: ignore[arg-type]  # names and types are those of the commands
            )

        self._thread.call(change)

    async def _listen(self) -> None:
        if self._server is None:
            listening = listen_beside(self._bound)
            self._server = await asyncio.start_server(self._on_connection, sock=listening)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with self._accepted:
            self.connections += 1
            self._accepted.notify_all()
        ends = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection(
                "127.0.0.1", self._target_port
            )
            ends.append(target_writer)
            self._writers.update(ends)
            for end in ends:
                end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(
                self._pump(reader, target_writer, TO_TARGET, ends),
                self._pump(target_reader, writer, TO_CLIENT, ends),
            )
        except OSError:
            for end in ends:  # one side is gone with an error; so is the other
                reset(end)
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        ends: list[asyncio.StreamWriter],
    ) -> None:
        """Forwards one direction until its end of file, which is passed on as a half-close."""
        sent = 0
        while data := await reader.read(READ_BYTES):
            if self._is_black:
                # Nothing is answered any more; only the peer's end of file ends this connection.
                while await reader.read(READ_BYTES):
                    pass
                self._end(ends, is_reset=False)
                return
            faults = self._faults[direction]
            if faults.delay_s:
                await asyncio.sleep(faults.delay_s)
            end_bytes = faults.end_bytes
            if end_bytes is not None and sent + len(data) >= end_bytes:
                await self._send(writer, direction, data[: end_bytes - sent], faults)
                self._end(ends, is_reset=end_bytes == faults.reset_after_bytes)
                return
            await self._send(writer, direction, data, faults)
            sent += len(data)
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _end(self, ends: list[asyncio.StreamWriter], *, is_reset: bool) -> None:
        for end in ends:
            if is_reset:
                reset(end)
            else:
                end.close()

    async def _send(
        self, writer: asyncio.StreamWriter, direction: Direction, data: bytes, faults: Faults
    ) -> None:
        size = faults.split_bytes or len(data) or 1
        if faults.bytes_per_s:
            size = max(1, min(size, int(faults.bytes_per_s / 20)))
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            writer.write(piece)
            await writer.drain()
            self.bytes_sent[direction] += len(piece)
            # A turn of the loop between two pieces, or the time the rate asks for.
            await asyncio.sleep(len(piece) / faults.bytes_per_s if faults.bytes_per_s else 0)
