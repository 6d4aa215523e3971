"""edge.settings.haproxy_servers: what the keys about servers take, and which do not fit."""

from pathlib import Path

import pytest

from edge.errors import EdgeError
from edge.plan import build_plan
from edge.settings import Settings
from edge.settings.haproxy import Haproxy
from edge.settings.loader import load as load_settings

FILE = "haproxy: {{listen: '127.0.0.1:80', {keys}}}\nnodes: [{{name: n, web: '127.0.0.1:81'}}]\n"


def load(tmp_path: Path, keys: str) -> Settings:
    path = tmp_path / "edge.yaml"
    path.write_text(FILE.format(keys=keys))
    return load_settings(str(path))


@pytest.mark.parametrize(
    ("text", "after"), [("true", 1), ("false", 0), ("3", 3), ("-1", -1), ("0", 0), ("-100", -100)]
)
def test_redispatch(tmp_path: Path, text: str, after: int) -> None:
    settings = load(tmp_path, f"redispatch: {text}")
    assert settings.haproxy is not None
    assert settings.haproxy.redispatch == after
    again = Settings.model_validate_json(settings.model_dump_json())
    assert again == settings


def test_retry_on_takes_names_and_statuses(tmp_path: Path) -> None:
    settings = load(tmp_path, "retry_on: [conn-failure, 503, 0rtt-rejected]")
    assert settings.haproxy is not None
    assert settings.haproxy.retry_on == ["conn-failure", 503, "0rtt-rejected"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("redispatch: 101", "haproxy.redispatch: must be true, false, or a whole number"),
        ("redispatch: 1.5", "haproxy.redispatch: must be true, false, or a whole number"),
        ("retry_on: [402]", "haproxy.retry_on"),
        ("retry_on: [none, 503]", "`none` is for itself"),
        ("retries: 0, retry_on: [503]", "changes nothing with `retries: 0`"),
        ("on_error: mark-down", "changes nothing without `observe`"),
        ("observe: layer7, health_check: {enabled: false}", "needs health checks"),
        ("on_marked_down: shutdown-sessions, health_check: {enabled: false}", "needs health"),
        ("http_reuse: sometimes", "haproxy.http_reuse"),
        ("fullconn: 0", "haproxy.fullconn: must be a whole number from 1"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, keys: str, problem: str) -> None:
    with pytest.raises(EdgeError) as refused:
        load(tmp_path, keys)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("backends: {b: {retry_on: [none, 503]}}", "haproxy.backends.b.retry_on: `none` is"),
        ("retries: 0, backends: {b: {retry_on: [503]}}", "haproxy.backends.b.retry_on: changes"),
        ("backends: {b: {on_error: mark-down}}", "haproxy.backends.b.on_error: changes nothing"),
        (
            "health_check: {enabled: false}, backends: {b: {observe: layer4}}",
            "haproxy.backends.b.observe: needs health checks",
        ),
    ],
)
def test_what_does_not_fit_in_a_backend(tmp_path: Path, keys: str, problem: str) -> None:
    with pytest.raises(EdgeError) as refused:
        load(tmp_path, keys)
    assert problem in str(refused.value)


def test_a_backend_has_keys_about_servers_of_its_own(tmp_path: Path) -> None:
    keys = (
        "server_minconn: 2, server_maxqueue: 3, retry_on: [503], observe: layer4,"
        " backends: {b: {server_maxconn: 9, on_error: mark-down, retries: 0}}"
    )
    own, behind = build_plan(load(tmp_path, keys), None).tiers
    limits = [
        (server.maxconn, server.minconn, server.maxqueue)
        for tier in (own, behind)
        for server in tier.servers
    ]
    assert limits == [(2, 2, 3), (9, 2, 3)]
    settings = behind.settings
    assert isinstance(settings, Haproxy)
    assert (settings.observe, settings.on_error, settings.retries) == ("layer4", "mark-down", 0)
