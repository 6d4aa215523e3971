"""The whole chain cdn, elb, haproxy on two nodes; fused in one process, or one process a tier.

Both run on the same file, so on the same addresses, one after the other. What a client and a node
see of the two must be equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.harness import Edge, run_edge
from tests.wire.stand import ADMIN, Stand, with_ports

CONFIG = """
cdn:
  listen: 127.0.0.1:$port
  default_ttl: 0s
elb:
  listen: 127.0.0.1:$elb
  health_check: {enabled: false}
haproxy:
  health_check: {enabled: false}
nodes:
  - {name: node1, web: 127.0.0.1:$node1, haproxy: 127.0.0.1:$haproxy1}
  - {name: node2, web: 127.0.0.1:$node2, haproxy: 127.0.0.1:$haproxy2}
"""
TIERS = ("haproxy@node1", "haproxy@node2", "elb", "cdn")


@contextmanager
def run_split(
    config: str, ports: dict[str, int], directory: Path, tiers: tuple[str, ...] = TIERS
) -> Iterator[Stand]:
    """One `edge run --tier` for each tier, all ready; the stand is of the last."""
    with ExitStack() as stack, ThreadPoolExecutor(len(tiers)) as pool:
        runs = []
        for tier in tiers:
            text, _ = stack.enter_context(with_ports(config + ADMIN))
            runs.append(run_edge(text, directory, tier=tier))
        # Entered in threads, so that the processes start at the same time.
        edges: list[Edge] = list(pool.map(lambda run: run.__enter__(), runs))
        for run in runs:
            stack.push(run)
        yield Stand(edges[-1], ports)
