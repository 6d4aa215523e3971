"""edge.node_command: what is asked in which order, and how long is waited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from edge.admin_client import NotThereError, Remote, UnreachableError
from edge.node_command import add, remove
from edge.operate import WaitedTooLongError


class Standin:
    """An edge that knows the node, or not, by turns of GET."""

    def __init__(self, *turns: object) -> None:
        self.turns = list(turns)
        self.asked: list[str] = []
        self.given: Mapping[str, Any] | None = None
        self.order = "ready"

    def __str__(self) -> str:
        return "edge"

    def ask(self, method: str, path: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        self.given = given or self.given
        self.order = path.rpartition("/")[2] if method == "POST" else self.order
        if method == "GET":
            turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
            if isinstance(turn, Exception):
                raise turn
        server = {
            "tier": "elb", "name": "n3", "admin": self.order, "status": "UP", "up": True,
            "weight": 1, "in_flight": 0, "checked": True, "check_age_s": 0.0,
        }  # fmt: skip
        return {"node": "n3", "servers": [server]}


FIELDS = {"name": "n3", "web": "127.0.0.1:13", "zone": "a", "weight": 1}
GONE, BUSY = NotThereError("gone"), UnreachableError("handed over")


def remotes(standin: Standin) -> list[Remote]:
    return [cast("Remote", standin)]


def test_adding_waits_for_the_node_and_then_for_its_checks() -> None:
    standin = Standin(GONE, BUSY, {})
    lines = list(add(remotes(standin), FIELDS, 5.0, lambda _: None))
    assert standin.asked[:4] == ["POST /nodes", *["GET /nodes/n3"] * 3]
    assert "POST /nodes/n3/ready" in standin.asked
    assert standin.given == FIELDS
    assert lines[0] == "n3: added, new processes start"
    assert lines[-1] == "n3: ready, in service"


def test_removing_drains_first() -> None:
    standin = Standin({}, {}, {}, BUSY, GONE)
    lines = list(remove(remotes(standin), "n3", 5.0, lambda _: None))
    assert standin.asked.index("POST /nodes/n3/drain") < standin.asked.index("DELETE /nodes/n3")
    assert lines[-1] == "n3: removed"


def test_it_does_not_wait_for_ever() -> None:
    with pytest.raises(WaitedTooLongError, match="does not know n3"):
        list(add(remotes(Standin(GONE)), FIELDS, 0.01, lambda _: None))
