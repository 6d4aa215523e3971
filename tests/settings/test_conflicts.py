"""edge.settings.conflicts: what must hold between keys, whatever else is wrong with them."""

from typing import Any

import pytest

from edge.settings.conflicts import find_conflicts
from edge.settings.document import path_text

A, B = {"name": "a", "web": "127.0.0.1:1"}, {"name": "b", "web": "127.0.0.1:2"}
CORE = {"name": "core", "role": "core"}
CDN = {"listen": "127.0.0.1:8080"}
RING = {"balance": "hdr(Host)", "hash_type": "consistent"}
RFC = CDN | {"policy": "rfc9111"}


def good() -> dict[str, Any]:
    return {
        "cdn": {"listen": "127.0.0.1:8080"},
        "elb": {},
        "haproxy": {},
        "admin": {"listen": "127.0.0.1:9180"},
        "nodes": [CORE, A, B],
    }


def conflicts(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(path_text(path), text) for path, text in find_conflicts(values)]


def test_a_good_file_has_none() -> None:
    assert conflicts(good()) == []


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"cdn": {}}, "cdn", "nothing listens"),
        ({"cdn": {"listen": None}}, "cdn", "nothing listens"),
        ({"haproxy": None}, "haproxy", "write `haproxy: {}`"),
        ({"admin": None}, "admin", "needs `listen`"),
        ({"cdn": {"listen": "127.0.0.1:80", "service": None}}, "cdn.service", "needs `id`"),
        ({"elb": {"listen": "127.0.0.1:8080"}}, "elb.listen", "already the address of cdn.listen"),
        ({"admin": {"listen": "127.0.0.1:8080"}}, "admin.listen", "address of cdn.listen"),
        ({"nodes": [A, A | {"name": "c"}]}, "nodes[1].web", "address of nodes[0].web"),
        ({"nodes": [A | {"web": "127.0.0.1:8080"}]}, "nodes[0].web", "address of cdn.listen"),
        ({"nodes": [A | {"haproxy": "127.0.0.1:1"}]}, "nodes[0].haproxy", "of nodes[0].web"),
        ({"nodes": [A, B | {"name": "a"}]}, "nodes[1].name", "'a' is the name of nodes[0]"),
        ({"nodes": [{"name": "a"}]}, "nodes[0].web", "needs the address of its web server"),
        ({"nodes": [{"name": "a", "role": "web"}]}, "nodes[0].web", "unless `role: core`"),
        ({"nodes": [A, B | {"role": "core"}]}, "nodes[1].web", "leave this out, or set `role: b"),
        (
            {"nodes": [A, CORE | {"haproxy": "127.0.0.1:3"}]},
            "nodes[1].haproxy",
            "leave this out, or set `role: both`",
        ),
        ({"nodes": [CORE]}, "nodes", "one at least must take web traffic"),
        ({"cdn": CDN | {"heuristic": {}}}, "cdn.heuristic", "set `policy: rfc9111`"),
        ({"cdn": CDN | {"stale_if_disconnected": 1}}, "cdn.stale_if_disconnected", "`policy: rfc"),
        ({"cdn": RFC | {"hit_for_pass": 1}}, "cdn.hit_for_pass", "under policy rfc9111: leave it"),
        ({"cdn": RFC | {"pass_no_store": False}}, "cdn.pass_no_store", "set `policy: fastly`"),
        ({"cdn": CDN | {"shield": "FRA"}}, "cdn.shield", "already the site of cdn.pop"),
        ({"haproxy": {"hash_type": "consistent"}}, "haproxy.hash_type", "under `balance: roundr"),
        ({"haproxy": {"hash_key": "name"}}, "haproxy.hash_key", "without a hash"),
        (
            {"haproxy": {"balance": "uri", "hash_balance_factor": 150}},
            "haproxy.hash_balance_factor",
            "without a hash and `hash_type: consistent`",
        ),
        (
            {"haproxy": RING | {"hash_balance_factor": 100}},
            "haproxy.hash_balance_factor",
            "must be above 100",
        ),
        (
            {"cdn": CDN | {"sites": [{"pop": "LON", "listen": "127.0.0.1:1"}]}, "nodes": [A]},
            "nodes[0].web",
            "already the address of cdn.sites[0].listen",
        ),
        (
            {"cdn": CDN | {"sites": [{"pop": "FRA", "listen": "127.0.0.1:77"}]}},
            "cdn.sites[0].pop",
            "already the site of cdn.pop",
        ),
    ],
)
def test_one_conflict(change: dict[str, Any], path: str, words: str) -> None:
    ((found_path, text),) = conflicts(good() | change)
    assert found_path == path
    assert words in text


SEND = {"http_check": ["send uri /", "expect status 200"]}


@pytest.mark.parametrize(
    ("check", "key", "words"),
    [
        ({"path": "/", "tcp_check": ["send a"]}, "tcp_check", "keep one"),
        ({"http_check": ["send"], "tcp_check": ["send a"]}, "tcp_check", "keep one"),
        (SEND | {"path": "/"}, "path", "has its own: leave path out"),
        (SEND | {"host": "a"}, "host", "has its own"),
        (SEND | {"method": "GET"}, "method", "has its own"),
        (SEND | {"expect": 200}, "expect", "leave this out"),
        ({"disable_on_404": True}, "disable_on_404", "is for HTTP checks"),
        ({"tcp_check": ["send a", "connect"]}, "tcp_check", "the first one must, too"),
        ({"http_check": ["comment a", "send", "connect"]}, "http_check", "the first one must"),
        ({"disable_on_404": True, "tcp_check": ["send a"]}, "disable_on_404", "is for HTTP"),
    ],
)
@pytest.mark.parametrize("tier", ["elb", "haproxy"])
def test_checks_that_say_a_thing_twice(
    tier: str, check: dict[str, Any], key: str, words: str
) -> None:
    values = {tier: {"listen": "127.0.0.1:5", "health_check": check}, "nodes": [A]}
    ((path, text),) = conflicts(values)
    assert path == f"{tier}.health_check.{key}"
    assert words in text


@pytest.mark.parametrize(
    "check",
    [
        {"path": "/", "host": "a", "http_check": ["expect string a"], "disable_on_404": True},
        {"expect": 200, "http_check": ["send uri /"]},
        {"tcp_check": ["comment a", "connect", "send a", "connect port 7"]},
        {"tcp_check": ["send a"], "http_check": []},
        {"http_check": [5, "expect status 200"]},
        {"http_check": "text"},
        "text",
    ],
)
def test_checks_that_agree(check: object) -> None:
    values = {"haproxy": {"listen": "127.0.0.1:5", "health_check": check}, "nodes": [A]}
    assert conflicts(values) == []


@pytest.mark.parametrize(
    ("inherited", "own", "found"),
    [
        ({"tcp_check": ["send a"]}, {"path": "/"}, "tcp_check"),
        ({"tcp_check": ["send a"]}, {"path": "/", "tcp_check": []}, None),
        (SEND, {"host": "a"}, "host"),
        ({}, {"disable_on_404": True}, "disable_on_404"),
        ({"path": "/"}, {"disable_on_404": True}, None),
    ],
)
def test_checks_of_a_backend_are_those_that_it_inherits_and_its_own(
    inherited: dict[str, Any], own: dict[str, Any], found: str | None
) -> None:
    haproxy = {
        "listen": "127.0.0.1:5",
        "health_check": inherited,
        "backends": {"b": {"health_check": own}},
    }
    paths = [path for path, _ in conflicts({"haproxy": haproxy, "nodes": [A]})]
    assert paths == ([f"haproxy.backends.b.health_check.{found}"] if found else [])


def test_no_tier() -> None:
    assert conflicts({"nodes": [A]}) == [
        ("", "has no tier: give at least one of cdn, elb, haproxy, tcp")
    ]


def test_addresses_are_compared_as_addresses() -> None:
    values = good() | {"cdn": {"listen": "[0:0::1]:80"}, "elb": {"listen": "[::1]:80"}}
    assert conflicts(values) == [("elb.listen", "[::1]:80 is already the address of cdn.listen")]


@pytest.mark.parametrize(
    "change",
    [
        {"cdn": {"listen": "no address"}},
        {"haproxy": RING | {"hash_balance_factor": 101, "hash_key": "name"}},
        {"haproxy": {"balance": 5}},
        {"cdn": {"listen": 8080}},
        {"cdn": "text"},
        {"cdn": CDN | {"policy": "none", "heuristic": {}}},
        {"cdn": CDN | {"policy": [], "heuristic": {}}},
        {"nodes": "text"},
        {"nodes": [A, "text", None]},
        {"nodes": [A | {"name": 5}, B | {"name": 5}]},
        {"nodes": [{"name": "a", "role": "other"}]},
        {"nodes": []},
    ],
)
def test_values_of_a_wrong_shape_are_left_to_the_models(change: dict[str, Any]) -> None:
    assert conflicts(good() | change) == []
