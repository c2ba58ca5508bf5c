"""An SD card whose power goes while flowpi takes a configuration over: a FAT partition and an ext4 one, on one disk.

`python -m tests.provision.sd_card cuts NUMBER WITHOUT` prints what the next start found after each of so many cuts, as
JSON. `WITHOUT`: `nothing`, or a call of `os` that does nothing. It runs itself under a kernel that knows vfat, as

    take DISK MARKS WITHOUT    takes NEW over where OLD is in force
    boot DISK ...              starts with each of these disks
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from flowpi.core.errors import FlowpiError
from flowpi.provision.wifi_files import WPA_SUPPLICANT
from tests.provision.card import Card
from tests.provision.deaths import NEW, OLD, SECRET, state
from tests.rig.blocklog import MARK, Replay, read_log
from tests.rig.disks import memory, mounted, part, remembered, sh
from tests.rig.other_kernel import alone_with_vfat

FAT_BYTES = 4 << 20
EXT4_BYTES = 8 << 20

AT_ONCE = 25
"""Disks for one start of another kernel: they are in memory."""


class Boot(msgspec.Struct):
    """`state`: of /etc after the cut: `old`, `new`, `mixed`; `whole`: the person's file is in force, or there to be
    taken. `after`: the state in the end, or why the file was refused; `secret`: whether one is on the FAT partition."""

    state: str
    whole: bool
    after: str
    secret: bool = False


def make(disk: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        fat, ext4 = Path(directory, "fat"), Path(directory, "ext4")
        for path, size in ((fat, FAT_BYTES), (ext4, EXT4_BYTES)):
            with path.open("wb") as file:
                file.truncate(size)
        sh("/sbin/mkfs.vfat", "-F", "32", "-s", "1", fat)
        sh("/sbin/mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=1", ext4)
        disk.write_bytes(fat.read_bytes() + ext4.read_bytes())


@contextmanager
def inserted(disk: Path) -> Iterator[Card]:
    with (
        tempfile.TemporaryDirectory() as directory,
        part(disk, 0, FAT_BYTES) as fat,
        part(disk, FAT_BYTES, EXT4_BYTES) as ext4,
    ):
        card = Card(Path(directory))
        # Unmounted in the other order: what is not synced is gone from the FAT first.
        with mounted(ext4, card.system, options="commit=300"), mounted(fat, card.boot, kind="vfat", options="rw"):
            card.etc.mkdir(exist_ok=True)
            card.installs(WPA_SUPPLICANT)
            yield card


def take(disk: Path, marks: Path, without: str) -> None:
    handle = os.open(marks, os.O_WRONLY)

    def mark(words: bytes) -> None:
        os.write(handle, words)
        sync(handle)

    sync = os.fsync
    with inserted(disk) as card:
        card.leave(OLD)
        card.provision()
        with card.leave(NEW).open("rb") as file:
            os.fsync(file.fileno())
        os.sync()  # which flushes no disk for a FAT
        mark(b"begin")
        if without != "nothing":
            setattr(os, without, lambda handle: None)
        card.provision()
    mark(b"end")


def boot(disk: Path) -> Boot:
    with tempfile.TemporaryDirectory() as directory:
        # As fstab says on Raspberry Pi OS: repaired without a question before it is mounted.
        fat = Path(directory, "fat")
        fat.write_bytes(disk.read_bytes()[:FAT_BYTES])
        subprocess.run(["/sbin/fsck.vfat", "-a", fat], capture_output=True, stdin=subprocess.DEVNULL)
        with disk.open("r+b") as file:
            file.write(fat.read_bytes())
    with inserted(disk) as card:
        now = state(card, OLD, NEW)
        path = card.boot / "flowpi.yaml"
        whole = now == "new" or (path.is_file() and path.read_text() == NEW)
        try:
            card.provision()
            after = state(card, OLD, NEW)
        except FlowpiError as error:
            after = str(error)
        return Boot(now, whole, after)


def cuts(number: int, without: str) -> list[Boot]:
    chance = random.Random(number)
    boots: list[Boot] = []
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory)) as work:
        disk = work / "disk.img"
        make(disk)
        with remembered(disk, work) as (view, mark):
            alone_with_vfat(__spec__.name, "take", view, mark, without)
        log = read_log(work / "log")
        begin, end = (at for at, record in enumerate(log) if record.kind == MARK)
        replay = Replay((work / "start.img").read_bytes(), log)
        moments = sorted(chance.randrange(begin, end + 2) for _ in range(number))
        for at in range(0, number, AT_ONCE):
            disks = [work / f"cut-{place}.img" for place in range(len(moments[at : at + AT_ONCE]))]
            for disk, moment in zip(disks, moments[at : at + AT_ONCE], strict=True):
                disk.write_bytes(replay.disk_at(moment, chance))
            boots += msgspec.convert(alone_with_vfat(__spec__.name, "boot", *disks), list[Boot])
            for found, disk in zip(boots[at:], disks, strict=True):
                found.secret = SECRET.encode() in disk.read_bytes()[:FAT_BYTES]
    return boots


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cuts", number, without]:
            sys.stdout.write(msgspec.json.encode(cuts(int(number), without)).decode())
        case ["take", disk, marks, without]:
            take(Path(disk), Path(marks), without)
            json.dump(None, sys.stdout)
        case ["boot", *disks]:
            sys.stdout.write(msgspec.json.encode([boot(Path(disk)) for disk in disks]).decode())
