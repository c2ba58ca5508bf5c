"""What lies in the directory of the spool, by name and size; nothing here changes anything."""

import contextlib
import errno
import os
import stat
from typing import Literal

import msgspec

from flowpi.dictation.spool_format import MAGIC_BYTES, VERSION, version
from flowpi.dictation.utterance import PartId
from flowpi.dsp.format import BYTES_PER_S
from flowpi.host.folders import open_regular

SUFFIX = ".utt"
QUARANTINE = "quarantine"


class Entry(msgspec.Struct, frozen=True):
    """A file that waits for something. `name`: the part, or `quarantine/` and the name of a file there.

    `state`: `waiting` for its text; `quarantined`, for somebody who looks at it; `newer`, for a later flowpi.
    `part`: None of a file in quarantine that is no utterance by its name. `duration_s` is what its size says.
    """

    name: str
    part: PartId | None
    state: Literal["waiting", "quarantined", "newer"]
    bytes: int
    duration_s: float


def part_of(name: str) -> PartId | None:
    """Of the file of an utterance."""
    return PartId.parse(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None


def quarantined_part(name: str) -> PartId | None:
    """Which utterance an entry in quarantine is, by its name."""
    return part_of(name.removeprefix(f"{QUARANTINE}/").split("~")[0])


def quarantined_file(name: str) -> str:
    """The file of an entry in quarantine. Raises FileNotFoundError if that can be none."""
    file = name.removeprefix(f"{QUARANTINE}/")
    if file == name or not file or "/" in file or "\0" in file or file in (".", ".."):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return file


def files(handle: int) -> list[tuple[str, os.stat_result]]:
    """All in an open directory, whatever it is. Raises OSError."""
    found = []
    with os.scandir(handle) as entries:
        for one in entries:
            with contextlib.suppress(OSError):
                found.append((one.name, one.stat(follow_symlinks=False)))
    return found


def size_of(status: os.stat_result) -> int:
    """Bytes that count."""
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def waiting(handle: int) -> list[Entry]:
    """The utterances in the directory, oldest first. Raises OSError."""
    found = [
        entry(str(part), part, _state(handle, name), status)
        for name, status in files(handle)
        if (part := part_of(name)) is not None
    ]
    return sorted(found, key=lambda one: one.part or PartId(""))


def entry(
    name: str, part: PartId | None, state: Literal["waiting", "quarantined", "newer"], status: os.stat_result
) -> Entry:
    return Entry(name, part, state, size_of(status), round(size_of(status) / BYTES_PER_S, 1))


def _state(handle: int, name: str) -> Literal["waiting", "newer"]:
    try:
        file = open_regular(name, handle)
    except OSError:
        return "waiting"
    try:
        found = version(os.read(file, MAGIC_BYTES))
        return "newer" if found is not None and found > VERSION else "waiting"
    except OSError:
        return "waiting"
    finally:
        os.close(file)
