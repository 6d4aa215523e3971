"""The CLI on its sockets: lines in, answers out, as HAProxy speaks.

A command ends at a line end or at `;`. Every answer is followed by an empty line, so a change that
worked is answered by that line alone. Once everything received is answered the connection is
closed, unless `prompt` was said: then each answer ends in `> ` until `quit` or silence.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from dataclasses import replace

from edge.control.haproxy.commands import Client, Commands

COMMAND_BYTES_MAX = 16_384  # HAProxy's buffer: a longer command ends the connection
READ_BYTES = 4_096
STOP_S_MAX = 0.5  # one answer takes milliseconds; a reload is not to wait for a prompt
CLIENTS_MAX = 10  # HAProxy's `stats maxconn`: the others wait
CONNECTIONS_MAX = 100  # with those that wait; each costs a descriptor that checks need, too
DELIMITED = re.compile(rb"((?:\\.|[^\\\n;])*)[\n;]", re.DOTALL)


class Cli:
    """Serves every client of the given sockets; `client` is how each begins."""

    def __init__(self, commands: Commands, client: Client) -> None:
        self._commands = commands
        self._client = client
        self._servers: list[asyncio.Server] = []
        self._seats = asyncio.Semaphore(CLIENTS_MAX)
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            is_unix = listener.family == socket.AF_UNIX
            start = asyncio.start_unix_server if is_unix else asyncio.start_server
            self._servers.append(await start(self._serve, sock=listener))

    async def stop(self) -> None:
        """Accepts no more, lets who is being answered end, and cuts who stays at the prompt.

        The supervisor's copies of the sockets stay open for a successor.
        """
        for server in self._servers:
            server.close()
        if self._busy:
            await asyncio.wait(self._busy, timeout=STOP_S_MAX)
        for task in self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            if len(self._busy) <= CONNECTIONS_MAX:
                await self._wait_and_talk(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the client is gone, or silent for too long; or `stop` has no more patience
        finally:
            self._busy.discard(task)
            writer.close()

    async def _wait_and_talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(self._client.timeout_s):
            await self._seats.acquire()
        try:
            await self._talk(reader, writer)
        finally:
            self._seats.release()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = replace(self._client)
        received = b""
        while not client.is_leaving:
            async with asyncio.timeout(client.timeout_s):
                chunk = await reader.read(READ_BYTES)
            received += chunk
            has_answered = False
            while not client.is_leaving and (found := DELIMITED.match(received)):
                received = received[found.end() :]
                await self._commands.prepare(client, text_of(found[1]))
                writer.write(self._answer(client, found[1]))
                async with asyncio.timeout(client.timeout_s):
                    await writer.drain()
                await asyncio.sleep(0)  # many commands at once do not keep the checks waiting
                has_answered = True
            if not chunk or len(received) > COMMAND_BYTES_MAX:
                return
            if has_answered and not received and not client.is_interactive:
                return

    def _answer(self, client: Client, line: bytes) -> bytes:
        text = self._commands.answer(client, text_of(line))
        if client.is_leaving:
            return b""
        return f"{text}\n{'> ' if client.is_interactive else ''}".encode()


def text_of(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")
