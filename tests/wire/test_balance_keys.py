"""A request's key through the program: its node is the one that HAProxy chose for these bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.ext.farms import GOLDEN
from tests.origin import answer
from tests.wire.stand import Stand, run_stands
from tests.wire.test_balance_wire import NODES, THREE, TIER, farm, picks

pytestmark = pytest.mark.wire

CONFIGS = {
    "uri": TIER + "  balance: uri\n" + THREE,
    "url_param": TIER + "  balance: url_param k\n" + THREE,
    "hdr": TIER + "  balance: hdr(X-K)\n  hash_type: consistent\n" + THREE,
    "behind elb": """
elb:
  listen: 127.0.0.1:$port
  health_check: {enabled: false}
haproxy:
  health_check: {enabled: false}
  balance: uri
  hash_type: map-based crc32
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
  - {name: node2, web: 127.0.0.1:$node2}
  - {name: node3, web: 127.0.0.1:$node3}
""",
    "bound": TIER
    + """  balance: uri
  hash_type: consistent
  hash_balance_factor: 150
"""
    + THREE,
}


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stand]]:
    with run_stands(CONFIGS, tmp_path_factory.mktemp("edge")) as stands:
        yield stands
        for stand in stands.values():
            stand.check()


@pytest.mark.parametrize(
    ("name", "golden", "target", "field"),
    [
        ("uri", "uri.default", "/p{}?q={}", ""),
        ("url_param", "url_param.default", "/x?a=1&k=user{}", ""),
        ("hdr", "hdr.hash-type_consistent", "/x", "X-K: key{}"),
        ("behind elb", "uri.hash-type_map-based_crc32", "/p{}?q={}", ""),
    ],
)
def test_a_key_has_haproxys_node(
    stands: dict[str, Stand], name: str, golden: str, target: str, field: str
) -> None:
    """From the request's bytes to the node that HAProxy has sent the same request to."""
    stand = stands[name]
    with farm(stand), stand.client() as client:
        used = []
        for number in range(24):
            fields = [field.replace("{}", str(number)).encode()] if field else []
            body = client.get(target.replace("{}", str(number)), *fields).body
            used.append(str(NODES.index(body.decode())))
    assert "".join(used) == GOLDEN[golden]


def test_a_bounded_key_spills_to_another_node(stands: dict[str, Stand]) -> None:
    """Three requests for one path at once: 150 % of the mean of three is one for each node and a
    half, so its own node gets two at most."""
    stand = stands["bound"]
    with farm(stand) as nodes, ExitStack() as stack:
        with stand.client() as client:
            home = picks(client, 1, "/key")[0]
            assert picks(client, 5, "/key") == [home] * 5
        gates = [node.gate() for node in nodes]
        for node, gate in zip(nodes, gates, strict=True):
            node.default = [gate, answer(b"slow")]
        before = [len(node.requests) for node in nodes]
        clients = [stack.enter_context(stand.client()) for _ in range(6)]
        for count, client in enumerate(clients, 1):
            client.send(b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n")
            stand.edge.wait_status(
                lambda status, count=count: status["tiers"][0]["in_flight"] == count
            )
        for gate in gates:
            gate.open()
        for client in clients:
            assert client.read_response().body == b"slow"
        counts = [len(node.requests) - had for node, had in zip(nodes, before, strict=True)]
    assert sum(counts) == 6
    assert max(counts) <= 3
    assert sum(count > 0 for count in counts) >= 2
