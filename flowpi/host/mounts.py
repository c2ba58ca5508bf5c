"""What is mounted where, by the kernel's list (proc(5), mountinfo)."""

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
    """Whether what is written to an absolute path is gone after a power cut, as it goes into an overlay in memory: how
    `raspi-config` protects a card. False where that cannot be known."""
    try:
        listed = [_mount(line) for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    overlay = _of(path, listed)
    if overlay is None or overlay.kind != "overlay":
        return False
    upper = re.search(r"(?:^|,)upperdir=([^,]*)", overlay.options)
    if upper is None or not os.path.isdir(upper[1]):  # a container's lies where only its host sees it
        return False
    below = _of(Path(upper[1]), [mount for mount in listed if mount is not overlay])
    return below is not None and below.kind in IN_MEMORY


def _mount(line: str) -> _Mount:
    before, _, after = line.partition(" - ")
    at = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
    kind, _, options = after.split(" ", 2)
    return _Mount(Path(at), kind, options)


def _of(path: Path, listed: list[_Mount]) -> _Mount | None:
    """What is mounted last covers what was there before."""
    above = [mount for mount in listed if path.is_relative_to(mount.at)]
    return max(reversed(above), key=lambda mount: len(mount.at.parts), default=None)
