"""edge.settings.rule_lines: mistakes of rules are told with their line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.plan import build_plan
from edge.settings import load

NODES = """
nodes:
  - {name: a, web: 127.0.0.1:1}
  - {name: b, web: 127.0.0.1:2}
  - {name: core, role: core}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    """The lines that `edge check` prints, without the file's name."""
    file = tmp_path / "edge.yaml"
    file.write_text(text.lstrip() + NODES)
    try:
        load(str(file))
    except ConfigError as error:
        return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
    return []


def test_mistakes_have_their_line_and_key(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
haproxy:
  listen: 127.0.0.1:8080
  acl: ["x pth /y"]
  http_request:
    - deny if { path /x }
    - dny
  http_response: ["set-header X %[path]"]
  use_backend: ["apy if TRUE"]
  default_backend: ap
  monitor_uri: /up
  monitor_fail: "if { nbsrv(none) lt 1 }"
  backends:
    api:
      nodes: [a, core]
      http_request: ["deny if x"]
    web: {listen: "127.0.0.1:9", nodes: []}
    elb: {}
""",
    )
    starts = [
        "3: haproxy.acl[0]: has no fetch `pth`",
        "6: haproxy.http_request[1]: has no action `dny`; did you mean deny?",
        "7: haproxy.http_response[0]: `set-header` `path` reads a request",
        "8: haproxy.use_backend[0]: names the backend 'apy'; did you mean api?",
        "9: haproxy.default_backend: names the backend 'ap'; did you mean api?",
        "11: haproxy.monitor_fail: `nbsrv` names the backend 'none'",
        "14: haproxy.backends.api.nodes[1]: no node with web traffic has the name 'core'",
        "15: haproxy.backends.api.http_request[0]: `deny` names the acl 'x'",
        "16: haproxy.backends.web.listen: belongs to the frontend",
        "16: haproxy.backends.web.nodes: must have at least one row",
        "17: haproxy.backends.elb: elb is the name of a tier",
    ]
    assert len(found) == len(starts), found
    for line, start in zip(found, starts, strict=True):
        assert line.startswith(start)


def test_rows_that_are_no_text_are_told_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "haproxy: {listen: '127.0.0.1:8080', http_request: [5, deny if x]}")
    assert [line.split(": ")[1] for line in found] == [
        "haproxy.http_request[0]",
        "haproxy.http_request[1]",
    ]


GOOD = """
haproxy:
  listen: 127.0.0.1:8080
  balance: leastconn
  retries: 7
  http_request: ["set-header X 1"]
  timeouts: {server: 9s, client: 8s}
  stick_tables: {clients: {store: gpc0}}
  backends:
    api: {nodes: [b], timeouts: {server: 2s}, balance: uri}
    web: {http_response: ["del-header Server"]}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    file = tmp_path / "edge.yaml"
    file.write_text(GOOD.lstrip() + NODES)
    return str(file)


def test_a_backend_has_the_tiers_keys_where_it_has_none(good: str) -> None:
    haproxy, api, web = build_plan(load(good), None).tiers
    assert [tier.name for tier in (haproxy, api, web)] == ["haproxy", "api", "web"]
    assert [tier.frontend for tier in (haproxy, api, web)] == [None, "haproxy", "haproxy"]
    assert [server.key for server in api.servers] == ["api/b"]
    assert [server.key for server in web.servers] == ["web/a", "web/b"]
    assert api.settings.balance == "uri"  # type: ignore[union-attr]
    assert web.settings.balance == "leastconn"  # type: ignore[union-attr]
    assert api.settings.retries == 7  # type: ignore[union-attr]
    assert (api.settings.timeouts.server_s, api.settings.timeouts.client_s) == (2, 8)
    assert not api.settings.http_request  # type: ignore[union-attr]
    assert web.settings.http_response == ["del-header Server"]  # type: ignore[union-attr]


def test_behind_an_elb_every_machine_has_its_backends(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    haproxy = GOOD.replace("  listen: 127.0.0.1:8080\n", "")
    file.write_text("elb: {listen: '127.0.0.1:80'}" + haproxy + NODES)
    plan = build_plan(load(str(file)), None)
    assert [tier.name for tier in plan.tiers] == [
        "elb", "haproxy@a", "api@a", "web@a", "haproxy@b", "api@b", "web@b"]  # fmt: skip
    assert [check.key for check in plan.checks if check.key.startswith("api")] == [
        "api@a/b", "api@b/b"]  # fmt: skip
