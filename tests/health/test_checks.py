"""Checks against servers on loopback that answer what a test tells them to."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edge.check_rules import Connect, Send
from edge.health.checks import (
    CheckStatus,
    Outcome,
    TcpProbe,
    TierProbe,
    Verdict,
)
from edge.health.sequence import SequenceProbe

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LONG_S = 5.0
SHORT_S = 0.1


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that runs `answer` for each connection and then closes it."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except OSError:
            return  # the check hung up first, as it may
        finally:
            writer.close()

    listener = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


def sends(*pieces: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.wire
def test_tcp_check_passes_on_connect_even_if_the_server_says_nothing() -> None:
    async def scenario() -> Outcome:
        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with server(silent) as port:
            return await TcpProbe("127.0.0.1", port).run(LONG_S)

    outcome = asyncio.run(scenario())
    assert (outcome.verdict, outcome.status) == (Verdict.PASSED, CheckStatus.L4OK)
    assert 0 <= outcome.duration_s < LONG_S


@pytest.mark.wire
def test_a_refused_connect_is_l4con() -> None:
    outcome = asyncio.run(TcpProbe("127.0.0.1", closed_port()).run(LONG_S))
    assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.L4CON)
    assert outcome.info == "Connection refused"


@pytest.mark.wire
def test_a_connect_that_is_never_answered_is_l4tout() -> None:
    async def scenario() -> list[Outcome]:
        # A queue that is full drops further SYNs, as a host that vanished does.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            rules = SequenceProbe("127.0.0.1", port, (Connect(), Send(b"a")), is_http=True)
            found = [await TcpProbe("127.0.0.1", port).run(SHORT_S), await rules.run(SHORT_S)]
            for filler in fillers:
                filler.close()
            return found

    for outcome in asyncio.run(scenario()):
        assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.L4TOUT)
        assert outcome.duration_s >= SHORT_S


@pytest.mark.parametrize(("usable", "status"), [(1, "L7OK"), (3, "L7OK"), (0, "L7STS")])
def test_a_tier_is_up_while_it_has_a_usable_server(usable: int, status: str) -> None:
    outcome = asyncio.run(TierProbe(lambda: usable).run(LONG_S))
    assert outcome.status == status
    assert outcome.code == (200 if usable else 503)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOMEM])
def test_a_shortage_of_our_own_is_no_result(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    for probe in (
        TcpProbe("127.0.0.1", 1),
        SequenceProbe("127.0.0.1", 1, (Connect(),), is_http=True),
    ):
        outcome = asyncio.run(probe.run(LONG_S))
        assert (outcome.verdict, outcome.status) == (Verdict.NO_RESULT, CheckStatus.SOCKERR)
