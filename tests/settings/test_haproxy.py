"""edge.settings.haproxy: where HAProxy's CLI is, and what its clients may do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.settings import load
from edge.settings.haproxy import Haproxy, Stats


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "edge.yaml"


def text(stats: str) -> str:
    return (
        f"haproxy: {{listen: 127.0.0.1:8080, stats: {stats}}}\n"
        "nodes: [{name: node1, web: 127.0.0.1:9001}]\n"
    )


def test_there_is_none_by_default_and_clients_may_only_look() -> None:
    assert Haproxy().stats is None
    assert Stats(socket="/run/edge.sock").level == "operator"


def test_a_socket_and_an_address(path: Path) -> None:
    path.write_text(text("{socket: /run/edge.sock, listen: 127.0.0.1:9999, level: admin}"))
    settings = load(str(path))
    assert settings.haproxy is not None
    expected = Stats(socket="/run/edge.sock", listen="127.0.0.1:9999", level="admin")
    assert settings.haproxy.stats == expected


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        ("{}", "haproxy.stats: needs `socket` (a path), `listen` (an address), or both"),
        ("", "haproxy.stats: needs `socket`"),
        ("{level: admin}", "haproxy.stats: needs `socket`"),
        ("{socket: run.sock}", "haproxy.stats.socket: must be an absolute path"),
        (f"{{socket: /{'a' * 91}}}", "haproxy.stats.socket: must be an absolute path"),
        ("{socket: /a, level: root}", "haproxy.stats.level: "),
        ("{listen: 127.0.0.1:8080}", "haproxy.stats.listen: 127.0.0.1:8080 is already"),
        ("{listen: 127.0.0.1:9001}", "is already the address of haproxy.stats.listen"),
    ],
)
def test_what_cannot_be_used_is_said(path: Path, stats: str, message: str) -> None:
    path.write_text(text(stats))
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert message in str(caught.value)
