"""The supervisor's process from its environment to its exit status.

Either it is a start, and systemd may have passed sockets and the place to report to; or an earlier
program of this process has been upgraded to this one, and everything is in what it left.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, MutableMapping

from edge.activation import activation_of
from edge.keeper import START_S_MAX
from edge.notify import Notifier, notifier_of
from edge.orders import Orders
from edge.posts import Modules
from edge.supervisor import Supervisor, raise_descriptor_limit
from edge.upgrade import Program, inherited_record


def supervise(
    read_orders: Callable[[bytes], Orders],
    program: Program,
    environment: MutableMapping[str, str],
    modules: Modules | None = None,
    start_s_max: float = START_S_MAX,
) -> int:
    """Serves until a signal ends it. Raises EdgeError when there is nothing to run with."""
    record = inherited_record(environment)
    raise_descriptor_limit()
    if record is None:
        notifier, activation = notifier_of(environment), activation_of(environment)
    else:
        notifier, activation = Notifier(record.notify_path, record.watchdog_s), None

    if sys.version_info < (3, 12):
        # As later versions have it. The other kind has a thread per child, and a signal that is
        # blocked for an upgrade would be delivered to one of these, and lost.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())

    async def run() -> int:
        return await Supervisor(
            read_orders,
            modules,
            start_s_max=start_s_max,
            notifier=notifier,
            activation=activation,
            program=program,
            record=record,
        ).run()

    return asyncio.run(run())
