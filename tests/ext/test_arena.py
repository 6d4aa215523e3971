"""ext.arena: slots, states, rows, sums, and that all processes see one memory."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ext.arena
from ext.arena import LATENCY_BOUNDS_US, SERVER_COUNTERS, TIER_COUNTERS, Arena
from ext.limits import AdminState, Limit, ServerState
from tests.ext.arena_memory import ARENA_BYTES, SERVER_CELLS, TIER_CELLS, ArenaMemory

ROOT = Path(__file__).parents[2]
TIER_GAUGES = {"connections_open", "in_flight", "queued"}
ROOM = int(Limit.TEXT_BYTES_MAX)  # of a name, its NUL included
SERVER_GAUGES = {"in_flight", "connections_open", "connections_idle", "queued"}


def native_latency_bucket() -> ctypes._CFuncPtr:
    """The C function of ext/arena.pxd; it has no Python face since it runs once per request."""
    capsule = ext.arena.__pyx_capi__["latency_bucket"]  # type: ignore[attr-defined]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)(address)


# -- the mapping --------------------------------------------------------------------------------


def test_layout_is_the_documented_one(arena: Arena) -> None:
    assert os.fstat(arena.fd).st_size == ARENA_BYTES


def test_attach_refuses_what_is_no_arena() -> None:
    fd = os.memfd_create("short")
    try:
        os.write(fd, b"x" * 4096)
        with pytest.raises(ValueError, match="not an arena of this version"):
            Arena.attach(fd)
        os.ftruncate(fd, ARENA_BYTES)
        with pytest.raises(ValueError, match="not an arena of this version"):
            Arena.attach(fd)
    finally:
        os.close(fd)


def test_attached_arena_is_the_same_memory(arena: Arena) -> None:
    slot = arena.server_slot("haproxy/node1")
    other = Arena.attach(arena.fd)
    assert other.server_names() == {"haproxy/node1": slot}
    other.set_server(slot, state=ServerState.DOWN)
    assert arena.server(slot)["state"] == ServerState.DOWN
    assert other.epoch == arena.epoch


def test_mapping_outlives_its_descriptor() -> None:
    arena = Arena.create()
    slot = arena.server_slot("haproxy/node1")
    os.close(arena.fd)
    arena.set_server(slot, weight=7)
    assert arena.server(slot)["weight"] == 7


CHILD = """
import sys
from ext.arena import Arena
arena = Arena.attach(int(sys.argv[1]))
slot = arena.server_names()["haproxy/node1"]
arena.set_server(slot, state=1, health=2, check_status="L4CON")
print(arena.claim_row(4711), arena.tier_names())
"""


def test_another_process_sees_and_changes_the_same_memory(arena: Arena) -> None:
    slot = arena.server_slot("haproxy/node1")
    arena.tier_slot("haproxy")
    epoch = arena.epoch
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(arena.fd)],
        pass_fds=[arena.fd],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0 {'haproxy': 0}\n", "")
    seen = arena.server(slot)
    assert (seen["state"], seen["health"], seen["check_status"]) == (ServerState.DOWN, 2, "L4CON")
    assert arena.epoch == epoch + 1
    assert [row["pid"] for row in arena.rows()] == [4711]


def test_descriptor_is_inheritable(arena: Arena) -> None:
    assert os.get_inheritable(arena.fd)


# -- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["server", "tier"])
def test_slot_is_found_again_by_its_name(arena: Arena, kind: str) -> None:
    slot_of = getattr(arena, f"{kind}_slot")
    names = getattr(arena, f"{kind}_names")
    assert [slot_of(name) for name in ("a", "ab", "b", "a", "ab")] == [0, 1, 2, 0, 1]
    assert names() == {"a": 0, "ab": 1, "b": 2}


def test_servers_and_tiers_are_named_apart(arena: Arena) -> None:
    arena.server_slot("x")
    assert arena.tier_names() == {}
    assert arena.tier_slot("y") == 0


@pytest.mark.parametrize("kind", ["server", "tier"])
@pytest.mark.parametrize(
    "name", ["", "n" * ROOM, "é" * (ROOM // 2)], ids=["empty", "long", "bytes"]
)
def test_name_that_does_not_fit_is_refused(arena: Arena, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"must have 1 to {ROOM - 1} bytes"):
        getattr(arena, f"{kind}_slot")(name)
    assert getattr(arena, f"{kind}_names")() == {}


@pytest.mark.parametrize("kind", ["server", "tier"])
def test_longest_name_is_kept_whole(arena: Arena, kind: str) -> None:
    longest = ["n" * (ROOM - 1), "é" * (ROOM // 2 - 1)]
    for name in longest:
        getattr(arena, f"{kind}_slot")(name)
    assert list(getattr(arena, f"{kind}_names")()) == longest


@pytest.mark.parametrize(
    ("kind", "most"), [("server", Limit.SERVERS_MAX), ("tier", Limit.TIERS_MAX)]
)
def test_slots_are_bounded(arena: Arena, kind: str, most: int) -> None:
    slot_of = getattr(arena, f"{kind}_slot")
    for number in range(most):
        slot_of(f"{number}")
    with pytest.raises(ValueError, match=f"more than {most} {kind}s"):
        slot_of("one more")
    assert slot_of(f"{most - 1}") == most - 1


# -- states -------------------------------------------------------------------------------------


def test_new_server_counts_as_up(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ext.arena, "time", SimpleNamespace(time=lambda: 1234.5))
    assert arena.server(arena.server_slot("haproxy/node1")) == {
        "state": ServerState.UP,
        "admin": AdminState.READY,
        "weight": 1,
        "health": 0,
        "changed_at": 1234.5,
        "checked": False,
        "check_status": "",
        "connect_fail_streak": 0,
        "user_weight": 1,
        "file_weight": 1,
        "ramp": 0,
        "ramp_began_at": 0.0,
        "maxconn": 0,
        "agent_down": False,
        "error_events": 0,
        "errors_counted": 0,
        "last_error": 0,
        "address": "",
        "port": 0,
    }


@pytest.mark.parametrize(
    ("change", "announced"),
    [
        ({"state": ServerState.DOWN}, True),
        ({"admin": AdminState.DRAIN}, True),
        ({"weight": 256}, True),
        ({"weight": 0}, True),
        ({"health": 4}, False),
        ({"check_status": "L7OK"}, False),
        ({"connect_fail_streak": 3}, False),
        ({"checked": True}, False),
        ({"agent_down": True}, False),
        ({"ramp_began_at": 7.5}, False),
        ({"file_weight": 9}, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_set_server_changes_only_what_is_given(
    arena: Arena, change: dict[str, object], announced: bool
) -> None:
    """What workers choose by moves the epoch; they do not look at the rest."""
    slot, other = arena.server_slot("a"), arena.server_slot("b")
    before, untouched, epoch = arena.server(slot), arena.server(other), arena.epoch
    arena.set_server(slot, **change)  # type: ignore[arg-type]
    after = arena.server(slot)
    after["changed_at"] = before["changed_at"]
    if "weight" in change:  # the user's; nothing throttles it
        change |= {"user_weight": change["weight"]}
    assert after == {**before, **change}
    assert arena.server(other) == untouched
    assert arena.epoch == epoch + announced


def test_changed_at_is_when_the_state_last_changed(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr(ext.arena, "time", SimpleNamespace(time=lambda: clock.now))
    slot = arena.server_slot("a")
    seen = []
    for now, change in (
        (2.0, {"state": ServerState.UP}),
        (3.0, {"weight": 5}),
        (4.0, {"state": ServerState.DOWN}),
        (5.0, {"state": ServerState.DOWN}),
        (6.0, {"state": ServerState.UP}),
    ):
        clock.now = now
        arena.set_server(slot, **change)  # type: ignore[arg-type]
        seen.append(arena.server(slot)["changed_at"])
    assert seen == [1.0, 1.0, 4.0, 4.0, 6.0]


@pytest.mark.parametrize("weight", [-1, 257, 1000])
def test_weight_is_bounded(arena: Arena, weight: int) -> None:
    slot = arena.server_slot("a")
    with pytest.raises(ValueError, match="not between 0 and 256"):
        arena.set_server(slot, weight=weight)
    assert arena.server(slot)["weight"] == 1


def test_check_status_is_cut_to_its_room_and_leaves_no_rest(arena: Arena) -> None:
    slot = arena.server_slot("a")
    arena.set_server(slot, check_status="a status of more than 15 bytes")
    assert arena.server(slot)["check_status"] == "a status of mor"
    arena.set_server(slot, check_status="L4OK")
    assert arena.server(slot)["check_status"] == "L4OK"


@pytest.mark.parametrize("slot", [-1, 1, Limit.SERVERS_MAX])
def test_unknown_slot_is_an_index_error(arena: Arena, slot: int) -> None:
    arena.server_slot("a")
    arena.tier_slot("a")
    for call in (arena.server, arena.set_server, arena.server_counters, arena.tier_counters):
        with pytest.raises(IndexError):
            call(slot)


# -- rows and sums ------------------------------------------------------------------------------


def test_rows_are_claimed_in_order_and_reused(arena: Arena) -> None:
    assert [arena.claim_row(pid) for pid in (101, 102, 103)] == [0, 1, 2]
    arena.release_row(1)
    assert [row["pid"] for row in arena.rows()] == [101, 103]
    assert arena.claim_row(104) == 1
    assert [(row["row"], row["pid"]) for row in arena.rows()] == [(0, 101), (1, 104), (2, 103)]


def test_rows_are_bounded(arena: Arena) -> None:
    for number in range(Limit.ROWS_MAX):
        arena.claim_row(1 + number)
    with pytest.raises(ValueError, match=f"all {Limit.ROWS_MAX} worker rows"):
        arena.claim_row(999)
    arena.release_row(77)
    assert arena.claim_row(999) == 77


def test_row_can_change_its_process(arena: Arena) -> None:
    row = arena.claim_row(1)
    arena.set_row_pid(row, 2)
    assert [(view["row"], view["pid"]) for view in arena.rows()] == [(row, 2)]


def test_row_tells_its_start_and_connections(
    arena: Arena, memory: ArenaMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ext.arena, "time", SimpleNamespace(time=lambda: 1234.5))
    cdn, elb = arena.tier_slot("cdn"), arena.tier_slot("elb")
    row = arena.claim_row(1)
    memory.set_tier(row, cdn, "connections_open", 5)
    memory.set_tier(row, elb, "connections_open", 2)
    memory.set_tier(row, elb, "connections", 100)
    assert arena.rows() == [{"row": row, "pid": 1, "started_at": 1234.5, "connections": 7}]


def test_counters_are_summed_over_all_rows(arena: Arena, memory: ArenaMemory) -> None:
    arena.tier_slot("other")
    arena.server_slot("other")
    tier, server = arena.tier_slot("cdn"), arena.server_slot("cdn/node1")
    rows = [arena.claim_row(pid) for pid in (1, 2, 3)]
    for factor, row in zip((1, 1000, 1_000_000), rows, strict=True):
        for index, (name, _, _) in enumerate(TIER_COUNTERS):
            memory.set_tier(row, tier, name, factor * (index + 1))
        for index, (name, _, _) in enumerate(SERVER_COUNTERS):
            memory.set_server(row, server, name, factor * (index + 1))
    assert arena.tier_counters(tier) == {
        name: 1_001_001 * (index + 1) for index, (name, _, _) in enumerate(TIER_COUNTERS)
    }
    assert arena.server_counters(server) == {
        name: 1_001_001 * (index + 1) for index, (name, _, _) in enumerate(SERVER_COUNTERS)
    }
    assert set(arena.tier_counters(0).values()) == {0}
    assert set(arena.server_counters(0).values()) == {0}


def test_released_row_keeps_counters_and_loses_gauges(arena: Arena, memory: ArenaMemory) -> None:
    """A killed worker's requests are no longer in flight, but they have happened."""
    tiers = [arena.tier_slot(name) for name in ("cdn", "elb")]
    servers = [arena.server_slot(name) for name in ("elb/a", "elb/b")]
    dead, alive = arena.claim_row(1), arena.claim_row(2)
    for row in (dead, alive):
        for name, _, _ in TIER_COUNTERS:
            for slot in tiers:
                memory.set_tier(row, slot, name, 10)
        for name, _, _ in SERVER_COUNTERS:
            for slot in servers:
                memory.set_server(row, slot, name, 10)
    arena.release_row(dead)
    for slot in tiers:
        expected = {n: 10 if n in TIER_GAUGES else 20 for n, _, _ in TIER_COUNTERS}
        assert arena.tier_counters(slot) == expected
    for slot in servers:
        expected = {n: 10 if n in SERVER_GAUGES else 20 for n, _, _ in SERVER_COUNTERS}
        assert arena.server_counters(slot) == expected


def test_counters_go_on_in_a_reclaimed_row(arena: Arena, memory: ArenaMemory) -> None:
    tier = arena.tier_slot("cdn")
    row = arena.claim_row(1)
    memory.set_tier(row, tier, "requests", 41)
    arena.release_row(row)
    assert arena.tier_counters(tier)["requests"] == 41
    assert arena.claim_row(2) == row
    assert arena.tier_counters(tier)["requests"] == 41


def test_kinds_are_as_released(arena: Arena) -> None:
    assert {name for name, kind, _ in TIER_COUNTERS if kind == "gauge"} == TIER_GAUGES
    assert {name for name, kind, _ in SERVER_COUNTERS if kind == "gauge"} == SERVER_GAUGES
    assert {kind for _, kind, _ in TIER_COUNTERS + SERVER_COUNTERS} == {"counter", "gauge"}
    assert all(text.endswith(".") for _, _, text in TIER_COUNTERS + SERVER_COUNTERS)


@pytest.mark.parametrize(("prefix", "table"), [("TC", TIER_COUNTERS), ("SC", SERVER_COUNTERS)])
def test_c_cells_have_the_order_of_the_table(
    prefix: str, table: tuple[tuple[str, str, str], ...]
) -> None:
    """The one table names what C writes by number: ext/arena.pxd, `same order as`."""
    text = (ROOT / "ext/arena.pxd").read_text()
    found = re.search(rf"cdef enum:[^\n]*\n((?:\s+{prefix}_.*\n)+)", text)
    assert found is not None
    cells = re.findall(rf"\b{prefix}_(\w+)", re.sub("#.*", "", found[1]))
    named = cells[: len(table)]
    assert named == [name.removeprefix("responses_").upper() for name, _, _ in table]
    assert cells[len(table) :] == (["LATENCY_0", "COUNT"] if prefix == "TC" else ["COUNT"])


def test_cells_hold_the_tables() -> None:
    assert len(TIER_COUNTERS) + len(LATENCY_BOUNDS_US) + 1 <= TIER_CELLS
    assert len(SERVER_COUNTERS) <= SERVER_CELLS


# -- latencies ----------------------------------------------------------------------------------


def test_latency_is_summed_over_rows(arena: Arena, memory: ArenaMemory) -> None:
    tier = arena.tier_slot("cdn")
    buckets = len(LATENCY_BOUNDS_US) + 1
    for row in (arena.claim_row(1), arena.claim_row(2)):
        for bucket in range(buckets):
            memory.set_latency(row, tier, bucket, (row + 1) * (bucket + 1))
        memory.set_tier(row, tier, "latency_sum_us", 500)
    assert arena.tier_latency(tier) == (
        LATENCY_BOUNDS_US,
        [3 * (bucket + 1) for bucket in range(buckets)],
        1000,
    )
    with pytest.raises(IndexError):
        arena.tier_latency(tier + 1)


def test_latency_bounds_rise() -> None:
    assert list(LATENCY_BOUNDS_US) == sorted(set(LATENCY_BOUNDS_US))


def test_latency_bucket_includes_its_bound() -> None:
    """As a Prometheus histogram's `le`: less than or equal."""
    bucket_of = native_latency_bucket()
    assert bucket_of(0) == 0
    for index, bound in enumerate(LATENCY_BOUNDS_US):
        assert (bucket_of(bound - 1), bucket_of(bound)) == (index, index)
        assert bucket_of(bound + 1) == index + 1
    assert bucket_of(2**63) == len(LATENCY_BOUNDS_US)


# -- weights, slow start, persistence -----------------------------------------------------------


def test_the_effective_weight_follows_the_users_and_the_ramp(arena: Arena) -> None:
    slot = arena.server_slot("t/s")
    arena.set_server(slot, weight=100, file_weight=100)
    assert arena.server(slot)["weight"] == 100
    for ramp, weight in ((1, 7), (9, 57), (15, 94), (0, 100)):  # as HAProxy's column shows them
        arena.set_server(slot, ramp=ramp)
        assert (arena.server(slot)["weight"], arena.server(slot)["user_weight"]) == (weight, 100)
    arena.set_server(slot, ramp=8)
    arena.set_server(slot, weight=50)
    assert (arena.server(slot)["weight"], arena.server(slot)["file_weight"]) == (25, 100)
    arena.set_server(slot, weight=1, ramp=1)
    assert arena.server(slot)["weight"] == 1  # never nothing
    arena.set_server(slot, weight=0)
    assert arena.server(slot)["weight"] == 0


@pytest.mark.parametrize("values", [{"file_weight": 257}, {"ramp": 16}, {"ramp": -1}])
def test_weights_and_ramps_out_of_bounds_are_refused(arena: Arena, values: dict[str, int]) -> None:
    slot = arena.server_slot("t/s")
    with pytest.raises(ValueError, match="is not between 0 and"):
        arena.set_server(slot, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"ramp": 3}, {"maxconn": 7}])
def test_workers_hear_of_what_limits_a_server(arena: Arena, values: dict[str, int]) -> None:
    slot = arena.server_slot("t/s")
    before = arena.epoch
    arena.set_server(slot, **values)  # type: ignore[arg-type]
    assert arena.epoch == before + 1


def test_an_order_is_a_change_of_the_state(arena: Arena) -> None:
    slot = arena.server_slot("t/s")
    before = arena.server(slot)["changed_at"]
    arena.set_server(slot, admin=AdminState.READY)
    assert arena.server(slot)["changed_at"] == before
    arena.set_server(slot, admin=AdminState.DRAIN)
    assert arena.server(slot)["changed_at"] > before


def test_usable_means_up_ready_and_weighted(arena: Arena) -> None:
    slots = [arena.server_slot(f"t/{number}") for number in range(6)]
    arena.set_server(slots[1], state=ServerState.DOWN)
    arena.set_server(slots[2], state=ServerState.NOLB)
    arena.set_server(slots[3], admin=AdminState.DRAIN)
    arena.set_server(slots[4], weight=0)
    assert arena.count_usable(slots) == 2
    with pytest.raises(IndexError):
        arena.count_usable([99])


def test_what_a_server_takes_now(arena: Arena) -> None:
    slot = arena.server_slot("t/s")
    assert (arena.maxconn_for_test(slot, 0), arena.maxconn_for_test(slot, 10)) == (0, 10)
    arena.set_server(slot, maxconn=32)
    assert arena.maxconn_for_test(slot, 10) == 32
    arena.set_server(slot, ramp=4)
    assert arena.maxconn_for_test(slot, 10) == 8
    arena.set_server(slot, maxconn=0, ramp=1)
    assert (arena.maxconn_for_test(slot, 10), arena.maxconn_for_test(slot, 0)) == (1, 0)


@pytest.mark.parametrize(
    ("state", "admin", "may"),
    [
        (ServerState.UP, AdminState.READY, True),
        (ServerState.UP, AdminState.DRAIN, True),
        (ServerState.NOLB, AdminState.READY, True),
        (ServerState.NOLB, AdminState.DRAIN, True),
        (ServerState.DOWN, AdminState.READY, False),
        (ServerState.UP, AdminState.MAINT, False),
        (ServerState.NOLB, AdminState.MAINT, False),
    ],
)
def test_who_may_have_its_regulars(
    arena: Arena, state: ServerState, admin: AdminState, may: bool
) -> None:
    slot = arena.server_slot("t/s")
    arena.set_server(slot, state=state, admin=admin)
    assert arena.may_persist_for_test(slot) is may
