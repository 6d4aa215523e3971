"""`edge status`: what a running edge does, as a table of plain text.

Rates are of the time between two looks at `/status`. Counters belong to the workers that are there:
when one ends, its part goes, and a counter that has shrunk tells no rate. Columns are as wide as
their longest entry, so a line is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge.admin_client import Pause, Remote, wait_s
from edge.clock import now

LOOKUPS = ("cache_hits", "cache_misses", "cache_joins", "cache_passes")
HEADINGS = ("TIER", "SERVER", "STATUS", "SINCE", "RUNNING", "QUEUED", "REQ/S", "5XX/S", "TOTAL")
LEFT = 3  # the first columns are words
UNKNOWN = "-"
CLEAR = "\x1b[H\x1b[J"  # cursor home, erase to the end (ECMA-48)

Status = Mapping[str, Any]


def watch(
    remotes: Sequence[Remote],
    interval_s: float,
    *,
    is_screen: bool,
    pause: Pause = wait_s,
) -> Iterator[str]:
    """A text for each interval. On a screen each one but the first takes the place of the last."""
    before = [(now(), remote.ask("GET", "/status")) for remote in remotes]
    lead = ""
    while True:
        pause(interval_s)
        after = [(now(), remote.ask("GET", "/status")) for remote in remotes]
        texts = [
            render(old, new, new_at - old_at)
            for (old_at, old), (new_at, new) in zip(before, after, strict=True)
        ]
        if len(remotes) > 1:
            texts = [f"{remote}\n{text}" for remote, text in zip(remotes, texts, strict=True)]
        yield lead + "\n\n".join(texts)
        lead = CLEAR if is_screen else "\n"
        before = after


def render(before: Status, after: Status, elapsed_s: float) -> str:
    """Two looks as a text of several lines; `elapsed_s` lies between them."""
    old = {tier["name"]: tier for tier in before["tiers"]}
    rows: list[Sequence[str]] = [HEADINGS]
    for tier in after["tiers"]:
        rows += _tier_rows(old.get(tier["name"], {}), tier, elapsed_s)
    lines = [_head(after), "", *_table(rows)]
    cache = after.get("cache")
    if cache is not None:
        lines += ["", _cache(cache, before, after)]
    return "\n".join(lines)


def _head(status: Status) -> str:
    workers = status["workers"]
    connections = sum(worker["connections"] for worker in workers)
    words = [
        f"edge {status['version']}",
        f"generation {status['generation']}",
        f"up {duration(status['uptime_s'])}",
        f"{len(workers)} {'worker' if len(workers) == 1 else 'workers'}",
        f"{connections:,} connections",
    ]
    return "   ".join(words)


def _tier_rows(old: Status, tier: Status, elapsed_s: float) -> list[Sequence[str]]:
    counters, before = tier["counters"], old.get("counters", {})
    usable = f"{tier['usable_servers']}/{len(tier['servers'])} usable" if tier["servers"] else ""
    if tier.get("in_dns") is False:
        usable = f"{usable}, out of DNS".removeprefix(", ")
    rows: list[Sequence[str]] = [
        (
            tier["name"],
            "",
            usable,
            "",
            f"{tier['in_flight']:,}",
            f"{counters['queued']:,}",
            rate(before, counters, "requests", elapsed_s),
            rate(before, counters, "responses_5xx", elapsed_s),
            f"{counters['requests']:,}",
        )
    ]
    old_servers = {server["name"]: server for server in old.get("servers", ())}
    for server in tier["servers"]:
        counters = server["counters"]
        before = old_servers.get(server["name"], {}).get("counters", {})
        row = (
            "",
            server["name"],
            _state(server) + (" backup" if server["backup"] else ""),
            duration(server["since_s"]),
            f"{server['in_flight']:,}",
            "",
            rate(before, counters, "requests", elapsed_s),
            rate(before, counters, "responses_5xx", elapsed_s),
            f"{counters['requests']:,}",
        )
        rows.append(row)
    return rows


def _state(server: Status) -> str:
    """HAProxy's word for it, or of a target of the elb AWS's with the reason."""
    health = server.get("target_health")
    if health is None:
        return str(server["status"])
    return health["state"] if health["reason"] is None else f"{health['state']} {health['reason']}"


def _cache(cache: Status, before: Status, after: Status) -> str:
    """The hit ratio is of the time between the looks, or of all time when nobody came."""
    lookups = {name: _sum(after, name) - _sum(before, name) for name in LOOKUPS}
    if min(lookups.values()) < 0 or not any(lookups.values()):
        lookups = {name: _sum(after, name) for name in LOOKUPS}
    total = sum(lookups.values())
    ratio = f"{100 * lookups['cache_hits'] / total:.1f} %" if total else UNKNOWN
    purges = sum(cache["purges"].values())
    return (
        f"cache: {ratio} hits   {cache['objects']:,} objects"
        f"   {size(cache['used_bytes'])} of {size(cache['size_bytes'])} used"
        f"   {cache['evictions']:,} evictions   {purges:,} purges"
    )


def _sum(status: Status, counter: str) -> int:
    return sum(tier["counters"].get(counter, 0) for tier in status["tiers"])


def rate(before: Mapping[str, int], after: Mapping[str, int], name: str, elapsed_s: float) -> str:
    """Per second; unknown for what is new or has lost a worker's part."""
    if name not in before or elapsed_s <= 0 or after[name] < before[name]:
        return UNKNOWN
    return f"{(after[name] - before[name]) / elapsed_s:,.1f}"


def duration(seconds: float) -> str:
    """The two largest units that matter: `5s`, `2m 5s`, `3h 20m`, `4d 1h`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}h"
    if hours:
        return f"{hour}h {minute}m"
    return f"{minute}m {second}s" if minutes else f"{second}s"


def size(count: int) -> str:
    """Bytes in the largest unit of which there is one at least."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index < LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
