"""`show|set|clear table`: HAProxy's commands on stick tables, with its words.

An entry goes by its place in the table's memory where HAProxy prints an address. Tables behind an
elb are one per VM: `clients@node1`.

deviates: `clear table` needs the level that `set table` does; HAProxy lets everyone. A command that
is in error, or that names a key which is not there, changes nothing; HAProxy 2.6 empties the table
at some of them (`set table NAME` and nothing more, `clear table NAME key` of an unknown key).
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from edge.control.haproxy.changes import CommandError
from edge.settings.stick_table import DATA
from ext.sticktable import StickTable

OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "le": operator.le,
    "ge": operator.ge,
    "lt": operator.lt,
    "gt": operator.gt,
}
FILTERS_MAX = 4
WORDS_BEFORE = 3  # `show table NAME`, as the position in an error counts them
UNSIGNED = 2**32  # what a counter holds in HAProxy
NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
INTEGER_KEY_MAX = 2**32 - 1
NO_TABLE = "No such table\n"
UNPRIVILEGED = "# contents not dumped due to insufficient privileges\n"
FILTER_USAGE = {
    "show": 'Optional argument only supports "data.<store_data_type>" <operator> <value>'
    " and key <key>\n",
    "clear": 'Required arguments: <table> "data.<store_data_type>" <operator> <value>'
    " or <table> key <key>\n",
    "set": "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n",
}

Entry = tuple[bytes, int, int, int | None, dict[str, int]]
Filter = tuple[str, Callable[[int, int], bool], int]


class Tables:
    """The tables of this process's haproxy tiers, by name in the order of the file."""

    def __init__(self, tables: Mapping[str, StickTable]) -> None:
        self._tables = dict(tables)

    def expire(self) -> None:
        """Forgets what has expired."""
        for table in self._tables.values():
            table.expire()

    def show(self, words: Sequence[str], *, is_privileged: bool) -> str:
        """All heads, or one table; `words` follow `show table`."""
        if not words:  # the last one of the file first, as HAProxy has them
            return "".join(map(head_line, reversed(self._tables), reversed(self._tables.values())))
        name, table = self._named(words)
        if len(words) == 1 and not is_privileged:
            return head_line(name, table) + UNPRIVILEGED
        entries = list(_chosen(table, "show", words[1:]))
        if not entries and words[1:2] == ["key"]:
            return ""
        return head_line(name, table) + "".join(entry_line(table, entry) for entry in entries)

    def set(self, words: Sequence[str]) -> str:
        """Makes or changes an entry; `words` follow `set table`."""
        if len(words) < 2:
            return NO_TABLE if words and words[0] not in self._tables else ""
        _, table = self._named(words)
        if words[1].startswith("data."):
            raise CommandError(
                'content-based lookup is only supported with the "show" and "clear" actions\n'
            )
        if words[1] != "key":
            raise CommandError(FILTER_USAGE["set"])
        key = _key(table, _word(words, 2))
        if key is None:
            raise CommandError("Invalid key\n")
        if not table.set(key, dict(_assignments(table, words[3:]))):
            raise CommandError("Unable to allocate a new entry\n")
        return ""

    def clear(self, words: Sequence[str]) -> str:
        """Forgets entries that no request holds; `words` follow `clear table`."""
        if not words:
            raise CommandError(FILTER_USAGE["clear"])
        _, table = self._named(words)
        for key, *_ in _chosen(table, "clear", words[1:]):
            if not table.clear(key) and words[1:2] == ["key"]:
                raise CommandError("Entry currently in use, cannot remove\n")
        return ""

    def _named(self, words: Sequence[str]) -> tuple[str, StickTable]:
        if words[0] not in self._tables:
            raise CommandError(NO_TABLE)
        return words[0], self._tables[words[0]]


def head_line(name: str, table: StickTable) -> str:
    made = table.description
    return f"# table: {name}, type: {made['key_type']}, size:{made['size']}, used:{table.used()}\n"


def entry_line(table: StickTable, entry: Entry) -> str:
    """One entry as `show table` prints it; times in ms."""
    key, place, refs, left_ms, data = entry
    periods = dict(table.description["store"])
    values = "".join(
        f" {name}({periods[name]})={value}" if periods[name] else f" {name}={value}"
        for name, value in data.items()
    )
    shown = key_text(str(table.description["key_type"]), key)
    return f"{place:#x}: key={shown} use={refs} exp={left_ms or 0}{values}\n"


def key_text(key_type: str, key: bytes) -> str:
    """A key as it is printed: blanks and backslashes of a string behind a backslash."""
    if key_type in ("ip", "ipv6"):
        return str(ipaddress.ip_address(key))
    if key_type == "integer":
        return str(int.from_bytes(key, "big"))
    if key_type == "binary":
        return key.hex().upper()
    text = key.decode("latin-1")
    return re.sub(r"[^!-\[\]-~]", lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return f"\\{character}" if character in " \\" else f"\\x{ord(character):02x}"


def _chosen(table: StickTable, action: str, words: Sequence[str]) -> Iterator[Entry]:
    """The entries that the words after the table's name ask for."""
    if not words:
        yield from table.entries()
    elif words[0] == "key":
        if len(words) < 2:
            raise CommandError("Key value expected\n")
        key = _key(table, words[1])
        yield from (entry for entry in table.entries() if entry[0] == key)
    elif words[0].startswith("data."):
        filters = list(_filters(table, words))
        for entry in table.entries():
            if all(compare(entry[4][name], value) for name, compare, value in filters):
                yield entry
    else:
        raise CommandError(FILTER_USAGE[action])


def _filters(table: StickTable, words: Sequence[str]) -> Iterator[Filter]:
    for at in range(0, len(words), 3):
        number = at // 3 + 1
        if number > FILTERS_MAX or not words[at].startswith("data."):
            position = WORDS_BEFORE + at + 1
            raise CommandError(
                f"Detected extra data in filter, {position}th word of input,"
                f" after '{words[at - 1]}'\n"
            )
        where = f"Filter entry #{number}: "
        name = words[at].removeprefix("data.")
        if name not in DATA:
            raise CommandError(f"{where}Unknown data type\n")
        if name not in dict(table.description["store"]):
            raise CommandError(f"{where}Data type not stored in this table\n")
        compare = OPERATORS.get(_word(words, at + 1))
        if compare is None:
            names = ", ".join(f'"{name}"' for name in ("eq", "ne", "le", "ge", "lt", "gt"))
            raise CommandError(f"{where}Require and operator among {names}\n")
        value = _word(words, at + 2)
        if not NUMBER.fullmatch(value):
            raise CommandError(f"{where}Require a valid integer value to compare against\n")
        yield name, compare, int(value)


def _assignments(table: StickTable, words: Sequence[str]) -> Iterator[tuple[str, int]]:
    for at in range(0, len(words), 2):
        if not words[at].startswith("data."):
            raise CommandError('"data.<type>" followed by a value expected\n')
        name = words[at].removeprefix("data.")
        if name not in DATA:
            raise CommandError("Unknown data type\n")
        if name not in dict(table.description["store"]):
            raise CommandError("Data type not stored in this table\n")
        value = _word(words, at + 1)
        if not NUMBER.fullmatch(value):
            raise CommandError("Require a valid integer value to store\n")
        yield name, int(value) % UNSIGNED


def _key(table: StickTable, text: str) -> bytes | None:
    """The bytes of a key in the table's type; None when it is none."""
    key_type = table.description["key_type"]
    try:
        if key_type in ("ip", "ipv6"):
            packed = ipaddress.ip_address(text).packed
            is_wide = key_type == "ipv6" and len(packed) == 4
            return bytes(10) + b"\xff\xff" + packed if is_wide else packed
        if key_type == "integer":
            number = int(text) if text.isdigit() else INTEGER_KEY_MAX + 1
            return number.to_bytes(4, "big") if number <= INTEGER_KEY_MAX else None
        if key_type == "binary":
            return bytes.fromhex(text)[: int(table.description["key_bytes"])]
        return text.encode("latin-1")[: int(table.description["key_bytes"])] or None
    except ValueError:  # UnicodeEncodeError is one, too
        return None


def _word(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""
