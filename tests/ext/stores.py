"""A store for tests: workers that are several processes' views of it, and requests by few words.

`Cache` makes the memory and the eventfd, `Worker` is one process's face with a row of leases. A key
is a path; what a request says besides is a list of field lines.
"""

from __future__ import annotations

import os
from typing import Any

from ext.store import Store
from ext.store_for_test import StoreForTest

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
O_PASS, O_SOFT_PURGED = 64, 256  # ext/freshness.pxd
UNIT_BYTES = 128


def request_of(*fields: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (b"GET / HTTP/1.1", b"Host: x", *fields)) + b"\r\n"


def response_of(*fields: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *fields)) + b"\r\n"


class Worker:
    """What one process does with the store."""

    def __init__(self, fd: int, wake_fd: int, row: int) -> None:
        self.c = StoreForTest(fd, wake_fd, row)
        self.row = row

    def find(self, key: bytes, *fields: bytes, now_ms: int = NOW_MS) -> dict[str, Any]:
        return self.c.find(request_of(*fields), key, now_ms)

    def object(self, key: bytes, *fields: bytes, now_ms: int = NOW_MS) -> int:
        """The object that a request finds, leased; 0: none. A busy one is given back."""
        found = self.find(key, *fields, now_ms=now_ms)
        self.c.release(found["busy"])
        return int(found["object"])

    def has(self, key: bytes, *fields: bytes, now_ms: int = NOW_MS) -> bool:
        handle = self.object(key, *fields, now_ms=now_ms)
        self.c.release(handle)
        return handle != 0

    def get(self, key: bytes, *fields: bytes, now_ms: int = NOW_MS) -> bytes | None:
        """The body that a request finds."""
        handle = self.object(key, *fields, now_ms=now_ms)
        if not handle:
            return None
        body = self.c.body(handle)
        self.c.release(handle)
        return body

    def begin(self, key: bytes, *fields: bytes) -> tuple[str, int]:
        """As a request does that has found nothing it can use."""
        found = self.find(key, *fields)
        self.c.release(found["object"])
        self.c.release(found["busy"])
        return self.c.begin(request_of(*fields), key, found["changes"], NOW_MS)

    def lead(self, key: bytes, *fields: bytes) -> int:
        begun, fill = self.begin(key, *fields)
        assert begun == "lead"
        return fill

    def open(self, fill: int, key: bytes, *fields: bytes, head: bytes = b"", **more: Any) -> str:
        more.setdefault("fresh_until_ms", NOW_MS + HOUR_MS)
        return self.c.open(fill, request_of(*fields), key, head or response_of(), NOW_MS, **more)

    def put(self, key: bytes, body: bytes, *fields: bytes, head: bytes = b"", **more: Any) -> None:
        """Fetch and store, with the length known unless `length=-1`."""
        fill = self.lead(key, *fields)
        more.setdefault("length", len(body))
        assert self.open(fill, key, *fields, head=head, **more) == "ok"
        for at in range(0, len(body), 131_072):
            assert self.c.append(fill, body[at : at + 131_072]) == "ok"
        assert self.c.finish(fill, NOW_MS) == "ok"
        self.c.release(fill)

    def state(self, handle: int) -> str:
        return str(self.c.see(handle)["state"])


class Cache:
    """The memory. `workers` has the row that its index says; others can be added."""

    def __init__(self, size_bytes: int = 4 << 20, workers: int = 2) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.store = Store.create(size_bytes, self.wake_fd)
        self.workers = [self.worker(row) for row in range(workers)]

    def worker(self, row: int) -> Worker:
        return Worker(self.store.fd, self.wake_fd, row)

    def close(self) -> None:
        os.close(self.store.fd)
        os.close(self.wake_fd)

    def stats(self) -> dict[str, Any]:
        return dict(self.store.stats())

    def is_woken(self) -> bool:
        """Was the eventfd written since the last look?"""
        try:
            return os.eventfd_read(self.wake_fd) > 0
        except BlockingIOError:
            return False

    def sweep(self) -> None:
        while self.store.sweep(1_000_000):
            pass

    def check(self) -> dict[str, int]:
        """The books add up."""
        audit = self.store.audit()
        assert audit["lost"] == audit["twice"] == audit["queued"] == 0, audit
        parts = audit["free"] + audit["live"] + audit["dead"] + audit["orphaned"]
        assert parts == audit["units"], audit
        return audit
