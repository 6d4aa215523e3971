"""edge.control.haproxy.page: colours, ages, and nothing foreign unescaped."""

import pytest

from edge.control.haproxy.columns import INFO_FIELDS
from edge.control.haproxy.formats import BACKEND, FRONTEND, SERVER, Row
from edge.control.haproxy.page import Look, age_text, render, row_class

INFO: Row = {name: 0 for _, name, _ in INFO_FIELDS}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("UP", "up"),
        ("UP 1/3", "going_down"),
        ("DOWN", "down"),
        ("DOWN 1/2", "going_up"),
        ("MAINT", "maintain"),
        ("DRAIN", "draining"),
        ("DRAIN 2/3", "draining"),
        ("no check", "no_check"),
    ],
)
def test_colours_of_servers(status: str, name: str) -> None:
    assert row_class({"type": SERVER, "status": status}) == name


def test_colours_of_the_others() -> None:
    assert row_class({"type": FRONTEND, "status": "OPEN"}) == "frontend"
    assert row_class({"type": BACKEND, "status": "DOWN"}) == "backend"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "?"), (0, "00s"), (75, "01m15s"), (3_700, "1h01m40s"), (90_000, "1d 1h00m00s")],
)
def test_ages(seconds: int, text: str) -> None:
    assert age_text(seconds) == text


def test_what_checks_and_clients_say_is_escaped() -> None:
    row: Row = {
        "pxname": "<p>",
        "svname": "<s>",
        "type": SERVER,
        "iid": 2,
        "status": "<up>",
        "act": 1,
        "weight": 1,
        "check_status": "<c>",
    }
    text = render(INFO, [row], Look("/<here>", scope="<", outcome="<x>", is_admin=True))
    for foreign in ("<p>Choose", "<p><b>"):
        text = text.replace(foreign, "")
    for foreign in ("<p>\n", "<s>", "<up>", "<c>", "<here>", "<x>", 'name="<p>"'):
        assert foreign not in text
    assert "&lt;s&gt;" in text
