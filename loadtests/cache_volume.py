"""A million objects in the cache's store: memory for each, and what a purge of many costs.

    python loadtests/cache_volume.py --assert
    python loadtests/cache_volume.py --wire --assert      # fewer objects, through edge itself

Fills a store of 2 GiB with 1,000,000 objects of 1 KB, 200,000 of which carry one surrogate key, and
purges that key, while a prober in another process, as a worker would, looks up one object after
the other. Sweeping is done as the control process does it, in the same steps. Measured:

* bytes of an object: of the memory that the kernel has given, so with everything that the store
  keeps beside the objects. Without its body, its head, its key, the hashes of its surrogate keys
  and the rest of its last unit of memory, that is the index;
* the time that the call takes which purges;
* the longest pause of the prober, before (the machine's own) and during purge and sweep;
* the time until the memory of all purged objects is free.

Bodies differ in length by a unit of memory, so that the rest of the last unit is half of one in the
mean, whatever stands before the body. Afterwards it is checked who is still there, and that each
body is that of its key. `--assert` exits with 1 when one of BARS is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.clock import now  # noqa: E402  (the path above comes first)
from edge.control.sweep import PAUSE_S, STEP_US  # noqa: E402
from ext.store import Store  # noqa: E402
from ext.store_for_test import StoreForTest  # noqa: E402
from loadtests.pauses import Ask, Longest, NoCore, Prober, longest_between  # noqa: E402
from loadtests.volume_wire import (  # noqa: E402
    BACK_SHARE,
    BACK_TIMEOUT_S,
    BASELINE_S,
    Result,
    Volume,
    expect,
    measure_wire,
)

STORE_OBJECTS, WIRE_OBJECTS = 1_000_000, 50_000

SURROGATE_KEY = b"tagged"
UNIT_BYTES = 128
HASH_BYTES = 8  # of a surrogate key
# 1 KB in the mean; see above.
BODY_BYTES_MIN = 1024 - UNIT_BYTES // 2
FILLER_ROW, PROBER_ROW = 0, 1
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
# What a shop's page has: about 300 bytes, and some surrogate keys.
SURROGATE_KEYS = 2
HEAD = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT",
        b"Content-Type: text/html; charset=UTF-8",
        b"Cache-Control: max-age=86400, public, s-maxage=86400",
        b'ETag: W/"0123456789abcdef0123456789abcdef"',
        b"X-Content-Type-Options: nosniff",
        b"X-Frame-Options: SAMEORIGIN",
        b"Surrogate-Key: %s %s",
        b"\r\n",
    ]
)
NOW_MS = 1_704_067_200_000
FRESH_MS = NOW_MS + 3_600_000


@dataclass(frozen=True)
class Bar:
    """What a figure of Result may be at most."""

    name: str
    at_most: float
    unit: str
    of_wire: bool = True  # over the wire, a pause may be that of a worker without a core


BARS = (
    Bar("index_bytes", 200, "bytes"),
    Bar("purge_ms", 5, "ms"),
    Bar("pause_ms", 1, "ms", False),
    Bar("back_s", 5, "s"),
)


def key_of(number: int) -> bytes:
    """The primary key of that object."""
    return b"shop.example/catalog/product/view/id/%d" % number


def head_of(number: int, volume: Volume) -> bytes:
    """Its head: the tagged ones carry the key that is purged."""
    key = SURROGATE_KEY if number < volume.tagged else b"others"
    return HEAD % (b"cat_p_%07d" % number, key)


def body_of(number: int) -> bytes:
    """Its body: the number over and over."""
    size = BODY_BYTES_MIN + number % UNIT_BYTES
    return (b"%08d" % number * (size // 8 + 1))[:size]


def fill(store: StoreForTest, volume: Volume) -> int:
    """Stores all objects; the bytes of their keys of both kinds, heads and bodies."""
    stored_bytes = 0
    for number in range(volume.objects):
        key, head, body = key_of(number), head_of(number, volume), body_of(number)
        changes = store.find(REQUEST, key, NOW_MS)["changes"]
        begun, handle = store.begin(REQUEST, key, changes, NOW_MS)
        if begun != "lead":
            raise RuntimeError(f"object {number}: {begun}")
        results = (
            store.open(
                handle, REQUEST, key, head, NOW_MS, length=len(body), fresh_until_ms=FRESH_MS
            ),
            store.append(handle, body),
            store.finish(handle, NOW_MS),
        )
        if results != ("ok", "ok", "ok"):
            raise RuntimeError(f"object {number} is not stored: {results}")
        store.release(handle)
        stored_bytes += len(key) + len(head) + len(body) + SURROGATE_KEYS * HASH_BYTES
    return stored_bytes


def count_found(store: StoreForTest, numbers: range) -> int:
    """How many of them are there; RuntimeError when a body is another one's."""
    count = 0
    for number in numbers:
        handle = store.find(REQUEST, key_of(number), NOW_MS)["object"]
        if handle:
            if store.body(handle) != body_of(number):
                raise RuntimeError(f"object {number} has another body")
            store.release(handle)
            count += 1
    return count


def make_ask(store: Store, volume: Volume) -> Ask:
    """For the prober: a lookup of one object after the other, tagged and others, as a hit does."""
    prober = StoreForTest(store.fd, store.wake_fd, PROBER_ROW)

    def ask(count: int) -> None:
        number = count * 7919 % volume.objects
        handle = prober.find(REQUEST, key_of(number), NOW_MS)["object"]
        if handle:
            prober.count_hit(handle)
            prober.release(handle)
        elif number >= volume.tagged:
            raise RuntimeError(f"object {number} is gone, but was not purged")

    return ask


def sweep_until_at_most(store: Store, most_bytes: float, no_core: NoCore) -> None:
    """As edge.control.sweep does it; TimeoutError after BACK_TIMEOUT_S."""
    stop_at = now() + BACK_TIMEOUT_S
    never = threading.Event()
    while True:
        with no_core.watch():  # both take the store's locks
            store.sweep(STEP_US)
            left_bytes = used_bytes(store)
        if left_bytes <= most_bytes:
            return
        if now() > stop_at:
            raise TimeoutError(f"{left_bytes} bytes in use after {BACK_TIMEOUT_S:g} s")
        never.wait(PAUSE_S)


def used_bytes(store: Store) -> int:
    """Memory that objects take."""
    used = store.stats()["used_bytes"]
    assert isinstance(used, int)
    return used


def given_bytes(store: Store) -> int:
    """Memory that the kernel has given: only what was touched."""
    return os.fstat(store.fd).st_blocks * 512


@dataclass(frozen=True)
class Purged:
    """One purge of a filled store, with its sweep."""

    purge_ms: float
    back_s: float
    quiet: Longest
    purging: Longest


def purge_beside_a_prober(store: Store, volume: Volume, aim_bytes: float) -> Purged:
    """Purges SURROGATE_KEY and sweeps until at most `aim_bytes` are in use."""
    cores = os.sched_getaffinity(0)
    core = max(cores)
    with ExitStack() as stack:
        no_core = NoCore()
        stack.callback(no_core.close)
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores - {core} or cores)  # not on the prober's, if there is another
        prober = stack.enter_context(Prober(lambda: make_ask(store, volume), core))
        began_at = now()
        threading.Event().wait(BASELINE_S)
        purged_at = now()
        with no_core.watch():
            store.purge_keys([SURROGATE_KEY], False)
        purge_ms = (now() - purged_at) * 1000
        sweep_until_at_most(store, aim_bytes, no_core)
        back_at = now()
        _, pauses = prober.stop()
    return Purged(
        purge_ms,
        back_at - purged_at,
        longest_between(pauses, began_at, purged_at),
        longest_between(pauses, purged_at, back_at, no_core),
    )


def measure_store(volume: Volume, size_bytes: int) -> Result:
    """The whole scenario; RuntimeError when an object was lost, or was not purged."""
    with ExitStack() as stack:
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        stack.callback(os.close, wake_fd)
        store = Store.create(size_bytes, wake_fd)
        stack.callback(os.close, store.fd)
        filler = StoreForTest(store.fd, wake_fd, FILLER_ROW)
        empty_bytes, empty_given_bytes = used_bytes(store), given_bytes(store)
        stored_bytes = fill(filler, volume)
        expect("found", count_found(filler, range(volume.objects)), volume.objects)
        full_bytes = used_bytes(store)
        each_bytes = (given_bytes(store) - empty_given_bytes) / volume.objects
        tagged_bytes = (full_bytes - empty_bytes) / volume.objects * volume.tagged
        purged = purge_beside_a_prober(store, volume, full_bytes - BACK_SHARE * tagged_bytes)
        expect("left of the purged", count_found(filler, volume.tagged_numbers), 0)
        left = volume.plain_numbers
        expect("left of the others", count_found(filler, left), len(left))
    return Result(
        volume.objects,
        volume.tagged,
        each_bytes,
        each_bytes - stored_bytes / volume.objects - (UNIT_BYTES - 1) / 2,
        **vars(purged),
    )


def judge(result: Result, is_wire: bool) -> list[tuple[str, bool]]:
    """One line per bar, and whether it is kept."""
    values = {
        "index_bytes": result.index_bytes,
        "purge_ms": result.purge_ms,
        "pause_ms": result.purging.caused_s * 1000,
        "back_s": result.back_s,
    }
    verdicts = []
    for bar in BARS:
        value = values[bar.name]
        if value is None or (is_wire and not bar.of_wire):
            continue
        kept = value <= bar.at_most
        word = "kept" if kept else "MISSED"
        verdicts.append((f"{bar.name}: {value:.3f}, bar {bar.at_most:g} {bar.unit}: {word}", kept))
    return verdicts


def report(result: Result) -> str:
    """The figures, for people."""
    lines = [f"{result.objects} objects, {result.bytes_per_object:.0f} bytes of memory each"]
    if result.index_bytes is not None:
        lines.append(f"of it {result.index_bytes:.0f} bytes of index")
    lines += [
        f"purge of {result.purged} objects by one key: {result.purge_ms:.3f} ms",
        f"their memory is free after {result.back_s:.2f} s",
        f"longest pause of who keeps asking, before it: {result.quiet}",
        f"longest pause during it: {result.purging}",
    ]
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="many objects in the cache, and their purge")
    parser.add_argument("--objects", type=int, help="1000000, or 50000 over the wire")
    parser.add_argument("--tagged", type=int, help="that the purge is for; default: every fifth")
    parser.add_argument("--size-mib", type=int, default=2048, help="of the store; not of the wire")
    parser.add_argument("--wire", action="store_true", help="through edge, from an origin")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "cache_volume.json")
    parser.add_argument("--assert", action="store_true", dest="is_asserting")
    return parser.parse_args()


def main() -> int:
    """Exit status 1: --assert was given and a bar was missed."""
    options = parse_options()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps servers; not in a user's PATH
    objects = options.objects or (WIRE_OBJECTS if options.wire else STORE_OBJECTS)
    volume = Volume(objects, options.tagged or objects // 5)
    if options.wire:
        result = measure_wire(volume)
    else:
        result = measure_store(volume, options.size_mib * 2**20)
    verdicts = judge(result, options.wire)
    sys.stdout.write("\n".join([report(result), *(line for line, _ in verdicts)]) + "\n")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    bars = [{"bar": line, "kept": kept} for line, kept in verdicts]
    options.json.write_text(json.dumps({"result": asdict(result), "bars": bars}))
    return int(options.is_asserting and not all(kept for _, kept in verdicts))


if __name__ == "__main__":
    sys.exit(main())
