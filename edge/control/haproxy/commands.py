"""HAProxy's commands: the words, who may give them, the answers.

A command is found by its leading words. Permission is asked for before anything else of it is
looked at, as HAProxy does. Commands for what edge does not have (maps, certificates) are unknown,
and the answer lists what is known. `show env` is left out: tokens of other services stand in the
environment. What is about running traffic stands in traffic.py.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from edge.clock import now, wall
from edge.control.haproxy import formats, reports
from edge.control.haproxy.changes import HEALTHS, STATES, Changes, CommandError, find_server
from edge.control.haproxy.rates import Rates
from edge.control.haproxy.snapshot import Proxy, Server, Snapshots, find_proxy
from edge.control.haproxy.statistics import (
    ANY,
    Moment,
    Wanted,
    counts_of,
    stat_rows,
)
from edge.control.haproxy.tables import Tables
from edge.control.haproxy.traffic import Traffic
from ext.limits import AdminState

LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,9})")
TIME = re.compile(r"([0-9]{1,9})(us|ms|s|m|h|d)?")
TIME_UNIT_S = {"us": 1e-6, "ms": 1e-3, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TIMEOUT_S_MIN = 1.0

SET_SERVER_USAGE = (
    "usage: set server <backend>/<server> agent | agent-addr | agent-port | agent-send | fqdn"
    " | health | ssl | state | weight\n"
)
# What cannot be set at any server here, in the words HAProxy has for a server without it.
UNSETTABLE = {
    "fqdn": "set server <b>/<s> fqdn failed because no resolution is configured.\n",
    "ssl": "'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n",
}
EXPECTS_STATE = "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"
EXPECTS_HEALTH = "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n"
NEEDS_ADDR = "set server <b>/<s> agent-addr requires an address and optionally a port.\n"
NEEDS_PORT = "set server <b>/<s> agent-port requires a port.\n"
USE_SET = "use 'set server' instead"
USAGE_CHARS = 40  # the column of the colon in HAProxy's help
ALWAYS_KNOWN = (
    "help [<command>]                        : list matching or all commands",
    "prompt                                  : toggle interactive mode with prompt",
    "quit                                    : disconnect",
)


STAT_FORMS: Mapping[str, Callable[[Sequence[formats.Row]], str]] = {
    "": formats.stat_csv,
    "typed": formats.stat_typed,
    "json": formats.stat_json,
}
INFO_FORMS: Mapping[str, Callable[[formats.Row], str]] = {
    "": formats.info_lines,
    "typed": formats.info_typed,
    "json": formats.info_json,
}
Form = TypeVar("Form")


class Level(IntEnum):
    """What a client of the CLI may do; HAProxy's levels."""

    USER = 0
    OPERATOR = 1
    ADMIN = 2

    @property
    def text(self) -> str:
        return self.name.lower()


@dataclass(slots=True)
class Client:
    """One connection to the CLI: what it may do, and how it is spoken to."""

    level: Level
    sockets: Sequence[str] = ()  # every address of the CLI as `show cli sockets` lists it
    timeout_s: float = 10.0  # HAProxy's `stats timeout`
    is_interactive: bool = False
    is_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """`run` gets the words after the command's own."""

    words: tuple[str, ...]
    usage: str
    level: Level
    run: Callable[[Client, Sequence[str]], str]
    prepare: Callable[[Sequence[str]], Awaitable[None]] | None = None  # what it waits for


class Commands:
    """All commands over one control process."""

    def __init__(
        self,
        snapshots: Snapshots,
        changes: Changes,
        rates: Rates,
        tables: Tables | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.traffic = traffic
        self.snapshots = snapshots
        self.changes = changes
        self.rates = rates
        self.tables = tables or Tables({})
        self._table = list(self._rows())

    def answer(self, client: Client, line: str) -> str:
        """The answer to one command, without the empty line that ends it."""
        words = split_words(line)
        if words[:1] in (["help"], ["quit"], ["prompt"]):
            return self._of_session(client, words)
        command = self._find(words)
        if command is None:
            return self._usage(words)
        if client.level < command.level:
            return "Permission denied\n"
        try:
            return command.run(client, words[len(command.words) :])
        except CommandError as error:
            return str(error)

    async def prepare(self, client: Client, line: str) -> None:
        """Waits for what the command is about to tell: workers are asked first."""
        words = split_words(line)
        command = self._find(words)
        if command is not None and command.prepare is not None and client.level >= command.level:
            await command.prepare(words[len(command.words) :])

    def look(self) -> None:
        """Counts for the rates, and what has expired in tables; once a second."""
        self.tables.expire()
        self.rates.look(counts_of(self.snapshots.proxies()), now())

    def _of_session(self, client: Client, words: list[str]) -> str:
        if words[0] == "help":
            return self._usage(words)
        if words[0] == "quit":
            client.is_leaving = True
        else:
            client.is_interactive = not client.is_interactive
        return ""

    def _find(self, words: list[str]) -> Command | None:
        found = [each for each in self._table if tuple(words[: len(each.words)]) == each.words]
        return max(found, key=lambda command: len(command.words), default=None)

    def _usage(self, words: list[str]) -> str:
        is_help = words[:1] == ["help"]
        words = words[1:] if is_help else words
        # As many words as some command begins with.
        length = max(_common(words, command.words) for command in self._table)
        if is_help:
            head = "The following commands are valid at this level:"
        elif not words:
            head = "Unknown command. Please enter one of the following commands only:"
        else:
            head = "Unknown command, but maybe one of the following ones is a better match:"
        usages = sorted(each.usage for each in self._table if _common(words, each.words) == length)
        return "".join(
            f"{line}\n" for line in [head, *(f"  {u}" for u in (*usages, *ALWAYS_KNOWN))]
        )

    def _rows(self) -> Iterator[Command]:
        everyone, operator, admin = Level.USER, Level.OPERATOR, Level.ADMIN
        for words, arguments, text, level, run in (
            ("clear table", " <table> [<filter>]*", "remove an entry", operator, self._clear_table),
            ("disable agent", "", "disable agent checks", admin, self._disable_agent),
            ("disable health", "", "disable health checks", admin, self._disable_health),
            ("disable server", " (DEPRECATED)", USE_SET, admin, self._disable_server),
            ("enable agent", "", "enable agent checks", admin, self._enable_agent),
            ("enable health", "", "enable health checks", admin, self._enable_health),
            ("enable server", "  (DEPRECATED)", USE_SET, admin, self._enable_server),
            ("get weight", " <bk>/<srv>", "report a server's weight", everyone, self._get_weight),
            ("operator", "", "lower this session's level to operator", operator, self._operator),
            ("set server", " <bk>/<srv> [opts]", "change a server", admin, self._set_server),
            (
                "set table",
                " <table> key <k> [data.* <v>]*",
                "set an entry's data",
                operator,
                self._set_table,
            ),
            ("set timeout", " [cli] <delay>", "change a timeout", everyone, self._set_timeout),
            ("set weight", " <bk>/<srv>  (DEPRECATED)", USE_SET, admin, self._set_weight),
            ("show backend", "", "list backends", everyone, self._show_backend),
            ("show cli level", "", "level of this session", everyone, self._show_level),
            ("show cli sockets", "", "list of cli sockets", everyone, self._show_sockets),
            ("show errors", " [<px>]", "report last errors", operator, self._show_errors),
            (
                "show info",
                " [json|typed]*",
                "information on the process",
                everyone,
                self._show_info,
            ),
            ("show servers conn", " [<backend>]", "connections", everyone, self._show_conn),
            ("show servers state", " [<backend>]", "states", everyone, self._show_state),
            ("show stat", " [json|no-maint|typed|up]*", "counters", everyone, self._show_stat),
            ("show table", " <table> [<filter>]*", "dump a table", everyone, self._show_table),
            ("show version", "", "show version of the process", everyone, self._show_version),
            ("user", "", "lower this session's level to user", everyone, self._user),
        ):
            yield Command(tuple(words.split()), usage_of(words + arguments, text), level, run)
        for row in self.traffic.rows() if self.traffic is not None else ():
            usage = usage_of(row.words + row.arguments, row.text)
            level = Level[row.level.upper()]
            yield Command(tuple(row.words.split()), usage, level, row.run, row.prepare)

    # -- what is shown -------------------------------------------------------------------------

    def _show_version(self, _client: Client, _words: Sequence[str]) -> str:
        return f"{reports.version_text(self.snapshots.view.version)}\n"

    def _show_info(self, _client: Client, words: Sequence[str]) -> str:
        row = reports.info_row(self.snapshots, self.rates, wall())
        return _form_of(words, INFO_FORMS)(row)

    def _show_stat(self, client: Client, words: Sequence[str]) -> str:
        proxies = self.snapshots.proxies()
        wanted, options = _wanted(proxies, words)
        rows = stat_rows(proxies, wanted, self.moment(client.level >= Level.OPERATOR))
        return _form_of(options, STAT_FORMS)(rows)

    def moment(self, shows_legends: bool) -> Moment:
        return Moment(self.rates, wall(), now(), shows_legends)

    def _show_backend(self, _client: Client, _words: Sequence[str]) -> str:
        return reports.backends(self.snapshots.proxies())

    def _show_state(self, _client: Client, words: Sequence[str]) -> str:
        return reports.servers_state(self._backends_of(words), wall())

    def _show_conn(self, _client: Client, words: Sequence[str]) -> str:
        workers = len(self.snapshots.view.workers())
        return reports.servers_conn(self._backends_of(words), workers)

    def _backends_of(self, words: Sequence[str]) -> list[Proxy]:
        proxies = self.snapshots.proxies()
        if not words:
            return proxies
        proxy = find_proxy(proxies, words[0])
        if proxy is None:
            raise CommandError("Can't find backend.\n")
        return [proxy]

    def _show_errors(self, _client: Client, words: Sequence[str]) -> str:
        if words:
            _proxy_id(self.snapshots.proxies(), words[0])
        return reports.captured_errors(wall())

    def _show_table(self, client: Client, words: Sequence[str]) -> str:
        return self.tables.show(words, is_privileged=client.level >= Level.OPERATOR)

    def _show_level(self, client: Client, _words: Sequence[str]) -> str:
        return f"{client.level.text}\n"

    def _show_sockets(self, client: Client, _words: Sequence[str]) -> str:
        return "".join(f"{line}\n" for line in ("# socket lvl processes", *client.sockets))

    # -- what is changed -----------------------------------------------------------------------

    def _get_weight(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        return f"{server.view.user_weight} (initial {server.plan.weight})\n"

    def _set_weight(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        self.changes.set_weight(server, _word(words, 1))
        return ""

    def _set_server(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        what, value = _word(words, 1), _word(words, 2)
        if what == "weight":
            self.changes.set_weight(server, value)
        elif what == "state":
            if value not in STATES:
                raise CommandError(EXPECTS_STATE)
            self.changes.set_state(server, STATES[value])
        elif what == "health":
            if value not in HEALTHS:
                raise CommandError(EXPECTS_HEALTH)
            self.changes.set_health(server, HEALTHS[value])
        elif what == "agent":
            self.changes.set_agent(server, value)
        elif what == "agent-send":
            self.changes.set_agent_send(server, value)
        elif what in ("agent-addr", "agent-port"):
            self._set_agent_address(server, what, words[2:])
        elif what == "addr" and self.traffic is not None:
            return self.traffic.set_address(server, words[2:])
        else:
            raise CommandError(UNSETTABLE.get(what, SET_SERVER_USAGE))
        return ""

    def _set_agent_address(self, server: Server, what: str, words: Sequence[str]) -> None:
        if not words:
            raise CommandError(NEEDS_ADDR if what == "agent-addr" else NEEDS_PORT)
        if what == "agent-port":
            self.changes.set_agent_address(server, None, words[0])
        else:
            port = _word(words, 2) if _word(words, 1) == "port" else None
            self.changes.set_agent_address(server, words[0], port)

    def _enable_server(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        self.changes.set_state(server, AdminState.READY)
        return ""

    def _disable_server(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        self.changes.set_state(server, AdminState.MAINT)
        return ""

    def _set_table(self, _client: Client, words: Sequence[str]) -> str:
        return self.tables.set(words)

    def _clear_table(self, _client: Client, words: Sequence[str]) -> str:
        return self.tables.clear(words)

    def _enable_health(self, _client: Client, words: Sequence[str]) -> str:
        self.changes.resume_checks(find_server(self.snapshots.proxies(), _word(words, 0)))
        return ""

    def _disable_health(self, _client: Client, words: Sequence[str]) -> str:
        self.changes.pause_checks(find_server(self.snapshots.proxies(), _word(words, 0)))
        return ""

    def _enable_agent(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        self.changes.enable_agent(server, is_enabled=True)
        return ""

    def _disable_agent(self, _client: Client, words: Sequence[str]) -> str:
        server = find_server(self.snapshots.proxies(), _word(words, 0))
        self.changes.enable_agent(server, is_enabled=False)
        return ""

    # -- what concerns the session -------------------------------------------------------------

    def _operator(self, client: Client, _words: Sequence[str]) -> str:
        client.level = Level.OPERATOR
        return ""

    def _user(self, client: Client, _words: Sequence[str]) -> str:
        client.level = Level.USER
        return ""

    def _set_timeout(self, client: Client, words: Sequence[str]) -> str:
        if _word(words, 0) != "cli":
            raise CommandError("'set timeout' only supports 'cli'.\n")
        if not _word(words, 1):
            raise CommandError("Expects an integer value.\n")
        found = TIME.fullmatch(words[1])
        seconds = int(found[1]) * TIME_UNIT_S[found[2]] if found else 0.0
        if seconds < TIMEOUT_S_MIN:
            raise CommandError("Invalid timeout value.\n")
        client.timeout_s = seconds
        return ""


def usage_of(command: str, text: str) -> str:
    return f"{command:<{USAGE_CHARS}}: {text}"


def split_words(line: str) -> list[str]:
    """Words at blanks; a backslash takes the next character as it is."""
    words = re.findall(r"(?:\\.|[^ \t\\])+", line)
    return [re.sub(r"\\(.)", r"\1", word) for word in words]


def _word(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _common(words: Sequence[str], command: Sequence[str]) -> int:
    """How many leading words the two have in common."""
    count = 0
    for given, own in zip(words, command, strict=False):
        if given != own:
            break
        count += 1
    return count


def _form_of(words: Sequence[str], forms: Mapping[str, Form]) -> Form:
    """The last form that is named counts; what is not known is ignored, as HAProxy does."""
    return forms[next((word for word in reversed(words) if word in forms), "")]


def _proxy_id(proxies: list[Proxy], text: str) -> int:
    """The id of a proxy by name or number (-1: all); CommandError if it can be neither."""
    proxy = find_proxy(proxies, text)
    number = proxy.id if proxy is not None else _integer(text)
    if number == 0:
        raise CommandError("No such proxy.\n")
    return number


def _integer(text: str) -> int:
    """As C's atoi: what is not a number is 0."""
    found = LEADING_INTEGER.match(text)
    return int(found[1]) if found else 0


def _wanted(proxies: list[Proxy], words: Sequence[str]) -> tuple[Wanted, Sequence[str]]:
    """The rows that `show stat` is asked for, and the words that say in which form."""
    if words[:2] == ["domain", "proxy"]:
        words = words[2:]
    elif words[:1] == ["domain"]:
        raise CommandError("Invalid statistics domain.\n")
    bounds = (ANY, ANY, ANY)
    if len(words) >= 3:
        bounds = (_proxy_id(proxies, words[0]), _integer(words[1]), _integer(words[2]))
        words = words[3:]
    return Wanted(*bounds, hides_down="up" in words, hides_maint="no-maint" in words), words
