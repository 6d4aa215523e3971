"""GET /metrics: every counter of the arena once, under HAProxy's names where it has them."""

import math
from collections.abc import Callable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from edge.control.cache import LOOKUP_ROWS
from edge.control.metrics import ELB_ROWS, SERVER_ROWS, STATUS_CLASSES, TIER_ROWS, exposition
from ext.arena import SERVER_COUNTERS, TIER_COUNTERS
from ext.limits import ServerState
from tests.control.conftest import CHAIN, World

BuildWorld = Callable[[str], World]
KEY = "haproxy@node1/node1"

# Names of the exporter built into HAProxy 2.6, without the prefix `haproxy_`.
HAPROXY_NAMES = {
    "backend_active_servers",
    "backend_client_aborts_total",
    "backend_current_queue",
    "backend_current_sessions",
    "backend_redispatch_warnings_total",
    "backend_retry_warnings_total",
    "frontend_bytes_in_total",
    "frontend_bytes_out_total",
    "frontend_connections_total",
    "frontend_current_sessions",
    "frontend_http_requests_total",
    "frontend_http_responses_total",
    "frontend_request_errors_total",
    "server_bytes_in_total",
    "server_bytes_out_total",
    "server_check_code",
    "server_check_duration_seconds",
    "server_check_failures_total",
    "server_check_last_change_seconds",
    "server_check_status",
    "server_current_throttle",
    "server_uweight",
    "server_check_up_down_total",
    "server_client_aborts_total",
    "server_connection_attempts_total",
    "server_connection_errors_total",
    "server_connection_reuses_total",
    "server_current_sessions",
    "server_current_queue",
    "server_http_responses_total",
    "server_idle_connections_current",
    "server_redispatch_warnings_total",
    "server_response_errors_total",
    "server_retry_warnings_total",
    "server_server_aborts_total",
    "server_sessions_total",
    "server_status",
    "server_weight",
}
OUR_NAMES = {
    "backend_no_server_total",
    "backend_queue_timeouts_total",
    "frontend_proxy_errors_total",
    "frontend_request_duration_seconds",
    "server_open_connections_current",
}


def families(built: World) -> dict[str, Metric]:
    """By full name, with `_total` for counters."""
    parsed = text_string_to_metric_families(exposition(built.view).decode())
    return {
        family.name + ("_total" if family.type == "counter" else ""): family for family in parsed
    }


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    values = [sample.value for sample in found[name].samples if sample.labels == labels]
    assert len(values) == 1, f"{name} {labels}: {found[name].samples}"
    return float(values[0])


def test_names_are_haproxys_or_listed_as_ours(world: BuildWorld) -> None:
    names = {name.removeprefix("haproxy_") for name in families(world(CHAIN)) if "haproxy_" in name}
    assert names == HAPROXY_NAMES | OUR_NAMES


def test_other_tiers_have_the_same_names_under_edge(world: BuildWorld) -> None:
    found = families(world(CHAIN))
    for name in HAPROXY_NAMES | OUR_NAMES:
        assert f"edge_{name}" in found


def test_every_arena_counter_is_exported_once() -> None:
    responses = [f"responses_{code}" for code in STATUS_CLASSES]
    tier = [counter for row in (*TIER_ROWS, *ELB_ROWS) for counter in row.counters]
    assert sorted([*tier, *responses, *LOOKUP_ROWS, "latency_sum_us"]) == sorted(
        name for name, _, _ in TIER_COUNTERS
    )
    server = {counter for row in SERVER_ROWS for counter in row.counters}
    assert server | set(responses) == {name for name, _, _ in SERVER_COUNTERS}


def test_kinds_agree_with_the_arenas() -> None:
    for rows, counters in ((TIER_ROWS, TIER_COUNTERS), (SERVER_ROWS, SERVER_COUNTERS)):
        kinds = {name: kind for name, kind, _ in counters}
        for row in rows:
            assert {kinds[counter] for counter in row.counters} == {row.kind}
            assert row.suffix.endswith("_total") == (row.kind == "counter")


def test_values_and_labels_of_a_haproxy_tier(world: BuildWorld) -> None:
    built = world(CHAIN)
    found = families(built)
    at = {"proxy": "haproxy@node1", "server": "node1"}
    first = 1000 * built.slot(KEY)
    assert value(found, "haproxy_server_sessions_total", **at) == first + 1
    assert value(found, "haproxy_server_current_sessions", **at) == first + 2
    assert value(found, "haproxy_server_http_responses_total", **at, code="2xx") == first + 6
    attempts = 2 * first + 11 + 15  # connects + connect_errors
    assert value(found, "haproxy_server_connection_attempts_total", **at) == attempts
    assert value(found, "haproxy_server_weight", **at) == 3
    assert value(found, "edge_frontend_http_requests_total", tier="elb") == 3


def test_exactly_one_state_is_set(world: BuildWorld) -> None:
    built = world(CHAIN)
    built.arena.set_server(built.slot(KEY), state=ServerState.DOWN, check_status="L4CON")
    found = families(built)
    at = {"proxy": "haproxy@node1", "server": "node1"}
    for name, state in (("server_status", "DOWN"), ("server_check_status", "L4CON")):
        samples = [
            sample
            for sample in found[f"haproxy_{name}"].samples
            if {key: sample.labels[key] for key in at} == at
        ]
        assert {s.labels["state"]: s.value for s in samples if s.value} == {state: 1}
        assert len(samples) > 5
    assert value(found, "haproxy_backend_active_servers", proxy="haproxy@node1") == 1


def test_latency_is_a_histogram_in_seconds(world: BuildWorld) -> None:
    samples = families(world(CHAIN))["edge_frontend_request_duration_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
    assert buckets == {"0.0001": 1, "0.0025": 3, "1": 6, "+Inf": 10}
    assert {s.name.rpartition("_")[2]: s.value for s in samples if "le" not in s.labels} == {
        "count": 10,
        "sum": 7.5,
    }


def test_the_process_is_described(world: BuildWorld) -> None:
    built = world(CHAIN)
    built.arena.claim_row(1)
    found = families(built)
    assert value(found, "edge_build_info", version=built.view.version) == 1
    assert value(found, "edge_generation") == 7
    assert value(found, "edge_workers") == 1
    assert value(found, "edge_worker_connections", row="0") == 0


def test_a_slow_start_and_a_server_for_its_regulars(world: BuildWorld) -> None:
    built = world(CHAIN)
    slot = built.slot("haproxy@node1/node1")
    at = {"proxy": "haproxy@node1", "server": "node1"}
    assert math.isnan(value(families(built), "haproxy_server_current_throttle", **at))
    built.arena.set_server(slot, ramp=8, state=ServerState.NOLB)
    found = families(built)
    assert value(found, "haproxy_server_current_throttle", **at) == 50
    assert value(found, "haproxy_server_weight", **at) == 2
    assert value(found, "haproxy_server_uweight", **at) == 3
    assert value(found, "haproxy_server_status", **at, state="NOLB") == 1
    assert value(found, "haproxy_server_status", **at, state="UP") == 0
