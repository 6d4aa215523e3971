"""Upgrade in place: another version of this program takes over, and no connection notices.

Theory. Whoever started `edge run` holds on to its process: a shell waits for it, systemd calls it
the main process, in a container it is process 1 and its end is the end of all. So a second
supervisor beside the first (nginx's way) would have to leave the first one behind, as a parent of
old code that passes signals on. Instead the supervisor replaces its own program by execve(2), as
HAProxy's master and systemd itself do. The process stays: its id, its children (whose signal at
their parent's end, PR_SET_PDEATHSIG, is bound to the process and not to the program), and every
descriptor that is not close-on-exec. There is never a second supervisor that names slots or claims
rows, so the shared memory keeps its one writer. What the program knew is written down
(`edge.handover`) and read by its successor, which adopts the children (`edge.adoption`), starts a
new generation on the same sockets, and only when all of it is ready drains the one before: from
there on it is a reload.

The price: behind execve there is no way back. So before it the new program is rehearsed, in a
process of its own (`edge.rehearsal`), on the real record and the real file: it must read both, take
over all descriptors, and bring a worker and control to readiness, on memory of its own and without
a socket, so that no request meets it. A rehearsal that fails, hangs or is killed has changed
nothing, and the old program goes on, itself and all its processes. What can fail behind execve is
then what fails at a reload, and it ends as one: the processes of before serve on, kept by the new
supervisor.

    old program                          rehearsal                 new program
    SIGUSR2 -> record, rehearse   ---->  reads, starts, says yes
    no child may be started now   <----  ends
    signals blocked
    record, execve                ----------------------------->   reads, adopts
                                                                   signals unblocked
                                                                   new generation, ready
                                                                   drains the one before

Signals that come while the program is replaced stay blocked, and so pending, until the new one
obeys them; their default action would end the process. (The supervisor has one thread, or another
one would get them.) A child that is being started is waited
for (`keeper.Gate`). A drain that runs goes on with what is left of its time. Two upgrades, or an
upgrade and a reload, are done one after the other.

A version with another layout of shared memory cannot map what is there. It makes its own then, is
told the states of servers by name, and says what is lost: counters, and the cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge.errors import EdgeError
from edge.handover import HandOverError, Record, read_record
from edge.keeper import START_S_MAX

RECORD_VARIABLE = "EDGE_HANDOVER"  # descriptor of the record: this is the successor
REHEARSAL_VARIABLE = "EDGE_REHEARSAL"  # descriptors of record and verdict: this is a rehearsal
# An interpreter and its imports take about a second, on a bad day; then it starts children, which
# have START_S_MAX.
UPGRADE_S_MAX = 2 * START_S_MAX
END_S_MAX = 10.0  # a rehearsal ends its children in half of it
VERDICT_BYTES_MAX = 2**20
# From the arrival of a signal to the end of its asyncio handler: one turn of the loop reads it, the
# next one calls the handler.
TURNS_OF_A_SIGNAL = 3
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class UpgradeError(EdgeError):
    """The new program does not come up. `lines`: about the file, as editors want them."""

    def __init__(self, why: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rehearsal found: `why` it failed, None when it did not."""

    why: str | None
    lines: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        return json.dumps({"why": self.why, "lines": self.lines}).encode()


@dataclass(frozen=True, slots=True)
class Program:
    """The command line that starts this program anew, of whatever version is there then."""

    command: tuple[str, ...]
    upgrade_s_max: float = UPGRADE_S_MAX

    async def rehearse(self, record: Record) -> None:
        """Returns when the new program has shown that it can take over. Raises UpgradeError."""
        record_fd = record.write()
        verdict_fd, child_verdict_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                env=os.environ | {REHEARSAL_VARIABLE: f"{record_fd},{child_verdict_fd}"},
                stdin=DEVNULL,
                pass_fds=(record_fd, child_verdict_fd, *record.descriptors()),
                process_group=0,
            )
        except OSError as error:
            os.close(verdict_fd)
            reason = error.strerror or str(error)
            raise UpgradeError(f"{self.command[0]} cannot be started: {reason}") from error
        finally:
            os.close(record_fd)
            os.close(child_verdict_fd)
        try:
            verdict = await self._verdict_of(process, verdict_fd)
        finally:
            await _end(process)
        if verdict.why is not None:
            raise UpgradeError(verdict.why, tuple(verdict.lines))

    async def _verdict_of(self, process: Process, verdict_fd: int) -> Verdict:
        """What it says, once it has ended. Closes the pipe."""
        reader = asyncio.StreamReader(limit=VERDICT_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(verdict_fd, "rb", buffering=0)
        )
        try:
            async with asyncio.timeout(self.upgrade_s_max):
                said = await reader.read(VERDICT_BYTES_MAX)
                code = await process.wait()
        except TimeoutError:
            raise UpgradeError(
                f"the new program was not ready within {self.upgrade_s_max:g}s"
            ) from None
        finally:
            transport.close()
        try:
            fields = json.loads(said)
            return Verdict(fields["why"], list(fields["lines"]))
        except (ValueError, KeyError, TypeError):
            raise UpgradeError(f"the new program {_ending(code)} before it was ready") from None

    def become(self, record: Record) -> None:
        """Replaces this program; signals are blocked. Returns only by OSError, changing nothing."""
        record_fd = record.write()
        fds = [record_fd, *record.descriptors()]
        was_inheritable = {fd: os.get_inheritable(fd) for fd in fds}
        try:
            for fd in fds:
                os.set_inheritable(fd, True)
            environment = os.environ | {RECORD_VARIABLE: str(record_fd)}
            os.execve(self.command[0], self.command, environment)
        finally:
            for fd, is_inheritable in was_inheritable.items():
                os.set_inheritable(fd, is_inheritable)
            os.close(record_fd)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Nobody's handler runs, and no default action."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        unblock_signals()


def unblock_signals() -> None:
    """What came while the program was replaced comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


async def settle_signals() -> None:
    """Returns when the handlers of every signal that came before have run."""
    for _ in range(TURNS_OF_A_SIGNAL):
        await asyncio.sleep(0)


def inherited_record(environment: MutableMapping[str, str]) -> Record | None:
    """What an earlier program of this process left; takes the variable out of there.

    None at a usual start. Raises HandOverError.
    """
    word = environment.pop(RECORD_VARIABLE, None)
    if word is None:
        return None
    record = read_record(_descriptor(word))
    if record.supervisor_pid != os.getpid():
        raise HandOverError(f"{RECORD_VARIABLE} is set, but not for this process: unset it")
    for fd in record.descriptors():
        os.set_inheritable(fd, False)
    return record


def _descriptor(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise HandOverError(f"{RECORD_VARIABLE} is {word!r}, not the number of a descriptor")
    return int(word)


async def _end(process: Process) -> None:
    """Ends a rehearsal, with time to end what it has started."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(END_S_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
