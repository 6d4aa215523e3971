"""Fastly's purges on the admin address, byte by byte on a real socket."""

import asyncio
import json
import socket
from collections.abc import Callable

import pytest

from edge.control.admin import serve_admin
from edge.control.fastly import BODY_BYTES_MAX, PurgeApi
from edge.purging import Access, PurgeIds
from ext.http1 import ResponseHead, parse_response
from tests.control.conftest import CHAIN, World
from tests.purging.standin import KEY, SERVICE, TOKEN, StoreBook, target

pytestmark = pytest.mark.wire

BuildWorld = Callable[..., World]
Ask = Callable[..., tuple[ResponseHead, bytes]]

AUTH = b": ".join(KEY) + b"\r\n"
UNAUTHORISED = b'{"msg":"Provided credentials are missing or invalid"}'
TOO_MANY = (
    b'{"status":"fail","reason":"Batch surrogate key request only supports up to 256 surrogate'
    b' keys"}'
)
WAIT_S_MAX = 20.0


@pytest.fixture
def store() -> StoreBook:
    return StoreBook()


@pytest.fixture
def ask(world: BuildWorld, store: StoreBook) -> Ask:
    """Sends one request as raw bytes; the answer's head and body."""

    def send(line: str, fields: bytes = AUTH, body: bytes = b"", *, length: bool = True,
             access: Access | None = None) -> tuple[ResponseHead, bytes]:  # fmt: skip
        if body and length:
            fields += b"Content-Length: %d\r\n" % len(body)
        request = line.encode() + b" HTTP/1.1\r\nHost: api.fastly.com\r\nConnection: close\r\n"
        request += fields + b"\r\n" + body
        api = PurgeApi(target(store), access or Access(SERVICE, [TOKEN]), PurgeIds(3, 1_700))
        answer = asyncio.run(exchange(world(CHAIN), api, request))
        head = parse_response(answer)
        assert head is not None
        return head, answer[head.size :]

    return send


async def exchange(world: World, api: PurgeApi, request: bytes) -> bytes:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    runner = await serve_admin(world.view, listener, api)
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer
    finally:
        await runner.cleanup()


def field(head: ResponseHead, name: bytes) -> bytes | None:
    return {key.lower(): value for key, value in head.headers}.get(name)


def test_a_batch_as_the_magento_module_sends_it(ask: Ask, store: StoreBook) -> None:
    """JSON without Content-Type."""
    body = b'{"surrogate_keys":["p101","c20"]}'
    head, answer = ask(f"POST /service/{SERVICE}/purge", AUTH + b"Fastly-Soft-Purge: 1\r\n", body)
    assert head.status == 200
    assert answer == b'{ "p101": "3-1700-1", "c20": "3-1700-2" }'
    assert field(head, b"content-type") == b"application/json"
    assert field(head, b"fastly-surrogate-key-count") == b"2"
    assert store.calls == [("keys", [b"p101", b"c20"], True)]


def test_a_batch_as_fastlys_clients_send_it(ask: Ask, store: StoreBook) -> None:
    """Keys in a header, no body and no Content-Length."""
    head, answer = ask(f"POST /service/{SERVICE}/purge", AUTH + b"Surrogate-Key: foo bar\r\n")
    assert (head.status, json.loads(answer)) == (200, {"foo": "3-1700-1", "bar": "3-1700-2"})
    assert store.calls == [("keys", [b"foo", b"bar"], False)]


def test_a_batch_in_chunks(ask: Ask, store: StoreBook) -> None:
    chunked = AUTH + b"Transfer-Encoding: chunked\r\n"
    body = b'6\r\n{"surr\r\n14\r\nogate_keys": ["p1"]}\r\n0\r\n\r\n'
    head, _ = ask(f"POST /service/{SERVICE}/purge", chunked, body, length=False)
    assert (head.status, store.calls) == (200, [("keys", [b"p1"], False)])


def test_256_keys_are_purged_and_257_are_not(ask: Ask, store: StoreBook) -> None:
    keys = [f"k{n:03}" + "x" * 1020 for n in range(257)]
    head, answer = ask(
        f"POST /service/{SERVICE}/purge",
        body=json.dumps({"surrogate_keys": keys[:256]}).encode(),
    )
    assert (head.status, len(json.loads(answer))) == (200, 256)
    assert len(store.calls[0][1]) == 256
    store.calls.clear()
    head, answer = ask(
        f"POST /service/{SERVICE}/purge", body=json.dumps({"surrogate_keys": keys}).encode()
    )
    assert (head.status, answer) == (400, TOO_MANY)
    assert field(head, b"content-type") == b"application/json"
    assert store.calls == []


@pytest.mark.parametrize("body", [b"", b"{}", b"p101", b'{"surrogate_keys": []}'])
def test_a_batch_without_keys_is_400(ask: Ask, store: StoreBook, body: bytes) -> None:
    head, answer = ask(f"POST /service/{SERVICE}/purge", body=body)
    assert head.status == 400
    assert json.loads(answer)["status"] == "fail"
    assert store.calls == []


def test_a_body_has_a_bound(ask: Ask, store: StoreBook) -> None:
    head, answer = ask(f"POST /service/{SERVICE}/purge", body=b" " * (BODY_BYTES_MAX + 1))
    assert head.status == 413
    assert str(BODY_BYTES_MAX) in json.loads(answer)["reason"]
    assert store.calls == []


def test_one_key(ask: Ask, store: StoreBook) -> None:
    head, answer = ask(f"POST /service/{SERVICE}/purge/p101")
    assert (head.status, answer) == (200, b'{ "status": "ok", "id": "3-1700-1" }')
    assert field(head, b"fastly-surrogate-key-count") == b"1"
    assert store.calls == [("keys", [b"p101"], False)]


def test_one_key_with_a_slash_and_soft(ask: Ask, store: StoreBook) -> None:
    ask(f"POST /service/{SERVICE}/purge/a/b%2Fc", AUTH + b"fastly-soft-purge: 1\r\n")
    assert store.calls == [("keys", [b"a/b%2Fc", b"a/b/c"], True)]


def test_all_is_hard_whatever_is_asked(ask: Ask, store: StoreBook) -> None:
    head, answer = ask(f"POST /service/{SERVICE}/purge_all", AUTH + b"Fastly-Soft-Purge: 1\r\n")
    assert (head.status, answer) == (200, b'{"status":"ok"}')
    assert field(head, b"cache-control") == b"no-store"
    assert store.calls == [("all",)]


@pytest.mark.parametrize(
    "line",
    [
        "POST /purge/shop.test/a/b?c=d",
        "POST /purge/https://shop.test/a/b?c=d",
        "POST /purge/https%3A%2F%2Fshop.test%2Fa%2Fb%3Fc%3Dd",
        "PURGE /https://shop.test/a/b?c=d",
        "PURGE /shop.test/a/b?c=d",
        "PURGE http://shop.test/a/b?c=d",
    ],
)
def test_one_url(ask: Ask, store: StoreBook, line: str) -> None:
    head, answer = ask(line)
    assert (head.status, answer) == (200, b'{ "status": "ok", "id": "3-1700-1" }')
    assert store.calls == [("url", b"FRA|shop.test|/a/b?c=d", False)]


def test_a_url_is_taken_as_it_stands(ask: Ask, store: StoreBook) -> None:
    ask("POST /purge/shop.test//a/../b%2fc?x=%20&&", AUTH + b"Fastly-Soft-Purge: 1\r\n")
    assert store.calls == [("url", b"FRA|shop.test|//a/../b%2fc?x=%20&&", True)]


@pytest.mark.parametrize("line", ["POST /purge/", "POST /purge/ftp://shop.test/", "PURGE /"])
def test_what_is_no_url_is_400(ask: Ask, store: StoreBook, line: str) -> None:
    head, _ = ask(line)
    assert (head.status, store.calls) == (400, [])


EVERY_WAY = [
    f"POST /service/{SERVICE}/purge",
    f"POST /service/{SERVICE}/purge/p101",
    f"POST /service/{SERVICE}/purge_all",
    "POST /service/another/purge_all",
    "POST /purge/shop.test/",
    "PURGE /shop.test/",
]


@pytest.mark.parametrize("line", EVERY_WAY)
@pytest.mark.parametrize("fields", [b"", b"Fastly-Key: wrong\r\n", b"Fastly-Key:\r\n", AUTH * 2])
def test_without_a_key_nothing_is_purged(
    ask: Ask, store: StoreBook, line: str, fields: bytes
) -> None:
    head, answer = ask(line, fields, b'{"surrogate_keys":["p101"]}')
    assert (head.status, answer) == (401, UNAUTHORISED)
    assert field(head, b"content-type") == b"application/json"
    assert store.calls == []


@pytest.mark.parametrize("line", EVERY_WAY)
def test_without_a_service_everything_is_401(ask: Ask, store: StoreBook, line: str) -> None:
    head, answer = ask(line, access=Access())
    assert (head.status, answer, store.calls) == (401, UNAUTHORISED, [])


def test_a_signed_token_is_for_the_site_alone(ask: Ask, store: StoreBook) -> None:
    head, _ = ask("POST /purge/shop.test/", b"X-Purge-Token: 1_2\r\n")
    assert (head.status, store.calls) == (401, [])


@pytest.mark.parametrize("path", ["purge", "purge/p101", "purge_all"])
def test_another_service_is_404(ask: Ask, store: StoreBook, path: str) -> None:
    head, answer = ask(f"POST /service/another/{path}", body=b'{"surrogate_keys":["p101"]}')
    assert head.status == 404
    assert answer == b'{"msg":"Record not found","detail":"Cannot find \'service\'"}'
    assert store.calls == []


@pytest.mark.parametrize(
    "line", [f"GET /service/{SERVICE}/purge_all", f"PUT /service/{SERVICE}/purge", "GET /purge/a"]
)
def test_other_methods_are_405(ask: Ask, store: StoreBook, line: str) -> None:
    head, _ = ask(line)
    assert (head.status, store.calls) == (405, [])


def test_status_is_still_there(ask: Ask) -> None:
    assert ask("GET /status", b"")[0].status == 200
