"""Gives the memory of purged objects back, in small steps beside the other work of this process.

A purge only marks; objects that nobody asks for again are found by going through the store. Each
step is short, since health checks and the admin API wait for it, and the store's locks, which
workers take, are held for a part of a step only.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

STEP_US = 1_500  # a third of the time while there is work: other processes need the processor, too
PAUSE_S = 0.003
LOOK_S = 0.25  # while there is none; memory is back within seconds of a purge all the same


class Sweepable(Protocol):
    """What sweeping needs of `ext.store.Store`."""

    def sweep(self, budget_us: int) -> bool: ...


async def sweep_for_ever(store: Sweepable) -> None:
    """Until it is cancelled."""
    while True:
        has_more = store.sweep(STEP_US)
        await asyncio.sleep(PAUSE_S if has_more else LOOK_S)
