"""HAProxy's agent check: a server's own program says in one line how much it wants to do.

    up | down | fail | stopped     health; behind `#` may stand why
    ready | drain | maint          what an operator may order, too
    75%                            weight, of what the file says
    maxconn:30                     concurrent requests
    weight:20                      weight; HAProxy 3 knows this word, 2.6 calls it an error

in any order, separated by blanks or commas; of each kind the last one counts. A server that its
agent has put DOWN, drained or into maintenance waits for the agent's `up` or `ready`. An agent that
cannot be reached, or says nothing of these, changes nothing.

Source: HAProxy 2.6, configuration manual 5.2 (`agent-check`); tcpcheck.c
(tcpcheck_agent_expect_reply), whose texts these are.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from edge.clock import now
from edge.health.checks import CheckStatus, Outcome, Verdict, connect_failed, outcome, reason_of
from ext.limits import AdminState

REPLY_BYTES_MAX = 16_384  # HAProxy's buffer
READ_BYTES = 4_096
LINE_END = re.compile(rb"[\r\n]")
WORD = re.compile(r"[^ \t,]+")
UPS, DOWNS = frozenset({"up"}), frozenset({"down", "stopped", "fail"})
ORDERS = {"ready": AdminState.READY, "drain": AdminState.DRAIN, "maint": AdminState.MAINT}


@dataclass(frozen=True, slots=True)
class Reply:
    """What one line says. Texts of weight and maxconn are not looked at yet."""

    health_word: str = ""
    order: AdminState | None = None
    weight: str = ""
    maxconn: str = ""
    description: str = ""
    unknown: str = ""  # the first word that is none of the above

    @property
    def is_up(self) -> bool | None:
        """None where nothing is said about health."""
        return self.health_word.lower() in UPS if self.health_word else None

    def result(self, warning: str, duration_s: float) -> Outcome:
        """As HAProxy reports it. `warning`: what was wrong with weight or maxconn."""
        if self.health_word:
            text = self.description
            if not text or self.is_up:
                text = self.unknown or warning or text
            info = f"via agent : {self.health_word}" + (f" ({text})" if text else "")
            if self.is_up:
                return Outcome(Verdict.PASSED, CheckStatus.L7OK, duration_s, 0, info)
            return Outcome(Verdict.FAILED, CheckStatus.L7STS, duration_s, 0, info)
        info = ""
        if self.unknown:
            info = f"agent reports an error : {self.unknown}"
        elif warning:
            info = f"agent warns : {warning}"
        return Outcome(Verdict.NO_RESULT, CheckStatus.CHECKED, duration_s, None, info)


def parse_reply(line: bytes) -> Reply:
    """The words of a line, without its end."""
    words, description = _split(line.decode("latin-1"))
    found: dict[str, str] = {}
    order = None
    for word in words:
        lower = word.lower()
        if lower in UPS | DOWNS:
            found["health_word"] = word
        elif lower in ORDERS:
            order = ORDERS[lower]
        elif word[:1].isdigit() and "%" in word:
            found["weight"] = word
        elif lower.startswith("weight:"):
            found["weight"] = word.partition(":")[2]
        elif lower.startswith("maxconn:"):
            found["maxconn"] = word.partition(":")[2]
        else:
            found.setdefault("unknown", word)
    return Reply(order=order, description=description, **found)


def _split(text: str) -> tuple[list[str], str]:
    """The words, and what stands behind a word that begins with a sharp."""
    words: list[str] = []
    for found in WORD.finditer(text):
        if found[0].startswith("#"):
            return words, text[found.start() + 1 :].strip(" \t")
        words.append(found[0])
    return words, ""


class AgentProbe:
    """Asks one agent. What is asked, and where, an operator may change."""

    def __init__(self, host: str, port: int, send: bytes) -> None:
        self.host = host
        self.port = port
        self.send = send

    async def run(self, timeout_s: float) -> tuple[Outcome, bytes | None]:
        """How it went, and the line where there was a whole one; never raises for the agent."""
        started = now()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                except TimeoutError:
                    return outcome(started, Verdict.NO_RESULT, CheckStatus.L4TOUT), None
                except OSError as error:
                    return connect_failed(started, error), None
                if self.send:
                    writer.write(self.send)
                line = await _read_line(reader)
        except TimeoutError:
            late = CheckStatus.L4TOUT if writer is None else CheckStatus.L7TOUT
            return outcome(started, Verdict.NO_RESULT, late), None
        except OSError as error:
            text = reason_of(error)
            return outcome(started, Verdict.NO_RESULT, CheckStatus.SOCKERR, info=text), None
        finally:
            if writer is not None:
                writer.transport.abort()
        info = "Ignoring incomplete line from agent" if line is None else ""
        return outcome(started, Verdict.NO_RESULT, CheckStatus.CHECKED, info=info), line


async def _read_line(reader: asyncio.StreamReader) -> bytes | None:
    """Up to the first line end; None when none came."""
    received = b""
    while len(received) < REPLY_BYTES_MAX:
        chunk = await reader.read(READ_BYTES)
        received += chunk
        end = LINE_END.search(received)
        if end is not None:
            return received[: end.start()]
        if not chunk:
            return None
    return None
