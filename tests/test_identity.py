"""edge.identity: an edge and its shield recognise each other, and nobody else."""

import re
from typing import Any

import pytest

from edge.identity import fastly_options, service_hash
from edge.settings import Cdn

SERVICE = {"id": "SU1Z0isxPaozGVKXdv0eY", "tokens": ["edge-test-token"]}


def options(
    node: str = "cache-fra12345-FRA", port: int = 80, secret: str = "s", **values: Any
) -> dict[str, Any]:
    return fastly_options(Cdn.model_validate(values), node, port, secret)


def test_service_hash_has_fastlys_form_and_depends_on_both() -> None:
    made = service_hash("SU1Z0isxPaozGVKXdv0eY", "edge-test-token")
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", made)
    assert made == service_hash("SU1Z0isxPaozGVKXdv0eY", "edge-test-token")
    assert made != service_hash("SU1Z0isxPaozGVKXdv0eZ", "edge-test-token")
    assert made != service_hash("SU1Z0isxPaozGVKXdv0eY", "")


def test_two_sites_of_one_service_have_the_same_hash() -> None:
    edge = options(service=SERVICE, pop="FRA")
    shield = options("cache-iad1-IAD", 81, service=SERVICE, pop="IAD")
    assert edge["service_hash"] == shield["service_hash"]
    assert (edge["pop"], shield["pop"]) == ("FRA", "IAD")


@pytest.mark.parametrize("tokens", [[], ["other"], ["edge-test-token", "other"]])
def test_who_has_other_tokens_is_no_site_of_the_service(tokens: list[str]) -> None:
    other = options(service=SERVICE | {"tokens": tokens})
    assert other["service_hash"] != options(service=SERVICE)["service_hash"]


def test_order_of_tokens_does_not_matter() -> None:
    tokens = [options(service=SERVICE | {"tokens": list(order)}) for order in ("ab", "ba")]
    assert tokens[0] == tokens[1]


def test_without_a_service_two_cdns_of_one_machine_are_strangers() -> None:
    """Else one in front of the other would be a loop."""
    assert options(port=80)["service_hash"] != options(port=81)["service_hash"]
    assert options(port=80) == options(port=80)


def test_without_a_service_the_sites_of_one_cdn_know_each_other() -> None:
    """Else the shield would keep from its edge what only the edge may read."""
    edge = options(listen="127.0.0.1:8080", shield="IAD")
    shield = options("cache-iad12345-IAD", listen="127.0.0.1:8080", pop="IAD")
    assert edge["service_hash"] == shield["service_hash"]
    assert edge["service_hash"] != options(listen="127.0.0.1:8081")["service_hash"]


@pytest.mark.parametrize("service", [{}, {"service": SERVICE | {"tokens": []}}])
def test_without_a_token_the_identity_cannot_be_guessed(service: dict[str, Any]) -> None:
    """Whoever could tell it would see what is for the cdn alone."""
    assert options(**service)["service_hash"] != options(secret="t", **service)["service_hash"]


def test_switches_follow_the_settings() -> None:
    made = options()
    assert made["node"] == "cache-fra12345-FRA"
    assert (made["normal_encodings"], made["strict_client_ip"]) == (True, False)
    made = options(policy="rfc9111", forwarded={"strict_client_ip": True})
    assert (made["normal_encodings"], made["strict_client_ip"]) == (False, True)
