from typing import Any

class Recipe:
    def __init__(self, hops: list[dict[str, Any]], hop_address: str = "127.0.0.1") -> None: ...

def request_for_test(
    data: bytes,
    recipe: Recipe,
    client: bytes = b"192.0.2.1",
    ask: dict[str, Any] | None = None,
    cookie_overflow: bool = False,
) -> bytes: ...
def refused_for_test(
    built: bytes, line_bytes: int, header_bytes: int, header_count: int
) -> int: ...
def visits_for_test(data: bytes, recipe: Recipe) -> tuple[int, bool]: ...
def response_for_test(
    data: bytes, recipe: Recipe, framing: int, connection: int, date: bytes = b""
) -> bytes: ...
def trailers_for_test(data: bytes) -> bytes: ...
