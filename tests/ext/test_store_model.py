"""ext.store: random fetches, purges and sweeps of two processes, against a dict.

The model knows for each key what is stored and since when it is stale, and for each fetch what was
purged since it began.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from tests.ext.stores import NOW_MS, Cache, Worker, response_of

FRESH_MS = NOW_MS + 10**6
EVERYTHING = b""


@dataclass
class Stored:
    body: bytes
    tags: set[bytes]
    fresh_until_ms: int


@dataclass
class Fetch:
    worker: Worker
    key: bytes
    body: bytes
    since: int  # purges before it


@dataclass
class Purge:
    name: bytes  # a tag, a key, or EVERYTHING
    is_soft: bool
    now_ms: int


class Model:
    """Both sides of the comparison."""

    def __init__(self, seed: int) -> None:
        self.cache = Cache()
        self.chance = random.Random(seed)
        self.stored: dict[bytes, Stored] = {}
        self.fetches: dict[int, Fetch] = {}
        self.purges: list[Purge] = []

    def any_key(self) -> bytes:
        return b"/%d" % self.chance.randrange(12)

    def any_tag(self) -> bytes:
        return b"t%d" % self.chance.randrange(6)

    def begin(self, worker: Worker, key: bytes, body: bytes) -> None:
        begun, fill = worker.begin(key)
        if begun == "lead":
            self.fetches[fill] = Fetch(worker, key, body, len(self.purges))
        else:
            worker.c.release(fill)

    def end(self) -> None:
        """The answer to one of the fetches comes."""
        fill = self.chance.choice(list(self.fetches))
        fetch = self.fetches.pop(fill)
        tags = {self.any_tag() for _ in range(self.chance.randrange(4))}
        head = response_of(b"Surrogate-Key: " + b" ".join(sorted(tags)))
        opened = fetch.worker.open(fill, fetch.key, head=head, fresh_until_ms=FRESH_MS)
        newer = self.purges[fetch.since :]
        # A purge of the URL takes a fetch out, a soft one too; a soft one by key leaves it stale.
        is_gone = any(
            purge.name in (fetch.key, EVERYTHING) or (purge.name in tags and not purge.is_soft)
            for purge in newer
        )
        assert opened == ("purged" if is_gone else "ok")
        if is_gone:
            fetch.worker.c.abandon(fill)
        else:
            fetch.worker.c.append(fill, fetch.body)
            assert fetch.worker.c.finish(fill) == "ok"
            stale = {purge.name: purge.now_ms for purge in newer if purge.name in tags}
            fresh_until_ms = min([FRESH_MS, *stale.values()])
            self.stored[fetch.key] = Stored(fetch.body, tags, fresh_until_ms)
        fetch.worker.c.release(fill)

    def purge(self, name: bytes, is_soft: bool, now_ms: int) -> None:
        self.purges.append(Purge(name, is_soft, now_ms))
        if name == EVERYTHING:
            self.cache.store.purge_all()
        elif name.startswith(b"/"):
            self.cache.store.purge_url(name, is_soft, now_ms)
        else:
            self.cache.store.purge_keys([name], is_soft, now_ms)
        for key, stored in list(self.stored.items()):
            if name not in (key, EVERYTHING) and name not in stored.tags:
                continue
            if is_soft:
                stored.fresh_until_ms = min(stored.fresh_until_ms, now_ms)
            else:
                del self.stored[key]

    def step(self, number: int) -> None:
        worker, now_ms = self.cache.workers[number % 2], NOW_MS + number
        what, is_soft = self.chance.random(), self.chance.random() < 0.5
        if what < 0.25:
            self.begin(worker, self.any_key(), b"%d" % number)
        elif what < 0.5 and self.fetches:
            self.end()
        elif what < 0.7:
            self.purge(self.any_tag(), is_soft, now_ms)
        elif what < 0.75:
            self.purge(self.any_key(), is_soft, now_ms)
        elif what < 0.76:
            self.purge(EVERYTHING, False, now_ms)
        elif what < 0.85:
            self.cache.store.sweep(0 if is_soft else 10_000)
        self.compare(worker, self.any_key())

    def compare(self, worker: Worker, key: bytes) -> None:
        found = worker.find(key)
        worker.c.release(found["busy"])
        assert (found["object"] != 0) == (key in self.stored)
        if not found["object"]:
            return
        stored = self.stored[key]
        assert worker.c.body(found["object"]) == stored.body
        fresh_until_ms = found["freshness"]["fresh_until_ms"]
        # The log keeps the last soft purge of a key: not stale earlier, and stale all the same.
        assert fresh_until_ms >= stored.fresh_until_ms
        assert (fresh_until_ms < FRESH_MS) == (stored.fresh_until_ms < FRESH_MS)
        worker.c.release(found["object"])

    def close(self) -> None:
        for fill, fetch in self.fetches.items():
            fetch.worker.c.release(fill)
        self.cache.sweep()
        for key in [b"/%d" % number for number in range(12)]:
            self.compare(self.cache.workers[0], key)
        assert self.cache.check()["dead"] == 0
        assert self.cache.stats()["objects"] == len(self.stored)
        self.cache.close()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_as_a_dict(seed: int) -> None:
    print("seed", seed)
    model = Model(seed)
    for number in range(1500):
        model.step(number)
    model.close()
