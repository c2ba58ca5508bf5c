"""The mounted filesystems, from the kernel's list (mountinfo in proc(5))."""

import os
import re
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs")


class _Mount(NamedTuple):
    at: Path
    kind: str
    options: str


def forgets(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether what is written below an absolute path is lost at a power cut, because it goes to an overlay in memory.

    This is how `raspi-config` protects a card. False if that cannot be determined.
    """
    try:
        listed = [_mount(line) for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    overlay = _of(path, listed)
    if overlay is None or overlay.kind != "overlay":
        return False
    upper = re.search(r"(?:^|,)upperdir=([^,]*)", overlay.options)
    if upper is None or not os.path.isdir(upper[1]):  # that of a container is visible only on its host
        return False
    below = _of(Path(upper[1]), [mount for mount in listed if mount is not overlay])
    return below is not None and below.kind in IN_MEMORY


def _mount(line: str) -> _Mount:
    """Parse a line of the list."""
    before, _, after = line.partition(" - ")
    at = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
    kind, _, options = after.split(" ", 2)
    return _Mount(Path(at), kind, options)


def _of(path: Path, listed: list[_Mount]) -> _Mount | None:
    """Return the mount that a path belongs to, or None. Of two at the same place, the later one hides the earlier."""
    above = [mount for mount in listed if path.is_relative_to(mount.at)]
    return max(reversed(above), key=lambda mount: len(mount.at.parts), default=None)
