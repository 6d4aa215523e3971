"""What goes on by itself at the elb: the end of a deregistration, and anomaly mitigation.

One task of control. Anomalies are looked for in every balancing algorithm, as at AWS; weights are
changed with `weighted_random` and mitigation only. Detection begins anew with a new generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from edge.clock import now
from edge.console import say
from edge.control.elb.targets import Targets
from edge.elb.anomaly import LOOK_S, WEIGHT_FULL, Seen, TargetTrend, look
from ext.arena import Arena

POLL_S = 0.25  # a delay is in whole seconds


class ElbKeeper:
    """The elb's part of control."""

    def __init__(self, targets: Targets, arena: Arena) -> None:
        self.targets = targets
        self._arena = arena
        self._trends: dict[str, TargetTrend] = {}

    def trends(self) -> Mapping[str, TargetTrend]:
        """Of the healthy targets, by their servers' keys."""
        return self._trends

    async def run(self) -> None:
        look_at = now()
        while True:
            self.targets.expire(self._cut)
            if now() >= look_at:
                look_at = now() + LOOK_S
                self.look()
            await asyncio.sleep(POLL_S)

    def _cut(self, slot: int) -> None:
        """The delay is over: a request that still runs there is answered 502."""
        self._arena.shut_down_sessions(slot)

    def look(self) -> None:
        """One look for anomalies, and what follows."""
        elb = self.targets.elb
        is_weighted = elb.balance == "weighted_random"
        mitigates = is_weighted and elb.target_group.load_balancing_algorithm_anomaly_mitigation
        healthy = [target for target in self.targets.all() if target.health.state == "healthy"]
        before = self._trends
        self._trends = look(
            before, {t.keys[0]: self._seen(t.keys) for t in healthy}, mitigates=mitigates
        )
        for target in healthy:
            key = target.keys[0]
            was = before[key].is_anomalous if key in before else False
            if self._trends[key].is_anomalous != was:
                say(f"target {target.id} is {self._trends[key].result}")
            if is_weighted:
                self._weigh(target.keys, self._trends[key].weight)
        if is_weighted:
            for target in self.targets.all():
                if target.keys and target.keys[0] not in self._trends:
                    self._weigh(target.keys, WEIGHT_FULL)

    def _weigh(self, keys: tuple[str, ...], weight: int) -> None:
        for key in keys:
            slot = self.targets.slot(key)
            if self._arena.server(slot)["weight"] != weight:
                self._arena.set_server(slot, weight=weight)

    def _seen(self, keys: tuple[str, ...]) -> Seen:
        requests = failures = 0
        for key in keys:
            counters = self._arena.server_counters(self.targets.slot(key))
            failed = counters["responses_5xx"] + counters["connect_errors"]
            requests += counters["requests"] + counters["connect_errors"]
            failures += failed + counters["response_errors"]
        return Seen(requests, failures)
