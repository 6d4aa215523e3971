"""Fuzzes a running edge as a cache, for a number of seconds, against a simple model.

    python -m tests.fuzz.fuzz_cache --seconds 600 --seed 1 --site rfc9111

Several workers share a cache that is too small for the site. Clients of all manners ask at random,
an origin answers in all manners, keys and URLs are purged, workers are killed, the configuration is
read again; and every answer is judged by tests.fuzz.cache_model. At the end all gauges are at zero,
nothing is leased, and every unit of the cache's memory is accounted for. The seed settles what is
done, not when; EDGE_FUZZ_SEED repeats one in the test run.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from edge.job import GENERATION_ARGUMENT
from ext.store import Store
from tests.fuzz.cache_clients import ANSWER_S_MAX, Crowd
from tests.fuzz.cache_model import Model, Purge
from tests.fuzz.cache_origin import CacheOrigin
from tests.fuzz.cache_world import MAX_OBJECT_BYTES, make_resources
from tests.wire.stand import Stand, run_stand

SERVICE, TOKEN = "SU1Z0isxPaozGVKXdv0eY", "edge-test-token"
RESOURCES = 120
CLIENTS = 12
WORKERS = 3
# Of the cache. In the smaller one there is hardly room for what is being read and fetched.
TIGHT, ROOMY = "1MiB", "4MiB"
# Nothing is stale but by what the site's answers allow: the model knows no more.
SITES = {
    "fastly": "policy: fastly",
    "shielded": "policy: fastly\n  shield: IAD",
    "rfc9111": "policy: rfc9111\n  stale_if_disconnected: 0s",
}
CONFIG = f"""
cdn:
  listen: 127.0.0.1:$port
  $site
  default_ttl: 0s
  cache: {{size: $size, max_object: {MAX_OBJECT_BYTES}}}
  compression: {{enabled: true}}
  service: {{id: {SERVICE}, tokens: [{TOKEN}]}}
  timeouts: {{connect: 5s, server: 2s, between_bytes: 1s, client: 10s, http_keep_alive: 60s}}
nodes:
  - {{name: node1, web: 127.0.0.1:$node1}}
"""


class Fuzz:
    """One run; `report` says what happened in it."""

    def __init__(self, site: str, seed: int) -> None:
        policy = "rfc9111" if site == "rfc9111" else "fastly"
        self.site = site
        self.seed = seed
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.resources = make_resources(seed, RESOURCES, policy)
        self.model = Model(policy)
        self._chance = random.Random(f"{seed}/operator")
        self._over = threading.Event()

    def run(self, seconds: float, directory: Path) -> None:
        """Raises AssertionError at the end, with the first violation."""
        config = CONFIG.replace("$site", SITES[self.site])
        size = self._chance.choice((TIGHT, ROOMY))
        config = config.replace("$size", size)
        with run_stand(config, directory, workers=WORKERS) as stand:
            origin = CacheOrigin(self.model, self.resources, self.seed, stand.ports["node1"])
            crowd = Crowd(
                stand.ports["port"], self.model, self.resources, self.seed, TOKEN, self._fail
            )
            crowd.bears_cuts = size == TIGHT
            try:
                crowd.start(CLIENTS)
                self._operate(stand, monotonic() + seconds)
                crowd.stop()
                self.counts += crowd.counts + origin.counts
                if origin.strays:
                    self._fail(f"the origin got what nobody has sent: {origin.strays[:5]}")
            finally:
                origin.close()
            assert not self.violations, self._report()
            check_store(stand)

    def _fail(self, violation: str) -> None:
        self.violations.append(violation)
        self._over.set()

    def _report(self) -> str:
        counts = ", ".join(f"{name}: {n}" for name, n in sorted(self.counts.items()))
        return f"{self.violations[0]}\n{counts}\nseed {self.seed}, site {self.site}"

    # -- the operator -------------------------------------------------------------------------

    def _operate(self, stand: Stand, end_at: float) -> None:
        """Purges, and now and then a kill or a reload, until the end or a violation."""
        disturb_at = monotonic() + 1.0
        while monotonic() < end_at and not self._over.wait(self._chance.choice((0.02, 0.1, 0.3))):
            if monotonic() < disturb_at:
                self._purge(stand)
            elif self._chance.random() < 0.7:
                self._kill(stand)
                disturb_at = monotonic() + self._chance.uniform(0.5, 3.0)
            else:
                self._reload(stand)
                disturb_at = monotonic() + self._chance.uniform(0.5, 3.0)

    def _purge(self, stand: Stand) -> None:
        """By key, of everything, or of a URL, through the admin API."""
        is_soft = self._chance.random() < 0.5
        kind = self._chance.random()
        resource = self._chance.choice(self.resources)
        key = b"k%d" % self._chance.randrange(12)
        began_at = monotonic()
        if kind < 0.6:
            path = f"/service/{SERVICE}/purge/{key.decode()}"
            purge = Purge(began_at, 0, is_soft, key=key)
        elif kind < 0.95:
            path = f"/purge/{resource.name}"
            purge = Purge(began_at, 0, is_soft, url=resource.host + resource.path)
        else:
            path = f"/service/{SERVICE}/purge_all"
            purge = Purge(began_at, 0, False)
        if self._post(stand, path, is_soft):
            ended = Purge(began_at, monotonic(), purge.is_soft, purge.key, purge.url)
            self.model.note_purge(ended)
            self.counts["purge"] += 1

    def _post(self, stand: Stand, path: str, is_soft: bool) -> bool:
        """Whether it was done; not, maybe, while control is replaced."""
        fields = {"Fastly-Key": TOKEN} | ({"Fastly-Soft-Purge": "1"} if is_soft else {})
        connection = http.client.HTTPConnection(
            "127.0.0.1", stand.ports["admin"], timeout=ANSWER_S_MAX
        )
        try:
            connection.request("POST", path, None, fields)
            answered = connection.getresponse()
            body = answered.read()
        except (ConnectionError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answered.status != 200:
            self._fail(f"purge {path}: {answered.status} {body!r}")
        return answered.status == 200

    def _kill(self, stand: Stand) -> None:
        """SIGKILL to one worker; returns when it is gone."""
        began_at = monotonic()
        workers = stand.edge.children("edge.worker")
        victim = self._chance.choice(workers)
        is_newest = generation_of(victim) == max(generation_of(worker) for worker in workers)
        self.model.note_disturbance(began_at, began_at + ANSWER_S_MAX)
        self.model.note_kill(monotonic())
        victim.kill()
        victim.wait(ANSWER_S_MAX)
        if is_newest:
            stand.expect("starting it again")
        self.counts["kill"] += 1

    def _reload(self, stand: Stand) -> None:
        """SIGHUP; returns when the next generation serves."""
        began_at = monotonic()
        self.counts["reload"] += 1
        self.model.note_disturbance(began_at, began_at + ANSWER_S_MAX)
        stand.edge.reload()
        stand.edge.wait_line("edge: reloaded", count=self.counts["reload"])


def generation_of(worker: psutil.Process) -> int:
    """Of its configuration; only those of the newest are started again."""
    return int(next(a for a in worker.cmdline() if a.startswith(GENERATION_ARGUMENT)).split("=")[1])


def check_store(stand: Stand) -> None:
    """Nothing is fetched or leased any more, and every unit is free or of one object."""
    stand.edge.wait_status(is_cache_at_rest)
    store = attach_store(stand.edge.process.pid)
    stand.edge.wait_status(lambda _: not store.audit()["orphaned"])
    books = store.audit()
    assert books["lost"] == books["twice"] == books["dead"] == 0, books
    assert books["free"] + books["live"] == books["units"], books


def is_cache_at_rest(status: Any) -> bool:
    cache = status["cache"]
    return bool(cache["fills"] == 0 and cache["leases"] == 0)


def attach_store(pid: int) -> Store:
    """The cache of a running edge, seen from here."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:edge-cache" in str(path.readlink()):
            fd = os.open(path, os.O_RDWR)
            try:
                return Store.attach(fd)
            finally:
                os.close(fd)  # it is mapped
    raise AssertionError("the supervisor has no cache")


def main() -> int:
    """Exit status 0: time is up without a violation."""
    parser = argparse.ArgumentParser(description="fuzz the cache against a model")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--site", choices=sorted(SITES), default="fastly")
    options = parser.parse_args()
    fuzz = Fuzz(options.site, options.seed)
    with tempfile.TemporaryDirectory() as directory:
        try:
            fuzz.run(options.seconds, Path(directory))
        except AssertionError as error:
            sys.stderr.write(f"{error}\nseed {options.seed}\n")
            return 1
    sys.stderr.write(f"{dict(sorted(fuzz.counts.items()))}\nseed {options.seed}: no violation\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
