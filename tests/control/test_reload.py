"""POST /reload: the supervisor gets SIGHUP, and only from who may."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from edge.control.guard import Guard
from edge.control.reload import ReloadApi
from tests.control.asking import ask
from tests.control.conftest import CHAIN, World

pytestmark = pytest.mark.wire

WAIT_S_MAX = 20.0


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """A process that SIGHUP ends."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait(WAIT_S_MAX)


def test_the_supervisor_gets_sighup(
    world: Callable[[str], World], supervisor: subprocess.Popen[bytes]
) -> None:
    api = ReloadApi(supervisor.pid, Guard(None))
    status, answer, _ = ask(world(CHAIN), api, "POST", "/reload")
    assert (status, answer) == (202, {"status": "reloading"})
    assert supervisor.wait(WAIT_S_MAX) == -signal.SIGHUP


def test_who_may_not_is_refused_and_nothing_is_sent(
    world: Callable[[str], World], supervisor: subprocess.Popen[bytes]
) -> None:
    api = ReloadApi(supervisor.pid, Guard("token"))
    assert ask(world(CHAIN), api, "POST", "/reload")[0] == 401
    assert ask(world(CHAIN), api, "GET", "/reload")[0] == 405
    os.kill(supervisor.pid, signal.SIGTERM)
    assert supervisor.wait(WAIT_S_MAX) == -signal.SIGTERM, "the first signal that came"
