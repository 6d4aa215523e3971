"""The systems that are measured against each other, and the three nodes behind them.

Each system is a function from a Place (ports, folder) to the command that runs it in the
foreground. All proxy round robin to the same three nodes, keep connections on both sides, add
X-Forwarded-For, check the nodes' health where they can, use one process or thread for traffic, and
write no access log. Nothing else is tuned: peers run as a careful operator would set them up.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGE_BYTES = 100 * 1024
SMALL_BYTES = 1024
CONNECTIONS_MAX = 16000


@dataclass(frozen=True)
class Place:
    """Where a system listens, which nodes it serves, where its files may be."""

    port: int
    node_ports: tuple[int, ...]
    folder: Path


def nginx_main(folder: Path) -> str:
    """The part of nginx.conf that all of them share."""
    user = "user root;\n" if os.geteuid() == 0 else ""
    return (
        f"{user}worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log error;\n"
        f"events {{ worker_connections {CONNECTIONS_MAX}; }}\n"
    )


def nginx_http(folder: Path) -> str:
    """The http settings that all of them share: no log, private temporary folders."""
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        "  access_log off; server_tokens off; sendfile on; tcp_nopush on;\n"
        "  keepalive_timeout 3600s; keepalive_requests 1000000000;\n"
        f"  default_type text/html;\n{temporary}"
    )


def nginx_command(folder: Path, text: str) -> list[str]:
    """Writes the configuration and returns the command for it."""
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(config)]


def node_command(place: Place) -> list[str]:
    """One node: /1k from memory, /100k by sendfile from the page cache."""
    files = place.folder / "files"
    text = (
        nginx_main(place.folder)
        + "http {\n"
        + nginx_http(place.folder)
        + f"  server {{\n    listen 127.0.0.1:{place.port} backlog=4096;\n    root {files};\n"
        '    add_header Cache-Control "private, no-store";\n'
        f'    location = /1k {{ return 200 "{"x" * SMALL_BYTES}"; }}\n  }}\n}}\n'
    )
    command = nginx_command(place.folder, text)
    files.mkdir()
    (files / "100k").write_bytes(b"x" * LARGE_BYTES)
    return command


def nginx_proxy(place: Place) -> list[str]:
    """nginx as the proxy."""
    servers = "".join(f" server 127.0.0.1:{port};" for port in place.node_ports)
    text = (
        nginx_main(place.folder)
        + "http {\n"
        + nginx_http(place.folder)
        + f"  upstream nodes {{{servers} keepalive 64; keepalive_requests 1000000000; }}\n"
        f"  server {{\n    listen 127.0.0.1:{place.port} backlog=4096;\n"
        "    location / {\n      proxy_pass http://nodes;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n      proxy_set_header Host $http_host;\n'
        "      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }\n  }\n}\n"
    )
    return nginx_command(place.folder, text)


def haproxy_proxy(place: Place) -> list[str]:
    """HAProxy as the proxy; http-reuse is its default (safe)."""
    place.folder.mkdir()
    config = place.folder / "haproxy.cfg"
    servers = "".join(
        f"  server node{number} 127.0.0.1:{port} check inter 2s\n"
        for number, port in enumerate(place.node_ports, 1)
    )
    config.write_text(
        # It wants two descriptors for each connection; idle ones have one.
        f"global\n  nbthread 1\n  maxconn {CONNECTIONS_MAX}\n  no strict-limits\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n"
        "  timeout http-keep-alive 3600s\n  option forwardfor\n  balance roundrobin\n"
        f"listen shop\n  bind 127.0.0.1:{place.port} backlog 4096\n{servers}"
    )
    return ["haproxy", "-db", "-q", "-f", str(config)]


def edge_command(place: Place, tiers: str) -> list[str]:
    """`edge run` with the given tier lines in front of the nodes."""
    place.folder.mkdir()
    config = place.folder / "edge.yaml"
    nodes = "".join(
        f"  - {{name: node{number}, web: 127.0.0.1:{port}}}\n"
        for number, port in enumerate(place.node_ports, 1)
    )
    config.write_text(f"{tiers}nodes:\n{nodes}")
    return [sys.executable, "-m", "edge", "run", str(config), "--workers", "1"]


def edge_proxy(place: Place) -> list[str]:
    """edge with the haproxy tier alone."""
    timeouts = "timeouts: {http_keep_alive: 1h}"
    return edge_command(place, f"haproxy: {{listen: 127.0.0.1:{place.port}, {timeouts}}}\n")


def edge_chain(place: Place) -> list[str]:
    """edge with cdn, elb and haproxy fused."""
    timeouts = "timeouts: {http_keep_alive: 1h}"
    tiers = f"cdn: {{listen: 127.0.0.1:{place.port}, {timeouts}}}\nelb: {{}}\nhaproxy: {{}}\n"
    return edge_command(place, tiers)


SYSTEMS = {
    "edge": edge_proxy,
    "edge-chain": edge_chain,
    "haproxy": haproxy_proxy,
    "nginx": nginx_proxy,
}
PROGRAM = {"haproxy": "haproxy", "nginx": "nginx"}
