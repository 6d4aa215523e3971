"""Who may change something: the holder of the token, or without one this machine's programs."""

from collections.abc import Callable, Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from edge.control.guard import Guard, is_loopback
from ext.limits import AdminState
from tests.control.asking import ask
from tests.control.conftest import CHAIN, World
from tests.control.test_nodes import api

TOKEN = "open-sesame"


@pytest.mark.parametrize(
    ("authorization", "is_let_in"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),  # a scheme's name has no case (RFC 9110 section 11.1)
        (f"Bearer  {TOKEN} ", True),
        (f"Basic {TOKEN}", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Bearer {TOKEN.upper()}", False),
        ("Bearer", False),
        ("Bearer é", False),
        (TOKEN, False),
        ("", False),
        (None, False),
    ],
)
def test_a_token_lets_in_who_has_it_and_nobody_else(
    authorization: str | None, is_let_in: bool
) -> None:
    fields = {} if authorization is None else {"Authorization": authorization}
    denial = Guard(TOKEN).denial(request(fields))
    assert (denial is None) is is_let_in
    if denial is not None:
        assert denial.status == 401
        assert denial.headers["WWW-Authenticate"] == 'Bearer realm="edge"'


def request(fields: Mapping[str, str], remote: str = "127.0.0.1") -> web.Request:
    return make_mocked_request("POST", "/", headers=dict(fields)).clone(remote=remote)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_addresses(remote: str | None, expected: bool) -> None:
    assert is_loopback(remote) is expected


@pytest.mark.parametrize(
    ("fields", "remote", "status"),
    [
        ({}, "127.0.0.1", None),
        ({}, "192.0.2.1", 403),
        ({"Authorization": f"Bearer {TOKEN}"}, "192.0.2.1", 403),
        ({"Origin": "http://evil.example"}, "127.0.0.1", 403),
        ({"Origin": "null"}, "127.0.0.1", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "127.0.0.1", 403),
    ],
)
def test_without_a_token_only_programs_of_this_machine(
    fields: Mapping[str, str], remote: str, status: int | None
) -> None:
    denial = Guard(None).denial(request(fields, remote))
    assert (denial.status if denial else None) == status


@pytest.mark.wire
@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (TOKEN, 200)])
def test_who_is_refused_changes_nothing(
    world: Callable[[str], World], token: str, status: int
) -> None:
    built = world(CHAIN)
    headers = {"Authorization": f"Bearer {token}"}
    answer, _, _ = ask(built, api(built, TOKEN), "POST", "/nodes/node1/drain", headers)
    assert answer == status
    state = built.arena.server(built.slot("haproxy@node1/node1"))["admin"]
    assert (state == AdminState.DRAIN) is (status == 200)
