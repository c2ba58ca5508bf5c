"""The file of an utterance while it is written: each piece of it is on the disk when `SpoolFile.write` returns.

To write little to a card besides the sound, a piece ends where a block ends, and places on the disk are found for half
a minute at a time: what each sync must write is then the sound and, by the journal, how long the file is. What was
found too much is given back with the end; after a crash, when the file is deleted.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from flowpi.audio.utterance import About, PartId
from flowpi.host.folders import sync_names
from flowpi.host.preallocate import preallocate
from flowpi.spool import file_format
from flowpi.spool.directory import NEW
from flowpi.spool.file_format import Ending
from flowpi.spool.folder import Folder
from flowpi.spool.quarantine import SUFFIX

AHEAD_BYTES = 1 << 20
"""For so much of a file places on the disk are found at once: half a minute of sound."""

AHEAD_SHARE = 32
"""Of what is free, at most one part in so many."""

MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SpoolFile:
    """One utterance on its way to the disk; every method on the spool's thread."""

    def __init__(self, folder: Folder, about: About) -> None:
        self._folder = folder
        self._about = about
        self._name = f"{PartId(about.id, about.part)}{SUFFIX}"
        self._file: int | None = None
        self._length = 0
        self._places = 0
        """How long the file can become before the disk has to find more places for it."""
        self._beside = False
        """An earlier try left a file. It may hold seconds that are durable: it stays until this one is whole."""

    def write(self, frame: int, pcm: bytes, end: Ending | None) -> None:
        """The next piece, and the end if that was the last.

        Raises:
            OSError: it is not on the disk; nothing more may be written.
            SpoolError: there is no spool, or it is full.
        """
        data = file_format.audio(frame, pcm) + (file_format.ending(end) if end is not None else b"")
        if self._file is None:
            self._folder.check()
            data = file_format.header(self._about) + data
        if end is None:
            data += file_format.filler(self._length, self._length + len(data))
        self._folder.reserve(len(data))
        if self._file is None:
            self._create()
            try:
                self._write(data, last=end is not None)
                sync_names(self._folder.handle)
            except OSError:
                self._unlink()  # nothing in it is durable
                raise
        else:
            self._write(data, last=end is not None)
        if end is not None and self._beside:
            os.rename(self._name + NEW, self._name, src_dir_fd=self._folder.handle, dst_dir_fd=self._folder.handle)
            sync_names(self._folder.handle)
            self._beside = False

    def _create(self) -> None:
        part = PartId(self._about.id, self._about.part)
        self._beside = self._folder.clear_way(part)
        name = self._name + NEW if self._beside else self._name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name + NEW, dir_fd=self._folder.handle)
        self._file = os.open(name, MAKE, 0o600, dir_fd=self._folder.handle)

    def _write(self, data: bytes, *, last: bool) -> None:
        assert self._file is not None
        if not last:
            self._find_places(len(data))
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._folder.make_room(len(rest)):
                    raise
        self._length += len(data)
        if last:
            self._give_back()
        os.fdatasync(self._file)  # it also makes a grown length durable
        if not os.fstat(self._file).st_nlink or not self._folder.is_there():
            raise FileNotFoundError(errno.ENOENT, "deleted while it was written")

    def _find_places(self, size: int) -> None:
        """Else each sync writes anew which places of the disk are taken."""
        assert self._file is not None
        if self._length + size <= self._places:
            return
        with contextlib.suppress(OSError):  # it goes without
            status = os.fstatvfs(self._file)
            ahead = min(AHEAD_BYTES, status.f_bavail * status.f_frsize // AHEAD_SHARE)
            if ahead > 2 * size:
                self._places = self._length + ahead  # also if there are none: it is not asked for them each second
                preallocate(self._file, self._length, ahead)

    def _give_back(self) -> None:
        """What the disk has kept for the file, and is not needed."""
        assert self._file is not None
        if self._places:
            self._places = 0
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._length)

    def close(self) -> None:
        if self._file is not None:
            self._give_back()
            os.close(self._file)
            self._file = None
            if self._beside:
                self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._folder.is_there():
                os.unlink(self._name + NEW if self._beside else self._name, dir_fd=self._folder.handle)


def write_whole(name: str, directory: int, pieces: Iterator[bytes]) -> None:
    """A file that is there whole or not at all, whenever the power goes. Raises OSError; nothing stays then."""
    new = name + NEW
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=directory)
    file = os.open(new, MAKE, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as written:
            for piece in pieces:
                written.write(piece)
            written.flush()
            os.fsync(file)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=directory)
        raise
    sync_names(directory)
