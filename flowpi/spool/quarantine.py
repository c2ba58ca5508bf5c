"""The quarantine of the spool: how its files are named, and why each of them is there.

    <part>.utt             no text of it is published: maybe the only copy of what was said; the user drops it
    <part>.utt.delivered   the text of what could be read is published: deleted to make room, or by age

`~2` and so on is appended if a name is taken. Somebody may have put anything else there, under any name.

The reason is kept in an extended attribute, because the content may be the only copy and must not change; on a
filesystem without extended attributes the reason is lost.
"""

import contextlib
import errno
import os
import stat
from urllib.parse import unquote_to_bytes

from flowpi.audio.utterance import PartId
from flowpi.core.safe_text import printable

SUFFIX = ".utt"
"""The suffix of the file of an utterance, in the spool and in quarantine."""

QUARANTINE = "quarantine"
DELIVERED = ".delivered"
REASON = "user.flowpi.reason"
MAX_REASON = 200
"""How many characters of a reason are read back."""


def part_of(name: str) -> PartId | None:
    """Return the part whose file in the spool has this name, or None if no part has."""
    return PartId.parse(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None


def quarantined_part(name: str) -> PartId | None:
    """Return the part that a file or an entry in quarantine belongs to by its name, or None if it names no part."""
    return part_of(_plain(name).removesuffix(DELIVERED))


def is_delivered(name: str) -> bool:
    """Whether the name of an entry in quarantine says that the text of what could be read is published."""
    return _plain(name).endswith(SUFFIX + DELIVERED) and quarantined_part(name) is not None


def entry_name(file: str) -> str:
    """Return the name of the entry of a file in quarantine, which can be printed, typed and sent as JSON.

    What a terminal would interpret, and bytes that are no text, are percent-encoded, and so is `%`.
    """
    return f"{QUARANTINE}/" + "".join(
        letter
        if letter != "%" and printable(letter) == letter
        else "".join(f"%{byte:02X}" for byte in os.fsencode(letter))
        for letter in file
    )


def quarantined_file(name: str) -> str:
    """Return the file of an entry in quarantine. Raises FileNotFoundError for a name that no entry can have."""
    encoded = name.removeprefix(f"{QUARANTINE}/")
    try:
        file = os.fsdecode(unquote_to_bytes(os.fsencode(encoded)))
    except UnicodeEncodeError:  # a letter that no name of a file can have in this locale
        file = ""
    if encoded == name or not file or "/" in file or "\0" in file or file in (".", ".."):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return file


def free_name(part: PartId, handle: int, *, delivered: bool) -> str:
    """Return a name that is free for a file of this part in the open quarantine. Raises OSError."""
    name = f"{part}{SUFFIX}{DELIVERED if delivered else ''}"
    free, number = name, 1
    with contextlib.suppress(FileNotFoundError):
        while os.stat(free, dir_fd=handle, follow_symlinks=False):
            number += 1
            free = f"{name}~{number}"
    return free


def write_reason(name: str, handle: int, reason: str) -> None:
    """Store why a file is in quarantine, if possible. A hard link is left alone: its file may belong to others."""
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.setxattr(_path(name, handle), REASON, reason.encode(), follow_symlinks=False)


def read_reason(name: str, handle: int) -> str:
    """Return why a file is in quarantine, empty if that is not known. It is `printable`, whoever wrote it."""
    try:
        found = os.getxattr(_path(name, handle), REASON, follow_symlinks=False)
    except OSError:
        return ""
    return printable(found.decode(errors="replace"), MAX_REASON)


def _plain(name: str) -> str:
    return name.removeprefix(f"{QUARANTINE}/").split("~")[0]


def _path(name: str, handle: int) -> str:
    """Return a path to a file in an open directory, for the calls on extended attributes.

    Python has no `getxattrat`, and only regular files may be opened: so the path leads through /proc/self/fd.
    """
    return f"/proc/self/fd/{handle}/{name}"
