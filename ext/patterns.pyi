from collections.abc import Sequence

def regex_problem(pattern: bytes, ignores_case: bool) -> str: ...

class Regex:
    def __init__(self, pattern: bytes, ignores_case: bool = False) -> None: ...

class Patterns:
    def __init__(
        self,
        match: int,
        ignores_case: bool = False,
        texts: Sequence[bytes] = (),
        ranges: Sequence[tuple[int, int]] = (),
        networks: Sequence[tuple[bytes, int]] = (),
    ) -> None: ...

def accepts_for_test(
    patterns: Patterns,
    text: bytes | None = None,
    number: int | None = None,
    address: bytes | None = None,
) -> bool: ...
