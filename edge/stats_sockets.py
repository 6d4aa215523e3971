"""The sockets of HAProxy's CLI: opened by the supervisor, served by control, kept over reloads.

A unix socket is made under another name and moved into place, as HAProxy does: a client never finds
a name that nobody listens on, and what an earlier process left behind is replaced. A name that
somebody answers on is not taken. The file stays when edge ends; the next start replaces it.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from edge.handover import SocketRecord
from edge.listen import Address, ListenError, open_alone

BACKLOG = 64  # operators and their tools; HAProxy serves ten at once
OWNER_ONLY = 0o600  # whoever connects may change servers

Place = str | Address


class StatsSockets:
    """The open sockets by place: a path, or host and port."""

    def __init__(self) -> None:
        self._sockets: dict[Place, socket.socket] = {}
        self._accepted: set[Place] = set()

    def open(self, places: Sequence[Place]) -> None:
        """Opens what is missing. Raises ListenError; `undo` is to be called then, too."""
        for place in places:
            if place not in self._sockets:
                self._sockets[place] = _open(place)

    def fds(self, places: Sequence[Place]) -> tuple[int, ...]:
        return tuple(self._sockets[place].fileno() for place in places)

    def hand_over(self) -> list[SocketRecord]:
        return [
            SocketRecord(place if isinstance(place, str) else list(place), [each.fileno()])
            for place, each in self._sockets.items()
        ]

    def take_over(self, records: list[SocketRecord]) -> None:
        for record in records:
            place = record.place if isinstance(record.place, str) else record.address
            self._sockets[place] = socket.socket(fileno=record.fds[0])
        self._accepted = set(self._sockets)

    def accept(self, places: Sequence[Place]) -> None:
        """These serve: closes the others."""
        self._accepted = set(places)
        self.undo()

    def undo(self) -> None:
        """Closes what was opened since the last `accept`."""
        for place in [place for place in self._sockets if place not in self._accepted]:
            self._sockets.pop(place).close()
            if isinstance(place, str):
                Path(place).unlink(missing_ok=True)


def _open(place: Place) -> socket.socket:
    return _open_unix(place) if isinstance(place, str) else open_alone(place)


def _open_unix(path: str) -> socket.socket:
    _refuse_if_taken(path)
    making = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(making).unlink(missing_ok=True)
        listener.bind(making)
        Path(making).chmod(OWNER_ONLY)
        listener.setblocking(False)
        listener.listen(BACKLOG)
        Path(making).rename(path)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _refuse_if_taken(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return  # not there, or not to be reached: bind says so
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on {path}: something else than a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
        except OSError:
            return
    raise ListenError(f"cannot listen on {path}: another process uses this socket")
