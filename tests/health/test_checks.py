"""Checks against servers on loopback that answer what a test tells them to."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edge.health.checks import (
    CheckStatus,
    HttpProbe,
    Outcome,
    TcpProbe,
    TierProbe,
    Verdict,
    build_request,
    count_usable,
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

EXPECTED = ((200, 299), (301, 399))
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


async def http_check(answer: Answer, timeout_s: float = LONG_S) -> Outcome:
    async with server(answer) as port:
        request = build_request("GET", "/hc", None)
        return await HttpProbe("127.0.0.1", port, request, EXPECTED).run(timeout_s)


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
def test_a_refused_connect_is_l4con_for_both_kinds() -> None:
    async def scenario() -> list[Outcome]:
        port = closed_port()
        http = HttpProbe("127.0.0.1", port, b"", EXPECTED)
        return [await TcpProbe("127.0.0.1", port).run(LONG_S), await http.run(LONG_S)]

    for outcome in asyncio.run(scenario()):
        assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.L4CON)


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
            http = HttpProbe("127.0.0.1", port, b"", EXPECTED)
            found = [await TcpProbe("127.0.0.1", port).run(SHORT_S), await http.run(SHORT_S)]
            for filler in fillers:
                filler.close()
            return found

    for outcome in asyncio.run(scenario()):
        assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.L4TOUT)
        assert outcome.duration_s >= SHORT_S


async def accepts_and_closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def accepts_and_resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def stalls(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


HEAD = b"HTTP/1.1 %b\r\nServer: t\r\n\r\n"
ANSWERS = [
    pytest.param(sends(HEAD % b"200 OK"), "L7OK", 200, id="200"),
    pytest.param(sends(b"HTTP/1.0 204\r\n\r\n"), "L7OK", 204, id="no-reason"),
    pytest.param(sends(b"HTTP/1.1 200 OK\n\n"), "L7OK", 200, id="bare-lf"),
    pytest.param(sends(HEAD % b"302 Found"), "L7OK", 302, id="302"),
    pytest.param(sends(HEAD % b"200 OK", b"x" * 100_000), "L7OK", 200, id="big-body"),
    pytest.param(sends(*[bytes([b]) for b in HEAD % b"200 OK"]), "L7OK", 200, id="byte-by-byte"),
    pytest.param(sends(HEAD % b"103 Early", HEAD % b"200 OK"), "L7OK", 200, id="interim"),
    pytest.param(sends(HEAD % b"300 Many"), "L7STS", 300, id="between-two-ranges"),
    pytest.param(sends(HEAD % b"399 X"), "L7OK", 399, id="last-of-a-range"),
    pytest.param(sends(HEAD % b"404 Not Found"), "L7STS", 404, id="404"),
    pytest.param(sends(HEAD % b"503 No"), "L7STS", 503, id="503"),
    pytest.param(accepts_and_closes, "L7RSP", None, id="accepts-and-closes"),
    pytest.param(accepts_and_resets, "L7RSP", None, id="accepts-and-resets"),
    pytest.param(sends(b"SSH-2.0-x\r\n"), "L7RSP", None, id="garbage"),
    pytest.param(sends(b"HTTP/1.1 2OO OK\r\n\r\n"), "L7RSP", None, id="letters-for-digits"),
    pytest.param(sends(b"HTTP/1.1 +20 OK\r\n\r\n"), "L7RSP", None, id="signed-status"),
    pytest.param(sends(b"HTTP/1.1 2000 OK\r\n\r\n"), "L7RSP", None, id="four-digits"),
    pytest.param(sends(b"HTTP/2 200 OK\r\n\r\n"), "L7RSP", None, id="http2"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nServer"), "L7RSP", None, id="cut-head"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 40_000), "L7RSP", None, id="endless"),
]


@pytest.mark.wire
@pytest.mark.parametrize(("answer", "status", "code"), ANSWERS)
def test_http_check_judges_the_answer(answer: Answer, status: str, code: int | None) -> None:
    outcome = asyncio.run(http_check(answer))
    assert (outcome.status, outcome.code) == (status, code)
    assert outcome.verdict is (Verdict.PASSED if status == "L7OK" else Verdict.FAILED)


@pytest.mark.wire
@pytest.mark.parametrize("answer", [stalls, drips], ids=["stalls", "drips"])
def test_the_timeout_covers_the_whole_answer(answer: Answer) -> None:
    outcome = asyncio.run(http_check(answer, SHORT_S))
    assert (outcome.verdict, outcome.status) == (Verdict.FAILED, CheckStatus.L7TOUT)
    assert SHORT_S <= outcome.duration_s < LONG_S


async def never_ends_its_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b"x" * 1_024)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.wire
def test_a_head_without_end_is_given_up_at_the_bound_and_not_at_the_timeout() -> None:
    outcome = asyncio.run(http_check(never_ends_its_head))
    assert (outcome.status, outcome.info) == (CheckStatus.L7RSP, "no complete answer")


@pytest.mark.wire
def test_the_request_is_haproxys() -> None:
    async def scenario() -> bytes:
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(HEAD % b"200 OK")

        async with server(keep) as port:
            request = build_request("GET", "/hc", None)
            await HttpProbe("127.0.0.1", port, request, EXPECTED).run(LONG_S)
        return await received

    assert asyncio.run(scenario()) == b"GET /hc HTTP/1.0\r\n\r\n"


def test_a_host_is_sent_when_configured() -> None:
    assert (
        build_request("HEAD", "/", "shop.example:80")
        == b"HEAD / HTTP/1.0\r\nHost: shop.example:80\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        ("GET /x", "/", None),
        ("GET", "/ HTTP/1.1\r\nX: y", None),
        ("GET", "/a b", None),
        ("GET", "/", "a\r\nX: y"),
        ("GET", "/ü", None),
        ("", "/", None),
    ],
)
def test_what_is_not_one_request_is_refused(method: str, path: str, host: str | None) -> None:
    with pytest.raises(ValueError, match="health check"):
        build_request(method, path, host)


@pytest.mark.parametrize(("usable", "status"), [(1, "L7OK"), (3, "L7OK"), (0, "L7STS")])
def test_a_tier_is_up_while_it_has_a_usable_server(usable: int, status: str) -> None:
    outcome = asyncio.run(TierProbe(lambda: usable).run(LONG_S))
    assert outcome.status == status
    assert outcome.code == (200 if usable else 503)


def test_usable_means_up_ready_and_weighted() -> None:
    assert count_usable([(True, True, 1), (False, True, 1), (True, False, 1), (True, True, 0)]) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOMEM])
def test_a_shortage_of_our_own_is_no_result(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    for probe in (TcpProbe("127.0.0.1", 1), HttpProbe("127.0.0.1", 1, b"", EXPECTED)):
        outcome = asyncio.run(probe.run(LONG_S))
        assert (outcome.verdict, outcome.status) == (Verdict.NO_RESULT, CheckStatus.SOCKERR)
