"""Purging a running edge: PURGE on the site, Fastly's API on the admin address, `edge purge`.

Two workers share the cache; requests go over several connections, so that both of them see every
purge. Each test has paths and keys of its own.
"""

from __future__ import annotations

import hmac
import http.client
import json
import re
import time
from collections.abc import Iterator

import pytest

from edge.cli import main
from tests.harness import Client, Response
from tests.origin import Origin, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

SERVICE, TOKEN = "SU1Z0isxPaozGVKXdv0eY", "edge-test-token"
CONFIG = f"""
cdn:
  listen: 127.0.0.1:$port
  cache: {{size: 64MiB}}
  service: {{id: {SERVICE}, tokens: [{TOKEN}]}}
nodes:
  - {{name: node1, web: 127.0.0.1:$node1}}
workers: 2
"""
HOST = "shop.example"
KEY = b"Fastly-Key: " + TOKEN.encode()
SOFT = b"Fastly-Soft-Purge: 1"
FRESH = b"Cache-Control: max-age=3600"
STALE = b"Cache-Control: max-age=3600, stale-while-revalidate=3600"
UNAUTHORISED = b'{"msg":"Provided credentials are missing or invalid"}'
PURGED = re.compile(rb'\{ "status": "ok", "id": "\d+-\d+-\d+" \}')
CLIENTS = 6  # connections: enough for the kernel to give some to each of two workers
WAIT_S_MAX = 10.0


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge"), workers=2) as stand:
        yield stand


def purge(client: Client, target: str, *fields: bytes, host: str = HOST) -> Response:
    start = f"PURGE {target} HTTP/1.1\r\nHost: {host}".encode()
    client.send(b"\r\n".join((start, *fields, b"", b"")))
    return client.read_response(b"PURGE")


def ask_api(
    stand: Stand, path: str, body: bytes = b"", method: str = "POST", **fields: str
) -> tuple[int, bytes]:
    """One request to the admin address, with the service's token unless told otherwise."""
    headers = {"Fastly-Key": TOKEN} | {name.replace("_", "-"): v for name, v in fields.items()}
    connection = http.client.HTTPConnection("127.0.0.1", stand.ports["admin"], timeout=WAIT_S_MAX)
    try:
        connection.request(method, path, body or None, headers)
        answered = connection.getresponse()
        return answered.status, answered.read()
    finally:
        connection.close()


def token(path: str, expires_in_s: int = 30, service: str = SERVICE) -> bytes:
    expiry = str(int(time.time()) + expires_in_s)
    signature = hmac.new(service.encode(), (path + expiry).encode(), "sha1").hexdigest()
    return f"X-Purge-Token: {expiry}_{signature}".encode()


def everywhere(stand: Stand, target: str, *fields: bytes) -> list[tuple[bytes, bytes]]:
    """What one GET on each of several new connections gets: (X-Cache, body)."""
    seen = []
    for _ in range(CLIENTS):
        with stand.client() as client:
            response = client.get(target, *fields)
            seen.append((response.values(b"x-cache")[0], response.body))
    return seen


def numbered(*fields: bytes) -> list[list[bytes]]:
    """Answers that tell which fetch they are of."""
    return [[answer(b"n=%d" % n, *fields)] for n in range(1, 9)]


def hits(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"HIT", body)] * CLIENTS


def miss_then_hits(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"MISS", body), *hits(body)[1:]]


# -- PURGE on the site -----------------------------------------------------------------------------


def test_a_url_is_fetched_again_by_every_worker(stand: Stand) -> None:
    with stand.node(*numbered(FRESH)) as node, stand.client() as client:
        assert everywhere(stand, "/url") == miss_then_hits(b"n=1")
        response = purge(client, "/url", KEY)
        assert response.status == 200
        assert PURGED.fullmatch(response.body)
        assert response.values(b"content-type") == [b"application/json"]
        assert everywhere(stand, "/url") == miss_then_hits(b"n=2")
        assert client.get("/url").body == b"n=2"  # the connection goes on
    assert len(node.requests) == 2
    assert {request.head.method for request in node.requests} == {b"GET"}


def test_all_variants_go_and_other_urls_stay(stand: Stand) -> None:
    script = numbered(FRESH, b"Vary: Accept-Language")
    with stand.node(*script), stand.client() as client:
        for language in (b"de", b"fr"):
            client.get("/variants", b"Accept-Language: " + language)
        client.get("/variants?p=2")
        client.get("/variants", host="other.example")
        assert purge(client, "/variants", KEY).status == 200
        bodies = [
            client.get("/variants", b"Accept-Language: de").body,
            client.get("/variants", b"Accept-Language: fr").body,
            client.get("/variants?p=2").body,
            client.get("/variants", host="other.example").body,
        ]
    assert bodies == [b"n=5", b"n=6", b"n=3", b"n=4"]


def test_what_is_not_there_is_purged_too(stand: Stand) -> None:
    with stand.client() as client:
        first = purge(client, "/never-seen", KEY)
        second = purge(client, "/never-seen", KEY)
    assert (first.status, second.status) == (200, 200)
    assert first.body != second.body  # another id


def test_soft_purge_shows_the_old_page_once(stand: Stand) -> None:
    with stand.node(*numbered(STALE)) as node, stand.client() as client:
        client.get("/soft")
        assert purge(client, "/soft", KEY, SOFT).status == 200
        response = client.get("/soft")
        assert (response.values(b"x-cache"), response.body) == ([b"HIT"], b"n=1")
        node.wait_requests(2)
        wait_for_body(client, "/soft", b"n=2")
    assert len(node.requests) == 2  # one fetch in the background


def test_soft_purge_without_a_stale_lifetime_asks_the_origin(stand: Stand) -> None:
    unchanged = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=3600\r\n\r\n'
    first = answer(b"n=1", FRESH, b'ETag: "a"')
    with stand.node([first], [unchanged]) as node, stand.client() as client:
        client.get("/soft-etag")
        purge(client, "/soft-etag", KEY, SOFT)
        assert client.get("/soft-etag").body == b"n=1"
        assert client.get("/soft-etag").body == b"n=1"
    assert [request.values(b"if-none-match") for request in node.requests] == [[], [b'"a"']]


def test_a_signed_token_is_enough(stand: Stand) -> None:
    path = "/women/tops-women.html"
    with stand.node(*numbered(FRESH)), stand.client() as client:
        client.get(path)
        assert purge(client, path, token(path)).status == 200
        assert client.get(path).body == b"n=2"
        client.get(path + "?p=2")
        assert purge(client, path + "?p=2", token(path)).status == 200
        assert client.get(path + "?p=2").body == b"n=4"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 401),
        ([b"Fastly-Key: wrong"], 401),
        ([b"X-Purge-Token: none"], 401),
        ([token("/refused", -10)], 410),
        ([token("/another")], 403),
        ([token("/refused", service="another")], 403),
        ([token("/refused") + b"0", KEY], 403),
    ],
)
def test_without_the_right_to_it_nothing_is_purged(
    stand: Stand, fields: list[bytes], status: int
) -> None:
    with stand.node(*numbered(FRESH)), stand.client() as client:
        body = client.get("/refused").body
        response = purge(client, "/refused", *fields)
        assert response.status == status
        assert (response.body == UNAUTHORISED) == (status == 401)
        assert everywhere(stand, "/refused") == hits(body)
        purge(client, "/refused", KEY)


def test_an_answer_that_is_under_way_is_not_kept(stand: Stand) -> None:
    """Its fetch began before the purge, so it may be what was to be purged."""
    with stand.node() as node, stand.client() as one, stand.client() as two:
        gate = node.gate()
        node.then(gate, answer(b"old", FRESH))
        node.then(answer(b"new", FRESH))
        one.send(f"GET /under-way HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        node.wait_requests(1)
        assert purge(two, "/under-way", KEY).status == 200
        assert two.get("/under-way").body == b"new"  # it did not join the old fetch
        gate.open()
        assert one.read_response().body == b"old"
        assert everywhere(stand, "/under-way") == hits(b"new")


# -- the API ---------------------------------------------------------------------------------------


def test_keys(stand: Stand) -> None:
    with stand.node(
        [answer(b"a1", FRESH, b"Surrogate-Key: p101 c20 text")],
        [answer(b"b1", FRESH, b"Surrogate-Key: p102 c20 text")],
        [answer(b"c1", FRESH, b"Surrogate-Key: p1011")],
        [answer(b"a2", FRESH, b"Surrogate-Key: p101")],
        [answer(b"b2", FRESH, b"Surrogate-Key: p102")],
        [answer(b"c2", FRESH)],
    ) as node:
        for path in "abc":
            everywhere(stand, f"/keys/{path}")
        path = f"/service/{SERVICE}/purge"
        status, body = ask_api(stand, path, b'{"surrogate_keys":["p101","unknown"]}')
        assert (status, list(json.loads(body))) == (200, ["p101", "unknown"])
        assert everywhere(stand, "/keys/a") == miss_then_hits(b"a2")
        assert everywhere(stand, "/keys/b") == hits(b"b1")
        assert everywhere(stand, "/keys/c") == hits(b"c1")
        assert ask_api(stand, path, Surrogate_Key="c20 c21")[0] == 200
        assert everywhere(stand, "/keys/a") == hits(b"a2")
        assert everywhere(stand, "/keys/b") == miss_then_hits(b"b2")
        status, body = ask_api(stand, f"{path}/p1011", Fastly_Soft_Purge="1")
        assert (status, bool(PURGED.fullmatch(body))) == (200, True)
        assert everywhere(stand, "/keys/c") == miss_then_hits(b"c2")
    assert len(node.requests) == 6


def test_a_key_purge_reaches_what_is_under_way(stand: Stand) -> None:
    keyed = b"Surrogate-Key: under-way"
    with stand.node() as node, stand.client() as one, stand.client() as two:
        gate = node.gate()
        node.then(gate, answer(b"old", FRESH, keyed))
        node.then(answer(b"new", FRESH, keyed))
        one.send(f"GET /key-under-way HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        node.wait_requests(1)
        ask_api(stand, f"/service/{SERVICE}/purge/under-way")
        gate.open()
        assert one.read_response().body == b"old"
        assert two.get("/key-under-way").body == b"new"


def test_too_many_keys_purge_nothing(stand: Stand) -> None:
    with stand.node(*numbered(FRESH, b"Surrogate-Key: k0")), stand.client() as client:
        client.get("/many")
        keys = {"surrogate_keys": [f"k{n}" for n in range(257)]}
        status, body = ask_api(stand, f"/service/{SERVICE}/purge", json.dumps(keys).encode())
        assert status == 400
        assert body == (
            b'{"status":"fail","reason":"Batch surrogate key request only supports up to 256'
            b' surrogate keys"}'
        )
        assert client.get("/many").body == b"n=1"


def test_all_is_hard(stand: Stand) -> None:
    with stand.node(*numbered(STALE)):
        everywhere(stand, "/all")
        path = f"/service/{SERVICE}/purge_all"
        assert ask_api(stand, path, Fastly_Soft_Purge="1") == (200, b'{"status":"ok"}')
        assert everywhere(stand, "/all") == miss_then_hits(b"n=2")


def test_a_url_by_the_api(stand: Stand) -> None:
    with stand.node(*numbered(FRESH)), stand.client() as client:
        client.get("/by-api?a=1&b=%20")
        for n, scheme in enumerate(("", "https://"), 2):
            status, body = ask_api(stand, f"/purge/{scheme}{HOST}/by-api?a=1&b=%20")
            assert (status, bool(PURGED.fullmatch(body))) == (200, True)
            assert client.get("/by-api?a=1&b=%20").body == b"n=%d" % n


def test_without_a_key_the_api_purges_nothing(stand: Stand) -> None:
    with stand.node(*numbered(FRESH, b"Surrogate-Key: guarded")):
        everywhere(stand, "/guarded")
        for path in (
            f"/service/{SERVICE}/purge_all",
            f"/service/{SERVICE}/purge/guarded",
            f"/purge/{HOST}/guarded",
        ):
            assert ask_api(stand, path, Fastly_Key="wrong") == (401, UNAUTHORISED)
        assert ask_api(stand, "/service/another/purge_all")[0] == 404
        assert everywhere(stand, "/guarded") == hits(b"n=1")


def test_purges_are_counted_and_memory_comes_back(stand: Stand) -> None:
    big = answer(b"x" * 1_000_000, FRESH)
    with stand.node(*[[big]] * 8), stand.client() as client:
        ask_api(stand, f"/service/{SERVICE}/purge_all")
        for n in range(8):
            client.get(f"/memory/{n}")
        before = stand.edge.status()["cache"]
        assert before["used_bytes"] > 8_000_000
        ask_api(stand, f"/service/{SERVICE}/purge_all")
        purge(client, "/memory/0", KEY)
        after = stand.edge.wait_status(lambda status: status["cache"]["used_bytes"] < 2_000_000)
        counts = after["cache"]["purges"]
    assert after["cache"]["objects"] < before["objects"]
    assert counts["all"] == before["purges"]["all"] + 1
    assert counts["url"] == before["purges"]["url"] + 1
    assert f'edge_cache_purges_total{{kind="all"}} {counts["all"]:.1f}' in stand.edge.metrics()


# -- edge purge ------------------------------------------------------------------------------------


def test_the_command_with_the_running_file(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(stand.edge.config_path)
    with stand.node(*numbered(FRESH, b"Surrogate-Key: by-command")), stand.client() as client:
        for n, words in enumerate(([f"http://{HOST}/command"], ["--key=by-command"], ["--all"]), 1):
            assert client.get("/command").body == b"n=%d" % n
            assert main(["purge", file, *words]) == 0
        assert client.get("/command").body == b"n=4"
    assert len(capsys.readouterr().out.splitlines()) == 3


def wait_for_body(client: Client, target: str, body: bytes) -> None:
    """Asks again until a fetch in the background has brought it."""
    stop_at = time.monotonic() + WAIT_S_MAX
    while client.get(target).body != body:
        assert time.monotonic() < stop_at, f"{target} never became {body!r}"


def test_origin_sees_no_purge(stand: Stand) -> None:
    with Origin(port=stand.ports["node1"]) as node, stand.client() as client:
        purge(client, "/origin", KEY)
        purge(client, "/origin")
        client.get("/origin-end")
    assert [request.head.target for request in node.requests] == [b"/origin-end"]
