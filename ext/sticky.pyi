from ext.arena import Arena

class Stickiness:
    def __init__(
        self,
        arena: Arena,
        targets: list[tuple[str, int]],
        secret: bytes,
        *,
        duration_s: int,
        app_cookie: bytes | None = None,
    ) -> None: ...
    def tell_date(self, now: float) -> None: ...

def find_for_test(sticky: Stickiness, data: bytes, now_s: int) -> int: ...
def write_for_test(
    sticky: Stickiness, data: bytes, index: int, now_s: int, found: int = -1
) -> bytes: ...
