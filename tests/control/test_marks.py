"""edge.control.marks: whose sessions are cut when a server goes down or comes up."""

import pytest

from edge.control.marks import Marks
from edge.health.server import Kind, StateChange
from edge.plan import build_plan
from edge.settings import Settings
from ext.arena import Arena
from ext.limits import AdminState, ServerState

KEYS = ("haproxy/n1", "haproxy/n2", "haproxy/b1")
DOWN, UP = "shutdown-sessions", "shutdown-backup-sessions"


class CutArena:
    """Remembers whose sessions were to be cut."""

    def __init__(self) -> None:
        self.cut: list[int] = []

    def shut_down_sessions(self, slot: int) -> None:
        self.cut.append(slot)


def change_of(key: str, *, is_up: bool, kind: Kind = Kind.STATE) -> StateChange:
    state = ServerState.UP if is_up else ServerState.DOWN
    return StateChange(key, kind, state, AdminState.READY, AdminState.READY)


@pytest.mark.parametrize(
    ("down", "up", "key", "is_up", "cut"),
    [
        (DOWN, None, "haproxy/n1", False, [0]),
        (DOWN, None, "haproxy/b1", False, [2]),
        (DOWN, None, "haproxy/n1", True, []),
        (None, None, "haproxy/n1", False, []),
        (None, UP, "haproxy/n2", True, [2]),
        (None, UP, "haproxy/b1", True, []),
        (None, UP, "haproxy/n1", False, []),
    ],
)
def test_who_is_cut(
    down: str | None, up: str | None, key: str, is_up: bool, cut: list[int]
) -> None:
    settings = Settings.model_validate(
        {
            "haproxy": {"listen": "127.0.0.1:1", "on_marked_down": down, "on_marked_up": up},
            "nodes": [
                {"name": "n1", "web": "127.0.0.1:11"},
                {"name": "n2", "web": "127.0.0.1:12"},
                {"name": "b1", "web": "127.0.0.1:13", "backup": True},
            ],
        }
    )
    arena, said = CutArena(), []
    slots = {name: slot for slot, name in enumerate(KEYS)}
    marks = Marks(arena, build_plan(settings, None), slots, said.append)  # type: ignore[arg-type]
    change = change_of(key, is_up=is_up)
    marks.on_change(change)
    assert arena.cut == cut
    assert said == [change]


def test_the_word_reaches_the_workers() -> None:
    arena = Arena.create()
    slot = arena.server_slot("haproxy/n1")
    epoch = arena.epoch
    arena.shut_down_sessions(slot)
    assert arena.epoch == epoch + 1
