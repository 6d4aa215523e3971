"""The new program tries itself before it takes over; why, stands in `edge.upgrade`.

Started by the supervisor that is to be replaced, as `edge run` with EDGE_REHEARSAL. It does what
the successor will do, as far as it can be done without being it: reads the record and the file,
takes over every descriptor (its own copies), asks whether new addresses are free, and starts a
worker and control, the same programs with the same settings. They have memory of their own, with
the states of servers in it so that health checks begin as they will (a node may see one of them),
and no listening socket. So nothing of what serves is touched. The verdict goes through a pipe, and
the process ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, MutableMapping
from dataclasses import replace

from edge.errors import ConfigError, EdgeError
from edge.handover import HandOverError, read_record
from edge.job import end_with_parent
from edge.keeper import START_S_MAX, Keeper
from edge.orders import Orders
from edge.posts import ControlPost, Modules, WorkerPost
from edge.resources import Resources, restore_states
from edge.upgrade import REHEARSAL_VARIABLE, Verdict

END_S_MAX = 5.0  # children without a connection end at once


def rehearse_if_asked(
    environment: MutableMapping[str, str],
    read_orders: Callable[[bytes], Orders],
    modules: Modules | None = None,
    start_s_max: float = START_S_MAX,
) -> int | None:
    """The exit status of a rehearsal, or None when this is none."""
    word = environment.pop(REHEARSAL_VARIABLE, None)
    if word is None:
        return None
    try:
        record_fd, verdict_fd = map(int, word.split(","))
        os.set_inheritable(verdict_fd, False)  # our children must not keep it open
    except (ValueError, OSError) as error:
        raise HandOverError(f"{REHEARSAL_VARIABLE} is {word!r}: unset it") from error
    try:
        asyncio.run(_rehearse(record_fd, read_orders, modules or Modules(), start_s_max))
        verdict = Verdict(None)
    except ConfigError as error:
        lines = [str(problem) for problem in error.problems]
        verdict = Verdict("the new program refuses the file", lines)
    except EdgeError as error:
        verdict = Verdict(str(error))
    except asyncio.CancelledError:
        verdict = Verdict("it was told to end")
    with os.fdopen(verdict_fd, "wb") as pipe:
        pipe.write(verdict.to_json())
    return 0 if verdict.why is None else 1


async def _rehearse(
    record_fd: int, read_orders: Callable[[bytes], Orders], modules: Modules, start_s_max: float
) -> None:
    """Raises EdgeError when something is not as it must be, CancelledError at SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    record = read_record(record_fd)
    end_with_parent(record.supervisor_pid)
    for fd in record.descriptors():
        os.set_inheritable(fd, False)
    real = Resources(record=record.resources)
    orders = read_orders(real.note())
    real.refuse_taken(orders)
    stage = Resources()
    alone = replace(orders, workers=1, listeners=(), admin=None, stats=())
    outfit = stage.equip(alone, record.generation + 1)
    restore_states(outfit.arena, record.resources.data.get("states", {}))
    failure = await _start_and_end(
        [
            Keeper(WorkerPost(outfit, 0, modules.worker), start_s_max),
            Keeper(ControlPost(outfit, modules.control), start_s_max),
        ]
    )
    if failure is not None:
        raise failure


async def _start_and_end(keepers: list[Keeper]) -> EdgeError | None:
    """Why one of them does not become ready; None when all did. Afterwards they are gone."""
    failure = None
    async with asyncio.TaskGroup() as tasks:
        try:
            await asyncio.gather(*(keeper.start(tasks) for keeper in keepers))
        except EdgeError as error:
            failure = error
        finally:
            # When this task is cancelled, too: process 1 of a container would inherit them.
            await asyncio.gather(*(keeper.stop(END_S_MAX) for keeper in keepers))
    return failure
