"""Socket groups: what shares an address, what refuses to, and what a failed open leaves behind."""

import socket
from collections.abc import Iterator

import pytest

from edge.listen import ListenError, ListenSockets, open_alone

pytestmark = pytest.mark.wire

ANY_PORT = ("127.0.0.1", 0)


@pytest.fixture
def sockets() -> Iterator[ListenSockets]:
    made = ListenSockets()
    yield made
    made.keep_only([])


@pytest.fixture
def taken() -> Iterator[tuple[str, int]]:
    """An address that somebody listens on, willing to share it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(ANY_PORT)
        other.listen()
        yield other.getsockname()


def accepts(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def test_each_worker_has_its_own_socket_on_the_same_port(sockets: ListenSockets) -> None:
    sockets.open([ANY_PORT], 3)
    port = sockets.bound_to(ANY_PORT)[1]
    ports = {socket.socket(fileno=sockets.fd(ANY_PORT, worker)).detach() for worker in range(3)}
    assert len(ports) == 3
    assert port != 0
    assert accepts(("127.0.0.1", port))
    assert sockets.size == 3


def test_an_address_in_use_is_refused_in_one_line_even_if_it_could_be_shared(
    sockets: ListenSockets, taken: tuple[str, int]
) -> None:
    with pytest.raises(ListenError) as refusal:
        sockets.open([taken], 2)
    assert str(refusal.value) == (
        f"cannot listen on 127.0.0.1:{taken[1]}: another process uses this port"
    )


def test_a_failed_open_changes_nothing(sockets: ListenSockets, taken: tuple[str, int]) -> None:
    sockets.open([ANY_PORT], 1)
    before = sockets.sizes()
    with pytest.raises(ListenError):
        sockets.open([ANY_PORT, ("127.0.0.2", 0), taken], 2)
    assert sockets.sizes() == before


def test_groups_grow_in_place(sockets: ListenSockets) -> None:
    sockets.open([ANY_PORT], 1)
    first, port = sockets.fd(ANY_PORT, 0), sockets.bound_to(ANY_PORT)
    sockets.open([ANY_PORT], 2)
    assert (sockets.fd(ANY_PORT, 0), sockets.bound_to(ANY_PORT)) == (first, port)
    assert sockets.size == 2


def test_addresses_that_are_no_longer_wanted_are_closed(sockets: ListenSockets) -> None:
    gone = ("127.0.0.3", 0)
    sockets.open([ANY_PORT, gone], 1)
    kept_at, gone_at = sockets.bound_to(ANY_PORT), sockets.bound_to(gone)
    sockets.keep_only([ANY_PORT])
    assert accepts(kept_at)
    assert not accepts(gone_at)


def test_ipv6_addresses_work(sockets: ListenSockets) -> None:
    if not socket.has_ipv6:
        pytest.fail("this Python was built without IPv6")
    sockets.open([("::1", 0)], 1)
    with socket.socket(socket.AF_INET6) as client:
        client.connect(sockets.bound_to(("::1", 0)))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (("192.0.2.1", 8080), "no interface of this machine has this address"),
        (("no-such-host.invalid", 8080), "the host name does not resolve"),
    ],
)
def test_the_line_says_why(sockets: ListenSockets, address: tuple[str, int], reason: str) -> None:
    with pytest.raises(ListenError, match=reason):
        sockets.open([address], 1)


def test_the_admin_socket_is_not_shared() -> None:
    with open_alone(ANY_PORT) as admin, pytest.raises(ListenError):
        open_alone(admin.getsockname())
