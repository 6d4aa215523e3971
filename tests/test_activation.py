"""Sockets of systemd: read from real descriptors in a process of their own, used by address."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.activation import Activation
from edge.listen import ListenError, ListenSockets, open_alone

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parent.parent
WAIT_S_MAX = 30.0
ANY_PORT = ("127.0.0.1", 0)
# As systemd does it: the sockets from descriptor 3 on, our pid, then the program in its place.
LAUNCH = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
high = [os.dup2(fd, 200 + n, inheritable=False) for n, fd in enumerate(fds)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
count = sys.argv[2] or str(len(fds))
pid = "1" if sys.argv[3] == "other" else str(os.getpid())
os.environ.update(LISTEN_FDS=count, LISTEN_PID=pid, LISTEN_FDNAMES="x")
os.execv(sys.executable, [sys.executable, "-c", sys.argv[4]])
"""
READ = """
import os
from edge.activation import ActivationError, activation_of
try:
    found = activation_of(os.environ)
except ActivationError as error:
    raise SystemExit(str(error))
print(sorted(found.unused([])), [n for n in os.environ if n.startswith("LISTEN_")])
print([os.get_inheritable(each.fileno()) for each in found.at(%r)])
"""


def launch(
    sockets: Sequence[socket.socket], *, count: str = "", whose: str = "ours"
) -> subprocess.CompletedProcess[str]:
    """What a program started with these sockets reads of them."""
    fds = [each.fileno() for each in sockets]
    address = sockets[0].getsockname()[:2] if sockets else ANY_PORT
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), count, whose, READ % (address,)],
        pass_fds=fds,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=WAIT_S_MAX,
        check=False,
    )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def listener(stack: ExitStack, where: tuple[str, int] = ANY_PORT) -> socket.socket:
    return stack.enter_context(socket.create_server(where))


def test_sockets_are_taken_and_the_variables_are_gone(stack: ExitStack) -> None:
    one, two = listener(stack), listener(stack)
    done = launch([one, two])
    assert done.returncode == 0, done.stderr
    bound = sorted([one.getsockname(), two.getsockname()])
    assert done.stdout.splitlines() == [f"{bound} []", "[False]"]


def test_sockets_of_another_process_are_left_alone(stack: ExitStack) -> None:
    done = launch([listener(stack)], whose="other")
    assert done.stdout.splitlines() == ["[] []", "[]"]


def test_a_bad_count_is_an_error(stack: ExitStack) -> None:
    for count in ("-1", "many", "99999"):
        done = launch([listener(stack)], count=count)
        assert done.returncode == 1
        assert done.stderr == f"LISTEN_FDS is {count!r}, not a number of sockets\n"


def test_a_descriptor_that_is_not_there_is_an_error(stack: ExitStack) -> None:
    done = launch([listener(stack)], count="2")
    assert done.stderr == "descriptor 4 of systemd is no socket: Bad file descriptor\n"


def connected(stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(listener(stack).getsockname()))


def datagrams(stack: ExitStack) -> socket.socket:
    made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind(ANY_PORT)
    return made


def local(stack: ExitStack) -> socket.socket:
    made = stack.enter_context(socket.socket(socket.AF_UNIX))
    made.bind(f"\0edge-test-{os.getpid()}")
    made.listen()
    return made


def both_families(stack: ExitStack) -> socket.socket:
    made = stack.enter_context(socket.socket(socket.AF_INET6))
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", 0))
    made.listen()
    return made


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (connected, "does not listen: use Accept=no"),
        (datagrams, "is not a TCP socket: use ListenStream=HOST:PORT"),
        (local, "is not a TCP socket: use ListenStream=HOST:PORT"),
        (both_families, "too: use BindIPv6Only=ipv6-only and ListenStream=0.0.0.0:"),
    ],
)
def test_a_socket_nobody_can_accept_on_is_an_error(
    stack: ExitStack, make: Callable[[ExitStack], socket.socket], reason: str
) -> None:
    done = launch([make(stack)])
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- as the listening sockets of the supervisor -------------------------------------------------


def numbers(sockets: ListenSockets, address: tuple[str, int], workers: int) -> list[int]:
    """Which kernel socket each worker has."""
    return [os.fstat(sockets.fd(address, worker)).st_ino for worker in range(workers)]


@pytest.mark.parametrize(("given", "expected"), [(1, [0, 0, 0]), (2, [0, 1, 0]), (3, [0, 1, 2])])
def test_workers_share_what_there_is(stack: ExitStack, given: int, expected: list[int]) -> None:
    first = stack.enter_context(socket.socket())
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind(ANY_PORT)
    opened = [first]
    for _ in range(given - 1):
        more = stack.enter_context(socket.socket())
        more.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        more.bind(first.getsockname())
        opened.append(more)
    for each in opened:
        each.listen()
    address = first.getsockname()
    sockets = ListenSockets(Activation(opened))
    sockets.open([address], 3)
    inodes = [os.fstat(each.fileno()).st_ino for each in opened]
    assert numbers(sockets, address, 3) == [inodes[number] for number in expected]
    sockets.keep_only([])
    assert accepts(address), "systemd's socket stays open"
    sockets.open([address], 3)
    assert numbers(sockets, address, 3)[0] == inodes[0], "a later reload may have it again"
    sockets.keep_only([])


def test_a_name_counts_by_its_address(stack: ExitStack) -> None:
    given = listener(stack)
    address = ("localhost", given.getsockname()[1])
    if socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][4][0] != "127.0.0.1":
        given = listener(stack, ("127.0.0.1", 0))
        address = ("127.0.0.1", given.getsockname()[1])
    assert Activation([given]).at(address) == [given]
    assert Activation([given]).at(("no-such-host.invalid", 80)) == []


def test_more_sockets_than_workers_is_an_error(stack: ExitStack) -> None:
    given = listener(stack)
    address = given.getsockname()
    sockets = ListenSockets(Activation([given, given]))
    with pytest.raises(ListenError, match=r"passes 2 sockets for 127\.0\.0\.1:\d+, of which 1 "):
        sockets.open([address], 1)
    assert sockets.sizes() == {}
    with pytest.raises(ListenError, match="passes 2 sockets"):
        open_alone(address, Activation([given, given]))


def test_the_admin_socket_may_be_systemds(stack: ExitStack) -> None:
    given = listener(stack)
    with open_alone(given.getsockname(), Activation([given])) as admin:
        assert os.fstat(admin.fileno()).st_ino == os.fstat(given.fileno()).st_ino


def accepts(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0
