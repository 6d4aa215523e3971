"""`edge reload` against scripted answers: it asks, and waits for the next generation."""

from collections.abc import Iterator

import pytest

from edge.admin_client import AdminError, find_remotes
from edge.operate import WaitedTooLongError
from edge.reload_command import reload
from tests.standin_admin import StandinAdmin

pytestmark = pytest.mark.wire


@pytest.fixture
def admin() -> Iterator[StandinAdmin]:
    made = StandinAdmin(lambda method, path: (200, {"generation": 4}))
    yield made
    made.end()


def test_it_waits_for_another_generation(admin: StandinAdmin) -> None:
    generations = iter([5])

    def pause(seconds: float) -> None:
        generation = next(generations)
        admin.answers = lambda method, path: (200, {"generation": generation})

    lines = list(reload(find_remotes(None, [admin.address], None, {}), 60.0, pause))
    assert lines == [f"{admin.address}: generation 5 serves"]
    asked = [(method, path) for method, path, _ in admin.asked]
    assert asked == [
        ("GET", "/status"),
        ("POST", "/reload"),
        ("GET", "/status"),
        ("GET", "/status"),
    ]


def test_an_address_that_is_handed_over_is_waited_for(admin: StandinAdmin) -> None:
    script = iter([(99, {}), (200, {"generation": 5})])

    def pause(seconds: float) -> None:
        answer = next(script)
        admin.answers = lambda method, path: answer

    assert len(list(reload(find_remotes(None, [admin.address], None, {}), 60.0, pause))) == 1


def test_a_generation_that_never_comes_is_late(admin: StandinAdmin) -> None:
    remotes = find_remotes(None, [admin.address], None, {})
    with pytest.raises(WaitedTooLongError, match="has not reloaded after 1e-09s: its log says"):
        list(reload(remotes, 1e-9, lambda seconds: None))


def test_a_refusal_is_said(admin: StandinAdmin) -> None:
    def answer(method: str, path: str) -> tuple[int, object]:
        return (200, {"generation": 4}) if method == "GET" else (401, {"error": "no"})

    admin.answers = answer
    with pytest.raises(AdminError, match="refused with 401: no"):
        list(reload(find_remotes(None, [admin.address], None, {}), 60.0, lambda seconds: None))
