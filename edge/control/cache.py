"""The cache in `/status` and `/metrics`: tables from what is counted to what is shown.

The store counts objects and memory, of all sites together; the arena counts hits and misses, per
cdn tier. A row whose counter does not exist fails at its first look, in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

COUNTER, GAUGE = "counter", "gauge"


class CountingStore(Protocol):
    """What the admin API needs of `ext.store.Store`."""

    def stats(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One number of the store: `name` there, `metric` without the prefix for Prometheus."""

    name: str
    metric: str
    kind: str
    text: str

    @property
    def shown_as(self) -> str:
        """Its name in `/status`."""
        return self.metric.removesuffix("_total")


CACHE_ROWS = (
    CacheRow("size_bytes", "size_bytes", GAUGE, "Memory that the cache may use"),
    CacheRow("body_bytes", "room_bytes", GAUGE, "Memory for objects: all of it but the indexes"),
    CacheRow("used_bytes", "used_bytes", GAUGE, "Memory that objects take now"),
    CacheRow("objects", "objects", GAUGE, "Objects that can be found now"),
    CacheRow("pass_markers", "pass_markers", GAUGE, "Hit-for-pass markers now"),
    CacheRow("fills", "fills", GAUGE, "Objects being fetched now"),
    CacheRow("leases", "leases", GAUGE, "Objects in use by workers now"),
    CacheRow("logged_keys", "logged_keys", GAUGE, "Purged keys that objects are compared with"),
    CacheRow("evictions", "evictions_total", COUNTER, "Objects that left for others to have room"),
    CacheRow("evicted_bytes", "evicted_bytes_total", COUNTER, "Memory of evicted objects"),
    CacheRow("lost_shards", "lost_shards_total", COUNTER, "Parts emptied after a worker's crash"),
)
# Kind of purge -> what the store calls its count.
PURGE_ROWS = {"key": "key_purges", "url": "url_purges", "all": "all_purges"}
PURGES_TEXT = "Purges carried out, by what they name; of a URL, once for each site"

# Counter of a cdn tier in the arena -> its metric's suffix and text.
LOOKUP_ROWS = {
    "cache_hits": ("hits_total", "Requests answered from the cache, stale answers included"),
    "cache_stale": ("stale_hits_total", "Requests answered from the cache with something stale"),
    "cache_misses": ("misses_total", "Requests that fetched for the cache"),
    "cache_joins": ("joins_total", "Requests that waited for what another one fetched"),
    "cache_passes": ("passes_total", "Requests that went past the cache"),
}


def cache_status(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The section of `/status`."""
    section: dict[str, Any] = {row.shown_as: stats[row.name] for row in CACHE_ROWS}
    section["purges"] = {kind: stats[name] for kind, name in PURGE_ROWS.items()}
    return section


def cache_families(stats: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics `edge_cache_*`."""
    for row in CACHE_ROWS:
        family = CounterMetricFamily if row.kind == COUNTER else GaugeMetricFamily
        yield family(f"edge_cache_{row.metric}", row.text, value=stats[row.name])
    purges = CounterMetricFamily("edge_cache_purges_total", PURGES_TEXT, labels=["kind"])
    for kind, name in PURGE_ROWS.items():
        purges.add_metric([kind], stats[name])
    yield purges


def lookup_families(counters: Iterable[tuple[str, Mapping[str, int]]]) -> Iterator[Metric]:
    """The metrics of what requests find in the cache, from (cdn tier, its counters)."""
    tiers = list(counters)
    for name, (suffix, text) in LOOKUP_ROWS.items():
        family = CounterMetricFamily(f"edge_cache_{suffix}", text, labels=["tier"])
        for tier, counted in tiers:
            family.add_metric([tier], counted[name])
        yield family
