"""Three real nginx as nodes: static pages, ranges, gzip, HEAD, 304, and one of them killed.

nginx of Debian, started here on free ports, without a master process, so that SIGKILL to one
process is the whole of it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import Client
from tests.loop_thread import bind_loopback
from tests.wire.load import run_load
from tests.wire.stand import Stand, run_stand

pytestmark = [pytest.mark.wire, pytest.mark.external]

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {path: /index.html, interval: 100ms, rise: 1, fall: 2}
nodes:
  - {name: one, web: 127.0.0.1:%d}
  - {name: two, web: 127.0.0.1:%d}
  - {name: three, web: 127.0.0.1:%d}
"""
NGINX = """
daemon off;
master_process off;
pid %(home)s/nginx.pid;
error_log %(home)s/error.log;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %(home)s/body;
    proxy_temp_path %(home)s/proxy;
    fastcgi_temp_path %(home)s/fastcgi;
    uwsgi_temp_path %(home)s/uwsgi;
    scgi_temp_path %(home)s/scgi;
    default_type text/html;
    gzip on;
    gzip_min_length 100;
    gzip_http_version 1.0;
    add_header X-Node %(name)s;
    server {
        listen 127.0.0.1:%(port)d;
        root %(pages)s;
        location / { }
        location ~ ^/[0-9]+$ { return 200 $request_uri; }
        location /upload { client_max_body_size 1k; proxy_pass http://127.0.0.1:%(port)d/empty; }
        location /empty { return 204; }
        location /moved { return 301 /index.html; }
    }
}
"""
PAGE = b"<html>" + b"A page of the shop. " * 500 + b"</html>"
BLOB = bytes(range(256)) * 4096


class Nginx:
    """One nginx process; ready when it answers."""

    def __init__(self, binary: str, home: Path, pages: Path, name: str) -> None:
        self._bound = bind_loopback()  # holds the port
        self.port = self._bound.getsockname()[1]
        home.mkdir()
        values = {"home": home, "port": self.port, "pages": pages, "name": name}
        path = home / "nginx.conf"
        path.write_text(NGINX % values)
        command = [binary, "-p", str(home), "-c", str(path), "-e", str(home / "error.log")]
        self.process = subprocess.Popen(command)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Returns when connecting succeeds; nginx listens before it serves."""
        while self.process.poll() is None:
            try:
                Client(self.port).close()
                return
            except ConnectionRefusedError:
                threading.Event().wait(0.01)
        raise AssertionError("nginx did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)
        self._bound.close()


def find_nginx() -> str:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    return found


@contextmanager
def farm(directory: Path) -> Iterator[list[Nginx]]:
    """Three nginx on one set of pages."""
    binary = find_nginx()
    pages = directory / "pages"
    pages.mkdir()
    (pages / "index.html").write_bytes(PAGE)
    (pages / "blob.bin").write_bytes(BLOB)
    nodes: list[Nginx] = []
    try:
        for name in ("one", "two", "three"):
            nodes.append(Nginx(binary, directory / name, pages, name))
        yield nodes
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with farm(tmp_path_factory.mktemp("nginx")) as nodes:
        text = CONFIG % tuple(node.port for node in nodes)
        with run_stand(text, tmp_path_factory.mktemp("edge")) as stand:
            yield stand


# -- pages --------------------------------------------------------------------------------------


def test_page_from_each_node(stand: Stand) -> None:
    with stand.client() as client:
        responses = [client.get("/index.html") for _ in range(6)]
    assert {response.values(b"x-node")[0] for response in responses} == {b"one", b"two", b"three"}
    assert all(response.body == PAGE for response in responses)


def test_large_file(stand: Stand) -> None:
    with stand.client() as client:
        assert client.get("/blob.bin").body == BLOB


def test_gzip_is_chunked_and_unpacks(stand: Stand) -> None:
    with stand.client() as client:
        response = client.get("/index.html", b"Accept-Encoding: gzip")
        assert response.values(b"content-encoding") == [b"gzip"]
        assert response.head.chunked
        assert gzip.decompress(response.body) == PAGE


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [(b"bytes=0-99", 0, 99), (b"bytes=1000-", 1000, len(BLOB) - 1), (b"bytes=-5", -5, -1)],
)
def test_rfc9110_14_ranges(stand: Stand, field: bytes, first: int, last: int) -> None:
    with stand.client() as client:
        response = client.get("/blob.bin", b"Range: " + field)
        assert response.status == 206
        assert response.body == BLOB[first : None if last == -1 else last + 1]


def test_several_ranges(stand: Stand) -> None:
    with stand.client() as client:
        response = client.get("/blob.bin", b"Range: bytes=0-0,10-19")
        assert response.status == 206
        assert response.values(b"content-type")[0].startswith(b"multipart/byteranges")
        assert BLOB[10:20] in response.body


def test_range_out_of_bounds(stand: Stand) -> None:
    with stand.client() as client:
        assert client.get("/blob.bin", b"Range: bytes=99999999-").status == 416


def test_head(stand: Stand) -> None:
    with stand.client() as client:
        for _ in range(3):
            client.send(b"HEAD /blob.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            response = client.read_response(b"HEAD")
            assert response.values(b"content-length") == [b"%d" % len(BLOB)]
        assert client.get("/index.html").body == PAGE


def test_not_modified(stand: Stand) -> None:
    with stand.client() as client:
        first = client.get("/index.html")
        for name, value in ((b"If-None-Match", b"etag"), (b"If-Modified-Since", b"last-modified")):
            response = client.get("/index.html", name + b": " + first.values(value)[0])
            assert (response.status, response.body) == (304, b"")
        assert client.get("/index.html").body == PAGE


@pytest.mark.parametrize(
    ("target", "status"), [("/moved", 301), ("/nowhere", 404), ("/empty", 204), ("/", 200)]
)
def test_statuses(stand: Stand, target: str, status: int) -> None:
    with stand.client() as client:
        for _ in range(3):
            assert client.get(target).status == status


def test_post_to_a_file_is_405(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert client.read_response().status == 405
        assert client.get("/index.html").status == 200


def test_upload_that_nginx_refuses(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
        response = client.read_response()
        assert response.status == 413
        assert client.read_to_end() == b""


def test_http10_client(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"GET /index.html HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        response = client.read_response()
        assert gzip.decompress(response.body) == PAGE
        assert not response.head.chunked


# -- one of three dies --------------------------------------------------------------------------


def test_killing_one_node_fails_no_get(tmp_path: Path) -> None:
    with (
        farm(tmp_path) as nodes,
        run_stand(CONFIG % tuple(node.port for node in nodes), tmp_path) as stand,
        run_load(stand.ports["port"]) as load,
    ):
        load.wait_done(200)
        nodes[0].kill()
        load.wait_done(200)
        stand.edge.wait_status(
            lambda status: any(
                server["name"] == "one" and server["status"] == "DOWN"
                for server in status["tiers"][0]["servers"]
            )
        )
        load.wait_done(200)
