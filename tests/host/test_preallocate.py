import errno
import os
from pathlib import Path

import pytest

from flowpi.host.preallocate import preallocate


def test_places_are_found_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"before")
        file.flush()
        preallocate(file.fileno(), 6, 1 << 20)
        ahead = os.fstat(file.fileno())
        os.ftruncate(file.fileno(), 6)
        given_back = os.fstat(file.fileno())
        file.seek(0)
        assert file.read() == b"before"
    assert ahead.st_size == given_back.st_size == 6
    assert ahead.st_blocks * 512 >= 1 << 20
    assert given_back.st_blocks * 512 < 1 << 16


def test_where_that_cannot_be_the_reason_is_told(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file, pytest.raises(OSError, match="File too large") as too_large:
        preallocate(file.fileno(), 1 << 62, 1 << 20)
    assert too_large.value.errno == errno.EFBIG
    with (tmp_path / "file").open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        preallocate(file.fileno(), 0, 1)
