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
    maxconn: int
    error_events: int
    errors_counted: int
    last_error: int
    address: str
    port: int

class SessionView(TypedDict):
    id: int
    age_us: int
    requests: int
    request_us: int
    tier: int
    server: int
    target: int
    expires_ms: int
    fd: int
    server_fd: int
    held_bytes: int
    phase: int
    wait: int
    row: int
    address: str

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
        maxconn: int | None = None,
    ) -> None: ...
    def move_server(self, slot: int, address: str, port: int) -> None: ...
    def shut_down_sessions(self, slot: int) -> None: ...
    def set_maxconn(self, tier: int, maxconn: int) -> None: ...
    def maxconn(self, tier: int) -> int: ...
    def ask_sessions(self) -> list[int]: ...
    def has_told(self, row: int) -> bool: ...
    def sessions(self, row: int) -> tuple[int, list[SessionView], int, int, int]: ...
    def kill_session(self, row: int, session: int) -> None: ...
    def was_killed(self, row: int) -> bool: ...
    def claim_row(self, pid: int) -> int: ...
    def set_row_pid(self, row: int, pid: int) -> None: ...
    def release_row(self, row: int) -> None: ...
    def rows(self) -> list[RowView]: ...
    def server_counters(self, slot: int) -> dict[str, int]: ...
    def tier_counters(self, slot: int) -> dict[str, int]: ...
    def tier_latency(self, slot: int) -> tuple[tuple[int, ...], list[int], int]: ...
