"""What a check of one server is and finds: a connect, a look at the servers of another tier.

Checks that ask the server something are in `edge.health.sequence`.

Each probe has one coroutine, `run(timeout_s)`, which always returns an `Outcome` and never raises
for what the server did. The timeout covers the whole check, name resolution and connect included,
so a server that drips bytes cannot stretch it.

Outcomes carry HAProxy's `check_status` codes (management guide 9.1, column 36), since operators
and their tools know them.

deviates: when this process itself lacks a descriptor, a port or memory, HAProxy counts a failed
check. Here the check has no result, so that a short table in one process cannot take every server
down at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Protocol

from edge.clock import now
from ext.proxyline import build_header

OWN_SHORTAGE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN}
)


class CheckStatus(StrEnum):
    """HAProxy's codes. L4 is the connect, L7 the answer; L6 is TLS, which rules may stand for."""

    INI = "INI"
    CHECKED = "CHECKED"  # of an agent: it said nothing about health
    L4OK = "L4OK"
    L4CON = "L4CON"
    L4TOUT = "L4TOUT"
    L6OK = "L6OK"
    L6TOUT = "L6TOUT"
    L6RSP = "L6RSP"
    L7OK = "L7OK"
    L7OKC = "L7OKC"  # passes for those who are there already
    L7STS = "L7STS"
    L7TOUT = "L7TOUT"
    L7RSP = "L7RSP"
    SOCKERR = "SOCKERR"
    HANA = "HANA"  # no check: workers saw too many failed connects


class Verdict(Enum):
    PASSED = "passed"
    CONDITIONAL = "passed under conditions"  # a 404 with disable-on-404: no new clients
    FAILED = "failed"
    NO_RESULT = "no result"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found. `code` is the HTTP status where one was read."""

    verdict: Verdict
    status: CheckStatus
    duration_s: float
    code: int | None = None
    info: str = ""

    def __str__(self) -> str:
        text = self.status.value if self.code is None else f"{self.status.value}/{self.code}"
        text = f"{text} in {self.duration_s * 1000:.0f}ms"
        return f"{text}, {self.info}" if self.info else text


class Probe(Protocol):
    """One way to ask a server whether it lives."""

    async def run(self, timeout_s: float) -> Outcome: ...

    def at(self, host: str, port: int) -> Probe:
        """The same of a server that an operator has moved."""
        ...


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Passes when the connect does."""

    host: str
    port: int
    send_proxy: int = 0  # version of the PROXY header that the server wants first

    async def run(self, timeout_s: float) -> Outcome:
        started = now()
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            return outcome(started, Verdict.FAILED, CheckStatus.L4TOUT)
        except OSError as error:
            return connect_failed(started, error)
        if self.send_proxy:
            writer.write(proxy_header(self.send_proxy, writer))
        writer.transport.abort()
        return outcome(started, Verdict.PASSED, CheckStatus.L4OK)

    def at(self, host: str, port: int) -> Probe:
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class TierProbe:
    """Passes while the tier behind has a usable server.

    It stands for the check that a load balancer makes of HAProxy's `monitor-uri` with `monitor
    fail if nbsrv lt 1`, in a process where no socket lies between the two.
    """

    usable_servers: Callable[[], int]

    async def run(self, timeout_s: float) -> Outcome:
        started = now()
        if self.usable_servers() > 0:
            return outcome(started, Verdict.PASSED, CheckStatus.L7OK, 200)
        return outcome(started, Verdict.FAILED, CheckStatus.L7STS, 503, "no usable server")

    def at(self, host: str, port: int) -> Probe:
        return self  # it has no address


def proxy_header(version: int, writer: asyncio.StreamWriter) -> bytes:
    """As HAProxy's checks send it: with the check's own ends, and in version 2 LOCAL."""
    source, destination = (writer.get_extra_info(name) for name in ("sockname", "peername"))
    if version == 2 or source is None or destination is None:  # None: gone already
        return build_header(version)
    return build_header(version, source[:2], destination[:2])


def connect_failed(started: float, error: OSError, place: str = "") -> Outcome:
    """`place`: where in a sequence of rules, as HAProxy's texts end."""
    if error.errno in OWN_SHORTAGE:
        return outcome(started, Verdict.NO_RESULT, CheckStatus.SOCKERR, info=reason_of(error))
    return outcome(started, Verdict.FAILED, CheckStatus.L4CON, info=reason_of(error) + place)


def reason_of(error: OSError) -> str:
    """A short text: several addresses tried at once give one long message."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return (error.strerror or str(error) or type(error).__name__)[:120]


def outcome(
    started: float, verdict: Verdict, status: CheckStatus, code: int | None = None, info: str = ""
) -> Outcome:
    return Outcome(verdict, status, now() - started, code, info)
