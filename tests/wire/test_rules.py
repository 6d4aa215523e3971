"""Rules of the haproxy tier on the wire: what no comparison with HAProxy shows, or not surely.

Actions that end connections, what rules must not be able to do, what comes before and after them,
backends with their servers and counters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.origin import Close, Stall, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
haproxy:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
  timeouts: {connect: 300ms, server: 5s}
  nodes: [node1]
  stick_tables:
    clients: {type: string, length: 16, size: 1k, expire: 60s, store: "http_req_rate(60s),gpc0"}
  monitor_uri: /up
  monitor_fail: if { nbsrv(api) lt 1 }
  acl:
    - limited req.hdr(x-client) -m found
  http_request:
    - track-sc0 req.hdr(x-client) table clients if limited
    - deny deny_status 429 if limited { sc_http_req_rate(0) gt 3 }
    - tarpit if { path /tarpit }
    - tarpit deny_status 429 if { path /tarpit429 }
    - reject if { path /reject }
    - silent-drop if { path /silent }
    - set-header X-Split %[url_param(v),url_dec] if { path /split }
    - set-var(txn.l) req.hdr(x-long)
    - add-header X-Long %[var(txn.l)]%[var(txn.l)]%[var(txn.l)] if { var(txn.l) -m found }
    - add-header X-Long %[var(txn.l)]%[var(txn.l)]%[var(txn.l)] if { var(txn.l) -m found }
    - redirect location /%[url_param(v),url_dec] if { path /redirect }
    - set-path %[url_param(v),url_dec] if { path /path }
    - set-header Host %[url_param(v)] if { path /host }
    - set-method HEAD if { path /head }
    - set-method %[url_param(v)] if { path /method }
    - del-header X-Forwarded-For if { path /xff }
    - del-header . -m reg if { path /all }
    - set-header X-Seen-Xff %[req.hdr(x-forwarded-for)]
    - set-src req.hdr_ip(x-real-ip)
    - set-timeout server 100ms if { path /hurry }
    - disable-l7-retry if { path /once }
    - set-priority-class int(-5)
    - set-priority-offset int(99999999)
    - set-var(txn.code) url_param(code)
    - return content-type text/html lf-string "<b>%[path]" hdr X-A "%[path]" if { path_beg /return }
  use_backend:
    - "%[req.hdr(x-backend)] if { req.hdr(x-backend) -m found }"
  http_response:
    - deny if { var(txn.code) deny }
    - return status 200 content-type text/plain string replaced if { var(txn.code) return }
    - redirect location /else if { var(txn.code) redirect }
    - set-header X-Status %[status]
  backends:
    api:
      nodes: [node2, node3]
      timeouts: {server: 200ms}
      http_request: ["set-header X-Backend api"]
      http_response: ["set-header X-From api"]
    empty: {nodes: [node3], retries: 0}
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
"""
API = b"X-Backend: api"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.mark.parametrize(("target", "status"), [("/tarpit", 500), ("/tarpit429", 429)])
def test_a_tarpit_answers_late(stand: Stand, target: str, status: int) -> None:
    with stand.node() as node, stand.client() as client:
        begin = time.monotonic()
        assert client.get(target).status == status
        assert time.monotonic() - begin > 0.25
        assert not node.requests
        assert client.get("/").status == 200  # the connection is kept


def test_a_client_that_leaves_the_tarpit_is_forgotten(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"GET /tarpit HTTP/1.1\r\nHost: a\r\n\r\n")
        stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 1)
        client.reset()
    stand.edge.wait_status(lambda status: status["tiers"][0]["in_flight"] == 0)


def test_reject_closes_without_a_word(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"GET /reject HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_to_end() == b""


def test_silent_drop_answers_nothing(stand: Stand) -> None:
    with stand.client() as client:
        client.send(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        stand.edge.wait_status(
            lambda status: status["tiers"][0]["counters"]["connections_open"] == 0
        )
        client.half_close()


def test_a_rate_limit_counts_each_key(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        statuses = [client.get("/", b"X-Client: one").status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert client.get("/", b"X-Client: two").status == 200
        assert client.get("/").status == 200
        assert len(node.requests) == 5


@pytest.mark.parametrize(
    "target",
    [
        "/split?v=a%0d%0aX-Evil:%201",
        "/split?v=a%00b",
        "/redirect?v=a%0d%0aX-Evil:%201",
        "/path?v=/a%20b",
        "/path?v=/a%0d%0ab",
        "/path?v=noslash",
        "/path?v=/a?b",
        "/host?v=a/b",
        "/host?v=",
        "/method?v=CONNECT",
        "/method?v=a/b",
        "/head",
    ],
)
def test_what_a_rule_must_not_write_is_500(stand: Stand, target: str) -> None:
    with stand.node() as node, stand.client() as client:
        response = client.get(target)
        assert response.status == 500
        assert not response.values(b"x-evil")
        assert client.get("/").status == 200
        assert len(node.requests) == 1


def test_a_head_that_would_be_too_long_is_500(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        assert client.get("/", b"X-Long: " + b"a" * 11_500).status == 500
        assert client.get("/", b"X-Long: " + b"a" * 900).status == 200
        assert node.requests[0].values(b"X-Long") == [b"a" * size for size in (900, 2700, 2700)]


def test_host(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        assert client.get("/host?v=other.test:81").status == 200
        assert node.requests[0].values(b"Host") == [b"other.test:81"]


def test_no_pattern_deletes_what_frames_a_message(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.send(b"POST /all HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc")
        assert client.read_response().status == 200
        [request] = node.requests
        assert request.body == b"abc"
        assert request.values(b"Content-Length") == [b"3"]
        assert request.values(b"Host") == [b"a"]
        assert not request.values(b"X-A")


def test_another_method_is_not_repeated_as_the_old_one(stand: Stand) -> None:
    """GET that a rule makes POST: the node that takes it and says nothing has maybe run it."""
    with stand.node(Close(), name="node2") as one, stand.node(Close(), name="node3") as two:
        with stand.client() as client:
            assert client.get("/method?v=POST", API).status == 502
        assert len(one.requests) + len(two.requests) == 1
        [request] = one.requests + two.requests
        assert request.head.method == b"POST"


def test_what_the_tier_adds_comes_after_its_rules(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        client.get("/xff", b"X-Forwarded-For: 9.9.9.9")
        client.get("/", b"X-Forwarded-For: 9.9.9.9")
        client.get("/", b"X-Real-Ip: 10.1.2.3")
        first, second, third = node.requests
        assert first.values(b"X-Forwarded-For") == [b"127.0.0.1"]
        assert second.values(b"X-Seen-Xff") == [b"9.9.9.9"]
        assert second.values(b"X-Forwarded-For") == [b"9.9.9.9", b"127.0.0.1"]
        assert third.values(b"X-Forwarded-For") == [b"10.1.2.3"]
        assert third.values(b"X-Forwarded-Proto") == [b"http"]


def test_the_timeout_that_a_rule_sets_is_of_one_request(stand: Stand) -> None:
    with stand.node((Stall(),), name="node1") as node:
        with stand.client() as client:
            begin = time.monotonic()
            assert client.get("/hurry").status == 504
            assert time.monotonic() - begin < 3
        node.default = (answer(b"ok"),)


def test_no_retry_where_a_rule_forbids_it(stand: Stand) -> None:
    with stand.node(Close(), name="node2", default=Close()) as one:
        with stand.node(Close(), name="node3", default=Close()) as two, stand.client() as client:
            assert client.get("/once", API).status == 502
        assert len(one.requests) + len(two.requests) == 1


def test_a_retry_is_not_judged_again(stand: Stand) -> None:
    with stand.node(name="node3") as node, stand.client() as client:  # node2 refuses
        for _ in range(2):
            assert client.get("/", API, b"X-Client: retried").status == 200
        assert node.requests[0].values(b"X-Backend") == [b"api"]
        assert node.requests[0].values(b"X-Forwarded-For") == [b"127.0.0.1"]
        assert client.get("/", API, b"X-Client: retried").status == 200
        assert client.get("/", API, b"X-Client: retried").status == 429


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [("deny", 502, b""), ("return", 200, b"replaced"), ("redirect", 302, b"")],
)
def test_an_answer_that_a_rule_replaces(stand: Stand, code: str, status: int, body: bytes) -> None:
    with stand.node(default=[answer(b"secret")]), stand.client() as client:
        response = client.get(f"/?code={code}")
        assert response.status == status
        assert body in response.body and b"secret" not in response.body
        assert client.get("/").body == b"secret"


def test_an_answer_of_a_rule(stand: Stand) -> None:
    with stand.client() as client:
        response = client.get("/return/x")
        assert (response.status, response.body) == (200, b"<b>/return/x")
        assert response.values(b"x-a") == [b"/return/x"]
        client.send(b"GET /return HTTP/1.0\r\n\r\n")
        assert client.read_response().values(b"connection") == [b"close"]


def test_a_backend_has_its_own_servers_rules_and_counters(stand: Stand) -> None:
    with (
        stand.node(name="node1") as one,
        stand.node(name="node2") as two,
        stand.node(name="node3") as three,
        stand.client() as client,
    ):
        before = counters(stand)
        responses = [client.get("/", API) for _ in range(4)] + [client.get("/")]
        assert [len(node.requests) for node in (one, two, three)] == [1, 2, 2]
        assert [r.values(b"x-from") for r in responses] == [[b"api"]] * 4 + [[]]
        assert [r.values(b"x-status") for r in responses] == [[b"200"]] * 5
        after = counters(stand)
    assert after["api"]["requests"] - before["api"]["requests"] == 4
    assert after["haproxy"]["requests"] - before["haproxy"]["requests"] == 5


def test_a_backends_keys_override_those_of_the_tier(stand: Stand) -> None:
    with (
        stand.node((Stall(),), name="node2"),
        stand.node((Stall(),), name="node3"),
        stand.client() as client,
    ):
        begin = time.monotonic()
        assert client.get("/", API).status == 504
        assert time.monotonic() - begin < 3


def test_a_backend_that_does_not_exist_is_not_chosen(stand: Stand) -> None:
    with stand.node() as node, stand.client() as client:
        assert client.get("/", b"X-Backend: nope").status == 200
        assert len(node.requests) == 1


def test_a_backend_without_a_server_that_answers(stand: Stand) -> None:
    with stand.client() as client:
        assert client.get("/", b"X-Backend: empty").status == 503


def test_the_monitor(stand: Stand) -> None:
    with stand.client() as client:
        response = client.get("/up")
        assert (response.status, b"Service ready." in response.body) == (200, True)
        assert client.get("/up", API).status == 200


def counters(stand: Stand) -> dict[str, dict[str, int]]:
    return {tier["name"]: tier["counters"] for tier in stand.edge.status()["tiers"]}
