"""What the two ledgers say together: which failures have an excuse, and what ran more than once.

A request that may be repeated (GET, HEAD, PUT: RFC 9110 §9.2.2) has one excuse: its connection was
one of a worker that was killed. A POST has a second one: it was in flight when a node was killed,
and then the answer is 502, never silence. No POST may begin twice on nodes, whatever happened to
its answer, and no body may be whole at a node that is not what the client sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from loadtests.ledger_clients import Failure, Ledger

WRITING = ("PUT", "POST")
BAD_GATEWAY = 502


@dataclass(frozen=True)
class Kill:
    """A process was killed between the two times; `ports`: of its clients, if it was a worker."""

    name: str
    began_at: float
    ended_at: float
    ports: frozenset[int] = frozenset()

    def meets(self, failure: Failure) -> bool:
        """Whether the request was under way at that time."""
        return failure.sent_at <= self.ended_at and self.began_at <= failure.ended_at


@dataclass
class Disturbances:
    """What was done to edge and its nodes."""

    workers: list[Kill] = field(default_factory=list)
    nodes: list[Kill] = field(default_factory=list)

    def excuse(self, failure: Failure) -> str:
        """Why that request was allowed to fail; empty: it was not."""
        if any(failure.port in kill.ports and kill.meets(failure) for kill in self.workers):
            return "connection of a killed worker"
        is_cut_off = failure.asked.method == "POST" and failure.status == BAD_GATEWAY
        if is_cut_off and any(kill.meets(failure) for kill in self.nodes):
            return "POST in flight at a killed node, answered 502"
        return ""


@dataclass
class NodeLedger:
    """The nodes' lines about requests with a body, by the request's number."""

    begun: Counter[int] = field(default_factory=Counter)
    posts: set[int] = field(default_factory=set)
    whole: defaultdict[int, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    cut: int = 0
    lines: int = 0


def read_node_ledger(lines: Iterable[str]) -> NodeLedger:
    """See loadtests/ledger_node.py for the lines."""
    found = NodeLedger()
    for line in lines:
        event, method, number, *rest = line.split()
        found.lines += 1
        if method not in WRITING:
            continue
        if event == "begin":
            found.begun[int(number)] += 1
            if method == "POST":
                found.posts.add(int(number))
        elif event == "whole":
            found.whole[int(number)].append((int(rest[0]), int(rest[1], 16)))
        else:
            found.cut += 1
    return found


@dataclass(frozen=True)
class Verdict:
    """`excused`: by reason. `faults`: one line each; none if all is well."""

    excused: Counter[str]
    failed_idempotent: int
    failed_posts: int
    posts_twice: int
    faults: tuple[str, ...]


def judge(clients: Ledger, nodes: NodeLedger, disturbances: Disturbances) -> Verdict:
    """Both ledgers against the rule above."""
    excused: Counter[str] = Counter()
    unexcused = []
    for failure in clients.failures:
        excuse = disturbances.excuse(failure)
        if excuse:
            excused[excuse] += 1
        else:
            unexcused.append(failure)
    twice = [number for number in nodes.posts if nodes.begun[number] > 1]
    failed_posts = sum(each.asked.method == "POST" for each in unexcused)
    faults = [f"failed: {failure}" for failure in unexcused]
    faults += [f"POST {number} was sent {nodes.begun[number]} times" for number in twice]
    faults += body_faults(clients, nodes)
    return Verdict(excused, len(unexcused) - failed_posts, failed_posts, len(twice), tuple(faults))


def body_faults(clients: Ledger, nodes: NodeLedger) -> Iterator[str]:
    """Bodies that differ at the node, and answers for what no node has carried out."""
    for number, seen in nodes.whole.items():
        if set(seen) != {clients.sent.get(number)}:
            yield f"request {number}: sent {clients.sent.get(number)}, a node got {seen}"
    for number in sorted(clients.posts_done):
        if len(nodes.whole[number]) != 1:
            yield f"POST {number} was answered and carried out {len(nodes.whole[number])} times"
