"""A boot partition whose power goes while new kernels are put on it.

`python -m tests.image.boot_partition cuts NUMBER PROGRAM` prints what a Pi would boot after each of so many cuts, as
JSON. `PROGRAM`: what updates the partition, called with a hook and the partition, as image/tree/**/update-boot is. It
runs itself under a kernel that knows vfat, as

    update DISK MARKS PROGRAM    updates it a few times
    look DISK ...                looks at each of these disks
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from itertools import cycle, islice, pairwise
from pathlib import Path

import msgspec

from tests.rig.blocklog import MARK, Replay, read_log
from tests.rig.disks import memory, mounted, part, remembered, sh
from tests.rig.other_kernel import alone_with_vfat

FAT_BYTES = 4 << 20
AT_ONCE = 25
"""Disks for one start of another kernel: they are in memory."""

UPDATES = 3
"""So that each of the two directories is new, and one of them is replaced."""

HOOK = """\
#!/bin/sh
set -e
fill() {{ yes {number} | head -c "$1"; }}
fill 30000 > {boot}/kernel-{number}
fill 20000 > {boot}/initrd-{number}
for board in 3 4; do fill 3000 > {boot}/bcm-$board.dtb; done
printf 'kernel=kernel-%s\\ninitramfs initrd-%s\\n' {number} {number} > {boot}/config.txt
echo root={number} > {boot}/cmdline.txt
"""
"""What raspi-firmware's writes, in small: everything has the number of the update in it."""


class Cut(msgspec.Struct):
    """`done`: how many updates had ended; `boots`: of which update all is that a Pi boots, or what is wrong with it."""

    done: int
    boots: int | str


def update(disk: Path, marks: Path, program: Path) -> None:
    handle = os.open(marks, os.O_WRONLY)
    with (
        tempfile.TemporaryDirectory() as directory,
        part(disk, 0, FAT_BYTES) as device,
        mounted(device, Path(directory, "boot"), kind="vfat", options="rw,noatime") as boot,
    ):
        hook = Path(directory, "hook")
        for number in range(UPDATES + 1):
            hook.write_text(HOOK.format(boot=boot, number=number))
            hook.chmod(0o755)
            if number == 0:  # while the image is made
                sh(hook)
                (boot / "config.txt").write_text((boot / "config.txt").read_text().ljust(512, "\n"))
                sh("sync", *boot.iterdir(), boot)  # a sync of all flushes no disk for a FAT
            else:
                sh(program, hook, boot)
            os.write(handle, str(number).encode())
            os.fsync(handle)


def boots(boot: Path) -> int | str:
    """Return the number of the update of which all is that a firmware loads, or what is wrong with it."""
    settings = dict(line.replace(" ", "=").split("=") for line in (boot / "config.txt").read_text().split("\n") if line)
    place = boot / settings.get("os_prefix", "")
    if not (place / settings["kernel"]).exists():
        place = boot
    number = settings["kernel"].removeprefix("kernel-")
    for name, size in {settings["kernel"]: 30000, settings["initramfs"]: 20000, "bcm-3.dtb": 3000}.items():
        whole = (f"{number}\n" * size)[:size]
        if (place / name).read_text() != whole:
            return f"{name} of {number} is not whole"
    said = (place / "cmdline.txt").read_text()
    return int(number) if said == f"root={number}\n" else f"cmdline.txt of {number}: {said}"


def look(disk: Path) -> int | str:
    # As at each boot: repaired without a question before it is mounted. The firmware came first, and repairs nothing.
    found: list[int | str] = []
    for repair in (False, True):
        if repair:
            subprocess.run(["/sbin/fsck.vfat", "-a", disk], capture_output=True, stdin=subprocess.DEVNULL)
        try:
            with (
                tempfile.TemporaryDirectory() as directory,
                part(disk, 0, FAT_BYTES) as device,
                mounted(device, Path(directory, "boot"), kind="vfat", options="ro") as boot,
            ):
                found.append(boots(boot))
        except (OSError, KeyError, ValueError) as error:
            found.append(repr(error))
    return found[0] if found[0] == found[1] else f"{found[0]}, and after fsck {found[1]}"


def cuts(number: int, program: Path) -> list[Cut]:
    chance = random.Random(number)
    found: list[Cut] = []
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory)) as work:
        disk = work / "disk.img"
        with disk.open("wb") as file:
            file.truncate(FAT_BYTES)
        sh("/sbin/mkfs.vfat", "-F", "32", "-s", "1", disk)
        with remembered(disk, work) as (view, mark):
            alone_with_vfat(__spec__.name, "update", view, mark, program)
        log = read_log(work / "log")
        marks = [at for at, record in enumerate(log) if record.kind == MARK]
        replay = Replay((work / "start.img").read_bytes(), log)
        updates = islice(cycle(pairwise(marks)), number - 1)
        moments = sorted([*(chance.randint(begun + 1, ended) for begun, ended in updates), marks[-1] + 1])
        for at in range(0, number, AT_ONCE):
            now = moments[at : at + AT_ONCE]
            disks = [work / f"cut-{place}.img" for place in range(len(now))]
            for path, moment in zip(disks, now, strict=True):
                path.write_bytes(replay.disk_at(moment, chance))
            for moment, outcome in zip(now, alone_with_vfat(__spec__.name, "look", *disks), strict=True):
                found.append(Cut(sum(mark < moment for mark in marks) - 1, outcome))
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cuts", number, program]:
            sys.stdout.write(msgspec.json.encode(cuts(int(number), Path(program))).decode())
        case ["update", disk, marks, program]:
            update(Path(disk), Path(marks), Path(program))
            json.dump(None, sys.stdout)
        case ["look", *disks]:
            json.dump([look(Path(disk)) for disk in disks], sys.stdout)
