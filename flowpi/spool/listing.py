"""What lies in the directory of the spool, by name and size. Nothing here changes anything on the disk."""

import contextlib
import os
import stat
from typing import Literal

import msgspec

from flowpi.audio.utterance import PartId
from flowpi.dsp.format import BYTES_PER_S
from flowpi.host.folders import open_regular
from flowpi.spool.file_format import MAGIC_BYTES, VERSION, version
from flowpi.spool.quarantine import entry_name, is_delivered, part_of, quarantined_part, read_reason

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What somebody may have put under the name of a file. None of it is ever opened."""


class SpoolEntry(msgspec.Struct, frozen=True):
    """A file of the spool whose text is not published, or which somebody has to look at.

    `name`: the part, or that of an entry in quarantine (`quarantine.entry_name`).
    `part`: the part, or None if the name of a file in quarantine is not that of an utterance.
    `state`: `waiting` for its text; `quarantined`, until somebody looks at it; `newer`, written by a later flowpi.
    `duration_s`: an estimate from the size of the file.
    `delivered`: in quarantine, whether the text of what could be read is published.
    `reason`: why the file cannot be read, or why it was put into quarantine; empty if nothing of that kind is known.
    """

    name: str
    part: PartId | None
    state: Literal["waiting", "quarantined", "newer"]
    bytes: int
    duration_s: float
    delivered: bool = False
    reason: str = ""


def files(handle: int) -> list[tuple[str, os.stat_result]]:
    """Return name and status of everything in an open directory, whatever its type. Raises OSError."""
    found = []
    with os.scandir(handle) as entries:
        for one in entries:
            with contextlib.suppress(OSError):  # it was deleted meanwhile
                found.append((one.name, one.stat(follow_symlinks=False)))
    return found


def size_of(status: os.stat_result) -> int:
    """Return the bytes that count towards the size of the spool: those of a regular file, else none."""
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def waiting(handle: int) -> list[SpoolEntry]:
    """Return the utterances in the open directory, oldest first. Raises OSError."""
    found = []
    for name, status in files(handle):
        if (part := part_of(name)) is not None:
            state, reason = _look(name, handle, status)
            found.append(SpoolEntry(str(part), part, state, size_of(status), _duration_s(status), reason=reason))
    return sorted(found, key=lambda one: one.part or PartId(""))


def quarantined(handle: int) -> list[SpoolEntry]:
    """Return everything in the open `quarantine/`, sorted by name. Raises OSError."""
    return [
        SpoolEntry(
            entry_name(name),
            quarantined_part(name),
            "quarantined",
            size_of(status),
            _duration_s(status),
            is_delivered(name),
            read_reason(name, handle) or _look(name, handle, status)[1],
        )
        for name, status in sorted(files(handle), key=lambda file: file[0])
    ]


def _duration_s(status: os.stat_result) -> float:
    return round(size_of(status) / BYTES_PER_S, 1)


def _look(name: str, handle: int, status: os.stat_result) -> tuple[Literal["waiting", "newer"], str]:
    """Return the state that the first line of a file indicates, and why it cannot be read; empty if it can."""
    if not stat.S_ISREG(status.st_mode):
        return "waiting", f"it is {KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}"
    try:
        file = open_regular(name, handle)
    except FileNotFoundError:  # it was deleted meanwhile
        return "waiting", ""
    except OSError as error:
        return "waiting", error.strerror or type(error).__name__
    try:
        found = version(os.read(file, MAGIC_BYTES))
        return "newer" if found is not None and found > VERSION else "waiting", ""
    except OSError as error:
        return "waiting", error.strerror or type(error).__name__
    finally:
        os.close(file)
