import errno
import os
import stat
from pathlib import Path

import pytest

from flowpi.host.folders import make_folder, replace_file
from tests.rig.calls import recorded
from tests.rig.trace import traced


def test_the_new_content_with_its_mode_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old, and longer")
    path.chmod(0o666)
    old = os.umask(0o077)
    try:
        replace_file(path, b"new", 0o640)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_one_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        replace_file(path, b"new", 0o600)
        assert reader.read() == "old"


def test_what_a_crash_left_beside_is_no_hindrance_and_no_trap(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / ".file.new").symlink_to(tmp_path / "elsewhere")
    replace_file(tmp_path / "file", b"new", 0o600)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / ".file.new").is_symlink()


def test_where_it_fails_all_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "file", b"new", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_content_then_name_then_directory_each_synced(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    calls = traced("fsync,rename,renameat,renameat2", __name__, directory / "file", log=tmp_path / "log")
    found = [
        (call.name.rstrip("2").removesuffix("at"), call.path)
        for call in calls
        if call.name != "close" and str(directory) in call.arguments
    ]
    assert found == [
        ("fsync", str(directory / ".file.new")),
        ("rename", str(directory)),
        ("fsync", str(directory)),
    ]


def test_each_new_folder_is_synced_in_its_parent_before_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = os.umask(0)
    try:
        with monkeypatch.context() as disk:
            calls = recorded(disk)
            make_folder(tmp_path / "one" / "two")
            make_folder(tmp_path / "one" / "two")
    finally:
        os.umask(old)
    assert calls == ["make one", f"sync {tmp_path.name}", "make two", "sync one"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "one", tmp_path / "one" / "two")] == [0o700] * 2


@pytest.mark.parametrize("failing", ["sync one", "make two"])
def test_a_folder_that_is_not_durable_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(call: str) -> None:
        if call == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        recorded(disk, fail)
        with pytest.raises(OSError, match="Input/output"):
            make_folder(tmp_path / "one" / "two")
    assert list(tmp_path.iterdir()) == []


if __name__ == "__main__":
    import sys

    replace_file(Path(sys.argv[1]), b"new", 0o600)
