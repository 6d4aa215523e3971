"""Checks made of rules, against servers on loopback that answer what a test tells them to."""

import asyncio
import socket

import pytest

from edge.check_rules import (
    Connect,
    Expect,
    Send,
    What,
    build_request,
    parse_http_rules,
    parse_tcp_rules,
)
from edge.health.checks import CheckStatus, Outcome, Verdict
from edge.health.sequence import SequenceProbe
from tests.health.test_checks import LONG_S, SHORT_S, Answer, closed_port, sends, server

EXPECTED = ((200, 299), (301, 399))
GET = Send(build_request("GET", "/hc", "HTTP/1.0", []))


async def http_check(answer: Answer, timeout_s: float = LONG_S) -> Outcome:
    rules = (Connect(is_implicit=True), GET, Expect(What.STATUS, codes=EXPECTED))
    async with server(answer) as port:
        return await SequenceProbe("127.0.0.1", port, rules, is_http=True).run(timeout_s)


def http_rules(answer: Answer, *lines: str, timeout_s: float = LONG_S) -> Outcome:
    """What a check of these rules finds."""

    async def scenario() -> Outcome:
        async with server(answer) as port:
            rules = parse_http_rules(lines, GET)
            return await SequenceProbe("127.0.0.1", port, rules, is_http=True).run(timeout_s)

    return asyncio.run(scenario())


def tcp_rules(answer: Answer, *lines: str, timeout_s: float = LONG_S) -> Outcome:
    async def scenario() -> Outcome:
        async with server(answer) as port:
            rules = parse_tcp_rules(lines)
            return await SequenceProbe("127.0.0.1", port, rules, is_http=False).run(timeout_s)

    return asyncio.run(scenario())


async def reads_and_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
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
    pytest.param(reads_and_closes, "L7RSP", None, id="reads-and-closes"),
    pytest.param(accepts_and_resets, "SOCKERR", None, id="accepts-and-resets"),
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
    assert (outcome.status, outcome.info) == (CheckStatus.L7RSP, "")


PAGE = b"HTTP/1.1 200 Fine\r\nX-Load: 3, low\r\nVia: a, b\r\nContent-Length: 5\r\n\r\nready"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n"
)
HTTP_RULES = [
    (PAGE, ["expect status 200"], "L7OK", ""),
    (PAGE, ["expect status 201,300-399"], "L7STS", "Fine"),
    (PAGE, ["expect ! status 200"], "L7STS", "Fine"),
    (PAGE, ["expect ! status 500-599"], "L7OK", ""),
    (PAGE, ["expect rstatus ^2.0$"], "L7OK", ""),
    (PAGE, ["expect rstatus ^3"], "L7STS", "Fine"),
    (PAGE, ["expect string ready"], "L7OK", ""),
    (PAGE, ["expect string Ready"], "L7RSP", "HTTP content check did not match"),
    (PAGE, ["expect ! string ready"], "L7RSP", "HTTP check matched unwanted content"),
    (PAGE, ["expect rstring ^re.*y$"], "L7OK", ""),
    (CHUNKED, ["expect string ready"], "L7OK", ""),
    (CHUNKED, ["expect rstring ^ready$"], "L7OK", ""),
    (PAGE, ["expect hdr name x-load value low"], "L7OK", ""),
    (PAGE, ["expect hdr name X-LOAD value LOW"], "L7STS", "Fine"),
    (PAGE, ["expect hdr name -m beg x-l"], "L7OK", ""),
    (PAGE, ["expect fhdr name via value 'a, b'"], "L7OK", ""),
    (PAGE, ["expect hdr name via value 'a, b'"], "L7STS", "Fine"),
    (PAGE, ["expect hdr name via value -m reg ^[b-z]$"], "L7OK", ""),
    (PAGE, ["expect hdr name -m reg ^X- value -m sub ow"], "L7OK", ""),
    (PAGE, ["expect hdr name -m end oad value -m end w"], "L7OK", ""),
    (PAGE, ["expect hdr name server"], "L7STS", "Fine"),
    (PAGE, ["expect ! hdr name server"], "L7OK", ""),
    (PAGE, ["expect status 200", "expect string ready"], "L7OK", ""),
    (PAGE, ["expect status 200", "expect string no"], "L7RSP", "HTTP content check did not match"),
    (PAGE, ["expect status 201 comment late"], "L7STS", "Fine comment: late"),
    (PAGE, ["comment late", "expect status 201"], "L7STS", "Fine comment: late"),
    (PAGE, ["expect status 200 ok-status L4OK"], "L4OK", ""),
    (PAGE, ["expect status 201 error-status L4CON"], "L4CON", "Fine"),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ["expect string a"],
        "L7RSP",
        "HTTP content check could not find a response body",
    ),
    (b"HTTP/1.1 200 OK\r\n\r\nto the end", ["expect string end"], "L7OK", ""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ["expect status 200"], "L7RSP", ""),
    (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", ["expect status 200"], "L7RSP", ""),
]


@pytest.mark.wire
@pytest.mark.parametrize("is_dripped", [False, True], ids=["at-once", "byte-by-byte"])
@pytest.mark.parametrize(("page", "lines", "status", "info"), HTTP_RULES)
def test_http_rules(
    page: bytes, lines: list[str], status: str, info: str, is_dripped: bool
) -> None:
    pieces = [bytes([byte]) for byte in page] if is_dripped else [page]
    outcome = http_rules(sends(*pieces), *lines)
    assert (outcome.status, outcome.info) == (status, info)


@pytest.mark.wire
def test_a_body_beyond_the_buffer_is_not_looked_at() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n"
    found = http_rules(sends(head, b"x" * 29_995 + b"ready"), "expect string ready")
    assert found.status is CheckStatus.L7RSP
    found = http_rules(sends(head, b"x" * 16_000 + b"ready" + b"x" * 13_995), "expect string ready")
    assert found.status is CheckStatus.L7OK


@pytest.mark.wire
@pytest.mark.parametrize(("is_running", "status"), [(True, "L7OKC"), (False, "L7STS")])
def test_a_404_stops_a_server_that_runs(is_running: bool, status: str) -> None:
    async def scenario() -> Outcome:
        async with server(sends(b"HTTP/1.1 404 X\r\n\r\n")) as port:
            rules = parse_http_rules(["expect status 200"], GET)
            asks = SequenceProbe("127.0.0.1", port, rules, True, lambda: is_running)
            return await asks.run(LONG_S)

    outcome = asyncio.run(scenario())
    verdict = Verdict.CONDITIONAL if is_running else Verdict.FAILED
    assert (outcome.status, outcome.code, outcome.verdict) == (status, 404, verdict)


async def pongs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greets, and answers each line with PONG and its number."""
    writer.write(b"+HI\r\n")
    number = 0
    while line := await reader.readline():
        number += 1
        writer.write(b"+PONG %d %b" % (number, line))


TCP_RULES = [
    (["connect"], "L4OK", "(tcp-check)"),
    (["send a"], "L7OK", "(tcp-check)"),
    (["expect string +HI"], "L7OK", "(tcp-check)"),
    ([r"expect string +HI\r\n"], "L7OK", "(tcp-check)"),
    (["expect binary 2b4849"], "L7OK", "(tcp-check)"),
    (["expect rstring ^.H"], "L7OK", "(tcp-check)"),
    (["expect rbinary ^2B48"], "L7OK", "(tcp-check)"),
    (["expect string +HI", r"send a\n", "expect string 'PONG 1 a'"], "L7OK", "(tcp-check)"),
    ([r"send-binary 610a", "expect string 'PONG 1 a'"], "L7OK", "(tcp-check)"),
    (["connect", "expect string +HI", "connect", "expect string +HI"], "L7OK", "(tcp-check)"),
    (["expect ! string HI"], "L7RSP", "TCPCHK matched unwanted content 'HI' at step 1"),
    (
        ["expect min-recv 3 ! rstring H"],
        "L7RSP",
        "TCPCHK matched unwanted content (regex) at step 1",
    ),
    (["expect min-recv 3 ! string no"], "L7OK", "(tcp-check)"),
    (
        ["connect", "comment why", "expect ! binary 48"],
        "L7RSP",
        "TCPCHK matched unwanted content (binary) at step 3 comment: why",
    ),
]


@pytest.mark.wire
@pytest.mark.parametrize(("lines", "status", "info"), TCP_RULES)
def test_tcp_rules(lines: list[str], status: str, info: str) -> None:
    outcome = tcp_rules(pongs, *lines)
    assert (outcome.status, outcome.info) == (status, info)


@pytest.mark.wire
def test_what_never_comes_is_a_timeout_and_what_cannot_come_a_mismatch() -> None:
    outcome = tcp_rules(pongs, "expect string no", timeout_s=SHORT_S)
    assert (outcome.status, outcome.info) == (
        CheckStatus.L7TOUT,
        " at step 1 of tcp-check (expect string 'no')",
    )
    late = tcp_rules(pongs, "expect string no tout-status L4TOUT", timeout_s=SHORT_S)
    assert late.status is CheckStatus.L4TOUT

    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+HI\r\n")

    outcome = tcp_rules(greets, "expect string no")
    assert (outcome.status, outcome.info) == (
        CheckStatus.L7RSP,
        "TCPCHK did not match content 'no' at step 1",
    )


@pytest.mark.wire
def test_what_must_not_come_is_looked_for_again_while_more_comes() -> None:
    released = asyncio.Event()

    async def bad_news_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"good ")
        await reader.readline()
        writer.write(b"bad end")
        await reader.read()

    outcome = tcp_rules(
        bad_news_late,
        r"send \n",
        "expect min-recv 1 ! string bad",
        "expect string end",
    )
    assert outcome.info == "TCPCHK matched unwanted content 'bad' at step 2"
    assert not released.is_set()


@pytest.mark.wire
def test_a_connect_names_its_place() -> None:
    async def scenario() -> tuple[Outcome, Outcome]:
        rules = parse_tcp_rules(["send a"])
        implicit = await SequenceProbe("127.0.0.1", closed_port(), rules, False).run(LONG_S)
        rules = parse_tcp_rules(["comment c", f"connect port {closed_port()}", "send a"])
        return implicit, await SequenceProbe("127.0.0.1", 1, rules, False).run(LONG_S)

    implicit, explicit = asyncio.run(scenario())
    assert implicit.status is explicit.status is CheckStatus.L4CON
    assert implicit.info == "Connection refused at initial connection step of tcp-check"
    assert "Connection refused at step 2 of tcp-check (connect port " in explicit.info
    assert explicit.info.endswith(") comment: 'c'")
