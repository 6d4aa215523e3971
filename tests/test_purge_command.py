"""`edge purge` against a real admin interface: what arrives there, what is said, exit statuses."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from edge.cli import main
from edge.control.fastly import PurgeApi
from edge.purging import Access, PurgeIds
from tests.loop_thread import LoopThread, bind_loopback
from tests.purging.standin import SERVICE, TOKEN, StoreBook, target

pytestmark = pytest.mark.wire

Say = Callable[..., tuple[int, list[str], str]]


class Admin:
    """The purges of the admin interface, over a store that writes down what it is asked."""

    def __init__(self, loop: LoopThread) -> None:
        self.store = StoreBook()
        self._socket = bind_loopback()
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = loop
        self._runner = loop.run(self._serve())

    async def _serve(self) -> web.AppRunner:
        app = web.Application()
        PurgeApi(target(self.store), Access(SERVICE, [TOKEN]), PurgeIds(1, 2)).add_to(app.router)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        return runner

    def end(self) -> None:
        self._loop.run(self._runner.cleanup())


@pytest.fixture
def admin() -> Iterator[Admin]:
    loop = LoopThread("admin")
    made = Admin(loop)
    yield made
    made.end()
    loop.stop()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs `edge purge` with these words: exit status, lines of stdout, stderr."""

    def run(*words: str, **environment: str) -> tuple[int, list[str], str]:
        for name in ("FASTLY_API_TOKEN", "FASTLY_SERVICE_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # no proxy stands between
        try:
            status = main(["purge", *words])
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return run


def config(folder: Path, admin: str = "127.0.0.1:1", service: str | None = None) -> str:
    service = service or f"{{id: {SERVICE}, tokens: [{TOKEN}, other]}}"
    file = folder / "edge.yaml"
    file.write_text(
        f"cdn: {{listen: 127.0.0.1:8080, service: {service}}}\n"
        f"admin: {{listen: '{admin}'}}\n"
        "nodes: [{name: node1, web: 127.0.0.1:9001}]\n"
    )
    return str(file)


def test_a_url_by_the_file(admin: Admin, say: Say, tmp_path: Path) -> None:
    url = "https://shop.test/a b?c=%20&d"
    status, lines, _ = say(config(tmp_path, admin.address), url)
    assert (status, lines) == (0, [f"purged URL {url}, id 1-2-1"])
    assert admin.store.calls == [("url", b"FRA|shop.test|/a%20b?c=%20&d", False)]


def test_keys_by_the_file(admin: Admin, say: Say, tmp_path: Path) -> None:
    file = config(tmp_path, admin.address)
    status, lines, _ = say("--config", file, "--key", "p101", "--key=c20", "--soft")
    assert (status, lines) == (
        0,
        ["soft-purged key p101, id 1-2-1", "soft-purged key c20, id 1-2-2"],
    )
    assert admin.store.calls == [("keys", [b"p101", b"c20"], True)]


def test_more_keys_than_one_request_takes(admin: Admin, say: Say, tmp_path: Path) -> None:
    words = [f"--key=k{n}" for n in range(600)]
    status, lines, _ = say(config(tmp_path, admin.address), *words)
    assert (status, len(lines)) == (0, 600)
    assert [len(call[1]) for call in admin.store.calls] == [256, 256, 88]


def test_all_by_options(admin: Admin, say: Say) -> None:
    for address in (admin.address, f"http://{admin.address}/"):
        words = ("--admin", address, "--token", TOKEN, "--service-id", SERVICE)
        assert say("--all", *words)[:2] == (0, ["purged all"])
    assert admin.store.calls == [("all",), ("all",)]


def test_by_the_environment(admin: Admin, say: Say) -> None:
    known = {"FASTLY_API_TOKEN": TOKEN, "FASTLY_SERVICE_ID": SERVICE}
    assert say("--key", "a", "--admin", admin.address, **known)[0] == 0
    assert say("shop.test/", "--admin", admin.address, FASTLY_API_TOKEN=TOKEN)[0] == 0
    assert [call[0] for call in admin.store.calls] == ["keys", "url"]


def test_the_file_wins_over_the_environment_and_options_over_both(
    admin: Admin, say: Say, tmp_path: Path
) -> None:
    file = config(tmp_path, admin.address)
    wrong = {"FASTLY_API_TOKEN": "wrong", "FASTLY_SERVICE_ID": "wrong"}
    assert say(file, "--all", **wrong)[0] == 0
    assert say(file, "--all", "--token", "wrong")[0] == 1
    assert say(file, "--all", "--service-id", "wrong")[0] == 1
    assert say(file, "--all", "--admin", "127.0.0.1:1")[0] == 1
    assert admin.store.calls == [("all",)]


def test_a_listener_of_every_address_is_reached(admin: Admin, say: Say, tmp_path: Path) -> None:
    file = config(tmp_path, admin.address.replace("127.0.0.1", "0.0.0.0"))
    assert say(file, "--all")[0] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--token", "wrong"), "refused with 401: Provided credentials are missing or invalid"),
        (("--service-id", "no"), "refused with 404: Record not found: Cannot find 'service'"),
        (("--key=",), "refused with 400: A surrogate key is empty"),
        (("--token", "a\nb"), "the token has characters that no header can carry"),
        (("--token", "\u20ac"), "the token has characters that no header can carry"),
        (("--admin", "localhost"), "--admin must be host:port"),
        (("--admin", "https://127.0.0.1:9180"), "--admin must be host:port without scheme"),
    ],
)
def test_refusals_are_1_and_say_why(
    admin: Admin, say: Say, tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    status, lines, error = say(config(tmp_path, admin.address), "--key=a", *words)
    assert (status, lines) == (1, [])
    assert text in error
    assert error.startswith("edge: ")
    assert error.count("\n") == 1
    assert admin.store.calls == []


def test_nobody_there_is_1(say: Say, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    status, _, error = say(config(tmp_path, address), "shop.test/")
    assert status == 1
    assert error == f"edge: {address} cannot be reached: Connection refused; is edge running?\n"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n"])
def test_another_program_there_is_1(say: Say, tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, _, error = say(config(tmp_path, address), "shop.test/")
        thread.join()
    assert status == 1
    assert f"{address} " in error
    assert TOKEN not in error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("haproxy: {listen: 127.0.0.1:1}\nadmin: {listen: 127.0.0.1:2}", "has no `cdn`"),
        ("cdn: {listen: 127.0.0.1:1}\nadmin: {listen: 127.0.0.1:2}", "no `cdn.service.tokens`"),
        ("cdn: {listen: 127.0.0.1:1, service: {id: A, tokens: [t]}}", "has no `admin`"),
    ],
)
def test_a_file_that_does_not_say_enough_is_1(
    say: Say, tmp_path: Path, text: str, error: str
) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(text + "\nnodes: [{name: node1, web: 127.0.0.1:9001}]\n")
    status, _, said = say(str(file), "--all")
    assert status == 1
    assert str(file) in said
    assert error in said


def test_a_bad_file_is_1_and_says_where(say: Say, tmp_path: Path) -> None:
    file = config(tmp_path, service="{id: '?'}")
    status, _, error = say(file, "--all")
    assert status == 1
    assert error.startswith(f"{file}:1: cdn.service.id: ")


def test_without_a_file_a_token_or_a_service_it_says_what_is_missing(say: Say) -> None:
    assert "FASTLY_API_TOKEN" in say("shop.test/")[2]
    status, _, error = say("--all", "--token", "t")
    assert status == 1
    assert "FASTLY_SERVICE_ID" in error


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("FILE",),
        ("--soft",),
        ("--config", "FILE"),
        ("FILE", "shop.test/", "--all"),
        ("FILE", "shop.test/", "--key=a"),
        ("FILE", "shop.test/", "more"),
        ("--config", "FILE", "shop.test/", "more"),
        ("FILE", "--key=a", "--all"),
        ("FILE", "--all", "--soft"),
    ],
)
def test_a_command_line_that_asks_for_none_or_several_is_2(
    say: Say, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = config(tmp_path)
    status, _, error = say(*(file if word == "FILE" else word for word in words))
    assert status == 2
    assert "usage: edge purge" in error
