"""Events per second, from counters that only grow: looked at once a second, as HAProxy counts them.

A rate is that of the last whole look; before the second look there is none. `last_event_at` is
known to a second, and only for events since this process began to look.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOK_S = 1.0  # HAProxy's rates are over the last second, too


@dataclass(slots=True)
class Rate:
    """One counter. Rates are whole events per second; times are on the monotonic clock."""

    count: int
    seen_at: float
    rate: int = 0
    rate_max: int = 0
    last_event_at: float | None = None

    def see(self, count: int, now: float) -> None:
        """A new value of the counter; one that fell (another arena) begins anew."""
        grown = max(0, count - self.count)
        passed_s = now - self.seen_at
        if passed_s > 0:
            self.rate = round(grown / passed_s)
            self.rate_max = max(self.rate_max, self.rate)
        if grown:
            self.last_event_at = now
        self.count, self.seen_at = count, now


class Rates:
    """The rates of all counters that were ever shown to `look`, by name."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}

    def look(self, counts: dict[str, int], now: float) -> None:
        for name, count in counts.items():
            if name in self._rates:
                self._rates[name].see(count, now)
            else:
                self._rates[name] = Rate(count, now)

    def of(self, name: str) -> Rate | None:
        """None before the first look."""
        return self._rates.get(name)
