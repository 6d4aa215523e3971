"""Rules of the haproxy tier behind a cdn and an elb: fused in one process as in one a tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import run_edge
from tests.origin import answer
from tests.wire.chain import CONFIG, run_split
from tests.wire.stand import Stand, run_stand, with_ports

pytestmark = pytest.mark.wire

RULES = """
haproxy:
  health_check: {enabled: false}
  acl: ["api path_beg /api"]
  http_request:
    - deny if { path /deny }
    - deny deny_status 429 if { path /deny429 }
    - return status 404 content-type text/plain string none if { path /none }
    - redirect prefix https://shop.test code 302 if { path /old }
    - silent-drop if { path /drop }
    - reject if { path /reject }
    - set-header X-Src %[src]
    - set-header X-Client %[req.hdr_ip(x-forwarded-for,1)]
    - set-header X-Xff %[req.hdr_cnt(x-forwarded-for)]
    - set-header X-Traces %[req.hdr_cnt(x-amzn-trace-id)]
    - set-header X-Fastly %[req.hdr(fastly-client-ip)]
    - set-src req.hdr_ip(fastly-client-ip) if api
    - del-header X-Debug
    - set-path /moved if { path /move }
  use_backend: ["api if api"]
  http_response:
    - set-header X-Rule "seen %[status]"
    - del-header X-Secret
    - set-header Cache-Control "max-age=100" if { res.hdr(x-keep) -m found }
  backends:
    api:
      http_request: ["set-header X-Backend api"]
"""
TARGETS = ("/deny", "/deny429", "/none", "/old?q", "/reject", "/x", "/api/x", "/move")
# What the two have of their own: names of processes, times, random numbers.
OWN = {b"date", b"x-timer", b"x-served-by", b"age", b"fastly-ff", b"x-amzn-trace-id"}

CHAIN = CONFIG.replace("haproxy:\n  health_check: {enabled: false}\n", RULES.lstrip())


def seen(stand: Stand) -> list[object]:
    """What a client and the nodes get to see of all targets."""
    found: list[object] = []
    node_answer = answer(b"body", b"X-Secret: 1", b"X-Debug: 2")
    with (
        stand.node(default=[node_answer], name="node1") as one,
        stand.node(default=[node_answer], name="node2") as two,
    ):
        for target in TARGETS:
            for method in ("GET", "POST"):
                with stand.client() as client:
                    client.send(
                        f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\nX-Debug: 1\r\n"
                        "X-Forwarded-For: 9.9.9.9\r\nContent-Length: 0\r\n\r\n".encode()
                    )
                    response = client.read_response(method.encode())
                found.append((target, method, response.status, bare(response.head.headers),
                              visible(response.body)))  # fmt: skip
        for request in sorted(
            one.requests + two.requests, key=lambda each: (each.head.target, each.head.method)
        ):
            found.append((request.head.method, request.head.target, bare(request.head.headers)))
    return found


def bare(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in OWN)


def visible(body: bytes) -> bytes:
    """Without the number of the request on a page of Fastly's."""
    return b"\n".join(line for line in body.split(b"\n") if b"Details" not in line)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CHAIN, tmp_path_factory.mktemp("fused")) as stand:
        yield stand


def test_what_rules_see_and_do(fused: Stand) -> None:
    secret = answer(b"", b"X-Secret: 1")
    with (
        fused.node(default=[secret], name="node1") as one,
        fused.node(default=[secret], name="node2") as two,
    ):
        with fused.client() as client:
            responses = [client.get(path, b"X-Forwarded-For: 9.9.9.9", b"X-Debug: 1")
                         for path in ("/a?1", "/api/b?1")]  # fmt: skip
        first, second = sorted(one.requests + two.requests, key=lambda r: r.head.target)
    assert [response.status for response in responses] == [200, 200]
    assert [response.values(b"x-rule") for response in responses] == [[b"seen 200"]] * 2
    assert not responses[0].values(b"x-secret")
    assert first.values(b"X-Src") == [b"127.0.0.1"]
    assert first.values(b"X-Xff") == [b"3"]  # what the client sent, the cdn's, the elb's
    assert first.values(b"X-Traces") == [b"1"]  # the elb's
    assert len(first.values(b"X-Amzn-Trace-Id")) == 1
    assert first.values(b"X-Client") == [b"9.9.9.9"]
    assert not first.values(b"X-Debug")
    assert second.values(b"X-Backend") == [b"api"]


@pytest.mark.parametrize(
    ("target", "status"),
    [("/deny", 403), ("/deny429", 429), ("/none", 404), ("/old?q", 302), ("/drop", 502)],
)
def test_a_verdict_passes_the_tiers_in_front(fused: Stand, target: str, status: int) -> None:
    with fused.client() as client:
        for _ in range(2):  # what is not the origin's answer is not kept
            response = client.get(target)
            assert response.status == status
            assert response.values(b"x-cache")
        if status == 302:
            assert response.values(b"location") == [b"https://shop.test/old?q"]


def test_what_a_rule_makes_of_an_answer_is_what_the_cdn_keeps(fused: Stand) -> None:
    keep = answer(b"kept", b"X-Keep: 1", b"X-Secret: 1")
    with (
        fused.node(default=[keep], name="node1") as one,
        fused.node(default=[keep], name="node2") as two,
        fused.client() as client,
    ):
        responses = [client.get("/keep") for _ in range(3)]
        assert len(one.requests) + len(two.requests) == 1
    assert [response.values(b"x-rule") for response in responses] == [[b"seen 200"]] * 3
    assert not any(response.values(b"x-secret") for response in responses)


def test_fused_and_split_are_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("both")
    with with_ports(CHAIN) as (config, ports):
        with run_edge(config, folder) as edge:
            together = seen(Stand(edge, ports))
        with run_split(config, ports, folder) as split:
            apart = seen(split)
    for one, other in zip(together, apart, strict=True):
        assert one == other
