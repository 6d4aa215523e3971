"""A health check made of rules: connect, send, expect, one after the other.

The received bytes stay until the next send, so that several expect rules look at the same answer. A
rule that does not match yet waits for more, up to HAProxy's buffer of 16,384 bytes; where bytes
arrive for one of several rules in a row, those before it that say what must *not* come are asked
again. Over HTTP the rules look at the parsed answer instead: status, headers, and the body without
its chunks.

With `is_running` an HTTP check has HAProxy's `disable-on-404`: while the server runs, a 404 passes
under conditions (no new clients), and no rule is asked about it.

A pattern comes from the operator and is tried on 16 KB at most. One that takes exponential time
would hold up the other checks: HAProxy's regular expressions can, too.

Source: HAProxy 2.6, tcpcheck.c; texts and codes are compared with the program in
tests/wire/test_health_rules.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge.check_rules import Connect, Expect, Rule, Send, What
from edge.clock import now
from edge.health.answers import BUFFER_BYTES, Answer, MalformedError, read_answer
from edge.health.checks import (
    CheckStatus,
    Outcome,
    Probe,
    Verdict,
    connect_failed,
    outcome,
    proxy_header,
    reason_of,
)

READ_BYTES = 4_096
NOT_FOUND = 404
LOOKS_AT_BODY = (What.STRING, What.STRING_REGEX)
PASSING = frozenset({CheckStatus.L4OK, CheckStatus.L6OK, CheckStatus.L7OK})


@dataclass(frozen=True, slots=True)
class SequenceProbe:
    """One server's rules. `is_running`: with disable-on-404, whether the server runs now."""

    host: str
    port: int
    rules: tuple[Rule, ...]
    is_http: bool
    is_running: Callable[[], bool] | None = None
    send_proxy: int = 0  # version of the PROXY header that each connection begins with

    def at(self, host: str, port: int) -> Probe:
        return replace(self, host=host, port=port)

    async def run(self, timeout_s: float) -> Outcome:
        started = now()
        run = _Run(self)
        status = info = None
        try:
            async with asyncio.timeout(timeout_s):
                status, info = await run.follow()
        except TimeoutError:
            status, info = run.late()
        except _FailedError as failure:
            status, info = failure.status, failure.info
        except OSError as error:
            if not run.is_connected:
                return connect_failed(started, error, run.place())
            # Known to the kernel alone: the connection was reset under the check.
            status, info = CheckStatus.SOCKERR, f"{reason_of(error)}{run.place()}"
        finally:
            run.close()
        return outcome(started, _verdict(status), status, run.code_of(status), info)


class _FailedError(Exception):
    """A rule was broken, with what to report."""

    def __init__(self, status: CheckStatus, info: str) -> None:
        super().__init__(info)
        self.status = status
        self.info = info


class _MoreNeededError(Exception):
    """The rule cannot be decided before more bytes have come."""


class _Run:
    """One check under way."""

    def __init__(self, probe: SequenceProbe) -> None:
        self._probe = probe
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._rule: Rule = probe.rules[0]
        self._received = b""
        self._is_over = False  # nothing more will come, or the buffer is full
        self._code = 0

    @property
    def is_connected(self) -> bool:
        return self._writer is not None

    async def follow(self) -> tuple[CheckStatus, str]:
        """Obeys every rule; the status and info of a pass. Raises _FailedError, OSError."""
        rules = self._probe.rules
        at = 0
        while at < len(rules):
            self._rule = rule = rules[at]
            if isinstance(rule, Connect):
                await self._connect(rule)
            elif isinstance(rule, Send):
                self._send(rule)
            else:
                try:
                    self._expect(rule)
                except _MoreNeededError:
                    await self._read()
                    at = _head_of_chain(rules, at)
                    continue
            at += 1
        return self._passed()

    def late(self) -> tuple[CheckStatus, str]:
        """What a timeout is, where the check stands."""
        if self._writer is None:
            return CheckStatus.L4TOUT, self.place()
        status = self._rule.tout_status if isinstance(self._rule, Expect) else ""
        return CheckStatus(status or "L7TOUT"), self.place()

    def code_of(self, status: CheckStatus) -> int | None:
        """HAProxy shows a code with these results only."""
        shown = (CheckStatus.L7OK, CheckStatus.L7OKC, CheckStatus.L7STS)
        return self._code if status in shown else None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _connect(self, rule: Connect) -> None:
        self.close()
        host, port = rule.host or self._probe.host, rule.port or self._probe.port
        try:
            self._reader, self._writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            # The kernel gave up before we did (ETIMEDOUT): no answer to the connect, either.
            raise _FailedError(CheckStatus.L4TOUT, self.place()) from None
        if self._probe.send_proxy:
            self._writer.write(proxy_header(self._probe.send_proxy, self._writer))
        self._clear()

    def _send(self, rule: Send) -> None:
        assert self._writer is not None
        self._clear()
        self._writer.write(rule.data)

    def _clear(self) -> None:
        self._received = b""
        self._is_over = False
        self._code = 0

    async def _read(self) -> None:
        assert self._reader is not None
        chunk = await self._reader.read(READ_BYTES)
        self._received += chunk
        self._is_over = not chunk or len(self._received) >= BUFFER_BYTES

    def _expect(self, rule: Expect) -> None:
        if self._probe.is_http:
            self._expect_http(rule)
        else:
            self._expect_bytes(rule)

    # -- bytes -------------------------------------------------------------------------------------

    def _expect_bytes(self, rule: Expect) -> None:
        received = self._received[:BUFFER_BYTES]
        is_plain = rule.what in (What.STRING, What.BINARY)
        needed = max(rule.min_recv, len(rule.pattern) if is_plain else 1)
        if not self._is_over and len(received) < needed:
            raise _MoreNeededError
        if is_plain:
            is_found = rule.pattern in received
        elif rule.what is What.BINARY_REGEX:
            is_found = re.search(rule.pattern, received.hex().upper().encode()) is not None
        else:
            is_found = re.search(rule.pattern, received) is not None
        self._decide(rule, is_found, CheckStatus.L7RSP, _tcp_info(rule, is_found=is_found))

    def _decide(self, rule: Expect, is_found: bool, status: CheckStatus, info: str) -> None:
        if not is_found and not self._is_over and rule.min_recv == -1:
            raise _MoreNeededError
        if is_found is rule.is_negated:
            self._fail(rule, status, info)

    def _fail(self, rule: Expect, status: CheckStatus, info: str) -> None:
        comment = f" comment: {rule.comment}" if rule.comment else ""
        raise _FailedError(CheckStatus(rule.error_status or status), info + comment)

    # -- HTTP --------------------------------------------------------------------------------------

    def _expect_http(self, rule: Expect) -> None:
        try:
            answer = read_answer(self._received, is_over=self._is_over)
        except MalformedError:
            raise _FailedError(CheckStatus.L7RSP, "") from None
        if answer is None:
            raise _MoreNeededError
        self._code = answer.code
        if self._asks_to_stop():
            return
        if rule.what in LOOKS_AT_BODY:
            self._expect_body(rule, answer)
        elif _matches_head(rule, answer) is rule.is_negated:
            self._fail(rule, CheckStatus.L7STS, answer.reason)

    def _expect_body(self, rule: Expect, answer: Answer) -> None:
        body, is_whole = answer.body, answer.is_whole or self._is_over
        if not body:
            if not is_whole:
                raise _MoreNeededError
            text = "HTTP content check could not find a response body"
            self._fail(rule, CheckStatus.L7RSP, text)
        is_plain = rule.what is What.STRING
        if not is_whole and len(body) < max(rule.min_recv, len(rule.pattern) if is_plain else 0):
            raise _MoreNeededError
        found = rule.pattern in body if is_plain else bool(re.search(rule.pattern, body))
        if not found and not is_whole and rule.min_recv == -1:
            raise _MoreNeededError
        if found is rule.is_negated:
            text = "HTTP check matched unwanted content"
            self._fail(
                rule,
                CheckStatus.L7RSP,
                text if rule.is_negated else "HTTP content check did not match",
            )

    def _asks_to_stop(self) -> bool:
        is_running = self._probe.is_running
        return self._code == NOT_FOUND and is_running is not None and is_running()

    # -- results -----------------------------------------------------------------------------------

    def _passed(self) -> tuple[CheckStatus, str]:
        rule = self._rule
        if isinstance(rule, Connect):
            return CheckStatus.L4OK, "" if rule.is_implicit else "(tcp-check)"
        if isinstance(rule, Send):
            return CheckStatus.L7OK, "(tcp-check)"
        if self._asks_to_stop():
            return CheckStatus.L7OKC, ""
        return CheckStatus(rule.ok_status or "L7OK"), "" if self._probe.is_http else "(tcp-check)"

    def place(self) -> str:
        """Where a TCP check with rules stands, as HAProxy's texts end."""
        rule = self._rule
        if self._probe.is_http or len(self._probe.rules) == 1:
            return ""
        if isinstance(rule, Connect) and rule.is_implicit:
            return " at initial connection step of tcp-check"
        text = f" at step {rule.step} of tcp-check{_doing(rule)}"
        return f"{text} comment: '{rule.comment}'" if rule.comment else text


def _verdict(status: CheckStatus) -> Verdict:
    if status is CheckStatus.L7OKC:
        return Verdict.CONDITIONAL
    return Verdict.PASSED if status in PASSING else Verdict.FAILED


def _head_of_chain(rules: Sequence[Rule], at: int) -> int:
    """Where to go on when more has come: the first of the expect rules in a row up to `at` that
    says what must not come."""
    head = at
    for index in range(at - 1, -1, -1):
        rule = rules[index]
        if not isinstance(rule, Expect):
            break
        if rule.is_negated:
            head = index
    return head


def _matches_head(rule: Expect, answer: Answer) -> bool:
    if rule.what is What.STATUS:
        return any(first <= answer.code <= last for first, last in rule.codes)
    if rule.what is What.STATUS_REGEX:
        return re.search(rule.pattern, b"%d" % answer.code) is not None
    is_whole = rule.what is What.WHOLE_HEADER or rule.value.pattern is None
    return any(
        rule.name.matches(name) and rule.value.matches(value)
        for name, value in answer.fields(is_whole=is_whole)
    )


def _tcp_info(rule: Expect, *, is_found: bool) -> str:
    text = "TCPCHK matched unwanted content" if is_found else "TCPCHK did not match content"
    shown = {
        What.BINARY: " (binary)",
        What.BINARY_REGEX: " (binary regex)",
        What.STRING_REGEX: " (regex)",
    }.get(rule.what, f" '{rule.pattern.decode('latin-1')}'")
    return f"{text}{shown} at step {rule.step}"


def _doing(rule: Rule) -> str:
    if isinstance(rule, Connect):
        return " (connect)" if rule.port is None else f" (connect port {rule.port})"
    if isinstance(rule, Send):
        return " (send)"
    if rule.what in (What.STRING, What.BINARY):
        return f" (expect {rule.what.value} '{rule.pattern.decode('latin-1')}')"
    return " (expect binary regex)" if rule.what is What.BINARY_REGEX else " (expect regex)"
