"""The models together: every default, and the JSON round trip. The tables of defaults
are those of the originals."""

import pytest
from pydantic import BaseModel

from edge.settings import Admin, Cdn, Elb, Haproxy, Node, Settings, Tcp
from edge.settings.section import Section

NODE = Node(name="node1", web="127.0.0.1:9001")

LIMITS = {
    "request_line_bytes": 8192,
    "header_bytes": 16384,
    "header_count": 100,
    "body_bytes": 0,
    "chunk_extension_bytes": 256,
    "trailer_bytes": 8192,
}
HEALTH_CHECK = {
    "enabled": True,
    "path": None,
    "method": "GET",
    "host": None,
    "expect": "200-399",
    "interval_s": 2.0,
    "timeout_s": None,
    "rise": 2,
    "fall": 3,
    "fast_interval_s": None,
    "down_interval_s": None,
    "http_check": [],
    "tcp_check": [],
    "disable_on_404": False,
    "log_health_checks": False,
    "agent": None,
}
TIER = {
    "listen": None,
    "limits": LIMITS,
    "max_connections": 0,
    "max_idle_per_server": 1024,
    "accept_proxy": False,
    "accept_proxy_from": None,
    "send_proxy": "off",
}
TCP = {
    "name": "mysql",
    "listen": "127.0.0.1:3307",
    "node_port": 3306,
    "servers": None,
    "balance": "roundrobin",
    "retries": 3,
    "redispatch": True,
    "error_limit": 10,
    "server_maxconn": 0,
    "max_connections": 0,
    "timeouts": {
        "connect_s": 5.0,
        "client_s": 50.0,
        "server_s": 50.0,
        "queue_s": None,
        "client_hs_s": None,
        "tunnel_s": None,
        "client_fin_s": None,
        "server_fin_s": None,
    },
    "health_check": HEALTH_CHECK,
    "accept_proxy": False,
    "accept_proxy_from": None,
    "send_proxy": "off",
}
HAPROXY = TIER | {
    "timeouts": {
        "connect_s": 5.0,
        "client_s": 50.0,
        "server_s": 50.0,
        "between_bytes_s": None,
        "http_request_s": 10.0,
        "http_keep_alive_s": 60.0,
        "queue_s": None,
        "tunnel_s": 3600.0,
    },
    "forwarded": {
        "x_forwarded_for": "line",
        "x_forwarded_proto": "if_none",
        "x_forwarded_host": "if_none",
        "x_forwarded_port": "if_none",
        "forwarded": False,
        "via": None,
    },
    "health_check": HEALTH_CHECK,
    "balance": "roundrobin",
    "hash_type": "map-based",
    "hash_key": "id",
    "hash_balance_factor": 0,
    "allbackups": False,
    "retries": 3,
    "redispatch": 1,
    "error_limit": 10,
    "retry_after_s": 1.0,
    "server_maxconn": 0,
    "cookie": None,
    "acl": [],
    "http_request": [],
    "http_response": [],
    "nodes": None,
    "use_backend": [],
    "default_backend": None,
    "monitor_uri": None,
    "monitor_fail": None,
    "backends": {},
    "stick_tables": {},
    "slowstart_s": None,
    "server_minconn": 0,
    "server_maxqueue": 0,
    "fullconn": None,
    "http_reuse": "safe",
    "pool_purge_delay_s": 5.0,
    "retry_on": None,
    "retry_unsafe": False,
    "observe": None,
    "on_error": "fail-check",
    "on_marked_down": None,
    "on_marked_up": None,
    "stats": None,
}
ELB = TIER | {
    "timeouts": {
        "connect_s": 10.0,
        "client_s": 60.0,
        "server_s": 60.0,
        "between_bytes_s": None,
        "http_request_s": 60.0,
        "http_keep_alive_s": 3600.0,
        "queue_s": None,
        "tunnel_s": 60.0,
    },
    "forwarded": {
        "x_forwarded_for": "append",
        "x_forwarded_proto": "set",
        "x_forwarded_host": "off",
        "x_forwarded_port": "set",
        "forwarded": False,
        "via": None,
    },
    "health_check": HEALTH_CHECK | {"expect": "200", "rise": 5, "fall": 2},
    "limits": LIMITS | {"request_line_bytes": 16_384, "header_bytes": 65_536},
    "balance": "round_robin",
    "retries": 0,
    "zones": {},
    "target_group": {
        "protocol_version": "HTTP1",
        "deregistration_delay_timeout_seconds": 300,
        "slow_start_duration_seconds": 0,
        "load_balancing_cross_zone_enabled": True,
        "load_balancing_algorithm_anomaly_mitigation": False,
        "stickiness_enabled": False,
        "stickiness_type": "lb_cookie",
        "stickiness_lb_cookie_duration_seconds": 86_400,
        "stickiness_app_cookie_cookie_name": None,
        "stickiness_app_cookie_duration_seconds": 86_400,
        "target_group_health_dns_failover_minimum_healthy_targets_count": 1,
        "target_group_health_dns_failover_minimum_healthy_targets_percentage": 0,
        "target_group_health_unhealthy_state_routing_minimum_healthy_targets_count": 1,
        "target_group_health_unhealthy_state_routing_minimum_healthy_targets_percentage": 0,
    },
    "routing_http_desync_mitigation_mode": "defensive",
    "routing_http_drop_invalid_header_fields_enabled": False,
    "routing_http_preserve_host_header_enabled": False,
    "stickiness_secret": None,
}
CDN = TIER | {
    "timeouts": {
        "connect_s": 1.0,
        "client_s": 50.0,
        "server_s": 15.0,
        "between_bytes_s": 10.0,
        "http_request_s": 10.0,
        "http_keep_alive_s": 60.0,
        "queue_s": None,
        "tunnel_s": 3600.0,
    },
    "forwarded": {
        "x_forwarded_for": "append",
        "x_forwarded_proto": "set",
        "x_forwarded_host": "set",
        "x_forwarded_port": "off",
        "forwarded": False,
        "via": "varnish",
        "strict_client_ip": False,
    },
    "health_check": HEALTH_CHECK | {"enabled": False},
    "limits": LIMITS
    | {
        "request_line_bytes": 65_536,
        "header_bytes": 70_656,
        "header_count": 255,
        "platform": None,
        "url_bytes": 8_192,
        "cookie_bytes": 32_768,
        "response_header_bytes": 70_656,
        "response_header_count": 96,
    },
    "policy": "fastly",
    "default_ttl_s": 3600.0,
    "hit_for_pass_s": 120.0,
    "pass_no_store": False,
    "max_stale_while_revalidate_s": None,
    "max_stale_if_error_s": None,
    "stale_if_disconnected_s": 60.0,
    "heuristic": {"percent": 10, "max_s": 86_400.0},
    "compression": {
        "enabled": None,
        "formats": ["br", "gzip"],
        "min_size_bytes": 150,
        "content_types": [
            "text/html",
            "application/x-javascript",
            "text/css",
            "application/javascript",
            "text/javascript",
            "application/json",
            "application/vnd.ms-fontobject",
            "application/x-font-opentype",
            "application/x-font-truetype",
            "application/x-font-ttf",
            "application/xml",
            "font/eot",
            "font/opentype",
            "font/otf",
            "image/svg+xml",
            "image/vnd.microsoft.icon",
            "text/plain",
            "text/xml",
        ],
        "extensions": ["css", "js", "html", "eot", "ico", "otf", "ttf", "json", "svg"],
    },
    "pop": "FRA",
    "shield": None,
    "sites": [],
    "cache": {"size_bytes": 256 * 2**20, "max_object_bytes": 20 * 2**20},
    "service": None,
}
NODE_DEFAULTS = {
    "name": "node1",
    "zone": "a",
    "role": "both",
    "web": "127.0.0.1:9001",
    "haproxy": None,
    "host": None,
    "agent_port": None,
    "weight": 1,
    "backup": False,
    "maxconn": 0,
    "cookie": None,
    "minconn": 0,
    "maxqueue": 0,
}


@pytest.mark.parametrize(
    ("section", "defaults"),
    [
        (Haproxy(), HAPROXY),
        (Elb(), ELB),
        (Cdn(), CDN),
        (Tcp(name="mysql", listen="127.0.0.1:3307", node_port=3306), TCP),
        (NODE, NODE_DEFAULTS),
        (Admin(listen="127.0.0.1:1"), {"listen": "127.0.0.1:1", "token": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_defaults(section: BaseModel, defaults: dict[str, object]) -> None:
    assert section.model_dump() == defaults


def test_a_key_of_a_tier_leaves_the_tiers_other_defaults() -> None:
    elb = Elb.model_validate({"timeouts": {"connect": "2s"}, "health_check": {"path": "/h"}})
    assert (elb.timeouts.connect_s, elb.timeouts.http_keep_alive_s) == (2.0, 3600.0)
    assert (elb.health_check.path, elb.health_check.rise) == ("/h", 5)


def test_the_cache_keeps_no_more_than_it_holds() -> None:
    small = Cdn.model_validate({"cache": {"size": "8MiB"}})
    assert small.cache.max_object_bytes == 8 * 2**20
    equal = Cdn.model_validate({"cache": {"size": "8MiB", "max_object": "8MiB"}})
    assert equal.cache.max_object_bytes == 8 * 2**20


def test_json_round_trip_loses_nothing() -> None:
    """Every field holds another value than its default, so a dropped one shows."""
    settings = Settings.model_validate(
        {
            "workers": 3,
            "drain": "1.5s",
            "admin": {"listen": "[::1]:9180", "token": "secret"},
            "cdn": {
                "listen": "0.0.0.0:80",
                "policy": "rfc9111",
                "default_ttl": "0s",
                "hit_for_pass": "1s",
                "pass_no_store": True,
                "max_stale_while_revalidate": "1d",
                "max_stale_if_error": "0s",
                "stale_if_disconnected": "90s",
                "heuristic": {"percent": 20, "max": "1h"},
                "compression": {
                    "enabled": True,
                    "formats": ["gzip"],
                    "min_size": "1KiB",
                    "content_types": ["text/x"],
                    "extensions": ["x"],
                },
                "pop": "AMS",
                "shield": "IAD",
                "cache": {"size": "1GiB", "max_object": 1000},
                "service": {"id": "SU1Z0isxPaozGVKXdv0eY", "tokens": ["a", "b"]},
                "timeouts": {"between_bytes": 0.1, "queue": "333ms", "connect": "1us"}
                | {"connect": "1ms"},
                "forwarded": {"via": None, "forwarded": True},
            },
            "elb": {"limits": {"header": "64KiB", "body": "3GiB"}, "max_idle_per_server": 0},
            "haproxy": {"health_check": {"expect": 204, "timeout": "100ms"}, "retries": 0},
            "nodes": [
                {"name": "core", "role": "core"},
                {"name": "web", "web": "web.example:80", "weight": 0, "backup": True},
            ],
        }
    )
    again = Settings.model_validate_json(settings.model_dump_json())
    assert again == settings
    assert again.cdn is not None
    assert again.cdn.timeouts.between_bytes_s == 0.1
    assert again.cdn.forwarded.via is None


def test_secrets_stay_out_of_the_representation() -> None:
    settings = Settings.model_validate(
        {
            "admin": {"listen": "127.0.0.1:1", "token": "hunter2"},
            "cdn": {"service": {"id": "A", "tokens": ["hunter2"]}},
            "nodes": [{"name": "node1"}],
        }
    )
    assert "hunter2" not in repr(settings)


def sections(section: type[Section]) -> set[type[Section]]:
    found = {section}
    for field in section.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Section):
                found |= sections(inner)
    return found


@pytest.mark.parametrize("section", sorted(sections(Settings), key=str))
def test_every_field_is_described(section: type[Section]) -> None:
    assert section.__doc__
    bare = [name for name, field in section.model_fields.items() if not field.description]
    assert bare == []
