"""The elb tier in front of nodes: stickiness, trace ids, desync mitigation, zones, codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness import Client, Response
from tests.origin import answer
from tests.wire.stand import Stand, run_stand, run_stands

pytestmark = pytest.mark.wire

NODES = """
nodes:
  - {name: node1, zone: a, web: 127.0.0.1:$node1}
  - {name: node2, zone: b, web: 127.0.0.1:$node2}
"""
OFF = "  health_check: {enabled: false}\n"
HEAD = "elb:\n  listen: 127.0.0.1:$port\n" + OFF
SECRET = "0123456789abcdef"
CONFIGS = {
    "plain": HEAD + NODES,
    "sticky": HEAD + "  target_group: {stickiness_enabled: true}\n"
    f"  stickiness_secret: {SECRET}\n" + NODES,
    "app": HEAD + "  target_group: {stickiness_enabled: true, stickiness_type: app_cookie,"
    " stickiness_app_cookie_cookie_name: PHPSESSID}\n" + NODES,
    "strictest": HEAD + "  routing_http_desync_mitigation_mode: strictest\n" + NODES,
    "grpc": HEAD + "  target_group: {protocol_version: GRPC}\n" + NODES,
    "cached": "cdn: {listen: 127.0.0.1:$port}\nelb:\n" + OFF
    + "  target_group: {stickiness_enabled: true}\n" + NODES,
    "zones": "cdn: {listen: 127.0.0.1:$port}\n"
    "elb:\n  zones: {a: 127.0.0.1:$za, b: 127.0.0.1:$zb, c: 127.0.0.1:$zc}\n"
    "  target_group: {load_balancing_cross_zone_enabled: false}\n"
    "  health_check: {interval: 100ms}\n" + NODES,
}  # fmt: skip


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as made:
        yield made


@contextmanager
def nodes(stand: Stand, *fields: bytes) -> Iterator[None]:
    """Both nodes answer with their names."""
    with ExitStack() as stack:
        for name in ("node1", "node2"):
            stack.enter_context(stand.node(name=name, default=[answer(name.encode(), *fields)]))
        yield


def cookies(response: Response) -> dict[bytes, bytes]:
    """The cookies that an answer sets, by name."""
    pairs = [value.split(b";")[0].partition(b"=") for value in response.values(b"set-cookie")]
    return {name: value for name, _, value in pairs}


def test_a_client_stays_at_its_target(stands: dict[str, Stand]) -> None:
    stand = stands["sticky"]
    with nodes(stand), stand.client() as client:
        first = client.get()
        jar = cookies(first)
        assert set(jar) == {b"AWSALB", b"AWSALBCORS"}
        values = {jar[b"AWSALB"]}
        for _ in range(8):
            again = client.get("/", b"Cookie: AWSALB=" + jar[b"AWSALB"])
            assert again.body == first.body
            values.add(cookies(again)[b"AWSALB"])
        assert len(values) == 9, "refreshed with each answer"
        assert {client.get().body for _ in range(4)} == {b"node1", b"node2"}


def test_a_drained_target_loses_its_clients(stands: dict[str, Stand]) -> None:
    import urllib.request

    stand = stands["sticky"]
    with nodes(stand), stand.client() as client:
        first = client.get()
        cookie = b"Cookie: AWSALB=" + cookies(first)[b"AWSALB"]
        url = f"http://{stand.edge.admin}/nodes/{first.body.decode()}"
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/drain", method="POST")).close()
            moved = client.get("/", cookie)
            assert moved.body != first.body
            tier = stand.edge.status()["tiers"][0]
            assert tier["counters"]["not_sticky"] == 1
        finally:
            urllib.request.urlopen(urllib.request.Request(f"{url}/ready", method="POST")).close()
        cookie = b"Cookie: AWSALB=" + cookies(moved)[b"AWSALB"]
        assert {client.get("/", cookie).body for _ in range(4)} == {moved.body}


def test_a_cookie_outlives_a_reload(stands: dict[str, Stand]) -> None:
    stand = stands["sticky"]
    with nodes(stand):
        with stand.client() as client:
            first = client.get()
        generation = stand.edge.status()["generation"]
        stand.edge.reload()
        stand.edge.wait_status(lambda status: status["generation"] == generation + 1)
        cookie = b"Cookie: AWSALB=" + cookies(first)[b"AWSALB"]
        with stand.client() as client:
            assert {client.get("/", cookie).body for _ in range(6)} == {first.body}


def test_by_the_shops_own_cookie(stands: dict[str, Stand]) -> None:
    stand = stands["app"]
    with nodes(stand, b"Set-Cookie: PHPSESSID=abc"), stand.client() as client:
        first = client.get()
        jar = cookies(first)
        assert set(jar) == {b"PHPSESSID", b"AWSALBAPP-0"}
        both = b"Cookie: PHPSESSID=abc; AWSALBAPP-0=" + jar[b"AWSALBAPP-0"]
        assert {client.get("/", both).body for _ in range(6)} == {first.body}


def test_a_cdn_in_front_keeps_no_answer_of_a_sticky_group(stands: dict[str, Stand]) -> None:
    stand = stands["cached"]
    with nodes(stand, b"Cache-Control: max-age=60"), stand.client() as client:
        for _ in range(2):
            found = client.get("/page")
            assert b"AWSALB" in cookies(found)
        assert stand.edge.status()["cache"]["objects"] == 0


def test_the_node_sees_a_trace_id(stands: dict[str, Stand]) -> None:
    stand = stands["plain"]
    with stand.node() as node, stand.client() as client, stand.node(name="node2") as other:
        client.get("/", b"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Self=x")
        seen = [*node.requests, *other.requests][0]
        [value] = seen.values(b"x-amzn-trace-id")
        assert re.fullmatch(
            rb"Self=1-[0-9a-f]{8}-[0-9a-f]{24};Root=1-5759e988-bd862e3fe1be46a994272793", value
        )


BODY = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def asked(client: Client, data: bytes) -> Response:
    client.send(data)
    return client.read_response()


def test_defensive_passes_what_is_ambiguous_and_closes(stands: dict[str, Stand]) -> None:
    stand = stands["plain"]
    with nodes(stand):
        with stand.client() as client:
            kept = asked(client, EMPTY)
            assert (kept.status, kept.values(b"connection")) == (200, [])
            closed = asked(client, BODY)
            assert (closed.status, closed.values(b"connection")) == (200, [b"close"])
            assert client.read_to_end() == b""
        stand.edge.wait_status(
            lambda status: (
                sum(
                    server["counters"]["connections_idle"]
                    for server in status["tiers"][0]["servers"]
                )
                <= 1
            )
        )
    assert stand.edge.status()["tiers"][0]["counters"]["desync"] >= 2


@pytest.mark.parametrize("request_", [BODY, EMPTY])
def test_strictest_refuses_both(stands: dict[str, Stand], request_: bytes) -> None:
    with nodes(stands["strictest"]), stands["strictest"].client() as client:
        refused = asked(client, request_)
        assert (refused.status, refused.values(b"server")) == (400, [b"awselb/2.0"])


def test_463_and_464(stands: dict[str, Stand]) -> None:
    many = b"X-Forwarded-For: " + b", ".join([b"192.0.2.1"] * 30)
    with nodes(stands["plain"]), stands["plain"].client() as client:
        assert client.get("/", many).status == 200
        assert client.get("/", many + b", 192.0.2.2").status == 463
    with nodes(stands["grpc"]), stands["grpc"].client() as client:
        assert client.get("/").status == 464


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 120 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    ],
)
def test_its_own_refusals(stands: dict[str, Stand], request_: bytes, status: int) -> None:
    with stands["plain"].client() as client:
        refused = asked(client, request_)
        assert (refused.status, refused.values(b"server")) == (status, [b"awselb/2.0"])


def test_who_leaves_while_waiting_is_460(stands: dict[str, Stand]) -> None:
    stand = stands["plain"]
    before = stand.edge.status()["tiers"][0]["counters"]["responses_4xx"]
    with ExitStack() as stack:
        held = [stack.enter_context(stand.node(name=name, default=[])) for name in NAMES]
        gates = [node.gate() for node in held]
        for node, gate in zip(held, gates, strict=True):
            node.then(gate)
        client = stack.enter_context(stand.client())
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 1)
        client.reset()
        stand.edge.wait_status(
            lambda status: status["tiers"][0]["counters"]["responses_4xx"] == before + 1
        )


NAMES = ("node1", "node2")


def zone(stand: Stand, name: str) -> bool:
    tiers = {tier["name"]: tier for tier in stand.edge.status()["tiers"]}
    return bool(tiers[f"elb@{name}"]["in_dns"])


def test_each_zone_keeps_to_its_own_targets(stands: dict[str, Stand]) -> None:
    stand = stands["zones"]
    with nodes(stand):
        for address, body in (("za", b"node1"), ("zb", b"node2")):
            with stand.client(address) as client:
                assert {client.get().body for _ in range(4)} == {body}
        with stand.client("zc") as client:
            assert client.get().status == 503, "an empty zone"


def test_a_zone_without_healthy_targets_leaves_dns(stands: dict[str, Stand]) -> None:
    stand = stands["zones"]

    def settled(up: dict[str, bool]) -> None:
        stand.edge.wait_status(
            lambda status: (
                {
                    server["name"]: server["status"] == "UP"
                    for server in status["tiers"][0]["servers"]
                }
                == up
            ),
            timeout_s=20,
        )

    with stand.node(name="node2", default=[answer(b"node2")]):
        with stand.node(name="node1", default=[answer(b"node1")]):
            settled({"elb@a": True, "elb@b": True, "elb@c": False})
        settled({"elb@a": False, "elb@b": True, "elb@c": False})
        assert not zone(stand, "a")
        assert zone(stand, "b")
        with stand.client() as client:
            found = {client.get(f"/{number}").body for number in range(6)}
        assert found == {b"node2"}, "the cdn in front uses the zones that are left"


def test_status_names_states_and_reasons(tmp_path: Path) -> None:
    config = "elb:\n  listen: 127.0.0.1:$port\n  health_check: {interval: 100ms}\n" + NODES
    with run_stand(config, tmp_path) as stand, stand.node(name="node2"):
        found = stand.edge.wait_status(
            lambda status: (
                [server["target_health"]["state"] for server in status["tiers"][0]["servers"]]
                == ["unhealthy", "healthy"]
            )
        )
        first = found["tiers"][0]["servers"][0]["target_health"]
        assert first["reason"] == "Target.FailedHealthChecks"
