"""The systems that are measured against each other, and the nodes behind them.

Each system is a function from a Place (ports, folder) to the command that runs it in the
foreground. Proxies go round robin to the same three nodes, keep connections on both sides, add
X-Forwarded-For, and check the nodes' health where they can. Caches stand in front of one origin
and keep its answers for their hour. All use one process or thread for traffic, or one pool of
threads on one core, and write no access log. Peers run as a careful operator would set them up;
where one has a setting that makes it faster, it has that setting, and the reason stands beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGE_BYTES = 100 * 1024
SMALL_BYTES = 1024
CONNECTIONS_MAX = 16000
# Enough for every object of a scenario; nothing is evicted while hits are measured.
CACHE_MIB = 64
# Of the origin: how many requests it has received.
COUNT_PATH = "/requests"


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


def nginx_http(folder: Path, sending: str = "sendfile on; tcp_nopush on;") -> str:
    """The http settings that all of them share: no log, private temporary folders."""
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"  access_log off; server_tokens off; {sending}\n"
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


def body_of(size: int) -> bytes:
    """Numbered lines: a part that is missing, doubled or out of its place shows."""
    return b"".join(b"%07d\n" % at for at in range(0, size, 8))[:size]


def origin_command(place: Place) -> list[str]:
    """One origin of cacheable answers: files with an ETag, fresh for an hour; it counts."""
    files = place.folder / "files"
    text = (
        nginx_main(place.folder)
        + "http {\n"
        + nginx_http(place.folder)
        + f"  server {{\n    listen 127.0.0.1:{place.port} backlog=4096;\n    root {files};\n"
        '    add_header Cache-Control "public, max-age=3600";\n'
        f"    location = {COUNT_PATH} {{ stub_status; }}\n  }}\n}}\n"
    )
    command = nginx_command(place.folder, text)
    files.mkdir()
    for name, size in (("1k", SMALL_BYTES), ("100k", LARGE_BYTES)):
        (files / name).write_bytes(body_of(size))
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


def nginx_cache(place: Place) -> list[str]:
    """nginx's proxy_cache at its fastest: a hit of 1 KB is one read and one write.

    With sendfile it is a write of the head, sendfile and what goes with it: 14 us instead of 10.
    The buffer holds 100 KB at once, which comes near to sendfile.
    """
    return nginx_proxy_cache(place, "sendfile off; output_buffers 1 128k;")


def nginx_sendfile(place: Place) -> list[str]:
    """The same with sendfile, as most people have it; tcp_nopush makes 100 KB stall for 15 ms."""
    return nginx_proxy_cache(place, "sendfile on; tcp_nopush off;")


def nginx_proxy_cache(place: Place, sending: str) -> list[str]:
    """Files in the page cache, from descriptors that stay open."""
    text = (
        nginx_main(place.folder)
        + "http {\n"
        + nginx_http(place.folder, sending)
        # Written where they stay: no rename from the temporary folder, perhaps across disks.
        + f"  proxy_cache_path {place.folder}/cache levels=1:2 keys_zone=objects:16m"
        f" max_size={CACHE_MIB}m inactive=1h use_temp_path=off;\n"
        # A hit needs no open(2), fstat(2) and close(2): 19 us become 14.
        "  open_file_cache max=10000 inactive=1h;\n  open_file_cache_valid 1h;\n"
        "  open_file_cache_min_uses 1;\n"
        f"  upstream origin {{ server 127.0.0.1:{place.node_ports[0]}; keepalive 64;"
        " keepalive_requests 1000000000; }\n"
        f"  server {{\n    listen 127.0.0.1:{place.port} backlog=4096;\n"
        "    location / {\n      proxy_pass http://origin;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n      proxy_set_header Host $http_host;\n'
        "      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        # One fetch per object, as edge and Varnish do it.
        "      proxy_cache objects;\n      proxy_cache_lock on;\n    }\n  }\n}\n"
    )
    return nginx_command(place.folder, text)


def varnish_cache(place: Place) -> list[str]:
    """Varnish with objects in memory and its built-in VCL."""
    place.folder.mkdir()
    vcl = place.folder / "default.vcl"
    vcl.write_text(
        "vcl 4.1;\nbackend origin {\n"
        f'  .host = "127.0.0.1";\n  .port = "{place.node_ports[0]}";\n}}\n'
    )
    settings = {
        # One pool: a second one has a second accepting thread and gains nothing on one core. Of
        # fixed size, so that no thread begins or ends (a thread's time is lost when it ends), and
        # larger than the number of connections, so that no request queues for one.
        "thread_pools": "1",
        "thread_pool_min": "200",
        "thread_pool_max": "200",
        # The log in shared memory is Varnish's access log; the others write none either.
        "vsl_mask": ",".join(f"-{tag}" for tag in varnish_log_tags()),
        # The idle time of a kept connection, as for the others.
        "timeout_idle": "3600",
        "listen_depth": "4096",
    }
    command = ["varnishd", "-F", "-j", "none", "-n", str(place.folder / "work"), "-T", "none"]
    command += ["-a", f"127.0.0.1:{place.port}", "-f", str(vcl), "-s", f"malloc,{CACHE_MIB}m"]
    for name, value in settings.items():
        command += ["-p", f"{name}={value}"]
    return command


def varnish_log_tags() -> list[str]:
    """What this version of Varnish can log; it has no word for all of it."""
    manual = subprocess.run(["varnishd", "-x", "vsl"], capture_output=True, text=True, check=True)
    return re.findall(r"^(\w+)\n-+$", manual.stdout, re.MULTILINE)


def edge_command(place: Place, tiers: str, workers: int = 1) -> list[str]:
    """`edge run` with the given tier lines in front of the nodes."""
    place.folder.mkdir()
    config = place.folder / "edge.yaml"
    nodes = "".join(
        f"  - {{name: node{number}, web: 127.0.0.1:{port}}}\n"
        for number, port in enumerate(place.node_ports, 1)
    )
    config.write_text(f"{tiers}nodes:\n{nodes}")
    return [sys.executable, "-m", "edge", "run", str(config), "--workers", str(workers)]


def edge_proxy(place: Place) -> list[str]:
    """edge with the haproxy tier alone."""
    timeouts = "timeouts: {http_keep_alive: 1h}"
    return edge_command(place, f"haproxy: {{listen: 127.0.0.1:{place.port}, {timeouts}}}\n")


# One counter per client, and a limit that nobody reaches.
TABLE = "type ip size 100k expire 30s store http_req_rate(10s)"
TRACKING = (
    "track-sc0 src table clients",
    "deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }",
)


def edge_tracked(place: Place) -> list[str]:
    """edge with the haproxy tier, which counts each client's requests."""
    table = 'clients: {type: ip, size: 100k, expire: 30s, store: "http_req_rate(10s)"}'
    rules = "".join(f"    - {rule}\n" for rule in TRACKING)
    return edge_command(
        place,
        f"haproxy:\n  listen: 127.0.0.1:{place.port}\n  timeouts: {{http_keep_alive: 1h}}\n"
        f"  stick_tables: {{{table}}}\n  http_request:\n{rules}",
    )


def haproxy_tracked(place: Place) -> list[str]:
    """HAProxy with the same counter."""
    command = haproxy_proxy(place)
    rules = "".join(f"  http-request {rule}\n" for rule in TRACKING)
    with (place.folder / "haproxy.cfg").open("a") as config:
        config.write(f"{rules}backend clients\n  stick-table {TABLE}\n")
    return command


def edge_chain(place: Place) -> list[str]:
    """edge with cdn, elb and haproxy fused."""
    timeouts = "timeouts: {http_keep_alive: 1h}"
    tiers = f"cdn: {{listen: 127.0.0.1:{place.port}, {timeouts}}}\nelb: {{}}\nhaproxy: {{}}\n"
    return edge_command(place, tiers)


def edge_cdn(place: Place, workers: int = 1) -> list[str]:
    """edge with the cdn tier alone, in front of the origin."""
    timeouts = "timeouts: {http_keep_alive: 1h}"
    cache = f"cache: {{size: {CACHE_MIB}MiB}}"
    tiers = f"cdn: {{listen: 127.0.0.1:{place.port}, {cache}, {timeouts}}}\n"
    return edge_command(place, tiers, workers)


def edge_cdn_pair(place: Place) -> list[str]:
    """The same with two workers, which share the cache."""
    return edge_cdn(place, workers=2)


SYSTEMS = {
    "edge": edge_proxy,
    "edge-chain": edge_chain,
    "edge-tracked": edge_tracked,
    "haproxy-tracked": haproxy_tracked,
    "haproxy": haproxy_proxy,
    "nginx": nginx_proxy,
    "edge-cdn": edge_cdn,
    "edge-cdn-2": edge_cdn_pair,
    "nginx-cache": nginx_cache,
    "nginx-sendfile": nginx_sendfile,
    "varnish": varnish_cache,
}
PROGRAM = {
    "haproxy": "haproxy",
    "haproxy-tracked": "haproxy",
    "nginx": "nginx",
    "nginx-cache": "nginx",
    "nginx-sendfile": "nginx",
    "varnish": "varnishd",
}
