"""What came of reloads and upgrades: written by the supervisor, shown by control in `/status`.

An order is answered before its work is done, and whoever gave it wants to know the end. So the
supervisor counts ends in a page that its children map by a descriptor of their job. The page has
one writer; a checksum tells a reader that it looked while it was being written, and it looks again.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass, replace

from edge.clock import wall
from edge.handover import known

PAGE_BYTES = 4096
HEAD_BYTES = 8  # length and checksum, four each
FAILURE_CHARACTERS_MAX = 600  # of four bytes at most, escaped ones of six: it fits the page
READS_MAX = 100  # a write takes microseconds


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Since `edge run` began. `failure`: why the last failed order failed; `failed_at`: unix s."""

    reloads: int = 0
    reload_failures: int = 0
    upgrades: int = 0
    upgrade_failures: int = 0
    failure: str | None = None
    failed_at: float | None = None


class OutcomePage:
    """One memfd. `OutcomePage.create()` in the supervisor, `OutcomePage(fd)` else."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> OutcomePage:
        page = cls(os.memfd_create("edge-outcomes", os.MFD_CLOEXEC))
        page.write(Outcomes())
        return page

    def write(self, outcomes: Outcomes) -> None:
        body = json.dumps(asdict(outcomes)).encode()
        head = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
        os.pwrite(self.fd, head + body, 0)

    def read(self) -> Outcomes:
        """What is written there; nothing has happened yet when it cannot be read."""
        for _ in range(READS_MAX):
            page = os.pread(self.fd, PAGE_BYTES, 0)
            length, checksum = (
                int.from_bytes(page[at : at + 4], "little") for at in range(0, HEAD_BYTES, 4)
            )
            body = page[HEAD_BYTES : HEAD_BYTES + length]
            if len(body) == length and zlib.crc32(body) == checksum and body:
                return known(Outcomes, json.loads(body))
        return Outcomes()

    def reloaded(self) -> None:
        before = self.read()
        self.write(replace(before, reloads=before.reloads + 1))

    def upgraded(self) -> None:
        before = self.read()
        self.write(replace(before, upgrades=before.upgrades + 1))

    def not_reloaded(self, why: str) -> None:
        before = self.read()
        self.write(_failed(replace(before, reload_failures=before.reload_failures + 1), why))

    def not_upgraded(self, why: str) -> None:
        before = self.read()
        self.write(_failed(replace(before, upgrade_failures=before.upgrade_failures + 1), why))


def _failed(outcomes: Outcomes, why: str) -> Outcomes:
    return replace(outcomes, failure=why[:FAILURE_CHARACTERS_MAX], failed_at=wall())
