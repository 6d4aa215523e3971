"""edge.elb.anomaly: who is anomalous, who is not, and what weights follow."""

import pytest

from edge.elb.anomaly import (
    LOOKS_BAD,
    LOOKS_GOOD,
    WEIGHT_FULL,
    WEIGHT_MIN,
    Seen,
    TargetTrend,
    look,
)

Row = dict[str, tuple[int, int]]
QUIET: Row = {"a": (100, 0), "b": (100, 0), "c": (100, 0)}
SICK: Row = {"a": (100, 50), "b": (100, 0), "c": (100, 1)}


class Farm:
    """Targets whose counters grow by what each look is told."""

    def __init__(self) -> None:
        self.total: dict[str, Seen] = {}
        self.trends: dict[str, TargetTrend] = {}
        self.look({"a": (0, 0), "b": (0, 0), "c": (0, 0)})

    def look(self, window: Row, *, mitigates: bool = True) -> None:
        for name, (requests, failures) in window.items():
            before = self.total.get(name, Seen(0, 0))
            self.total[name] = Seen(before.requests + requests, before.failures + failures)
        now = {name: self.total[name] for name in window}
        self.trends = look(self.trends, now, mitigates=mitigates)

    def anomalous(self) -> set[str]:
        return {name for name, trend in self.trends.items() if trend.is_anomalous}

    def weights(self) -> dict[str, int]:
        return {name: trend.weight for name, trend in self.trends.items()}


def test_one_bad_look_is_not_enough() -> None:
    farm = Farm()
    for number in range(1, LOOKS_BAD + 1):
        farm.look(SICK)
        assert farm.anomalous() == ({"a"} if number == LOOKS_BAD else set())
    assert farm.trends["a"].result == "anomalous"
    assert farm.trends["b"].result == "normal"


def test_weight_goes_down_and_comes_back_slowly() -> None:
    farm = Farm()
    for _ in range(LOOKS_BAD):
        farm.look(SICK)
    assert farm.weights() == {"a": 50, "b": 100, "c": 100}
    assert farm.trends["a"].is_mitigated
    for _ in range(8):
        farm.look(SICK)
    assert farm.weights()["a"] == WEIGHT_MIN
    for _ in range(LOOKS_GOOD):
        farm.look(QUIET)
    assert farm.anomalous() == set()
    seen = [farm.weights()["a"]]
    while seen[-1] < WEIGHT_FULL:
        farm.look(QUIET)
        seen.append(farm.weights()["a"])
    assert seen == sorted(seen)
    assert len(seen) >= 9, "not at once"


def test_without_mitigation_it_is_only_told() -> None:
    farm = Farm()
    for _ in range(5):
        farm.look(SICK, mitigates=False)
    assert farm.anomalous() == {"a"}
    assert set(farm.weights().values()) == {WEIGHT_FULL}


@pytest.mark.parametrize(
    "window",
    [
        QUIET,
        {"a": (100, 50), "b": (100, 50), "c": (100, 40)},  # all alike: not the target's fault
        {"a": (100, 4), "b": (100, 0), "c": (100, 0)},  # too few failures
        {"a": (10, 10), "b": (100, 0), "c": (100, 0)},  # too few requests
        {"a": (1000, 20), "b": (1000, 0), "c": (1000, 0)},  # 2 %: not disproportionate
        {"a": (100, 30), "b": (100, 15), "c": (100, 15)},  # twice, not thrice
        {"a": (100, 100), "b": (100, 0)},  # two targets: never
    ],
)
def test_what_is_no_anomaly(window: Row) -> None:
    farm = Farm()
    for _ in range(5):
        farm.look(window)
    assert farm.anomalous() == set()


def test_at_most_a_third_is_mitigated() -> None:
    farm = Farm()
    bad = {name: (100, 60 if name in "abc" else 0) for name in "abcdefgh"}
    for _ in range(6):
        farm.look(bad)
    assert farm.anomalous() == {"a", "b", "c"}
    assert sum(weight < WEIGHT_FULL for weight in farm.weights().values()) == 2


def test_counters_that_shrink_say_nothing() -> None:
    farm = Farm()
    farm.look(SICK)
    farm.total = {name: Seen(0, 0) for name in farm.total}
    farm.look(QUIET)
    assert farm.anomalous() == set()
