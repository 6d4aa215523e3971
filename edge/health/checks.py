"""One check of one server: connect, or ask over HTTP, or look at the servers of another tier.

Each probe has one coroutine, `run(timeout_s)`, which always returns an `Outcome` and never raises
for what the server did. The timeout covers the whole check, name resolution and connect included,
so a server that drips bytes cannot stretch it; what is read is bounded by `HEAD_BYTES_MAX`.

Outcomes carry HAProxy's `check_status` codes (management guide 9.1, column 36), since operators
and their tools know them. The request is HAProxy's too: HTTP/1.0, and no Host unless one is
configured.

deviates: when this process itself lacks a descriptor, a port or memory, HAProxy counts a failed
check. Here the check has no result, so that a short table in one process cannot take every server
down at once.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Protocol

from edge.clock import now

# A status line and any sane head; HAProxy looks at one buffer of this size (tune.bufsize).
HEAD_BYTES_MAX = 16_384
READ_BYTES = 4_096

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")
HEAD_END = re.compile(rb"\r?\n\r?\n")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VISIBLE = re.compile(r"[\x21-\x7e]+")

OWN_SHORTAGE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN}
)


class CheckStatus(StrEnum):
    """HAProxy's codes. L4 is the connect, L7 the answer."""

    L4OK = "L4OK"
    L4CON = "L4CON"
    L4TOUT = "L4TOUT"
    L7OK = "L7OK"
    L7STS = "L7STS"
    L7TOUT = "L7TOUT"
    L7RSP = "L7RSP"
    SOCKERR = "SOCKERR"
    HANA = "HANA"  # no check: workers saw too many failed connects


class Verdict(Enum):
    PASSED = "passed"
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

    async def run(self, timeout_s: float) -> Outcome:
        started = now()
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            return _outcome(started, Verdict.FAILED, CheckStatus.L4TOUT)
        except OSError as error:
            return _connect_failed(started, error)
        writer.transport.abort()
        return _outcome(started, Verdict.PASSED, CheckStatus.L4OK)

    def at(self, host: str, port: int) -> Probe:
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Passes when the answer's head is complete and its status is in a range of `expected`.

    The body is not read: the connection is dropped after the head.
    """

    host: str
    port: int
    request: bytes
    expected: tuple[tuple[int, int], ...]  # first and last code, both included

    async def run(self, timeout_s: float) -> Outcome:
        started = now()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                except TimeoutError:
                    # The kernel gave up before we did (ETIMEDOUT), which the outer clause
                    # could not tell from a late answer.
                    return _outcome(started, Verdict.FAILED, CheckStatus.L4TOUT)
                except OSError as error:
                    return _connect_failed(started, error)
                writer.write(self.request)
                return self._judge(started, await _read_head(reader))
        except TimeoutError:
            late = CheckStatus.L4TOUT if writer is None else CheckStatus.L7TOUT
            return _outcome(started, Verdict.FAILED, late)
        except OSError as error:
            return _outcome(started, Verdict.FAILED, CheckStatus.L7RSP, info=_reason(error))
        finally:
            if writer is not None:
                writer.transport.abort()

    def at(self, host: str, port: int) -> Probe:
        return replace(self, host=host, port=port)

    def _judge(self, started: float, head: bytes | None) -> Outcome:
        match = STATUS_LINE.match(head) if head is not None else None
        if match is None:
            info = "no complete answer" if head is None else "not an HTTP answer"
            return _outcome(started, Verdict.FAILED, CheckStatus.L7RSP, info=info)
        code = int(match[1])
        if any(first <= code <= last for first, last in self.expected):
            return _outcome(started, Verdict.PASSED, CheckStatus.L7OK, code)
        return _outcome(started, Verdict.FAILED, CheckStatus.L7STS, code)


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
            return _outcome(started, Verdict.PASSED, CheckStatus.L7OK, 200)
        return _outcome(started, Verdict.FAILED, CheckStatus.L7STS, 503, "no usable server")

    def at(self, host: str, port: int) -> Probe:
        return self  # it has no address


def build_request(method: str, path: str, host: str | None) -> bytes:
    """The bytes of a check request; HAProxy's `option httpchk GET /x`, plus Host when one is given.

    ValueError for what would not be one request (spaces, line ends, other controls).
    """
    if not TOKEN.fullmatch(method):
        raise ValueError(f"health check method {method!r} is not an HTTP token")
    if not VISIBLE.fullmatch(path) or (host is not None and not VISIBLE.fullmatch(host)):
        raise ValueError("health check path and host may hold visible ASCII characters only")
    host_line = "" if host is None else f"Host: {host}\r\n"
    return f"{method} {path} HTTP/1.0\r\n{host_line}\r\n".encode("ascii")


def count_usable(servers: Sequence[tuple[bool, bool, int]]) -> int:
    """How many of (is up, is ready, weight) would take a new request."""
    return sum(1 for is_up, is_ready, weight in servers if is_up and is_ready and weight > 0)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """The head of the final answer; None when the server closed or went on past HEAD_BYTES_MAX.

    Bytes that cannot become a status line are returned at once, so that garbage is not waited for.
    """
    received = b""
    while len(received) < HEAD_BYTES_MAX:
        end = HEAD_END.search(received)
        if end is not None:
            if not received.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
                return received
            received = received[end.end() :]  # an interim answer: the final one follows
            continue
        if received[:7] != b"HTTP/1."[: len(received)]:
            return received
        chunk = await reader.read(READ_BYTES)
        if not chunk:
            return None
        received += chunk
    return None


def _connect_failed(started: float, error: OSError) -> Outcome:
    if error.errno in OWN_SHORTAGE:
        return _outcome(started, Verdict.NO_RESULT, CheckStatus.SOCKERR, info=_reason(error))
    return _outcome(started, Verdict.FAILED, CheckStatus.L4CON, info=_reason(error))


def _reason(error: OSError) -> str:
    """A short text: several addresses tried at once give one long message."""
    return (error.strerror or str(error) or type(error).__name__)[:120]


def _outcome(
    started: float, verdict: Verdict, status: CheckStatus, code: int | None = None, info: str = ""
) -> Outcome:
    return Outcome(verdict, status, now() - started, code, info)
