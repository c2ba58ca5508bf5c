"""Listening Unix sockets, on a real disk."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.host.unix import listen_unix


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    with listen_unix(path) as listener:
        yield listener


def test_open_to_its_owner_and_its_group(listener: socket.socket, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_group_that_was_asked_for(path: Path) -> None:
    others = {1} if os.geteuid() == 0 else set(os.getgroups()) - {os.getegid()}
    group = min(others, default=os.getegid())
    with listen_unix(path, group):
        assert path.stat().st_gid == group


def test_it_is_closed_to_others_until_its_group_is_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[int] = []
    change_group, change_mode = os.chown, Path.chmod

    def chown(name: Path, user: int, group: int) -> None:
        before.append(stat.S_IMODE(os.stat(name).st_mode))
        change_group(name, user, group)

    def chmod(name: Path, mode: int) -> None:
        before.append(stat.S_IMODE(os.stat(name).st_mode))
        change_mode(name, mode)

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(Path, "chmod", chmod)
    old = os.umask(0)
    try:
        listen_unix(path, os.getegid()).close()
    finally:
        os.umask(old)
    assert before == [0o600, 0o600]


def test_the_umask_is_as_before(listener: socket.socket) -> None:
    before = os.umask(0o22)
    os.umask(before)
    assert before != 0o177


def test_a_stale_socket_is_replaced(path: Path) -> None:
    listen_unix(path).close()
    with listen_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("queue", [0, 1], ids=["answers", "full"])
def test_somebody_who_listens_stays(path: Path, queue: int) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        if queue:
            waiting.connect(str(path))
        with pytest.raises(OSError, match="in use") as caught:
            listen_unix(path)
    assert caught.value.errno == errno.EADDRINUSE


def test_what_is_no_socket_stays(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        listen_unix(path)
    assert path.read_text() == "precious"
