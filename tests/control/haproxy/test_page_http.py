"""The statistics page over HTTP: its forms, its token, its form."""

import asyncio
import base64
import csv
import json
import socket
from collections.abc import Callable

import aiohttp
import pytest

from edge.control.admin import serve_admin
from edge.control.haproxy.page_http import Page
from ext.limits import AdminState
from tests.control.conftest import CHAIN
from tests.control.haproxy.conftest import Bench

pytestmark = pytest.mark.wire

Build = Callable[[str], Bench]
TOKEN = "sesame-token"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode()}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORM = "b=haproxy%40node1&s=node1&s=node2&action=drain"


def ask(
    made: Bench,
    path: str,
    *,
    token: str | None = TOKEN,
    headers: dict[str, str] | None = None,
    form: str | None = None,
) -> tuple[int, str, str]:
    """Status, Location and body."""

    async def scenario() -> tuple[int, str, str]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        page = Page(made.commands, token)
        runner = await serve_admin(made.world.view, listener, None, page)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.request(
                    "GET" if form is None else "POST",
                    f"http://127.0.0.1:{port}{path}",
                    headers=kind | (headers or {}),
                    data=form,
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status, answer.headers.get("Location", ""), await answer.text()
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def test_the_page_shows_every_tier(bench: Build) -> None:
    status, _, body = ask(bench(CHAIN), "/haproxy?stats")
    assert status == 200
    assert "Statistics Report for pid" in body
    for text in ("haproxy@node1", "haproxy@node2", "node1", ">Frontend<", ">Backend<"):
        assert text in body
    assert "<form" not in body
    assert "Administer" in body


def test_a_scope(bench: Build) -> None:
    _, _, body = ask(bench(CHAIN), "/haproxy?stats&scope=node2")
    assert "haproxy@node2" in body
    assert "haproxy@node1" not in body


def test_csv_and_json_are_those_of_the_cli(bench: Build) -> None:
    made = bench(CHAIN)
    _, _, text = ask(made, "/haproxy?stats;csv")
    assert text.splitlines()[0] == made.say("show stat").splitlines()[0]
    rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
    assert [row["svname"] for row in rows[:4]] == ["FRONTEND", "node1", "node2", "BACKEND"]
    _, _, text = ask(made, "/haproxy?stats;json")
    assert len(json.loads(text)) == len(rows)


@pytest.mark.parametrize("path", ["/haproxy", "/haproxy?x"])
def test_elsewhere_is_nothing(bench: Build, path: str) -> None:
    assert ask(bench(CHAIN), path)[0] == 404


@pytest.mark.parametrize("headers", [BASIC, BEARER])
def test_the_form_is_there_and_works_with_the_token(bench: Build, headers: dict[str, str]) -> None:
    made = bench(CHAIN)
    assert '<form method="post">' in ask(made, "/haproxy?stats", headers=headers)[2]
    status, where, _ = ask(made, "/haproxy?stats", headers=headers, form=FORM)
    assert (status, where) == (303, "/haproxy?stats;st=DONE")
    for name in ("node1", "node2"):
        slot = made.world.slot(f"haproxy@node1/{name}")
        assert made.world.arena.server(slot)["admin"] == AdminState.DRAIN
    assert "Action processed successfully" in ask(made, where)[2]


@pytest.mark.parametrize(
    ("token", "headers", "status", "where"),
    [
        (TOKEN, {}, 401, ""),
        (TOKEN, {"Authorization": "Bearer other"}, 401, ""),
        (TOKEN, {"Authorization": "Basic !"}, 401, ""),
        (TOKEN, {"Authorization": "Basic"}, 401, ""),
        (None, BASIC, 303, "/haproxy?stats;st=DENY"),
        (None, {"Authorization": "Bearer "}, 303, "/haproxy?stats;st=DENY"),
        (TOKEN, BASIC | {"Sec-Fetch-Site": "cross-site"}, 303, "/haproxy?stats;st=DENY"),
        (TOKEN, BASIC | {"Origin": "http://evil.test"}, 303, "/haproxy?stats;st=DENY"),
    ],
)
def test_nothing_changes_without_the_token_or_from_another_site(
    bench: Build, token: str | None, headers: dict[str, str], status: int, where: str
) -> None:
    made = bench(CHAIN)
    answer = ask(made, "/haproxy?stats", token=token, headers=headers, form=FORM)
    assert answer[:2] == (status, where)
    slot = made.world.slot("haproxy@node1/node1")
    assert made.world.arena.server(slot)["admin"] == AdminState.READY


@pytest.mark.parametrize(
    ("form", "outcome"),
    [
        ("b=haproxy%40node1&s=node1&s=nope&action=maint", "PART"),
        ("b=haproxy%40node1&s=nope&action=maint", "ERRP"),
        ("b=nope&s=node1&action=maint", "ERRP"),
        ("b=haproxy%40node1&s=node1&action=shutdown", "ERRP"),
        ("b=haproxy%40node1&action=maint", "NONE"),
        ("s=node1&action=hdown&b=haproxy%40node1", "DONE"),
        ("", "ERRP"),
        ("x=" + "y" * 70_000, "ERRP"),
    ],
)
def test_outcomes(bench: Build, form: str, outcome: str) -> None:
    where = ask(bench(CHAIN), "/haproxy?stats", headers=BASIC, form=form)[1]
    assert where == f"/haproxy?stats;st={outcome}"


def test_login_asks_and_then_leads_to_the_page(bench: Build) -> None:
    made = bench(CHAIN)
    assert ask(made, "/haproxy?stats;login")[0] == 401
    assert ask(made, "/haproxy?stats;login", headers=BASIC)[:2] == (303, "/haproxy?stats")
    assert ask(made, "/haproxy?stats;login", token=None)[0] == 200
