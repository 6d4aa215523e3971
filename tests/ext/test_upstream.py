"""ext.upstream: kept connections, addresses, and passive health.

Connects go through a loop that is a stand-in: `Connects` answers at once what the test says, so no
socket is opened and nothing waits.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ext.arena import Arena
from ext.balance import BALANCERS
from ext.limits import ServerState
from ext.retry import RetryOn
from ext.site import Site
from ext.upstream import Connecting, Server, Tier

# -- stand-ins ----------------------------------------------------------------------------------


class Transport:
    """What a connection asks of asyncio's transport; remembers how it was ended."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.ended = ""

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return SimpleNamespace(fileno=lambda: -1)

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def pause_reading(self) -> None:
        """Reading is not the transport's."""

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def lose(self) -> None:
        """The loop's last call, some time after close or abort."""
        self.protocol.connection_lost(None)


class Connects:
    """An event loop whose connects succeed, or raise `error`."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.made: list[Transport] = []
        self.addresses: list[tuple[str, int]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int
    ) -> tuple[Transport, Any]:
        self.addresses.append((host, port))
        if self.error is not None:
            raise self.error
        protocol = factory()
        transport = Transport(protocol)
        self.made.append(transport)
        protocol.connection_made(transport)
        return transport, protocol


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that never waits."""
    asyncio.run(coroutine)


LIMITS = {
    "request_line_bytes": 8192,
    "header_bytes": 16384,
    "header_count": 100,
    "body_bytes": 0,
    "chunk_extension_bytes": 256,
    "trailer_bytes": 8192,
}
TIMEOUTS = ("connect", "client", "server", "http_request", "http_keep_alive", "queue", "tunnel")


class Pool:
    """One server of one tier, and what the arena tells of it."""

    def __init__(
        self,
        arena: Arena,
        *,
        error_limit: int = 3,
        idle_max: int = 2,
        observe: int = 0,
        purge_ms: int = 0,
    ) -> None:
        self.arena = arena
        self.slot = arena.server_slot("haproxy/node1")
        self.tier_slot = arena.tier_slot("haproxy")
        row = arena.claim_row(1)
        self.loop = Connects()
        self.tier = Tier(
            "haproxy",
            2,
            arena,
            row,
            self.tier_slot,
            {
                "limits": LIMITS,
                "timeouts_ms": dict.fromkeys(TIMEOUTS, 1000),
                "retries": 3,
                "redispatch": 1,
                "is_hash": False,
                "retry_on": int(RetryOn.ON_CONNECT),
                "retry_unsafe": False,
                "observe": observe,
                "marks_down": True,
                "fullconn": 100,
                "reuse": "always",
                "purge_ms": purge_ms,
                "retry_after_s": 1,
                "error_limit": error_limit,
                "idle_max": idle_max,
                "idle_ms": 60_000,
                "connections_max": 0,
            },
        )
        self.site = Site(self.loop, arena)  # type: ignore[arg-type]
        self.server = Server(
            "node1", self.tier, arena, row, self.slot, 0, "127.0.0.1", 9001, 0, None,
            self.loop, *self.site.parts,
        )  # type: ignore[arg-type] # fmt: skip
        balancer = BALANCERS["roundrobin"](arena, row, [(self.slot, 0, False)])
        self.tier.wire(balancer, [self.server], None)

    def connect(self, error: BaseException | None = None) -> None:
        """One connect that nobody waits for any more, so a good one is kept."""
        self.loop.error = error
        finish(self.server._connect(Connecting()))  # type: ignore[attr-defined]

    def counts(self, *names: str) -> list[int]:
        counters = self.arena.server_counters(self.slot)
        return [counters[name] for name in names]

    @property
    def ended(self) -> list[str]:
        return [transport.ended for transport in self.loop.made]

    def lose_all(self) -> None:
        """Ends every connection, so that no C object is left behind."""
        self.tier.close_idle()
        for transport in self.loop.made:
            transport.lose()


@pytest.fixture
def pool(arena: Arena) -> Iterator[Pool]:
    made = Pool(arena)
    yield made
    made.loop.made.clear()


# -- kept connections ---------------------------------------------------------------------------

GAUGES = ("connections_open", "connections_idle")


def test_connect_that_nobody_waits_for_is_kept(pool: Pool) -> None:
    pool.connect()
    assert pool.loop.addresses == [("127.0.0.1", 9001)]
    assert pool.counts("connects", "connect_errors", *GAUGES) == [1, 0, 1, 1]
    assert pool.ended == [""]
    pool.lose_all()
    assert pool.counts("connects", *GAUGES) == [1, 0, 0]


def test_no_more_than_idle_max_are_kept(pool: Pool) -> None:
    for _ in range(3):
        pool.connect()
    assert pool.ended == ["", "", "closed"]
    assert pool.counts(*GAUGES) == [3, 2]
    pool.loop.made[2].lose()
    assert pool.counts(*GAUGES) == [2, 2]
    pool.loop.made.pop()
    pool.lose_all()


def test_close_idle_ends_every_kept_connection(pool: Pool) -> None:
    for _ in range(2):
        pool.connect()
    pool.tier.close_idle()
    assert pool.ended == ["aborted", "aborted"]
    assert pool.counts("connections_idle") == [0]
    pool.lose_all()
    assert pool.counts(*GAUGES) == [0, 0]


def test_bytes_on_an_idle_connection_end_it(pool: Pool) -> None:
    """They belong to no request, so they must never be read as the next answer."""
    for _ in range(2):
        pool.connect()
    pool.loop.made[0].protocol.data_received(b"bytes")
    assert pool.ended == ["aborted", ""]
    assert pool.counts("connections_idle") == [1]
    pool.lose_all()


def test_fin_on_an_idle_connection_ends_it(pool: Pool) -> None:
    for _ in range(2):
        pool.connect()
    assert pool.loop.made[1].protocol.eof_received() is True
    assert pool.ended == ["", "closed"]
    assert pool.counts("connections_idle") == [1]
    pool.lose_all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_lost_connections_leave_the_list_in_any_order(arena: Arena, order: tuple[int, ...]) -> None:
    pool = Pool(arena, idle_max=3)
    for _ in order:
        pool.connect()
    for left, index in zip((2, 1, 0), order, strict=True):
        pool.loop.made[index].lose()
        assert pool.counts(*GAUGES) == [left, left]
    pool.tier.close_idle()
    assert pool.ended == ["", "", ""]


def test_connection_lost_while_its_connect_ends_is_not_kept(pool: Pool) -> None:
    original = pool.loop.create_connection

    async def lost_at_once(*args: Any) -> tuple[Transport, Any]:
        transport, protocol = await original(*args)
        transport.lose()
        return transport, protocol

    pool.loop.create_connection = lost_at_once  # type: ignore[method-assign]
    pool.connect()
    assert pool.counts("connects", *GAUGES) == [1, 0, 0]


# -- passive health -----------------------------------------------------------------------------

REFUSED = ConnectionRefusedError(111, "refused")


def test_failed_connects_in_a_row_mark_the_server_down(pool: Pool) -> None:
    epoch = pool.arena.epoch
    for streak in (1, 2):
        pool.connect(REFUSED)
        seen = pool.arena.server(pool.slot)
        assert (seen["state"], seen["connect_fail_streak"]) == (ServerState.UP, streak)
    assert pool.arena.epoch == epoch
    pool.arena.set_server(pool.slot, health=4)
    pool.connect(REFUSED)
    seen = pool.arena.server(pool.slot)
    assert (seen["state"], seen["health"]) == (ServerState.DOWN, 0)
    assert pool.arena.epoch == epoch + 1
    assert pool.counts("connect_errors", "connects") == [3, 0]


def test_mark_down_is_made_once(pool: Pool) -> None:
    for _ in range(3):
        pool.connect(REFUSED)
    epoch, changed_at = pool.arena.epoch, pool.arena.server(pool.slot)["changed_at"]
    for _ in range(3):
        pool.connect(REFUSED)
    assert pool.arena.epoch == epoch
    assert pool.arena.server(pool.slot)["changed_at"] == changed_at


def test_good_connect_ends_the_streak(pool: Pool) -> None:
    for error in (REFUSED, REFUSED, None, REFUSED, TimeoutError()):
        pool.connect(error)
    seen = pool.arena.server(pool.slot)
    assert (seen["state"], seen["connect_fail_streak"]) == (ServerState.UP, 2)
    assert pool.counts("connect_errors", "connects") == [4, 1]
    pool.lose_all()


def test_good_connect_does_not_raise_a_server(pool: Pool) -> None:
    """Only a check brings it back (HAProxy: after `rise`)."""
    for error in (REFUSED, REFUSED, REFUSED, None):
        pool.connect(error)
    assert pool.arena.server(pool.slot)["state"] == ServerState.DOWN
    pool.lose_all()


def test_streaks_of_all_workers_are_one(arena: Arena) -> None:
    one, two = Pool(arena), Pool(arena)
    for pool in (one, two, one):
        assert arena.server(pool.slot)["state"] == ServerState.UP
        pool.connect(REFUSED)
    assert arena.server(one.slot)["state"] == ServerState.DOWN
    assert one.counts("connect_errors") == [3]


def test_error_limit_0_leaves_it_to_the_checks(arena: Arena) -> None:
    pool = Pool(arena, error_limit=0)
    for _ in range(50):
        pool.connect(REFUSED)
    seen = arena.server(pool.slot)
    assert (seen["state"], seen["connect_fail_streak"]) == (ServerState.UP, 50)


def test_cancelled_connect_says_nothing_about_the_server(pool: Pool) -> None:
    """Whoever cancelled it knows why, and has counted that."""
    pool.connect(asyncio.CancelledError())
    assert pool.arena.server(pool.slot)["connect_fail_streak"] == 0
    assert pool.counts("connect_errors", "connects") == [0, 0]


def test_server_marked_down_gets_nothing_more(pool: Pool) -> None:
    """The mark moves the epoch, so that every balancer sees it at its next pick."""
    balancer = BALANCERS["roundrobin"](pool.arena, 0, [(pool.slot, 0, False)])
    assert balancer.pick_for_test() == 0
    for _ in range(3):
        pool.connect(REFUSED)
    assert balancer.pick_for_test() == -2
