"""The public test suite for HTTP caches, behind cache-tests.fyi: installed, started, asked, judged.

The suite is an npm package: an origin that answers as each test has told it to, and a client that
sends the requests of 350 tests through the cache and looks at both ends. It is no part of this
project: npm installs the pinned version into build/ on first use. What counts as passed is decided
by the suite's own code (judge.mjs). A clone of its repository, with newer tests, works as well.

Source: https://github.com/http-tests/cache-tests, README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGE = "http-cache-tests"
VERSION = "0.4.5"  # the newest in the registry
KINDS = ("required", "optimal", "check")
INSTALL_TIMEOUT_S = 180.0
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # Debian's ca-certificates
START_TIMEOUT_S = 20.0
# 350 tests in rounds of 100 whose pauses make 30 s; a client that a cache leaves without an answer
# would wait forever.
CLIENT_TIMEOUT_S = 180.0


class UnavailableError(RuntimeError):
    """The suite cannot be had here: no node, no npm, or no way to the registry."""


class SuiteError(RuntimeError):
    """A program of the suite failed; its output is in the message."""


@dataclass(frozen=True)
class Verdict:
    """What the suite says about one test."""

    id: str
    chapter: str
    name: str
    kind: str  # of KINDS
    word: str  # see judge.mjs
    detail: str  # of a failure: what was seen and what was expected

    @property
    def is_good(self) -> bool:
        """Passed, or `yes` for a check, which asks how a cache behaves without calling it right."""
        return self.word in ("pass", "yes")


def installed(cache: Path = ROOT / "build") -> Suite:
    """The pinned version, which npm installs when it is not there; UnavailableError."""
    program("node")
    folder = cache / f"{PACKAGE}-{VERSION}"
    if not folder.exists():
        install(folder)
    return Suite(folder / "node_modules" / PACKAGE)


def install(folder: Path) -> None:
    """npm's work, moved into place when it is whole, so that what was cut short is done again."""
    npm = program("npm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="npm-", dir=folder.parent) as name:
        command = [npm, "install", "--prefix", name, "--no-audit", "--no-fund", "--omit=dev"]
        # Nothing of the package needs to run in order to be installed.
        command += ["--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        try:
            run(command, timeout_s=INSTALL_TIMEOUT_S, variables=trust())
        except SuiteError as error:
            raise UnavailableError(str(error)) from error
        whole = Path(name) / "whole"
        whole.mkdir()
        (Path(name) / "node_modules").rename(whole / "node_modules")
        try:
            whole.rename(folder)
        except OSError:  # another run was faster
            if not folder.exists():
                raise


def trust() -> dict[str, str]:
    """What npm lacks where the machine has certificates of its own: node reads only those it was
    built with, unlike every other program of the system."""
    if "NODE_EXTRA_CA_CERTS" in os.environ or not SYSTEM_CERTIFICATES.exists():
        return {}
    return {"NODE_EXTRA_CA_CERTS": str(SYSTEM_CERTIFICATES)}


def program(name: str) -> str:
    """The path of a program; UnavailableError when it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise UnavailableError(f"{name} is not installed")
    return found


def run(
    command: list[str],
    *,
    timeout_s: float,
    stdin: str = "",
    variables: Mapping[str, str] | None = None,
) -> str:
    """The standard output of a program that must succeed; SuiteError with all that it said."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | (variables or {}),
        )
    except subprocess.TimeoutExpired as error:
        raise SuiteError(f"{' '.join(command)}: not done after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise SuiteError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Suite:
    """The suite in a folder: the installed package, or a clone in which `npm install` has run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not (self.folder / "tests" / "index.mjs").exists():
            raise UnavailableError(f"{folder}: no tests/index.mjs; not the suite")
        package = json.loads((self.folder / "package.json").read_text())
        engine = self.folder / "test-engine"  # where a clone has it; it still calls itself 0.4.5
        self.is_pinned = package["version"] == VERSION and not engine.exists()
        self.engine = engine if engine.exists() else self.folder

    def origin(self) -> Origin:
        """Its origin server; a context manager."""
        return Origin(self.engine / "server" / "server.mjs")

    def ask(self, base: str) -> list[Verdict]:
        """Every test, through the cache at `base`, such as http://127.0.0.1:8080."""
        return self.judge(self._client(base, ""))

    def explain(self, base: str, test_id: str) -> str:
        """One test; the client's requests and responses. Those at the origin are in its log."""
        return self._client(base, test_id)

    def _client(self, base: str, test_id: str) -> str:
        # Empty variables stand for what `npm run` would set from the package's own settings.
        variables = {
            "npm_config_base": base,
            "npm_config_id": test_id,
            "npm_package_config_id": "",
        }
        client = str(self.engine / "cli.mjs")
        command = [program("node"), "--no-warnings", client]
        return run(command, timeout_s=CLIENT_TIMEOUT_S, variables=variables)

    def judge(self, results: str) -> list[Verdict]:
        """The verdicts on results as the client prints them."""
        command = [program("node"), str(HERE / "judge.mjs"), str(self.folder)]
        rows: list[dict[str, Any]] = json.loads(
            run(command, timeout_s=START_TIMEOUT_S, stdin=results)
        )
        return [Verdict(**row) for row in rows]

    def published(self, name: str) -> list[Verdict]:
        """The results of another cache, or of Fastly, that the suite's authors have published."""
        return self.judge((self.folder / "results" / f"{name}.json").read_text())


class Origin:
    """The suite's origin on a port of 127.0.0.1 that the kernel chose; `log` is what it said."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self.port = 0
        self.log: list[str] = []

    def __enter__(self) -> Origin:
        variables = {"npm_config_protocol": "http", "npm_config_port": "0"}
        variables["npm_config_pidfile"] = os.devnull
        self._process = subprocess.Popen(
            [program("node"), "--require", str(HERE / "loopback.cjs"), str(self._server)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | variables,
        )
        is_listening = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(is_listening,), daemon=True)
        self._reader.start()
        is_listening.wait(START_TIMEOUT_S)
        if not self.port:
            self.__exit__(None, None, None)
            raise SuiteError("the suite's origin did not start:\n" + "\n".join(self.log))
        return self

    def _read(self, is_listening: threading.Event) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line.rstrip("\n"))
            if line.startswith("Listening on "):
                self.port = int(line.rstrip("/\n").rpartition(":")[2])
                is_listening.set()
        is_listening.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(START_TIMEOUT_S)
        self._reader.join(START_TIMEOUT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
