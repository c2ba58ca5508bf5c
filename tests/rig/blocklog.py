"""A disk that remembers the order of its writes: `python -m tests.rig.blocklog DIRECTORY IMAGE LOG`.

It presents a block image by FUSE as the file `disk` in DIRECTORY, for a loop device. Every write, every flush, and
everything written to the file `mark` beside it is appended to LOG. From the log the disk can be rebuilt as it was at
any moment: see `disk_at`. It replaces dm-log-writes on machines without a device mapper.
"""

import errno
import os
import random
import stat
import struct
import sys
from pathlib import Path
from typing import NamedTuple

import mfusepy

RECORD = struct.Struct("<cQI")
WRITE, FLUSH, MARK = b"W", b"F", b"M"
SECTOR_BYTES = 512


class Record(NamedTuple):
    kind: bytes
    offset: int
    data: bytes


class BlockLog(mfusepy.Operations):  # type: ignore[misc]  # it has no types
    use_ns = True

    def __init__(self, image: Path, log: Path) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._image).st_size
        self._log = log.open("wb")

    def _note(self, kind: bytes, offset: int = 0, data: bytes = b"") -> None:
        self._log.write(RECORD.pack(kind, offset, len(data)) + data)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        match path:
            case "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            case "/disk" | "/mark":
                size = self._size if path == "/disk" else 0
                return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}
        raise mfusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", "disk", "mark"]

    def open(self, path: str, flags: int) -> int:
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._image, size, offset) if path == "/disk" else b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        data = bytes(data)
        if path == "/mark":
            self._note(MARK, 0, data)
        else:
            os.pwrite(self._image, data, offset)
            self._note(WRITE, offset, data)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if path == "/disk":
            self._note(FLUSH)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def destroy(self, path: str) -> None:
        self._log.close()


def read_log(path: Path) -> list[Record]:
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        kind, offset, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        found.append(Record(kind, offset, data[at : at + length]))
        at += length
    return found


class Replay:
    """The disk at one moment after another. `start`: its content at the beginning of the log."""

    def __init__(self, start: bytes, log: list[Record]) -> None:
        self._log = log
        self._at = 0
        self._flushed = bytearray(start)
        self._pending: list[Record] = []

    def disk_at(self, moment: int, chance: random.Random) -> bytes:
        """Return what the disk may contain if the power fails before record `moment`. Moments must be in order.

        Everything that was flushed is there. Of the rest, nothing is there, or everything, or a part in any order, in
        which the last sectors of a write may be missing.
        """
        for record in self._log[self._at : moment]:
            if record.kind == WRITE:
                self._pending.append(record)
            elif record.kind == FLUSH:
                for pending in self._pending:
                    self._flushed[pending.offset : pending.offset + len(pending.data)] = pending.data
                self._pending.clear()
        self._at = moment
        disk = bytearray(self._flushed)
        fate = chance.choice(["nothing", "some", "all"])
        for record in self._pending:
            if fate == "all" or (fate == "some" and chance.random() < 0.5):
                sectors = len(record.data) // SECTOR_BYTES
                torn = fate == "some" and chance.random() < 0.2
                data = record.data[: chance.randrange(sectors + 1) * SECTOR_BYTES] if torn else record.data
                disk[record.offset : record.offset + len(data)] = data
        return bytes(disk)


if __name__ == "__main__":
    mfusepy.FUSE(BlockLog(Path(sys.argv[2]), Path(sys.argv[3])), sys.argv[1], foreground=True, nothreads=True)
