"""edge.health.agent: the words of a line, and how one is asked for."""

import asyncio

import pytest

from edge.health.agent import AgentProbe, Reply, parse_reply
from edge.health.checks import CheckStatus, Outcome, Verdict
from ext.limits import AdminState
from tests.health.test_checks import LONG_S, SHORT_S, Answer, closed_port, server


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"", Reply()),
        (b"up", Reply("up")),
        (b"UP\t75%", Reply("UP", weight="75%")),
        (b"drain,50%", Reply(order=AdminState.DRAIN, weight="50%")),
        (b"up down", Reply("down")),
        (b"ready maint", Reply(order=AdminState.MAINT)),
        (b"maxconn:30 weight:7", Reply(maxconn="30", weight="7")),
        (b"weight:25%", Reply(weight="25%")),
        (b"stopped # for a reason, up", Reply("stopped", description="for a reason, up")),
        (b"fail#x", Reply(unknown="fail#x")),
        (b"x y up", Reply("up", unknown="x")),
        (b"#only this", Reply(description="only this")),
        (b"50", Reply(unknown="50")),
        (b"\xff up", Reply("up", unknown="\xff")),
    ],
)
def test_words(line: bytes, reply: Reply) -> None:
    assert parse_reply(line) == reply


def test_which_words_are_health() -> None:
    assert [parse_reply(word).is_up for word in (b"up", b"down", b"fail", b"stopped", b"75%")] == [
        True,
        False,
        False,
        False,
        None,
    ]


@pytest.mark.parametrize(
    ("line", "warning", "status", "info"),
    [
        (b"up", "", "L7OK", "via agent : up"),
        (b"Down # x", "", "L7STS", "via agent : Down (x)"),
        (b"down odd # x", "", "L7STS", "via agent : down (x)"),
        (b"up odd # x", "", "L7OK", "via agent : up (odd)"),
        (b"up # x", "warned", "L7OK", "via agent : up (warned)"),
        (b"down", "warned", "L7STS", "via agent : down (warned)"),
        (b"drain", "", "CHECKED", ""),
        (b"odd", "warned", "CHECKED", "agent reports an error : odd"),
        (b"300%", "warned", "CHECKED", "agent warns : warned"),
    ],
)
def test_results(line: bytes, warning: str, status: str, info: str) -> None:
    result = parse_reply(line).result(warning, 0.5)
    assert (result.status, result.info, result.duration_s) == (status, info, 0.5)
    wanted = {"L7OK": Verdict.PASSED, "L7STS": Verdict.FAILED}.get(status, Verdict.NO_RESULT)
    assert result.verdict is wanted


def ask(answer: Answer, send: bytes = b"", timeout_s: float = LONG_S) -> tuple[Outcome, object]:
    async def scenario() -> tuple[Outcome, object]:
        async with server(answer) as port:
            return await AgentProbe("127.0.0.1", port, send).run(timeout_s)

    return asyncio.run(scenario())


def tells(*pieces: bytes) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


@pytest.mark.wire
@pytest.mark.parametrize(
    ("pieces", "line"),
    [([b"up\n"], b"up"), ([b"u", b"p", b"\r", b"\n"], b"up"), ([b"up\ndown\n"], b"up")],
)
def test_a_line_may_come_in_pieces(pieces: list[bytes], line: bytes) -> None:
    assert ask(tells(*pieces))[1] == line


@pytest.mark.wire
def test_what_is_sent_goes_first() -> None:
    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())

    assert ask(echoes, b"hello\n")[1] == b"hello"


@pytest.mark.wire
@pytest.mark.parametrize("pieces", [[], [b"up"], [b"x" * 20_000]])
def test_a_line_without_end_is_ignored(pieces: list[bytes]) -> None:
    result, line = ask(tells(*pieces))
    assert (line, result.info) == (None, "Ignoring incomplete line from agent")


async def says_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.wire
def test_an_agent_that_cannot_be_asked_says_nothing() -> None:
    result, line = ask(says_nothing, timeout_s=SHORT_S)
    assert (line, result.status) == (None, CheckStatus.L7TOUT)
    refused = asyncio.run(AgentProbe("127.0.0.1", closed_port(), b"").run(LONG_S))
    assert (refused[1], refused[0].status) == (None, CheckStatus.L4CON)
