"""`edge upgrade` against scripted answers: it asks, waits, and tells failure from patience."""

from collections.abc import Iterator
from typing import Any

import pytest

from edge.admin_client import find_remotes
from edge.cli import EXIT_LATE, main
from edge.operate import OperateError, WaitedTooLongError
from edge.upgrade_command import upgrade
from tests.standin_admin import StandinAdmin

pytestmark = pytest.mark.wire


def status(generation: int, **orders: Any) -> tuple[int, Any]:
    counted = {"upgrades": 1, "upgrade_failures": 1, "failure": "of before"} | orders
    return 200, {"version": "0.2.0", "generation": generation, "orders": counted}


@pytest.fixture
def admin() -> Iterator[StandinAdmin]:
    made = StandinAdmin(lambda method, path: status(4))
    yield made
    made.end()


def run(admin: StandinAdmin, *answers: tuple[int, Any], timeout_s: float = 60.0) -> list[str]:
    script = iter(answers)

    def pause(seconds: float) -> None:
        answer = next(script)
        admin.answers = lambda method, path: answer

    return list(upgrade(find_remotes(None, [admin.address], None, {}), timeout_s, pause))


def test_it_waits_for_the_processes_of_the_new_version(admin: StandinAdmin) -> None:
    lines = run(admin, (99, {}), status(4, upgrades=2), status(5, upgrades=2))
    assert lines == [f"{admin.address}: edge 0.2.0, generation 5 serves"]
    assert ("POST", "/upgrade") in [(method, path) for method, path, _ in admin.asked]


def test_a_reload_meanwhile_is_no_upgrade(admin: StandinAdmin) -> None:
    assert run(admin, status(5), status(6, upgrades=2))[0].endswith("generation 6 serves")


def test_a_failure_is_said_at_once(admin: StandinAdmin) -> None:
    failed = status(4, upgrade_failures=2, failure="the file is bad")
    with pytest.raises(OperateError, match="is not upgraded: the file is bad"):
        run(admin, failed)


def test_one_that_never_comes_is_late(admin: StandinAdmin) -> None:
    with pytest.raises(WaitedTooLongError, match="is not upgraded after 1e-09s: its log says why"):
        run(admin, timeout_s=1e-9)


def test_exit_status(admin: StandinAdmin, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["upgrade", "--admin", admin.address, "--timeout"]
    assert main([*command, "0.01"]) == EXIT_LATE
    given = {"POST": False}

    def after_order(found: tuple[int, Any]) -> Any:
        def answer(method: str, path: str) -> tuple[int, Any]:
            given["POST"] = given["POST"] or method == "POST"
            return found if given["POST"] else status(4)

        return answer

    admin.answers = after_order(status(4, upgrade_failures=2, failure="no"))
    assert main([*command, "60"]) == 1
    given["POST"] = False
    admin.answers = after_order(status(5, upgrades=2))
    assert main([*command, "60"]) == 0
    assert "generation 5 serves" in capsys.readouterr().out
    assert main([*command, "60", "/nowhere/edge.yaml"]) == 1
