"""The caches that the suite is asked about: edge under both policies, and its peers.

Each is a function from the origin's port and a folder to a context manager that gives the port of
the running cache. The peers are there to see that this harness finds what the suite's authors have
published about them; their settings are those of the suite's docker/ folder.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tests.cachesuite.suite import START_TIMEOUT_S, Suite, SuiteError, Verdict, program
from tests.harness import Client, free_port
from tests.wire.stand import run_stand

Start = Callable[[int, Path], AbstractContextManager[int]]

# A default lifetime would make nearly every test see an answer that it did not make fresh.
EDGE = """
cdn:
  listen: 127.0.0.1:$port
  policy: %(policy)s
  default_ttl: 0s
nodes:
  - {name: origin, web: 127.0.0.1:%(origin)d}
"""
EDGE_WORKERS = 2  # with one cache: each request may meet the other worker than the one before
NGINX = """
%(user)s
daemon off;
pid %(home)s/nginx.pid;
error_log %(home)s/error.log;
events { worker_connections 2048; }
http {
    access_log off;
    client_body_temp_path %(home)s/body;
    proxy_temp_path %(home)s/proxy;
    fastcgi_temp_path %(home)s/fastcgi;
    uwsgi_temp_path %(home)s/uwsgi;
    scgi_temp_path %(home)s/scgi;
    proxy_cache_path %(home)s/cache levels=1:2 keys_zone=suite:8m max_size=1000m inactive=600m;
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://127.0.0.1:%(origin)d;
            proxy_cache suite;
            proxy_cache_revalidate on;
        }
    }
}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
cache suite
    total-max-size 4
    max-object-size 10000
    max-age 240
    process-vary on
    max-secondary-entries 12
listen proxy
    bind 127.0.0.1:%(port)d
    filter cache suite
    http-request cache-use suite
    http-response cache-store suite
    server origin 127.0.0.1:%(origin)d
"""


@contextmanager
def edge(policy: str, origin: int, folder: Path) -> Iterator[int]:
    """edge with one of its policies."""
    config = EDGE % {"policy": policy, "origin": origin}
    with run_stand(config, folder, workers=EDGE_WORKERS) as stand:
        yield stand.ports["port"]


@contextmanager
def nginx(origin: int, folder: Path) -> Iterator[int]:
    """nginx with proxy_cache."""
    config, port = folder / "nginx.conf", free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX % {"home": folder, "port": port, "origin": origin, "user": user})
    command = [program("nginx"), "-p", str(folder), "-c", str(config)]
    with running([*command, "-e", str(folder / "error.log")], port, folder):
        yield port


@contextmanager
def varnish(origin: int, folder: Path) -> Iterator[int]:
    """Varnish with its built-in VCL."""
    port = free_port()
    command = [program("varnishd"), "-F", "-n", str(folder / "varnish"), "-j", "none"]
    command += ["-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{origin}", "-s", "malloc,64M"]
    for setting in ("default_ttl=0", "default_grace=0", "default_keep=3600"):
        command += ["-p", setting]
    with running(command, port, folder):
        yield port


@contextmanager
def haproxy(origin: int, folder: Path) -> Iterator[int]:
    """HAProxy with its small cache."""
    config, port = folder / "haproxy.cfg", free_port()
    config.write_text(HAPROXY % {"port": port, "origin": origin})
    with running([program("haproxy"), "-db", "-q", "-f", str(config)], port, folder):
        yield port


@contextmanager
def no_cache(origin: int, folder: Path) -> Iterator[int]:
    """The origin itself: what passes here says nothing about a cache."""
    yield origin


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A program, from when it accepts on its port; ended with SIGTERM."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        wait_accepting(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def wait_accepting(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when connecting to the port succeeds; SuiteError when the program has ended."""
    pause = threading.Event()
    for _ in range(int(START_TIMEOUT_S / 0.02)):
        if process.poll() is not None:
            break
        try:
            Client(port).close()
            return
        except ConnectionRefusedError:
            pause.wait(0.02)
    raise SuiteError(f"{process.args!r} does not accept on {port}:\n{log.read_text()}")


SYSTEMS: dict[str, Start] = {
    "rfc9111": partial(edge, "rfc9111"),
    "fastly": partial(edge, "fastly"),
    "nginx": nginx,
    "varnish": varnish,
    "haproxy": haproxy,
    "none": no_cache,
}


def ask(suite: Suite, name: str, folder: Path) -> list[Verdict]:
    """Starts an origin and the cache, and asks every test."""
    with suite.origin() as origin, SYSTEMS[name](origin.port, folder) as port:
        return suite.ask(f"http://127.0.0.1:{port}")
