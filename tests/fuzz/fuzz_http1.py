"""Fuzzes ext.http1 against the reference parser, without end or for a number of seconds.

    python -m tests.fuzz.fuzz_http1 --seconds 60 --seed 1

Seeds are the files of tests/fuzz/corpus, named KIND-what.bin with KIND request, response or
chunked. Each round takes a seed, changes it (bytes, slices, hostile words, other seeds) and lets
both parsers read it; a difference is written to the corpus as KIND-found-HASH.bin, from where
test_corpus.py replays it for ever, and ends the run with status 1. With atheris installed,
--atheris leaves the mutation to it (guided by the coverage of the Python side only).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from pathlib import Path

from tests.ext.compare_http1 import compare_chunked, compare_request, compare_response

CORPUS = Path(__file__).parent / "corpus"
KINDS = ("request", "response", "chunked")
INPUT_BYTES_MAX = 2048
WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x0b", b"\x0c",
    b"\x85", b"\xa0", b"\xff", b"\x7f", b"0", b"+", b"-", b"0x", b"_", b"#", b"@", b"[", b"]", b"*",
    b"%", b"/",
    b"chunked", b"gzip, ", b"identity", b"close", b"keep-alive", b"upgrade", b"Host: b\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: Upgrade\r\n",
    b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0",
    b"http://a", b"CONNECT", b"OPTIONS", b"9223372036854775807", b"9223372036854775808",
    b"0000000000000000", b"FFFFFFFFFFFFFFFF", b"\r\n ", b" :", b";a=b", b"a" * 40,
)  # fmt: skip


class Difference(Exception):  # noqa: N818 (found, not done wrong)
    """The two parsers disagree about `data`."""

    def __init__(self, kind: str, data: bytes) -> None:
        super().__init__(f"{kind}: {data!r}")
        self.kind = kind
        self.data = data


def check_input(kind: str, data: bytes) -> None:
    """One input through both parsers; AssertionError when they differ."""
    if kind == "request":
        compare_request(data)
    elif kind == "response":
        compare_response(data, b"GET")
        compare_response(data, b"HEAD")
    else:
        half = len(data) // 2
        compare_chunked(data, [1, half, half + 1])


def read_corpus() -> dict[str, list[bytes]]:
    """The seeds by kind."""
    seeds: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for path in sorted(CORPUS.glob("*.bin")):
        seeds[path.name.partition("-")[0]].append(path.read_bytes())
    return seeds


def mutate(chance: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    """`seed` with one to four changes; most results are still nearly a message."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 2, 3, 4))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((0, 0, 1, 1, 2, 8)))
        change = chance.randrange(6)
        if change == 0:
            data[at:end] = bytes((chance.randrange(256),))
        elif change in (1, 2):
            data[at:end] = chance.choice(WORDS)
        elif change == 3:
            del data[at:end]
        elif change == 4:
            data[at:at] = data[at:end] * chance.choice((1, 2, 20))
        else:
            other = chance.choice(others)
            start = chance.randint(0, len(other))
            data[at:end] = other[start : start + chance.choice((4, 16, 64))]
    return bytes(data[:INPUT_BYTES_MAX])


def fuzz(seconds: float, seed: int) -> int:
    """Number of inputs tried in `seconds`; raises Difference."""
    chance = random.Random(seed)
    seeds = read_corpus()
    stop_at = time.monotonic() + seconds
    count = 0
    while time.monotonic() < stop_at:
        kind = chance.choice(KINDS)
        data = mutate(chance, chance.choice(seeds[kind]), seeds[kind])
        count += 1
        try:
            check_input(kind, data)
        except AssertionError as error:
            raise Difference(kind, data) from error
    return count


def store(found: Difference, corpus: Path) -> Path:
    """Keeps an input on which the parsers differ, for test_corpus.py."""
    digest = hashlib.sha256(found.data).hexdigest()[:12]
    path = corpus / f"{found.kind}-found-{digest}.bin"
    path.write_bytes(found.data)
    return path


def fuzz_with_atheris(arguments: list[str]) -> None:
    """Hands over to atheris; the first byte of its input chooses the kind."""
    import atheris  # optional, and its import instruments this process

    def one_input(data: bytes) -> None:
        if data:
            check_input(KINDS[data[0] % len(KINDS)], data[1:])

    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


def main() -> int:
    """Exit status 0: time is up without a difference."""
    parser = argparse.ArgumentParser(description="fuzz ext.http1 against the reference parser")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--atheris", nargs="*", metavar="OPTION", help="use atheris")
    options = parser.parse_args()
    if options.atheris is not None:
        fuzz_with_atheris(options.atheris)
        return 0
    try:
        count = fuzz(options.seconds, options.seed)
    except Difference as found:
        sys.stderr.write(f"{found.__cause__}\nstored as {store(found, CORPUS)}\n")
        return 1
    sys.stderr.write(f"{count} inputs, seed {options.seed}, no difference\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
