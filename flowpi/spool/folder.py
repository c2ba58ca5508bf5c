"""The files of the spool: what lies in its directory, how large all of it may be, and what happens to bad files.

    <ULID>.utt, <ULID>.<part>.utt   utterances; see `file_format.py`
    quarantine/                     what could not be read; see `quarantine.py`
    kept/<part>.wav                 the sound of what is delivered, if the user wants it kept
    *.new                           files that are being made; worth nothing after a crash

Names are made here and are never read from a file. Links, FIFOs, devices and directories under such a name are never
opened. A hard link is read as the file that it is: its content must be an utterance of that very name, and only our
name of it is deleted.
"""

import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from flowpi.audio.utterance import PartId
from flowpi.core.errors import AlreadyRunning, SpoolError
from flowpi.core.retention import overdue
from flowpi.host.folders import open_regular, sync_names
from flowpi.host.logfields import fields
from flowpi.spool.directory import KEPT, LockedDirectory
from flowpi.spool.errors import hint_for, unusable
from flowpi.spool.listing import SpoolEntry, files, quarantined, size_of, waiting
from flowpi.spool.quarantine import (
    QUARANTINE,
    SUFFIX,
    free_name,
    is_delivered,
    part_of,
    quarantined_file,
    quarantined_part,
    write_reason,
)

log = logging.getLogger(__name__)


class Folder(LockedDirectory):
    """The spool's directory as a store of files, with its size counted.

    `open`, `check`, `lock`, `close` and `handle` belong to one thread; the rest may be called on any.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int | None = None,
        keep_days: int | None = None,
        on_quarantine: Callable[[PartId, str], None] = lambda part, reason: None,
    ) -> None:
        super().__init__(path)
        self.quarantined = 0
        """The number of files in quarantine."""
        self._max_bytes = max_bytes
        self._keep_days = keep_days
        self._on_quarantine = on_quarantine
        self._opened = False
        """Whether `open` succeeded once: a directory that is lost after that is opened again."""
        self._bytes = 0
        """The size of all that is in the directory. Each change is added, so that no write has to list it."""
        self._noted: dict[str, float] = {}
        """The state of `overdue` between two calls."""
        self._busy = threading.RLock()
        """Held while `_bytes`, or what lies in quarantine and the number of it, change together."""

    def open(self) -> list[PartId]:
        """Lock the directory and list it. May be called again, after a failure or to list it again.

        Returns:
            The utterances in it, oldest first.

        Raises:
            AlreadyRunning: another daemon uses it.
            SpoolError: it cannot be made or written to. It is not locked then.
        """
        try:
            self.lock()
            self._opened = True
            with self._busy:
                self._count()
            return sorted(part for name in os.listdir(self.handle) if (part := part_of(name)) is not None)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another flowpi has the spool {str(self.path)!r}", "stop it, or set spool.directory"
            ) from None
        except OSError as error:
            self.close()
            raise unusable(self.path, error) from error

    def check(self) -> None:
        """Open the directory anew if it was deleted or replaced since it was locked. Called before a file is made.

        Raises:
            SpoolError: no directory can be used now, or none was ever opened.
        """
        if self.is_there():
            return
        if not self._opened:
            raise SpoolError(f"the spool {str(self.path)!r} is not open", "see what was said of it before")
        log.warning("the spool %s was taken away; it is made again", self.path)
        self.close()
        try:
            self.open()
        except AlreadyRunning as error:
            raise SpoolError(error.message, error.hint) from error

    # How much there is.

    def limit(self, max_bytes: int) -> None:
        """Set the largest size of all that may lie in the directory, for the next `reserve`."""
        with self._busy:
            self._max_bytes = max_bytes

    def reserve(self, size: int) -> None:
        """Count `size` bytes before they are written, and delete delivered sound if they need its room.

        Counting comes first, so that the limit holds for what several threads write at the same time.

        Raises:
            SpoolError: with them the spool would exceed `max_bytes`. Nothing is counted then.
        """
        with self._busy:
            if self._max_bytes is not None and self._bytes + size > self._max_bytes:
                self._count()  # somebody else may have deleted files
                if not self._make_room(self._bytes + size - self._max_bytes):
                    raise SpoolError(
                        f"the spool {str(self.path)!r} is full: spool.max_mb ({self._max_bytes // 1_000_000}) reached",
                        "see `flowpi spool list`",
                    )
            self._bytes += size

    def make_room(self, size: int) -> bool:
        """Delete `size` bytes of what is delivered, the oldest of `kept/` first. False if there is less than that."""
        with self._busy:
            return self._make_room(size)

    def forget(self, size: int) -> None:
        """Subtract `size` bytes that were deleted, or not written after all."""
        with self._busy:
            self._bytes = max(0, self._bytes - size)

    def _count(self) -> None:
        """List the directory and set the size of it. Raises OSError if the directory itself cannot be read."""
        with self.at() as handle:
            self._bytes = sum(size_of(status) for _, status in files(handle))
            for name in (KEPT, QUARANTINE):
                found = self.look(name, files)
                self._bytes += sum(size_of(status) for _, status in found or ())
                if name == QUARANTINE and found is not None:
                    self.quarantined = len(found)

    def _make_room(self, size: int) -> bool:
        for folder, name, status in self._delivered():
            if size <= 0:
                break
            if self._delete(folder, name, status, "to make room"):
                size -= size_of(status)
        return size <= 0

    def _delivered(self) -> list[tuple[str, str, os.stat_result]]:
        """Return the files whose text is published: folder, name and status, the oldest of `kept/` first."""
        return [
            (folder, name, status)
            for folder in (KEPT, QUARANTINE)
            for name, status in sorted(self.look(folder, files) or (), key=lambda file: file[0])
            if folder == KEPT or is_delivered(name)
        ]

    def _delete(self, folder: str, name: str, status: os.stat_result, why: str) -> bool:
        """Delete a delivered file from `kept/` or `quarantine/`. False if it is still there."""
        try:
            with self.at(folder) as handle:
                os.unlink(name, dir_fd=handle)
        except OSError as error:
            log.debug("%s/%s stays (%s)", folder, name, error.strerror)
            return False
        log.info("deleted %s/%s %s", folder, name, why)
        with self._busy:
            self.forget(size_of(status))
            self.quarantined -= folder == QUARANTINE
        if folder == QUARANTINE and (part := quarantined_part(name)) is not None:
            self._on_quarantine(part, "")
        return True

    def expire(self, unix_s: float, monotonic_s: float) -> None:
        """Delete delivered sound that is older than `keep_days`, if there is such a limit. Never raises.

        Args:
            unix_s: the wall clock, in seconds.
            monotonic_s: a clock that does not leap, in seconds; see `core/retention.py` for why both are needed.
        """
        if self._keep_days is None:
            return
        found = {f"{one[0]}/{one[1]}": one for one in self._delivered()}
        born = {key: max(status.st_mtime, status.st_ctime) for key, (_, _, status) in found.items()}
        keep_s = self._keep_days * 86_400.0
        due, self._noted = overdue(born, self._noted, keep_s=keep_s, unix_s=unix_s, monotonic_s=monotonic_s)
        for key in due:
            self._delete(*found[key], f"after {self._keep_days} days")

    # What lies there.

    def clear_way(self, part: PartId) -> bool:
        """Return whether an earlier attempt left a file of this part. Called before a new one is made.

        Anything else under its name, such as a planted link or FIFO, is moved to quarantine.

        Raises:
            OSError: the name cannot be looked up.
        """
        try:
            status = os.stat(f"{part}{SUFFIX}", dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if stat.S_ISREG(status.st_mode):
            return True
        self.quarantine(part, "not a regular file")
        return False

    def delete(self, part: PartId, *, sync: bool) -> None:
        """Delete the file of an utterance, or what somebody put in its place. Harmless if it is gone. Raises OSError.

        Args:
            sync: return only when a power cut cannot bring it back.
        """
        name = f"{part}{SUFFIX}"
        with contextlib.suppress(FileNotFoundError), self.at() as handle:
            with contextlib.suppress(FileNotFoundError):
                size = size_of(os.stat(name, dir_fd=handle, follow_symlinks=False))
                _delete(name, handle)
                self.forget(size)
            if sync:  # also if it is gone: it may have been deleted by an attempt whose sync failed
                sync_names(handle)

    def entries(self) -> list[SpoolEntry]:
        """Return the utterances that wait, oldest first, then the quarantine as far as it can be read.

        Needs no lock: it works beside a running daemon. Without a directory there are none.

        Raises:
            SpoolError: the directory cannot be read.
        """
        try:
            with self.at() as home:
                found = waiting(home)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unusable(self.path, error) from error
        return found + (self.look(QUARANTINE, quarantined) or [])

    def open_file(self, part: PartId) -> int:
        """Open the file of an utterance for reading; the caller closes it.

        Raises:
            OSError: it cannot be opened; EINVAL if it is no regular file: a FIFO has no end, a link may lead anywhere.
        """
        with self.at() as directory:
            return open_regular(f"{part}{SUFFIX}", directory)

    def open_quarantined(self, name: str) -> int:
        """Open a file in quarantine by the name of its entry, for reading; the caller closes it. Raises OSError."""
        with self.at(QUARANTINE) as directory:
            return open_regular(quarantined_file(name), directory)

    def quarantine(self, part: PartId, reason: str, *, delivered: bool = False) -> None:
        """Move a bad file to quarantine and report it to `on_quarantine`. Never raises: if it cannot move, it stays.

        Args:
            delivered: the text of what could be read is published, so that nothing is lost: the reason is not reported.
        """
        name = f"{part}{SUFFIX}"
        log.warning("%s is unreadable (%s) and goes to %s/", name, reason, QUARANTINE, extra=fields(part=part))
        try:
            with self._busy, self.at() as home, self.within(QUARANTINE) as away:
                # The lock covers the search for a free name and the rename: two threads could find the same name, and
                # the second rename would overwrite what may be the only copy. No sync: a rename that a power cut undoes
                # leaves the file in the spool, where it is found to be bad again.
                aside = free_name(part, away, delivered=delivered)
                os.rename(name, aside, src_dir_fd=home, dst_dir_fd=away)
                self.quarantined += 1
                write_reason(aside, away, reason)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s stays where it is (%s)", name, error.strerror, extra=fields(part=part))
        self._on_quarantine(part, "" if delivered else reason)

    def restore(self, name: str) -> PartId:
        """Move a file back from quarantine, so that it is tried again.

        Raises:
            SpoolError: there is no such file, its name is not that of an utterance or is taken in the spool, or its
                text is published already and would be published twice.
        """
        if is_delivered(name):
            raise SpoolError(f"the text of {name!r} is out already", "export it to hear it, or drop it")
        if (part := quarantined_part(name)) is None:
            raise SpoolError(f"{name!r} does not have the name of an utterance", "drop it")
        try:
            file = quarantined_file(name)
            with self._busy, self.at() as home, self.at(QUARANTINE) as away:
                target = f"{part}{SUFFIX}"
                if target in os.listdir(home):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(file, target, src_dir_fd=away, dst_dir_fd=home)
                sync_names(home)  # before the caller reports it as restored
                self.quarantined -= 1
            return part
        except OSError as error:
            raise SpoolError(
                f"{name!r} cannot be brought back ({error.strerror})", "see `flowpi spool list`"
            ) from error

    def discard(self, name: str) -> None:
        """Delete a file or an empty directory from quarantine. Harmless if it is gone. Raises SpoolError."""
        try:
            file = quarantined_file(name)
            with self._busy, self.at(QUARANTINE) as away:
                size = size_of(os.stat(file, dir_fd=away, follow_symlinks=False))
                _delete(file, away)
                self.forget(size)
                self.quarantined -= 1
        except FileNotFoundError:
            return
        except OSError as error:
            raise SpoolError(f"{name!r} cannot be deleted ({error.strerror})", hint_for(error)) from error


def _delete(name: str, handle: int) -> None:
    """Delete a file, or an empty directory that somebody put in its place, from an open directory. Raises OSError."""
    try:
        os.unlink(name, dir_fd=handle)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=handle)
