"""edge.settings.loader: good files, and for bad ones the exact place and the words."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge.errors import Bug, ConfigError
from edge.settings import Settings, load
from edge.settings.loader import section_at
from edge.settings.node import Node
from edge.settings.tier import Timeouts

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

BALANCER = """\
haproxy:
  listen: 127.0.0.1:8080
nodes:
  - {name: node1, web: 127.0.0.1:9001}
  - {name: node2, web: 127.0.0.1:9002}
"""
CACHE = """\
cdn:
  listen: 127.0.0.1:8080
  cache: {size: 256MiB}
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""
CDN_KEYS = """\
cdn:
  listen: 127.0.0.1:8080
  policy: fastly                               # or rfc9111
  default_ttl: 3600s
  pop: FRA
  shield: IAD
  service: {id: SU1Z0isxPaozGVKXdv0eY, tokens: [edge-test-token]}
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edge.yaml"


def problems(file: Path, text: str) -> list[str]:
    """The error's lines, without the folder."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        load(str(file))
    lines = str(refusal.value).splitlines()
    assert all(line.startswith(str(file)) for line in lines)
    return [line.removeprefix(str(file)) for line in lines]


@pytest.mark.parametrize("text", [BALANCER, CACHE, CDN_KEYS])
def test_the_smallest_files_load(file: Path, text: str) -> None:
    file.write_text(text)
    settings = load(str(file))
    assert settings.nodes[0].web == "127.0.0.1:9001"
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_values_arrive(file: Path) -> None:
    file.write_text(
        "workers: 2\ndrain: 5s\n"
        + BALANCER.replace(
            "8080\n",
            "8080\n  timeouts: {connect: 500ms}\n  forwarded: {x_forwarded_proto: off}\n"
            "  limits: {body: 3MiB}\n  health_check: {expect: 200}\n",
        )
    )
    settings = load(str(file))
    assert (settings.workers, settings.drain_s) == (2, 5.0)
    assert settings.haproxy is not None
    assert settings.haproxy.timeouts.connect_s == 0.5
    assert settings.haproxy.forwarded.x_forwarded_proto == "off"
    assert settings.haproxy.limits.body_bytes == 3 * 2**20
    assert settings.haproxy.health_check.expect == "200"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_files_load(path: Path) -> None:
    settings = load(str(path))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_shipped_files_can_run_side_by_side() -> None:
    addresses = []
    for path in CONFIGS:
        settings = load(str(path))
        for owner in (settings.cdn, settings.elb, settings.haproxy, settings.admin):
            addresses += [owner.listen] if owner and owner.listen else []
        for node in settings.web_nodes:
            addresses += [node.web_address, *([node.haproxy] if node.haproxy else [])]
    assert len(CONFIGS) == 4
    assert len(addresses) == len(set(addresses))


NODES = "nodes: [{name: a, web: 127.0.0.1:1}]\n"
HEAD = "haproxy:\n  listen: 127.0.0.1:80\n"  # a key of haproxy that follows is on line 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "  listn: x\n" + NODES, ":3: haproxy.listn: unknown key; did you mean `listen`?"),
        (
            HEAD + "  timeouts:\n    connect_s: 1\n" + NODES,
            ":4: haproxy.timeouts.connect_s: unknown key; did you mean `connect`?",
        ),
        (
            HEAD + "  # a comment\n  zzz:\n    1\n" + NODES,
            ":4: haproxy.zzz: unknown key; known here: listen, timeouts, limits, forwarded,"
            " health_check, max_connections, max_idle_per_server, accept_proxy,"
            " accept_proxy_from, send_proxy, retries, redispatch,"
            " retry_on, retry_unsafe, error_limit",
        ),
        (HEAD + NODES + "node: []\n", ":4: node: unknown key; did you mean `nodes`?"),
        (
            HEAD + "nodes:\n- name: a\n  web: 127.0.0.1:1\n  wieght: 1\n",
            ":6: nodes[0].wieght: unknown key; did you mean `weight`?",
        ),
        (
            HEAD + "  timeouts:\n    server:\n      15x\n" + NODES,
            ":5: haproxy.timeouts.server: must be a duration such as 500ms, 2s or 1m, not '15x'",
        ),
        (
            HEAD + "  timeouts: {connect: 0}\n" + NODES,
            ":3: haproxy.timeouts.connect: must be from 1ms to 10m, not 0",
        ),
        (
            HEAD + "  limits: {header: 1MiB}\n" + NODES,
            ":3: haproxy.limits.header: must be from 256B to 64KiB, not '1MiB'",
        ),
        (
            HEAD + "  retries: many\n" + NODES,
            ":3: haproxy.retries: must be a whole number from 0 to 100 (attempts after the first),"
            " not 'many'",
        ),
        (
            HEAD + "  redispatch: yes\n" + NODES,
            ":3: haproxy.redispatch: must be true, false, or a whole number from -100 to 100,"
            " not 'yes'",
        ),
        (
            HEAD + "  balance: round_robin\n" + NODES,
            ":3: haproxy.balance: must be one of roundrobin, static-rr, leastconn, first, source,"
            " uri, url_param, hdr, random, not 'round_robin'; did you mean roundrobin?",
        ),
        (
            HEAD + "  balance:\n" + NODES,
            ":3: haproxy.balance: has no value: give one, or leave the key out for its default",
        ),
        (
            HEAD + "  health_check: {expect: 2xx}\n" + NODES,
            ":3: haproxy.health_check.expect: must be a list of codes and ranges from 100 to 599"
            " such as \"200,302,400-404\", not '2xx'",
        ),
        (
            HEAD + "  health_check:\n" + NODES,
            ":3: haproxy.health_check: must be a mapping of keys (known here: enabled, path,"
            " method, host, expect, interval, timeout, rise, fall, fast_interval, down_interval,"
            " http_check, tcp_check, disable_on_404, log_health_checks, agent), not nothing",
        ),
        (
            HEAD + "  timeouts: {connect: }\n" + NODES,
            ":3: haproxy.timeouts.connect: has no value: give one, or leave the key out for its"
            " default",
        ),
        ("haproxy: {listen: 8080}\n" + NODES, ":1: haproxy.listen: must be host:port such as"),
        ("haproxy: {}\n" + NODES, ":1: haproxy: nothing listens"),
        (HEAD + NODES + "elb:\n", ":4: elb: is empty: write `elb: {}`"),
        (HEAD, ":1: nodes: is missing: The machines of the cluster, one row each."),
        (HEAD + "nodes: []\n", ":3: nodes: must have at least one row"),
        (HEAD + "nodes: {name: a}\n", ":3: nodes: must be a list of `- ` rows, not a mapping"),
        (HEAD + "nodes:\n- node1\n", ":4: nodes[0]: must be a mapping of keys (known here: name,"),
        (
            HEAD + "nodes:\n- name: a\n  web: 127.0.0.1:1\n\n- web: 127.0.0.1:2\n",
            ":7: nodes[1].name: is missing: The node's name, unique in the file.",
        ),
        (
            HEAD + "nodes:\n- name: a\n  web: 127.0.0.1:1\n- name: a\n  web: 127.0.0.1:2\n",
            ":6: nodes[1].name: 'a' is the name of nodes[0]; names are unique",
        ),
        (
            HEAD + NODES + NODES,
            ":4: nodes: is given twice, first on line 3; keep one",
        ),
        (
            HEAD + NODES + "cdn:\n  cache:\n    size: 8MiB\n    max_object: 9MiB\n",
            ":7: cdn.cache.max_object: must be at most the cache's size, 8MiB",
        ),
        (
            HEAD + NODES + "cdn: {pop: fra}\n",
            ":4: cdn.pop: must be the three capital letters of a Fastly site, such as FRA, not"
            " 'fra'",
        ),
        (HEAD + NODES + "cdn: {cache: {size: 8}}\n", ":4: cdn.cache.size: must be from 1MiB to"),
        (HEAD + NODES + "workers: 65\n", ":4: workers: must be a whole number from 1 to 64"),
        (HEAD + NODES + "drain: -1\n", ":4: drain: must be from 0s to 1h, not -1"),
        (NODES, ":1: has no tier: give at least one of cdn, elb, haproxy"),
        (HEAD + NODES + "cdn: [\n", ":5: is not valid YAML: "),
        ("", ":1: is empty: it needs `nodes` and one of cdn, elb, haproxy"),
        ("- a\n", ":1: must be a mapping of keys such as `nodes:`, not a list"),
    ],
)
def test_a_bad_file_names_the_place_and_what_would_be_right(
    file: Path, text: str, problem: str
) -> None:
    (found,) = problems(file, text)
    assert found.startswith(problem)


def test_every_problem_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = """\
nodes:
  - {name: a, web: 127.0.0.1:1, weight: 300}
  - {name: a, web: 127.0.0.1:1}
  - {name: c, web: 127.0.0.1, zone: c}
haproxy:
  listen: 127.0.0.1:80
  listen: 127.0.0.1:81
  balance: best
cdn:
  cache: {size: 1kb, max_object: 1MiB}
  shield: 5
admin: {listen: 127.0.0.1:80, token: 5}
"""
    places = [problem.split(": ")[:2] for problem in problems(file, text)]
    assert [(int(line.strip(":")), path) for line, path in places] == [
        (2, "nodes[0].weight"),
        (3, "nodes[1].name"),
        (3, "nodes[1].web"),
        (4, "nodes[2].web"),
        (7, "haproxy.listen"),
        (8, "haproxy.balance"),
        (10, "cdn.cache.size"),
        (11, "cdn.shield"),
        (12, "admin.listen"),
        (12, "admin.token"),
    ]


def test_a_default_that_hangs_on_a_bad_key_is_not_blamed(file: Path) -> None:
    text = HEAD + NODES + "cdn: {cache: {size: big}}\n"
    (found,) = problems(file, text)
    assert found.startswith(":4: cdn.cache.size: must be a size")


def test_a_secret_is_not_printed(file: Path) -> None:
    (found,) = problems(file, HEAD + NODES + "admin: {listen: 127.0.0.1:9, token: 'hunter 2'}\n")
    assert found.startswith(":4: admin.token: must be")
    assert "hunter" not in found


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(str(file))
    assert str(refusal.value) == f"{file}: cannot be read: {os.strerror(2)}"
    with pytest.raises(ConfigError, match="cannot be read: "):
        load(str(file.parent))


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"nodes:\n- \xff\n")
    with pytest.raises(ConfigError) as refusal:
        load(str(file))
    assert str(refusal.value) == f"{file}:2: is not UTF-8 text: byte 0xff"


def test_a_byte_order_mark_is_no_key(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + BALANCER.encode())
    assert len(load(str(file)).nodes) == 2


def test_the_problems_are_data(file: Path) -> None:
    file.write_text(HEAD + "  retries: 101\n" + NODES)
    with pytest.raises(ConfigError) as refusal:
        load(str(file))
    (problem,) = refusal.value.problems
    assert (problem.file, problem.line, problem.key_path) == (str(file), 3, "haproxy.retries")


def test_no_refusal_without_a_reason() -> None:
    with pytest.raises(Bug):
        ConfigError([])


def test_section_at() -> None:
    assert section_at(()) is Settings
    assert section_at(("nodes", 3)) is Node
    assert section_at(("haproxy", "timeouts")) is Timeouts
    assert section_at(("haproxy", "listen")) is None
    assert section_at(("nowhere", "at", "all")) is None


SHAPES = st.recursive(
    st.sampled_from(["~", "true", "5", "-1", "1.5", "2s", "1MiB", "x", "127.0.0.1:80", "[::1]:80"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda rows: "[" + ", ".join(rows) + "]"),
        st.dictionaries(
            st.sampled_from(["listen", "name", "web", "cache", "size", "timeouts", "connect", "?"]),
            inner,
            max_size=3,
        ).map(lambda rows: "{" + ", ".join(f"{key}: {row}" for key, row in rows.items()) + "}"),
    ),
    max_leaves=6,
)


@hypothesis_settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["cdn", "elb", "nodes", "admin", "x"]), SHAPES)))
def test_any_yaml_loads_or_is_explained(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text("".join(f"{key}: {shape}\n" for key, shape in rows))
    try:
        load(str(file))
    except ConfigError as refusal:
        for problem in refusal.problems:
            assert problem.line is not None
            assert problem.message
            assert "Input should" not in problem.message, "a message of pydantic's own"
