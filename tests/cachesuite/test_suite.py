"""Installing the suite, with a stand-in for npm; the real one is needed by the wire test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cachesuite.suite import (
    PACKAGE,
    VERSION,
    Suite,
    SuiteError,
    UnavailableError,
    installed,
    run,
)

NPM = """#!/bin/sh
echo "$@" >> "$0.calls"
prefix=$3
folder=$prefix/node_modules/%s
mkdir -p $folder/tests
echo '{"version": "%s"}' > $folder/package.json
echo > $folder/tests/index.mjs
exit %d
"""


def put_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> Path:
    """Programs of those names: npm makes a folder and ends with `status`, node does nothing."""
    npm = folder / "npm"
    npm.write_text(NPM % (PACKAGE, VERSION, status))
    npm.chmod(0o755)
    (folder / "node").touch(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "npm.calls"


def test_npm_installs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = put_npm(tmp_path, monkeypatch, 0)
    for _ in range(2):
        suite = installed(tmp_path / "build")
        assert suite.is_pinned
        assert suite.folder.name == PACKAGE
    assert len(calls.read_text().splitlines()) == 1
    assert f"--ignore-scripts {PACKAGE}@{VERSION}" in calls.read_text()


def test_what_npm_left_unfinished_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm(tmp_path, monkeypatch, 7)
    with pytest.raises(UnavailableError, match="npm install"):
        installed(tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []
    put_npm(tmp_path, monkeypatch, 0)
    assert installed(tmp_path / "build").is_pinned


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    present = {"node", "npm"} - {missing}
    monkeypatch.setattr("shutil.which", lambda name, path: name if name in present else None)
    with pytest.raises(UnavailableError, match=f"{missing} is not installed"):
        installed(tmp_path / "build")


def test_another_folder_is_not_the_suite(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="not the suite"):
        Suite(tmp_path)


def test_a_clone_is_not_the_pinned_version(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "index.mjs").touch()
    (tmp_path / "package.json").write_text(f'{{"version": "{VERSION}"}}')
    assert Suite(tmp_path).is_pinned
    (tmp_path / "test-engine").mkdir()
    assert not Suite(tmp_path).is_pinned
    assert Suite(tmp_path).engine == tmp_path / "test-engine"


def test_run_tells_what_a_program_said() -> None:
    assert run(["cat"], stdin="said", timeout_s=10) == "said"
    with pytest.raises(SuiteError, match=r"sh -c .*: 3\nout\nerr"):
        run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10)
    with pytest.raises(SuiteError, match="not done after 0 s"):
        run(["sleep", "10"], timeout_s=0.05)
