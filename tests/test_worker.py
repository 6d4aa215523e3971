"""edge.worker: its pure functions, from settings to the ready values that ext takes."""

import os
import re
from collections.abc import Iterator

import pytest

from edge.identity import fastly_options
from edge.plan import TierPlan, build_plan
from edge.settings import Cdn, Elb, Haproxy, Node, Settings
from edge.worker import (
    KINDS,
    answer_limit,
    between_bytes_ms,
    chain_from,
    connections_max,
    hop_options,
    node_name,
    outer_recipes,
    tier_options,
)
from ext.arena import Arena
from ext.forward import Recipe, request_for_test, response_for_test
from ext.observe import Layer
from ext.retry import RetryOn
from ext.upstream import Tier

NODES = [
    Node(name=f"n{number}", web=f"127.0.0.1:{9000 + number}", haproxy=f"127.0.0.1:{8100 + number}")
    for number in (1, 2, 3)
]


def planned(tier: str | None = None, **given: object) -> dict[str, TierPlan]:
    """The tiers of a file with these sections, by name."""
    file = Settings(nodes=NODES, **given)  # type: ignore[arg-type]
    return {tier.name: tier for tier in build_plan(file, tier).tiers}


def whole() -> dict[str, TierPlan]:
    return planned(
        cdn=Cdn(listen="127.0.0.1:80"), elb=Elb(listen="127.0.0.1:81"), haproxy=Haproxy()
    )


# -- chains -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "chain"),
    [
        ("cdn", ["cdn", "elb", "haproxy@n1"]),
        ("elb", ["elb", "haproxy@n1"]),
        ("haproxy@n1", ["haproxy@n1"]),
        ("haproxy@n3", ["haproxy@n3"]),
    ],
)
def test_chain_goes_from_its_entry_inwards(entry: str, chain: list[str]) -> None:
    assert [tier.name for tier in chain_from(whole(), entry)] == chain


def test_chain_of_a_tier_left_out() -> None:
    tiers = planned(cdn=Cdn(listen="127.0.0.1:80"), haproxy=Haproxy())
    assert [tier.name for tier in chain_from(tiers, "cdn")] == ["cdn", "haproxy"]
    tiers = planned(cdn=Cdn(listen="127.0.0.1:80"))
    assert [tier.name for tier in chain_from(tiers, "cdn")] == ["cdn"]


def test_chain_of_a_split_tier_is_itself() -> None:
    tiers = planned("elb", elb=Elb(listen="127.0.0.1:81"), haproxy=Haproxy())
    assert [tier.name for tier in chain_from(tiers, "elb")] == ["elb"]


# -- how long an answer may take ----------------------------------------------------------------


def timed(**seconds: float) -> list[TierPlan]:
    sections = {
        "cdn": Cdn.model_validate({"listen": "127.0.0.1:80", "timeouts": {"server": 15.0}}),
        "elb": Elb.model_validate({"timeouts": {"server": 60.0}}),
        "haproxy": Haproxy.model_validate({"timeouts": {"server": 50.0}}),
    }
    for name, value in seconds.items():
        timeouts = sections[name].timeouts.model_copy(update={"server_s": value})
        sections[name] = sections[name].model_copy(update={"timeouts": timeouts})
    return chain_from(planned(**sections), "cdn")


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        ({}, "cdn"),
        ({"elb": 14.0}, "elb"),
        ({"haproxy": 14.0}, "haproxy@n1"),
        # Of equals the inner one: its clock starts no later and its answer comes back through.
        ({"haproxy": 15.0}, "haproxy@n1"),
        ({"haproxy": 15.0, "elb": 15.0}, "haproxy@n1"),
        ({"cdn": 60.0, "haproxy": 70.0}, "elb"),
    ],
    ids=str,
)
def test_first_tier_to_lose_patience(seconds: dict[str, float], name: str) -> None:
    assert answer_limit(timed(**seconds)).name == name


def test_silence_inside_an_answer() -> None:
    assert between_bytes_ms(Cdn()) == 10_000
    assert between_bytes_ms(Haproxy()) == 50_000
    assert between_bytes_ms(Haproxy.model_validate({"timeouts": {"server": 0.25}})) == 250


# -- identity fields ----------------------------------------------------------------------------


def test_hop_options_of_every_tier() -> None:
    tiers = whole()
    cdn = tiers["cdn"].settings
    assert isinstance(cdn, Cdn)
    assert hop_options(tiers["cdn"], "secret") == {
        "x_forwarded_for": "append",
        "x_forwarded_proto": "set",
        "x_forwarded_host": "set",
        "x_forwarded_port": "off",
        "forwarded": False,
        "via": "varnish",
        "port": 80,
        "date": True,
        "fastly": fastly_options(cdn, node_name("FRA"), 80, "secret"),
    }
    assert hop_options(tiers["elb"], "secret") == {
        "x_forwarded_for": "append",
        "x_forwarded_proto": "set",
        "x_forwarded_host": "off",
        "x_forwarded_port": "set",
        "forwarded": False,
        "via": None,
        "port": 81,
        "date": False,
        "alb": {"drop_invalid_header_fields": False, "preserve_host_header": False},
    }
    assert hop_options(tiers["haproxy@n2"], "secret") == {
        "x_forwarded_for": "line",
        "x_forwarded_proto": "if_none",
        "x_forwarded_host": "if_none",
        "x_forwarded_port": "if_none",
        "forwarded": False,
        "via": None,
        "port": 8102,
        "date": False,
    }


def test_hop_options_are_a_recipe() -> None:
    recipe = Recipe([hop_options(tier, "secret") for tier in chain_from(whole(), "cdn")])
    made = request_for_test(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n", recipe)
    entry = hop_options(whole()["cdn"], "secret")["fastly"]
    trace = re.compile(rb"X-Amzn-Trace-Id: Root=1-[0-9a-f]{8}-[0-9a-f]{24}\r\n")
    assert len(trace.findall(made)) == 1
    assert trace.sub(b"", made) == (
        b"GET / HTTP/1.1\r\n"
        b"Host: shop\r\n"
        b"Fastly-Client-IP: 192.0.2.1\r\n"
        b"Fastly-FF: " + f"{entry['service_hash']}!FRA!{entry['node']}".encode() + b"\r\n"
        b"CDN-Loop: Fastly\r\n"
        b"Fastly-Client: 1\r\n"
        b"X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n"
        b"X-Forwarded-For: 127.0.0.1\r\n"
        b"X-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: shop\r\n"
        b"X-Forwarded-Port: 81\r\n"
        b"Via: 1.1 varnish\r\n\r\n"
    )


def answer_through(recipe: Recipe | None) -> bytes | None:
    """An answer of a tier as it leaves the tiers in front; None where nobody changes it."""
    if recipe is None:
        return None
    date = b"Date: now\r\n"
    return response_for_test(b"HTTP/1.1 503 x\r\nVia: 1.1 a\r\n\r\n", recipe, 0, 0, date)


def test_outer_recipes_are_of_the_tiers_in_front() -> None:
    """An answer that the haproxy makes passes elb and cdn, which leave their marks on it."""
    by_cdn = b"HTTP/1.1 503 x\r\nDate: now\r\nVia: 1.1 a, 1.1 varnish\r\n\r\n"
    by_nobody = b"HTTP/1.1 503 x\r\nVia: 1.1 a\r\n\r\n"
    tiers = whole()
    for entry, expected in (
        ("cdn", [None, by_cdn, by_cdn]),
        ("elb", [None, None, by_nobody]),
        ("haproxy@n2", [None, None, None]),
    ):
        assert (
            list(map(answer_through, outer_recipes(chain_from(tiers, entry), "secret"))) == expected
        )


# -- a tier's numbers ---------------------------------------------------------------------------


def test_tier_options_of_haproxy() -> None:
    assert tier_options(Haproxy()) == {
        "limits": {
            "request_line_bytes": 8192,
            "header_bytes": 16384,
            "header_count": 100,
            "body_bytes": 0,
            "chunk_extension_bytes": 256,
            "trailer_bytes": 8192,
        },
        "timeouts_ms": {
            "connect": 5_000,
            "client": 50_000,
            "server": 50_000,
            "http_request": 10_000,
            "http_keep_alive": 60_000,
            "queue": 5_000,
            "tunnel": 3_600_000,
        },
        "retries": 3,
        "redispatch": 1,
        "retry_on": RetryOn.ON_CONNECT | RetryOn.ON_EMPTY,
        "retry_unsafe": False,
        "observe": Layer.LAYER_NONE,
        "marks_down": False,
        "fullconn": connections_max() // 10,
        "is_hash": False,
        "reuse": "safe",
        "purge_ms": 5_000,
        "retry_after_s": 1,
        "error_limit": 10,
        "idle_max": 1024,
        "idle_ms": 4_000,
        "connections_max": connections_max(),
    }


def test_tier_options_of_elb_and_cdn() -> None:
    """Neither sends Retry-After nor takes a server down by itself: their checks decide."""
    elb, cdn = tier_options(Elb()), tier_options(Cdn())
    for options in (elb, cdn):
        assert (options["error_limit"], options["retry_after_s"]) == (0, 0)
    assert (elb["retries"], cdn["retries"]) == (0, 1)
    assert (elb["timeouts_ms"]["server"], cdn["timeouts_ms"]["server"]) == (60_000, 15_000)
    assert (elb["timeouts_ms"]["connect"], cdn["timeouts_ms"]["connect"]) == (10_000, 1_000)


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"timeouts": {"queue": "7s"}}, ("timeouts_ms", "queue"), 7_000),
        ({"timeouts": {"connect": "7s"}}, ("timeouts_ms", "queue"), 7_000),
        ({"timeouts": {"connect": "1ms"}}, ("timeouts_ms", "connect"), 1),
        ({"timeouts": {"connect": "2500us"}}, ("timeouts_ms", "connect"), 2),
        ({"limits": {"body": "1MiB"}}, ("limits", "body_bytes"), 2**20),
        ({"retries": 0}, ("retries",), 0),
        ({"redispatch": False}, ("redispatch",), False),
        ({"retry_after": "90s"}, ("retry_after_s",), 90),
        ({"max_connections": 9}, ("connections_max",), 9),
        ({"max_idle_per_server": 3}, ("idle_max",), 3),
        ({"error_limit": 4}, ("error_limit",), 4),
        # Without a check nobody could raise the server again.
        ({"error_limit": 4, "health_check": {"enabled": False}}, ("error_limit",), 0),
    ],
    ids=str,
)
def test_tier_options_follow_the_file(
    given: dict[str, object], path: tuple[str, ...], value: object
) -> None:
    options = tier_options(Haproxy.model_validate(given))
    for key in path:
        options = options[key]
    assert options == value


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


@pytest.mark.parametrize("name", ["cdn", "elb", "haproxy@n1"])
def test_tier_options_make_a_tier(arena: Arena, name: str) -> None:
    tier = whole()[name]
    made = Tier(name, KINDS[tier.kind], arena, arena.claim_row(1), 0, tier_options(tier.settings))
    assert (made.name, made.kind, made.servers) == (name, KINDS[tier.kind], [])
