"""The listening sockets. The supervisor opens them all and hands them down; no other process binds.

An HTTP address is a group of SO_REUSEPORT sockets, one per worker, over which the kernel spreads
new connections. A socket lives as long as the supervisor, whatever happens to its worker:
connections that the kernel has completed wait in its queue until the worker's successor accepts
them. A reload gives the same sockets to the new workers.

A group never shrinks before a restart. Closing one socket of a group resets every connection
waiting in its queue, and Linux has no other way to take a socket out of its group
(net.ipv4.tcp_migrate_req, which would move them, is off by default). So when a new file asks for
fewer workers, as many stay as there are sockets. For more workers, sockets are added only once the
new generation serves: what connects to a socket has to be accepted.

Where systemd has opened the address already (`edge.activation`), its sockets are the group: each as
often as it takes to give every worker one.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

from edge.activation import Activation
from edge.errors import EdgeError
from edge.handover import SocketRecord
from edge.settings.address import join_address

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn

Address = tuple[str, int]


class ListenError(EdgeError):
    """An address cannot be listened on; the text is one line for the operator."""


class ListenSockets:
    """The open groups by address, each with one socket per worker."""

    def __init__(self, activation: Activation | None = None) -> None:
        self._activation = activation or Activation([])
        self._groups: dict[Address, list[socket.socket]] = {}

    @property
    def size(self) -> int:
        """Sockets per address: the number of workers that must run."""
        return max((len(group) for group in self._groups.values()), default=0)

    def open(self, addresses: Iterable[Address], size: int) -> None:
        """Opens what is missing, so that each address has `size` sockets. All or nothing.

        Raises ListenError, and then nothing has changed.
        """
        before = {address: len(group) for address, group in self._groups.items()}
        try:
            for address in addresses:
                group = self._groups.setdefault(address, [])
                given = self._activation.at(address)
                if len(given) > size:
                    raise ListenError(_too_many(address, len(given), size))
                if not group and not given:
                    _refuse_if_taken(address)
                while len(group) < size:
                    if given:
                        group.append(given[len(group) % len(given)].dup())
                    else:
                        group.append(_bound_socket(_address_of(group, address), is_shared=True))
        except ListenError:
            self.cut_back(before)
            raise

    def hand_over(self) -> list[SocketRecord]:
        return [
            SocketRecord(list(address), [each.fileno() for each in group])
            for address, group in self._groups.items()
        ]

    def take_over(self, records: list[SocketRecord]) -> None:
        for record in records:
            self._groups[record.address] = [socket.socket(fileno=fd) for fd in record.fds]

    def refuse_taken(self, addresses: Iterable[Address]) -> None:
        """ListenError when `open` could not have one of these."""
        for address in addresses:
            if address not in self._groups and not self._activation.at(address):
                _refuse_if_taken(address)

    def sizes(self) -> dict[Address, int]:
        """Sockets per address now; for `cut_back`."""
        return {address: len(group) for address, group in self._groups.items()}

    def cut_back(self, sizes: dict[Address, int]) -> None:
        """Closes what is beyond `sizes`: undoes an `open` whose workers never came."""
        for address, group in list(self._groups.items()):
            keep = sizes.get(address, 0)
            for extra in group[keep:]:
                extra.close()
            del group[keep:]
            if not group:
                del self._groups[address]

    def keep_only(self, addresses: Iterable[Address]) -> None:
        """Closes this process's copies of every other address's sockets."""
        wanted = set(addresses)
        self.cut_back({at: len(group) for at, group in self._groups.items() if at in wanted})

    def fd(self, address: Address, worker: int) -> int:
        return self._groups[address][worker].fileno()

    def bound_to(self, address: Address) -> Address:
        """The address with its real port, which differs when port 0 was asked for."""
        return _address_of(self._groups[address], address)


def open_alone(address: Address, activation: Activation | None = None) -> socket.socket:
    """One listening socket that shares its address with nobody. Raises ListenError."""
    given = activation.at(address) if activation is not None else []
    if len(given) > 1:
        raise ListenError(_too_many(address, len(given), 1))
    if given:
        return given[0].dup()
    return _bound_socket(address, is_shared=False)


def _too_many(address: Address, sockets: int, users: int) -> str:
    """systemd keeps every socket open: one that nobody accepts on would be a trap."""
    where = join_address(*address)
    return f"systemd passes {sockets} sockets for {where}, of which {users} would be used"


def _address_of(group: list[socket.socket], address: Address) -> Address:
    if not group or address[1] != 0:
        return address
    return address[0], group[0].getsockname()[1]


def _refuse_if_taken(address: Address) -> None:
    """ListenError when somebody listens there already.

    Without this a second `edge` of the same user would join the group silently, and the kernel
    would give each a part of the connections.
    """
    if address[1] != 0:
        _bound_socket(address, is_shared=False, is_listening=False).close()


def _bound_socket(address: Address, *, is_shared: bool, is_listening: bool = True) -> socket.socket:
    host, port = address
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            listener.bind(where)
            if is_listening:
                listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    return listener


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process uses this port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has this address"
    if error.errno == errno.EACCES:
        return "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    if isinstance(error, socket.gaierror):
        return f"the host name does not resolve ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error)
