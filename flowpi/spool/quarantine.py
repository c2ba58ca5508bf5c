"""What is put aside: how its files are named, and why each went there.

    <part>.utt             no text of it is out: maybe the only copy of what was said, it stays until its owner drops it
    <part>.utt.delivered   the text of what could be read is out: it goes to make room, or by age

`~2` and so on follows a name that was taken. The reason is an extended attribute, as it must not change what may be
the only copy; on a file system without them it is lost.
"""

import contextlib
import errno
import os
import stat

from flowpi.audio.utterance import PartId

SUFFIX = ".utt"
"""Of the file of an utterance, wherever it lies."""

QUARANTINE = "quarantine"
DELIVERED = ".delivered"
REASON = "user.flowpi.reason"
MAX_REASON = 200
"""Characters that are read back."""


def part_of(name: str) -> PartId | None:
    """Of the file of an utterance."""
    return PartId.parse(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None


def quarantined_part(name: str) -> PartId | None:
    """Which utterance an entry in quarantine is, by its name."""
    return part_of(_plain(name).removesuffix(DELIVERED))


def is_delivered(name: str) -> bool:
    """Whether the text of an entry in quarantine is out, by its name."""
    return _plain(name).endswith(SUFFIX + DELIVERED) and quarantined_part(name) is not None


def quarantined_file(name: str) -> str:
    """The file of an entry in quarantine. Raises FileNotFoundError if that can be none."""
    file = name.removeprefix(f"{QUARANTINE}/")
    if file == name or not file or "/" in file or "\0" in file or file in (".", ".."):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return file


def free_name(part: PartId, handle: int, *, delivered: bool) -> str:
    """For a file of the utterance in the open directory. Raises OSError."""
    name = f"{part}{SUFFIX}{DELIVERED if delivered else ''}"
    free, number = name, 1
    with contextlib.suppress(FileNotFoundError):
        while os.stat(free, dir_fd=handle, follow_symlinks=False):
            number += 1
            free = f"{name}~{number}"
    return free


def write_reason(name: str, handle: int, reason: str) -> None:
    """Where that is possible. Not to what has a second name: that may be another's file."""
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.setxattr(_path(name, handle), REASON, reason.encode(), follow_symlinks=False)


def read_reason(name: str, handle: int) -> str:
    """Empty if it is not known. Printable, whoever wrote it."""
    try:
        found = os.getxattr(_path(name, handle), REASON, follow_symlinks=False)
    except OSError:
        return ""
    return "".join(one if one.isprintable() else "?" for one in found.decode(errors="replace")[:MAX_REASON])


def _plain(name: str) -> str:
    return name.removeprefix(f"{QUARANTINE}/").split("~")[0]


def _path(name: str, handle: int) -> str:
    """Attributes cannot be asked for by a name in an open directory, and nothing but a regular file may be opened."""
    return f"/proc/self/fd/{handle}/{name}"
