from collections.abc import Callable
from typing import Any

from ext.deliver import Marks
from ext.store import Store

class Cache:
    def __init__(
        self,
        store: Store,
        marks: Marks,
        options: dict[str, Any],
        purger: Callable[[bytes, bytes, list[tuple[bytes, bytes]]], bytes],
    ) -> None: ...
