"""ext.observe: what counts as an error, and what the arena tells at the limit."""

import pytest

from ext.arena import Arena
from ext.limits import ServerState
from ext.observe import (
    Layer,
    Observed,
    observe_for_test,
    observed_status_for_test,
    verdict_for_test,
)

# HAProxy 2.6, src/health.c: 1 an error, -1 good, 0 nothing, for layer4 and layer7.
VERDICTS = {
    Observed.L4_OK: (-1, 0),
    Observed.L4_ERROR: (1, 1),
    Observed.HTTP_OK: (0, -1),
    Observed.HTTP_WRONG_STATUS: (0, 1),
    Observed.HTTP_BAD_HEAD: (0, 1),
    Observed.HTTP_BAD_BODY: (0, 1),
    Observed.HTTP_READ_TIMEOUT: (0, 1),
    Observed.HTTP_CLOSED: (0, 1),
}


def test_verdicts() -> None:
    assert set(VERDICTS) == set(Observed)
    for what, (of_layer4, of_layer7) in VERDICTS.items():
        assert verdict_for_test(Layer.LAYER_4, what) == of_layer4
        assert verdict_for_test(Layer.LAYER_7, what) == of_layer7
        assert verdict_for_test(Layer.LAYER_NONE, what) <= 0


@pytest.mark.parametrize("status", range(100, 600))
def test_statuses(status: int) -> None:
    is_good = status < 500 or status in (501, 505)
    wanted = Observed.HTTP_OK if is_good else Observed.HTTP_WRONG_STATUS
    assert observed_status_for_test(status) == wanted


class Observer:
    def __init__(self, arena: Arena, *, limit: int, marks_down: bool = False) -> None:
        self.arena = arena
        self.slot = arena.server_slot("haproxy/node1")
        self._rule = (Layer.LAYER_7, limit, marks_down)

    def see(self, *signs: Observed) -> int:
        for what in signs:
            observe_for_test(self.arena, self.slot, *self._rule, what)
        return self.arena.server(self.slot)["error_events"]


BAD, GOOD = Observed.HTTP_WRONG_STATUS, Observed.HTTP_OK


def test_only_errors_in_a_row_count(arena: Arena) -> None:
    observer = Observer(arena, limit=3)
    assert observer.see(BAD, BAD, GOOD, BAD, BAD) == 0
    news = arena.news
    assert observer.see(Observed.HTTP_CLOSED) == 1
    assert arena.news != news  # or control would not look
    view = arena.server(observer.slot)
    assert (view["errors_counted"], view["last_error"]) == (3, Observed.HTTP_CLOSED)
    assert view["state"] == ServerState.UP


def test_the_count_starts_anew_at_the_limit(arena: Arena) -> None:
    observer = Observer(arena, limit=2)
    assert observer.see(BAD, BAD, BAD) == 1
    assert observer.see(BAD) == 2


def test_mark_down_is_made_at_once(arena: Arena) -> None:
    observer = Observer(arena, limit=2, marks_down=True)
    observer.see(BAD)
    assert arena.server(observer.slot)["state"] == ServerState.UP
    observer.see(BAD)
    assert arena.server(observer.slot)["state"] == ServerState.DOWN


def test_no_limit_is_never(arena: Arena) -> None:
    assert Observer(arena, limit=0, marks_down=True).see(*[BAD] * 100) == 0
    assert arena.server(0)["state"] == ServerState.UP
