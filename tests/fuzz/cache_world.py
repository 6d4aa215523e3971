"""The made-up site that the cache is fuzzed with: its resources, and the body of each version.

Everything about a resource follows from the seed, and everything about an answer's body from the
version that it is of, so whoever holds an answer can tell whose it is and whether it is whole.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

HOSTS = (b"a.example", b"b.example")
MAX_OBJECT_BYTES = 256 * 1024
# Around the steps of the store (a unit, a page, one read) and of `max_object`; 0 and 1 for edges.
SIZES = (
    0, 1, 100, 127, 128, 1_000, 4_000, 4_096, 5_000, 20_000, 65_536, 100_000, 131_073, 200_000,
    MAX_OBJECT_BYTES, MAX_OBJECT_BYTES + 1, 400_000, 700_000,
)  # fmt: skip
SMALL_SIZES = 10  # the first ones; most resources are small, as on a real site
NOISE_BYTES = 1 << 16
LONG_FIRST, LONG_STEP = 7, 20
MISSING = 404
# What the requests of clients have in the fields that answers vary on; None: no such field.
VARIED: dict[bytes, tuple[bytes | None, ...]] = {
    b"x-kind": (None, None, b"a", b"b", b"c"),
    b"x-tone": (None, None, b"1", b"2"),
    b"accept-encoding": (None, b"gzip", b"br", b"gzip, br", b"identity"),
}


@dataclass(frozen=True)
class Resource:
    """One URL and how its origin answers it."""

    number: int
    host: bytes
    path: bytes
    status: int
    size: int
    framing: str  # "length", "chunked" or "close"
    control: tuple[bytes, ...]  # field lines about caching
    ttl_s: float
    stale_s: float  # stale-while-revalidate or stale-if-error
    vary: tuple[bytes, ...]
    is_fickle: bool  # only every other answer has its Vary
    keys: tuple[bytes, ...]  # surrogate keys
    has_etag: bool
    is_text: bool  # may be compressed
    is_shared: bool  # answers are for everybody
    is_faulty: bool  # its origin fails now and then

    @property
    def name(self) -> str:
        return f"{self.host.decode()}{self.path.decode()}"


def make_resources(seed: int, count: int, policy: str) -> list[Resource]:
    """The site. Resources of both hosts have the same paths."""
    chance = random.Random(f"{seed}/site")
    resources = [_make_resource(chance, number, policy) for number in range(count)]
    # There are always some that are too long for the cache, also when they are compressed.
    for resource in resources[LONG_FIRST::LONG_STEP]:
        resources[resource.number] = replace(
            resource,
            path=b"/long/%d" % resource.number,
            size=SIZES[-1],
            framing=chance.choice(("chunked", "close")),
            is_text=chance.random() < 0.7,
            is_faulty=False,
        )
    return resources


def _make_resource(chance: random.Random, number: int, policy: str) -> Resource:
    control, ttl_s, stale_s, is_shared = _make_control(chance, policy)
    size = chance.choice(SIZES[:SMALL_SIZES] if chance.random() < 0.6 else SIZES[SMALL_SIZES:])
    framing = chance.choice(("length", "length", "length", "chunked", "chunked", "close"))
    return Resource(
        number=number,
        host=HOSTS[number % 2],
        path=b"/r/%d?%s=%d" % (number // 2, framing.encode(), size),
        status=MISSING if chance.random() < 0.1 else 200,
        size=size,
        framing=framing,
        control=control,
        ttl_s=ttl_s,
        stale_s=stale_s,
        vary=chance.choice(
            ((), (), (), (b"x-kind",), (b"x-kind", b"x-tone"), (b"accept-encoding",))
        ),
        is_fickle=chance.random() < 0.2,
        keys=tuple(b"k%d" % chance.randrange(12) for _ in range(chance.randrange(4))),
        has_etag=chance.random() < 0.7,
        is_text=chance.random() < 0.3,
        is_shared=is_shared,
        is_faulty=chance.random() < 0.35,
    )


def _make_control(
    chance: random.Random, policy: str
) -> tuple[tuple[bytes, ...], float, float, bool]:
    """(field lines, ttl, how long it may be served stale, whether it may be shared)."""
    kind = chance.randrange(14)
    if kind < 4:
        return (b"Cache-Control: max-age=3600",), 3600, 0, True
    if kind < 7:
        return (b"Cache-Control: max-age=1",), 1, 0, True
    if kind == 7:
        return (b"Cache-Control: max-age=1, stale-while-revalidate=3",), 1, 3, True
    if kind == 8:
        return (b"Cache-Control: max-age=1, stale-if-error=60",), 1, 60, True
    if kind == 9:
        return (b"Cache-Control: max-age=0",), 0, 0, True
    if kind == 10:
        return (b"Cache-Control: private, max-age=60",), 0, 0, False
    if kind == 11:
        return (b"Surrogate-Control: no-store", b"Cache-Control: max-age=60"), 0, 0, False
    if kind == 12:
        return (b"Surrogate-Control: max-age=1", b"Cache-Control: max-age=3600"), 1, 0, True
    if policy == "fastly":
        return (b"Cache-Control: max-age=60", b"Set-Cookie: own=1"), 0, 0, False
    return (b"Cache-Control: no-store",), 0, 0, False


# Some of it can be compressed, and some cannot.
_NOISE = random.Random("noise").randbytes(NOISE_BYTES // 2) + b"0123456789abcdef" * (
    NOISE_BYTES // 32
)


def body_of(resource: Resource, serial: int) -> bytes:
    """Of the version with this serial number: its name, then noise that no other version has at
    the same place."""
    line = b"%s%s version %d\n" % (resource.host, resource.path, serial)
    start = serial * 7919 % NOISE_BYTES
    noise = _NOISE[start:] + _NOISE * (resource.size // NOISE_BYTES + 1)
    return (line + noise)[: resource.size]


def normal_encoding(value: bytes | None) -> bytes | None:
    """Accept-Encoding as policy fastly reduces it: br, else gzip, else none."""
    codings = [] if value is None else [coding.strip() for coding in value.split(b",")]
    return b"br" if b"br" in codings else b"gzip" if b"gzip" in codings else None
