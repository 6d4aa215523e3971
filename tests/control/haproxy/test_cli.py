"""edge.control.haproxy.cli on real sockets: lines, limits, silence."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge.control.haproxy import cli as cli_module
from edge.control.haproxy.cli import Cli
from edge.control.haproxy.commands import Client, Level
from tests.control.conftest import SHOP
from tests.control.haproxy.conftest import Bench

pytestmark = pytest.mark.wire

Build = Callable[[str], Bench]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
WAIT_S_MAX = 20.0


def talk(made: Bench, *talks: Talk, timeout_s: float = WAIT_S_MAX) -> list[bytes]:
    """What each conversation returns; all at once, over TCP."""

    async def scenario() -> list[bytes]:
        listener = socket.create_server(("127.0.0.1", 0))
        cli = Cli(made.commands, Client(Level.ADMIN, timeout_s=timeout_s))
        await cli.start([listener])
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                return await asyncio.gather(*(one(listener, each) for each in talks))
        finally:
            await cli.stop()

    async def one(listener: socket.socket, each: Talk) -> bytes:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            return await each(reader, writer)
        finally:
            writer.close()

    return asyncio.run(scenario())


def saying(*parts: bytes, closes: bool = False) -> Talk:
    """Sends the parts, each after the one before has been read, and reads to the end."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if closes:
            writer.write_eof()
        return await reader.read()

    return run


def test_a_line_is_answered_and_the_connection_closed(bench: Build) -> None:
    assert talk(bench(SHOP), saying(b"show backend\n")) == [b"# name\nhaproxy\n\n"]


@pytest.mark.parametrize(
    "parts",
    [
        [b"show cli level;get weight haproxy/node1\n"],
        [b"show cli level\nget weight haproxy/node1\n"],
        [b"show cli level\r\nget weight haproxy/node1\r\n"],
    ],
)
def test_several_commands(bench: Build, parts: list[bytes]) -> None:
    assert talk(bench(SHOP), saying(*parts)) == [b"admin\n\n1 (initial 1)\n\n"]


def test_a_command_may_come_byte_by_byte(bench: Build) -> None:
    parts = [bytes([byte]) for byte in b"get weight haproxy/node1\n"]
    assert talk(bench(SHOP), saying(*parts)) == [b"1 (initial 1)\n\n"]


def test_a_command_without_an_end_is_not_run(bench: Build) -> None:
    made = bench(SHOP)
    assert talk(made, saying(b"set weight haproxy/node1 9", closes=True)) == [b""]
    assert made.say("get weight haproxy/node1") == "1 (initial 1)\n"


def test_an_escaped_semicolon_ends_nothing(bench: Build) -> None:
    (answer,) = talk(bench(SHOP), saying(rb"show errors a\;show" + b"\n"))
    assert answer == b"No such proxy.\n\n"


def test_the_prompt(bench: Build) -> None:
    (answer,) = talk(bench(SHOP), saying(b"prompt\n", b"show cli level\n", b"quit\n"))
    assert answer == b"\n> admin\n\n> "


def test_silence_ends_it(bench: Build) -> None:
    assert talk(bench(SHOP), saying(b"prompt\n"), timeout_s=0.05) == [b"\n> "]


def test_an_endless_command_ends_it(bench: Build) -> None:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"x" * (cli_module.COMMAND_BYTES_MAX + cli_module.READ_BYTES))
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert talk(bench(SHOP), run) == [b""]


def test_others_wait_while_all_seats_are_taken(
    bench: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_module, "CLIENTS_MAX", 1)
    first_is_in, leave = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"prompt\n")
        await reader.readuntil(b"> ")
        first_is_in.set()
        await leave.wait()
        order.append("first leaves")
        writer.write(b"quit\n")
        return await reader.read()

    async def second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await first_is_in.wait()
        writer.write(b"show cli level\n")
        answer = asyncio.ensure_future(reader.read())
        leave.set()
        await answer
        order.append("second is answered")
        return answer.result()

    assert talk(bench(SHOP), first, second) == [b"", b"admin\n\n"]
    assert order == ["first leaves", "second is answered"]


def test_too_many_connections_are_closed(bench: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_module, "CONNECTIONS_MAX", 0)
    assert talk(bench(SHOP), saying()) == [b""]


def test_a_unix_socket(bench: Build, tmp_path: Path) -> None:
    made = bench(SHOP)

    async def scenario() -> bytes:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "cli"))
        listener.listen()
        cli = Cli(made.commands, Client(Level.USER))
        await cli.start([listener])
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "cli"))
        writer.write(b"show cli level\n")
        answer = await reader.read()
        writer.close()
        await cli.stop()
        return answer

    assert asyncio.run(scenario()) == b"user\n\n"


def test_a_stop_cuts_a_prompt_and_not_an_answer(
    bench: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_module, "STOP_S_MAX", 0.05)
    made = bench(SHOP)
    problems: list[dict[str, object]] = []

    async def scenario() -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        listener = socket.create_server(("127.0.0.1", 0))
        cli = Cli(made.commands, Client(Level.ADMIN))
        await cli.start([listener])
        at_prompt, prompt_writer = await asyncio.open_connection(*listener.getsockname())
        prompt_writer.write(b"prompt\n")
        await at_prompt.readuntil(b"> ")
        late, late_writer = await asyncio.open_connection(*listener.getsockname())
        late_writer.write(b"show cli level; show cli")
        await late.readuntil(b"\n\n")  # it is served now, in the middle of its second command
        stopping = asyncio.create_task(cli.stop())
        late_writer.write(b" level\n")
        answers = await at_prompt.read(), await late.read()
        await stopping
        for writer in (prompt_writer, late_writer):
            writer.close()
        await asyncio.sleep(0)
        return answers

    assert asyncio.run(scenario()) == (b"", b"admin\n\n")
    assert problems == []
