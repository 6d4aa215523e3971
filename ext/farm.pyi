from ext.arena import Arena

def dynamic_maxconn_for_test(minconn: int, maxconn: int, requests: int, fullconn: int) -> int: ...

class Balancer:
    count: int
    usable: int
    by_load: bool
    def __init__(
        self,
        arena: Arena,
        row: int,
        servers: list[tuple[int, int, bool]],
        fail_open: int = 0,
        *,
        all_backups: bool = False,
        weights: list[int] | None = None,
        seeds: list[int] | None = None,
        draws: int = 2,
        balance_percent: int = 0,
    ) -> None: ...
    def pick_for_test(self, key: int | None = None, tried: tuple[int, ...] = ()) -> int: ...
    def picks_for_test(self, times: int, key: int = 0, with_load: bool = False) -> int: ...
    def take_for_test(self, index: int, change: int = 1) -> None: ...
