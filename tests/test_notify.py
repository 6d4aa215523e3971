"""Messages to systemd: what is in them, where they go, and that children do not inherit them."""

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.clock import now
from edge.notify import SEND_S_MAX, STOP_SLACK_S, Notifier, notifier_of

pytestmark = pytest.mark.wire

WAIT_S_MAX = 20.0
# More than the queue of a unix socket holds anywhere (net.unix.max_dgram_qlen: 10; systemd: 512).
QUEUE_MAX = 2_000


class Manager:
    """The service manager's end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(WAIT_S_MAX)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)

    def hear(self) -> list[str]:
        """The lines of the next message."""
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify")
    made = Manager(name if request.param == "path" else f"@{name}")
    yield made
    made.close()


def test_the_messages(manager: Manager) -> None:
    notifier = Notifier(manager.path)
    notifier.ready("generation 1 serves")
    assert manager.hear() == ["READY=1", "STATUS=generation 1 serves"]
    before = now()
    notifier.reloading()
    word, time, text = manager.hear()
    assert (word, text) == ("RELOADING=1", "STATUS=reloading")
    found = re.fullmatch(r"MONOTONIC_USEC=(\d+)", time)
    assert found is not None
    assert int(before * 1e6) <= int(found[1]) <= now() * 1e6
    notifier.stopping(31.0)
    extension = f"EXTEND_TIMEOUT_USEC={int((31 + STOP_SLACK_S) * 1e6)}"
    assert manager.hear() == ["STOPPING=1", extension, "STATUS=draining"]


def test_the_watchdog_hears_at_once_and_then_twice_in_a_period(manager: Manager) -> None:
    async def scenario() -> list[float]:
        Notifier(manager.path, watchdog_s=0.2).keep_watchdog_quiet()
        came = []
        for _ in range(3):
            # In a thread: the loop has to turn, that is the point.
            assert await asyncio.to_thread(manager.hear) == ["WATCHDOG=1"]
            came.append(now())
        return came

    first, second, third = asyncio.run(scenario())
    assert second - first > 0.05
    assert third - first < 2.0


def test_a_full_queue_costs_signs_of_life_but_no_change_of_state(manager: Manager) -> None:
    async def scenario() -> list[list[str]]:
        notifier = Notifier(manager.path, watchdog_s=WAIT_S_MAX)
        before = now()
        for _ in range(QUEUE_MAX):
            notifier.keep_watchdog_quiet()
            assert now() - before < SEND_S_MAX, "it does not wait"
        sending = asyncio.create_task(asyncio.to_thread(notifier.ready, "x"))
        done, _ = await asyncio.wait([sending], timeout=SEND_S_MAX / 10)
        assert not done, "it waits for room"
        heard = []
        while not heard or heard[-1][0] == "WATCHDOG=1":
            heard.append(await asyncio.to_thread(manager.hear))
        await sending
        return heard

    heard = asyncio.run(scenario())
    assert heard[-1] == ["READY=1", "STATUS=x"]
    assert len(heard) < QUEUE_MAX, "some were dropped"


def test_without_a_watchdog_nothing_is_sent(manager: Manager) -> None:
    notifier = Notifier(manager.path)
    notifier.keep_watchdog_quiet()
    notifier.ready("x")
    assert manager.hear()[0] == "READY=1", "the first message that came"


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(manager: Manager) -> None:
    Notifier().ready("x")
    Notifier(watchdog_s=1.0).keep_watchdog_quiet()
    manager.close()
    Notifier(manager.path).ready("x")


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_environment_is_read_and_emptied(
    variables: dict[str, str], watchdog_s: float | None, manager: Manager
) -> None:
    environment = {"NOTIFY_SOCKET": manager.path, "PATH": "/bin", **variables}
    notifier = notifier_of(environment)
    assert environment == {"PATH": "/bin"}
    assert notifier.watchdog_s == watchdog_s
    notifier.ready("x")
    assert manager.hear() == ["READY=1", "STATUS=x"]
