"""The table of `edge status`: its rows, its rates, and numbers as people read them."""

from collections.abc import Iterator
from typing import Any

import pytest

from edge.admin_client import find_remotes
from edge.clock import wall
from edge.control.status import build_status
from edge.status_command import CLEAR, duration, rate, render, size, watch
from tests.control.conftest import SHOP, CountedStore, world
from tests.standin_admin import StandinAdmin

__all__ = ["world"]  # a fixture


def looks(world: Any) -> tuple[Any, Any]:
    """Two looks at a real control's status, between which node1 had 30 requests, 5 of them bad."""
    built = world(SHOP, CountedStore())
    before = build_status(built.view, wall())
    after = build_status(built.view, wall())
    server = after["tiers"][1]["servers"][0]
    server["counters"]["requests"] += 30
    server["counters"]["responses_5xx"] += 5
    after["tiers"][0]["counters"]["cache_hits"] += 3
    after["tiers"][0]["counters"]["cache_misses"] += 1
    return before, after


def test_a_row_for_each_tier_and_each_server(world: Any) -> None:
    lines = render(*looks(world), 2.0).splitlines()
    assert lines[0].startswith("edge ")
    assert "generation 7   up 1m 40s   0 workers   0 connections" in lines[0]
    words = [line.split() for line in lines[2:5]]
    assert words[0] == (
        ["TIER", "SERVER", "STATUS", "SINCE", "RUNNING", "QUEUED", "REQ/S", "5XX/S", "TOTAL"]
    )
    assert words[1][0] == "cdn"
    assert words[2][:3] == ["haproxy", "1/1", "usable"]
    server = lines[5].split()
    assert server[:3] == ["node1", "UP", "1/3"]
    assert server[5:] == ["15.0", "2.5", "31"]
    assert lines[2].index("REQ/S") + len("REQ/S") == lines[5].index("15.0") + len("15.0")


def test_the_cache_is_a_line_of_its_own(world: Any) -> None:
    before, after = looks(world)
    line = render(before, after, 2.0).splitlines()[-1]
    assert line.startswith("cache: 75.0 % hits   4 objects   3 B of 1 B used   9 evictions   ")
    everything = render(after, after, 2.0).splitlines()[-1]
    assert everything.startswith("cache: 24.7 %"), "nobody came: the ratio is that of all time"
    assert "cache" not in render(before | {"cache": None}, after | {"cache": None}, 2.0)


def test_what_was_not_there_before_has_no_rate(world: Any) -> None:
    before, after = looks(world)
    before["tiers"].clear()
    assert render(before, after, 1.0).splitlines()[5].split()[5:] == ["-", "-", "31"]


@pytest.mark.parametrize(
    ("before", "after", "elapsed_s", "expected"),
    [(0, 25, 2.0, "12.5"), (0, 25_000, 2.0, "12,500.0"), (9, 4, 1.0, "-"), (0, 1, 0.0, "-")],
)
def test_rates(before: int, after: int, elapsed_s: float, expected: str) -> None:
    assert rate({"n": before}, {"n": after}, "n", elapsed_s) == expected
    assert rate({}, {"n": after}, "n", elapsed_s) == "-"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (59.9, "59s"), (125, "2m 5s"), (12_000, "3h 20m"), (349_200, "4d 1h")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**19, "2.5 MiB"), (2**30, "1.0 GiB")],
)
def test_sizes(count: int, expected: str) -> None:
    assert size(count) == expected


@pytest.fixture
def admins(world: Any) -> Iterator[list[StandinAdmin]]:
    _, status = looks(world)
    made = [StandinAdmin(lambda method, path: (200, status)) for _ in range(2)]
    yield made
    for admin in made:
        admin.end()


@pytest.mark.wire
@pytest.mark.parametrize("is_screen", [True, False])
def test_watching_looks_again_after_each_interval(
    admins: list[StandinAdmin], is_screen: bool
) -> None:
    pauses: list[float] = []
    remotes = find_remotes(None, [admin.address for admin in admins], None, {})
    texts = watch(remotes, 5.0, is_screen=is_screen, pause=pauses.append)
    first, second = next(texts), next(texts)
    assert pauses == [5.0, 5.0]
    assert first.startswith(f"{admins[0].address}\nedge ")
    assert f"\n\n{admins[1].address}\nedge " in first
    assert second.startswith(CLEAR if is_screen else f"\n{admins[0].address}")
    assert [path for _, path, _ in admins[1].asked] == ["/status"] * 3
