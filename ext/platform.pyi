from enum import IntEnum

class Excess(IntEnum):
    NO_EXCESS = 0
    LONG_URL = 1
    LONG_REQUEST = 2
    LONG_RESPONSE = 3
    MANY_RESPONSE_FIELDS = 4

EXCESS_ANSWERS: dict[Excess, tuple[int, str]]

class Platform:
    def __init__(self, limits: dict[str, int]) -> None: ...
    def request_for_test(self, data: bytes) -> tuple[Excess, list[bytes], bool, bytes | None]: ...
    def response_for_test(self, data: bytes) -> Excess: ...
    def refused_for_test(self, refused: int) -> Excess: ...
