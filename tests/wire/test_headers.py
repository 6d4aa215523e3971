"""Header fields on their way through each tier and through the chain of all.

Fields of one hop stay on it (RFC 9110 §7.6.1), whoever we are is said as each original says it, and
the message is otherwise the one that was sent: order, case and bytes of its fields.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.origin import Origin, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FORWARDING = """
elb:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  forwarded: {forwarded: true, via: edge-test, x_forwarded_for: remove, x_forwarded_port: off}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
ELB = """
elb:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
CDN = """
cdn:
  listen: 127.0.0.1:$port
  default_ttl: 0s
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
SPOOFED = (
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Forwarded-For: 192.0.2.2",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: spoofed.example",
    b"X-Forwarded-Port: 443",
)
IDENTITY = (
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"via",
    b"forwarded",
)


def identity(node: Origin) -> dict[bytes, list[bytes]]:
    """The fields of the node's last request that tell of the client and the way."""
    request = node.requests[-1]
    return {name: values for name in IDENTITY if (values := request.values(name))}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


# -- one hop ------------------------------------------------------------------------------------


def test_rfc9110_7_6_1_request_fields_of_the_hop_are_removed(stand: Stand) -> None:
    fields = (
        b"Connection: keep-alive, X-Named, x-other",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eA==",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"X-Named: secret",
        b"X-OTHER: secret",
        b"X-Kept: yes",
    )
    with stand.node() as node, stand.client() as client:
        assert client.get("/", *fields).status == 200
        request = node.requests[0]
        for name in (b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"):
            assert request.values(name) == []
        for name in (b"x-named", b"x-other", b"proxy-authorization"):
            assert request.values(name) == []
        assert request.values(b"x-kept") == [b"yes"]


def test_rfc9110_7_6_1_answer_fields_of_the_hop_are_removed(stand: Stand) -> None:
    data = answer(
        b"ok",
        b"Connection: keep-alive, X-Named",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authenticate: Basic",
        b"X-Named: secret",
        b"X-Kept: yes",
    )
    with stand.node([data]), stand.client() as client:
        response = client.get()
        for name in (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate"):
            assert response.values(name) == []
        assert response.values(b"x-named") == []
        assert response.values(b"x-kept") == [b"yes"]


@pytest.mark.parametrize(
    "named", [b"Host", b"Content-Length", b"X-Forwarded-For", b"Authorization", b"Cookie"]
)
def test_connection_cannot_remove_what_others_rely_on(stand: Stand, named: bytes) -> None:
    """Naming an end-to-end field in Connection must not hide it from the node."""
    fields = (b"Connection: close, " + named, b"Authorization: Basic eA==", b"Cookie: a=b")
    with stand.node() as node, stand.client() as client:
        lines = b"\r\n".join((b"Host: a", *fields, b"Content-Length: 5"))
        client.send(b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\nhello")
        assert client.read_response().status == 200
        request = node.requests[0]
        assert request.body == b"hello"
        assert request.values(b"host") == [b"a"]
        assert request.values(b"x-forwarded-for") == [b"127.0.0.1"]
        assert request.values(b"authorization") == [b"Basic eA=="]
        assert request.values(b"cookie") == [b"a=b"]


def test_fields_keep_order_case_and_bytes(stand: Stand) -> None:
    fields = (b"B: 1", b"a: 2", b"B:3", b"X-Long:  spaces  inside ", b"x: \xe9\xff", b"Empty:")
    expected = [
        (b"B", b"1"),
        (b"a", b"2"),
        (b"B", b"3"),
        (b"X-Long", b"spaces  inside"),
        (b"x", b"\xe9\xff"),
        (b"Empty", b""),
    ]
    with stand.node([answer(b"ok", *fields)]) as node, stand.client() as client:
        response = client.get("/", *fields)
        assert [field for field in response.head.headers if field in expected] == expected
        received = node.requests[0].head.headers
        assert [field for field in received if field in expected] == expected


def test_hundred_fields_pass(stand: Stand) -> None:
    fields = [b"X-%d: %s" % (number, b"v" * 100) for number in range(90)]
    with stand.node([answer(b"ok", *fields)]) as node, stand.client() as client:
        response = client.get("/", *fields)
        for number in range(90):
            assert response.values(b"x-%d" % number) == [b"v" * 100]
            assert node.requests[0].values(b"x-%d" % number) == [b"v" * 100]


def test_answer_head_of_60_kb_passes(stand: Stand) -> None:
    with stand.node([answer(b"ok", b"X: " + b"x" * 60_000)]), stand.client() as client:
        assert client.get().values(b"x") == [b"x" * 60_000]


def test_reason_phrase_and_status_pass(stand: Stand) -> None:
    odd = answer(b"x", status=b"299 Quite \xe9 odd")
    with stand.node([odd], [answer(b"x", status=b"200")]), stand.client() as client:
        assert client.get().raw_head.startswith(b"HTTP/1.1 299 Quite \xe9 odd\r\n")
        assert client.get().status == 200


def test_answer_of_http10_node_is_http11_to_the_client(stand: Stand) -> None:
    """RFC 9110 §2.5: the version is that of the sender of the message."""
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with stand.node([old]) as node, stand.client() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.read_response().raw_head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert node.requests[0].raw_head.startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("data", "host"),
    [
        (b"GET / HTTP/1.1\r\nHost: Shop.Example:8080\r\n\r\n", b"Shop.Example:8080"),
        (b"GET http://b.example/ HTTP/1.1\r\nHost: a\r\n\r\n", b"b.example"),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"a"),
        (b"GET http://b.example/ HTTP/1.0\r\n\r\n", b"b.example"),
        (b"GET / HTTP/1.0\r\n\r\n", b""),
    ],
    ids=["Host", "absolute-form", "1.0 with Host", "1.0 absolute-form", "1.0 without Host"],
)
def test_rfc9112_3_2_2_host(stand: Stand, data: bytes, host: bytes) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(data)
        if not host:
            # The strict origin would refuse it: the bytes are looked at instead.
            node.wait_connections(1)
            client.half_close()
            client.read_to_end()
            assert b"\r\nHost: \r\n" in node.connections[0].received
            node.errors.clear()
            return
        assert client.read_response().status == 200
        assert node.requests[0].values(b"host") == [host]


# -- each tier ----------------------------------------------------------------------------------


def test_haproxy_adds_a_line_and_fills_in(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.get(host="shop.example")
        assert identity(node) == {
            b"x-forwarded-for": [b"127.0.0.1"],
            b"x-forwarded-proto": [b"http"],
            b"x-forwarded-host": [b"shop.example"],
            b"x-forwarded-port": [b"%d" % stand.ports["port"]],
        }
        client.get("/", *SPOOFED)
        assert identity(node) == {
            b"x-forwarded-for": [b"192.0.2.1", b"192.0.2.2", b"127.0.0.1"],
            b"x-forwarded-proto": [b"https"],
            b"x-forwarded-host": [b"spoofed.example"],
            b"x-forwarded-port": [b"443"],
        }


def test_client_address_is_the_real_one(stand: Stand) -> None:
    with stand.node() as node, stand.client(source="127.1.2.3") as client:
        client.get()
        assert node.requests[0].values(b"x-forwarded-for") == [b"127.1.2.3"]


def test_elb_appends_and_sets(tmp_path_factory: pytest.TempPathFactory) -> None:
    with run_stand(ELB, tmp_path_factory.mktemp("edge")) as stand, stand.node() as node:
        port = b"%d" % stand.ports["port"]
        with stand.client() as client:
            client.get()
            assert identity(node) == {
                b"x-forwarded-for": [b"127.0.0.1"],
                b"x-forwarded-proto": [b"http"],
                b"x-forwarded-port": [port],
            }
            client.get("/", *SPOOFED)
            assert identity(node) == {
                b"x-forwarded-for": [b"192.0.2.1, 192.0.2.2, 127.0.0.1"],
                b"x-forwarded-proto": [b"http"],
                b"x-forwarded-host": [b"spoofed.example"],
                b"x-forwarded-port": [port],
            }


def test_cdn_appends_sets_and_names_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        run_stand(CDN, tmp_path_factory.mktemp("edge")) as stand,
        stand.node(default=[answer(b"ok", b"Via: 1.0 php")]) as node,
        stand.client() as client,
    ):
        response = client.get("/", *SPOOFED, b"Via: 1.0 fred, 1.1 p.example", b"Via: 1.1 x")
        assert identity(node) == {
            b"x-forwarded-for": [b"192.0.2.1, 192.0.2.2, 127.0.0.1"],
            b"x-forwarded-proto": [b"http"],
            b"x-forwarded-host": [b"shop.example"],
            b"x-forwarded-port": [b"443"],
            b"via": [b"1.0 fred, 1.1 p.example, 1.1 x, 1.1 varnish"],
        }
        assert response.values(b"via") == [b"1.0 php, 1.1 varnish"]
        assert len(response.values(b"date")) == 1


def test_forwarded_and_a_via_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        run_stand(FORWARDING, tmp_path_factory.mktemp("edge")) as stand,
        stand.node() as node,
        stand.client() as client,
    ):
        client.get("/", *SPOOFED, b"Forwarded: for=192.0.2.1")
        shown = identity(node)
        assert shown[b"forwarded"] == [
            b'for=192.0.2.1, for=127.0.0.1;host="shop.example";proto=http'
        ]
        assert shown[b"via"] == [b"1.1 edge-test"]
        assert b"x-forwarded-for" not in shown
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        client.read_response()
        assert identity(node)[b"via"] == [b"1.0 edge-test"]
