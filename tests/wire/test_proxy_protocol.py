"""PROXY headers in and out: who the client is, across every kind of listener and server.

The other side is real where that is possible: HAProxy sends and receives, nginx receives.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ext.proxyline import build_header, parse_for_test
from tests.harness import Client, free_port
from tests.origin import answer
from tests.wire.chain import run_split
from tests.wire.raw import RawServer, read_exactly, read_header, read_to_end, read_until
from tests.wire.stand import Stand, run_stand, with_ports
from tests.wire.test_real_nginx import find_nginx

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  accept_proxy: true
  balance: source
  timeouts: {http_request: 500ms}
  health_check: {enabled: false}
tcp:
  - name: l4
    listen: 127.0.0.1:$l4
    servers: [{name: s1, address: 127.0.0.1:$raw}]
    accept_proxy: true
    send_proxy: v2
    timeouts: {client_hs: 500ms}
    health_check: {enabled: false}
  - name: some
    listen: 127.0.0.1:$some
    servers: [{name: s1, address: 127.0.0.1:$raw}]
    accept_proxy: true
    accept_proxy_from: [10.0.0.0/8, 127.0.0.8/30]
    health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
"""
SENDING = """
haproxy:
  listen: 127.0.0.1:$port
  send_proxy: $version
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$raw}
"""
CHECKING = """
haproxy:
  listen: 127.0.0.1:$port
  send_proxy: $version
  health_check: {path: /alive, interval: 100ms}
tcp:
  - name: l4
    listen: 127.0.0.1:$l4
    servers: [{name: s1, address: 127.0.0.1:$l4server}]
    send_proxy: $version
    health_check: {interval: 100ms}
nodes:
  - {name: node1, web: 127.0.0.1:$raw}
"""
CACHING = """
cdn:
  listen: 127.0.0.1:$port
  send_proxy: v2
nodes:
  - {name: node1, web: 127.0.0.1:$raw}
"""
CHAIN = """
elb:
  listen: 127.0.0.1:$port
  send_proxy: v2
  health_check: {enabled: false}
haproxy:
  accept_proxy: true
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1, haproxy: 127.0.0.1:$haproxy1}
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
THERE = ("198.51.100.2", 443)


def header(version: int, address: str = "192.0.2.7", port: int = 56324) -> bytes:
    return build_header(version, (address, port), THERE if "." in address else ("2001:db8::2", 443))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def proxy_errors(stand: Stand, tier: str) -> int:
    tiers: list[Any] = stand.edge.status()["tiers"]
    return int(next(t["counters"]["proxy_errors"] for t in tiers if t["name"] == tier))


# -- in: HTTP ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_the_source_of_the_header_is_the_client(stand: Stand, version: int, address: str) -> None:
    with stand.node() as one, stand.node(name="node2") as two, stand.client() as client:
        client.send(header(version, address) + GET + GET)  # of all its requests
        assert client.read_response().status == client.read_response().status == 200
        requests = one.requests + two.requests
        assert [each.values(b"x-forwarded-for") for each in requests] == 2 * [[address.encode()]]


@pytest.mark.parametrize("version", [1, 2])
def test_header_in_drips(stand: Stand, version: int) -> None:
    with stand.node() as one, stand.node(name="node2") as two, stand.client() as client:
        for byte in header(version) + GET:
            client.send(bytes([byte]))
        assert client.read_response().status == 200
        assert (one.requests + two.requests)[0].values(b"x-forwarded-for") == [b"192.0.2.7"]


def test_sources_are_balanced_by_the_header(stand: Stand) -> None:
    """All connections come from 127.0.0.1, which alone would be one server."""
    with stand.node() as one, stand.node(name="node2") as two:
        for number in range(1, 33):
            with stand.client() as client:
                client.send(header(2, f"192.0.2.{number}") + GET)
                assert client.read_response().status == 200
        assert one.requests
        assert two.requests


@pytest.mark.parametrize("said", [build_header(1), build_header(2)], ids=["UNKNOWN", "LOCAL"])
def test_a_header_of_nobody_keeps_the_peer(stand: Stand, said: bytes) -> None:
    with stand.node() as one, stand.node(name="node2") as two, stand.client() as client:
        client.send(said + GET)
        assert client.read_response().status == 200
        assert (one.requests + two.requests)[0].values(b"x-forwarded-for") == [b"127.0.0.1"]


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n" + GET,
        b"PROXY UNKNOWN" + 100 * b"x",
        header(2)[:12] + b"\x31" + header(2)[13:] + GET,
        header(2)[:14] + b"\xff\xff" + header(2)[16:],
    ],
    ids=["none", "bad line", "long line", "bad version", "long"],
)
@pytest.mark.parametrize("tier", ["haproxy", "l4"])
def test_no_good_header_no_connection(stand: Stand, data: bytes, tier: str) -> None:
    before = proxy_errors(stand, tier)
    with stand.client("port" if tier == "haproxy" else tier) as client:
        client.send(data)
        with suppress(ConnectionResetError):
            assert client.read_to_end() == b""
    assert proxy_errors(stand, tier) == before + 1


@pytest.mark.parametrize("tier", ["haproxy", "l4"])
def test_a_header_that_does_not_come_in_time(stand: Stand, tier: str) -> None:
    before = proxy_errors(stand, tier)
    with stand.client("port" if tier == "haproxy" else tier) as client:
        client.send(b"PROXY TCP4 1")
        assert client.read_to_end() == b""
    assert proxy_errors(stand, tier) == before + 1


def test_client_that_leaves_before_its_header(stand: Stand) -> None:
    for tier in ("port", "l4"):
        with stand.client(tier) as client:
            client.send(b"PROXY")
            client.half_close()
            assert client.read_to_end() == b""
        stand.client(tier).reset()


# -- in: TCP -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_l4_takes_a_header_and_passes_it_on(stand: Stand, version: int) -> None:
    with RawServer(stand.ports["raw"]) as server, stand.client("l4") as client:
        client.send(header(version) + b"hello")
        connection = server.accept()
        assert read_header(connection) == header(2)
        assert read_exactly(connection, 5) == b"hello"


def test_l4_without_a_known_client_says_its_peer(stand: Stand) -> None:
    with RawServer(stand.ports["raw"]) as server, stand.client("l4") as client:
        client.send(build_header(2))
        said = parse_for_test(read_header(server.accept()))
        assert said == (28, client.socket.getsockname(), client.socket.getpeername())


@pytest.mark.parametrize(
    ("source", "is_header_eaten"), [("127.0.0.9", True), ("127.0.0.12", False), ("", False)]
)
def test_only_some_peers_send_a_header(stand: Stand, source: str, is_header_eaten: bool) -> None:
    with RawServer(stand.ports["raw"]) as server, stand.client("some", source) as client:
        client.send(header(1) + b"hello")
        connection = server.accept()
        expected = b"hello" if is_header_eaten else header(1) + b"hello"
        assert read_exactly(connection, len(expected)) == expected


# -- out -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["v1", "v2"])
def sending(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    text = SENDING.replace("$version", request.param)
    with run_stand(text, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def ends_of(client: Client) -> tuple[int, Any, Any]:
    own, peer = client.socket.getsockname(), client.socket.getpeername()
    return 0, own, peer


def serve_one(server: RawServer) -> Any:
    """Accepts, reads a header and a request, answers; what the header says."""
    connection = server.accept()
    said = parse_for_test(read_header(connection))
    read_until(connection, b"\r\n\r\n")
    connection.sendall(answer(b"ok"))
    return said


def test_each_connection_begins_with_its_client(sending: Stand) -> None:
    """And no connection serves two clients, though these keep theirs."""
    with (
        RawServer(sending.ports["raw"]) as server,
        sending.client() as one,
        sending.client() as two,
    ):
        for client in (one, two, one, two):
            client.send(GET)
            said = serve_one(server)
            assert said[1:] == ends_of(client)[1:]
            assert client.read_response().body == b"ok"


def test_header_stands_before_a_body_too(sending: Stand) -> None:
    with RawServer(sending.ports["raw"]) as server, sending.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        client.send(b"hello")
        connection = server.accept()
        said: Any = parse_for_test(read_header(connection))
        assert said[1:] == ends_of(client)[1:]
        assert read_until(connection, b"\r\n\r\n").startswith(b"POST / ")
        assert read_exactly(connection, 5) == b"hello"
        connection.sendall(answer(b"ok"))
        assert client.read_response().body == b"ok"


def test_a_fetch_in_the_background_is_nobodys(tmp_path: Path) -> None:
    """It is for the cache: no client of the moment may be blamed for it."""
    stale = answer(b"ok", b"Cache-Control: max-age=1, stale-while-revalidate=60", b"Age: 5")
    with (
        run_stand(CACHING, tmp_path) as stand,
        RawServer(stand.ports["raw"]) as server,
        stand.client() as client,
    ):
        for expected in (ends_of(client)[1:], (None, None)):
            client.send(GET)
            connection = server.accept()
            said: Any = parse_for_test(read_header(connection))
            assert said[1:] == expected
            read_until(connection, b"\r\n\r\n")
            connection.sendall(stale)
            assert client.read_response().body == b"ok"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_checks_begin_with_a_header_as_haproxys_do(version: str, tmp_path: Path) -> None:
    """Version 1 with the check's own ends, version 2 LOCAL; measured on HAProxy 2.6."""
    with (
        with_ports(CHECKING.replace("$version", version)) as (config, ports),
        RawServer(ports["raw"]) as http,
        RawServer(ports["l4server"]) as raw,
        run_stand(config, tmp_path) as stand,
    ):
        for server in (http, raw):
            connection = server.accept()
            source, own = connection.getpeername(), connection.getsockname()
            expected = build_header(1, source, own) if version == "v1" else build_header(2)
            assert read_header(connection) == expected
            if server is http:
                assert read_until(connection, b"\r\n\r\n").startswith(b"GET /alive ")
            connection.close()
        stand.edge.stop()


def test_split_tiers_tell_each_other_the_client(tmp_path: Path) -> None:
    """elb and haproxy as processes of their own: `src` of the haproxy is the elb's client."""
    with (
        with_ports(CHAIN) as (config, ports),
        run_split(config, ports, tmp_path, tiers=("haproxy@node1", "elb")) as stand,
        stand.node() as node,
        stand.client(source="127.0.0.77") as client,
    ):
        client.send(GET)
        assert client.read_response().status == 200
        lines = node.requests[0].values(b"x-forwarded-for")
        assert lines == [b"127.0.0.77", b"127.0.0.77"]  # the elb's, and the haproxy's


# -- the real ones -------------------------------------------------------------------------------

HAPROXY = """
defaults
  mode {mode}
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen sender1
  bind 127.0.0.1:{v1}
  server edge 127.0.0.1:{to} send-proxy
listen sender2
  bind 127.0.0.1:{v2}
  server edge 127.0.0.1:{to} send-proxy-v2
listen sender2crc
  bind 127.0.0.1:{crc}
  server edge 127.0.0.1:{to} send-proxy-v2 proxy-v2-options crc32c,unique-id
frontend receiver
  mode http
  bind 127.0.0.1:{accept} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[dst]"
"""
NGINX = """
daemon off;
worker_processes 1;
pid %(home)s/nginx.pid;
error_log %(home)s/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path %(home)s/body;
    proxy_temp_path %(home)s/proxy;
    fastcgi_temp_path %(home)s/fastcgi;
    uwsgi_temp_path %(home)s/uwsgi;
    scgi_temp_path %(home)s/scgi;
    server {
        listen 127.0.0.1:%(port)d proxy_protocol;
        set $source "$proxy_protocol_addr:$proxy_protocol_port";
        location / { return 200 "$source $proxy_protocol_server_addr"; }
    }
}
"""


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A program, once it listens on that port."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        pause = threading.Event()
        while True:
            assert process.poll() is None, f"{command[0]} does not start"
            try:
                Client(port).close()
                break
            except ConnectionRefusedError:
                pause.wait(0.02)
        yield
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def real_haproxy(directory: Path, mode: str, to: int) -> Iterator[dict[str, int]]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    ports = {name: free_port() for name in ("v1", "v2", "crc", "accept")}
    file = directory / f"haproxy-{mode}.cfg"
    file.write_text(HAPROXY.format(mode=mode, to=to, **ports))
    with running([program, "-db", "-f", str(file)], ports["accept"]):
        yield ports


def test_haproxy_sends_and_edge_reads(stand: Stand, tmp_path: Path) -> None:
    with (
        real_haproxy(tmp_path, "tcp", stand.ports["port"]) as ports,
        stand.node() as one,
        stand.node(name="node2") as two,
    ):
        for number, name in enumerate(("v1", "v2", "crc")):
            with Client(ports[name], f"127.0.0.{50 + number}") as client:
                client.send(GET)
                assert client.read_response().status == 200
        sources = [each.values(b"x-forwarded-for")[0] for each in one.requests + two.requests]
        assert sorted(sources) == [b"127.0.0.50", b"127.0.0.51", b"127.0.0.52"]


def test_haproxy_sends_and_l4_passes_it_on(stand: Stand, tmp_path: Path) -> None:
    with (
        real_haproxy(tmp_path, "tcp", stand.ports["l4"]) as ports,
        RawServer(stand.ports["raw"]) as server,
    ):
        for name in ("v1", "v2", "crc"):
            with Client(ports[name], "127.0.0.60") as client:
                client.send(b"hello")
                connection = server.accept()
                said = parse_for_test(read_header(connection))
                assert said == (28, client.socket.getsockname(), client.socket.getpeername())
                assert read_exactly(connection, 5) == b"hello"


def receivers() -> list[Callable[[Path, int], Any]]:
    return [haproxy_receives, nginx_receives]


@contextmanager
def haproxy_receives(directory: Path, port: int) -> Iterator[None]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    file = directory / "receiver.cfg"
    spare = {name: free_port() for name in ("v1", "v2", "crc")}
    file.write_text(HAPROXY.format(mode="tcp", to=1, accept=port, **spare))
    with running([program, "-db", "-f", str(file)], port):
        yield


@contextmanager
def nginx_receives(directory: Path, port: int) -> Iterator[None]:
    file = directory / "nginx.conf"
    file.write_text(NGINX % {"home": directory, "port": port})
    log = str(directory / "error.log")
    with running([find_nginx(), "-p", str(directory), "-c", str(file), "-e", log], port):
        yield


@pytest.mark.parametrize("receives", receivers(), ids=lambda value: value.__name__)
def test_edge_sends_and_the_real_ones_read(
    sending: Stand, receives: Callable[[Path, int], Any], tmp_path: Path
) -> None:
    with receives(tmp_path, sending.ports["raw"]):
        for number in range(3):
            with sending.client(source=f"127.0.0.{70 + number}") as client:
                for _ in range(2):
                    reply = client.get()
                    address, port = client.socket.getsockname()
                    assert reply.status == 200
                    assert reply.body == f"{address}:{port} 127.0.0.1".encode()


def test_no_answer_to_garbage(stand: Stand) -> None:
    """Not even a 400: who does not speak the protocol learns nothing."""
    with stand.client() as client:
        client.send(b"GARBAGE\r\n\r\n")
        client.socket.settimeout(5)
        with suppress(ConnectionResetError):
            assert read_to_end(client.socket) == b""


def test_ipv6_listener(tmp_path: Path) -> None:
    """A real IPv6 peer, in version 1."""
    text = SENDING.replace("$version", "v1").replace("127.0.0.1:$port", "'[::1]:$port'")
    with (
        run_stand(text, tmp_path) as stand,
        RawServer(stand.ports["raw"]) as server,
        socket.create_connection(("::1", stand.ports["port"]), 10) as client,
    ):
        client.sendall(GET)
        said = serve_one(server)
        assert said[1:] == (client.getsockname()[:2], client.getpeername()[:2])
