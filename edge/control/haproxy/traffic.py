"""Commands on running traffic: limits, addresses, sessions, memory; with HAProxy's texts.

Limits and addresses go to the arena. Sessions are the workers': they write a bounded table when
they are asked, within one tick, and end the session that they are told to. So these commands have
two halves: `prepare` asks and waits, without holding up the checks; the command then reads.

deviates: a session's id is its worker's row and its number there, not a pointer. Of HAProxy's flags
and timers `show sess` has what edge has. A port that is no port is refused, where HAProxy wraps it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.control.haproxy.changes import CommandError, find_server
from edge.control.haproxy.snapshot import Proxy, Server, Snapshots, find_proxy
from ext.arena import Arena
from ext.limits import Limit

# A worker answers within a tick (40 ms); one that is starting, or busy to death, is not waited for.
ASK_AGAIN_S = 0.005
ASKS_MAX = 100
ROW_SHIFT = 40  # a session's id: the worker's row above its number there
PORT_MAX = 65_535
BY = " by 'stats socket command'"
LEADING_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
POINTER = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
POINTER_EXPECTED = "Session pointer expected (use 'show sess').\n"
NO_SESSION = "No such session (use 'show sess').\n"

# Phase and Wait of ext/client.pxd, in the terms of HAProxy's stream states.
PHASES = ("RDY", "REQ", "EST", "EST", "EST", "EST", "CLO")
WAITS = ("QUE", "TAR", "CON", "REQ")
WAITING = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One command: the words, what the help says, and what does it. `level` by its name."""

    words: str
    arguments: str
    text: str
    level: str
    run: Callable[[Any, Sequence[str]], str]
    prepare: Callable[[Sequence[str]], Awaitable[None]] | None = None


class Traffic:
    """The commands over one control process."""

    def __init__(self, snapshots: Snapshots, arena: Arena, tier_slots: Mapping[str, int]) -> None:
        self._snapshots = snapshots
        self._arena = arena
        self._tier_slots = tier_slots

    def rows(self) -> Iterator[Row]:
        yield Row(
            "set maxconn frontend", " <frontend> <value>", "change a frontend's maxconn setting",
            "admin", self._set_of_frontend,
        )  # fmt: skip
        yield Row(
            "set maxconn global", " <value>", "change the per-process maxconn setting", "admin",
            self._set_of_all,
        )  # fmt: skip
        yield Row(
            "set maxconn server", " <bk>/<srv>", "change a server's maxconn setting", "admin",
            self._set_of_server,
        )  # fmt: skip
        yield Row(
            "show pools", "", "report information about the memory pools usage", "user",
            self._show_pools, self._ask,
        )  # fmt: skip
        yield Row(
            "show sess", " [id]", "report the list of current sessions or dump this session",
            "operator", self._show_sess, self._ask,
        )  # fmt: skip
        yield Row(
            "shutdown session", " [id]", "kill a specific session", "admin", self._shutdown_one,
            self._kill,
        )  # fmt: skip
        yield Row(
            "shutdown sessions server", " <bk>/<srv>", "kill sessions on a server", "admin",
            self._shutdown_all,
        )  # fmt: skip

    # -- limits ----------------------------------------------------------------------------------

    def _set_of_server(self, _client: object, words: Sequence[str]) -> str:
        server = find_server(self._snapshots.proxies(), _word(words, 0))
        self._arena.set_server(server.slot, maxconn=parse_maxconn(_word(words, 1)))
        return ""

    def _set_of_frontend(self, _client: object, words: Sequence[str]) -> str:
        if not words:
            raise CommandError("A frontend name is expected.\n")
        proxy = find_proxy(self._snapshots.proxies(), words[0])
        if proxy is None or proxy.plan.frontend is not None:
            raise CommandError("No such frontend.\n")
        if len(words) == 1:
            raise CommandError("Integer value expected.\n")
        maxconn = _integer(words[1])
        if not 0 <= maxconn < Limit.MAXCONN_NONE:
            raise CommandError("Value out of range.\n")
        self._arena.set_maxconn(self._tier_slots[proxy.name], maxconn)
        return ""

    def _set_of_all(self, _client: object, words: Sequence[str]) -> str:
        if not words:
            raise CommandError("Expects an integer value.\n")
        maxconn = _integer(words[0])
        if maxconn >= Limit.MAXCONN_NONE:
            raise CommandError("Value out of range.\n")
        self._arena.set_maxconn(-1, max(0, maxconn))  # as HAProxy: not above 0 is the configured
        return ""

    def set_address(self, server: Server, words: Sequence[str]) -> str:
        """`set server B/S addr A [port P]`; what has changed, as HAProxy tells it."""
        if not words:
            raise CommandError(
                "set server <b>/<s> addr requires an address and optionally a port.\n"
            )
        try:
            address = str(ipaddress.ip_address(words[0]))
        except ValueError:
            raise CommandError(f"Invalid addr '{words[0]}'{BY}\n") from None
        host, port = server.host, server.port
        told = f"IP changed from '{host}' to '{address}'"
        parts = ["no need to change the addr" if host == address else told]
        new_port = port
        if _word(words, 1) == "port":
            text = _word(words, 2)
            number = int(text) if text.isdecimal() and len(text) <= len(str(PORT_MAX)) else 0
            if not 0 < number <= PORT_MAX:
                parts.append(f"problem converting port '{text}' to an int")
            elif number == port:
                parts.append("no need to change the port")
            else:
                parts.append(f"port changed from '{port}' to '{number}'")
                new_port = number
        self._arena.move_server(server.slot, address, new_port)
        return ", ".join(parts) + f"{BY}\n"

    # -- sessions --------------------------------------------------------------------------------

    async def _ask(self, _words: Sequence[str]) -> None:
        await self._wait_for(self._arena.ask_sessions())

    async def _kill(self, words: Sequence[str]) -> None:
        found = _session_of(_word(words, 0))
        if found is not None and found[0] in {each["row"] for each in self._arena.rows()}:
            self._arena.kill_session(*found)
            await self._wait_for([found[0]])

    async def _wait_for(self, rows: list[int]) -> None:
        for _ in range(ASKS_MAX):
            if all(map(self._arena.has_told, rows)):
                return
            await asyncio.sleep(ASK_AGAIN_S)

    def _told(self) -> Iterator[tuple[int, int, list[Mapping[str, Any]]]]:
        """(row, how many sessions there are, those that are told) of each worker that answered."""
        for row in self._snapshots.view.workers():
            if self._arena.has_told(row.row):
                count, sessions, *_ = self._arena.sessions(row.row)
                yield row.row, count, sessions

    def _show_sess(self, _client: object, words: Sequence[str]) -> str:
        proxies = self._snapshots.proxies()
        names = Names(proxies, self._tier_slots)
        wanted = words[0] if words and words[0] != "all" else None
        lines = []
        for row, count, sessions in self._told():
            for each in sessions:
                if wanted is None or _session_of(wanted) == (row, each["id"]):
                    lines.append(session_line(row, each, names))
            if count > len(sessions) and wanted is None:
                left = count - len(sessions)
                lines.append(f"# {left} more sessions of worker {row} are not listed")
        if wanted is not None and not lines:
            return "Session not found.\n"
        return "".join(f"{line}\n" for line in lines)

    def _shutdown_one(self, _client: object, words: Sequence[str]) -> str:
        found = _session_of(_word(words, 0))
        if found is None:
            raise CommandError(POINTER_EXPECTED)
        row, _ = found
        is_there = row in {each["row"] for each in self._arena.rows()}
        if not is_there or not self._arena.has_told(row) or not self._arena.was_killed(row):
            raise CommandError(NO_SESSION)
        return ""

    def _shutdown_all(self, _client: object, words: Sequence[str]) -> str:
        self.shut_down(find_server(self._snapshots.proxies(), _word(words, 0)))
        return ""

    def shut_down(self, server: Server) -> None:
        self._arena.shut_down_sessions(server.slot)

    # -- memory ----------------------------------------------------------------------------------

    def _show_pools(self, _client: object, _words: Sequence[str]) -> str:
        """Each worker's memory that comes and goes with requests, summed."""
        blocks = free = scratch = workers = 0
        for row in self._snapshots.view.workers():
            if self._arena.has_told(row.row):
                _, _, made, unused, scratch_bytes = self._arena.sessions(row.row)
                blocks, free, scratch = blocks + made, free + unused, scratch + scratch_bytes
                workers += 1
        size = int(Limit.BLOCK_BYTES)
        pools = [
            ("block", size, blocks, blocks - free),
            ("read", int(Limit.READ_BYTES), workers, workers),
            ("scratch", scratch // max(workers, 1), workers, workers),
        ]
        lines = ["Dumping pools usage."]
        for name, item, allocated, used in pools:
            lines.append(
                f"  - Pool {name} ({item} bytes) : {allocated} allocated"
                f" ({item * allocated} bytes), {used} used, 0 failures, {workers} users"
            )
        total = sum(item * allocated for _, item, allocated, _ in pools)
        used_bytes = sum(item * used for _, item, _, used in pools)
        lines.append(f"Total: {len(pools)} pools, {total} bytes allocated, {used_bytes} used.")
        return "".join(f"{line}\n" for line in lines)


class Names:
    """What a session's slots are called."""

    def __init__(self, proxies: list[Proxy], tier_slots: Mapping[str, int]) -> None:
        self.tiers = {slot: name for name, slot in tier_slots.items()}
        self.servers = {
            server.slot: (proxy.name, server.plan.name)
            for proxy in proxies
            for server in proxy.servers
        }


def session_line(row: int, session: Mapping[str, Any], names: Names) -> str:
    """One line of `show sess`."""
    frontend = names.tiers.get(session["tier"], "<NONE>")
    backend, server = names.servers.get(session["server"], ("<NONE>", "<none>"))
    state = PHASES[session["phase"]]
    if session["phase"] == WAITING:
        state = WAITS[session["wait"]]
    expires = "" if session["expires_ms"] < 0 else _age(session["expires_ms"] * 1000)
    proto = "tcpv6" if ":" in session["address"] else "tcpv4"
    return (
        f"0x{row << ROW_SHIFT | session['id']:x}: proto={proto} src={session['address']}"
        f" fe={frontend} be={backend} srv={server} ts=00 epoch=0 age={_age(session['age_us'])}"
        f" calls={session['requests']} rate=0 cpu=0 lat=0 rq[i={session['held_bytes']}]"
        f" scf=[{PHASES[2]},fd={session['fd']}] scb=[{state},fd={session['server_fd']}]"
        f" exp={expires} rc=0 c_exp="
    )


def parse_maxconn(text: str) -> int:
    """The word for the arena; CommandError in HAProxy's words. Not above 0 is no limit."""
    if not text:
        raise CommandError("Require <maxconn>.\n")
    number = LEADING_NUMBER.match(text)
    if number is None:
        raise CommandError("maxconn string empty or preceded by garbage")
    if number.end() != len(text):
        raise CommandError("Trailing garbage in maxconn string")
    value = int(number[0])
    return value if 0 < value < Limit.MAXCONN_NONE else int(Limit.MAXCONN_NONE)


def _session_of(text: str) -> tuple[int, int] | None:
    """(row, number) of a session's id; None where it is not one."""
    if not POINTER.fullmatch(text):
        return None
    number = int(text, 16)
    return number >> ROW_SHIFT, number & (1 << ROW_SHIFT) - 1


def _integer(text: str) -> int:
    """As C's atoi: what is not a number is 0."""
    number = LEADING_NUMBER.match(text)
    return int(number[0]) if number else 0


def _word(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _age(microseconds: int) -> str:
    """HAProxy's short form: `3s`, `1m20s`, `2h03m`."""
    seconds = max(0, microseconds) // 1_000_000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
