"""When each server is checked.

One task per server, so a server never has two checks at once, and one per agent; one more task
looks at the shared states every `POLL_S` for what others wrote there: failed connects that workers
counted, a DOWN that a worker set, a state that another process's checks set (two generations
overlap during a reload), an operator's order. It also takes the steps of slow starts. What a server
makes of all this is in `edge.health.server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from edge.health.server import CheckSpec, ServerChecks, StateChange, States

# Half of the 100 ms within which a failed connect must lead to a check.
POLL_S = 0.05
# First checks are spread over this at most: long enough to part them, short enough that a dead
# server is found soon after the start even when checks are minutes apart.
STAGGER_S_MAX = 1.0


class HealthRunner:
    """All checks of one process. `run()` until it is cancelled."""

    def __init__(
        self,
        states: States,
        specs: Sequence[CheckSpec],
        on_change: Callable[[StateChange], None],
    ) -> None:
        self.servers = {spec.key: ServerChecks(spec, states, on_change) for spec in specs}
        self._states = states

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_for_ever())
            for server, delay_s in self._first_delays():
                if server.has_check:
                    tasks.create_task(server.run(delay_s))
                if server.agent is not None:
                    tasks.create_task(server.run_agent(delay_s))

    def _first_delays(self) -> list[tuple[ServerChecks, float]]:
        """Seconds to the first check of each server: evenly spread over at most an interval."""
        asked = [each for each in self.servers.values() if each.has_check or each.agent]
        intervals = [each.spec.thresholds.interval_s for each in asked if each.has_check]
        intervals += [each.agent.spec.interval_s for each in asked if each.agent is not None]
        span_s = min([*intervals, STAGGER_S_MAX])
        return [(each, span_s * index / len(asked)) for index, each in enumerate(asked)]

    async def _look_for_ever(self) -> None:
        seen = None
        while True:
            if (news := self._states.news) != seen:  # one load, while nothing happens
                seen = news
                self._look()
            for server in self.servers.values():
                server.climb()
            await asyncio.sleep(POLL_S)

    def _look(self) -> None:
        for server in self.servers.values():
            server.look()
