"""A small file that is replaced as a whole: what is read after what was written, and after harm."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from flowpi.host import durable_file
from flowpi.host.durable_file import DurableFile


class Content(msgspec.Struct, frozen=True):
    number: int


@pytest.fixture
def file(tmp_path: Path) -> DurableFile[Content]:
    return DurableFile(tmp_path / "state" / "file", Content, "the number is lost")


def test_it_is_read_as_it_was_written(file: DurableFile[Content]) -> None:
    assert file.read() is None
    file.write(Content(1))
    file.write(Content(2))
    assert file.read() == Content(2)


def test_it_is_for_this_user_alone(file: DurableFile[Content]) -> None:
    file.write(Content(1))
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("harm", [b"", b'{"number":', b"\xff\xfe", b'{"number":"one"}', b'{"x":' + b"[" * 100_000])
def test_what_is_damaged_is_lost_and_that_is_logged(
    file: DurableFile[Content], caplog: pytest.LogCaptureFixture, harm: bytes
) -> None:
    file.write(Content(1))
    file.path.write_bytes(harm)
    assert file.read() is None
    assert f"{file.path} is damaged: the number is lost" in caplog.text
    file.write(Content(2))
    assert file.read() == Content(2)


def test_what_cannot_be_read_is_not_taken_for_nothing(file: DurableFile[Content]) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        file.read()


def test_what_cannot_be_written_leaves_the_old(file: DurableFile[Content], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file.write(Content(1))
    monkeypatch.setattr(durable_file, "replace_file", full)
    with pytest.raises(OSError, match="No space left"):
        file.write(Content(2))
    assert file.read() == Content(1)
