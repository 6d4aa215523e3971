"""Every shipped configuration starts, serves a page through each of its entrances, and stops."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import Client, free_port, run_edge
from tests.origin import Origin

pytestmark = pytest.mark.wire

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


def on_free_ports(text: str) -> tuple[str, dict[int, int]]:
    """The file with each of its ports replaced by a free one, and the ports by their old number."""
    ports: dict[int, int] = {}

    def replace(found: re.Match[str]) -> str:
        port = ports.setdefault(int(found[1]), free_port())
        return f"127.0.0.1:{port}"

    return re.sub(r"127\.0\.0\.1:(\d+)", replace, text), ports


def addresses(text: str, key: str) -> list[int]:
    """The ports of every `key: address`, comments left out."""
    lines = [line.split(" #")[0] for line in text.splitlines() if not line.startswith("#")]
    return [int(port) for port in re.findall(rf"\b{key}: 127\.0\.0\.1:(\d+)", "\n".join(lines))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_serves(path: Path, tmp_path: Path) -> None:
    text, _ = on_free_ports(path.read_text())
    admin = re.search(r"admin:\s*\n?\s*(?:\{?listen: )127\.0\.0\.1:(\d+)", text)
    assert admin is not None, "a shipped file shows the admin address"
    entrances = [
        port
        for port in addresses(text, "listen") + addresses(text, "haproxy")
        if port != int(admin[1])
    ]
    assert entrances
    with ExitStack() as stack:
        for port in addresses(text, "web"):
            stack.enter_context(Origin(default=[PAGE], port=port))
        stack.enter_context(run_edge(text, tmp_path))
        for port in entrances:
            with Client(port) as client:
                response = client.get()
                assert (response.status, response.body) == (200, b"page"), port


def test_the_four_are_shipped() -> None:
    assert [path.stem for path in CONFIGS] == ["integration", "pro", "scaled", "staging"]
