def build_answer(
    kind: int,
    status: int,
    *,
    close: bool,
    head_only: bool = False,
    minor: int = 1,
    retry_after_s: int = 0,
    reason: str = "",
    node: str = "",
    now_us: int = 0,
) -> bytes: ...
def build_made(made: bytes, *, close: bool, head_only: bool = False, minor: int = 1) -> bytes: ...
def reason_haproxy(status: int) -> str: ...

DENY_STATUSES: tuple[int, ...]

def build_loop(node: str) -> bytes: ...

FETCH_REASONS: dict[int, str]
NO_BACKEND: str
BACKEND_FULL: str
OBJECT_TOO_LARGE: str
