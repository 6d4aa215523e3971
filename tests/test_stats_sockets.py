"""edge.stats_sockets: unix sockets that take over, give way, and refuse."""

import os
import socket
import stat
from pathlib import Path

import pytest

from edge.listen import ListenError
from edge.stats_sockets import StatsSockets

pytestmark = pytest.mark.wire


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def close(sockets: StatsSockets) -> None:
    sockets.accept(())


def test_only_the_owner_may_connect_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "cli"
    sockets = StatsSockets()
    sockets.open([str(path)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert connects(path)
    close(sockets)
    assert not path.exists()


def test_a_reload_keeps_the_socket(tmp_path: Path) -> None:
    places = [str(tmp_path / "cli")]
    sockets = StatsSockets()
    sockets.open(places)
    sockets.accept(places)
    before = sockets.fds(places)
    sockets.open(places)
    sockets.accept(places)
    assert sockets.fds(places) == before
    close(sockets)


def test_a_failed_generation_takes_only_its_own_with_it(tmp_path: Path) -> None:
    kept, new = tmp_path / "kept", tmp_path / "new"
    sockets = StatsSockets()
    sockets.open([str(kept)])
    sockets.accept([str(kept)])
    sockets.open([str(kept), str(new)])
    sockets.undo()
    assert connects(kept)
    assert not new.exists()
    close(sockets)


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cli"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    sockets = StatsSockets()
    sockets.open([str(path)])
    assert connects(path)
    close(sockets)


def test_what_another_process_serves_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "cli"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="another process uses this socket"):
            StatsSockets().open([str(path)])


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "cli"
    path.write_text("precious")
    with pytest.raises(ListenError, match="something else than a socket"):
        StatsSockets().open([str(path)])
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file or directory"):
        StatsSockets().open([str(tmp_path / "no" / "cli")])


def test_tcp_is_another_place() -> None:
    sockets = StatsSockets()
    sockets.open([("127.0.0.1", 0)])
    (fd,) = sockets.fds([("127.0.0.1", 0)])
    with socket.socket(fileno=os.dup(fd)) as listener:
        assert listener.family == socket.AF_INET
    close(sockets)
