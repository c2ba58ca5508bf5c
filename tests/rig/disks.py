"""Disks of all kinds, for programs with a mount namespace of their own: see `alone`.

What is mounted there ends with the program, however that ends. It needs root, also for loop devices.
"""

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rig import blocklog
from tests.waiting import PATIENCE_S

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN of linux/ext4.h. After it each write is an I/O error."""

NO_LOG_FLUSH = 2


def alone(module: str, *arguments: object, timeout_s: float = 120) -> Any:
    """Run a program that prints JSON in a mount namespace of its own, and return what it printed."""
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--preserve-env=PYTHONPATH"]
    command = [*root, "unshare", "--mount", "--propagation", "private"]
    command += [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sh(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr}")


@contextlib.contextmanager
def mounted(source: str | Path, at: Path, *, kind: str = "ext4", options: str = "loop") -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    sh("mount", "-t", kind, "-o", options, source, at)
    try:
        yield at
    finally:
        sh("umount", at)


@contextlib.contextmanager
def part(disk: Path, offset: int, size: int) -> Iterator[str]:
    """Yield a loop device that is a part of a disk image."""
    command = ["losetup", "--find", "--show", f"--offset={offset}", f"--sizelimit={size}", str(disk)]
    device = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield device
    finally:
        sh("losetup", "--detach", device)


def memory(at: Path, *, size: str = "1g", inodes: str = "0") -> contextlib.AbstractContextManager[Path]:
    """Mount a filesystem in memory, with limits of its size and of its files and directories; 0 for no limit."""
    return mounted("tmpfs", at, kind="tmpfs", options=f"size={size},nr_inodes={inodes},mode=0700")


def make_ext4(image: Path, megabytes: int = 24) -> None:
    """Make a small ext4 like that of a Pi's card: blocks of 4 KiB and a journal."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    sh("/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", image)


@contextlib.contextmanager
def remembered(image: Path, work: Path) -> Iterator[tuple[Path, Path]]:
    """Record each block that is written to a disk image in `work/log`, starting from `work/start.img`.

    Yields the file that represents the image, and the file for marks. The log is complete at the end of the block. Only
    for programs that are `alone`: another program that is started meanwhile would keep the file open.
    """
    view = work / "view"
    (work / "start.img").write_bytes(image.read_bytes())
    view.mkdir()
    library = {**os.environ, "FUSE_LIBRARY_NAME": "fuse3"}
    server = subprocess.Popen([sys.executable, "-m", blocklog.__name__, view, image, work / "log"], env=library)
    try:
        while not (view / "disk").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.01)
                raise OSError("FUSE does not work here")
        yield view / "disk", view / "mark"
        sh("umount", view)
        server.wait(PATIENCE_S)
    finally:
        server.kill()


@contextlib.contextmanager
def logged(work: Path) -> Iterator[tuple[Path, Path]]:
    """Mount an ext4 filesystem of which each block that is written is `remembered`.

    Yields where it is mounted, and the file for marks. The log is complete at the end of the block.
    """
    image = work / "disk.img"
    make_ext4(image)
    options = "loop,nodiscard,commit=5"
    with remembered(image, work) as (disk, mark), mounted(disk, work / "mounted", options=options) as directory:
        yield directory, mark


def shut_down(directory: Path) -> None:
    """Make every further operation on an ext4 filesystem fail, as if its disk were pulled out."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(handle)
