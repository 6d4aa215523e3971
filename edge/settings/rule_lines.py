"""The rules of the haproxy tier as the file has them, and what is wrong with them.

`edge.rules` judges the lines; this module finds them, plain as they stand in the file or in checked
settings, and tells it what they may name: backends with their servers, stick tables.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from edge.rules import Lines, Names, compile_section
from edge.settings.address import split_address
from edge.settings.document import KeyPath, nearest

if TYPE_CHECKING:
    from edge.settings.haproxy import Backend, Haproxy

Conflict = tuple[KeyPath, str]

OWN = "haproxy"  # the name of the tier's own backend in rules
# Of a frontend alone: HAProxy has no such keyword for a backend.
FRONTEND_KEYS = (
    "listen",
    "limits",
    "forwarded",
    "max_connections",
    "stats",
    "stick_tables",
    "use_backend",
    "default_backend",
    "monitor_uri",
    "monitor_fail",
    "backends",
)
_TIERS = ("cdn", "elb", "haproxy")


def lines_of(section: "Backend") -> Lines:
    """The rules of checked settings."""
    return Lines(
        acl=section.acl,
        http_request=section.http_request,
        http_response=section.http_response,
        use_backend=getattr(section, "use_backend", []),
        monitor_uri=getattr(section, "monitor_uri", None),
        monitor_fail=getattr(section, "monitor_fail", None),
    )


def has_rules(haproxy: "Haproxy") -> bool:
    """Whether requests of this tier are judged at all."""
    return bool(haproxy.backends or haproxy.default_backend or not lines_of(haproxy).is_empty)


def find_rule_conflicts(values: Mapping[str, object]) -> Iterator[Conflict]:
    """Every mistake of the rules, and of what they name."""
    haproxy = values.get("haproxy")
    if not isinstance(haproxy, dict):
        return
    names = _names(values, haproxy)
    backends = _backends(haproxy)
    yield from _problems(("haproxy",), haproxy, names)
    for name, backend in backends.items():
        yield from _problems(("haproxy", "backends", name), backend, names)
        if name in _TIERS:
            yield ("haproxy", "backends", name), f"{name} is the name of a tier; choose another"
        for key in FRONTEND_KEYS:
            if key in backend:
                text = "belongs to the frontend: write it under `haproxy`"
                yield ("haproxy", "backends", name, key), text
        yield from _unknown_nodes(("haproxy", "backends", name), backend, values)
    yield from _unknown_nodes(("haproxy",), haproxy, values)
    default = haproxy.get("default_backend")
    if isinstance(default, str) and default not in names.backends:
        close = nearest(default, names.backends)
        hint = f"did you mean {close}?" if close else "there are: " + ", ".join(names.backends)
        yield ("haproxy", "default_backend"), f"names the backend {default!r}; {hint}"


def _problems(path: KeyPath, section: Mapping[str, object], names: Names) -> Iterator[Conflict]:
    lines = Lines(
        acl=_rows(section, "acl"),
        http_request=_rows(section, "http_request"),
        http_response=_rows(section, "http_response"),
        use_backend=_rows(section, "use_backend"),
        monitor_uri=_text(section, "monitor_uri"),
        monitor_fail=_text(section, "monitor_fail"),
    )
    for (key, index), text in compile_section(lines, names).problems:
        yield (*path, key) if index is None else (*path, key, index), text


def _unknown_nodes(
    path: KeyPath, section: Mapping[str, object], values: Mapping[str, object]
) -> Iterator[Conflict]:
    if "nodes" not in section:
        return
    known = _web_nodes(values)
    chosen = section["nodes"]
    rows = chosen if isinstance(chosen, list) else []
    if chosen == []:
        yield (*path, "nodes"), "must have at least one row"
    for index, name in enumerate(rows):
        if isinstance(name, str) and name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else "there are: " + ", ".join(known)
            yield (*path, "nodes", index), f"no node with web traffic has the name {name!r}; {hint}"


def _names(values: Mapping[str, object], haproxy: Mapping[str, object]) -> Names:
    nodes = _web_nodes(values)
    farms = {OWN: haproxy, **_backends(haproxy)}
    backends = {name: _servers(section, nodes) for name, section in farms.items()}
    tables = haproxy.get("stick_tables")
    port = 0
    with contextlib.suppress(ValueError):  # the address has its own message
        port = split_address(str(haproxy.get("listen")))[1]
    return Names(backends, tuple(tables) if isinstance(tables, dict) else (), port)


def _servers(section: Mapping[str, object], nodes: list[str]) -> tuple[str, ...]:
    chosen = section.get("nodes")
    return tuple(node for node in nodes if not isinstance(chosen, list) or node in chosen)


def _backends(haproxy: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    rows = haproxy.get("backends")
    named = rows.items() if isinstance(rows, dict) else ()
    return {name: section for name, section in named if isinstance(section, dict)}


def _web_nodes(values: Mapping[str, object]) -> list[str]:
    rows = values.get("nodes")
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [str(row.get("name")) for row in named if row.get("role") != "core"]


def _rows(section: Mapping[str, object], key: str) -> list[str]:
    """The rows that are text; a row that is not keeps its place."""
    rows = section.get(key)
    return (
        [row if isinstance(row, str) else _NO_ROW[key] for row in rows]
        if isinstance(rows, list)
        else []
    )


# Rows that mean nothing, for what is no text: the models report those.
_NO_ROW = {
    "acl": "none always_true",
    "http_request": "allow if FALSE",
    "http_response": "allow if FALSE",
    "use_backend": "haproxy if FALSE",
}


def _text(section: Mapping[str, object], key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) else None
