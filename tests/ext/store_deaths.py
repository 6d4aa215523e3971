"""Processes that use a store and die: `python -m tests.ext.store_deaths SEED DEATHS`.

Three children do random things with one small store until an alarm ends each of them, at whatever
instruction it is; then its row is swept and another child takes its place. Every body that anyone
reads is checked: it follows from its key, variant and serial number. In the end all that is
left is swept, and the books must add up. Prints one line of JSON.

A program of its own, because forking a process that has threads is not safe.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import traceback
from array import array

from tests.ext.stores import NOW_MS, Cache, request_of, response_of

ROWS = 3
KEYS = [b"/page/%d" % number for number in range(25)]
COLORS = [b"red", b"blue"]
ANY = b""  # of a fill that was joined before its Vary was known
TAGS = [b"t%d" % number for number in range(8)]
ALARM_US_MAX = 4000
WRONG = 9  # exit status of a child that has read something wrong


def content(key: bytes, color: bytes, serial: int, size: int) -> bytes:
    """A body that says what it is."""
    label = b"%s|%s|%d|%d|" % (key, color, serial, size)
    fill = hashlib.sha256(label).digest()
    return (label + fill * (size // 32 + 1))[: max(size, len(label))]


def is_content(body: bytes, key: bytes, color: bytes, is_whole: bool) -> bool:
    parts = body.split(b"|", 4)
    if len(parts) < 5:
        return not is_whole
    whole = content(key, parts[1], int(parts[2]), int(parts[3]))
    expected = whole if is_whole else whole[: len(body)]
    return parts[0] == key and color in (parts[1], ANY) and body == expected


class Child:
    """One process: random steps until it dies."""

    def __init__(self, cache: Cache, row: int, seed: int) -> None:
        self.worker = cache.worker(row)
        self.store = self.worker.c.face
        self.chance = random.Random(seed)
        self.fills: list[tuple[int, bytes, int]] = []
        self.leases: list[tuple[int, bytes, bytes]] = []

    def run(self) -> None:
        steps = [self.look] * 6 + [self.fetch] * 6 + [self.go_on] * 8 + [self.let_go] * 3
        steps += [self.many, self.purge, self.renew, self.sweep]
        while True:
            self.chance.choice(steps)()

    def expect(self, good: bool, *what: object) -> None:
        if not good:
            signal.setitimer(signal.ITIMER_REAL, 0)
            print("wrong:", *what, file=sys.stderr)
            os._exit(WRONG)

    def check(self, handle: int, key: bytes, color: bytes) -> None:
        seen = self.worker.c.see(handle)
        body = self.worker.c.body(handle)
        if self.worker.c.freshness(handle)["flags"]:
            return  # a marker
        if seen["state"] == "whole":
            head = self.worker.c.head(handle)["head"]
            self.expect(b"X-Key: " + key in head, key, head)
            self.expect(len(body) == seen["length"], key, seen, len(body))
        self.expect(is_content(body, key, color, seen["state"] == "whole"), key, color, body[:60])

    def look(self) -> None:
        key, color = self.chance.choice(KEYS), self.chance.choice(COLORS)
        found = self.worker.find(key, b"Color: " + color)
        if found["object"]:
            self.check(found["object"], key, color)
            self.worker.c.count_hit(found["object"])
            self.leases.append((found["object"], key, color))
        if found["busy"]:
            self.worker.c.follow(found["busy"])
            is_selected = found["busy_state"] == "filling"
            self.leases.append((found["busy"], key, color if is_selected else ANY))

    def fetch(self) -> None:
        key, color = self.chance.choice(KEYS), self.chance.choice(COLORS)
        begun, handle = self.worker.begin(key, b"Color: " + color)
        if begun == "join":
            self.leases.append((handle, key, ANY))
        if begun != "lead":
            return
        size = int(self.chance.lognormvariate(7, 2)) % 300_000
        body = content(key, color, self.chance.randrange(10**6), size)
        if self.chance.random() < 0.1:
            self.worker.c.mark_pass(handle, fresh_until_ms=NOW_MS + 1)
            self.worker.c.release(handle)
            return
        tags = b" ".join(self.chance.sample(TAGS, 3))
        head = response_of(b"Vary: Color", b"X-Key: " + key, b"Surrogate-Key: " + tags)
        length = len(body) if self.chance.random() < 0.5 else -1
        opened = self.worker.open(handle, key, b"Color: " + color, head=head, length=length)
        if opened == "ok":
            self.fills.append((handle, body, 0))
        else:
            self.worker.c.abandon(handle)
            self.worker.c.release(handle)

    def go_on(self) -> None:
        """With one fill: some of its body, or its end."""
        if not self.fills:
            return
        number = self.chance.randrange(len(self.fills))
        handle, body, at = self.fills.pop(number)
        more = body[at : at + self.chance.randrange(1, 60_000)]
        stored = self.worker.c.append(handle, more)
        at += len(more)
        if stored == "ok" and at < len(body):
            self.fills.append((handle, body, at))
            return
        if stored != "ok" or self.chance.random() < 0.1:
            self.worker.c.abandon(handle, "alone")
        else:
            self.worker.c.finish(handle)
        self.worker.c.release(handle)

    def let_go(self) -> None:
        self.chance.shuffle(self.leases)
        for handle, key, color in self.leases[3:]:
            if self.worker.state(handle) == "whole":
                self.check(handle, key, color)
            self.worker.c.release(handle)
        del self.leases[3:]

    def many(self) -> None:
        """In C without a pause, so that most deaths are there; keys of its own."""
        numbers = [self.chance.randrange(200) for _ in range(50)]
        size = self.chance.choice((0, 700, 5000, 30_000))
        request = request_of(b"Row: %d" % self.worker.row)
        self.worker.c.replay(request, response_of(b"Vary: Row"), array("I", numbers), size)

    def purge(self) -> None:
        chance = self.chance.random()
        if chance < 0.7:
            self.store.purge_keys([self.chance.choice(TAGS)], self.chance.random() < 0.5)
        elif chance < 0.97:
            self.store.purge_url(self.chance.choice(KEYS), self.chance.random() < 0.5)
        else:
            self.store.purge_all()

    def renew(self) -> None:
        key, color = self.chance.choice(KEYS), self.chance.choice(COLORS)
        prior = self.worker.object(key, b"Color: " + color)
        if not prior:
            return
        begun, fill = self.worker.begin(key, b"Color: " + color)
        if begun == "lead" and not self.worker.c.freshness(prior)["flags"] & 64:
            head = response_of(b"X-Key: " + key, b"Y: " + b"y" * self.chance.randrange(3000))
            self.worker.c.refresh(fill, prior, head, fresh_until_ms=NOW_MS + 10**6)
        self.worker.c.release(fill)
        self.worker.c.release(prior)

    def sweep(self) -> None:
        self.store.sweep(200)


def start(cache: Cache, row: int, seed: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    chance = random.Random(seed)
    try:
        child = Child(cache, row, seed)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whose default is to end the process
        signal.setitimer(signal.ITIMER_REAL, chance.randrange(20, ALARM_US_MAX) / 1e6)
        child.run()
    finally:  # nothing but an error leads here
        signal.setitimer(signal.ITIMER_REAL, 0)
        traceback.print_exc()
        os._exit(WRONG)


def run(seed: int, deaths: int) -> dict[str, object]:
    cache = Cache(3 << 20, workers=0)
    chance = random.Random(seed)
    rows = {start(cache, row, chance.randrange(1 << 30)): row for row in range(ROWS)}
    for number in range(deaths):
        pid, status = os.wait()
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"seed {seed}: a child ended with {status}")
        row = rows.pop(pid)
        cache.store.sweep_row(row)
        if number % 20 == 0:
            cache.check()
        if number < deaths - ROWS:
            rows[start(cache, row, chance.randrange(1 << 30))] = row
    cache.sweep()
    audit = cache.check()
    stats = cache.stats()
    last = Child(cache, 0, seed)  # and what is there is right
    for _ in range(300):
        last.look()
        last.let_go()
    cache.close()
    return {**stats, "audit": audit}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
