"""ext.store: processes that die, anywhere, and what they leave behind.

Those that die at a given place run a small program (`DIE`); those that die anywhere are in
store_deaths.py.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path

import pytest

from ext.limits import Limit
from tests.ext.stores import UNIT_BYTES, Cache, Worker, response_of

ROOT = Path(__file__).parents[2]
ROW = 5
MUTEX_BYTES = 48 if platform.machine() == "aarch64" else 40  # glibc: pthread_mutex_t
ROWS_AT, ROW_BYTES, HANDLES_AT = 4096, 64 + 4 * Limit.LEASES_MAX, 64  # ext/region.pyx, leases.pxd
LEASES_AT = 16  # ext/objects.pxd: in an Object
BODY = bytes(range(250)) * 40

DIE = """
import os, signal, sys
from tests.ext.stores import *
worker = Worker(int(sys.argv[1]), int(sys.argv[2]), {row})
c = worker.c
{steps}
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    made.check()
    made.close()


@pytest.fixture
def worker(cache: Cache) -> Worker:
    return cache.workers[0]


def run(cache: Cache, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        pass_fds=[cache.store.fd, cache.wake_fd],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def die(cache: Cache, steps: str, row: int = ROW) -> None:
    """A process that does so much, and no more."""
    program = DIE.format(steps=steps, row=row)
    done = run(cache, "-c", program, str(cache.store.fd), str(cache.wake_fd))
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


# -- outside of the locks --------------------------------------------------------------------------


def test_a_dead_process_keeps_its_leases_until_its_row_is_swept(
    cache: Cache, worker: Worker
) -> None:
    worker.put(b"/a", BODY)
    die(cache, 'handle = worker.object(b"/a"); c.share(handle); worker.object(b"/a")')
    cache.store.purge_url(b"/a")
    cache.sweep()
    assert cache.check()["dead"] > 0
    assert cache.stats()["row_leases"][ROW] == 1
    cache.store.sweep_row(ROW)
    assert (cache.check()["dead"], cache.stats()["row_leases"][ROW]) == (0, 0)
    cache.store.sweep_row(ROW)
    cache.store.sweep_row(77)  # which nobody ever had


def test_what_others_lease_stays(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", BODY)
    handle = worker.object(b"/a")
    die(cache, 'worker.object(b"/a")')
    cache.store.purge_all()
    cache.store.sweep_row(ROW)
    cache.sweep()
    assert cache.check()["dead"] > 0
    assert worker.c.body(handle) == BODY
    worker.c.release(handle)
    assert cache.check()["dead"] == 0


@pytest.mark.parametrize("is_open", [False, True])
def test_a_fill_of_a_dead_process_fails(cache: Cache, worker: Worker, is_open: bool) -> None:
    opening = 'worker.open(fill, b"/a"); c.append(fill, b"half")' if is_open else ""
    die(cache, f'fill = worker.lead(b"/a"); {opening}')
    begun, fill = worker.begin(b"/a")
    assert begun == "join"
    worker.c.follow(fill)
    cache.store.sweep_row(ROW)
    assert cache.is_woken()
    seen = worker.c.see(fill)
    assert (seen["state"], seen["failure"]) == ("failed", 0)
    worker.put(b"/a", b"new")
    worker.c.release(fill)
    assert worker.get(b"/a") == b"new"
    assert (cache.stats()["fills"], cache.check()["dead"]) == (0, 0)


def test_a_fill_that_was_finished_stays(cache: Cache, worker: Worker) -> None:
    die(cache, 'fill = worker.lead(b"/a"); worker.open(fill, b"/a"); c.finish(fill)')
    cache.store.sweep_row(ROW)
    assert worker.get(b"/a") == b""


def test_a_row_is_clean_for_who_takes_it_next(cache: Cache) -> None:
    die(cache, 'worker.lead(b"/a")')
    successor = cache.worker(ROW)
    assert cache.stats()["row_leases"][ROW] == 0
    assert successor.begin(b"/a")[0] == "lead"
    successor.c.release(successor.find(b"/a")["busy"])
    successor.c.release(successor.find(b"/a")["busy"])


@pytest.mark.parametrize("where", ["object", "body", "free"])
def test_a_row_may_list_what_is_not_leased(cache: Cache, worker: Worker, where: str) -> None:
    """Dead between the row and the object's bit: there may be anything by now, and it stays. Here a
    body that looks like a fill of that row: all zeros."""
    body, row = bytes(10_000), 0
    worker.put(b"/a", body)
    handle = worker.object(b"/a")
    worker.c.release(handle)
    listed = {"object": handle, "body": handle + 3, "free": handle + 500}[where]
    with mmap(cache.store.fd, 0) as memory:
        at = ROWS_AT + row * ROW_BYTES + HANDLES_AT + 4 * 17
        memory[at : at + 4] = struct.pack("<I", listed)
        cache.store.sweep_row(row)
        assert memory[at : at + 4] == bytes(4)
    assert worker.get(b"/a") == body
    assert cache.stats()["fills"] == 0


def test_a_sweep_frees_what_nobody_has(cache: Cache, worker: Worker) -> None:
    """Whoever dropped the last lease has died between its bit and freeing it."""
    worker.put(b"/a", BODY)
    handle = worker.object(b"/a")
    cache.store.purge_url(b"/a")
    with mmap(cache.store.fd, 0) as memory:
        at = handle * UNIT_BYTES + LEASES_AT
        assert memory[at : at + 16] == bytes([1]) + bytes(15)  # row 0
        memory[at] = 0
    assert cache.check()["orphaned"] > 0
    cache.store.purge_keys([b"k"])  # a sweep goes round after a purge
    cache.sweep()
    assert cache.check()["free"] == cache.check()["units"]
    worker.c.release(handle)
    assert cache.check()["free"] == cache.check()["units"]


# -- inside of a shard's lock ----------------------------------------------------------------------

KILL_INSIDE = 'found = worker.find(b"/x"); c.take_lock(worker.lead(b"/x"))'


def test_a_shard_is_emptied_when_somebody_died_inside(cache: Cache, worker: Worker) -> None:
    for number in range(100):
        worker.put(b"/%d" % number, BODY)
    die(cache, KILL_INSIDE)
    assert not any(worker.has(b"/%d" % number) for number in range(100))
    stats = cache.stats()
    assert (stats["lost_shards"], stats["objects"], stats["fills"]) == (1, 0, 0)
    assert 0 < cache.check()["dead"] <= 32  # what the dead process leases
    cache.store.sweep_row(ROW)
    assert cache.check()["free"] == cache.check()["units"]
    for number in range(2000):
        worker.put(b"/%d" % number, BODY)
    assert worker.get(b"/1999") == BODY


def test_what_is_leased_survives_a_lost_shard(cache: Cache, worker: Worker) -> None:
    """Bodies in several runs, with a head of their own run, are read to their end."""
    big = os.urandom(2_000_000)
    head = response_of(b"X: " + b"x" * 30_000)
    worker.put(b"/big", big, length=-1, head=head)
    worker.put(b"/a", BODY)
    worker.put(b"/b", BODY)
    handles = [worker.object(key) for key in (b"/big", b"/a", b"/a")]
    units = cache.check()["live"]
    die(cache, KILL_INSIDE)
    assert not worker.has(b"/a")
    dead = cache.check()["dead"]
    assert units - 100 < dead < units + 32
    for number in range(1000):  # what is written now goes elsewhere
        worker.put(b"/%d" % number, b"y" * 3000)
    assert [worker.c.body(handle) for handle in handles] == [big, BODY, BODY]
    assert worker.c.head(handles[0])["head"] == head
    for handle in handles:
        worker.c.release(handle)
    cache.store.sweep_row(ROW)
    assert cache.check()["dead"] == 0


def test_fills_in_a_lost_shard_are_lost(cache: Cache, worker: Worker) -> None:
    other = cache.workers[1]
    busy, filling, prior = worker.lead(b"/a"), worker.lead(b"/b"), worker.lead(b"/c")
    worker.open(filling, b"/b")
    worker.c.append(filling, b"half")
    assert other.begin(b"/b") == ("join", filling)
    other.c.follow(filling)
    die(cache, KILL_INSIDE)
    assert worker.open(busy, b"/a") == "lost"
    assert cache.is_woken()
    assert worker.c.append(filling, b"x") == "lost"
    assert worker.c.finish(filling) == "lost"
    assert worker.c.refresh(prior, filling) == "lost"
    assert (other.state(filling), other.c.body(filling)) == ("failed", b"half")
    worker.c.abandon(busy, "alone")
    for who, handle in ((worker, busy), (worker, filling), (worker, prior), (other, filling)):
        who.c.release(handle)
    worker.put(b"/a", BODY)
    cache.store.sweep_row(ROW)
    assert cache.check()["dead"] == 0


def test_a_found_object_does_not_begin_in_a_lost_shard(cache: Cache, worker: Worker) -> None:
    worker.put(b"/b", b"")
    changes = worker.find(b"/a")["changes"]
    die(cache, 'c.take_lock(worker.object(b"/b"))')
    assert worker.c.begin(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"/a", changes) == ("again", 0)


def test_who_mends_may_die_too(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", BODY)
    handle = worker.object(b"/a")
    die(cache, KILL_INSIDE)
    for row in (20, 21):  # fresh ones, or taking the row would mend already
        die(cache, f"c.take_lock({handle}, is_mending=True)", row)
    assert worker.c.body(handle) == BODY
    assert not worker.has(b"/a")
    assert cache.stats()["lost_shards"] == 1
    worker.c.release(handle)
    cache.store.sweep_row(ROW)
    assert cache.check()["free"] == cache.check()["units"]


def test_the_other_shards_are_not_touched() -> None:
    cache = Cache(256 << 20)
    worker = cache.workers[0]
    for number in range(400):
        worker.put(b"/%d" % number, b"%d" % number)
    die(cache, KILL_INSIDE)
    left = sum(worker.has(b"/%d" % number) for number in range(400))
    assert 200 < left < 400  # three of four shards
    assert cache.stats()["lost_shards"] == 1
    cache.close()


# -- inside of the other locks ---------------------------------------------------------------------


def test_a_death_in_the_purge_log(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"", head=response_of(b"Surrogate-Key: k"))
    worker.put(b"/b", b"")
    cache.store.purge_keys([b"x", b"y"])
    die(cache, "c.take_purge_lock()")
    cache.store.purge_keys([b"k"])
    assert (worker.has(b"/a"), worker.has(b"/b")) == (False, True)
    assert cache.stats()["logged_keys"] == 3
    die(cache, "c.take_purge_lock()")
    cache.store.purge_all()
    assert not worker.has(b"/b")
    cache.sweep()
    assert cache.stats()["logged_keys"] == 0


def test_a_death_while_sweeping(cache: Cache, worker: Worker) -> None:
    for number in range(500):
        worker.put(b"/%d" % number, b"", head=response_of(b"Surrogate-Key: k"))
    cache.store.purge_keys([b"k"])
    assert cache.store.sweep(0)
    die(cache, "c.take_sweep_lock()")
    cache.sweep()
    assert (cache.stats()["objects"], cache.stats()["logged_keys"]) == (0, 0)


def test_one_process_sweeps_at_a_time(cache: Cache, worker: Worker) -> None:
    worker.put(b"/a", b"", head=response_of(b"Surrogate-Key: k"))
    cache.store.purge_keys([b"k"])
    done = run(
        cache,
        "-c",
        DIE.format(
            row=ROW,
            steps="c.take_sweep_lock()\n"
            "import subprocess\n"
            "inner = '''import sys; from ext.store import Store\n"
            "print(Store.attach(int(sys.argv[1])).sweep(1000))'''\n"
            "subprocess.run([sys.executable, '-c', inner, sys.argv[1]], close_fds=False)",
        ),
        str(cache.store.fd),
        str(cache.wake_fd),
    )
    assert done.stdout == "False\n"
    assert cache.stats()["objects"] == 1
    cache.sweep()
    assert cache.stats()["objects"] == 0


WAIT = """
import sys
from tests.ext.stores import *
worker = Worker(int(sys.argv[1]), -1, 6)
print("ready", flush=True)
print(worker.has(b"/a"), flush=True)
"""


def test_a_lost_wake_up_is_made_up_for(cache: Cache, worker: Worker) -> None:
    """Whoever held the lock has let go and died before it woke anybody: here the owner's word in
    the mutex is cleared from outside."""
    worker.put(b"/a", b"")
    holder = start_holding(cache, 'c.take_lock(worker.object(b"/a"))')
    waiter = subprocess.Popen(
        [sys.executable, "-c", WAIT, str(cache.store.fd)],
        pass_fds=[cache.store.fd],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert waiter.stdout is not None
    waiter.stdout.readline()
    with mmap(cache.store.fd, 0) as memory:
        until(lambda: waiters_of(cache, memory) == 1)
        at = lock_at(cache)
        memory[at : at + 4] = bytes(4)
        assert waiter.communicate(timeout=60)[0] == b"True\n"
    holder.kill()
    holder.communicate()
    assert worker.has(b"/a")


def test_the_sweep_gives_way_to_who_waits(cache: Cache, worker: Worker) -> None:
    """It stops after a slice, though its budget is large, until the one who waits is known dead."""
    for number in range(200):
        worker.put(b"/%d" % number, b"", head=response_of(b"Surrogate-Key: k"))
    cache.store.purge_keys([b"k"])
    with mmap(cache.store.fd, 0) as memory:
        at = lock_at(cache) + MUTEX_BYTES
        memory[at : at + 4] = struct.pack("<I", 1)
        assert cache.store.sweep(10**9)
        assert 150 < cache.stats()["objects"] < 200
        cache.store.sweep_row(worker.row)
        assert not cache.store.sweep(10**9)
    assert cache.stats()["objects"] == 0


def start_holding(cache: Cache, steps: str) -> subprocess.Popen[bytes]:
    """A process that has done so much and lives on."""
    program = DIE.replace("os.kill(", "print(flush=True); signal.pause(); (").format(
        steps=steps, row=ROW
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(cache.store.fd), str(cache.wake_fd)],
        pass_fds=[cache.store.fd, cache.wake_fd],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


def lock_at(cache: Cache) -> int:
    """Offset of the lock of the first shard: the shards are the last part of the memory."""
    return os.fstat(cache.store.fd).st_size - cache.store.size_bytes


def waiters_of(cache: Cache, memory: mmap) -> int:
    at = lock_at(cache) + MUTEX_BYTES
    return int.from_bytes(memory[at : at + 4], "little")


def until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < end
        os.sched_yield()


# -- anywhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_deaths_at_any_instruction(cache: Cache, seed: int) -> None:
    """Every body read is right, no lock stays held, and the books add up in the end."""
    print("seed", seed)
    done = run(cache, "-m", "tests.ext.store_deaths", str(seed), "250")
    assert (done.returncode, done.stderr) == (0, "")
    stats = json.loads(done.stdout)
    audit = stats["audit"]
    assert audit["lost"] == audit["twice"] == audit["dead"] == audit["orphaned"] == 0
    assert audit["free"] + audit["live"] == audit["units"]
    assert (stats["fills"], stats["leases"]) == (0, 0)
    assert stats["lost_shards"] > 0, "nobody died inside a lock"
