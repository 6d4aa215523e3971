"""Slow start: a server that comes back gets a share that grows to its whole weight.

HAProxy's ramp: sixteen steps of the weight, from one part at once to all of them after the time, by
whole seconds. It begins when a server that was DOWN, NOLB or in maintenance is UP again, never for
one that has just been started with the process: its servers were not seen failing.

AWS's rule is narrower, `needs_settled_peer`: only while another target is healthy and not in slow
start itself, since somebody has to take the rest of the traffic.

Pure. Source: HAProxy 2.6, server.c (server_recalc_eweight); AWS, "Slow start mode".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ext.limits import Limit

STEPS = int(Limit.RAMP_STEPS)


@dataclass(frozen=True, slots=True)
class SlowStart:
    """`has_settled_peer`: asked when it would begin; None: it begins without asking."""

    duration_s: float
    has_settled_peer: Callable[[], bool] | None = None

    def may_begin(self) -> bool:
        return self.has_settled_peer is None or self.has_settled_peer()

    def ramp(self, elapsed_s: float) -> int:
        """The arena's `ramp`: 1 to 15 of 16 parts, 0 when it is over."""
        whole_s = math.ceil(self.duration_s)
        if elapsed_s < 0 or elapsed_s >= whole_s:
            return 0
        parts = (STEPS * int(elapsed_s) + whole_s) // whole_s
        return parts if parts < STEPS else 0


def throttle_percent(user_weight: int, ramp: int) -> int:
    """HAProxy's `throttle` column, which rounds in weights times steps."""
    if user_weight == 0:
        return 100
    return (100 * user_weight * ramp + STEPS - 1) // (STEPS * user_weight)
