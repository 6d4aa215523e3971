from collections.abc import Mapping, Sequence
from typing import Any

from ext.arena import Arena

MODES: Mapping[str, int]

class Cookie:
    def __init__(
        self,
        arena: Arena,
        servers: Sequence[tuple[str | None, int]],
        options: Mapping[str, Any],
    ) -> None: ...

def read_for_test(cookie: Cookie, data: bytes, now_s: int) -> tuple[int, int, int, int, bytes]: ...
def write_for_test(
    cookie: Cookie,
    data: bytes,
    server: int,
    now_s: int,
    seen_server: int = -1,
    last_s: int = 0,
    first_s: int = 0,
    posted: bool = False,
) -> bytes: ...
