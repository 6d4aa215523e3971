"""`edge run` with stand-in children, for the supervisor's tests: reads its orders from JSON.

python -m tests.standin_run ORDERS.json DRAIN_S START_S_MAX
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from edge.errors import ConfigError, Problem
from edge.orders import Orders, ServerOrder
from edge.posts import Modules
from edge.rehearsal import rehearse_if_asked
from edge.start import supervise
from edge.upgrade import REHEARSAL_VARIABLE, Program

STAND_IN = "tests.standin_worker"


def read_orders(path: str, drain_s: float) -> Orders:
    """The orders in the file; ConfigError when it is no JSON, with two problems."""
    try:
        fields = json.loads(Path(path).read_text())
    except ValueError as error:
        raise ConfigError(
            [Problem(path, 1, "haproxy", "wrong"), Problem(path, 2, "nodes", "also wrong")]
        ) from error
    return Orders(
        settings=fields.get("settings", {}),
        tier=None,
        workers=fields["workers"],
        drain_s=drain_s,
        tiers=("haproxy",),
        servers=(ServerOrder("haproxy/node1", "127.0.0.1:1", 1),),
        listeners=tuple(("haproxy", ("127.0.0.1", port)) for port in fields["ports"]),
        admin=None,
    )


def main() -> int:
    path, drain_s, start_s_max = sys.argv[1:]
    if REHEARSAL_VARIABLE in os.environ and is_program_bad(path):
        return 7
    modules = Modules(worker=STAND_IN, control=STAND_IN)

    def read(_note: bytes) -> Orders:
        return read_orders(path, float(drain_s))

    status = rehearse_if_asked(os.environ, read, modules, float(start_s_max))
    if status is not None:
        return status
    program = Program((sys.executable, "-m", "tests.standin_run", *sys.argv[1:]))
    return supervise(read, program, os.environ, modules, float(start_s_max))


def is_program_bad(path: str) -> bool:
    """Whether the next version of this program is to end before it says anything."""
    with contextlib.suppress(ValueError):
        return bool(json.loads(Path(path).read_text()).get("settings", {}).get("is_program_bad"))
    return False


if __name__ == "__main__":
    sys.exit(main())
