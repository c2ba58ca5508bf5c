"""What is advised when the disk refuses: space where it is full, rights where they are missing."""

import errno

import pytest

from flowpi.host.disk_hints import disk_hint

RIGHTS = "give it to the daemon's user with chown, or open it to that user with chmod"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space on its disk, or set a.b"),
        (errno.EDQUOT, "free some space on its disk, or set a.b"),
        (errno.EACCES, f"{RIGHTS}, or set a.b"),
        (errno.EPERM, f"{RIGHTS}, or set a.b"),
        (errno.EROFS, "mount its disk writable, or set a.b"),
        (errno.ENOTDIR, "set a.b"),
    ],
)
def test_what_helps(number: int, hint: str) -> None:
    assert disk_hint(OSError(number, ""), "a.b") == hint


def test_what_helps_where_no_setting_does() -> None:
    assert disk_hint(PermissionError(errno.EACCES, "")) == RIGHTS
    assert disk_hint(OSError(errno.EIO, "")) == "check its disk, and see the journal"
