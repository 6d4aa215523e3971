"""S3-FIFO as published (Yang et al., SOSP 2023, algorithm 1), for objects of one size.

Slow and plain, to compare ext/eviction.pyx with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class S3Fifo:
    """A cache of so many objects."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.small_size = capacity // 10
        self.main_size = capacity - self.small_size
        self.small: OrderedDict[int, None] = OrderedDict()  # the oldest first
        self.main: OrderedDict[int, None] = OrderedDict()
        self.ghost: OrderedDict[int, None] = OrderedDict()
        self.frequency: dict[int, int] = {}

    def read(self, key: int) -> bool:
        """Is it there? If not, it is from now on."""
        if key in self.frequency:
            self.frequency[key] = min(self.frequency[key] + 1, 3)
            return True
        while len(self.frequency) >= self.capacity:
            self.evict()
        if key in self.ghost:
            del self.ghost[key]
            self.main[key] = None
        else:
            self.small[key] = None
        self.frequency[key] = 0
        return False

    def evict(self) -> None:
        if len(self.small) >= self.small_size:
            self.evict_small()
        else:
            self.evict_main()

    def evict_small(self) -> None:
        while self.small:
            key, _ = self.small.popitem(last=False)
            if self.frequency[key] > 1:
                self.main[key] = None
                if len(self.main) > self.main_size:
                    self.evict_main()
                continue
            self.ghost[key] = None
            if len(self.ghost) > self.main_size:
                self.ghost.popitem(last=False)
            del self.frequency[key]
            return

    def evict_main(self) -> None:
        while self.main:
            key, _ = self.main.popitem(last=False)
            if self.frequency[key]:
                self.frequency[key] -= 1
                self.main[key] = None
                continue
            del self.frequency[key]
            return


def hits_of(trace: Iterable[int], capacity: int) -> int:
    cache = S3Fifo(capacity)
    return sum(map(cache.read, trace))
