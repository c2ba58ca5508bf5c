"""The file of an utterance while it is written: each piece of it is on the disk when `SpoolFile.write` returns.

To wear out a card as little as possible, a piece ends where a block ends, and blocks are allocated for half a minute at
a time: each sync then writes the sound and, in the journal of the filesystem, the new length of the file, and nothing
else. Blocks that are not needed are released with the end of the utterance or, after a crash, when the file is deleted.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from flowpi.audio.utterance import Utterance
from flowpi.host.folders import sync_names
from flowpi.host.preallocate import preallocate
from flowpi.spool import file_format
from flowpi.spool.directory import NEW
from flowpi.spool.file_format import Ending
from flowpi.spool.folder import Folder
from flowpi.spool.quarantine import SUFFIX

AHEAD_BYTES = 1 << 20
"""How much of a file is allocated at once: half a minute of sound."""

AHEAD_SHARE = 32
"""The divisor of the free space: at most this share of it is allocated ahead."""

MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SpoolFile:
    """One utterance on its way to the disk. Every method is called on the spool's thread."""

    def __init__(self, folder: Folder, utterance: Utterance) -> None:
        self._folder = folder
        self._utterance = utterance
        self._name = f"{utterance.part_id}{SUFFIX}"
        self._file: int | None = None
        self._length = 0
        self._profile: str | None = None
        """The profile that the file says."""
        self._places = 0
        """The length in bytes up to which blocks are allocated."""
        self._beside = False
        """Whether an earlier attempt left a file. Sound in it may be durable, so it stays until this one is whole."""

    def write(self, frame: int, pcm: bytes, end: Ending | None) -> None:
        """Append the next piece and, if it is the last one, the end; return when both are on the disk.

        Args:
            frame: the number of the first frame of `pcm` in the utterance.
            pcm: int16 mono 16 kHz.
            end: the end of the utterance, None if more follows.

        Raises:
            OSError: the piece is not on the disk. Nothing more may be written: after a failed sync the kernel may have
                dropped pages that a second sync of the same file would report as written.
            SpoolError: there is no spool, or it is full.
        """
        about = self._utterance.about
        data = file_format.audio(frame, pcm) + (file_format.ending(end) if end is not None else b"")
        if self._file is None:
            self._folder.check()
            data = file_format.header(about) + data
        elif about.profile != self._profile:
            data = file_format.profile(about.profile) + data
        self._profile = about.profile
        if end is None:
            data += file_format.filler(self._length, self._length + len(data))
        self._folder.reserve(len(data))
        if self._file is None:
            self._create()
            try:
                # The content before the name: a power cut between the two leaves a file without a name, which the
                # filesystem frees. The other way it could leave a name without a header.
                self._write(data, last=end is not None)
                sync_names(self._folder.handle)
            except OSError:
                self._unlink()  # nothing in it is durable
                raise
        else:
            self._write(data, last=end is not None)
        if end is not None and self._beside:
            # This file is whole and synced, so it may replace the one of the failed attempt. Until here a crash leaves
            # that one; `.new` is swept away at the next start. "Recorded" is reported only after the name is synced.
            os.rename(self._name + NEW, self._name, src_dir_fd=self._folder.handle, dst_dir_fd=self._folder.handle)
            sync_names(self._folder.handle)
            self._beside = False

    def _create(self) -> None:
        """Create the file: under its name if that is free, else beside the file of the earlier attempt."""
        self._beside = self._folder.clear_way(self._utterance.part_id)
        name = self._name + NEW if self._beside else self._name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name + NEW, dir_fd=self._folder.handle)
        self._file = os.open(name, MAKE, 0o600, dir_fd=self._folder.handle)

    def _write(self, data: bytes, *, last: bool) -> None:
        """Write and sync `data`. A full disk is made room on, as long as something delivered can be deleted."""
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
            self._give_back()  # before the sync, which then writes the final length once
        os.fdatasync(self._file)  # it also makes a grown length durable
        # A sync succeeds on a file that somebody deleted, and on one in a directory that was replaced: that would be
        # called recorded, and nobody would find it.
        if not os.fstat(self._file).st_nlink or not self._folder.is_there():
            raise FileNotFoundError(errno.ENOENT, "deleted while it was written")

    def _find_places(self, size: int) -> None:
        """Allocate blocks ahead, so that not each sync has to write the allocation too. Does nothing if that fails."""
        assert self._file is not None
        if self._length + size <= self._places:
            return
        with contextlib.suppress(OSError):  # the write itself allocates what it needs
            status = os.fstatvfs(self._file)
            ahead = min(AHEAD_BYTES, status.f_bavail * status.f_frsize // AHEAD_SHARE)
            if ahead > 2 * size:
                self._places = self._length + ahead  # also if the disk refuses: it is not asked again each second
                preallocate(self._file, self._length, ahead)

    def _give_back(self) -> None:
        """Release the blocks that were allocated ahead and are not needed."""
        assert self._file is not None
        if self._places:
            self._places = 0
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._length)

    def close(self) -> None:
        """Close the file. Of an utterance without its end, what was written stays, unless an older file has it too."""
        if self._file is not None:
            self._give_back()
            os.close(self._file)
            self._file = None
            if self._beside:  # it never replaced the older file, so it is not whole
                self._unlink()

    def _unlink(self) -> None:
        """Delete the file that is being written, but not one in a directory that has replaced ours."""
        with contextlib.suppress(OSError):
            if self._folder.is_there():
                os.unlink(self._name + NEW if self._beside else self._name, dir_fd=self._folder.handle)


def write_whole(name: str, directory: int, pieces: Iterator[bytes]) -> None:
    """Write a file that is there whole or not at all, whenever the power fails. Raises OSError and leaves nothing."""
    new = name + NEW
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=directory)
    file = os.open(new, MAKE, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as written:
            for piece in pieces:
                written.write(piece)
            written.flush()
            # The content is synced before the rename: a journal may commit the new name before unsynced content, and a
            # power cut would leave an empty file in place of a whole one.
            os.fsync(file)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=directory)
        raise
    sync_names(directory)
