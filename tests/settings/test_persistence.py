"""edge.settings.persistence: the `cookie` key."""

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.settings import load
from edge.settings.persistence import Cookie


def written(tmp_path: Path, cookie: str, value: str = "a") -> str:
    path = tmp_path / "edge.yaml"
    path.write_text(
        f"haproxy: {{listen: 127.0.0.1:8080, cookie: {cookie}}}\n"
        f"nodes: [{{name: node1, web: 127.0.0.1:9001, cookie: {value}}}]\n"
    )
    return str(path)


def test_a_cookie_of_a_file(tmp_path: Path) -> None:
    text = "{name: SRV, indirect: true, maxidle: 30m, domains: [.shop.example]}"
    settings = load(written(tmp_path, text))
    assert settings.haproxy is not None
    expected = Cookie(name="SRV", indirect=True, maxidle_s=1800.0, domains=[".shop.example"])
    assert settings.haproxy.cookie == expected
    assert settings.nodes[0].cookie == "a"


@pytest.mark.parametrize(
    ("cookie", "value", "message"),
    [
        ("{}", "a", "haproxy.cookie.name: is missing"),
        ("{name: 'a b'}", "a", "haproxy.cookie.name: must be a cookie's name"),
        ("{name: SRV, mode: passive}", "a", "must be one of insert, rewrite, prefix"),
        ("{name: SRV, attributes: ['a;b']}", "a", "must be an attribute such as SameSite=Lax"),
        ("{name: SRV, domains: ['a b']}", "a", "must be a domain"),
        ("{name: SRV}", "'a|b'", "nodes[0].cookie: must be 1 to 64"),
        ("{name: SRV}", "'a~b'", "nodes[0].cookie: must be 1 to 64"),
        ("{name: SRV}", "'a;b'", "nodes[0].cookie: must be 1 to 64"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, cookie: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, cookie, value))
    assert message in str(caught.value)
