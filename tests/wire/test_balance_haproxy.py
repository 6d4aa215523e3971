"""ext.balance beside the installed HAProxy, while weights and states change between requests.

The golden file has the orders of farms at rest (tests/ext/test_turns.py and test_keyed.py); here
every choice of a running HAProxy is compared with ours, through some hundred changes at random.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from ext.arena import Arena
from ext.limits import AdminState
from tests.ext.farms import Farm
from tests.harness import Client
from tests.origin import Origin, answer

pytestmark = [
    pytest.mark.wire,
    pytest.mark.external,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy is installed"),
]

SERVERS = 5
REQUESTS = 250
WEIGHTS = [1, 2, 3, 7, 20, 100, 255, 256]
CONFIG = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen farm
  bind fd@{fd}
  balance {kind}
  {option}
{servers}
"""


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    """Servers that answer with their number."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(Origin(default=[answer(str(number).encode())]))
            for number in range(SERVERS)
        ]
        yield [origin.port for origin in made]


class Haproxy:
    """A running HAProxy: one choice, one order."""

    def __init__(self, port: int, socket_path: Path) -> None:
        self._client = Client(port)
        self._socket_path = socket_path

    def choose(self) -> int:
        return int(self._client.get("/").body)

    def order(self, line: str) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as cli:
            cli.connect(str(self._socket_path))
            cli.sendall(f"{line}\n".encode())
            said = cli.recv(4096)
            assert not said.strip(), said

    def close(self) -> None:
        self._client.close()


@contextmanager
def running(folder: Path, kind: str, option: str, servers: list[str]) -> Iterator[Haproxy]:
    path = folder / "cli"
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        # HAProxy takes the open socket, so a client can connect before it is ready.
        text = CONFIG.format(
            socket=path,
            fd=listener.fileno(),
            kind=kind,
            option=option,
            servers="\n".join(servers),
        )
        (folder / "haproxy.cfg").write_text(text)
        command = ["haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg")]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
        port = listener.getsockname()[1]
    try:
        with closing(Haproxy(port, path)) as made:
            yield made
    finally:
        process.terminate()
        process.wait()


class Both:
    """The same changes to HAProxy and to a farm of ours."""

    def __init__(self, haproxy: Haproxy, farm: Farm, dice: random.Random) -> None:
        self._haproxy, self._farm, self._dice = haproxy, farm, dice
        self._away: set[int] = set()

    def change_something(self, *, weights: bool) -> None:
        index, event = self._dice.randrange(len(self._farm.slots)), self._dice.random()
        if event < 0.06 and weights:
            weight = self._dice.choice(WEIGHTS)
            self._haproxy.order(f"set weight farm/s{index} {weight}")
            self._farm.weigh(index, weight)
        elif event < 0.10 and index in self._away:
            self._away.discard(index)
            self._set(index, "ready", AdminState.READY)
        elif event < 0.10 and len(self._away) < len(self._farm.slots) - 1:
            self._away.add(index)
            self._set(index, "maint", AdminState.MAINT)

    def _set(self, index: int, word: str, state: AdminState) -> None:
        self._haproxy.order(f"set server farm/s{index} state {word}")
        self._farm.arena.set_server(self._farm.slots[index], admin=state)

    def choose(self) -> tuple[int, int]:
        ours = self._farm.pick()
        self._farm.balancer.take_for_test(ours)
        theirs = self._haproxy.choose()
        self._farm.balancer.take_for_test(ours, -1)
        return theirs, ours


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["roundrobin", "leastconn", "static-rr", "first"])
def test_every_choice_is_haproxys(tmp_path: Path, ports: list[int], kind: str, seed: int) -> None:
    dice = random.Random(f"{kind} {seed}")
    weights = [dice.choice(WEIGHTS) for _ in range(dice.choice([2, 3, SERVERS]))]
    backups = [index for index in range(len(weights)) if index and dice.random() < 0.3]
    all_backups = dice.random() < 0.5 and kind != "static-rr"
    servers = [
        f"  server s{index} 127.0.0.1:{ports[index]} weight {weight}"
        + (" backup" if index in backups else "")
        for index, weight in enumerate(weights)
    ]
    arena = Arena.create()
    farm = Farm(arena, kind, weights, backups=backups, all_backups=all_backups)
    option = "option allbackups" if all_backups else ""
    with running(tmp_path, kind, option, servers) as haproxy:
        both = Both(haproxy, farm, dice)
        for step in range(REQUESTS):
            theirs, ours = both.choose()
            assert ours == theirs, f"request {step} of weights {weights}, backups {backups}"
            both.change_something(weights=kind != "static-rr")
