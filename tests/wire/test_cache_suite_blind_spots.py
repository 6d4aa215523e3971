"""What the public HTTP cache tests mean to see and do not, or what no published cache does yet.

Their client never looks at a field that "must not be stored", and asks for the second answer only
after the surplus of the first has been thrown away. RFC 9111 and RFC 9213 decide here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.harness import Response
from tests.origin import Close, Steps, answer
from tests.wire.stand import Stand, run_stand

pytestmark = pytest.mark.wire

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  policy: rfc9111
  default_ttl: 0s
nodes:
  - {name: node1, web: 127.0.0.1:$node1}
"""
FRESH = b"Cache-Control: max-age=3600"
TARGETS = count()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


def fetch_twice(stand: Stand, *first: Steps) -> tuple[Response, Response, int]:
    """Two answers to the same GET, and how many requests the node has seen."""
    target = f"/blind/{next(TARGETS)}"
    with stand.node(*first, default=[answer(b"second")]) as node, stand.client() as client:
        return client.get(target), client.get(target), len(node.requests)


def is_stored(stand: Stand, *fields: bytes) -> bool:
    """Whether an answer with these fields is used again."""
    first, second, requests = fetch_twice(stand, [answer(b"first", *fields)])
    assert first.body == b"first"
    assert second.body == (b"first" if requests == 1 else b"second")
    return requests == 1


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"Connection: a\r\na: 1", b"a"),
        (b"Connection: keep-alive, X-Listed\r\nX-Listed: 1", b"x-listed"),
        (b"Keep-Alive: timeout=5", b"keep-alive"),
        (b"Proxy-Connection: keep-alive", b"proxy-connection"),
        (b"Proxy-Authenticate: Basic", b"proxy-authenticate"),
        (b'Proxy-Authentication-Info: nextnonce="1"', b"proxy-authentication-info"),
        (b"Proxy-Authorization: Basic YTpi", b"proxy-authorization"),
        (b"TE: trailers", b"te"),
        (b"Upgrade: h2c", b"upgrade"),
    ],
    ids=lambda value: value.decode() if b":" not in value else None,
)
def test_rfc9111_3_1_not_stored(stand: Stand, field: bytes, name: bytes) -> None:
    _, second, requests = fetch_twice(stand, [answer(b"first", FRESH, field, b"X-Kept: 1")])
    assert requests == 1
    assert second.values(name) == []
    assert second.values(b"x-kept") == [b"1"]
    assert second.values(b"connection") in ([], [b"keep-alive"])


def test_rfc9112_6_3_surplus_is_nobodys_answer(stand: Stand) -> None:
    """More bytes than Content-Length: they are neither body nor the next response."""
    surplus = answer(b"another's", FRESH)
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + FRESH + b"\r\n\r\nfirst" + surplus
    target = f"/blind/{next(TARGETS)}"
    with (
        stand.node([short, Close()], default=[answer(b"own")]) as node,
        stand.client() as client,
    ):
        assert client.get(target).body == b"first"
        assert client.get(target).body == b"first"
        assert client.get(f"/blind/{next(TARGETS)}").body == b"own"
        assert len(node.connections) == 2


@pytest.mark.parametrize("status", [b"599 Unknown", b"999 Beyond"])
def test_unknown_statuses_pass(stand: Stand, status: bytes) -> None:
    first, second, requests = fetch_twice(stand, [answer(b"first", status=status)])
    assert first.status == int(status[:3])
    assert (second.status, requests) == (200, 2)


# -- RFC 9213 --------------------------------------------------------------------------------------


def test_rfc9213_2_2_targeted_field_reaches_the_client(stand: Stand) -> None:
    targeted = b"CDN-Cache-Control: max-age=3600"
    first, second, requests = fetch_twice(stand, [answer(b"first", targeted)])
    assert requests == 1
    for response in (first, second):
        assert response.values(b"cdn-cache-control") == [b"max-age=3600"]


@pytest.mark.parametrize(
    ("fields", "stored"),
    [
        ((b"CDN-Cache-Control: max-age=60", b"Cache-Control: no-store"), True),
        ((b"CDN-Cache-Control: no-store", FRESH), False),
        ((b"CDN-Cache-Control: no-cache", FRESH), False),
        ((b"CDN-Cache-Control: private", FRESH), False),
        ((b"CDN-Cache-Control: max-age=60", b"Age: 61", FRESH), False),
        # Not a dictionary of structured fields (RFC 8941): ignored whole.
        ((b"CDN-Cache-Control: max-age=0, &", FRESH), True),
        ((b"CDN-Cache-Control: max-age=60, &", b"Cache-Control: max-age=0"), False),
        # A member of the wrong type is ignored alone (RFC 9213 §2.1).
        ((b'CDN-Cache-Control: max-age="60"', b"Cache-Control: no-store"), False),
        ((b"CDN-Cache-Control: ", FRESH), True),
    ],
)
def test_rfc9213_2_1_targeted_field_decides_alone(
    stand: Stand, fields: tuple[bytes, ...], stored: bool
) -> None:
    assert is_stored(stand, *fields) == stored
