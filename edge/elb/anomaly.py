"""Anomaly detection and mitigation ("automatic target weights") of an Application Load Balancer.

AWS publishes what it looks for, a disproportionate share of HTTP 5xx and of connection errors, and
that it needs three healthy targets; not its numbers. So the numbers are ours:

* A look compares the targets over one window. A target is an outlier when its failure share is both
  at least `SHARE_MIN` and `RATIO` times that of the others together, with enough requests and
  failures that chance is no explanation: few requests say nothing, and a shop whose every node
  answers 1 % of 500s has no anomalous node.
* `LOOKS_BAD` outlying looks in a row make a target `anomalous`, `LOOKS_GOOD` inconspicuous ones
  make it `normal` again: a single burst is not an anomaly.
* With mitigation a look halves the weight of an anomalous target, down to `WEIGHT_MIN`: it keeps a
  trickle, or nobody could see it recover. A normal one gets a tenth of the full weight back a look.

At most a third of the targets are mitigated at once: when more look bad the cause is elsewhere.

Pure: counters and the state before go in, the state after comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

LOOK_S = 5.0  # one window: a burst of a second is not seen alone
HEALTHY_MIN = 3  # AWS: on with at least three healthy targets
REQUESTS_MIN = 20  # of a target in a window
FAILURES_MIN = 5
SHARE_MIN = 0.05
RATIO = 3.0
LOOKS_BAD = 2
LOOKS_GOOD = 3
WEIGHT_FULL = 100
WEIGHT_MIN = 5
WEIGHT_BACK = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """A target's counters at one look, growing ones: requests sent there, and those that failed."""

    requests: int
    failures: int


@dataclass(frozen=True, slots=True)
class TargetTrend:
    """What is known of one target after a look."""

    seen: Seen
    is_anomalous: bool = False
    looks: int = 0  # in a row that speak against `is_anomalous`
    weight: int = WEIGHT_FULL

    @property
    def is_mitigated(self) -> bool:
        return self.weight < WEIGHT_FULL

    @property
    def result(self) -> str:
        """As in the API."""
        return "anomalous" if self.is_anomalous else "normal"


Trends = Mapping[str, TargetTrend]


def look(before: Trends, now: Mapping[str, Seen], *, mitigates: bool) -> dict[str, TargetTrend]:
    """One look at the healthy targets. `now`: their counters by name; a new one is normal."""
    window = {
        name: _since(before[name].seen, seen) if name in before else Seen(0, 0)
        for name, seen in now.items()
    }
    counts = len(now) >= HEALTHY_MIN
    after = {}
    for name, seen in now.items():
        trend = before.get(name, TargetTrend(seen))
        is_outlier = counts and _is_outlier(name, window)
        trend = _judged(replace(trend, seen=seen), is_outlier=is_outlier, has_said=counts)
        after[name] = trend
    most = len(now) // HEALTHY_MIN
    worst = sorted(
        (name for name in after if after[name].is_anomalous),
        key=lambda name: (after[name].weight, name),
    )
    mitigated = set(worst[:most]) if mitigates and counts else set()
    return {
        name: replace(trend, weight=_next_weight(trend.weight, lowers=name in mitigated))
        for name, trend in after.items()
    }


def _since(before: Seen, now: Seen) -> Seen:
    """What has come since; a worker that ended takes its part of the counters with it."""
    return Seen(max(0, now.requests - before.requests), max(0, now.failures - before.failures))


def _is_outlier(name: str, window: Mapping[str, Seen]) -> bool:
    own = window[name]
    if own.requests < REQUESTS_MIN or own.failures < FAILURES_MIN:
        return False
    requests = sum(seen.requests for other, seen in window.items() if other != name)
    failures = sum(seen.failures for other, seen in window.items() if other != name)
    if not requests:
        return False
    share = own.failures / own.requests
    return share >= SHARE_MIN and share >= RATIO * (failures / requests)


def _judged(trend: TargetTrend, *, is_outlier: bool, has_said: bool) -> TargetTrend:
    if not has_said:
        return replace(trend, is_anomalous=False, looks=0)
    if is_outlier == trend.is_anomalous:
        return replace(trend, looks=0)
    looks = trend.looks + 1
    if looks < (LOOKS_GOOD if trend.is_anomalous else LOOKS_BAD):
        return replace(trend, looks=looks)
    return replace(trend, is_anomalous=is_outlier, looks=0)


def _next_weight(weight: int, *, lowers: bool) -> int:
    if lowers:
        return max(WEIGHT_MIN, weight // 2)
    return min(WEIGHT_FULL, weight + WEIGHT_BACK)
