from collections.abc import Iterable
from typing import TypedDict

class ServerView(TypedDict):
    state: int
    admin: int
    weight: int
    health: int
    changed_at: float
    checked: bool
    check_status: str
    connect_fail_streak: int
    user_weight: int
    file_weight: int
    ramp: int
    ramp_began_at: float
    maxconn: int
    agent_down: bool

class RowView(TypedDict):
    row: int
    pid: int
    started_at: float
    connections: int

TIER_COUNTERS: tuple[tuple[str, str, str], ...]
SERVER_COUNTERS: tuple[tuple[str, str, str], ...]
LATENCY_BOUNDS_US: tuple[int, ...]

class Arena:
    fd: int
    @staticmethod
    def create() -> Arena: ...
    @staticmethod
    def attach(fd: int) -> Arena: ...
    @property
    def epoch(self) -> int: ...
    def server_slot(self, name: str) -> int: ...
    def tier_slot(self, name: str) -> int: ...
    def server_names(self) -> dict[str, int]: ...
    def tier_names(self) -> dict[str, int]: ...
    @property
    def news(self) -> int: ...
    def server(self, slot: int) -> ServerView: ...
    def count_usable(self, slots: Iterable[int]) -> int: ...
    def set_server(
        self,
        slot: int,
        *,
        state: int | None = None,
        admin: int | None = None,
        weight: int | None = None,
        health: int | None = None,
        check_status: str | None = None,
        connect_fail_streak: int | None = None,
        checked: bool | None = None,
        file_weight: int | None = None,
        ramp: int | None = None,
        ramp_began_at: float | None = None,
        maxconn: int | None = None,
        agent_down: bool | None = None,
    ) -> None: ...
    def may_persist_for_test(self, slot: int) -> bool: ...
    def maxconn_for_test(self, slot: int, configured: int) -> int: ...
    def claim_row(self, pid: int) -> int: ...
    def set_row_pid(self, row: int, pid: int) -> None: ...
    def release_row(self, row: int) -> None: ...
    def rows(self) -> list[RowView]: ...
    def server_counters(self, slot: int) -> dict[str, int]: ...
    def tier_counters(self, slot: int) -> dict[str, int]: ...
    def tier_latency(self, slot: int) -> tuple[tuple[int, ...], list[int], int]: ...
