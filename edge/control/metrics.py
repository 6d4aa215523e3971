"""`GET /metrics`: one table from what the arena counts to what Prometheus sees.

One scheme, so that a dashboard for HAProxy works and the other tiers look alike:

    tiers of kind haproxy    haproxy_<suffix>{proxy="haproxy@node1", ...}
    every other tier         edge_<suffix>{tier="cdn", ...}

Suffixes and meanings are those of HAProxy's own exporter (2.6, `/metrics` of the Prometheus
service): `server_*` for a server of a tier, `frontend_*` for what clients of the tier see,
`backend_*` for what the tier does with its servers. Where HAProxy has no name (no_server,
queue_timeouts, the histogram) the suffix is ours.

Numbers are read at each scrape; nothing is kept here. A row whose arena counters do not exist
fails at import.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from edge.clock import wall
from edge.control.cache import COUNTER, GAUGE, cache_families, lookup_families
from edge.control.view import ControlView, ServerView, TierView
from edge.health.checks import CheckStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST

CHECK_STATES = [each for each in CheckStatus if each not in (CheckStatus.INI, CheckStatus.CHECKED)]
SERVER_STATES = ("DOWN", "UP", "MAINT", "DRAIN", "NOLB", "no check")
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
SECONDS_PER_US = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: `suffix` ends in its unit, `counters` are arena counters that are added up."""

    suffix: str
    kind: str
    counters: tuple[str, ...]
    text: str


SERVER_ROWS = (
    Row("server_sessions_total", COUNTER, ("requests",), "Requests sent to the server"),
    Row("server_current_sessions", GAUGE, ("in_flight",), "Requests at the server now"),
    Row("server_current_queue", GAUGE, ("queued",), "Requests waiting for this server only"),
    Row("server_bytes_in_total", COUNTER, ("bytes_in",), "Request bytes sent to the server"),
    Row("server_bytes_out_total", COUNTER, ("bytes_out",), "Response bytes from the server"),
    Row(
        "server_connection_attempts_total",
        COUNTER,
        ("connects", "connect_errors"),
        "Connects tried, successful or not",
    ),
    Row("server_connection_reuses_total", COUNTER, ("reuses",), "Requests on a kept connection"),
    Row("server_open_connections_current", GAUGE, ("connections_open",), "Connections open now"),
    Row(
        "server_idle_connections_current",
        GAUGE,
        ("connections_idle",),
        "Kept connections waiting for a request",
    ),
    Row("server_connection_errors_total", COUNTER, ("connect_errors",), "Connects that failed"),
    Row(
        "server_response_errors_total",
        COUNTER,
        ("response_errors",),
        "Responses that were missing, malformed or late",
    ),
    Row("server_server_aborts_total", COUNTER, ("server_aborts",), "Responses cut by the server"),
    Row("server_client_aborts_total", COUNTER, ("client_aborts",), "Requests the client gave up"),
    Row("server_retry_warnings_total", COUNTER, ("retries",), "Attempts repeated here"),
    Row(
        "server_redispatch_warnings_total",
        COUNTER,
        ("redispatches",),
        "Attempts moved away from the server",
    ),
)

TIER_ROWS = (
    Row("frontend_connections_total", COUNTER, ("connections",), "Client connections accepted"),
    Row("frontend_current_sessions", GAUGE, ("connections_open",), "Client connections open now"),
    Row("frontend_http_requests_total", COUNTER, ("requests",), "Requests received"),
    Row("frontend_bytes_in_total", COUNTER, ("bytes_in",), "Bytes received from clients"),
    Row("frontend_bytes_out_total", COUNTER, ("bytes_out",), "Bytes sent to clients"),
    Row("frontend_request_errors_total", COUNTER, ("request_errors",), "Requests refused"),
    Row("frontend_proxy_errors_total", COUNTER, ("proxy_errors",), "Bad PROXY headers"),
    Row("backend_current_sessions", GAUGE, ("in_flight",), "Requests being served now"),
    Row("backend_current_queue", GAUGE, ("queued",), "Requests waiting for a server slot"),
    Row("backend_client_aborts_total", COUNTER, ("client_aborts",), "Requests clients gave up"),
    Row("backend_retry_warnings_total", COUNTER, ("retries",), "Attempts on the same server"),
    Row("backend_redispatch_warnings_total", COUNTER, ("redispatches",), "Attempts elsewhere"),
    Row("backend_no_server_total", COUNTER, ("no_server",), "503 as no server was usable"),
    Row("backend_queue_timeouts_total", COUNTER, ("queue_timeouts",), "503 after the queue"),
)

PROXY_KINDS = ("haproxy", "tcp")  # what HAProxy calls a proxy
# Of an elb alone, under AWS's ideas of what is worth counting.
ELB_ROWS = (
    Row(
        "backend_unhealthy_routing_requests_total",
        COUNTER,
        ("unhealthy_routed",),
        "Requests routed to any target, as too few were healthy",
    ),
    Row(
        "backend_non_sticky_requests_total",
        COUNTER,
        ("not_sticky",),
        "Requests whose cookie named no target that may be used",
    ),
    Row(
        "frontend_desync_non_compliant_requests_total",
        COUNTER,
        ("desync",),
        "Requests that desync mitigation found not compliant",
    ),
)
ELB_COUNTERS = frozenset(counter for row in ELB_ROWS for counter in row.counters)

RESPONSES_TEXT = "Responses by the class of their status"


class ControlCollector(Collector):
    """Turns one look at the arena into metric families, at each scrape."""

    def __init__(self, view: ControlView) -> None:
        self._view = view

    def describe(self) -> Iterable[Metric]:
        return ()  # no registration check: families depend on the configuration

    def collect(self) -> Iterator[Metric]:
        tiers = self._view.tiers()
        for prefix, label in (("haproxy", "proxy"), ("edge", "tier")):
            of_prefix = [
                tier for tier in tiers if (tier.kind in PROXY_KINDS) == (prefix == "haproxy")
            ]
            if of_prefix:
                yield from _tier_families(prefix, label, of_prefix)
                yield from _server_families(prefix, label, of_prefix)
                yield _duration_family(prefix, label, of_prefix)
        cache = self._view.cache()
        if cache is not None:
            yield from cache_families(cache)
            cdns = [(tier.name, tier.counters) for tier in tiers if tier.kind == "cdn"]
            yield from lookup_families(cdns)
        yield from _process_families(self._view)


def exposition(view: ControlView) -> bytes:
    """The text for Prometheus."""
    return generate_latest(ControlCollector(view))


def _family(
    name: str, kind: str, text: str, labels: list[str]
) -> CounterMetricFamily | GaugeMetricFamily:
    if kind == COUNTER:
        return CounterMetricFamily(name, text, labels=labels)
    return GaugeMetricFamily(name, text, labels=labels)


def _tier_families(prefix: str, label: str, tiers: list[TierView]) -> Iterator[Metric]:
    elbs = [tier for tier in tiers if tier.kind == "elb"]
    for rows, counted in ((TIER_ROWS, tiers), (ELB_ROWS, elbs)):
        for row in rows if counted else ():
            family = _family(f"{prefix}_{row.suffix}", row.kind, row.text, [label])
            for tier in counted:
                family.add_metric([tier.name], sum(tier.counters[each] for each in row.counters))
            yield family
    family = CounterMetricFamily(
        f"{prefix}_frontend_http_responses_total", RESPONSES_TEXT, labels=[label, "code"]
    )
    for tier in tiers:
        for code in STATUS_CLASSES:
            family.add_metric([tier.name, code], tier.counters[f"responses_{code}"])
    yield family
    family = GaugeMetricFamily(
        f"{prefix}_backend_active_servers", "Servers that take new requests", labels=[label]
    )
    for tier in tiers:
        family.add_metric([tier.name], tier.usable_servers)
    yield family


def _duration_family(prefix: str, label: str, tiers: list[TierView]) -> Metric:
    family = HistogramMetricFamily(
        f"{prefix}_frontend_request_duration_seconds",
        "From the first byte of a request to the last byte of its response",
        labels=[label],
    )
    for tier in tiers:
        bounds_us, counts, sum_us = tier.latency
        buckets, seen = [], 0
        for bound_us, count in zip((*bounds_us, None), counts, strict=True):
            seen += count
            buckets.append(("+Inf" if bound_us is None else _seconds(bound_us), seen))
        family.add_metric([tier.name], buckets=buckets, sum_value=sum_us * SECONDS_PER_US)
    return family


def _seconds(bound_us: int) -> str:
    """A bucket bound as Prometheus compares them: as text, so without float noise."""
    return f"{bound_us / 1_000_000:.6f}".rstrip("0").rstrip(".")


def _server_families(prefix: str, label: str, tiers: list[TierView]) -> Iterator[Metric]:
    servers = [(tier, server) for tier in tiers for server in tier.servers]
    labels = [label, "server"]
    for row in SERVER_ROWS:
        family = _family(f"{prefix}_{row.suffix}", row.kind, row.text, labels)
        for tier, server in servers:
            total = sum(server.counters[each] for each in row.counters)
            family.add_metric([tier.name, server.name], total)
        yield family
    family = CounterMetricFamily(
        f"{prefix}_server_http_responses_total", RESPONSES_TEXT, labels=[*labels, "code"]
    )
    for tier, server in servers:
        for code in STATUS_CLASSES:
            family.add_metric([tier.name, server.name, code], server.counters[f"responses_{code}"])
    yield family
    yield from _state_families(prefix, labels, servers)
    yield from _check_families(prefix, labels, servers)


def _state_families(
    prefix: str, labels: list[str], servers: list[tuple[TierView, ServerView]]
) -> Iterator[Metric]:
    status = GaugeMetricFamily(
        f"{prefix}_server_status", "1 for the state the server is in", labels=[*labels, "state"]
    )
    weight = GaugeMetricFamily(f"{prefix}_server_weight", "Effective weight", labels=labels)
    user_weight = GaugeMetricFamily(
        f"{prefix}_server_uweight", "Weight without a slow start", labels=labels
    )
    throttle = GaugeMetricFamily(
        f"{prefix}_server_current_throttle",
        "Per cent of its weight and maxconn that a server has in a slow start; else NaN",
        labels=labels,
    )
    since = GaugeMetricFamily(
        f"{prefix}_server_check_last_change_seconds", "Seconds in this state", labels=labels
    )
    now_s = wall()
    for tier, server in servers:
        for state in SERVER_STATES:
            status.add_metric([tier.name, server.name, state], state == server.state_class)
        weight.add_metric([tier.name, server.name], server.weight)
        user_weight.add_metric([tier.name, server.name], server.user_weight)
        percent = math.nan if server.throttle is None else server.throttle
        throttle.add_metric([tier.name, server.name], percent)
        since.add_metric([tier.name, server.name], max(0.0, now_s - server.since))
    yield from (status, weight, user_weight, throttle, since)


def _check_families(
    prefix: str, labels: list[str], servers: list[tuple[TierView, ServerView]]
) -> Iterator[Metric]:
    name = f"{prefix}_server_check"
    status = GaugeMetricFamily(
        f"{name}_status", "1 for the result of the last check", labels=[*labels, "state"]
    )
    duration = GaugeMetricFamily(
        f"{name}_duration_seconds", "Duration of the last check", labels=labels
    )
    code = GaugeMetricFamily(f"{name}_code", "HTTP status the last check saw", labels=labels)
    failures = CounterMetricFamily(
        f"{name}_failures_total", "Checks that failed while the server was UP", labels=labels
    )
    downs = CounterMetricFamily(f"{name}_up_down_total", "Changes from UP to DOWN", labels=labels)
    for tier, server in servers:
        at = [tier.name, server.name]
        if server.checks is None:
            continue
        for state in CHECK_STATES:
            status.add_metric([*at, state.value], state.value == server.check_status)
        failures.add_metric(at, server.checks.failures)
        downs.add_metric(at, server.checks.times_down)
        if server.checks.last is not None:
            duration.add_metric(at, server.checks.last.duration_s)
            if server.checks.last.code is not None:
                code.add_metric(at, server.checks.last.code)
    yield from (status, duration, code, failures, downs)


def _process_families(view: ControlView) -> Iterator[Metric]:
    build = GaugeMetricFamily("edge_build_info", "Always 1", labels=["version"])
    build.add_metric([view.version], 1)
    yield build
    yield GaugeMetricFamily(
        "edge_generation", "Grows with each reload", value=float(view.generation)
    )
    yield GaugeMetricFamily(
        "edge_start_time_seconds", "Unix time of the start of `edge run`", value=view.started_at
    )
    workers = view.workers()
    yield GaugeMetricFamily("edge_workers", "Worker processes", value=len(workers))
    connections = GaugeMetricFamily(
        "edge_worker_connections", "Client connections open per worker", labels=["row"]
    )
    for worker in workers:
        connections.add_metric([str(worker.row)], worker.connections)
    yield connections
