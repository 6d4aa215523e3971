from ext.arena import Arena

class Balancer:
    count: int
    usable: int
    def __init__(
        self,
        arena: Arena,
        row: int,
        servers: list[tuple[int, int, bool]],
        fail_open: bool = False,
    ) -> None: ...
    def pick_for_test(self, key: int = 0, tried: tuple[int, ...] = ()) -> int: ...

class RoundRobin(Balancer): ...
class LeastConnections(Balancer): ...
class ConsistentHash(Balancer): ...
class RandomOfTwo(Balancer): ...

BALANCERS: dict[str, type[Balancer]]
