"""Tells systemd how the supervisor is: ready, reloading, stopping, alive.

A unit of `Type=notify` passes the path of a datagram socket in NOTIFY_SOCKET (`@` first: an
abstract one), and with `WatchdogSec=` how often it wants to hear that all is well. Each message is
lines of `KEY=value`. Without NOTIFY_SOCKET nothing is sent. The supervisor alone speaks, so the
variables are taken out of the environment and no child has them.

The manager's queue may be full (10 messages on a plain Linux). A change of state waits a moment for
room in it, or systemd would think for ever that we start; a sign of life is dropped, since the next
one follows. A message that cannot be sent is not an error of ours.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

from edge.clock import now

PINGS_PER_PERIOD = 2  # as sd_watchdog_enabled(3) recommends
# Beyond what a drain may take by its settings: for starting interpreters, and last words.
STOP_SLACK_S = 10.0
SEND_S_MAX = 1.0  # the supervisor does nothing else meanwhile; workers do not notice


class Notifier:
    """`path`: of the socket; `watchdog_s`: the watchdog's period. None: there is none."""

    def __init__(self, path: str | None = None, watchdog_s: float | None = None) -> None:
        self.path = path
        self.watchdog_s = watchdog_s

    def ready(self, text: str) -> None:
        """It serves; again after each reload. `text` is what `systemctl status` shows."""
        self._send("READY=1", f"STATUS={text}")

    def reloading(self) -> None:
        microseconds = int(now() * 1e6)
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}", "STATUS=reloading")

    def stopping(self, drain_s_max: float) -> None:
        """It drains, which may take so long: systemd is to wait."""
        microseconds = int((drain_s_max + STOP_SLACK_S) * 1e6)
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={microseconds}", "STATUS=draining")

    def keep_watchdog_quiet(self) -> None:
        """From now on says that the event loop turns, as often as is wanted. Ends with the loop."""
        if self.path is None or self.watchdog_s is None:
            return
        self.ping()
        pause_s = self.watchdog_s / PINGS_PER_PERIOD
        asyncio.get_running_loop().call_later(pause_s, self.keep_watchdog_quiet)

    def ping(self) -> None:
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1", wait_s_max=0.0)

    def _send(self, *lines: str, wait_s_max: float = SEND_S_MAX) -> None:
        if self.path is None:
            return
        address = "\0" + self.path[1:] if self.path.startswith("@") else self.path
        flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, flags) as sender:
            sender.settimeout(wait_s_max)
            sender.sendto("\n".join(lines).encode(), address)


def notifier_of(environment: MutableMapping[str, str]) -> Notifier:
    """As the environment has it; takes what it reads out of there."""
    path = environment.pop("NOTIFY_SOCKET", None) or None
    period = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", "")
    is_for_us = pid in ("", str(os.getpid()))
    is_number = period.isascii() and period.isdigit() and int(period) > 0
    return Notifier(path, int(period) / 1e6 if is_for_us and is_number else None)
