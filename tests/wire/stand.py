"""One edge for all tests of a module, since a start costs a second.

    CONFIG = '''
    haproxy: {listen: 127.0.0.1:$port}
    nodes:
      - {name: node1, web: 127.0.0.1:$node1}
    '''

    @pytest.fixture(scope="module")
    def stand(tmp_path_factory):
        with run_stand(CONFIG, tmp_path_factory.mktemp("edge")) as stand:
            yield stand

    def test_one(stand):
        with stand.node([answer(b"1")]) as node, stand.client() as client:
            ...

Every `$name` in the text becomes a port. Those of nodes belong to the tests, each of which puts its
own origin there with `stand.node`. Between two tests connecting to it
is refused, so health checks are off in these files (or the subject of the module). An origin that
ends resets its connections: no test meets a kept connection of the one before. At the end of the
module every gauge of edge must be back at zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template
from typing import Any

from tests.harness import Client, Edge, run_edge
from tests.loop_thread import bind_loopback
from tests.origin import DEFAULT, Origin, Steps

ADMIN = "\nadmin: {listen: 127.0.0.1:$admin}\n"
# What a worker that fails leaves on stderr: an exception in a callback, or its end.
TROUBLE = ("Traceback", "Exception", "starting it again", "Assertion")


class Stand:
    """The running edge and its ports by their names in the configuration."""

    def __init__(self, edge: Edge, ports: dict[str, int]) -> None:
        self.edge = edge
        self.ports = ports
        self._lines_seen = 0
        self._expected: Counter[str] = Counter()
        self._forgiven: Counter[str] = Counter()

    def node(
        self,
        *script: Steps,
        name: str = "node1",
        default: Steps = DEFAULT,
        on_connect: Steps = (),
    ) -> Origin:
        """An origin on the port of that node."""
        return Origin(*script, default=default, on_connect=on_connect, port=self.ports[name])

    def client(self, name: str = "port", source: str = "") -> Client:
        """A connection to that listener."""
        return Client(self.ports[name], source)

    def worker_pid(self) -> int:
        """The process id of the first worker."""
        return self.edge.workers()[0]

    def expect(self, trouble: str) -> None:
        """Waits for one more line with this word of TROUBLE: the test has caused it."""
        self._expected[trouble] += 1
        self._forgiven[trouble] += 1
        self.edge.wait_line(trouble, count=self._expected[trouble])

    def check(self) -> None:
        """Fails when edge has reported trouble since the last call that nobody expected."""
        lines = self.edge.stderr[self._lines_seen :]
        self._lines_seen += len(lines)
        came = Counter(word for line in lines for word in TROUBLE if word in line)
        unexpected = came - self._forgiven
        self._forgiven -= came
        assert not unexpected, "\n".join(lines)


def is_at_rest(status: Any) -> bool:
    """Whether nothing is counted as running: what was counted in has been counted out."""
    return all(
        tier["in_flight"] == tier["counters"]["queued"] == 0
        and tier["counters"]["connections_open"] == 0
        and all(is_server_at_rest(server) for server in tier["servers"])
        for tier in status["tiers"]
    )


def is_server_at_rest(server: Any) -> bool:
    counters = server["counters"]
    return server["in_flight"] == 0 and (
        counters["connections_open"] == counters["connections_idle"]
    )


@contextmanager
def with_ports(text: str) -> Iterator[tuple[str, dict[str, int]]]:
    """The text with real ports in it, and the ports by name.

    All are held by sockets that do not listen: no other process gets them, and who sets
    SO_REUSEADDR (edge, the origins, nginx) may listen on them.
    """
    template = Template(text)
    with ExitStack() as stack:
        ports = {}
        for name in template.get_identifiers():
            bound = stack.enter_context(bind_loopback())
            ports[name] = bound.getsockname()[1]
        yield template.substitute(ports), ports


@contextmanager
def run_stand(text: str, directory: Path, workers: int = 1) -> Iterator[Stand]:
    """`edge run` on the text with real ports in it, ready."""
    with (
        with_ports(text + ADMIN) as (config, ports),
        run_edge(config, directory, workers) as edge,
    ):
        stand = Stand(edge, ports)
        yield stand
        stand.check()
        if edge.process.poll() is None:
            edge.wait_status(is_at_rest)


@contextmanager
def run_stands(texts: Mapping[str, str], directory: Path) -> Iterator[dict[str, Stand]]:
    """One edge for each text, started at the same time."""
    runs = {name: run_stand(text, directory) for name, text in texts.items()}
    with ExitStack() as stack, ThreadPoolExecutor(len(runs)) as pool:
        stands = list(pool.map(lambda run: run.__enter__(), runs.values()))
        for run in runs.values():
            stack.push(run)
        yield dict(zip(runs, stands, strict=True))
