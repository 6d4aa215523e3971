"""A YAML file as plain values, with the line of every key and value.

PyYAML composes the file into nodes that know their lines; this module turns them into dicts, lists
and scalars and keeps the nodes, so that a problem found later under a path of keys can be placed.

Scalars are read by the core schema of YAML 1.2 (§10.3), not by PyYAML's older rules, under which
`off` is false, `no` is not a zone and `1:30` is ninety. Keys are text as written. What can go wrong
here is a `Problem`, never an exception of PyYAML's; a key given twice is one, since YAML 1.2 §3.2.1
asks for unique keys and PyYAML silently keeps the last. Only this module reads the file.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from edge.errors import ConfigError, Problem
from edge.settings.scalars import shown

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_NUMBER_CHARS_MAX = 30  # longer digits are no setting, and Python refuses to print thousands


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's reader with the scalar rules of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _add_rule(kind: str, pattern: str, first_chars: str) -> None:
    _CoreLoader.add_implicit_resolver(_TAG + kind, re.compile(rf"^(?:{pattern})$"), [*first_chars])


_add_rule("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_add_rule("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_add_rule("float", rf"{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789")
_CoreLoader.add_implicit_resolver(
    _TAG + "null", re.compile("^(?:~|null|Null|NULL|)$"), [*"~nN", ""]
)


def path_text(path: KeyPath) -> str:
    """`nodes[1].web` for ("nodes", 1, "web")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that someone who wrote `word` most likely meant; None if none is close."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None


class Document:
    """One YAML file. `values` are its plain values, `problems` what their reading met."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._root = self._compose(text)
        # By node: an anchored value is built once however often an alias repeats it, so that a few
        # lines of aliases cannot unfold into gigabytes.
        self._built: dict[yaml.Node, object] = {}
        self._open: set[yaml.Node] = set()
        values = self._value_of(self._root, ())
        self.values: Mapping[str, object] = values if isinstance(values, dict) else {}

    def problem(self, path: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        """A problem at the value under `path`, or at its key; where that is not in the file (a
        missing key), at the nearest thing around it."""
        return Problem(self.file, self._line(path, at_key), path_text(path), message)

    def _compose(self, text: str) -> yaml.MappingNode:
        try:
            root = yaml.compose(text, Loader=_CoreLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else None
            parts = (error.context, error.problem)
            message = ", ".join(part for part in parts if part)
            raise self._refusal(line, f"is not valid YAML: {message}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            message = f"the character {error.character!r} may not stand in YAML"
            raise self._refusal(line, message) from None
        except RecursionError:
            raise self._refusal(None, "is nested too deeply") from None
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
            raise self._refusal(1, "is empty: it needs `nodes` and one of cdn, elb, haproxy")
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else shown(root.value)
            line = root.start_mark.line + 1
            raise self._refusal(line, f"must be a mapping of keys such as `nodes:`, not {kind}")
        return root

    def _refusal(self, line: int | None, message: str) -> ConfigError:
        return ConfigError([Problem(self.file, line, "", message)])

    def _value_of(self, node: yaml.Node, path: KeyPath) -> object:
        if node in self._open:
            self.problems.append(self.problem(path, "is an alias of what it stands in"))
            return None
        if node not in self._built:
            self._open.add(node)
            self._built[node] = self._build(node, path)
            self._open.remove(node)
        return self._built[node]

    def _build(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping_of(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value_of(row, (*path, index)) for index, row in enumerate(node.value)]
        return self._scalar_of(node, path)

    def _mapping_of(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                text = "a key must be text, not a list or a mapping"
                self.problems.append(Problem(self.file, line, path_text(path), text))
                continue
            key_path = (*path, str(key.value))
            if key.value in first_lines:
                text = f"is given twice, first on line {first_lines[key.value]}; keep one"
                self.problems.append(Problem(self.file, line, path_text(key_path), text))
                continue
            first_lines[key.value] = line
            values[key.value] = self._value_of(value, key_path)
        return values

    def _scalar_of(self, node: yaml.Node, path: KeyPath) -> object:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        read = _SCALARS.get(kind)
        if read is None:
            message = f"has the unknown YAML tag {shown(node.tag)}; leave the tag out"
            self.problems.append(self.problem(path, message))
            return text
        try:
            return read(text)
        except ValueError:
            self.problems.append(self.problem(path, f"is no valid {kind}: {shown(text)}"))
            return text

    def _line(self, path: KeyPath, at_key: bool) -> int:
        node: yaml.Node = self._root
        place = node
        for depth, step in enumerate(path):
            key, child = _child_of(node, step)
            if child is None:
                break
            node = child
            is_last = depth == len(path) - 1
            is_value = isinstance(child, yaml.ScalarNode) and not (is_last and at_key)
            place = child if is_value or key is None else key
        return int(place.start_mark.line) + 1


def _child_of(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Key node (None for a list's row) and value node of one step; (None, None) if not there."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def _int_of(text: str) -> int:
    if len(text) > _NUMBER_CHARS_MAX:
        raise ValueError(text)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float_of(text: str) -> float:
    return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))


def _bool_of(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_SCALARS: Mapping[str, Any] = {
    "str": str,
    "bool": _bool_of,
    "int": _int_of,
    "float": _float_of,
    "null": lambda _text: None,
}


def read_document(file: str) -> Document:
    """The file as a document; ConfigError when it cannot be read or is no YAML mapping."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError([Problem(file, None, "", f"cannot be read: {reason}")]) from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte {content[error.start]:#04x}"
        raise ConfigError([Problem(file, line, "", message)]) from None
    return Document(file, text)
