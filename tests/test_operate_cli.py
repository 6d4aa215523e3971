"""`edge status | drain | ready | maint | rollout | reload` as commands: words, output, statuses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from tests.standin_admin import StandinAdmin, StandinNodes, row

pytestmark = pytest.mark.wire

Say = Callable[..., tuple[int, list[str], str]]
STATUS: dict[str, Any] = {
    "version": "1",
    "generation": 1,
    "uptime_s": 1.0,
    "workers": [],
    "tiers": [],
    "cache": None,
}


class Bench:
    """One scripted edge with two nodes."""

    def __init__(self, folder: Path) -> None:
        self.rows = [row("node1"), row("node2")]
        self.nodes = StandinNodes(self.rows)
        self.admin = StandinAdmin(self._answer)
        self.file = folder / "edge.yaml"
        self.file.write_text(
            "haproxy: {listen: 127.0.0.1:8080}\n"
            f"admin: {{listen: '{self.admin.address}', token: s3cret}}\n"
            "nodes: [{name: node1, web: 127.0.0.1:9001}]\n"
        )

    def _answer(self, method: str, path: str) -> tuple[int, Any]:
        if path == "/status":
            return 200, STATUS
        return self.nodes.answer(method, path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.admin.end()


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs `edge` with these words: exit status, lines of stdout, stderr."""

    def run(*words: str) -> tuple[int, list[str], str]:
        monkeypatch.delenv("EDGE_ADMIN_TOKEN", raising=False)
        try:
            status = main(words)
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        said = capfd.readouterr()
        return status, said.out.splitlines(), said.err

    return run


def test_drain_and_ready_by_the_file(bench: Bench, say: Say) -> None:
    assert say("drain", "node1", "--config", str(bench.file)) == (
        0,
        ["node1: drained, no request is running there"],
        "",
    )
    assert say("ready", "node1", "--config", str(bench.file))[:2] == (
        0,
        ["node1: ready, in service"],
    )
    assert say("maint", "node1", "--config", str(bench.file))[0] == 0
    assert bench.nodes.orders == [("node1", order) for order in ("drain", "ready", "maint")]
    assert {token for _, _, token in bench.admin.asked} == {"Bearer s3cret"}


def test_drain_by_address_and_token(bench: Bench, say: Say) -> None:
    words = ("--admin", f"http://{bench.admin.address}", "--token", "t")
    assert say("drain", "node2", *words)[0] == 0
    assert bench.admin.asked[0] == ("POST", "/nodes/node2/drain", "Bearer t")


def test_a_drain_that_is_late_is_3(bench: Bench, say: Say) -> None:
    bench.rows[0]["in_flight"] = 5
    status, _, err = say("drain", "node1", "--admin", bench.admin.address, "--timeout", "0.000001")
    assert status == 3
    assert err == ("edge: node1: after 1e-06s it still waits for running requests: 5 in haproxy\n")


@pytest.mark.parametrize("command", [("drain", "nobody"), ("ready", "nobody")])
def test_an_unknown_node_is_1(bench: Bench, say: Say, command: tuple[str, str]) -> None:
    status, out, err = say(*command, "--admin", bench.admin.address)
    assert (status, out) == (1, [])
    assert err.startswith(f"edge: {bench.admin.address} refused with 404: ")


def test_a_bad_file_is_1_and_says_where(tmp_path: Path, say: Say) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text("nodes: []\n")
    for words in (("drain", "n", "--config"), ("status",), ("reload",)):
        status, _, err = say(*words, str(file))
        assert status == 1
        assert err.startswith(f"{file}:")


def test_nobody_there_is_1(say: Say) -> None:
    status, _, err = say("status", "--admin", "127.0.0.1:1")
    assert status == 1
    assert err == "edge: 127.0.0.1:1 cannot be reached: Connection refused; is edge running?\n"


def test_rollout_runs_the_command_for_each_node(bench: Bench, say: Say) -> None:
    status, out, _ = say(
        "rollout", "--config", str(bench.file), "--command", "echo at {node} as $EDGE_NODE"
    )
    assert status == 0
    assert [line for line in out if line.startswith("at ")] == [
        "at node1 as node1",
        "at node2 as node2",
    ]
    assert out[-1] == "done: node1, node2"


def test_rollout_of_some_that_fails_is_1(bench: Bench, say: Say) -> None:
    words = ("--admin", bench.admin.address, "--nodes", "node2,node1")
    status, _, err = say("rollout", *words, "--command", "exit 4")
    assert status == 1
    assert err.splitlines() == [
        "edge: node2: the command ended with status 4",
        "done: none; node2 stays drained; not begun: node1",
    ]


def test_status_is_a_table_or_json(bench: Bench, say: Say) -> None:
    status, out, _ = say("status", str(bench.file), "--interval", "0.01")
    assert status == 0
    assert out[0].startswith("edge 1   generation 1   up 1s")
    status, out, _ = say("status", "--config", str(bench.file), "--json")
    assert json.loads("\n".join(out)) == STATUS


def test_watching_ends_well_with_ctrl_c(
    bench: Bench, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge.status_command.watch.__kwdefaults__", {"pause": interrupted})
    assert say("status", str(bench.file), "--watch")[0] == 0
    assert say("status", str(bench.file))[0] == 130


@pytest.mark.parametrize(
    "words",
    [
        ("drain",),
        ("drain", "a", "b"),
        ("drain", "a", "--timeout", "0"),
        ("drain", "a", "--timeout", "inf"),
        ("drain", "a", "--timeout", "nan"),
        ("drain", "a", "--timeout", "soon"),
        ("rollout",),
        ("status", "--watch", "--json"),
        ("status", "--interval", "-1"),
    ],
)
def test_a_wrong_command_line_is_2(say: Say, words: tuple[str, ...]) -> None:
    status, _, err = say(*words)
    assert status == 2
    assert "usage: edge" in err
