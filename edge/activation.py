"""Listening sockets that systemd has opened (socket activation), for addresses of the file.

Descriptors from 3 on, as many as LISTEN_FDS says, if LISTEN_PID is this process. A socket counts
for the address that it is bound to, never by its name. systemd keeps each open while edge restarts:
connections wait in its queue meanwhile, and none is refused.

Such a socket belongs to the user that systemd is, mostly root, and the kernel lets nobody else add
SO_REUSEPORT sockets to its address. So workers share what there is: socket number i is for the
workers i, i + n, i + 2n and so on of n sockets. With one socket (the default) all workers accept on
it; with `ReusePort=yes` and a line per worker each has its own, as without systemd.

Source: sd_listen_fds(3), systemd.socket(5).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from edge.errors import EdgeError

FIRST_FD = 3  # SD_LISTEN_FDS_START
FDS_MAX = 1024  # what LISTEN_FDS may say before it counts as nonsense

Address = tuple[str, int]


class ActivationError(EdgeError):
    """systemd passes a socket that cannot be used; the text is one line for the operator."""


class Activation:
    """The sockets by where they are bound. Open as long as the process."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets: dict[Address, list[socket.socket]] = {}
        for listener in sockets:
            host, port = listener.getsockname()[:2]
            self._sockets.setdefault((host, port), []).append(listener)

    def at(self, address: Address) -> list[socket.socket]:
        """The sockets for an address of the file; a name counts by what it resolves to."""
        if not self._sockets:
            return []
        host, port = address
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            return []
        where = found[0][4]
        return self._sockets.get((str(where[0]), int(where[1])), [])

    def hand_over(self) -> list[int]:
        return [each.fileno() for group in self._sockets.values() for each in group]

    def unused(self, addresses: list[Address]) -> list[Address]:
        """Where systemd listens and the file does not: connections there wait in vain."""
        used = {id(each) for address in addresses for each in self.at(address)}
        return [at for at, found in self._sockets.items() if id(found[0]) not in used]


def activation_from(fds: list[int]) -> Activation:
    """As an earlier program of this process has had it."""
    return Activation([socket.socket(fileno=fd) for fd in fds])


def activation_of(environment: MutableMapping[str, str]) -> Activation:
    """As the environment has it; takes the variables out of there. ActivationError for a socket
    that nobody can accept on."""
    count = environment.pop("LISTEN_FDS", "")
    pid = environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return Activation([])
    if not (count.isascii() and count.isdigit() and int(count) <= FDS_MAX):
        raise ActivationError(f"LISTEN_FDS is {count!r}, not a number of sockets")
    return Activation([_adopted(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))])


def _adopted(fd: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise ActivationError(
            f"descriptor {fd} of systemd is no socket: {error.strerror}"
        ) from error
    what = f"descriptor {fd} of systemd"
    if adopted.family not in (socket.AF_INET, socket.AF_INET6):
        raise _refused(adopted, f"{what} is not a TCP socket: use ListenStream=HOST:PORT")
    if adopted.type != socket.SOCK_STREAM:
        raise _refused(adopted, f"{what} is not a TCP socket: use ListenStream=HOST:PORT")
    if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _refused(adopted, f"{what} does not listen: use Accept=no")
    if adopted.family == socket.AF_INET6 and not adopted.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    ):
        port = adopted.getsockname()[1]
        text = f"{what} takes IPv4 on [::]:{port}, too: use BindIPv6Only=ipv6-only"
        raise _refused(adopted, f"{text} and ListenStream=0.0.0.0:{port}")
    adopted.setblocking(False)
    adopted.set_inheritable(False)
    return adopted


def _refused(adopted: socket.socket, why: str) -> ActivationError:
    adopted.close()
    return ActivationError(why)
