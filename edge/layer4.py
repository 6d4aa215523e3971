"""What a worker makes of settings below HTTP: PROXY headers, and the tiers of kind `tcp`.

Called by the worker while it builds its objects; pure.
"""

from __future__ import annotations

from typing import Any

from edge.settings.cdn import Cdn
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.tcp import Tcp
from ext.proxyline import ProxyPeers

PROXY_VERSIONS = {"off": 0, "v1": 1, "v2": 2}  # ProxyVersion in ext/proxyline.pxd
# A tier of HTTP has limits on heads and bodies; where nothing is parsed there are none.
NO_LIMITS = dict.fromkeys(
    (
        "request_line_bytes",
        "header_bytes",
        "header_count",
        "body_bytes",
        "chunk_extension_bytes",
        "trailer_bytes",
    ),
    0,
)


def proxy_peers(settings: Cdn | Elb | Haproxy | Tcp) -> ProxyPeers | None:
    """Whose connections to a tier begin with a PROXY header; None: nobody's."""
    return ProxyPeers(settings.accept_proxy_from) if settings.accept_proxy else None


def tcp_tier_options(settings: Tcp, connections_max: int) -> dict[str, Any]:
    """The settings as the ready numbers that `ext.upstream.Tier` takes."""
    timeouts = settings.timeouts
    queue_s = timeouts.connect_s if timeouts.queue_s is None else timeouts.queue_s
    seconds = {
        "connect": timeouts.connect_s,
        "client": timeouts.client_s,
        "server": timeouts.server_s,
        "queue": queue_s,
    }
    of_http = dict.fromkeys(("http_request", "http_keep_alive", "tunnel"), 0)
    return {
        "limits": NO_LIMITS,
        "timeouts_ms": {name: _ms(value) for name, value in seconds.items()} | of_http,
        "retries": settings.retries,
        "redispatch": int(settings.redispatch),
        "is_hash": settings.balance == "source",
        # Connects alone are repeated, by ext.tcp.
        "retry_on": 0,
        "retry_unsafe": False,
        "observe": 0,
        "marks_down": False,
        "fullconn": 0,
        "reuse": "never",
        "purge_ms": 0,
        "retry_after_s": 0,
        # Without a check nobody could raise a server again that a worker took down.
        "error_limit": settings.error_limit if settings.health_check.enabled else 0,
        "idle_max": 0,  # a connection to a server is never kept
        "idle_ms": 0,
        "connections_max": settings.max_connections or connections_max,
    }


def tcp_times_ms(settings: Tcp) -> dict[str, int]:
    """The times that `ext.tcp.TcpEntry` takes."""
    timeouts = settings.timeouts
    header_s = timeouts.client_s if timeouts.client_hs_s is None else timeouts.client_hs_s
    both_s = min(timeouts.client_s, timeouts.server_s)
    return {
        "header": _ms(header_s),
        "silence": _ms(both_s if timeouts.tunnel_s is None else timeouts.tunnel_s),
        "client_fin": 0 if timeouts.client_fin_s is None else _ms(timeouts.client_fin_s),
        "server_fin": 0 if timeouts.server_fin_s is None else _ms(timeouts.server_fin_s),
    }


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
