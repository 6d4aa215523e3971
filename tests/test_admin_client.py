"""Whom the operating commands ask, as whom, and what they make of answers that are none."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.admin_client import (
    AdminError,
    NotThereError,
    Remote,
    UnreachableError,
    find_remotes,
)
from edge.errors import ConfigError
from tests.standin_admin import StandinAdmin

pytestmark = pytest.mark.wire

CONFIG = """
haproxy: {listen: 127.0.0.1:8080}
admin: {listen: 127.0.0.1:7, token: from-the-file}
nodes: [{name: node1, web: 127.0.0.1:9001}]
"""


def write(folder: Path, text: str = CONFIG) -> str:
    file = folder / "edge.yaml"
    file.write_text(text)
    return str(file)


@pytest.fixture
def admin() -> Iterator[StandinAdmin]:
    made = StandinAdmin(lambda method, path: (200, {"path": path}))
    yield made
    made.end()


def remote_of(admin: StandinAdmin, token: str | None = None) -> Remote:
    (remote,) = find_remotes(None, [admin.address], token, {})
    return remote


def test_option_before_file_before_environment(tmp_path: Path) -> None:
    environment = {"EDGE_ADMIN_TOKEN": "from-environment"}
    file = write(tmp_path)
    assert find_remotes(None, [], None, {}) == [Remote("127.0.0.1", 9180, None)]
    assert find_remotes(None, [], None, environment)[0].token == "from-environment"
    assert find_remotes(file, [], None, environment) == [Remote("127.0.0.1", 7, "from-the-file")]
    assert find_remotes(file, ["a:1", "http://[::1]:2/"], "option", environment) == [
        Remote("a", 1, "option"),
        Remote("::1", 2, "option"),
    ]


def test_a_file_without_admin_is_an_error_unless_there_is_an_option(tmp_path: Path) -> None:
    without = "\n".join(line for line in CONFIG.splitlines() if "admin" not in line)
    file = write(tmp_path, without)
    with pytest.raises(AdminError, match="has no `admin`"):
        find_remotes(file, [], None, {})
    assert find_remotes(file, ["a:1"], None, {}) == [Remote("a", 1, None)]


def test_a_bad_file_and_a_bad_address_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        find_remotes(write(tmp_path, "nodes: []"), [], None, {})
    with pytest.raises(AdminError, match="--admin must be host:port"):
        find_remotes(None, ["https://a:1"], None, {})


def test_a_question_with_and_without_a_token(admin: StandinAdmin) -> None:
    assert remote_of(admin).ask("GET", "/x") == {"path": "/x"}
    assert remote_of(admin, "s3cret").ask("POST", "/y") == {"path": "/y"}
    assert admin.asked == [("GET", "/x", None), ("POST", "/y", "Bearer s3cret")]


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (403, {"error": "not you"}, AdminError, "refused with 403: not you"),
        (404, b"404: Not Found", NotThereError, "refused with 404: Not Found"),
        (500, [1], AdminError, "refused with 500: Internal Server Error"),
    ],
)
def test_refusals(
    admin: StandinAdmin, status: int, body: object, kind: type[AdminError], text: str
) -> None:
    admin.answers = lambda method, path: (status, body)
    with pytest.raises(kind) as refusal:
        remote_of(admin).ask("GET", "/")
    assert str(refusal.value) == f"{admin.address} {text}"


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"Connection refused; is edge running\?"):
        Remote("127.0.0.1", port, None).ask("GET", "/")


def test_another_protocol_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(UnreachableError, match="does not answer as an admin interface"):
            Remote("127.0.0.1", other.getsockname()[1], None).ask("GET", "/")
        thread.join(10)


def test_a_token_that_no_header_can_carry_is_not_shown(admin: StandinAdmin) -> None:
    with pytest.raises(AdminError) as refusal:
        remote_of(admin, "a\nb").ask("GET", "/")
    assert str(refusal.value) == "the token has characters that no header can carry"


@pytest.mark.parametrize("hang_ups", [1, 2])
def test_who_is_hung_up_on_asks_once_more(hang_ups: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = Remote("127.0.0.1", listener.getsockname()[1], None)

        def answer() -> None:
            for number in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    if number >= hang_ups:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer)
            if hang_ups == 1:
                assert remote.ask("POST", "/nodes/node1/drain") == {}
            else:
                with pytest.raises(UnreachableError, match="hung up without an answer"):
                    remote.ask("POST", "/nodes/node1/drain")
