"""`edge run` with stand-in children, for the supervisor's tests: reads its orders from JSON.

python -m tests.standin_run ORDERS.json DRAIN_S START_S_MAX
"""

import asyncio
import json
import sys
from pathlib import Path

from edge.errors import ConfigError, Problem
from edge.orders import Orders, ServerOrder
from edge.posts import Modules
from edge.supervisor import Supervisor

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


async def main() -> int:
    path, drain_s, start_s_max = sys.argv[1:]
    return await Supervisor(
        lambda: read_orders(path, float(drain_s)),
        Modules(worker=STAND_IN, control=STAND_IN),
        start_s_max=float(start_s_max),
    ).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
