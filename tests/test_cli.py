"""The command line: exit statuses, what goes where, and that `edge check` stays cheap."""

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge import __version__
from edge.cli import main

ROOT = Path(__file__).parent.parent
GOOD = """
haproxy:
  listen: 127.0.0.1:%d
  health_check: {enabled: false}  # nobody is on 9001, and that would be a line among the others
nodes:
  - {name: node1, web: 127.0.0.1:9001}
"""
WAIT_S_MAX = 30.0


def write(folder: Path, text: str) -> str:
    file = folder / "edge.yaml"
    file.write_text(text)
    return str(file)


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"edge {declared}\n"
    assert declared == __version__


def test_check_of_a_good_file_is_0(tmp_path: Path) -> None:
    assert main(["check", write(tmp_path, GOOD % 8080)]) == 0


def test_check_of_a_bad_file_is_1_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, GOOD.replace("listen", "lisen") % 8080)
    assert main(["check", file]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert any(
        line.startswith(f"{file}:3: haproxy.lisen: ") and "`listen`" in line
        for line in said.err.splitlines()
    )


def test_a_file_that_is_not_there_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.yaml")
    assert main(["check", missing]) == 1
    assert capsys.readouterr().err.startswith(f"{missing}: ")


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "haproxy" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["run"],
        ["check"],
        ["run", "f", "--workers", "0"],
        ["run", "f", "--workers", "-1"],
        ["run", "f", "--workers", "1000"],
        ["demo", "--seconds", "x"],
    ],
)
def test_a_wrong_command_line_is_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: edge" in capsys.readouterr().err


def test_check_does_not_load_the_data_path(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD % 8080)
    script = (
        "import sys; from edge.cli import main; main(sys.argv[1:]);"
        # The names and patterns of rules are checked by what carries them out.
        "serving = ('ext.session', 'ext.upstream', 'ext.store', 'ext.arena', 'aiohttp', 'uvloop');"
        "print([module for module in serving if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", file],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=WAIT_S_MAX,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.wire
@pytest.mark.parametrize("tier", ["cdn", "haproxy@node1"])
def test_run_of_a_tier_that_is_not_there_is_1(tmp_path: Path, tier: str) -> None:
    done = run_edge("run", write(tmp_path, GOOD % 8080), "--tier", tier)
    assert done.returncode == 1
    assert tier in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.wire
def test_run_of_a_bad_file_is_1(tmp_path: Path) -> None:
    file = write(tmp_path, "nodes: []\n")
    done = run_edge("run", file)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file}:")


@pytest.mark.wire
def test_run_serves_until_sigterm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", write(tmp_path, GOOD % port), "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == f"edge: haproxy listens on 127.0.0.1:{port}\n"
        assert process.stderr.readline() == "edge: ready\n"
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S_MAX).close()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)
        if process.stderr is not None:
            process.stderr.close()


def run_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=WAIT_S_MAX,
        check=False,
    )
