from collections.abc import Iterable
from enum import IntEnum

class BadProxy(IntEnum):
    NOT_PROXY = 1
    LONG_LINE = 2
    BAD_LINE = 3
    BAD_COMMAND = 4
    BAD_FAMILY = 5
    TOO_LONG = 6
    BAD_LENGTH = 7
    BAD_CHECKSUM = 8

class ProxyPeers:
    def __init__(self, networks: Iterable[str] | None = None) -> None: ...
    def covers_for_test(self, address: str) -> bool: ...

End = tuple[str, int]

def build_header(
    version: int, source: End | None = None, destination: End | None = None
) -> bytes: ...
def parse_for_test(data: bytes) -> int | BadProxy | tuple[int, End | None, End | None]: ...
