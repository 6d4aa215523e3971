from typing import Any

class Recipe:
    def __init__(self, hops: list[dict[str, Any]], hop_address: str = "127.0.0.1") -> None: ...
