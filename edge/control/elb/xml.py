"""Answers of the ELBv2 API as XML, and its parameters, as AWS's Query protocol has both.

Parameters are flat: `Targets.member.1.Id`; they become lists and mappings again. Answers are trees
of mappings and lists whose names are those of the API's model. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
MEMBERS_MAX = 1_000  # of one list: more than any action takes
DEPTH_MAX = 8


class ApiError(Exception):
    """What the API answers with its own code; `status` is the HTTP one."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def answer(action: str, result: Mapping[str, Any], request_id: str) -> str:
    """A good answer's body."""
    inner = element(f"{action}Result", result)
    meta = element("ResponseMetadata", {"RequestId": request_id})
    return f'<{action}Response xmlns="{NAMESPACE}">{inner}{meta}</{action}Response>'


def refusal(error: ApiError, request_id: str) -> str:
    """A refusal's body."""
    side = "Receiver" if error.status >= 500 else "Sender"
    inner = element("Error", {"Type": side, "Code": error.code, "Message": error.message})
    tail = element("RequestId", request_id)
    return f'<ErrorResponse xmlns="{NAMESPACE}">{inner}{tail}</ErrorResponse>'


def element(name: str, value: object) -> str:
    """One element; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        body = "".join(element(key, inner) for key, inner in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        body = "".join(element("member", inner) for inner in value)
    elif isinstance(value, bool):
        body = "true" if value else "false"
    else:
        body = escape(str(value))
    return f"<{name}>{body}</{name}>"


def parameters(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`A.member.2.B=x` as {"A": [..., {"B": "x"}]}. ApiError for what fits together in no way."""
    root: dict[str, Any] = {}
    for key, value in pairs:
        at = root
        steps = key.split(".")
        if len(steps) > DEPTH_MAX:
            raise ApiError("ValidationError", f"parameter {key!r} is nested too deep")
        for step in steps[:-1]:
            inner = at.setdefault(step, {})
            if not isinstance(inner, dict):
                raise ApiError("ValidationError", f"parameter {key!r} is both a value and a list")
            at = inner
        if isinstance(at.get(steps[-1]), dict):
            raise ApiError("ValidationError", f"parameter {key!r} is both a value and a list")
        at[steps[-1]] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() != {"member"}:
        return {name: _lists(inner) for name, inner in value.items()}
    members = value["member"]
    if not isinstance(members, dict):  # `A.member=`: how an empty list is sent
        return []
    if len(members) > MEMBERS_MAX or not all(n.isascii() and n.isdigit() for n in members):
        raise ApiError("ValidationError", "a list's members must be numbered from 1")
    return [_lists(members[number]) for number in sorted(members, key=int)]
