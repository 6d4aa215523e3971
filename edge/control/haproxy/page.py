"""HAProxy's statistics page: one table per proxy, made of the rows of `show stat`.

The columns and their groups are HAProxy's, so that an operator finds them where they were. Cells of
what edge does not measure are empty. Every text that does not stand in this file is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from edge.control.haproxy.formats import BACKEND, FRONTEND, Row, Value
from edge.control.haproxy.reports import uptime_text

GROUPS = (
    ("Queue", ("Cur", "Max", "Limit")),
    ("Session rate", ("Cur", "Max", "Limit")),
    ("Sessions", ("Cur", "Max", "Limit", "Total", "LbTot", "Last")),
    ("Bytes", ("In", "Out")),
    ("Denied", ("Req", "Resp")),
    ("Errors", ("Req", "Conn", "Resp")),
    ("Warnings", ("Retr", "Redis")),
    ("Server", ("Status", "LastChk", "Wght", "Act", "Bck", "Chk", "Dwn", "Dwntme", "Thrtle")),
)
# The column of `show stat` under each heading up to `Redis`.
_NUMBER_COLUMNS = (
    "qcur qmax qlimit rate rate_max rate_lim scur smax slim stot lbtot lastsess bin bout dreq dresp"
    " ereq econ eresp wretr wredis"
)
NUMBER_COLUMNS = tuple(_NUMBER_COLUMNS.split())
# What the admin form may do, in HAProxy's names and words.
ACTIONS = {
    "ready": "Set state to READY",
    "drain": "Set state to DRAIN",
    "maint": "Set state to MAINT",
    "dhlth": "Health: disable checks",
    "ehlth": "Health: enable checks",
    "hrunn": "Health: force UP",
    "hnolb": "Health: force NOLB",
    "hdown": "Health: force DOWN",
    "dagent": "Agent: disable checks",
    "eagent": "Agent: enable checks",
    "arunn": "Agent: force UP",
    "adown": "Agent: force DOWN",
}
# HAProxy's answers to the form, by their code in the address.
OUTCOMES = {
    "DONE": "Action processed successfully.",
    "NONE": "Nothing has changed.",
    "PART": "Action partially processed. Some server names are probably unknown.",
    "ERRP": "Action not processed because of invalid parameters.",
    "DENY": "Action denied.",
    "UNKN": "Unexpected result.",
}
COLOURS = {
    "up": "#c0ffc0",
    "going_down": "#ffffa0",
    "going_up": "#ffd020",
    "down": "#ff9090",
    "draining": "#20a0ff",
    "nolb": "#20a0ff",
    "no_check": "#e0e0e0",
    "maintain": "#c07820",
    "frontend": "#e8e8d0",
    "backend": "#e8e8d0",
}
ROW_CLASSES = {"MAINT": "maintain", "DRAIN": "draining", "NOLB": "nolb", "no check": "no_check"}
LEGEND = (
    ("up", "UP"),
    ("going_down", "UP, going down"),
    ("going_up", "DOWN, going up"),
    ("down", "DOWN"),
    ("no_check", "not checked"),
    ("maintain", "DOWN for maintenance (MAINT)"),
    ("draining", "soft stopped for maintenance (DRAIN)"),
    ("nolb", "for its regulars only (NOLB)"),
)
STYLE = (
    "body{font:12px sans-serif;background:#fff;color:#000}table{border-collapse:collapse}"
    "td,th{border:1px solid gray;padding:2px 4px;font-size:11px}td{text-align:right}"
    "td.ac,td.lgd{text-align:center}th{background:#20d0d0}th.pxname{background:#b00040;color:#ff4}"
    "h1,h2{margin:.3em 0}" + "".join(f".{name}{{background:{c}}}" for name, c in COLOURS.items())
)


@dataclass(frozen=True, slots=True)
class Look:
    """How the page was asked for. `here`: its address without options."""

    here: str
    scope: str = ""
    outcome: str = ""
    is_admin: bool = False
    has_token: bool = False


def render(info: Row, rows: Sequence[Row], look: Look) -> str:
    """The whole page."""
    proxies: dict[Value, list[Row]] = {}
    for row in rows:
        if look.scope in str(row["pxname"]):
            proxies.setdefault(row["pxname"], []).append(row)
    tables = "".join(_proxy(str(name), found, look) for name, found in proxies.items())
    outcome = OUTCOMES.get(look.outcome)
    return (
        "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>Statistics Report for HAProxy"
        f"</title><style>{STYLE}</style></head>\n<body>"
        f"<h1>{_text(info['Name'])} version {_text(info['Version'])}</h1>\n"
        f"<h2>Statistics Report for pid {_text(info['Pid'])}</h2>\n"
        + ("" if outcome is None else f"<p><b>[{escape(look.outcome)}]</b> {escape(outcome)}</p>\n")
        + _process(info)
        + _options(look)
        + f"<table><tr>{''.join(_legend_cell(*each) for each in LEGEND)}</tr></table>\n"
        + tables
        + "</body></html>\n"
    )


def _process(info: Row) -> str:
    return (
        f"<p><b>pid = </b>{_text(info['Pid'])} (nbthread = {_text(info['Nbthread'])})<br>\n"
        f"<b>uptime = </b>{_text(info['Uptime'])}<br>\n"
        f"<b>system limits:</b> ulimit-n = {_text(info['Ulimit-n'])}<br>\n"
        f"current conns = {_text(info['CurrConns'])}; conn rate = {_text(info['ConnRate'])}/sec"
        "</p>\n"
    )


def _options(look: Look) -> str:
    here = escape(look.here)
    links = [("Hide 'DOWN' servers", ";up"), ("Refresh now", "")]
    links += [("CSV export", ";csv"), ("JSON export", ";json")]
    if look.has_token and not look.is_admin:
        links.append(("Administer", ";login"))
    items = "".join(f'<li><a href="{here}{option}">{name}</a>\n' for name, option in links)
    return f"<b>Display option:</b><ul>{items}</ul>\n"


def _legend_cell(name: str, text: str) -> str:
    return f'<td class="lgd {name}">{text}</td>'


def _proxy(name: str, rows: list[Row], look: Look) -> str:
    has_form = look.is_admin and any(row["type"] not in (FRONTEND, BACKEND) for row in rows)
    body = "".join(_row(row, has_form=has_form) for row in rows)
    groups = "".join(f"<th colspan={len(names)}>{group}</th>" for group, names in GROUPS)
    heads = "".join(f"<th>{each}</th>" for _, names in GROUPS for each in names)
    blank = "<th rowspan=2></th>" * (2 if has_form else 1)
    anchor = escape(name)
    table = (
        f'<h3><a name="{anchor}"></a>{anchor}</h3>\n<table width="100%">\n'
        f"<tr>{blank}{groups}</tr>\n<tr>{heads}</tr>\n{body}</table>\n"
    )
    return f'<form method="post">{table}{_form(name)}</form>\n' if has_form else table


def _form(name: str) -> str:
    actions = "".join(f'<option value="{key}">{text}</option>' for key, text in ACTIONS.items())
    return (
        '<p>Choose the action to perform on the checked servers: <select name="action">'
        f'<option value=""></option>{actions}</select>'
        f'<input type="hidden" name="b" value="{escape(name)}"> <input type="submit" value="Apply">'
        "</p>\n"
    )


def _row(row: Row, *, has_form: bool) -> str:
    name = escape(str(row["svname"]))
    shown = {"FRONTEND": "Frontend", "BACKEND": "Backend"}.get(name, name)
    is_server = row["type"] not in (FRONTEND, BACKEND)
    box = f'<input type="checkbox" name="s" value="{name}">' if is_server else ""
    cells = [f"<td>{box}</td>"] if has_form else []
    cells.append(f"<td class=ac>{shown}</td>")
    cells += [_cell(row, column) for column in NUMBER_COLUMNS]
    cells += [f"<td class=ac>{_status(row)}</td>", f"<td class=ac>{_last_check(row)}</td>"]
    cells.append(_cell(row, "weight"))
    cells += [f"<td class=ac>{text}</td>" for text in _roles(row)]
    cells += [_cell(row, column) for column in ("chkfail", "chkdown", "downtime", "throttle")]
    return f'<tr class="{row_class(row)}">{"".join(cells)}</tr>\n'


def row_class(row: Row) -> str:
    """Which colour a row has, by HAProxy's classes."""
    if row["type"] == FRONTEND:
        return "frontend"
    if row["type"] == BACKEND:
        return "backend"
    status = str(row["status"])
    for start, name in ROW_CLASSES.items():
        if status.startswith(start):
            return name
    is_moving = "/" in status
    if status.startswith("UP"):
        return "going_down" if is_moving else "up"
    return "going_up" if is_moving else "down"


def _status(row: Row) -> str:
    """With how long ago it changed, where that is known."""
    age = row.get("lastchg")
    since = "" if age is None else f"{age_text(int(age))} "
    return f"{since}{_text(row['status'])}"


def _last_check(row: Row) -> str:
    if "check_status" not in row:
        return ""
    text = str(row["check_status"])
    if "check_code" in row:
        text += f"/{row['check_code']}"
    if "check_duration" in row:
        text += f" in {row['check_duration']}ms"
    return escape(text)


def _roles(row: Row) -> tuple[str, str]:
    """Numbers of servers at a backend, Y or - at a server."""
    if row["type"] == FRONTEND:
        return "", ""
    if row["type"] == BACKEND:
        return str(row["act"]), str(row["bck"])
    return ("Y", "-") if row["act"] else ("-", "Y")


def _cell(row: Row, column: str) -> str:
    if column not in row:
        return "<td></td>"
    form: Callable[[int], str] = AGES.get(column, str)
    return f"<td>{escape(form(int(row[column])))}</td>"


def age_text(seconds: int) -> str:
    """`3m12s`; `?` for never."""
    if seconds < 0:
        return "?"
    days, clock = uptime_text(seconds).split(" ")
    return f"{days} {clock}" if days != "0d" else clock.removeprefix("0h").removeprefix("00m")


AGES: dict[str, Callable[[int], str]] = {"lastsess": age_text}


def _text(value: Value) -> str:
    return escape(str(value))
