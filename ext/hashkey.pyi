class HashKey:
    def __init__(
        self,
        kind: str,
        *,
        function: str = "sdbm",
        mixes: bool = False,
        name: bytes = b"",
        whole: bool = False,
        path_only: bool = False,
        domain_only: bool = False,
        length: int = 0,
        depth: int = 0,
    ) -> None: ...
    def of_request_for_test(self, head: bytes, address: bytes) -> int | None: ...
