from typing import Any

class StoreForTest:
    def __init__(self, fd: int, wake_fd: int = -1, row: int = -1) -> None: ...
    def find(
        self, request: bytes, key: bytes, now_ms: int = 0, encoding: bytes | None = None
    ) -> dict[str, Any]: ...
    def begin(
        self, request: bytes, key: bytes, changes: int, now_ms: int = 0,
        encoding: bytes | None = None,
    ) -> tuple[int, int]: ...
