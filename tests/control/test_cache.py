"""The cache in GET /status and GET /metrics."""

import os
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from edge.control.cache import CACHE_ROWS, LOOKUP_ROWS, PURGE_ROWS
from edge.control.metrics import exposition
from edge.control.status import build_status
from ext.arena import TIER_COUNTERS
from ext.store import Store
from tests.control.conftest import CHAIN, SHOP, CountedStore, World

BuildWorld = Callable[..., World]


def test_status_has_every_number_of_the_store(world: BuildWorld) -> None:
    section = build_status(world(CHAIN, CountedStore()).view, 0.0)["cache"]
    counted = CountedStore().stats()
    assert section.pop("purges") == {
        "key": counted["key_purges"],
        "url": counted["url_purges"],
        "all": counted["all_purges"],
    }
    assert section == {row.shown_as: counted[row.name] for row in CACHE_ROWS}
    assert section["size_bytes"] == 1
    assert "evictions" in section


def cache_samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("edge_cache_")
    }


def test_metrics_have_every_number_of_the_store_and_of_the_lookups(world: BuildWorld) -> None:
    built = world(SHOP, CountedStore())
    counted = CountedStore().stats()
    expected: dict[tuple[str, ...], int] = {
        (f"edge_cache_{row.metric}",): counted[row.name] for row in CACHE_ROWS
    }
    expected |= {
        ("edge_cache_purges_total", kind): counted[name] for kind, name in PURGE_ROWS.items()
    }
    assert sorted(expected.values()) == sorted(counted.values())
    lookups = {name: number for number, (name, _, _) in enumerate(TIER_COUNTERS, 1)}
    slot = built.job.slots["tiers"]["cdn"]
    expected |= {
        (f"edge_cache_{suffix}", "cdn"): 1000 * slot + lookups[name]
        for name, (suffix, _) in LOOKUP_ROWS.items()
    }
    assert cache_samples(exposition(built.view)) == expected


def test_status_has_lookups_for_the_cdn_alone(world: BuildWorld) -> None:
    tiers = build_status(world(SHOP, CountedStore()).view, 0.0)["tiers"]
    counters = {tier["name"]: tier["counters"].keys() for tier in tiers}
    assert counters["cdn"] >= LOOKUP_ROWS.keys()
    assert not counters["haproxy"] & LOOKUP_ROWS.keys()


def test_nothing_that_the_store_counts_is_left_out() -> None:
    shown = {row.name for row in CACHE_ROWS} | {*PURGE_ROWS.values()}
    store = Store.create(2**26)
    assert store.stats().keys() == shown | {"row_leases"}  # per process: for finding mistakes
    os.close(store.fd)


def test_names_say_what_they_count() -> None:
    for row in CACHE_ROWS:
        assert row.metric.endswith("_total") == (row.kind == "counter")
        assert row.text


def test_without_a_cache_there_is_no_section(world: BuildWorld) -> None:
    view = world(CHAIN).view
    assert build_status(view, 0.0)["cache"] is None
    assert b"edge_cache_" not in exposition(view)
