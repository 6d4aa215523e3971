"""The arena's memory as ext/arena.pxd draws it, for tests: reads and writes the counter cells.

A worker writes its cells in C, so the tests stand in for one through a second mapping of the same
memfd. The offsets are computed here once more, from the layout comment and the structs; that the
sum is the size of the memfd is tested in test_arena.py.
"""

import mmap
import os
import struct

from ext.arena import SERVER_COUNTERS, TIER_COUNTERS, Arena
from ext.limits import Limit

PAGE_BYTES = 4096
SLOT_BYTES = (
    11 * 4 + 4 + 2 * 8 + 8 * 4 + Limit.ADDRESS_BYTES_MAX + 16 + Limit.TEXT_BYTES_MAX
)  # ServerSlot
TIER_SLOT_BYTES = Limit.TEXT_BYTES_MAX + 4
SESSION_BYTES = 4 * 8 + 5 * 4 + 2 * 4 + 4 + 48  # SessionEntry
ROW_HEAD_BYTES = 16 * 8
TIER_CELLS, SERVER_CELLS = 56, 24  # TC_COUNT, SC_COUNT
LATENCY_CELL = len(TIER_COUNTERS)  # TC_LATENCY_0: behind the named ones

TIER_CELL = {name: index for index, (name, _, _) in enumerate(TIER_COUNTERS)}
SERVER_CELL = {name: index for index, (name, _, _) in enumerate(SERVER_COUNTERS)}


def paged(size: int) -> int:
    """The size in whole pages."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES


ROWS_AT = paged(PAGE_BYTES + Limit.SERVERS_MAX * SLOT_BYTES + Limit.TIERS_MAX * TIER_SLOT_BYTES)
SERVER_CELLS_AT = ROW_HEAD_BYTES + Limit.TIERS_MAX * TIER_CELLS * 8
SESSIONS_AT = SERVER_CELLS_AT + Limit.SERVERS_MAX * SERVER_CELLS * 8
ROW_BYTES = paged(SESSIONS_AT + Limit.SESSIONS_SHOWN_MAX * SESSION_BYTES)
NOTE_BYTES = 65536
ARENA_BYTES = ROWS_AT + Limit.ROWS_MAX * ROW_BYTES + 2 * NOTE_BYTES


class ArenaMemory:
    """A second mapping of an arena, as another process has it."""

    def __init__(self, arena: Arena) -> None:
        self._map = mmap.mmap(arena.fd, os.fstat(arena.fd).st_size)

    def close(self) -> None:
        self._map.close()

    def _set(self, at: int, value: int) -> None:
        struct.pack_into("<Q", self._map, at, value)

    def set_tier(self, row: int, slot: int, name: str, value: int) -> None:
        """One counter of a tier in one worker's row."""
        self._set_tier_cell(row, slot, TIER_CELL[name], value)

    def set_latency(self, row: int, slot: int, bucket: int, value: int) -> None:
        self._set_tier_cell(row, slot, LATENCY_CELL + bucket, value)

    def _set_tier_cell(self, row: int, slot: int, cell: int, value: int) -> None:
        at = ROWS_AT + row * ROW_BYTES + ROW_HEAD_BYTES
        self._set(at + (slot * TIER_CELLS + cell) * 8, value)

    def set_server(self, row: int, slot: int, name: str, value: int) -> None:
        """One counter of a server in one worker's row."""
        at = ROWS_AT + row * ROW_BYTES + SERVER_CELLS_AT
        self._set(at + (slot * SERVER_CELLS + SERVER_CELL[name]) * 8, value)

    def set_state_quietly(self, slot: int, state: int) -> None:
        """A server's state without the new epoch that announces it."""
        struct.pack_into("<I", self._map, PAGE_BYTES + slot * SLOT_BYTES, state)
