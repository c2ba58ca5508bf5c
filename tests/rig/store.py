"""The store of the rig's roots, kernels and disks between runs, outside the work tree and shared by all work trees.

An entry is stored under its name and a key, a hash of all that it is made of. It is built beside its place under a lock
and then renamed, so every entry is complete, and what a killed build left is removed by the next.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

UNUSED_DAYS = 3
"""The age of an unused entry that is removed; other work trees, with other keys, share the store."""

BUILDING = ".building"
LOCK = ".lock"


def directory() -> Path:
    """Return `$XDG_CACHE_HOME/flowpi-rig`, created if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base, "flowpi-rig")
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(*parts: str | bytes | Path) -> str:
    """Return a hash of texts and of the content of files."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _locked(place: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of an entry for the length of a block.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
    """
    with place.with_name(place.name + LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def kept(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the entry `name` with this key, a directory; if it is missing, build it by `build(empty directory)`.

    Another process that needs it meanwhile waits, and then uses it.
    """
    place = directory() / f"{name}-{key}"
    with _locked(place):
        if not place.exists():
            _build(name, place, build)
        os.utime(place)
    return place


def _build(name: str, place: Path, build: Callable[[Path], None]) -> None:
    beside = place.with_name(place.name + BUILDING)
    remove(beside)
    beside.mkdir(mode=0o755)
    began = time.monotonic()
    build(beside)
    os.sync()  # before the rename: a power cut must not leave an entry with half of its content
    beside.rename(place)
    print(f"{time.monotonic() - began:6.1f} s  {name}", file=sys.stderr, flush=True)


def sweep() -> None:
    """Remove the remains of killed builds, and entries that were not used for long."""
    old = time.time() - UNUSED_DAYS * 86_400
    for place in directory().iterdir():
        if place.is_dir() and (place.name.endswith(BUILDING) or place.stat().st_mtime < old):
            with (
                contextlib.suppress(BlockingIOError),
                _locked(place.with_name(place.name.removesuffix(BUILDING)), wait=False),
            ):
                remove(place)


def remove(tree: Path) -> None:
    """Remove a Debian root: some directories need root, and nothing may be mounted in it any more."""
    if tree.exists():
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        inside = [mount for mount in mounts if Path(mount).is_relative_to(tree)]
        for mount in reversed(inside):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(tree)
